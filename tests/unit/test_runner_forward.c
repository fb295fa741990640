/* The forward pass: one result whatever the threads, the chunks, the layout and the form; and refusals by
 * name. */
#include "core/sha256.h"
#include "model/checkpoint.h"
#include "model/views.h"
#include "retype_fixture.h"
#include "runner/generate.h"
#include "runner/ref/weights.h"
#include "tests/unit/fixture.h"
#include <math.h>

enum { PROMPT = 300 /* beyond one chunk of attention and one batch */, CONTEXT = 512 };

static void fill_prompt(uint32_t *tokens, size_t n) {
    for (size_t i = 0; i < n; i++) tokens[i] = (uint32_t)((i * i * 31 + 17 * i + 5) % 1000);
}

static Model *open_checkpoint(const char *directory) {
    Model *m;
    Error err = {0};
    cr_assert_eq(checkpoint_open(&m, directory, NULL, &err), 0, "%s", err.message);
    return m;
}

static Runner *open_runner(const Model *m, RunnerOptions options) {
    Runner *r;
    Error err = {0};
    cr_assert_eq(runner_open(&r, m, options, NULL, &err), 0, "%s", err.message);
    return r;
}

/* Hashes the logits behind the prompt, given in pieces of `chunk`, and behind two more tokens. */
static void logits_hash(char hex[SHA256_HEX], Runner *r, size_t n_prompt, size_t chunk) {
    uint32_t prompt[PROMPT];
    Sha256 *hash;
    Error err = {0};
    size_t bytes = runner_params(r)->n_vocab * sizeof(float);
    fill_prompt(prompt, n_prompt);
    runner_reset(r);
    cr_assert_eq(sha256_open(&hash, NULL), 0);
    for (size_t i = 0; i < n_prompt; i += chunk)
        cr_assert_eq(runner_forward(r, prompt + i, n_prompt - i < chunk ? n_prompt - i : chunk, &err), 0,
                     "%s", err.message);
    for (uint32_t token = 1; token <= 2; token++) {
        sha256_update(hash, runner_logits(r), bytes);
        cr_assert_eq(runner_forward(r, &token, 1, &err), 0, "%s", err.message);
    }
    sha256_update(hash, runner_logits(r), bytes);
    cr_assert_eq(runner_position(r), n_prompt + 2);
    sha256_finish(hash, hex);
    sha256_close(hash);
}

static void hash_model(char hex[SHA256_HEX], const Model *m, KvType kv) {
    Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT, .kv = kv, .threads = 1});
    logits_hash(hex, r, PROMPT, PROMPT);
    runner_close(r);
}

/* The bits of recast-arithmetic-1, computed from docs/arithmetic.md alone by tests/golden/make_strict.py. The
 * longer prompt has two chunks of attention. */
Test(runner_forward, bits_are_those_of_the_specification) {
    static const struct {
        KvType kv;
        size_t n;
        const char *sha256;
    } expected[] = {{KV_F32, 6, "1449ad4110f2986bb12a4fce90323c6f121d5f863988fd177f7203896a7ebd90"},
                    {KV_F16, 6, "daab92ae8d93feee25a94f8fe000663060733ef7b3fe81355ea0579b269b0dac"},
                    {KV_F32, 262, "6f4f633495209bba4acb95d4bff9834b390ae1a73cee88f2bfe7b5c3f6615327"},
                    {KV_F16, 262, "89787d6ddd4c516167f4c7a68cf616ad603beeae58a9304b33ee03a4f12f46da"}};
    uint32_t prompt[PROMPT];
    Model *m = open_checkpoint(FIXTURE_TINY);
    fill_prompt(prompt, PROMPT); /* 5 53 163 335 569 865 ... */
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        char hex[SHA256_HEX];
        Error err = {0};
        Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT, .kv = expected[i].kv});
        cr_assert_eq(runner_forward(r, prompt, expected[i].n, &err), 0, "%s", err.message);
        cr_assert_eq(sha256_bytes(hex, runner_logits(r), 1024 * sizeof(float), NULL), 0);
        cr_assert_str_eq(hex, expected[i].sha256, "%zu tokens", expected[i].n);
        runner_close(r);
    }
    model_close(m);
}

Test(runner_forward, threads_and_chunks_change_nothing) {
    static const unsigned threads[] = {1, 2, 7};
    static const size_t chunks[] = {PROMPT, 1, 7, 256};
    char first[SHA256_HEX] = "", hex[SHA256_HEX];
    Model *m = open_checkpoint(FIXTURE_TINY);
    for (size_t t = 0; t < 3; t++) {
        Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT, .threads = threads[t]});
        for (size_t c = 0; c < 4; c++) {
            logits_hash(hex, r, PROMPT, chunks[c]);
            if (!*first) memcpy(first, hex, sizeof first);
            cr_assert_str_eq(hex, first, "%u threads, chunks of %zu", threads[t], chunks[c]);
        }
        runner_close(r);
    }
    model_close(m);
}

Test(runner_forward, form_and_stored_type_change_nothing) {
    Error err = {0};
    char hf[SHA256_HEX], gguf[SHA256_HEX], f32[SHA256_HEX], f16[SHA256_HEX];
    Model *m = open_checkpoint(FIXTURE_TINY), *names, *wide, *narrow;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(retype_as(&wide, names, DT_F32, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(retype_as(&narrow, names, DT_F16, NULL, &err), 0, "%s", err.message);
    hash_model(hf, m, KV_F32);
    hash_model(gguf, names, KV_F32);
    hash_model(f32, wide, KV_F32); /* transformed rows: read into memory, not mapped */
    hash_model(f16, narrow, KV_F32);
    cr_assert_str_eq(hf, gguf);
    cr_assert_str_eq(hf, f32);
    cr_assert_str_neq(hf, f16, "float16 does not hold all of these weights");
    model_close(narrow);
    model_close(wide);
    model_close(names);
    model_close(m);
}

Test(runner_forward, layout_changes_nothing) {
    FixtureModel shapes[] = {fixture_model_default(), fixture_model_default(), fixture_model_default(),
                             fixture_model_default()};
    char first[SHA256_HEX] = "", hex[SHA256_HEX];
    shapes[1].fused = true;
    shapes[2].float32 = true;
    shapes[3].shards = 3;
    for (size_t i = 0; i < 4; i++) {
        FixturePath directory;
        fixture_dir(directory);
        fixture_model(directory, &shapes[i]);
        Model *m = open_checkpoint(directory);
        hash_model(hex, m, KV_F32);
        if (!*first) memcpy(first, hex, sizeof first);
        cr_assert_str_eq(hex, first, "layout %zu", i);
        model_close(m);
        fixture_remove(directory);
    }
}

/* Nothing is a power of two, one layer, and the head is the embedding: logits of a token that copies
 * another's row are equal. */
Test(runner_forward, odd_shapes_and_tied_embeddings) {
    FixtureModel shape = {.layers = 1,
                          .experts = 5,
                          .used = 3,
                          .hidden = 42,
                          .heads = 6,
                          .kv_heads = 3,
                          .head_dim = 10,
                          .ff = 19,
                          .vocab = 1024,
                          .context = 600,
                          .shards = 1,
                          .tied = true,
                          .seed = 3};
    FixturePath directory;
    Error err = {0};
    char first[SHA256_HEX] = "", hex[SHA256_HEX];
    fixture_dir(directory);
    fixture_model(directory, &shape);
    Model *m = open_checkpoint(directory);
    cr_assert(m->params.tied_embeddings);
    for (unsigned threads = 1; threads <= 3; threads++) {
        Runner *r = open_runner(m, (RunnerOptions){.threads = threads});
        logits_hash(hex, r, PROMPT, threads == 2 ? 11 : PROMPT);
        if (!*first) memcpy(first, hex, sizeof first);
        cr_assert_str_eq(hex, first);
        runner_close(r);
    }
    /* the embedding's rows against the normed last state: recover nothing, but the head must read those rows
     */
    Model *names;
    Arena *arena;
    Weights w;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(weights_open(&w, names, arena, &err), 0, "%s", err.message);
    cr_assert_eq(w.head.data, w.embedding.data);
    arena_close(arena);
    model_close(names);
    model_close(m);
    fixture_remove(directory);
}

Test(runner_forward, kv_f16_is_near_but_not_equal) {
    const uint32_t prompt[] = {1, 2, 3, 4, 5, 6, 7, 8};
    Model *m = open_checkpoint(FIXTURE_TINY);
    Runner *a = open_runner(m, (RunnerOptions){.kv = KV_F32}),
           *b = open_runner(m, (RunnerOptions){.kv = KV_F16});
    cr_assert_str_eq(runner_arithmetic(a), "recast-arithmetic-1/f32 activations/kv f32");
    cr_assert_str_eq(runner_arithmetic(b), "recast-arithmetic-1/f32 activations/kv f16");
    cr_assert_eq(runner_forward(a, prompt, 8, NULL), 0);
    cr_assert_eq(runner_forward(b, prompt, 8, NULL), 0);
    double largest = 0;
    for (int i = 0; i < 1024; i++)
        largest = fmax(largest, fabs((double)runner_logits(a)[i] - (double)runner_logits(b)[i]));
    cr_assert(largest > 0 && largest < 0.05, "%g", largest);
    char hex[SHA256_HEX], first[SHA256_HEX];
    runner_close(b);
    b = open_runner(m, (RunnerOptions){.context = CONTEXT, .kv = KV_F16, .threads = 3});
    logits_hash(first, b, PROMPT, PROMPT);
    logits_hash(hex, b, PROMPT, 13);
    cr_assert_str_eq(first, hex);
    runner_close(b);
    runner_close(a);
    model_close(m);
}

Test(runner_forward, kv_q8_0_has_blocks_along_the_head) {
    FixturePath dir;
    FixtureModel f = fixture_model_default();
    f.head_dim = 32, f.heads = 2, f.kv_heads = 1;
    fixture_dir(dir);
    fixture_model(dir, &f);
    Model *m = open_checkpoint(dir), *tiny = open_checkpoint(FIXTURE_TINY);
    char hex[SHA256_HEX], first[SHA256_HEX], other[SHA256_HEX];
    Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT, .kv = KV_Q8_0, .threads = 3}), *refused;
    cr_assert_str_eq(runner_arithmetic(r), "recast-arithmetic-1/f32 activations/kv q8_0");
    logits_hash(first, r, PROMPT, PROMPT);
    logits_hash(hex, r, PROMPT, 13);
    hash_model(other, m, KV_F16);
    cr_assert_str_eq(first, hex);
    cr_assert_str_neq(first, other);
    Error err = {0};
    cr_assert_eq(runner_open(&refused, tiny, (RunnerOptions){.kv = KV_Q8_0}, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "heads of 16"), "%s", err.message);
    runner_close(r);
    model_close(m);
    model_close(tiny);
    fixture_remove(dir);
}

/* Logits after every token, whatever was given in one call. */
Test(runner_forward, states_give_the_bits_of_one_by_one) {
    enum { N = 290 };
    uint32_t prompt[PROMPT];
    Error err = {0};
    Model *m = open_checkpoint(FIXTURE_TINY);
    size_t d = m->params.n_embd, n_vocab = m->params.n_vocab;
    float *states = malloc(N * d * sizeof *states), *logits = malloc(N * n_vocab * sizeof *logits);
    fill_prompt(prompt, PROMPT);
    Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT}),
           *one = open_runner(m, (RunnerOptions){.context = CONTEXT});
    cr_assert_eq(runner_states(r, prompt, 5, states, &err), 0, "%s", err.message);
    cr_assert_eq(runner_states(r, prompt + 5, N - 5, states + 5 * d, &err), 0, "%s", err.message);
    cr_assert_eq(runner_position(r), N);
    for (size_t i = 0; i < N; i += 29)
        cr_assert_eq(runner_head(r, states + i * d, 29, logits + i * n_vocab, &err), 0, "%s", err.message);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(runner_forward(one, prompt + i, 1, &err), 0, "%s", err.message);
        cr_assert_eq(memcmp(runner_logits(one), logits + i * n_vocab, n_vocab * sizeof *logits), 0,
                     "position %zu", i);
    }
    cr_assert_eq(runner_states(r, prompt, N, states, &err), ERR_LIMIT);
    free(states);
    free(logits);
    runner_close(r);
    runner_close(one);
    model_close(m);
}

Test(runner_forward, kv_bytes) {
    ModelParams p = {.n_layers = 48, .n_kv_heads = 4, .head_dim = 128};
    uint64_t bytes;
    cr_assert(runner_kv_bytes(&p, 1, KV_F16, &bytes));
    cr_assert_eq(bytes, 98304);
    cr_assert(runner_kv_bytes(&p, 131072, KV_F32, &bytes));
    cr_assert_eq(bytes, 25769803776u);
    cr_assert(runner_kv_bytes(&p, 1, KV_Q8_0, &bytes));
    cr_assert_eq(bytes, 48 * 2 * 4 * 4 * 34);
    p = (ModelParams){.n_layers = UINT32_MAX, .n_kv_heads = UINT32_MAX, .head_dim = 4};
    cr_assert_not(runner_kv_bytes(&p, UINT32_MAX, KV_F32, &bytes));
}

/* ---- misuse ---- */

static void expect(int code, const Error *err, ErrorCode wanted, const char *word) {
    cr_assert_eq(code, (int)wanted, "%d instead of %d: %s", code, (int)wanted, err->message);
    cr_assert_not_null(strstr(err->message, word), "\"%s\" does not say \"%s\"", err->message, word);
}

Test(runner_forward, misuse) {
    Error err = {0};
    const uint32_t tokens[] = {1, 2, 3, 4, 1024};
    Model *m = open_checkpoint(FIXTURE_TINY);
    Runner *r = open_runner(m, (RunnerOptions){.context = 5});
    cr_assert_eq(runner_context(r), 5);
    expect(runner_forward(r, tokens, 0, &err), &err, ERR_USAGE, "empty");
    expect(runner_forward(r, tokens + 4, 1, &err), &err, ERR_USAGE, "1024");
    cr_assert_eq(runner_position(r), 0);
    cr_assert_eq(runner_forward(r, tokens, 3, &err), 0);
    expect(runner_forward(r, tokens, 3, &err), &err, ERR_LIMIT, "room for 5");
    cr_assert_eq(runner_forward(r, tokens, 2, &err), 0, "what fits still goes");
    expect(runner_forward(r, tokens, 1, &err), &err, ERR_LIMIT, "5 positions are taken");
    runner_reset(r);
    cr_assert_eq(runner_position(r), 0);
    cr_assert_eq(runner_forward(r, tokens, 4, &err), 0);
    runner_close(r);
    runner_close(NULL);
    model_close(m);
}

static Model * override(const Model *base, const char *json) {
    Model *m;
    Error err = {0};
    cJSON *object = cJSON_Parse(json);
    cr_assert_eq(override_open(&m, base, object, (OverrideOptions){.accept_inert_dynamic = true}, NULL, &err),
                 0, "%s", err.message);
    cJSON_Delete(object);
    return m;
}

Test(runner_forward, dynamic_needs_a_length_beyond_the_native_context) {
    Error err = {0};
    uint32_t prompt[PROMPT];
    char fixed[SHA256_HEX], chunked[SHA256_HEX], longer[SHA256_HEX];
    fill_prompt(prompt, PROMPT);
    Model *base = open_checkpoint(FIXTURE_TINY);
    Model *m = override(base, "{\"rope_scaling\":{\"rope_type\":\"dynamic\",\"factor\":4.0}}");
    Runner *r = open_runner(m, (RunnerOptions){.context = CONTEXT});
    expect(runner_forward(r, prompt, 257, &err), &err, ERR_LIMIT, "dynamic");
    cr_assert_eq(runner_forward(r, prompt, 256, &err), 0, "%s", err.message);
    cr_assert_eq(runner_set_rope_length(r, 310, &err), 0);
    logits_hash(fixed, r, PROMPT, PROMPT);
    runner_close(r);
    r = open_runner(m, (RunnerOptions){.context = CONTEXT, .rope_length = 310});
    logits_hash(chunked, r, PROMPT, 9);
    cr_assert_str_eq(fixed, chunked);
    runner_close(r);
    r = open_runner(m, (RunnerOptions){.context = CONTEXT, .rope_length = 400});
    logits_hash(longer, r, PROMPT, PROMPT);
    cr_assert_str_neq(fixed, longer);
    runner_close(r);
    model_close(m);
    model_close(base);
}

/* ---- broken models ---- */

/* A copy of a model in which one tensor was changed. */
typedef struct Broken {
    Model *base, *names, model;
    Tensor *tensors, *target;
} Broken;

static void broken_open(Broken *b, const char *tensor) {
    Error err = {0};
    b->base = open_checkpoint(FIXTURE_TINY);
    cr_assert_eq(gguf_names_open(&b->names, b->base, &(GgufNamesOptions){0}, NULL, &err), 0, "%s",
                 err.message);
    b->model = *b->names;
    b->tensors = malloc(b->model.n_tensors * sizeof *b->tensors);
    cr_assert_not_null(b->tensors);
    memcpy(b->tensors, b->model.tensors, b->model.n_tensors * sizeof *b->tensors);
    b->model.tensors = b->tensors;
    b->target = (Tensor *)model_find(&b->model, tensor);
    cr_assert_not_null(b->target);
}

static void broken_close(Broken *b) {
    free(b->tensors);
    model_close(b->names);
    model_close(b->base);
}

static void refuse(Broken *b, ErrorCode code, const char *word) {
    Error err = {0};
    Runner *r;
    expect(runner_open(&r, &b->model, (RunnerOptions){0}, NULL, &err), &err, code, word);
    broken_close(b);
}

/* The same check without family_check_tensors in front of it. */
static void refuse_weights(Broken *b, ErrorCode code, const char *word) {
    Error err = {0};
    Arena *arena;
    Weights w;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    expect(weights_open(&w, &b->model, arena, &err), &err, code, word);
    arena_close(arena);
}

static int give_nan(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                    const void *in, void *out, Error *err) {
    (void)t, (void)first_row, (void)in, (void)err;
    for (uint64_t i = 0; i < n_rows * row_elements; i++) ((uint16_t *)out)[i] = 0x7FC0;
    return 0;
}

Test(runner_forward, wrong_shape) {
    Broken b;
    broken_open(&b, "blk.1.attn_k.weight");
    b.target->dims[1] = 31;
    refuse_weights(&b, ERR_FORMAT, "blk.1.attn_k.weight has shape [64, 31], expected [64, 32]");
    refuse(&b, ERR_FORMAT, "attn_k");
    broken_open(&b, "blk.0.ffn_down_exps.weight");
    b.target->n_dims = 2;
    refuse_weights(&b, ERR_FORMAT, "blk.0.ffn_down_exps.weight has shape");
    broken_close(&b);
}

Test(runner_forward, missing_tensor) {
    Broken b;
    Error err = {0};
    Table *names;
    Arena *arena;
    broken_open(&b, "output.weight");
    cr_assert_eq(b.target, b.tensors, "it stands first");
    b.model.tensors++, b.model.n_tensors--;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(table_open(&names, arena, 100, &err), 0);
    for (size_t i = 0; i < b.model.n_tensors; i++)
        table_put(names, b.model.tensors[i].name, strlen(b.model.tensors[i].name), i);
    b.model.names = names;
    refuse_weights(&b, ERR_FORMAT, "output.weight is missing");
    refuse(&b, ERR_FORMAT, "output.weight");
    arena_close(arena);
}

Test(runner_forward, weight_type) {
    Broken b;
    broken_open(&b, "blk.0.attn_q.weight");
    b.target->type = DT_IQ2_S;
    refuse_weights(&b, ERR_UNSUPPORTED, "blk.0.attn_q.weight is IQ2_S");
    broken_close(&b);
}

Test(runner_forward, unknown_family) {
    Broken b;
    broken_open(&b, "output.weight");
    b.model.family = NULL;
    snprintf(b.model.params.architecture, sizeof b.model.params.architecture, "llama");
    refuse(&b, ERR_UNSUPPORTED, "llama");
}

Test(runner_forward, rope_type_that_cannot_run) {
    Broken b;
    broken_open(&b, "output.weight");
    b.model.params.rope.type = ROPE_LONGROPE;
    refuse(&b, ERR_UNSUPPORTED, "longrope");
}

Test(runner_forward, hostile_parameters) {
    Broken b;
    broken_open(&b, "output.weight");
    b.model.params.head_dim = 15;
    refuse(&b, ERR_FORMAT, "head_dim");
    broken_open(&b, "output.weight");
    b.model.params.n_experts_used = 129;
    refuse(&b, ERR_FORMAT, "129");
    broken_open(&b, "output.weight");
    b.model.params.n_layers = 3;
    refuse(&b, ERR_FORMAT, "blk.2");
}

/* Returns what a forward pass says when one tensor is all NaN. */
static void poison(const char *tensor, const char *word) {
    Broken b;
    Error err = {0};
    const uint32_t prompt[] = {7, 8, 9};
    broken_open(&b, tensor);
    b.target->n_transforms = 1;
    b.target->transforms[0] = (RowTransform){.from = DT_BF16, .to = DT_BF16, .apply = give_nan};
    Runner *r = open_runner(&b.model, (RunnerOptions){0});
    expect(runner_forward(r, prompt, 3, &err), &err, ERR_NUMERIC, word);
    expect(runner_forward(r, prompt, 3, &err), &err, ERR_USAGE, "reset");
    runner_reset(r);
    expect(runner_forward(r, prompt, 3, &err), &err, ERR_NUMERIC, word);
    runner_close(r);
    broken_close(&b);
}

Test(runner_forward, numbers_that_are_none) {
    poison("blk.0.ffn_down_exps.weight", "layer 1 of 2 (blk.0)");
    poison("blk.1.ffn_gate_inp.weight", "layer 2 of 2 (blk.1)");
    poison("blk.1.attn_k.weight", "layer 2 of 2 (blk.1)");
    poison("blk.0.attn_norm.weight", "layer 1 of 2 (blk.0)");
    poison("token_embd.weight", "position 0 (id 7)");
    poison("output.weight", "output head");
}

/* ---- memory ---- */

typedef struct Failing {
    size_t left;
    long live;
} Failing;

static void *failing_resize(void *context, void *pointer, size_t size) {
    Failing *f = context;
    if (!size) {
        f->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (!f->left || size > 1u << 30) return NULL;
    f->left--;
    void *result = realloc(pointer, size);
    f->live += result && !pointer;
    return result;
}

Test(runner_forward, every_allocation_may_fail) {
    Error err = {0};
    Model *m = open_checkpoint(FIXTURE_TINY), *names;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0);
    int code = ERR_MEMORY;
    for (size_t n = 0; code; n++) {
        Failing f = {.left = n};
        Allocator allocator = {failing_resize, &f};
        Runner *r = NULL;
        cr_assert_lt(n, 1000);
        code = runner_open(&r, names, (RunnerOptions){.context = 16}, &allocator, &err);
        cr_assert(code == 0 || code == ERR_MEMORY, "%s", err.message);
        if (!code) runner_close(r);
        cr_assert_eq(f.live, 0, "after %zu allocations", n);
    }
    Runner *r;
    Failing large = {.left = 1000}; /* refuses two terabytes even where the system would promise it */
    Allocator allocator = {failing_resize, &large};
    expect(runner_open(&r, names, (RunnerOptions){.context = UINT32_MAX}, &allocator, &err), &err, ERR_MEMORY,
           "KV cache of 2199023255040 bytes");
    cr_assert_eq(large.live, 0);
    model_close(names);
    model_close(m);
}
