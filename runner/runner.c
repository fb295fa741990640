/* runner.c -- opens a model for running: checks, weights, frequency table, KV cache; and keeps the position.
 *
 * The forward pass itself is the reference's (ref/, with the kernels of cpu/), or a GPU's with the same bits
 * (device.h). */
#include "runner/runner.h"
#include "model/family.h"
#include "model/rope.h"
#include "model/views.h"
#include "runner/device.h"
#include "runner/ref/forward.h"
#include "runner/sample.h"
#include <string.h>

struct Runner {
    const Allocator *allocator;
    Arena *arena;
    Model *view;        /* the GGUF form of a Hugging Face model; NULL if the model has that form itself */
    const Model *model; /* FORM_GGUF: the view or what was given */
    RunnerOptions options;
    uint32_t context; /* positions the cache has room for */
    uint32_t length;  /* positions the frequency table is for */
    uint32_t position;
    bool failed; /* a forward pass stopped in the middle: the cache holds nonsense */
    Weights weights;
    RopeTable rope;
    RefState state;
    RouteShare share;
    Device *device; /* a GPU; NULL: the processor, with `state` */
    char device_note[sizeof((Error *)0)->message];
    float *logits; /* [n_vocab] */
};

static const char *const kv_names[] = {"f32", "f16", "q8_0"};

const char *kv_type_name(KvType type) {
    return kv_names[type];
}

bool kv_type_by_name(KvType *out, const char *name) {
    for (size_t i = 0; i < sizeof kv_names / sizeof kv_names[0]; i++)
        if (!strcmp(name, kv_names[i])) {
            *out = (KvType)i;
            return true;
        }
    return false;
}

bool device_by_name(DeviceKind *out, const char *name) {
    static const char *const names[] = {"cpu", "auto", "cuda"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(name, names[i])) {
            *out = (DeviceKind)i;
            return true;
        }
    return false;
}

bool runner_kv_bytes(const ModelParams *p, uint32_t context, KvType kv, uint64_t *bytes) {
    uint64_t row = kv == KV_Q8_0 ? (uint64_t)(p->head_dim + 31) / 32 * 34
                                 : (uint64_t)p->head_dim * (kv == KV_F16 ? 2 : 4);
    uint64_t n = row;
    return u64_mul(&n, n, 2) && u64_mul(&n, n, p->n_layers) && u64_mul(&n, n, p->n_kv_heads) &&
           u64_mul(bytes, n, context);
}

static int check_model(const Model *m, Error *err) {
    if (!m->family || strcmp(m->family->name, "qwen3moe") != 0)
        return error_set(err, ERR_UNSUPPORTED, "%s: can't run architecture \"%s\"; the runner knows %s",
                         m->path, m->params.architecture, family_known());
    TRY(m->family->check_params(&m->params, err));
    if (m->params.n_experts > REF_MAX_EXPERTS)
        return error_set(err, ERR_LIMIT, "%s: %u experts; the runner takes up to %d", m->path,
                         m->params.n_experts, REF_MAX_EXPERTS);
    return family_check_tensors(m, err);
}

int runner_set_rope_length(Runner *r, uint32_t length, Error *err) {
    const ModelParams *p = runner_params(r);
    runner_reset(r);
    if (!length) length = r->options.rope_length;
    r->length = UINT32_MAX;
    if (p->rope.type == ROPE_DYNAMIC) r->length = length > p->context ? length : p->context;
    return rope_table(p, length, r->rope.inv_freq, &r->rope.attention_factor, err);
}

/* With DEVICE_AUTO what stands in the way is a note, and the processor takes over. */
static int open_device(Runner *r, RunnerOptions options, Error *err) {
    Error why = {0};
    if (options.device == DEVICE_CPU) return 0;
    int code = device_open(&r->device, runner_params(r), &r->weights, &r->rope, options,
                           options.weights_of ? options.weights_of->device : NULL, r->allocator, &why);
    if (!code) return 0;
    if (options.device == DEVICE_CUDA || code == ERR_INTERRUPTED)
        return error_set(err, why.code, "%s", why.message);
    if (code != ERR_DEVICE) memcpy(r->device_note, why.message, sizeof r->device_note);
    return 0;
}

/* The GGUF form of any model, checked. *view: what to close, NULL if the model has that form itself. */
static int open_view(const Model **out, Model **view, const Model *model, const Allocator *allocator,
                     Error *err) {
    *out = model;
    if (model->form == FORM_HF) {
        GgufNamesOptions options = {.lenient_rope = true};
        TRY(gguf_names_open(view, model, &options, allocator, err));
        *out = *view;
    }
    return check_model(*out, err);
}

static int open_runner(Runner *r, const Model *model, Error *err) {
    TRY(open_view(&r->model, &r->view, model, r->allocator, err));
    const ModelParams *p = &r->model->params;
    r->context = r->options.context ? r->options.context : p->context;
    r->rope.inv_freq = arena_alloc(r->arena, p->head_dim / 2, sizeof *r->rope.inv_freq);
    r->logits = arena_alloc(r->arena, p->n_vocab, sizeof *r->logits);
    if (!r->rope.inv_freq || !r->logits) return error_memory(err, "the logits");
    TRY(runner_set_rope_length(r, 0, err));
    TRY(weights_open(&r->weights, r->model, r->arena, err));
    RunnerOptions options = r->options;
    options.context = r->context;
    TRY(open_device(r, options, err));
    if (r->device) return 0;
    return ref_open(&r->state, p, &r->weights, &r->rope, options, r->arena, r->allocator, err);
}

int runner_open(Runner **out, const Model *model, RunnerOptions options, const Allocator *allocator,
                Error *err) {
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Runner *r = arena_alloc(arena, 1, sizeof *r);
    if (!r) {
        arena_close(arena);
        return error_memory(err, "the runner");
    }
    r->arena = arena;
    r->allocator = allocator;
    r->options = options;
    r->state.kv.allocator = allocator;
    int code = open_runner(r, model, err);
    if (code) {
        runner_close(r);
        return code;
    }
    *out = r;
    return 0;
}

static int count_memory(RunnerMemory *out, const Model *m, RunnerOptions options, Error *err) {
    const ModelParams *p = &m->params;
    bool quantized;
    if (!options.context) options.context = p->context;
    TRY(weights_bytes(&out->mapped, &out->read, &quantized, m, err));
    if (!runner_kv_bytes(p, options.context, options.kv, &out->kv) ||
        !ref_work_bytes(&out->work, p, quantized, options))
        return error_set(err, ERR_LIMIT,
                         "a context of %u positions is too large for this machine's addresses",
                         options.context);
    out->work += (uint64_t)p->n_vocab * sizeof(float);
    return 0;
}

int runner_memory(RunnerMemory *out, const Model *model, RunnerOptions options, const Allocator *allocator,
                  Error *err) {
    Model *view = NULL;
    const Model *m;
    *out = (RunnerMemory){0};
    int code = open_view(&m, &view, model, allocator, err);
    if (!code) code = count_memory(out, m, options, err);
    model_close(view);
    return code;
}

void runner_close(Runner *r) {
    if (!r) return;
    device_close(r->device);
    ref_close(&r->state);
    model_close(r->view);
    arena_close(r->arena);
}

const ModelParams *runner_params(const Runner *r) {
    return &r->model->params;
}

const char *runner_arithmetic(const Runner *r) {
    static const char *const names[2][3] = {
        {"recast-arithmetic-1/f32 activations/kv f32", "recast-arithmetic-1/f32 activations/kv f16",
         "recast-arithmetic-1/f32 activations/kv q8_0"},
        {"recast-arithmetic-1/q8 activations/kv f32", "recast-arithmetic-1/q8 activations/kv f16",
         "recast-arithmetic-1/q8 activations/kv q8_0"}};
    bool q8 = r->weights.quantized && r->options.activations == ACTIVATIONS_Q8;
    return names[q8][r->options.kv];
}

unsigned runner_threads(const Runner *r) {
    return r->options.threads;
}

const char *runner_device(const Runner *r) {
    return r->device ? device_name(r->device) : "cpu";
}

const char *runner_device_note(const Runner *r) {
    return r->device_note;
}

uint32_t runner_position(const Runner *r) {
    return r->position;
}

uint32_t runner_context(const Runner *r) {
    return r->context;
}

void runner_reset(Runner *r) {
    r->position = 0;
    r->failed = false;
}

void runner_rewind(Runner *r, uint32_t position) {
    if (r->failed)
        runner_reset(r);
    else if (position < r->position)
        r->position = position; /* the cache's later rows are written anew */
}

const float *runner_logits(const Runner *r) {
    return r->logits;
}

uint32_t runner_best(const Runner *r, float *margin) {
    return r->device ? device_best(r->device, margin)
                     : sample_greedy(r->logits, runner_params(r)->n_vocab, margin);
}

static int check_tokens(const Runner *r, const uint32_t *tokens, size_t count, Error *err) {
    const ModelParams *p = runner_params(r);
    if (r->failed) return error_set(err, ERR_USAGE, "the runner must be reset after an error");
    if (!count) return error_set(err, ERR_USAGE, "no tokens to run: the prompt is empty");
    for (size_t i = 0; i < count; i++)
        if (tokens[i] >= p->n_vocab)
            return error_set(err, ERR_USAGE, "token %zu has id %u; the vocabulary ends at %u", i, tokens[i],
                             p->n_vocab - 1);
    if (count > r->context - r->position)
        return error_set(
            err, ERR_LIMIT,
            "%u positions are taken and %zu more asked for, but there is room for %u; raise the context",
            r->position, count, r->context);
    if (count > r->length - r->position)
        return error_set(
            err, ERR_LIMIT,
            "rope type \"dynamic\" has one frequency table up to %u positions (%u taken, %zu asked "
            "for); give a fixed rope length for longer sequences",
            r->length, r->position, count);
    return 0;
}

int runner_forward(Runner *r, const uint32_t *tokens, size_t count, Error *err) {
    TRY(check_tokens(r, tokens, count, err));
    int code = r->device ? device_forward(r->device, tokens, count, r->position, r->logits, err)
                         : ref_forward(&r->state, tokens, count, r->position, r->logits, err);
    r->failed = code != 0;
    if (!code) r->position += (uint32_t)count;
    return code;
}

int runner_states(Runner *r, const uint32_t *tokens, size_t count, float *states, Error *err) {
    TRY(check_tokens(r, tokens, count, err));
    int code = r->device ? device_states(r->device, tokens, count, r->position, states, err)
                         : ref_states(&r->state, tokens, count, r->position, states, err);
    r->failed = code != 0;
    if (!code) r->position += (uint32_t)count;
    return code;
}

void runner_note_route(Runner *r) {
    r->share = (RouteShare){0, 0};
    r->state.share = &r->share;
    if (r->device) device_note_route(r->device, &r->share);
}

double runner_route_share(const Runner *r) {
    return r->share.count ? (double)r->share.sum * 0x1p-32 / (double)r->share.count : 0;
}

int runner_head(Runner *r, const float *states, size_t count, float *logits, Error *err) {
    uint32_t first = r->position - (uint32_t)count;
    return r->device ? device_head(r->device, states, count, logits, first, err)
                     : ref_head(&r->state, states, count, logits, first, err);
}

int runner_device_memory(DeviceMemory *out, const Model *model, RunnerOptions options,
                         const Allocator *allocator, Error *err) {
    Model *view = NULL;
    const Model *m = NULL;
    *out = (DeviceMemory){.weights = 0};
    int code = model ? open_view(&m, &view, model, allocator, err) : 0;
    if (!code && m && !options.context) options.context = m->params.context;
    if (!code) code = device_memory(out, m, options, allocator, err);
    model_close(view);
    return code;
}
