/* An artifact against the source that is said to be its own. */
#include "convert/edit.h"
#include "retype_fixture.h"
#include "validate_fixture.h"

#define GGUF "{\"format\":\"gguf\",\"type\":\"bf16\"}"
#define F16  "{\"format\":\"gguf\",\"type\":\"f16\"}"
#define F32  "{\"format\":\"gguf\",\"type\":\"f32\"}"
#define HF   "{\"format\":\"hf\"}"

static Report *validate_in(const Made *m, const char *name, const Model *source, const Recipe *recipe) {
    FixturePath path;
    fixture_path(path, m->package, name);
    return validate_at(path, source, recipe);
}

/* A lone file carries its own recipe; the source alone shows that it follows from it. */
Test(test_validate_source, without_a_recipe) {
    Made *m = made_open(GGUF "," F32 "," F16);
    static const char *const names[] = {"tiny-BF16.gguf", "tiny-F32.gguf"};
    for (size_t i = 0; i < 2; i++) {
        Report *r = validate_in(m, names[i], m->source, NULL);
        report_is(r, "derived");
        cr_assert_eq(report_group(r, "source"), CHECK_PASS);
        cr_assert_eq(report_group(r, "rebuild"), CHECK_NOT_RUN);
        cr_assert_eq(strncmp(find_check(r, "source", "weights digest")->detail, "lossless: be974b74", 18), 0);
        report_close(r);
    }
    Report *r = validate_in(m, "tiny-F16.gguf", m->source, NULL);
    report_is(r, "derived");
    cr_assert_eq(
        strncmp(find_check(r, "source", "weights digest")->detail, "not lossless: another digest", 28), 0);
    cr_assert_eq(report_group(r, "generation"), CHECK_NOT_RUN);
    report_close(r);
    made_close(m);
}

Test(test_validate_source, with_the_recipe) {
    Made *m = made_open(GGUF "," HF);
    static const char *const names[] = {"tiny-BF16.gguf", "hf"};
    for (size_t i = 0; i < 2; i++) {
        Report *r = validate_in(m, names[i], m->source, m->recipe);
        Error err = {0};
        report_is(r, "derived");
        cr_assert_eq(validate_require(r, "structure,source,rebuild,generation", &err), 0);
        report_is(r, "derived"); /* generation: the recipe's prompts, on source and artifact */
        report_close(r);
    }
    Report *r = validate_in(m, "hf", m->source,
                            NULL); /* a checkpoint carries no recipe: it differs from the plain source */
    fails_with(r, "source", "parameters", "experts used is 16, expected 8");
    report_close(r);
    made_close(m);
}

/* Two tensors of one shape change their names. Nothing else of the file does. */
Test(test_validate_source, swapped_tensors) {
    Made *m = made_open(GGUF);
    size_t length;
    char *bytes = fixture_read(m->package, made_gguf, &length);
    char *first = bytes + find_bytes(bytes, length, "blk.0.ffn_up_exps.weight", 24);
    char *second = bytes + find_bytes(bytes, length, "blk.1.ffn_up_exps.weight", 24);
    first[4] = '1';
    second[4] = '0';
    fixture_write(m->package, made_gguf, bytes, length);
    free(bytes);
    Report *r = validate_in(m, made_gguf, m->source, m->recipe);
    cr_assert_eq(report_group(r, "structure"), CHECK_PASS); /* as a file it is fine */
    fails_with(r, "source", "tensors",
               "2 of 27 tensors differ; the first: blk.0.ffn_up_exps.weight, row 0, element 0 is ");
    fails_with(r, "source", "weights digest", "other weights");
    fails_with(r, "rebuild", "recipe", "another file");
    fails_with(r, "generation", "generation", "at step ");
    report_is(r, "failed");
    report_close(r);
    made_close(m);
}

/* One bit in the middle of a large tensor: found, and named with its place and both values. */
Test(test_validate_source, one_bit) {
    Made *m = made_open(F16);
    size_t length;
    char *bytes = fixture_read(m->package, "tiny-F16.gguf", &length);
    bytes[length - 2 * (64 * 100 + 7) + 1] ^= 0x40; /* blk.1.ffn_up_exps is the last: 128 x 32 rows of 64 */
    fixture_write(m->package, "tiny-F16.gguf", bytes, length);
    free(bytes);
    Report *r = validate_in(m, "tiny-F16.gguf", m->source, NULL);
    fails_with(r, "source", "tensors",
               "1 of 27 tensors differ; the first: blk.1.ffn_up_exps.weight, row 3995, element 57 is ");
    fails_with(r, "source", "weights digest", "other weights");
    report_close(r);
    made_close(m);
}

Test(test_validate_source, an_edited_file) {
    Made *m = made_open(GGUF);
    FixturePath path, edited;
    Model *model;
    Metadata *keys;
    GgufPlan *plan;
    FileResult file;
    fixture_path(path, m->package, made_gguf);
    fixture_path(edited, m->root, "edited.gguf");
    OK(model_open(&model, path, NULL, err));
    OK(metadata_copy(&keys, model->metadata, m->arena, err));
    OK(edit_set(keys, "qwen3moe.expert_used_count=int:12", err));
    OK(edit_finish(keys, err));
    OK(gguf_plan_open(&plan, model, keys, NULL, err));
    OK(gguf_execute(&file, plan, edited, (ExecuteOptions){.threads = 2}, err));
    gguf_plan_close(plan);
    Report *r = validate_at(edited, NULL, NULL);
    cr_assert_eq(report_count(r, CHECK_FAIL), 0); /* it says so itself; what it was is no longer shown */
    report_is(r, "nothing shown");
    const Check *c = find_check(r, "structure", "provenance");
    cr_assert_eq(c->status, CHECK_NOT_RUN);
    cr_assert_not_null(strstr(c->detail, "changed by hand"));
    report_close(r);
    r = validate_at(edited, m->source, m->recipe);
    report_is(r, "failed");
    fails_with(r, "source", "parameters", "experts used is 12, expected 16");
    fails_with(r, "rebuild", "recipe", "another file");
    cr_assert_eq(find_check(r, "source", "weights digest")->status, CHECK_PASS);
    report_close(r);
    model_close(model);
    made_close(m);
}

Test(test_validate_source, another_source) {
    Made *m = made_open(GGUF);
    FixturePath other;
    Model *model;
    FixtureModel shape = fixture_model_default();
    fixture_path(other, m->root, "other");
    OK(make_directories(other, err));
    shape.experts = 128; /* the same shapes, random weights */
    shape.used = 8;
    shape.heads = 8;
    fixture_model(other, &shape);
    OK(model_open(&model, other, NULL, err));
    Report *r = validate_in(m, made_gguf, model, NULL);
    report_is(r, "failed");
    fails_with(r, "source", "source files", "");
    fails_with(r, "source", "weights digest",
               "be974b7483e75be19e66256c857e600cc3f6ef5f1cae5a6135690b52fb2bc4bb, but the source has ");
    report_close(r);
    model_close(model);
    made_close(m);
}

/* A GGUF can be the source too. */
Test(test_validate_source, a_gguf_as_source) {
    Made *m = made_open(F32);
    FixturePath path, bf16;
    Model *base, *retyped;
    GgufPlan *plan;
    FileResult file;
    fixture_path(path, m->package, "tiny-F32.gguf");
    fixture_path(bf16, m->root, "b.gguf");
    OK(model_open(&base, path, NULL, err));
    OK(retype_as(&retyped, base, DT_BF16, NULL, err));
    OK(gguf_plan_open(&plan, retyped, NULL, NULL, err));
    OK(gguf_execute(&file, plan, bf16, (ExecuteOptions){.threads = 2}, err));
    gguf_plan_close(plan);
    model_close(retyped);
    Recipe *recipe;
    FixturePath text;
    fixture_write_text(m->root, "plain.json",
                       "{\"recipe\": 1, \"name\": \"b\", \"base\": {\"path\": \".\"}, \"outputs\": [" GGUF
                       "]}");
    fixture_path(text, m->root, "plain.json");
    OK(recipe_load(&recipe, text, NULL, 0, NULL, err));
    Report *r = validate_at(bf16, base, recipe);
    cr_assert_eq(find_check(r, "source", "tensors")->status, CHECK_PASS);
    cr_assert_eq(find_check(r, "source", "weights digest")->status, CHECK_PASS);
    cr_assert_eq(find_check(r, "source", "keys")->status, CHECK_PASS);
    report_close(r);
    recipe_close(recipe);
    model_close(base);
    made_close(m);
}
