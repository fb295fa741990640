/* The CUDA runner without a GPU: its kernels, compiled for the host, against runner/ref/, bit for bit.
 * Threads of a block take turns in several orders, so a barrier that is missing shows. */
#include "core/floats.h"
#include "core/quantize.h"
#include "core/sha256.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "runner/cuda/cuda_runner.h"
#include "runner/device.h"
#include "runner/ref/forward.h"
#include "runner/ref/kernels.h"
#include "runner/ref/quantized.h"
#include "tests/unit/fixture.h"
#include <dlfcn.h>
#include <math.h>

enum { MOST_TOKENS = 300 };

/* Under sanitizers a fiber's turn is many times as dear: there each case runs in one way, and the ways
 * take turns. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const DType types[] = {DT_F32,  DT_F16,  DT_BF16, DT_Q4_0, DT_Q4_1, DT_Q5_0,   DT_Q5_1,  DT_Q8_0,
                              DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K, DT_IQ4_NL, DT_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof *types };

/* ---- the library ---- */

/* Beside the tests' folder, where make puts it. */
static const char *library(void) {
    static char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    cr_assert_gt(n, 0);
    path[n] = 0;
    for (int up = 0; up < 2; up++) *strrchr(path, '/') = 0;
    strcat(path, "/recast_cuda_host.so");
    cr_assert_eq(access(path, R_OK), 0, "%s is missing", path);
    return path;
}

static void *symbol(const char *name) {
    void *handle = dlopen(library(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *found;
    cr_assert_not_null(handle, "%s", dlerror());
    found = dlsym(handle, name);
    cr_assert_not_null(found, "%s", name);
    dlclose(handle);
    return found;
}

static void set_order(int order) {
    void (*set)(int, uint64_t);
    *(void **)&set = symbol("recast_cuda_host_order");
    set(order, 12345);
}

static const CudaApi *api(void) {
    CudaApiFunction function;
    *(void **)&function = symbol(RECAST_CUDA_SYMBOL);
    return function();
}

/* ---- runs side by side ---- */

typedef struct Pair {
    Runner *cpu, *gpu;
} Pair;

static Pair open_pair(const Model *m, RunnerOptions options) {
    Pair p;
    Error err = {0};
    if (!options.context) options.context = MOST_TOKENS;
    options.threads = 1;
    cr_assert_eq(runner_open(&p.cpu, m, options, NULL, &err), 0, "%s", err.message);
    options.device = DEVICE_CUDA;
    options.device_library = library();
    cr_assert_eq(runner_open(&p.gpu, m, options, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(runner_device(p.cpu), "cpu");
    cr_assert_str_eq(runner_device(p.gpu), "host fibers (cuda)");
    cr_assert_str_eq(runner_arithmetic(p.cpu), runner_arithmetic(p.gpu));
    return p;
}

static void close_pair(Pair p) {
    runner_close(p.cpu);
    runner_close(p.gpu);
}

static void same_floats(const float *got, const float *want, size_t n, const char *what) {
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(f32_bits(got[i]), f32_bits(want[i]), "%s, %zu: %a, not %a", what, i, (double)got[i],
                     (double)want[i]);
}

static void fill_prompt(uint32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) tokens[i] = (uint32_t)((i * i * 31 + 17 * i + 5) % 1000);
}

/* Tokens in calls of these sizes (0 ends the list): the logits after each must be the same bits. */
static void same_calls(Pair p, const size_t *calls, const char *what) {
    uint32_t tokens[MOST_TOKENS];
    Error err = {0};
    fill_prompt(tokens, MOST_TOKENS);
    for (size_t at = runner_position(p.cpu); *calls; at += *calls++) {
        cr_assert_eq(runner_forward(p.cpu, tokens + at, *calls, &err), 0, "%s", err.message);
        cr_assert_eq(runner_forward(p.gpu, tokens + at, *calls, &err), 0, "%s", err.message);
        same_floats(runner_logits(p.gpu), runner_logits(p.cpu), runner_params(p.cpu)->n_vocab, what);
        float want, got;
        cr_assert_eq(runner_best(p.gpu, &got), runner_best(p.cpu, &want), "%s", what);
        same_floats(&got, &want, 1, what);
    }
}

static void same_model(const Model *m, RunnerOptions options, const size_t *calls, const char *what) {
    Pair p = open_pair(m, options);
    same_calls(p, calls, what);
    close_pair(p);
}

static Model *open_checkpoint(const char *directory) {
    Model *m;
    Error err = {0};
    cr_assert_eq(checkpoint_open(&m, directory, NULL, &err), 0, "%s", err.message);
    return m;
}

/* A model of this shape and all that it stands on. */
typedef struct Built {
    FixturePath directory;
    Model *base, *names, *model;
} Built;

static Built build(FixtureModel shape) {
    Built b;
    fixture_dir(b.directory);
    fixture_model(b.directory, &shape);
    b.base = open_checkpoint(b.directory);
    b.names = b.model = NULL;
    return b;
}

/* In the types of a preset; `pure`: every matrix in that type. */
static void retype(Built *b, DType type, bool pure) {
    Error err = {0};
    const Preset *preset = NULL;
    for (size_t i = 0; i < preset_count() && !preset; i++)
        if (preset_at(i)->type == type) preset = preset_at(i);
    cr_assert_not_null(preset);
    RetypeOptions options = {.rules = mixture_rules(preset)};
    if (pure) {
        options.rules.pure = true;
        options.rules.embedding_type = options.rules.output_type = type;
    }
    model_close(b->model);
    if (!b->names)
        cr_assert_eq(gguf_names_open(&b->names, b->base, &(GgufNamesOptions){0}, NULL, &err), 0, "%s",
                     err.message);
    cr_assert_eq(retype_open(&b->model, b->names, &options, NULL, &err), 0, "%s", err.message);
}

static void unbuild(Built *b) {
    model_close(b->model);
    model_close(b->names);
    model_close(b->base);
    fixture_remove(b->directory);
}

/* ---- whole models ---- */

static const size_t short_calls[] = {6, 1, 1, 0};

/* The bits of recast-arithmetic-1, which test_runner_forward.c has from the specification: a batch, and token
 * by token into a second chunk of attention. */
Test(runner_cuda, tiny_model_has_the_bits_of_the_specification) {
    static const char *const expected[] = {
        "6f4f633495209bba4acb95d4bff9834b390ae1a73cee88f2bfe7b5c3f6615327",
        "89787d6ddd4c516167f4c7a68cf616ad603beeae58a9304b33ee03a4f12f46da"};
    static const size_t calls[2][10] = {{262, 1, 1, 0}, {250, 1, 1, 1, 1, 1, 1, 5, 1, 0}};
    Model *m = open_checkpoint(FIXTURE_TINY);
    for (int kv = 0; kv < 2; kv++) {
        char hex[SHA256_HEX];
        Pair p = open_pair(m, (RunnerOptions){.kv = kv ? KV_F16 : KV_F32});
        for (int c = 0; c < 2; c++) {
            uint32_t tokens[MOST_TOKENS];
            Error err = {0};
            fill_prompt(tokens, MOST_TOKENS);
            runner_reset(p.gpu);
            runner_reset(p.cpu);
            same_calls(p, calls[c], kv_type_name((KvType)kv));
            runner_rewind(p.gpu, 261);
            cr_assert_eq(runner_forward(p.gpu, tokens + 261, 1, &err), 0, "%s", err.message);
            cr_assert_eq(sha256_bytes(hex, runner_logits(p.gpu), 1024 * sizeof(float), NULL), 0);
            cr_assert_str_eq(hex, expected[kv]);
        }
        close_pair(p);
    }
    model_close(m);
}

static FixtureModel rows_of_256(void) {
    FixtureModel m = fixture_model_default();
    m.layers = 1, m.experts = 4, m.hidden = 256, m.ff = 256, m.head_dim = 64, m.tied = true;
    return m;
}

static void check_types(size_t first, size_t end) {
    Built b = build(rows_of_256());
    for (size_t t = first; t < end; t++) {
        const char *what = dtype_name(types[t]);
        retype(&b, types[t], true);
        for (int order = 0; order < 3; order++) {
            if (SANITIZED && order != (int)(t % 3)) continue;
            set_order(order);
            same_model(b.model, (RunnerOptions){.kv = (KvType)order}, short_calls, what);
        }
        if (!dtype_is_float(types[t]) && (!SANITIZED || t % 3 == 0))
            same_model(b.model, (RunnerOptions){.activations = ACTIVATIONS_F32}, short_calls, what);
    }
    set_order(0);
    unbuild(&b);
}

Test(runner_cuda, float_types) {
    check_types(0, 3);
}
Test(runner_cuda, legacy_types) {
    check_types(3, 8);
}
Test(runner_cuda, k_types) {
    check_types(8, 13);
}
Test(runner_cuda, iq4_types) {
    check_types(13, N_TYPES);
}

/* q, k and v of several types: one kernel each. */
Test(runner_cuda, mixtures) {
    static const DType mixed[] = {DT_Q4_K, DT_Q3_K, DT_Q5_K};
    FixtureModel shape = rows_of_256();
    shape.layers = 3;
    Built b = build(shape);
    for (size_t i = 0; i < 3; i++) {
        retype(&b, mixed[i], false);
        same_model(b.model, (RunnerOptions){.kv = KV_F16}, short_calls, dtype_name(mixed[i]));
    }
    unbuild(&b);
}

/* Heads of any size and number, rows that are no multiple of anything, from one expert to all of 128. */
Test(runner_cuda, shapes) {
    static const FixtureModel shapes[] = {
        {.layers = 2,
         .experts = 1,
         .used = 1,
         .hidden = 72,
         .heads = 3,
         .kv_heads = 3,
         .head_dim = 10,
         .ff = 17},
        {.layers = 1,
         .experts = 40,
         .used = 40,
         .hidden = 40,
         .heads = 6,
         .kv_heads = 2,
         .head_dim = 80,
         .ff = 33},
        {.layers = 1,
         .experts = 128,
         .used = 16,
         .hidden = 64,
         .heads = 8,
         .kv_heads = 1,
         .head_dim = 128,
         .ff = 32},
        {.layers = 1,
         .experts = 7,
         .used = 3,
         .hidden = 300,
         .heads = 36,
         .kv_heads = 2,
         .head_dim = 64,
         .ff = 5},
        {.layers = 2,
         .experts = 33,
         .used = 5,
         .hidden = 1100,
         .heads = 4,
         .kv_heads = 4,
         .head_dim = 32,
         .ff = 1030},
    };
    static const size_t many[] = {19, 1, 3, 1, 0}, few[] = {9, 1, 0}, two[] = {2, 1, 0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char what[16];
        FixtureModel s = shapes[i], d = fixture_model_default();
        s.vocab = d.vocab, s.context = d.context, s.shards = 1, s.seed = 5 + i;
        const size_t *calls = !SANITIZED ? many : s.hidden < 1000 ? few : two;
        if (SANITIZED && s.hidden >= 1000) s.layers = 1, s.used = 2; /* a tile of vectors for each expert */
        Built b = build(s);
        snprintf(what, sizeof what, "shape %zu", i);
        for (int kv = 0; kv < 3; kv++) {
            if (kv == 2 && s.head_dim % 32) continue;
            if (SANITIZED && kv != (int)(s.head_dim % 32 ? i % 2 : i % 3)) continue;
            set_order(2 - kv);
            same_model(b.base, (RunnerOptions){.kv = (KvType)kv}, calls, what);
        }
        set_order(0);
        unbuild(&b);
    }
}

/* A row of attention whose tokens of one tile see different numbers of positions, at both ends of a chunk. */
Test(runner_cuda, ends_of_chunks) {
    static const size_t calls[] = {254, 1, 3, 1, 0};
    FixtureModel s = fixture_model_default();
    s.layers = 1, s.head_dim = 64, s.context = 512;
    Built b = build(s);
    for (int kv = 0; kv < 3; kv++)
        same_model(b.base, (RunnerOptions){.kv = (KvType)kv}, calls, kv_type_name((KvType)kv));
    unbuild(&b);
}

Test(runner_cuda, without_graphs) {
    Built b = build(fixture_model_default());
    same_model(b.base, (RunnerOptions){.kv = KV_F16, .device_plain = true}, short_calls, "plain");
    unbuild(&b);
}

/* An error that shows only when somebody waits is reported at the kernel that was running. */
Test(runner_cuda, a_late_error_names_its_kernel) {
    static const struct {
        int kernel;
        bool one;
        const char *name;
    } cases[] = {{1, false, "prepare"},      {4, false, "attend"},          {6, false, "matmul (o)"},
                 {9, false, "route_tokens"}, {2, true, "attend"},           {3, true, "merge_chunks"},
                 {7, true, "down"},          {8, true, "matmul (q, k, v)"}, {15, true, "matmul (head)"}};
    void (*fail)(int);
    *(void **)&fail = symbol("recast_cuda_host_fail");
    Built b = build(fixture_model_default());
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t tokens[9];
        char want[64];
        Error err = {0};
        fill_prompt(tokens, 9);
        Pair p = open_pair(b.base, (RunnerOptions){.kv = KV_F16});
        if (cases[i].one) cr_assert_eq(runner_forward(p.gpu, tokens, 8, &err), 0, "%s", err.message);
        fail(cases[i].kernel);
        int code = cases[i].one ? runner_forward(p.gpu, tokens + 8, 1, &err)
                                : runner_forward(p.gpu, tokens, 8, &err);
        cr_assert_eq(code, ERR_DEVICE);
        snprintf(want, sizeof want, "CUDA, at %s: ", cases[i].name);
        cr_assert(strstr(err.message, want) == err.message, "%s, not %s", err.message, want);
        fail(0);
        close_pair(p);
    }
    unbuild(&b);
}

Test(runner_cuda, states_and_head) {
    enum { N = 45 };
    Model *m = open_checkpoint(FIXTURE_TINY);
    Pair p = open_pair(m, (RunnerOptions){.kv = KV_F16});
    const ModelParams *params = runner_params(p.cpu);
    uint32_t tokens[N];
    Error err = {0};
    float *states[2], *logits[2];
    fill_prompt(tokens, N);
    for (int i = 0; i < 2; i++) {
        Runner *r = i ? p.gpu : p.cpu;
        states[i] = malloc(N * params->n_embd * sizeof(float));
        logits[i] = malloc(N * params->n_vocab * sizeof(float));
        cr_assert(states[i] && logits[i]);
        runner_note_route(r);
        cr_assert_eq(runner_states(r, tokens, N, states[i], &err), 0, "%s", err.message);
        cr_assert_eq(runner_head(r, states[i], N, logits[i], &err), 0, "%s", err.message);
    }
    cr_assert_gt(runner_route_share(p.gpu), 0);
    cr_assert_eq(runner_route_share(p.gpu), runner_route_share(p.cpu));
    same_floats(states[1], states[0], N * params->n_embd, "states");
    same_floats(logits[1], logits[0], N * params->n_vocab, "logits");
    for (int i = 0; i < 2; i++) free(states[i]), free(logits[i]);
    close_pair(p);
    model_close(m);
}

/* Two settings of a model on one copy of its weights, the first of which is closed first. */
Test(runner_cuda, weights_of_another_runner) {
    Built b = build(fixture_model_default());
    Model *edited;
    Error err = {0};
    cJSON *overrides = cJSON_Parse("{\"num_experts_per_tok\": 3}");
    uint32_t tokens[8];
    cr_assert_eq(override_open(&edited, b.base, overrides, (OverrideOptions){.accept_inert_dynamic = true},
                               NULL, &err),
                 0, "%s", err.message);
    fill_prompt(tokens, 8);
    Pair base = open_pair(b.base, (RunnerOptions){.kv = KV_F16});
    RunnerOptions options = {.kv = KV_F16,
                             .context = 40,
                             .weights_of = base.gpu,
                             .device = DEVICE_CUDA,
                             .device_library = library()};
    Runner *other, *alone;
    cr_assert_eq(runner_open(&other, edited, options, NULL, &err), 0, "%s", err.message);
    options.device = DEVICE_CPU;
    cr_assert_eq(runner_open(&alone, edited, options, NULL, &err), 0, "%s", err.message);
    same_calls(base, short_calls, "the first");
    close_pair(base);
    same_calls((Pair){.cpu = alone, .gpu = other}, short_calls, "the second");
    close_pair((Pair){.cpu = alone, .gpu = other});
    model_close(edited);
    cJSON_Delete(overrides);
    unbuild(&b);
}

/* ---- far positions ---- */

/* Both caches hold the same nonsense (memory of the host library is 0xA5 everywhere; as float32 that is
 * -2.9e-16), but for some real tokens here and there: 274 chunks to merge, more than the 256 whose factors
 * are made at once. */
Test(runner_cuda, merging_many_chunks) {
    enum { CONTEXT = 71000 };
    static const uint32_t at[][2] = {{0, 20},     {300, 1},   {5000, 20}, {65530, 9},
                                     {66000, 20}, {70000, 1}, {70001, 1}};
    FixtureModel s = fixture_model_default();
    s.layers = 1, s.context = CONTEXT;
    Built b = build(s);
    Error err = {0};
    Arena *arena;
    Weights weights;
    RefState ref;
    Device *device;
    uint32_t tokens[32];
    float inv_freq[8], *want = malloc(s.vocab * sizeof *want), *got = malloc(s.vocab * sizeof *got);
    cr_assert(want && got);
    RopeTable rope = {.inv_freq = inv_freq, .attention_factor = 1};
    for (int i = 0; i < 8; i++) inv_freq[i] = 1.0f / (float)(1 << i);
    fill_prompt(tokens, 32);
    cr_assert_eq(gguf_names_open(&b.names, b.base, &(GgufNamesOptions){0}, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(arena_open(&arena, NULL, &err), 0);
    cr_assert_eq(weights_open(&weights, b.names, arena, &err), 0, "%s", err.message);
    RunnerOptions options = {
        .context = CONTEXT, .threads = 1, .device = DEVICE_CUDA, .device_library = library()};
    const ModelParams *p = &b.names->params;
    cr_assert_eq(ref_open(&ref, p, &weights, &rope, options, arena, NULL, &err), 0, "%s", err.message);
    memset(ref.kv.keys, 0xA5, (size_t)CONTEXT * s.kv_heads * s.head_dim * 4);
    memset(ref.kv.values, 0xA5, (size_t)CONTEXT * s.kv_heads * s.head_dim * 4);
    cr_assert_eq(device_open(&device, p, &weights, &rope, options, NULL, NULL, &err), 0, "%s", err.message);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        cr_assert_eq(ref_forward(&ref, tokens, at[i][1], at[i][0], want, &err), 0, "%s", err.message);
        cr_assert_eq(device_forward(device, tokens, at[i][1], at[i][0], got, &err), 0, "%s", err.message);
        same_floats(got, want, s.vocab, "far position");
    }
    device_close(device);
    ref_close(&ref);
    arena_close(arena);
    free(want);
    free(got);
    unbuild(&b);
}

/* ---- products of any bytes ---- */

static float unit(uint64_t *state) {
    return (float)(fixture_random(state) >> 40) / 8388608.0f - 1;
}

/* Random bytes as weights, but no scale that is infinite or no number. kind 1: every bit set but those. */
static void random_weights(uint8_t *row, DType type, size_t n, int kind, uint64_t *state) {
    const DTypeInfo *info = dtype_info(type);
    static const struct {
        DType type;
        int d, m;
    } places[] = {{DT_Q4_1, 0, 2},   {DT_Q5_1, 0, 2},    {DT_Q4_K, 0, 2},   {DT_Q5_K, 0, 2},
                  {DT_Q2_K, 80, 82}, {DT_Q3_K, 108, -1}, {DT_Q6_K, 208, -1}};
    int d = 0, m = -1;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (places[i].type == type) d = places[i].d, m = places[i].m;
    for (size_t i = 0; i < n / info->block; i++, row += info->bytes) {
        for (size_t k = 0; k < info->bytes; k++) row[k] = kind == 1 ? 0xFF : (uint8_t)fixture_random(state);
        if (type == DT_F32) row[3] &= 0xBF; /* exponents that leave sums finite, subnormals included */
        if (type == DT_BF16 || type == DT_F16) row[1] &= 0xBB;
        if (!dtype_is_float(type)) row[d + 1] &= 0xBB;
        if (!dtype_is_float(type) && m >= 0) row[m + 1] &= 0xBB;
    }
}

/* Vectors that are small, large, zero, of one sign, and mixed within a block. */
static void random_vector(float *x, size_t n, int kind, uint64_t *state) {
    for (size_t i = 0; i < n; i++) {
        int e = kind == 0 ? 0 : kind == 1 ? -130 : kind == 2 ? (int)(fixture_random(state) % 60) - 40 : -3;
        x[i] = kind == 3 ? (i % 64 < 32 ? -0.0f : 1) : ldexpf(unit(state), e);
    }
}

static float dot_of(DType type, const uint8_t *row, const float *x, const ActBlock *acts, size_t n, bool q8) {
    static float wide[4096];
    if (dtype_is_float(type)) return kernel_dot(type, row, x, n);
    if (q8) return quantized_dot(type, row, acts, n);
    quantizer_of(type)->dequantize(wide, row, n);
    return kernel_dot(DT_F32, wide, x, n);
}

/* A model of no layers is its head: rows times vectors, eight at a time and one at a time (with a norm). */
static void check_products(DType type, size_t columns, size_t n_rows, bool q8, uint64_t *state) {
    enum { VECTORS = 11 };
    size_t row_bytes = columns / dtype_info(type)->block * dtype_info(type)->bytes;
    uint8_t *rows = malloc(n_rows * row_bytes);
    float *x = malloc(VECTORS * columns * sizeof *x), *out = malloc(VECTORS * n_rows * sizeof *out);
    float *norm = malloc(columns * sizeof *norm), *y = malloc(columns * sizeof *y);
    ActBlock *acts = malloc((columns / 32 + 1) * sizeof *acts);
    cr_assert(rows && x && out && norm && y && acts);
    for (size_t r = 0; r < n_rows; r++)
        random_weights(rows + r * row_bytes, type, columns, r % 7 == 3, state);
    for (int v = 0; v < VECTORS; v++) random_vector(x + v * columns, columns, v % 4, state);
    for (size_t i = 0; i < columns; i++) norm[i] = unit(state);

    char error[CUDA_ERROR_SIZE] = "";
    CudaRunner *r;
    CudaFault fault;
    CudaModel m = {.n_embd = (uint32_t)columns,
                   .n_vocab = (uint32_t)n_rows,
                   .rms_eps = 1e-6f,
                   .context = 16,
                   .float_activations = !q8,
                   .head_type = (uint32_t)type};
    cr_assert_eq(api()->open(&r, &m, NULL, error), 0, "%s", error);
    cr_assert_eq(api()->load(r, CUDA_HEAD, 0, 0, rows, error), 0, "%s", error);
    cr_assert_eq(api()->load(r, CUDA_NORM, 0, 0, norm, error), 0, "%s", error);
    cr_assert_eq(api()->head(r, x, VECTORS, out, error), 0, "%s", error);
    for (int v = 0; v <= VECTORS; v++) { /* the last: through the norm */
        if (v < VECTORS)
            memcpy(y, x + v * columns, columns * sizeof *y);
        else
            kernel_norm(y, x + 2 * columns, norm, m.rms_eps, columns);
        if (!dtype_is_float(type)) quantized_activations(acts, y, columns);
        if (v == VECTORS) {
            CudaBatch batch = {.x = x + 2 * columns, .cosine = y, .sine = y, .count = 1, .logits = out};
            cr_assert_eq(api()->forward(r, &batch, &fault, error), 0, "%s", error);
        }
        for (size_t i = 0; i < n_rows; i++) {
            float want = dot_of(type, rows + i * row_bytes, y, acts, columns, q8);
            float got = out[v < VECTORS ? (size_t)v * n_rows + i : i];
            cr_assert(f32_bits(got) == f32_bits(want) || (isnan(got) && isnan(want)),
                      "%s, %zu columns, vector %d, row %zu: %a, not %a", dtype_name(type), columns, v, i,
                      (double)got, (double)want);
        }
    }
    api()->close(r);
    free(rows), free(x), free(out), free(norm), free(y), free(acts);
}

Test(runner_cuda, products_of_any_bytes) {
    static const size_t lengths[] = {256, 1280, 2304};
    uint64_t state = 11;
    for (int order = 0; order < 3; order++) {
        set_order(order);
        for (size_t t = 0; t < N_TYPES; t++) {
            check_products(types[t], lengths[order], 70, true, &state);
            check_products(types[t], lengths[order], 70, false, &state);
        }
    }
    set_order(0);
    for (size_t t = 0; t < 3; t++)
        for (size_t n = 1; n < 600; n = n * 2 + 1) check_products(types[t], n, 70, true, &state);
    check_products(DT_Q8_0, 32, 70, true, &state);
    check_products(DT_Q5_1, 1056, 70, true, &state);
    check_products(DT_Q4_0, 4128, 300, true, &state);
    check_products(DT_BF16, 1500, 300, true, &state);
}

/* ---- refusals ---- */

Test(runner_cuda, rows_that_no_shared_memory_holds) {
    char error[CUDA_ERROR_SIZE] = "";
    CudaRunner *r = NULL;
    CudaModel m = {.n_embd = 9216, .n_vocab = 3, .context = 1, .head_type = DT_Q5_K};
    cr_assert_eq(api()->open(&r, &m, NULL, error), 1);
    cr_assert_null(r);
    cr_assert(strstr(error, "rows so long"), "%s", error);
    cr_assert(strstr(error, "host fibers"), "%s", error);
    m.n_embd = 8192;
    cr_assert_eq(api()->open(&r, &m, NULL, error), 0, "%s", error);
    api()->close(r);
}

/* The bytes of a tensor of the fixture's only file, which is read and written back with `n` of them changed,
 * or all. */
static void change_tensor(Built *b, const char *name, const uint8_t *bytes, size_t n, bool all) {
    size_t length;
    char *file = fixture_read(b->directory, "model.safetensors", &length), *entry = strstr(file + 8, name),
         *end;
    cr_assert_not_null(entry, "%s", name);
    uint64_t header, first = strtoull(strstr(entry, "\"data_offsets\":[") + 16, &end, 10);
    uint64_t last = strtoull(end + 1, NULL, 10);
    memcpy(&header, file, 8);
    for (size_t i = 0; i < (all ? last - first : n); i++) file[8 + header + first + i] = (char)bytes[i % n];
    model_close(b->base);
    fixture_write(b->directory, "model.safetensors", file, length);
    free(file);
    b->base = open_checkpoint(b->directory);
}

/* Of equal probabilities the lower index is chosen, and of equal logits: a router of zeros, a head of zeros.
 */
Test(runner_cuda, ties_go_to_the_lower_index) {
    Built b = build(fixture_model_default());
    change_tensor(&b, "model.layers.0.mlp.gate.weight", (const uint8_t[]){0}, 1, true);
    same_model(b.base, (RunnerOptions){.kv = KV_F32}, short_calls, "equal experts");
    change_tensor(&b, "lm_head.weight", (const uint8_t[]){0}, 1, true);
    same_model(b.base, (RunnerOptions){.kv = KV_F32}, short_calls, "equal logits");
    unbuild(&b);
}

Test(runner_cuda, not_a_number_is_named_as_the_reference_names_it) {
    static const char *const broken[] = {"model.layers.1.mlp.experts.3.up_proj.weight",
                                         "model.layers.0.self_attn.v_proj.weight", "lm_head.weight"};
    for (size_t i = 0; i < 3; i++) {
        Built b = build(fixture_model_default());
        change_tensor(&b, broken[i], (const uint8_t[]){0x80, 0x7F}, 2, false); /* infinity */
        Pair p = open_pair(b.base, (RunnerOptions){.kv = KV_F16});
        uint32_t tokens[40];
        Error want = {0}, got = {0};
        fill_prompt(tokens, 40);
        cr_assert_eq(runner_forward(p.cpu, tokens, 40, &want), ERR_NUMERIC);
        cr_assert_eq(runner_forward(p.gpu, tokens, 40, &got), ERR_NUMERIC);
        cr_assert_str_eq(got.message, want.message);
        close_pair(p);
        unbuild(&b);
    }
}

Test(runner_cuda, says_what_would_fit) {
    Model *m = open_checkpoint(FIXTURE_TINY);
    Runner *r;
    Error err = {0};
    RunnerOptions options = {
        .context = 40000000, .kv = KV_F16, .device = DEVICE_CUDA, .device_library = library()};
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), ERR_MEMORY);
    cr_assert(strstr(err.message, "host fibers (cuda): "), "%s", err.message);
    cr_assert(strstr(err.message, " bytes are needed and 4294967296 are free: weights "), "%s", err.message);
    cr_assert(strstr(err.message, "a context of "), "%s", err.message);
    char *end = strstr(err.message, "a context of ") + 13;
    options.context = (uint32_t)strtoul(end, &end, 10); /* the next one is refused */
    cr_assert_gt(options.context, 1000000);
    options.context++;
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), ERR_MEMORY);
    model_close(m);
}

Test(runner_cuda, a_library_that_is_none) {
    Model *m = open_checkpoint(FIXTURE_TINY);
    Runner *r;
    Error err = {0};
    RunnerOptions options = {.device = DEVICE_CUDA};
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), ERR_DEVICE);
    cr_assert(strstr(err.message, "recast_cuda.so is neither beside this program nor in"), "%s", err.message);
    options.device_library = "/nonexistent/recast_cuda.so";
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), ERR_DEVICE);
    cr_assert(strstr(err.message, "/nonexistent/recast_cuda.so"), "%s", err.message);
    options.device = DEVICE_AUTO; /* the processor then */
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), 0, "%s", err.message);
    cr_assert_str_eq(runner_device(r), "cpu");
    cr_assert_str_eq(runner_device_note(r), "");
    runner_close(r);
    model_close(m);
}
