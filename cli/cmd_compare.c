/* cmd_compare.c -- parameters, keys and tensors in which two models differ, and by how much. */
#include "cli/cli.h"
#include "cli/same_files.h"
#include "cli/value.h"
#include "core/floats.h"
#include "model/views.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES = 1 << 20 };

/* How far apart two tensors of the same shape are. */
typedef struct Difference {
    bool identical;    /* the same bytes */
    bool measured;     /* both float types: the figures hold */
    double max, rmse;  /* absolute */
    uint64_t elements; /* that differ in value */
} Difference;

typedef struct Tally {
    size_t same, differ, only_a, only_b, keys;
} Tally;

static int rows_f32(const Tensor *t, uint64_t row, uint64_t n, void *raw, float *out, Error *err) {
    TRY(model_read(t, row, n, raw, err));
    return floats_convert(DT_F32, out, t->type, raw, (size_t)(n * t->dims[0]), err);
}

static int compare_piece(Difference *d, const Tensor *a, const Tensor *b, uint64_t row, uint64_t n, void *raw,
                         float *fa, float *fb, double *sum, Error *err) {
    size_t count = (size_t)(n * a->dims[0]);
    TRY(rows_f32(a, row, n, raw, fa, err));
    TRY(rows_f32(b, row, n, raw, fb, err));
    for (size_t i = 0; i < count; i++) {
        if (f32_bits(fa[i]) == f32_bits(fb[i])) continue;
        double delta = fabs((double)fa[i] - (double)fb[i]);
        d->elements++;
        if (!(delta <= d->max)) d->max = delta;
        *sum += delta * delta;
    }
    return 0;
}

static int measure(Difference *d, const Tensor *a, const Tensor *b, Error *err) {
    uint64_t rows = tensor_rows(a), piece = PIECE_BYTES / (4 * a->dims[0] + 1) + 1;
    size_t count;
    double sum = 0;
    if (!size_mul(&count, (size_t)piece, (size_t)a->dims[0]))
        return error_set(err, ERR_LIMIT, "%s: a row is too long", a->name);
    float *fa = calloc(count, sizeof *fa), *fb = calloc(count, sizeof *fb), *raw = calloc(count, sizeof *raw);
    int code = fa && fb && raw ? 0 : error_memory(err, "comparing tensors");
    for (uint64_t row = 0; !code && row < rows; row += piece)
        code = compare_piece(d, a, b, row, rows - row < piece ? rows - row : piece, raw, fa, fb, &sum, err);
    d->measured = true;
    d->identical = a->type == b->type && d->elements == 0;
    d->rmse = rows ? sqrt(sum / (double)(rows * a->dims[0])) : 0;
    free(fa);
    free(fb);
    free(raw);
    return code;
}

static int same_bytes(bool *same, const Tensor *a, const Tensor *b, Error *err) {
    uint64_t rows = tensor_rows(a), size = tensor_row_bytes(a), piece = PIECE_BYTES / (size + 1) + 1;
    char *pa = malloc((size_t)(piece * size) + 1), *pb = malloc((size_t)(piece * size) + 1);
    int code = pa && pb ? 0 : error_memory(err, "comparing tensors");
    *same = true;
    for (uint64_t row = 0; !code && *same && row < rows; row += piece) {
        uint64_t n = rows - row < piece ? rows - row : piece;
        code = model_read(a, row, n, pa, err);
        if (!code) code = model_read(b, row, n, pb, err);
        if (!code) *same = !memcmp(pa, pb, (size_t)(n * size));
    }
    free(pa);
    free(pb);
    return code;
}

static bool same_shape(const Tensor *a, const Tensor *b) {
    return a->dims[0] == b->dims[0] && a->dims[1] == b->dims[1] && a->dims[2] == b->dims[2] &&
           a->dims[3] == b->dims[3];
}

static int compare_tensors(Difference *d, const Tensor *a, const Tensor *b, Error *err) {
    memset(d, 0, sizeof *d);
    if (a->dims[0] && dtype_is_float(a->type) && dtype_is_float(b->type)) return measure(d, a, b, err);
    return a->type == b->type ? same_bytes(&d->identical, a, b, err) : 0;
}

/* ---- text or JSON ---- */

static void show_key(cJSON *list, const char *key, const char *old, const char *new) {
    if (list) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "key", key);
        cJSON_AddStringToObject(o, "a", old);
        cJSON_AddStringToObject(o, "b", new);
        cJSON_AddItemToArray(list, o);
        return;
    }
    cli_print_safe(key, strlen(key));
    printf(": ");
    cli_print_safe(old, strlen(old));
    printf(" -> ");
    cli_print_safe(new, strlen(new));
    printf("\n");
}

static void show_tensor(cJSON *list, const char *name, const char *what, const Difference *d) {
    if (list) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "tensor", name);
        cJSON_AddStringToObject(o, "what", what);
        if (d && d->measured) {
            cJSON_AddNumberToObject(o, "elements", (double)d->elements);
            cJSON_AddNumberToObject(o, "max", d->max);
            cJSON_AddNumberToObject(o, "rmse", d->rmse);
        }
        cJSON_AddItemToArray(list, o);
        return;
    }
    cli_print_safe(name, strlen(name));
    printf(": %s", what);
    if (d && d->measured)
        printf(", %llu elements differ, at most by %.3g, rmse %.3g", (unsigned long long)d->elements, d->max,
               d->rmse);
    printf("\n");
}

static void compare_u32(cJSON *list, Tally *t, const char *key, uint32_t a, uint32_t b) {
    char x[16], y[16];
    if (a == b) return;
    snprintf(x, sizeof x, "%u", a);
    snprintf(y, sizeof y, "%u", b);
    t->keys++;
    show_key(list, key, x, y);
}

static void compare_f32(cJSON *list, Tally *t, const char *key, float a, float b) {
    char x[32], y[32];
    if (f32_bits(a) == f32_bits(b)) return;
    snprintf(x, sizeof x, "%.9g", (double)a);
    snprintf(y, sizeof y, "%.9g", (double)b);
    t->keys++;
    show_key(list, key, x, y);
}

static void compare_text(cJSON *list, Tally *t, const char *key, const char *a, const char *b) {
    if (!strcmp(a, b)) return;
    t->keys++;
    show_key(list, key, a, b);
}

static void compare_bool(cJSON *list, Tally *t, const char *key, bool a, bool b) {
    compare_text(list, t, key, a ? "true" : "false", b ? "true" : "false");
}

static void compare_rope(cJSON *list, Tally *t, const RopeParams *a, const RopeParams *b) {
    compare_text(list, t, "rope", rope_type_name(a->type), rope_type_name(b->type));
    compare_f32(list, t, "rope base", a->theta, b->theta);
    compare_f32(list, t, "rope factor", a->factor, b->factor);
    compare_u32(list, t, "rope original context", a->original_context, b->original_context);
    compare_f32(list, t, "rope attention factor", a->attention_factor, b->attention_factor);
    if (a->type != b->type) return; /* what follows are defaults of the one that has them */
    compare_f32(list, t, "rope beta_fast", a->beta_fast, b->beta_fast);
    compare_f32(list, t, "rope beta_slow", a->beta_slow, b->beta_slow);
    compare_f32(list, t, "rope mscale", a->mscale, b->mscale);
    compare_f32(list, t, "rope mscale_all_dim", a->mscale_all_dim, b->mscale_all_dim);
    compare_bool(list, t, "rope truncate", a->truncate, b->truncate);
}

/* Every field of ModelParams: what is left out here would be called equal. */
static void compare_params(cJSON *list, Tally *t, const ModelParams *a, const ModelParams *b) {
    compare_text(list, t, "architecture", a->architecture, b->architecture);
    compare_u32(list, t, "layers", a->n_layers, b->n_layers);
    compare_u32(list, t, "embedding", a->n_embd, b->n_embd);
    compare_u32(list, t, "feed forward", a->n_ff, b->n_ff);
    compare_u32(list, t, "heads", a->n_heads, b->n_heads);
    compare_u32(list, t, "key-value heads", a->n_kv_heads, b->n_kv_heads);
    compare_u32(list, t, "head size", a->head_dim, b->head_dim);
    compare_u32(list, t, "experts", a->n_experts, b->n_experts);
    compare_u32(list, t, "experts used", a->n_experts_used, b->n_experts_used);
    compare_u32(list, t, "expert feed forward", a->n_ff_expert, b->n_ff_expert);
    compare_u32(list, t, "tokens", a->n_vocab, b->n_vocab);
    compare_u32(list, t, "context", a->context, b->context);
    compare_f32(list, t, "rms_norm_eps", a->rms_eps, b->rms_eps);
    compare_bool(list, t, "norm_topk_prob", a->norm_topk_prob, b->norm_topk_prob);
    compare_bool(list, t, "tied embeddings", a->tied_embeddings, b->tied_embeddings);
    compare_rope(list, t, &a->rope, &b->rope);
}

/* Provenance says where a file comes from, not what it is. */
static bool is_provenance(const GgufKv *kv) {
    return !strncmp(kv->key.data, "recast.", 7);
}

/* The value of a key in m as text, "absent" if it has none. */
static void key_text(Buffer *out, const Metadata *m, const char *key) {
    const GgufValue *value = metadata_get(m, key);
    buffer_clear(out);
    if (value)
        value_text(out, value);
    else
        buffer_text(out, "absent");
}

static bool same_value(const GgufKv *kv, const GgufValue *other, Buffer *x, Buffer *y) {
    GgufKv twin = {.key = kv->key, .value = *other};
    buffer_clear(x);
    buffer_clear(y);
    metadata_write_kv(x, kv);
    metadata_write_kv(y, &twin);
    return x->length == y->length && !memcmp(x->data, y->data, x->length);
}

/* Keys of `from` that `other` lacks or, if values count, has another value for; shown as a -> b. */
static int compare_keys(cJSON *list, Tally *t, const Metadata *from, const Metadata *other, bool values,
                        const Metadata *a, const Metadata *b, Error *err) {
    Buffer x, y;
    buffer_init(&x, NULL);
    buffer_init(&y, NULL);
    for (size_t i = 0; i < metadata_slots(from); i++) {
        const GgufKv *kv = metadata_slot(from, i);
        if (kv->removed || is_provenance(kv)) continue;
        const GgufValue *twin = metadata_get(other, kv->key.data);
        if (twin && (!values || same_value(kv, twin, &x, &y))) continue;
        t->keys++;
        key_text(&x, a, kv->key.data);
        key_text(&y, b, kv->key.data);
        if (!strcmp(buffer_string(&x), buffer_string(&y))) buffer_text(&y, " (different further on)");
        show_key(list, kv->key.data, buffer_string(&x), buffer_string(&y));
    }
    int code = buffer_ok(&x, "comparing keys", err);
    if (!code) code = buffer_ok(&y, "comparing keys", err);
    buffer_free(&x);
    buffer_free(&y);
    return code;
}

/* files: NULL unless both are GGUFs. */
static int compare_all_tensors(Cli *cli, cJSON *list, Tally *tally, const Model *a, const Model *b,
                               const SameFiles *files, Error *err) {
    for (size_t i = 0; i < a->n_tensors; i++) {
        const Tensor *x = &a->tensors[i], *y = model_find(b, x->name);
        TRY(progress_update(&cli->progress, "compare tensors", i, a->n_tensors, err));
        if (!y) {
            tally->only_a++;
            show_tensor(list, x->name, "only in the first", NULL);
            continue;
        }
        Difference d = {0};
        char what[96];
        if (same_shape(x, y)) {
            d.identical = files && same_files_cover(files, x, y);
            if (!d.identical) TRY(compare_tensors(&d, x, y, err));
        }
        if (d.identical) {
            tally->same++;
            continue;
        }
        tally->differ++;
        if (!same_shape(x, y))
            snprintf(what, sizeof what, "other shape");
        else
            snprintf(what, sizeof what, "%s -> %s", dtype_name(x->type), dtype_name(y->type));
        show_tensor(list, x->name, what, &d);
    }
    for (size_t i = 0; i < b->n_tensors; i++)
        if (!model_find(a, b->tensors[i].name))
            tally->only_b++, show_tensor(list, b->tensors[i].name, "only in the second", NULL);
    return 0;
}

/* What somebody who has the first must fetch to have the second. */
static int show_download(cJSON *doc, const SameFiles *files, Error *err) {
    Buffer text;
    if (doc) {
        cJSON *list = cJSON_AddArrayToObject(doc, "download_again");
        for (size_t i = 0; i < files->n_files; i++)
            if (!files->same[i]) cJSON_AddItemToArray(list, cJSON_CreateString(files->b->files[i].name));
        return 0;
    }
    buffer_init(&text, NULL);
    same_files_text(files, &text);
    int code = buffer_ok(&text, "comparing files", err);
    if (!code) printf("download again: %s\n", buffer_string(&text));
    buffer_free(&text);
    return code;
}

static int compare(Cli *cli, const Model *a, const Model *b, const SameFiles *files, Error *err) {
    Tally t = {0};
    cJSON *doc = cli->json ? cJSON_CreateObject() : NULL;
    cJSON *keys = doc ? cJSON_AddArrayToObject(doc, "keys") : NULL;
    cJSON *tensors = doc ? cJSON_AddArrayToObject(doc, "tensors") : NULL;
    int code = 0;
    if (!a->metadata || !b->metadata) {
        compare_params(keys, &t, &a->params, &b->params);
    } else {
        code = compare_keys(keys, &t, a->metadata, b->metadata, true, a->metadata, b->metadata, err);
        if (!code)
            code = compare_keys(keys, &t, b->metadata, a->metadata, false, a->metadata, b->metadata, err);
    }
    if (!code) code = compare_all_tensors(cli, tensors, &t, a, b, files, err);
    cli_end_progress(cli);
    if (code) {
        cJSON_Delete(doc);
        return code;
    }
    size_t differences = t.differ + t.only_a + t.only_b;
    if (doc) {
        cJSON_AddNumberToObject(doc, "identical_tensors", (double)t.same);
        cJSON_AddBoolToObject(doc, "weights_identical", differences == 0);
        if (files) TRY(show_download(doc, files, err));
        return cli_print_json(doc, err);
    }
    printf("%zu tensors identical, %zu differ, %zu only in the first, %zu only in the second; %zu parameters "
           "and keys differ\n",
           t.same, t.differ, t.only_a, t.only_b, t.keys);
    return files ? show_download(NULL, files, err) : 0;
}

/* A checkpoint and a GGUF meet in GGUF names, the checkpoint typed as the GGUF form types it (norms in F32).
 */
static int as_gguf(RecipeStack *views, const Model **m, Error *err) {
    GgufNamesOptions options = {.lenient_rope = true};
    TRY(gguf_names_open(&views->names, *m, &options, NULL, err));
    TRY(retype_open(&views->retype, views->names, NULL, NULL, err));
    *m = views->retype;
    return 0;
}

static bool is_gguf(const Subject *s) {
    return !s->recipe && s->source->form == FORM_GGUF;
}

static int cmd_compare(Cli *cli, int argc, char **argv, Error *err) {
    TRY(cli_parse(cli, argc, argv, NULL, 0, 2, 2, err));
    if (cli->done) return 0;
    Subject a, b = {0};
    SameFiles *files = NULL;
    RecipeStack views_a = {0}, views_b = {0};
    TRY(subject_open(&a, cli->args.items[0], NULL, 0, err));
    int code = subject_open(&b, cli->args.items[1], NULL, 0, err);
    const Model *x = a.model, *y = b.model;
    if (!code && x->form == FORM_HF && y->form == FORM_GGUF)
        code = as_gguf(&views_a, &x, err);
    else if (!code && x->form == FORM_GGUF && y->form == FORM_HF)
        code = as_gguf(&views_b, &y, err);
    if (!code && is_gguf(&a) && is_gguf(&b)) code = same_files_open(&files, x, y, &cli->progress, err);
    if (!code) code = compare(cli, x, y, files, err);
    same_files_close(files);
    recipe_stack_close(&views_a);
    recipe_stack_close(&views_b);
    subject_close(&a);
    subject_close(&b);
    return code;
}

const Command command_compare = {
    .name = "compare",
    .summary = "what differs between two models: parameters, keys, tensors, and by how much",
    .usage = "compare A B",
    .details = "A and B are checkpoints, GGUFs of any architecture, or recipes. Provenance keys (recast.*) "
               "are left out. Of two GGUFs the last line tells which files of B are not in A already.",
    .examples = "  recast compare Qwen3-30B-A3B/ variant.gguf\n"
                "  recast compare a.gguf b.gguf --json\n",
    .run = cmd_compare,
};
