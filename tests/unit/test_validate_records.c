/* What a manifest records against what the recipe asks for: left out, put in another's place, in another
 * order. */
#include "validate/validation.h"
#include "validate_fixture.h"

#define TWO(artifact_name)                                           \
    {.artifact = (artifact_name), .prompt = "one", .n_tokens = 4}, { \
        .artifact = (artifact_name), .prompt = "two", .n_tokens = 4  \
    }

/* Lines that are added: all of them say so. */
static size_t lines(const GenerationRecord *records, size_t n) {
    static const char *const prompts[] = {"one", "two"};
    Artifact artifacts[] = {{.path = "a.gguf"}, {.path = "b.gguf"}};
    Manifest m = {.generations = (GenerationRecord *)records,
                  .n_generations = n,
                  .artifacts = artifacts,
                  .n_artifacts = 2};
    Recipe r = {.prompts = prompts, .n_prompts = 2, .n_tokens = 4};
    ValidateOptions options = {.threads = 1};
    Report *report;
    OK(report_open(&report, NULL, err));
    Validation v = {.report = report, .options = &options, .label = ""};
    check_records(&v, &m, &r);
    size_t failed = report_count(report, CHECK_FAIL);
    cr_assert_eq(report->n_checks, failed);
    report_close(report);
    return failed;
}

Test(test_validate_records, as_asked) {
    const GenerationRecord all[] = {TWO(NULL), TWO("b.gguf")};
    cr_expect_eq(lines(all, 4), 0);
    cr_expect_eq(lines(all, 2), 0);
    cr_expect_eq(lines(all, 0), 0);
    cr_expect_eq(lines(all + 2, 2), 0);
    const GenerationRecord mixed[] = {all[2], all[0], all[3], all[1]}; /* order counts within one speaker */
    cr_expect_eq(lines(mixed, 4), 0);
}

Test(test_validate_records, otherwise) {
    GenerationRecord all[] = {TWO(NULL), TWO("b.gguf")};
    cr_expect_eq(lines(all, 3), 1, "one of b.gguf's is missing");
    cr_expect_eq(lines(all, 1), 1);
    cr_expect_eq(lines(all + 1, 2), 2, "the first of one, the second of another");
    const GenerationRecord swapped[] = {all[1], all[0]}, thrice[] = {all[0], all[1], all[1]};
    cr_expect_eq(lines(swapped, 2), 1);
    cr_expect_eq(lines(thrice, 3), 1);
    all[0].n_tokens = 3;
    cr_expect_eq(lines(all, 2), 1, "fewer tokens");
    all[0].n_tokens = 4;
    all[1].prompt = "three";
    cr_expect_eq(lines(all, 2), 1, "another prompt");
}

/* Hashes and text of five tokens may be right; six were asked for. */
Test(test_validate_records, in_a_package) {
    Made *m = made_open("{\"format\":\"gguf\",\"type\":\"bf16\"}");
    fixture_replace(m->package, "manifest.json", "\"tokens\": 6", "\"tokens\": 5");
    Report *r = validate_at(m->package, NULL, NULL);
    fails_with(
        r, "generation", "recorded prompts",
        "the source with overrides: 1 generations are recorded, and 0 of them are what the recipe asks");
    report_close(r);
    made_close(m);
}
