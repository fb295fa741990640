/* Every preset, end to end: a checkpoint with rows of 256 becomes a GGUF, and each of its tensors has the
 * type and the bytes that llama-quantize gives it (tests/golden/presets-256.txt, made by make_presets.py). */
#include "convert_fixture.h"
#include "model/imatrix.h"
#include "presets_fixture.h"

enum { HASH_DIGITS = 16, MAX_TENSORS = 64 };

/* What stands behind a case's name besides a preset and "+im"; make_presets.py has the same list. */
typedef struct Special {
    const char *name, *preset;
    const char *types[4][2]; /* pattern, type */
    DType output, embedding;
    bool pure, keep;
} Special;

static const Special specials[] = {
    {.name = "types",
     .preset = "Q4_K_M",
     .types = {{"ffn_down", "q6_K"},
               {"attn_v", "iq4_nl"},
               {"blk\\.1\\.ffn_(gate|up)_exps", "q3_k"},
               {"output", "q5_0"}},
     .output = DT_NONE,
     .embedding = DT_NONE},
    {.name = "types+im",
     .preset = "IQ4_XS",
     .types = {{"attn_(q|k)", "q2_k"}, {"token_embd", "bf16"}},
     .output = DT_NONE,
     .embedding = DT_NONE},
    {.name = "single", .preset = "Q4_K_S", .output = DT_Q8_0, .embedding = DT_Q5_1},
    {.name = "single+im", .preset = "Q3_K_M", .output = DT_F16, .embedding = DT_IQ4_XS},
    {.name = "keep", .preset = "Q5_K_M", .output = DT_NONE, .embedding = DT_NONE, .keep = true},
    {.name = "pure", .preset = "Q3_K_L", .output = DT_NONE, .embedding = DT_NONE, .pure = true},
    {.name = "pure+im", .preset = "Q4_K_M", .output = DT_NONE, .embedding = DT_NONE, .pure = true},
};

/* ---- the golden file ---- */

typedef struct Golden {
    char *text, *next;  /* lines are cut off it */
    const char *hashes; /* all from the first "hash" line on */
    const char *names[MAX_TENSORS];
    size_t n;
} Golden;

static size_t words(char *line, const char **out, size_t most) {
    size_t n = 0;
    char *rest;
    for (char *w = strtok_r(line, " ", &rest); w; w = strtok_r(NULL, " ", &rest)) {
        cr_assert_lt(n, most);
        out[n++] = w;
    }
    return n;
}

static void golden_open(Golden *g) {
    g->text = fixture_read("tests/golden", "presets-256.txt", NULL);
    char *hashes = strstr(g->text, "\nhash ");
    cr_assert_not_null(hashes);
    g->hashes = strdup(hashes);
    cr_assert_not_null(g->hashes);
    hashes[1] = 0;
    const char *w[MAX_TENSORS];
    g->n = words(strtok_r(g->text, "\n", &g->next), w, MAX_TENSORS) - 1;
    cr_assert_str_eq(w[0], "tensors");
    memcpy(g->names, w + 1, g->n * sizeof *w);
}

static void golden_close(Golden *g) {
    free(g->text);
    free((char *)g->hashes);
}

static void golden_hash(const Golden *g, const Tensor *t, bool weighted, char out[HASH_DIGITS + 1]) {
    char key[160];
    weighted = weighted && !dtype_is_float(t->type);
    snprintf(key, sizeof key, "\nhash %s %s %s ", t->name, dtype_name(t->type),
             weighted ? "weighted" : "plain");
    const char *at = strstr(g->hashes, key);
    cr_assert_not_null(at, "no line%s", key);
    memcpy(out, at + strlen(key), HASH_DIGITS);
    out[HASH_DIGITS] = 0;
}

/* ---- one case ---- */

typedef struct Bench {
    FixturePath directory;
    Model *source, *names;
    Imatrix *imatrix;
} Bench;

static void bench_open(Bench *b) {
    Error err = {0};
    FixtureModel m = presets_model();
    FixturePath imatrix;
    fixture_dir(b->directory);
    fixture_model(b->directory, &m);
    presets_imatrix(b->directory, &m);
    fixture_path(imatrix, b->directory, PRESETS_IMATRIX);
    cr_assert_eq(imatrix_open(&b->imatrix, imatrix, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(model_open(&b->source, b->directory, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_names_open(&b->names, b->source, NULL, NULL, &err), 0, "%s", err.message);
}

static void bench_close(Bench *b) {
    model_close(b->names);
    model_close(b->source);
    imatrix_close(b->imatrix);
    fixture_remove(b->directory);
}

static void special_rules(MixtureRules *r, TensorTypes *types, const Special *s) {
    r->output_type = s->output;
    r->embedding_type = s->embedding;
    r->pure = s->pure;
    r->keep_output = s->keep;
    for (size_t i = 0; i < 4 && s->types[i][0]; i++) {
        DType type = weight_type_by_name(s->types[i][1], strlen(s->types[i][1]));
        cr_assert_eq(tensor_types_add(types, s->types[i][0], type, NULL), 0);
    }
    if (s->types[0][0]) r->tensor_types = types;
}

static MixtureRules rules_of(const Bench *b, TensorTypes *types, const char *name) {
    char preset[32];
    const Special *special = NULL;
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        if (!strcmp(specials[i].name, name)) special = &specials[i];
    snprintf(preset, sizeof preset, "%.*s", (int)strcspn(name, "+"), name);
    const Preset *p = preset_by_name(special ? special->preset : preset);
    cr_assert_not_null(p, "%s", name);
    MixtureRules rules = mixture_rules(p);
    if (strchr(name, '+')) rules.imatrix = b->imatrix;
    if (special) special_rules(&rules, types, special);
    return rules;
}

static void check_tensors(const Golden *g, const Model *m, const char *name, const char *const *types) {
    cr_assert_eq(m->n_tensors, g->n);
    for (size_t i = 0; i < g->n; i++) {
        const Tensor *t = &m->tensors[i];
        char want[HASH_DIGITS + 1], got[SHA256_HEX];
        size_t length = (size_t)tensor_bytes(t);
        void *bytes = malloc(length);
        Error err = {0};
        cr_assert_not_null(bytes);
        cr_assert_str_eq(t->name, g->names[i]);
        cr_assert_str_eq(dtype_name(t->type), types[i], "%s, %s: %s, not %s", name, t->name,
                         dtype_name(t->type), types[i]);
        golden_hash(g, t, strchr(name, '+') != NULL, want);
        cr_assert_eq(model_read(t, 0, tensor_rows(t), bytes, &err), 0, "%s", err.message);
        cr_assert_eq(sha256_bytes(got, bytes, length, NULL), 0);
        cr_assert_eq(strncmp(got, want, HASH_DIGITS), 0, "%s, %s (%s): %s, not %s...", name, t->name,
                     types[i], got, want);
        free(bytes);
    }
}

/* As `convert` does it: written to a file, which is opened again. */
static void check_case(const Bench *b, const Golden *g, const char *name, const char *const *types) {
    Error err = {0};
    TensorTypes *list;
    Model *retyped, *written;
    GgufPlan *plan;
    FileResult result;
    FixturePath path;
    fixture_path(path, b->directory, "out.gguf");
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
    RetypeOptions options = {.rules = rules_of(b, list, name)};
    cr_assert_eq(retype_open(&retyped, b->names, &options, NULL, &err), 0, "%s: %s", name, err.message);
    cr_assert_eq(gguf_plan_open(&plan, retyped, NULL, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(gguf_execute(&result, plan, path, (ExecuteOptions){.no_hash = true, .threads = 2}, &err), 0,
                 "%s: %s", name, err.message);
    cr_assert_eq(model_open(&written, path, NULL, &err), 0, "%s", err.message);
    check_tensors(g, written, name, types);
    model_close(written);
    fixture_unlink(b->directory, "out.gguf");
    gguf_plan_close(plan);
    model_close(retyped);
    tensor_types_close(list);
}

/* Cases whose names do or don't have an importance matrix: two tests, since they run side by side. */
static void check_cases(bool weighted) {
    Bench b;
    Golden g;
    size_t done = 0;
    golden_open(&g);
    bench_open(&b);
    for (char *line; (line = strtok_r(NULL, "\n", &g.next));) {
        const char *w[MAX_TENSORS];
        size_t n = words(line, w, MAX_TENSORS);
        cr_assert_eq(n, g.n + 2);
        cr_assert_str_eq(w[0], "case");
        if ((strchr(w[1], '+') != NULL) != weighted) continue;
        check_case(&b, &g, w[1], w + 2);
        done++;
    }
    /* every preset, but that Q2_K_S needs an importance and float types have no use for it; the specials */
    cr_assert_eq(done, weighted ? preset_count() - 3 + 3 : preset_count() - 1 + 4);
    bench_close(&b);
    golden_close(&g);
}

Test(convert_presets, without_importance_the_bytes_are_llama_quantize_s) {
    check_cases(false);
}

Test(convert_presets, with_importance_the_bytes_are_llama_quantize_s) {
    check_cases(true);
}
