/* What a model says: recorded in hashes, reproduced from every lossless form, and explained where it differs.
 */
#include "validate_fixture.h"
#include <math.h>

#define GGUF "{\"format\":\"gguf\",\"type\":\"bf16\"}"
#define F16  "{\"format\":\"gguf\",\"type\":\"f16\"}"

/* Case "extreme-short" of transformers 4.51's greedy generation in float32, 16 experts and YaRN 4x, 24
 * tokens: SHA-256 of the ids as u32 little-endian, and the text. */
static const char golden_prompt[] = "Ge1:1 In the beginning";
static const char golden_tokens[] = "08fbbac221c8d470be20473d458fbc881b4718018615519261dead69786b2281";
static const char golden_text[] = " of the wife of Abraham, and he was built, and he repared him.\n";

Test(test_validate_generation, as_transformers_from_either_form) {
    Made *m = made_open(GGUF);
    GenerationRecord hf, gguf;
    FixturePath path;
    Model *model;
    fixture_path(path, m->package, made_gguf);
    OK(model_open(&model, path, NULL, err));
    OK(generate_one(&hf, m->derived.top, golden_prompt, 24, NULL, 1, m->arena, err));
    OK(generate_one(&gguf, model, golden_prompt, 24, made_gguf, 2, m->arena, err));
    cr_assert_str_eq(hf.tokens_sha256, golden_tokens);
    cr_assert_str_eq(hf.text, golden_text);
    cr_assert_str_eq(gguf.tokens_sha256, hf.tokens_sha256);
    cr_assert_str_eq(gguf.logits_sha256, hf.logits_sha256);
    cr_assert_str_eq(gguf.artifact, made_gguf);
    cr_assert_null(hf.artifact);
    cr_assert_eq(hf.n_tokens, 24);
    cr_assert(hf.least_margin > 0 && hf.least_margin == gguf.least_margin);
    cr_assert_eq(strncmp(hf.arithmetic, "recast-arithmetic-1/", 20), 0);
    cr_assert_not_null(strstr(hf.arithmetic, "kv f32"));
    model_close(model);
    made_close(m);
}

/* End tokens don't end it: a hash must cover as many tokens as it says. */
Test(test_validate_generation, exactly_as_many_tokens) {
    Model *model;
    Arena *arena;
    GenerationRecord record;
    OK(model_open(&model, FIXTURE_TINY, NULL, err));
    OK(arena_open(&arena, NULL, err));
    OK(generate_one(&record, model, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", 100, NULL,
                    2, arena, err));
    cr_assert_eq(record.n_tokens, 100);
    arena_close(arena);
    model_close(model);
}

Test(test_validate_generation, limits) {
    Model *model;
    Arena *arena;
    GenerationRecord record;
    Error found = {0};
    OK(model_open(&model, FIXTURE_TINY, NULL, err));
    OK(arena_open(&arena, NULL, err));
    cr_assert_eq(generate_one(&record, model, "x", 2048, NULL, 1, arena, &found), ERR_LIMIT);
    cr_assert_not_null(strstr(found.message, "2048"), "%s", found.message);
    cr_assert_eq(generate_one(&record, model, "x", UINT32_MAX, NULL, 1, arena, &found), ERR_LIMIT);
    cr_assert_eq(generate_one(&record, model, "x", 0, NULL, 1, arena, &found), ERR_LIMIT);
    cr_assert_eq(generate_one(&record, model, "", 1, NULL, 1, arena, &found), ERR_RECIPE);
    arena_close(arena);
    model_close(model);
}

/* The built artifact against records that are not its own. */
static Report *check_against(Made *m, const char *name, const GenerationRecord *records, size_t n) {
    Report *r;
    FixturePath path;
    Model *model;
    ValidateOptions options = {.source = m->source, .proof = m->proof, .recipe = m->recipe, .threads = 2};
    fixture_path(path, m->package, name);
    OK(model_open(&model, path, NULL, err));
    OK(report_open(&r, NULL, err));
    OK(validate_artifact(r, name, model, m->derived.top, m->proof, n, records, &options, err));
    model_close(model);
    return r;
}

Test(test_validate_generation, differences) {
    Made *m = made_open(GGUF);
    GenerationRecord record = m->generations[0];
    Report *r = check_against(m, made_gguf, &record, 1);
    cr_assert_eq(find_check(r, "generation", "tiny-BF16.gguf: generation")->status, CHECK_PASS);
    report_close(r);

    record.logits_sha256[0] ^= 1;
    r = check_against(m, made_gguf, &record, 1);
    fails_with(r, "generation", "tiny-BF16.gguf: generation",
               "prompt 1 (\"And the LORD said\"): the same tokens, but other logits");
    report_close(r);

    record = m->generations[0];
    record.text = "And the LORD went";
    r = check_against(m, made_gguf, &record, 1);
    fails_with(r, "generation", "tiny-BF16.gguf: generation",
               "the recorded tokens and logits, but they say another text from byte 0 on");
    report_close(r);

    record = m->generations[0];
    record.least_margin *= 2;
    r = check_against(m, made_gguf, &record, 1);
    fails_with(r, "generation", "tiny-BF16.gguf: generation",
               "the recorded tokens and logits, but their least margin is ");
    report_close(r);

    record = m->generations[0];
    record.least_margin = INFINITY; /* not recorded */
    r = check_against(m, made_gguf, &record, 1);
    cr_assert_eq(find_check(r, "generation", "tiny-BF16.gguf: generation")->status, CHECK_PASS);
    report_close(r);

    record.arithmetic = "recast-arithmetic-0/f32 activations/kv f32";
    r = check_against(m, made_gguf, &record, 1);
    const Check *c = find_check(r, "generation", "tiny-BF16.gguf: generation");
    cr_assert_eq(c->status, CHECK_NOT_RUN);
    cr_assert_not_null(strstr(c->detail, "recorded with recast-arithmetic-0"));
    report_close(r);

    r = check_against(m, made_gguf, NULL, 0);
    cr_assert_eq(report_group(r, "generation"), CHECK_NOT_RUN);
    report_close(r);
    made_close(m);
}

/* A file that runs 1 expert in place of 16: the step, both tokens and the margin are named. */
Test(test_validate_generation, the_first_other_token) {
    Made *m = made_open(GGUF);
    GenerationRecord record;
    uint32_t used = 1;
    OK(generate_one(&record, m->derived.top, golden_prompt, 24, NULL, 2, m->arena, err));
    poke_key(m->package, made_gguf, "qwen3moe.expert_used_count", &used, 4);
    Report *r = check_against(m, made_gguf, &record, 1);
    fails_with(r, "generation", "tiny-BF16.gguf: generation",
               "prompt 1 (\"Ge1:1 In the beginning\"): at step ");
    fails_with(r, "generation", "tiny-BF16.gguf: generation", "by a margin of ");
    report_close(r);
    made_close(m);
}

/* The source's records say nothing of a lossy artifact: it has its own. */
Test(test_validate_generation, lossy_artifacts) {
    Made *m = made_open(F16);
    cr_assert_eq(m->n_generations, 2);
    cr_assert_str_neq(m->generations[0].logits_sha256, m->generations[1].logits_sha256);
    cr_assert_eq(find_check(m->report, "generation", NULL)->status, CHECK_NOT_RUN);
    Report *r = validate_at(m->package, NULL, NULL);
    cr_assert_eq(find_check(r, "generation", "tiny-F16.gguf: generation")->status, CHECK_PASS);
    report_close(r);
    made_close(m);
}
