/* launch.c -- what fits. See launch.h. */
#include "packager/launch.h"
#include <stdio.h>
#include <string.h>

#define GIB ((double)(1 << 30))
#define MIB ((double)(1 << 20))

static const struct {
    const char *name;
    bool gguf;
} engines[ENGINE_COUNT] = {
    [ENGINE_LLAMA_CPP] = {"llama.cpp", true},
    [ENGINE_TEXT_GENERATION_WEBUI] = {"text-generation-webui", true},
    [ENGINE_VLLM] = {"vllm", false},
    [ENGINE_SGLANG] = {"sglang", false},
    [ENGINE_TRANSFORMERS] = {"transformers", false},
    [ENGINE_OLLAMA] = {"ollama", true},
};

const char *launch_engine_name(LaunchEngine e) {
    return engines[e].name;
}

bool launch_engine_by_name(const char *name, LaunchEngine *out) {
    for (int i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(engines[i].name, name) != 0) continue;
        *out = (LaunchEngine)i;
        return true;
    }
    return false;
}

bool launch_engine_takes_gguf(LaunchEngine e) {
    return engines[e].gguf;
}

/* ---- sizes ---- */

/* The layer of a tensor, -1 if it is in none: "blk.7." or "model.layers.7.". */
static int layer_of(const char *name) {
    int n = -1;
    if (sscanf(name, "blk.%d.", &n) != 1 && sscanf(name, "model.layers.%d.", &n) != 1) return -1;
    return n;
}

static bool is_expert(const char *name) {
    return strstr(name, "_exps.") || strstr(name, ".experts.");
}

static void weigh(LaunchPlan *p, const Model *m) {
    uint32_t n = m->params.n_layers;
    uint64_t in_layers = 0, in_experts = 0;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        uint64_t bytes = tensor_stored_bytes(t);
        p->weights += bytes;
        if (layer_of(t->name) < 0) continue;
        in_layers += bytes;
        if (is_expert(t->name)) in_experts += bytes;
    }
    p->layer = n ? in_layers / n : 0;
    p->experts = n ? in_experts / n : 0;
}

static uint64_t cache_bytes(const LaunchPlan *p, LaunchCache cache) {
    return (cache == CACHE_F16 ? p->kv_f16 : p->kv_q8_0) * p->context;
}

static uint64_t all_bytes(const LaunchPlan *p, LaunchCache cache) {
    return p->weights + cache_bytes(p, cache) + p->compute + p->driver;
}

static uint64_t most_context(const LaunchPlan *p, uint64_t a_position) {
    uint64_t taken = p->weights + p->compute + p->driver;
    uint64_t n = p->vram > taken && a_position ? (p->vram - taken) / a_position : 0;
    uint64_t most = p->model->params.context;
    n -= n % 256;
    return most && n > most ? most : n;
}

/* What does not fit: first the cache gets smaller, then experts of some layers stay in main memory, then
 * layers. */
static void choose(LaunchPlan *p) {
    uint32_t n = p->model->params.n_layers;
    p->layers_on_gpu = n;
    p->fits = !p->vram || all_bytes(p, CACHE_F16) <= p->vram;
    if (p->fits) return;
    p->cache = CACHE_Q8_0;
    p->fits = all_bytes(p, CACHE_Q8_0) <= p->vram;
    if (p->fits) return;
    uint64_t over = all_bytes(p, CACHE_Q8_0) - p->vram;
    if (p->experts && over <= p->experts * n) {
        p->expert_layers_on_cpu = (uint32_t)((over + p->experts - 1) / p->experts);
        return;
    }
    if (p->experts) {
        p->expert_layers_on_cpu = n;
        over -= p->experts * n;
    }
    uint64_t layer = p->layer - p->experts + (n ? cache_bytes(p, CACHE_Q8_0) / n : 0);
    uint64_t away = layer ? (over + layer - 1) / layer : n;
    p->layers_on_gpu = away >= n ? 0 : n - (uint32_t)away;
}

static int choose_context(LaunchPlan *p, Error *err) {
    uint32_t native = p->model->params.context;
    if (!p->context) p->context = native;
    if (!p->context)
        return error_set(err, ERR_USAGE, "%s does not say its context; --context N does", p->path);
    if (native && p->context > native)
        return error_set(
            err, ERR_USAGE,
            "--context %u: %s was made for %u positions; a longer one is made by a recipe (recast init "
            "--context %u), not by a launch flag",
            p->context, p->path, native, p->context);
    return 0;
}

int launch_plan(LaunchPlan *p, const Model *m, Error *err) {
    const ModelParams *params = &m->params;
    p->model = m;
    bool gguf = m->form == FORM_GGUF;
    if (gguf != engines[p->engine].gguf)
        return error_set(err, ERR_USAGE, "%s takes %s; %s is %s", engines[p->engine].name,
                         gguf ? "the Hugging Face form" : "a GGUF", p->path,
                         gguf ? "a GGUF" : "a Hugging Face checkpoint");
    TRY(choose_context(p, err));
    weigh(p, m);
    uint64_t elements = (uint64_t)params->n_layers * params->n_kv_heads * params->head_dim * 2;
    p->kv_f16 = elements * 2;
    p->kv_q8_0 = elements * 34 / 32;
    p->compute = (uint64_t)params->n_vocab * 512 * 4 + (128u << 20);
    p->driver = 768u << 20;
    choose(p);
    if (p->vram) {
        p->most_f16 = most_context(p, p->kv_f16);
        p->most_q8_0 = most_context(p, p->kv_q8_0);
    }
    return 0;
}

/* ---- in words ---- */

/* "17.30 GiB", "3.42 MiB" */
static const char *amount(uint64_t bytes, char buf[32]) {
    bool large = bytes >= 1u << 30;
    snprintf(buf, 32, "%.2f %s", (double)bytes / (large ? GIB : MIB), large ? "GiB" : "MiB");
    return buf;
}

static void line(Buffer *b, const char *prefix, const char *label, uint64_t bytes) {
    char buf[32];
    buffer_printf(b, "%s%-28s %12s\n", prefix, label, amount(bytes, buf));
}

/* fp8 has one byte an element; vLLM and SGLang know no q8_0. */
static const char *small_cache(const LaunchPlan *p) {
    return engines[p->engine].gguf ? "q8_0" : "fp8 (reckoned as q8_0)";
}

static void explain_cache(const LaunchPlan *p, const char *prefix, Buffer *b) {
    const ModelParams *m = &p->model->params;
    char label[64];
    buffer_printf(b,
                  "%sKV cache: %u layers x %u KV heads x %u x 2 = %llu elements a position; f16 %llu bytes, "
                  "q8_0 %llu\n",
                  prefix, m->n_layers, m->n_kv_heads, m->head_dim, (unsigned long long)p->kv_f16 / 2,
                  (unsigned long long)p->kv_f16, (unsigned long long)p->kv_q8_0);
    snprintf(label, sizeof label, "  f16, %u positions", p->context);
    line(b, prefix, label, cache_bytes(p, CACHE_F16));
    snprintf(label, sizeof label, "  q8_0, %u positions", p->context);
    line(b, prefix, label, cache_bytes(p, CACHE_Q8_0));
}

static void explain_fit(const LaunchPlan *p, const char *prefix, Buffer *b) {
    uint32_t n = p->model->params.n_layers;
    char all[32], some[32];
    buffer_printf(b, "%s%s, %s: ", prefix, p->gpu ? p->gpu : "GPU memory", amount(p->vram, some));
    amount(all_bytes(p, p->cache), all);
    if (p->fits)
        buffer_printf(b, "everything fits with the cache in %s (%s)\n",
                      p->cache == CACHE_F16 ? "f16" : small_cache(p), all);
    else if (p->layers_on_gpu < n)
        buffer_printf(b, "too little also for the smaller cache (%s): %u of %u layers go there%s\n", all,
                      p->layers_on_gpu, n, p->expert_layers_on_cpu ? ", without their experts" : "");
    else
        buffer_printf(
            b,
            "too little also for the smaller cache (%s): the experts of %u of %u layers (%s each) stay in "
            "main memory\n",
            all, p->expert_layers_on_cpu, n, amount(p->experts, some));
    if (p->most_q8_0)
        buffer_printf(b, "%slargest context with all weights there: %llu (f16), %llu (%s)\n", prefix,
                      (unsigned long long)p->most_f16, (unsigned long long)p->most_q8_0, small_cache(p));
    else
        buffer_printf(b, "%sthe weights alone do not leave room for a context there\n", prefix);
}

void launch_explain(const LaunchPlan *p, const char *prefix, Buffer *b) {
    const ModelParams *m = &p->model->params;
    if (m->n_experts)
        buffer_printf(b, "%s%u of %u experts a token; all %u take memory\n", prefix, m->n_experts_used,
                      m->n_experts, m->n_experts);
    line(b, prefix, "weights", p->weights);
    if (p->kv_f16) explain_cache(p, prefix, b);
    line(b, prefix, "compute buffers, about", p->compute);
    line(b, prefix, "driver, about", p->driver);
    line(b, prefix, "all, cache in f16", all_bytes(p, CACHE_F16));
    line(b, prefix, "all, cache in q8_0", all_bytes(p, CACHE_Q8_0));
    if (p->vram) explain_fit(p, prefix, b);
}
