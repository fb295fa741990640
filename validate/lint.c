/* lint.c -- keys of a GGUF that are well-formed but make a run time do something else than the reader thinks.
 * What llama.cpp does with each was measured on its converter, loader and server (docs/gguf-keys.md). */
#include "model/gguf.h"
#include "model/views.h"
#include "validate/validation.h"
#include <math.h>
#include <string.h>

typedef struct Lint {
    const Validation *v;
    const Model *model;
    const Metadata *keys;
    size_t found;
} Lint;

#define LINT(l, name, ...) ((l)->found++, check_add((l)->v, "structure", CHECK_FAIL, name, __VA_ARGS__))

enum { KEY_SIZE = 160 };

static const GgufValue *arch_value(const Lint *l, const char *suffix) {
    char key[KEY_SIZE];
    return metadata_get(l->keys, metadata_arch_key(l->keys, suffix, key, sizeof key));
}

/* ---- rope and context ---- */

static void lint_scaling_type(Lint *l) {
    char key[KEY_SIZE];
    const char *type =
        metadata_string(l->keys, metadata_arch_key(l->keys, "rope.scaling.type", key, sizeof key));
    static const char *const known[] = {"none", "linear", "yarn", "longrope"};
    for (size_t i = 0; type && i < sizeof known / sizeof *known; i++)
        if (!strcmp(type, known[i])) return;
    if (type)
        LINT(l, "rope scaling",
             "%s is \"%s\"; llama.cpp aborts on anything but none, linear, yarn and longrope", key, type);
}

static void lint_context(Lint *l) {
    const ModelParams *p = &l->model->params;
    if (p->rope.type != ROPE_YARN) return;
    const GgufValue *original = arch_value(l, "rope.scaling.original_context_length");
    if (!original) {
        LINT(l, "rope scaling",
             "yarn without rope.scaling.original_context_length: the run time takes the context length (%u) "
             "for it and bends the wrong frequencies",
             p->context);
        return;
    }
    /* 1.3 x 250 is 325, but float32 holds a little less than 1.3: the tolerance of model/override.c */
    double reach = floor((double)p->rope.factor * p->rope.original_context * (1 + 1e-6));
    if (p->context > reach)
        LINT(l, "context length", "%u is above factor x original: %g x %u = %.0f", p->context,
             (double)p->rope.factor, p->rope.original_context, reach);
}

/* Only these three read some of them (llama.cpp's loader). */
static bool reads_yarn_keys(const char *architecture) {
    return !strcmp(architecture, "grok") || !strcmp(architecture, "mistral3") ||
           !strcmp(architecture, "deepseek2");
}

static void lint_yarn_keys(Lint *l) {
    static const char *const keys[] = {"yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast",
                                       "yarn_beta_slow", "yarn_log_multiplier"};
    if (reads_yarn_keys(l->model->params.architecture)) return;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        char suffix[64] = "rope.scaling.";
        strcat(suffix, keys[i]);
        if (arch_value(l, suffix))
            LINT(l, "rope scaling",
                 "the run time ignores rope.scaling.%s for %s, so the model does not run as the key says",
                 keys[i], l->model->params.architecture);
    }
}

/* ---- experts, tokens ---- */

static void lint_experts(Lint *l) {
    const ModelParams *p = &l->model->params;
    const GgufValue *used = arch_value(l, "expert_used_count");
    if (used && used->type == GGUF_ARRAY)
        LINT(l, "experts",
             "expert_used_count is a list, one number a layer; --override-kv and some graphs need a single "
             "number");
    else if (p->n_experts_used > p->n_experts)
        LINT(l, "experts", "expert_used_count is %u of %u experts", p->n_experts_used, p->n_experts);
}

static void lint_tokens(Lint *l) {
    const GgufValue *tokens = metadata_get(l->keys, "tokenizer.ggml.tokens");
    const Tensor *embedding = model_find(l->model, "token_embd.weight");
    if (!tokens || tokens->type != GGUF_ARRAY || !embedding) return;
    if (tokens->array.count != embedding->dims[1])
        LINT(l, "tokens", "tokenizer.ggml.tokens has %llu tokens, token_embd.weight has %llu rows",
             (unsigned long long)tokens->array.count, (unsigned long long)embedding->dims[1]);
}

/* ---- the container ---- */

static void lint_container(Lint *l) {
    static const char *const leftovers[] = {"split.no", "split.count", "split.tensors.count"};
    uint32_t alignment = GGUF_DEFAULT_ALIGNMENT;
    if (metadata_u32(l->keys, "general.alignment", &alignment) && alignment != GGUF_DEFAULT_ALIGNMENT)
        LINT(l, "alignment",
             "general.alignment is %u; llama.cpp's tools corrupt files whose alignment is not %d", alignment,
             GGUF_DEFAULT_ALIGNMENT);
    for (size_t i = 0; i < sizeof leftovers / sizeof *leftovers; i++)
        if (metadata_get(l->keys, leftovers[i]))
            LINT(l, "split keys", "%s is left from a split file, but this one is whole", leftovers[i]);
}

/* Bytes behind the last tensor and its padding: nobody's, and no tensor hash covers them. */
static void lint_trailing(Lint *l) {
    const Model *m = l->model;
    uint64_t alignment = GGUF_DEFAULT_ALIGNMENT;
    uint32_t said;
    if (metadata_u32(l->keys, "general.alignment", &said)) alignment = said;
    for (size_t f = 0; f < m->n_files; f++) {
        const Input *file = m->files[f].input;
        uint64_t end = 0;
        for (size_t i = 0; i < m->n_tensors; i++)
            for (uint32_t e = 0; e < m->tensors[i].n_extents; e++) {
                const Extent *x = &m->tensors[i].extents[e];
                if (x->file == file && x->offset + x->length > end) end = x->offset + x->length;
            }
        /* without tensors (a first shard of keys alone) the end of the header is not known here */
        if (end && u64_align(&end, end, alignment) && input_size(file) > end)
            LINT(l, "file size", "%llu bytes follow the last tensor of %s",
                 (unsigned long long)(input_size(file) - end), m->files[f].name);
    }
}

/* ---- file_type ---- */

/* A mixture is named after one of its types; the rest of the numbers are mixtures that no single type tells.
 */
static DType file_type_names(uint32_t file_type) {
    static const struct {
        uint16_t file_type, type;
    } names[] = {{0, DT_F32},   {1, DT_F16},     {2, DT_Q4_0},    {3, DT_Q4_1},  {7, DT_Q8_0},
                 {8, DT_Q5_0},  {9, DT_Q5_1},    {10, DT_Q2_K},   {11, DT_Q3_K}, {12, DT_Q3_K},
                 {13, DT_Q3_K}, {14, DT_Q4_K},   {15, DT_Q4_K},   {16, DT_Q5_K}, {17, DT_Q5_K},
                 {18, DT_Q6_K}, {25, DT_IQ4_NL}, {30, DT_IQ4_XS}, {32, DT_BF16}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].file_type == file_type) return (DType)names[i].type;
    return DT_NONE;
}

/* K-quants need rows of a multiple of 256; a model without such rows falls back to other quantized types. */
static bool has_type(const Model *m, DType type) {
    bool possible = false;
    uint32_t block = dtype_info(type)->block;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (t->type == type) return true;
        possible = possible || (t->n_dims > 1 && t->dims[0] % block == 0);
    }
    return !possible && !dtype_is_float(gguf_common_type(m));
}

static void lint_file_type(Lint *l) {
    uint32_t said;
    if (!metadata_u32(l->keys, "general.file_type", &said)) return;
    DType type = file_type_names(said & 1023); /* 1024: guessed */
    if (type == DT_NONE || !l->model->n_tensors) return;
    DType common = gguf_common_type(l->model);
    if (dtype_is_float(type) ? common == type : has_type(l->model, type)) return;
    LINT(l, "file type", "general.file_type %u means %s, but most weights are %s", said, dtype_name(type),
         dtype_name(common));
}

void check_keys(const Validation *v, const Model *m) {
    Lint l = {.v = v, .model = m, .keys = m->metadata};
    lint_scaling_type(&l);
    lint_context(&l);
    lint_yarn_keys(&l);
    lint_experts(&l);
    lint_tokens(&l);
    lint_container(&l);
    lint_trailing(&l);
    lint_file_type(&l);
    if (!l.found)
        check_add(v, "structure", CHECK_PASS, "keys", "%zu keys, none that misleads a run time",
                  metadata_count(m->metadata));
}
