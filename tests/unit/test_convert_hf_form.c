/* The Hugging Face form: config.json changed where it must be and nowhere else, all other files as they are.
 */
#include "convert/config_patch.h"
#include "convert/hf_form.h"
#include "convert_fixture.h"
#include "model/checkpoint.h"
#include <criterion/criterion.h>
#include <sys/stat.h>

#define YARN                                                                                         \
    "{\"num_experts_per_tok\":16,\"max_position_embeddings\":1024,\"rope_scaling\":{\"original_max_" \
    "position_"                                                                                      \
    "embeddings\":256,\"factor\":4,\"rope_type\":\"yarn\"}}"

/* ---- the patch ---- */

static void patches_to(const char *before, const char *overrides, const char *after) {
    Buffer text;
    Error err = {0};
    cJSON *config = parse(before), *o = parse(overrides);
    buffer_init(&text, NULL);
    buffer_text(&text, before);
    cr_assert_eq(config_patch(&text, config, o, &err), 0, "%s", err.message);
    cr_assert_str_eq(buffer_string(&text), after);
    cJSON_Delete(parse(buffer_string(&text)));
    buffer_free(&text);
    cJSON_Delete(config);
    cJSON_Delete(o);
}

Test(convert_hf_form, old_spelling) {
    patches_to(
        "{\n  \"num_experts_per_tok\": 8,\n  \"rope_scaling\": null,\n  \"rope_theta\": 1000000.0\n}\n",
        "{\"num_experts_per_tok\":16,\"rope_scaling\":{\"factor\":4,\"rope_type\":\"yarn\","
        "\"original_max_position_embeddings\":32768}}",
        "{\n  \"num_experts_per_tok\": 16,\n  \"rope_scaling\": {\n    \"rope_type\": \"yarn\",\n"
        "    \"factor\": 4.0,\n    \"original_max_position_embeddings\": 32768\n  },\n"
        "  \"rope_theta\": 1000000.0\n}\n");
    patches_to(
        "{\"a\": {\"b\": [1,2 , 3]}, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}",
        "{\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2.5}}",
        "{\"a\": {\"b\": [1,2 , 3]}, \"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"linear\", "
        "\"factor\": 2.5}}");
    patches_to("{\n\t\"rope_scaling\": {\n\t\t\"type\": \"linear\",\n\t\t\"factor\": 2.0\n\t}\n}",
               "{\"rope_scaling\":null}", "{\n\t\"rope_scaling\": null\n}");
    patches_to("{\n  \"x\": 1\n}", "{\"rope_scaling\":null}", "{\n  \"x\": 1\n}");
    patches_to("{\n  \"x\": 1\n}", "{\"rope_theta\":5000000,\"max_position_embeddings\":7}",
               "{\n  \"x\": 1,\n  \"max_position_embeddings\": 7,\n  \"rope_theta\": 5000000.0\n}");
}

/* transformers 5 keeps theta inside, and forgets it when the object is replaced carelessly. */
Test(convert_hf_form, new_spelling_keeps_theta) {
    patches_to(
        "{\n  \"rope_parameters\": {\n    \"rope_theta\": 1e6,\n    \"rope_type\": \"default\"\n  }\n}",
        "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":32768}}",
        "{\n  \"rope_parameters\": {\n    \"rope_theta\": 1e6,\n    \"rope_type\": \"yarn\",\n"
        "    \"factor\": 4.0,\n    \"original_max_position_embeddings\": 32768\n  }\n}");
    patches_to(
        "{\"rope_scaling\":null,\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":\"linear\",\"factor\":"
        "2.0}}",
        "{\"rope_scaling\":null}",
        "{\"rope_scaling\":null,\"rope_parameters\":{\"rope_theta\": 1e6, \"rope_type\": \"default\"}}");
    patches_to("{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1e6}}",
               "{\"rope_theta\":2e6}",
               "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 2000000.0}}");
    patches_to("{\"rope_parameters\": {\"rope_type\": \"default\"}}", "{\"rope_theta\":2e6}",
               "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 2000000.0}}");
}

/* A file that has both for the sake of both versions goes on saying the same twice. */
Test(convert_hf_form, both_spellings_agree) {
    patches_to(
        "{\"rope_theta\": 1e6, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}, "
        "\"rope_parameters\": {\"rope_theta\": 1e6, \"rope_type\": \"linear\", \"factor\": 2.0}}",
        "{\"rope_theta\":2e6,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":3}}",
        "{\"rope_theta\": 2000000.0, \"rope_scaling\": {\"rope_type\": \"linear\", \"type\": \"linear\", "
        "\"factor\": 3.0}, \"rope_parameters\": {\"rope_theta\": 2000000.0, \"rope_type\": \"linear\", "
        "\"factor\": 3.0}}");
}

Test(convert_hf_form, theta_inside_rope_scaling_stays) {
    patches_to("{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2.0, \"rope_theta\": 1e6}}",
               "{\"rope_scaling\":null}",
               "{\"rope_scaling\": {\"rope_theta\": 1e6, \"rope_type\": \"default\"}}");
}

Test(convert_hf_form, all_fields_in_one_order) {
    static const char after[] = "{\"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4.0, "
                                "\"original_max_position_embeddings\": 8, \"attention_factor\": 0.5, "
                                "\"long_factor\": [1.0, 2.5], \"truncate\": false}}";
    patches_to(
        "{\"rope_scaling\": null}",
        "{\"rope_scaling\":{\"truncate\":false,\"long_factor\":[1,2.5],\"attention_factor\":0.5,\"factor\":4,"
        "\"type\":\"longrope\",\"original_max_position_embeddings\":8}}",
        after);
    patches_to(
        "{\"rope_scaling\": null}",
        "{\"rope_scaling\":{\"original_max_position_embeddings\":8,\"rope_type\":\"longrope\",\"factor\":4,"
        "\"attention_factor\":0.5,\"long_factor\":[1,2.5],\"truncate\":false}}",
        after);
}

Test(convert_hf_form, equal_values_keep_their_spelling) {
    patches_to("{\"num_experts_per_tok\": 8.0, \"rope_theta\":1e6}",
               "{\"num_experts_per_tok\":8,\"rope_theta\":1000000}",
               "{\"num_experts_per_tok\": 8.0, \"rope_theta\":1e6}");
}

Test(convert_hf_form, unknown_keys_are_not_written) {
    Buffer text;
    Error err = {0};
    cJSON *config = parse("{}"), *o = parse("{\"hidden_size\":1}");
    buffer_init(&text, NULL);
    buffer_text(&text, "{}");
    cr_assert_eq(config_patch(&text, config, o, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "hidden_size"));
    cr_assert_str_eq(buffer_string(&text), "{}");
    buffer_free(&text);
    cJSON_Delete(config);
    cJSON_Delete(o);
}

/* ---- the directory ---- */

enum { N_FILES = 9 }; /* of the tiny model */

typedef struct Case {
    Stack s;
    FixturePath out;
    HfPlan *plan;
    FileResult results[N_FILES];
    Error err;
} Case;

static void case_open(Case *c, const char *source, const char *overrides) {
    memset(c, 0, sizeof *c);
    fixture_dir(c->out);
    stack_open_hf(&c->s, source, overrides);
    const Model *m = c->s.override ? c->s.override : c->s.source;
    cr_assert_eq(hf_plan_open(&c->plan, m, NULL, &c->err), 0, "%s", c->err.message);
    cr_assert_eq(c->plan->n_files, N_FILES);
}

static void case_close(Case *c) {
    hf_plan_close(c->plan);
    stack_close(&c->s);
    fixture_remove(c->out);
}

static int run(Case *c, bool link, const SourceProof *proof) {
    HfConversion job = {
        .plan = c->plan, .directory = c->out, .link = link, .known = proof, .results = c->results};
    return hf_execute(&job, (ExecuteOptions){0}, &c->err);
}

static ino_t inode(const char *directory, const char *name) {
    FixturePath path;
    struct stat s;
    fixture_path(path, directory, name);
    cr_assert_eq(stat(path, &s), 0, "%s", path);
    return s.st_ino;
}

static void check_files(const Case *c, const char *source) {
    for (size_t i = 0; i < N_FILES; i++) {
        const char *name = c->plan->files[i].name;
        char here[SHA256_HEX], there[SHA256_HEX];
        file_hash(here, c->out, name);
        file_hash(there, source, name);
        cr_assert_str_eq(c->results[i].sha256, here, "%s", name);
        bool same = strcmp(here, there) == 0;
        cr_assert_eq(same, strcmp(name, "config.json") != 0, "%s", name);
    }
}

Test(convert_hf_form, directory) {
    Case c;
    case_open(&c, FIXTURE_TINY, YARN);
    cr_assert_eq(run(&c, false, NULL), 0, "%s", c.err.message);
    cr_assert_eq(count_files(c.out), N_FILES);
    check_files(&c, FIXTURE_TINY);

    char *before = fixture_read(FIXTURE_TINY, "config.json", NULL),
         *after = fixture_read(c.out, "config.json", NULL);
    fixture_write_text(c.out, "expected", before);
    fixture_replace(c.out, "expected", "\"num_experts_per_tok\": 8", "\"num_experts_per_tok\": 16");
    fixture_replace(c.out, "expected", "\"max_position_embeddings\": 256",
                    "\"max_position_embeddings\": 1024");
    fixture_replace(c.out, "expected", "\"rope_scaling\": null",
                    "\"rope_scaling\": {\n    \"rope_type\": \"yarn\",\n    \"factor\": 4.0,\n"
                    "    \"original_max_position_embeddings\": 256\n  }");
    char *expected = fixture_read(c.out, "expected", NULL);
    cr_assert_str_eq(after, expected);
    free(before);
    free(after);
    free(expected);
    fixture_unlink(c.out, "expected");

    Model *m;
    cr_assert_eq(checkpoint_open(&m, c.out, NULL, NULL), 0);
    cr_assert_eq(m->params.n_experts_used, 16);
    cr_assert_eq(m->params.context, 1024);
    cr_assert_eq(m->params.rope.type, ROPE_YARN);
    cr_assert_eq(m->params.rope.factor, 4);
    cr_assert_eq(m->params.rope.original_context, 256);
    cr_assert_eq(m->params.rope.theta, 10000);
    model_close(m);
    case_close(&c);
}

Test(convert_hf_form, without_overrides_it_is_a_copy) {
    Case c;
    char a[SHA256_HEX], b[SHA256_HEX];
    case_open(&c, FIXTURE_TINY, NULL);
    cr_assert_eq(run(&c, false, NULL), 0, "%s", c.err.message);
    file_hash(a, c.out, "config.json");
    file_hash(b, FIXTURE_TINY, "config.json");
    cr_assert_str_eq(a, b);
    case_close(&c);
}

Test(convert_hf_form, links_what_is_untouched) {
    FixturePath source;
    Case c;
    fixture_dir(source);
    fixture_copy_dir(FIXTURE_TINY, source);
    case_open(&c, source, YARN);
    cr_assert_eq(run(&c, true, NULL), 0, "%s", c.err.message);
    check_files(&c, source);
    cr_assert_eq(inode(source, "tokenizer.json"), inode(c.out, "tokenizer.json"));
    cr_assert_eq(inode(source, "model-00001-of-00002.safetensors"),
                 inode(c.out, "model-00001-of-00002.safetensors"));
    cr_assert_neq(inode(source, "config.json"), inode(c.out, "config.json"));
    case_close(&c);
    case_open(&c, source, YARN);
    cr_assert_eq(run(&c, false, NULL), 0, "%s", c.err.message);
    cr_assert_neq(inode(source, "tokenizer.json"), inode(c.out, "tokenizer.json"));
    case_close(&c);
    fixture_remove(source);
}

Test(convert_hf_form, a_proof_spares_hashing) {
    Case c;
    FileProof file = {.name = "tokenizer.json", .sha256 = "from the proof"};
    SourceProof proof = {.n_files = 1, .files = &file};
    case_open(&c, FIXTURE_TINY, YARN);
    for (size_t i = 0; i < N_FILES; i++) {
        const HfFile *f = &c.plan->files[i];
        if (strcmp(f->name, "tokenizer.json") == 0) file.size = input_size(f->source->input);
    }
    cr_assert_eq(run(&c, false, &proof), 0, "%s", c.err.message);
    for (size_t i = 0; i < N_FILES; i++) {
        bool covered = strcmp(c.plan->files[i].name, "tokenizer.json") == 0;
        cr_assert_eq(strcmp(c.results[i].sha256, "from the proof") == 0, covered);
        cr_assert(covered || sha256_is_hex(c.results[i].sha256));
    }
    case_close(&c);
}

Test(convert_hf_form, hash_only_gives_the_same) {
    Case c;
    FileResult hashed[N_FILES];
    case_open(&c, FIXTURE_TINY, YARN);
    HfConversion job = {.plan = c.plan, .results = hashed};
    cr_assert_eq(hf_execute(&job, (ExecuteOptions){0}, &c.err), 0, "%s", c.err.message);
    cr_assert_eq(count_files(c.out), 0);
    cr_assert_eq(run(&c, false, NULL), 0, "%s", c.err.message);
    for (size_t i = 0; i < N_FILES; i++) {
        cr_assert_str_eq(hashed[i].sha256, c.results[i].sha256);
        cr_assert_eq(hashed[i].size, c.results[i].size);
    }
    case_close(&c);
}

/* ---- in one pass with the proof ---- */

static int prove_and_run(Case *c, bool link, const SourceProof *promised, SourceProof **proof) {
    HfConversion job = {.plan = c->plan,
                        .directory = c->out,
                        .link = link,
                        .source = c->s.source,
                        .promised = promised,
                        .proof = proof,
                        .results = c->results};
    return hf_execute(&job, (ExecuteOptions){.threads = 3}, &c->err);
}

Test(convert_hf_form, one_pass_proves_and_copies) {
    FixturePath source;
    fixture_dir(source);
    fixture_copy_dir(FIXTURE_TINY, source);
    for (int link = 0; link < 2; link++) {
        Case c;
        SourceProof *found, *before;
        case_open(&c, source, YARN);
        cr_assert_eq(source_prove(&before, c.s.source, 2, NULL, NULL, &c.err), 0, "%s", c.err.message);
        cr_assert_eq(prove_and_run(&c, link, NULL, &found), 0, "%s", c.err.message);
        check_files(&c, source);
        cr_assert_eq(count_files(c.out), N_FILES);
        cr_assert_str_eq(found->weights_sha256, before->weights_sha256);
        for (size_t i = 0; i < N_FILES; i++)
            cr_assert_str_eq(found->files[i].sha256, before->files[i].sha256);
        source_proof_close(found);
        source_proof_close(before);
        case_close(&c);
    }
    fixture_remove(source);
}

/* Files that are copied byte by byte have no name before the pins hold. */
Test(convert_hf_form, a_broken_promise_ends_it) {
    static const char *const names[] = {"model-00002-of-00002.safetensors", "merges.txt"};
    for (size_t i = 0; i < 2; i++) {
        Case c;
        SourceProof *promised, *found;
        case_open(&c, FIXTURE_TINY, YARN);
        cr_assert_eq(source_prove(&promised, c.s.source, 2, NULL, NULL, &c.err), 0, "%s", c.err.message);
        for (size_t f = 0; f < promised->n_files; f++)
            if (!strcmp(promised->files[f].name, names[i])) promised->files[f].sha256[0] ^= 1;
        cr_assert_eq(prove_and_run(&c, false, promised, &found), ERR_CHECK);
        cr_assert_null(found);
        cr_assert_not_null(strstr(c.err.message, names[i]), "%s", c.err.message);
        cr_assert_not_null(strstr(c.err.message, "is pinned"), "%s", c.err.message);
        source_proof_close(promised);
        case_close(&c);
    }
}

/* ---- what goes wrong ---- */

Test(convert_hf_form, existing_files_are_not_overwritten) {
    Case c;
    case_open(&c, FIXTURE_TINY, YARN);
    fixture_write_text(c.out, "tokenizer.json", "somebody's");
    cr_assert_eq(run(&c, false, NULL), ERR_IO);
    cr_assert_not_null(strstr(c.err.message, "tokenizer.json"), "%s", c.err.message);
    char *text = fixture_read(c.out, "tokenizer.json", NULL);
    cr_assert_str_eq(text, "somebody's");
    free(text);
    case_close(&c);
}

Test(convert_hf_form, a_wrong_config_is_noticed) {
    Case c;
    case_open(&c, FIXTURE_TINY, YARN);
    for (size_t i = 0; i < N_FILES; i++) {
        HfFile *f = &c.plan->files[i];
        if (f->source) continue;
        char *at = strstr((char *)f->text, "\"factor\": 4.0");
        cr_assert_not_null(at);
        memcpy(at, "\"factor\": 4.5", 13);
    }
    cr_assert_eq(run(&c, false, NULL), ERR_CHECK);
    cr_assert_not_null(strstr(c.err.message, "rope factor 4.5, but 4 was meant"), "%s", c.err.message);
    case_close(&c);
}

Test(convert_hf_form, a_changed_source_is_noticed) {
    FixturePath source;
    Case c;
    fixture_dir(source);
    fixture_copy_dir(FIXTURE_TINY, source);
    case_open(&c, source, YARN);
    fixture_write_text(source, "merges.txt", "shorter");
    cr_assert_eq(run(&c, false, NULL), ERR_CHECK);
    cr_assert_not_null(strstr(c.err.message, "merges.txt"), "%s", c.err.message);
    case_close(&c);
    case_open(&c, source, YARN);
    fixture_unlink(source, "vocab.json");
    fixture_copy(FIXTURE_TINY, source, "vocab.json"); /* the same bytes in another file */
    cr_assert_eq(run(&c, false, NULL), ERR_CHECK);
    cr_assert_not_null(strstr(c.err.message, "vocab.json was changed"), "%s", c.err.message);
    case_close(&c);
    fixture_remove(source);
}

static int stop_at_once(void *context, const char *phase, uint64_t done, uint64_t total) {
    (void)context, (void)phase;
    cr_assert_leq(done, total);
    return done > 0;
}

Test(convert_hf_form, can_be_interrupted) {
    Case c;
    Progress progress = {.update = stop_at_once};
    case_open(&c, FIXTURE_TINY, YARN);
    HfConversion job = {.plan = c.plan, .directory = c.out, .results = c.results};
    cr_assert_eq(hf_execute(&job, (ExecuteOptions){.progress = &progress}, &c.err), ERR_INTERRUPTED);
    case_close(&c);
}

Test(convert_hf_form, a_gguf_is_refused) {
    Stack s;
    HfPlan *p;
    Error err = {0};
    stack_open(&s, FIXTURE_TINY, NULL, DT_BF16);
    cr_assert_eq(hf_plan_open(&p, s.retype, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_null(p);
    cr_assert_not_null(strstr(err.message, "not offered"), "%s", err.message);
    stack_close(&s);
}
