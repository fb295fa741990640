/* launch_scripts.c -- one writer an engine. Flags are those of the engines' documentation in 2026. */
#include "packager/launch.h"
#include <string.h>

/* In single quotes, so that a shell takes it as it is. */
static void shell_quote(Buffer *b, const char *text) {
    buffer_char(b, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            buffer_text(b, "'\\''");
        else
            buffer_char(b, *p);
    }
    buffer_char(b, '\'');
}

/* A Python string literal. */
static void python_quote(Buffer *b, const char *text) {
    buffer_char(b, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\') buffer_char(b, '\\');
        if ((unsigned char)*p < 0x20)
            buffer_printf(b, "\\x%02x", (unsigned char)*p);
        else
            buffer_char(b, *p);
    }
    buffer_char(b, '"');
}

static void head(const LaunchPlan *p, Buffer *b, const char *interpreter) {
    if (interpreter) buffer_printf(b, "#!%s\n", interpreter);
    buffer_printf(b, "# %s, written by recast launch.\n#\n", launch_engine_name(p->engine));
    launch_explain(p, "# ", b);
    buffer_char(b, '\n');
}

static void shell_model(const LaunchPlan *p, Buffer *b) {
    buffer_text(b, "set -eu\npath=");
    shell_quote(b, p->path);
    buffer_text(b, "\nmodel=${MODEL:-$path}\n");
}

static const char *cache_name(const LaunchPlan *p) {
    return p->cache == CACHE_F16 ? "f16" : "q8_0";
}

/* ---- GGUF ---- */

static void llama_cpp(const LaunchPlan *p, Buffer *b) {
    head(p, b, "/bin/sh");
    buffer_text(b, "# As it is: a server (an API as OpenAI's, and a page) on port 8080.\n"
                   "# With `run TEXT`: goes on with TEXT, for a quick look.\n");
    shell_model(p, b);
    buffer_text(b, "\n# -c       positions of all slots together; without it llama.cpp shrinks the context "
                   "until it fits\n"
                   "# -fa on   flash attention: a quantized cache needs it, a long context too\n");
    if (p->expert_layers_on_cpu)
        buffer_text(b, "# -ncmoe   experts of that many layers stay in main memory\n");
    buffer_printf(b, "set_options() { set -- -m \"$model\" -c %u", p->context);
    if (p->layers_on_gpu == p->model->params.n_layers)
        buffer_text(b, " -ngl all");
    else
        buffer_printf(b, " -ngl %u", p->layers_on_gpu);
    if (p->expert_layers_on_cpu) buffer_printf(b, " -ncmoe %u", p->expert_layers_on_cpu);
    buffer_printf(b, " -fa on -ctk %s -ctv %s", cache_name(p), cache_name(p));
    buffer_text(b, " \"$@\"; exec \"$program\" \"$@\"; }\n\n"
                   "if [ \"${1:-}\" = run ]; then\n"
                   "    shift\n"
                   "    program=${LLAMA_CLI:-llama-completion}\n"
                   "    set_options -n 64 -no-cnv -p \"$*\"\n"
                   "fi\n"
                   "program=${LLAMA_SERVER:-llama-server}\n"
                   "set_options -np 1 -b 2048 -ub 512 --jinja --host 127.0.0.1 --port 8080 \"$@\"\n");
}

static void text_generation_webui(const LaunchPlan *p, Buffer *b) {
    head(p, b, "/bin/sh");
    buffer_text(
        b, "# Run it where text-generation-webui is installed; the file is linked into user_data/models.\n");
    shell_model(p, b);
    buffer_text(b, "mkdir -p user_data/models\n"
                   "ln -sf \"$(realpath \"$model\")\" user_data/models/\n\n");
    if (p->model->n_files > 1)
        buffer_text(b, "# The model is split: its other files must lie there too.\n"
                       "for shard in \"${model%-00001-of-*}\"-*-of-*.gguf; do\n"
                       "    ln -sf \"$(realpath \"$shard\")\" user_data/models/\n"
                       "done\n\n");
    buffer_text(b, "# Expert count and RoPE scaling are in the file; this program has no flags for them.\n"
                   "exec python server.py --model \"$(basename \"$model\")\" --loader llama.cpp \\\n");
    buffer_printf(b, "    --ctx-size %u --cache-type %s --gpu-layers %d%s \\\n", p->context,
                  p->cache == CACHE_F16 ? "fp16" : "q8_0",
                  p->layers_on_gpu == p->model->params.n_layers ? -1 : (int)p->layers_on_gpu,
                  p->expert_layers_on_cpu ? " --cpu-moe" : "");
    buffer_text(b, "    --api --api-port 5000 \"$@\"\n");
}

static bool has_stop(const Model *m) {
    const GgufValue *v = m->metadata ? metadata_get(m->metadata, "tokenizer.chat_template") : NULL;
    return v && v->type == GGUF_STRING && strstr(v->string.data, "<|im_end|>");
}

static void parameter(const LaunchPlan *p, Buffer *b, const char *key, const char *name) {
    const GgufValue *v = p->model->metadata ? metadata_get(p->model->metadata, key) : NULL;
    if (v && v->type == GGUF_F32) buffer_printf(b, "PARAMETER %s %g\n", name, (double)v->f32);
    if (v && (v->type == GGUF_I32 || v->type == GGUF_U32))
        buffer_printf(b, "PARAMETER %s %lld\n", name, (long long)v->i);
}

static void ollama(const LaunchPlan *p, Buffer *b) {
    head(p, b, NULL);
    buffer_text(b, "#   ollama create NAME -f this-file && ollama run NAME\n"
                   "# Expert count and RoPE scaling are in the file; Ollama has no parameter for them. Its "
                   "chat template is\n"
                   "# the GGUF's, if Ollama knows it; TEMPLATE would replace it.\n");
    if (p->cache == CACHE_Q8_0)
        buffer_text(b, "# The server's environment: OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0\n");
    if (p->model->n_files > 1) buffer_text(b, "# The model is split: Ollama joins its files into a copy.\n");
    bool plain = p->path[0] == '/' || p->path[0] == '.';
    buffer_printf(b, "FROM %s%s\n", plain ? "" : "./", p->path);
    buffer_printf(b, "PARAMETER num_ctx %u\n", p->context);
    if (p->layers_on_gpu < p->model->params.n_layers)
        buffer_printf(b, "PARAMETER num_gpu %u\n", p->layers_on_gpu);
    parameter(p, b, "general.sampling.temp", "temperature");
    parameter(p, b, "general.sampling.top_p", "top_p");
    parameter(p, b, "general.sampling.top_k", "top_k");
    parameter(p, b, "general.sampling.min_p", "min_p");
    if (has_stop(p->model)) buffer_text(b, "PARAMETER stop \"<|im_end|>\"\n");
}

/* ---- the Hugging Face form ---- */

static void not_fitting(const LaunchPlan *p, Buffer *b, const char *what) {
    if (p->fits) return;
    buffer_printf(b, "# It does not fit into one such GPU: %s\n", what);
}

static void vllm(const LaunchPlan *p, Buffer *b) {
    head(p, b, "/bin/sh");
    not_fitting(p, b, "set GPUS to their number.");
    shell_model(p, b);
    buffer_text(b, "\n# Expert count and RoPE scaling are in config.json: no --hf-overrides.\n"
                   "exec vllm serve \"$model\" \\\n");
    buffer_printf(b, "    --max-model-len %u --kv-cache-dtype %s \\\n", p->context,
                  p->cache == CACHE_F16 ? "auto" : "fp8");
    buffer_text(b, "    --tensor-parallel-size \"${GPUS:-1}\" --gpu-memory-utilization 0.92 \\\n"
                   "    --host 127.0.0.1 --port 8000 \"$@\"\n");
}

static void sglang(const LaunchPlan *p, Buffer *b) {
    head(p, b, "/bin/sh");
    not_fitting(p, b, "set GPUS to their number.");
    shell_model(p, b);
    buffer_text(b, "\n# Expert count and RoPE scaling are in config.json: no --json-model-override-args.\n"
                   "exec python -m sglang.launch_server --model-path \"$model\" \\\n");
    buffer_printf(b, "    --context-length %u --kv-cache-dtype %s \\\n", p->context,
                  p->cache == CACHE_F16 ? "auto" : "fp8_e5m2");
    buffer_text(b, "    --tp-size \"${GPUS:-1}\" --host 127.0.0.1 --port 30000 \"$@\"\n");
}

static void transformers(const LaunchPlan *p, Buffer *b) {
    head(p, b, "/usr/bin/env python3");
    buffer_text(b, "import sys\n\nimport torch\nfrom transformers import AutoModelForCausalLM, "
                   "AutoTokenizer\n\nMODEL = ");
    python_quote(b, p->path);
    buffer_text(b, "\nprompt = \" \".join(sys.argv[1:]) or \"Hello\"\n"
                   "device = \"cuda\" if torch.cuda.is_available() else \"cpu\"\n\n"
                   "# Expert count and RoPE scaling are in config.json: nothing to override.\n"
                   "tokenizer = AutoTokenizer.from_pretrained(MODEL)\n");
    if (p->fits)
        buffer_text(
            b, "model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=\"auto\").to(device).eval()\n");
    else
        buffer_text(b,
                    "# It does not fit into one such GPU: accelerate spreads it over GPUs and main memory.\n"
                    "model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=\"auto\", "
                    "device_map=\"auto\").eval()\n");
    buffer_text(
        b, "if tokenizer.chat_template:\n"
           "    prompt = tokenizer.apply_chat_template(\n"
           "        [{\"role\": \"user\", \"content\": prompt}], tokenize=False, add_generation_prompt=True\n"
           "    )\n"
           "inputs = tokenizer(prompt, return_tensors=\"pt\").to(model.device)\n");
    buffer_printf(
        b,
        "if inputs[\"input_ids\"].shape[1] >= %u:\n    raise SystemExit(\"the prompt is longer than the "
        "context of %u\")\n",
        p->context, p->context);
    buffer_text(
        b, "with torch.inference_mode():\n"
           "    output = model.generate(**inputs, max_new_tokens=64, do_sample=False)\n"
           "print(tokenizer.decode(output[0][inputs[\"input_ids\"].shape[1]:], skip_special_tokens=True))\n");
}

void launch_script(const LaunchPlan *p, Buffer *out) {
    switch (p->engine) {
    case ENGINE_LLAMA_CPP: llama_cpp(p, out); return;
    case ENGINE_TEXT_GENERATION_WEBUI: text_generation_webui(p, out); return;
    case ENGINE_VLLM: vllm(p, out); return;
    case ENGINE_SGLANG: sglang(p, out); return;
    case ENGINE_TRANSFORMERS: transformers(p, out); return;
    case ENGINE_OLLAMA: ollama(p, out); return;
    case ENGINE_COUNT: return;
    }
}
