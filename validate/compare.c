/* compare.c -- an artifact against what it ought to be: parameters, keys, and every tensor byte for byte.
 * Both sides are models; the expected one computes its rows from the source as they are read. */
#include "core/floats.h"
#include "model/family.h"
#include "model/views.h"
#include "validate/validation.h"
#include <string.h>

/* ---- tensors ---- */

typedef struct Difference {
    enum { SAME, MISSING, OTHER_TYPE, OTHER_SHAPE, OTHER_BYTES } kind;
    uint64_t element;      /* the first that differs */
    float expected, found; /* its values, if it has a float type */
} Difference;

typedef struct Comparison {
    Sweep sweep;
    const Model *expected, *artifact;
    Difference *differences; /* by tensor of `expected` */
} Comparison;

static bool same_shape(const Tensor *a, const Tensor *b, ModelForm form) {
    /* GGUF tools may drop trailing dimensions of 1 */
    return (form == FORM_GGUF || a->n_dims == b->n_dims) && !memcmp(a->dims, b->dims, sizeof a->dims);
}

static int note_bytes(Difference *d, DType type, const uint8_t *expected, const uint8_t *found, size_t bytes,
                      uint64_t offset, Error *err) {
    size_t at = 0;
    while (at < bytes && expected[at] == found[at]) at++;
    const DTypeInfo *info = dtype_info(type);
    size_t width = info->bytes;
    d->kind = OTHER_BYTES;
    d->element = (offset + at) / width * info->block;
    if (!dtype_is_float(type)) return 0;
    at -= at % width;
    TRY(floats_convert(DT_F32, &d->expected, type, expected + at, 1, err));
    return floats_convert(DT_F32, &d->found, type, found + at, 1, err);
}

static int compare_bytes(Comparison *c, size_t index, unsigned thread, const Tensor *e, const Tensor *a,
                         Error *err) {
    TensorPieces p = tensor_pieces(e, e->n_transforms || a->n_transforms);
    uint8_t *expected, *found;
    TRY(sweep_buffer(&c->sweep, thread, 0, (size_t)p.step * p.unit, &expected, err));
    TRY(sweep_buffer(&c->sweep, thread, 1, (size_t)p.step * p.unit, &found, err));
    for (uint64_t at = 0; at < p.total; at += p.step) {
        uint64_t n = p.total - at < p.step ? p.total - at : p.step;
        size_t bytes = (size_t)n * p.unit;
        TRY(tensor_piece(e, &p, at, n, expected, err));
        TRY(tensor_piece(a, &p, at, n, found, err));
        if (memcmp(expected, found, bytes))
            return note_bytes(&c->differences[index], e->type, expected, found, bytes, at * p.unit, err);
        TRY(sweep_advance(&c->sweep, bytes, err));
    }
    return 0;
}

static int compare_one(void *context, size_t index, unsigned thread, Error *err) {
    Comparison *c = context;
    const Tensor *e = &c->expected->tensors[index], *a = model_find(c->artifact, e->name);
    Difference *d = &c->differences[index];
    d->kind = !a                                     ? MISSING
              : a->type != e->type                   ? OTHER_TYPE
              : !same_shape(a, e, c->artifact->form) ? OTHER_SHAPE
                                                     : SAME;
    return d->kind == SAME ? compare_bytes(c, index, thread, e, a, err) : 0;
}

/* "row 3, element 5 is 0.25, expected 0.125" */
static void say_bytes(Buffer *b, const Tensor *t, const Difference *d) {
    buffer_printf(b, "%s, row %llu, element %llu", t->name, (unsigned long long)(d->element / t->dims[0]),
                  (unsigned long long)(d->element % t->dims[0]));
    if (dtype_is_float(t->type))
        buffer_printf(b, " is %.9g, expected %.9g", (double)d->found, (double)d->expected);
    else
        buffer_text(b, " has other bytes");
}

static void say_difference(Buffer *b, const Comparison *c, size_t index) {
    const Difference *d = &c->differences[index];
    const Tensor *e = &c->expected->tensors[index], *a = model_find(c->artifact, e->name);
    switch (d->kind) {
    case SAME: break;
    case MISSING: buffer_printf(b, "%s is missing", e->name); break;
    case OTHER_TYPE:
        buffer_printf(b, "%s is %s, expected %s", e->name, dtype_name(a->type), dtype_name(e->type));
        break;
    case OTHER_SHAPE: buffer_printf(b, "%s has another shape", e->name); break;
    case OTHER_BYTES: say_bytes(b, e, d); break;
    }
}

/* The first tensor of the artifact that nobody expects, or NULL. */
static const Tensor *find_extra(const Comparison *c) {
    for (size_t i = 0; i < c->artifact->n_tensors; i++)
        if (!model_find(c->expected, c->artifact->tensors[i].name)) return &c->artifact->tensors[i];
    return NULL;
}

static void report_tensors(const Validation *v, const Comparison *c, bool *same) {
    size_t n = c->expected->n_tensors, different = 0, first = 0;
    for (size_t i = 0; i < n; i++)
        if (c->differences[i].kind != SAME && !different++) first = i;
    const Tensor *extra = find_extra(c);
    *same = !different && !extra;
    Buffer b;
    buffer_init(&b, NULL);
    if (different) {
        buffer_printf(&b, "%zu of %zu tensors differ; the first: ", different, n);
        say_difference(&b, c, first);
        check_add(v, "source", CHECK_FAIL, "tensors", "%s", buffer_string(&b));
    } else if (extra) {
        check_add(v, "source", CHECK_FAIL, "tensors", "tensor %s does not come from the source", extra->name);
    } else {
        bool hf = c->expected->form == FORM_HF;
        check_add(v, "source", CHECK_PASS, "tensors",
                  "%zu tensors, %llu bytes, byte for byte what the source %s%s", n,
                  (unsigned long long)c->sweep.total, hf ? "holds" : "gives as ",
                  hf ? "" : dtype_name(gguf_common_type(c->expected)));
    }
    if (b.failed) v->report->failed_alloc = true;
    buffer_free(&b);
}

int compare_tensors(const Validation *v, const Model *artifact, const Model *expected, bool *same,
                    Error *err) {
    Comparison c = {.sweep.phase = "compare tensors", .expected = expected, .artifact = artifact};
    *same = false;
    c.differences = arena_alloc(v->arena, expected->n_tensors, sizeof *c.differences);
    if (!c.differences) return error_memory(err, "the comparison of tensors");
    for (size_t i = 0; i < expected->n_tensors; i++) c.sweep.total += tensor_bytes(&expected->tensors[i]);
    Error found = {0};
    int code = sweep_run(&c.sweep, v->options, expected->n_tensors, (ThreadWork){compare_one, &c}, &found);
    if (code) return check_error(v, "source", "tensors", &found, err);
    report_tensors(v, &c, same);
    return 0;
}

/* ---- parameters ---- */

typedef struct Sayer {
    Buffer text; /* "context 1024, expected 256; ..." */
} Sayer;

static void say_number(Sayer *s, const char *name, double found, double expected) {
    if (found == expected) return;
    buffer_printf(&s->text, "%s%s is %.9g, expected %.9g", s->text.length ? "; " : "", name, found, expected);
}

static void say_rope(Sayer *s, const RopeParams *f, const RopeParams *e) {
    if (f->type != e->type)
        buffer_printf(&s->text, "%srope type is %s, expected %s", s->text.length ? "; " : "",
                      rope_type_name(f->type), rope_type_name(e->type));
    say_number(s, "rope theta", (double)f->theta, (double)e->theta);
    say_number(s, "rope factor", (double)f->factor, (double)e->factor);
    say_number(s, "original context", f->original_context, e->original_context);
    say_number(s, "attention factor", f->has_attention_factor ? (double)f->attention_factor : 0,
               e->has_attention_factor ? (double)e->attention_factor : 0);
    say_number(s, "beta_fast", (double)f->beta_fast, (double)e->beta_fast);
    say_number(s, "beta_slow", (double)f->beta_slow, (double)e->beta_slow);
    say_number(s, "mscale", (double)f->mscale, (double)e->mscale);
    say_number(s, "mscale_all_dim", (double)f->mscale_all_dim, (double)e->mscale_all_dim);
    say_number(s, "truncate", f->truncate, e->truncate);
}

static void say_params(Sayer *s, const ModelParams *f, const ModelParams *e) {
    if (strcmp(f->architecture, e->architecture)) buffer_text(&s->text, "another architecture");
    say_number(s, "experts used", f->n_experts_used, e->n_experts_used);
    say_number(s, "context", f->context, e->context);
    say_rope(s, &f->rope, &e->rope);
    say_number(s, "layers", f->n_layers, e->n_layers);
    say_number(s, "embedding", f->n_embd, e->n_embd);
    say_number(s, "feed forward", f->n_ff, e->n_ff);
    say_number(s, "heads", f->n_heads, e->n_heads);
    say_number(s, "key-value heads", f->n_kv_heads, e->n_kv_heads);
    say_number(s, "head size", f->head_dim, e->head_dim);
    say_number(s, "experts", f->n_experts, e->n_experts);
    say_number(s, "expert feed forward", f->n_ff_expert, e->n_ff_expert);
    say_number(s, "tokens", f->n_vocab, e->n_vocab);
    say_number(s, "rms epsilon", (double)f->rms_eps, (double)e->rms_eps);
    say_number(s, "norm_topk_prob", f->norm_topk_prob, e->norm_topk_prob);
    say_number(s, "tied embeddings", f->tied_embeddings, e->tied_embeddings);
}

int compare_parameters(const Validation *v, const Model *artifact, const Model *expected, Error *err) {
    ModelParams e = expected->params, f = artifact->params;
    Error found = {0};
    if (expected->form == FORM_GGUF) { /* both read from keys, by the same code */
        if (params_from_metadata(&e, expected->metadata, &found) ||
            params_from_metadata(&f, artifact->metadata, &found))
            return check_error(v, "source", "parameters", &found, err);
    }
    Sayer s;
    buffer_init(&s.text, NULL);
    say_params(&s, &f, &e);
    int code = buffer_ok(&s.text, "the comparison of parameters", err);
    if (!code && s.text.length)
        check_add(v, "source", CHECK_FAIL, "parameters", "%s", buffer_string(&s.text));
    else if (!code)
        check_add(v, "source", CHECK_PASS, "parameters",
                  "those of the source%s: %u of %u experts, context %u, rope %s",
                  expected->n_changes ? " with the overrides" : "", f.n_experts_used, f.n_experts, f.context,
                  rope_type_name(f.rope.type));
    buffer_free(&s.text);
    return code;
}

/* ---- keys of a GGUF ---- */

/* Keys that follow from the source alone; general.* ones describe, and the rebuild covers them. */
static bool follows(const char *key, const char *architecture) {
    size_t n = strlen(architecture);
    return !strncmp(key, "tokenizer.", 10) || (!strncmp(key, architecture, n) && key[n] == '.') ||
           !strcmp(key, "general.architecture") || !strcmp(key, "general.file_type");
}

static bool same_kv(const GgufKv *a, const GgufKv *b, Buffer scratch[2]) {
    buffer_clear(&scratch[0]);
    buffer_clear(&scratch[1]);
    metadata_write_kv(&scratch[0], a);
    metadata_write_kv(&scratch[1], b);
    return scratch[0].length == scratch[1].length && scratch[0].length &&
           !memcmp(scratch[0].data, scratch[1].data, scratch[0].length);
}

static void count_key(size_t *different, const char **first, const char *key) {
    if (!(*different)++) *first = key;
}

int compare_keys(const Validation *v, const Model *artifact, const Model *expected, Error *err) {
    const Metadata *f = artifact->metadata, *e = expected->metadata;
    const char *architecture = expected->params.architecture, *first = NULL;
    size_t different = 0, equal = 0;
    Buffer scratch[2];
    buffer_init(&scratch[0], NULL);
    buffer_init(&scratch[1], NULL);
    for (size_t i = 0; i < metadata_slots(e); i++) {
        const GgufKv *kv = metadata_slot(e, i);
        if (kv->removed || !follows(kv->key.data, architecture)) continue;
        const GgufValue *value = metadata_get(f, kv->key.data);
        GgufKv other = {.key = kv->key};
        if (value) other.value = *value;
        if (value && same_kv(kv, &other, scratch))
            equal++;
        else
            count_key(&different, &first, kv->key.data);
    }
    for (size_t i = 0; i < metadata_slots(f); i++) {
        const GgufKv *kv = metadata_slot(f, i);
        if (!kv->removed && follows(kv->key.data, architecture) && !metadata_get(e, kv->key.data))
            count_key(&different, &first, kv->key.data);
    }
    int code = scratch[0].failed || scratch[1].failed ? error_memory(err, "the comparison of keys") : 0;
    buffer_free(&scratch[0]);
    buffer_free(&scratch[1]);
    if (code) return code;
    if (different)
        check_add(v, "source", CHECK_FAIL, "keys", "%zu keys are not what the source gives; the first: %s",
                  different, first);
    else
        check_add(v, "source", CHECK_PASS, "keys",
                  "%zu keys of model and tokenizer, as the source gives them", equal);
    return 0;
}
