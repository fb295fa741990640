/* What validate says of a GGUF or a checkpoint on its own. */
#include "convert/edit.h"
#include "model/gguf.h"
#include "retype_fixture.h"
#include "support.h"
#include "validate_fixture.h"

typedef struct Lone {
    FixturePath root, path; /* path: root/a.gguf */
    Model *source;
    RecipeStack stack;
    Recipe *recipe;
} Lone;

/* What `edit` refuses and old tools leave behind: "split.no=u16:0". */
static int set_split_key(Metadata *keys, const char *edit) {
    char key[32], type[8];
    unsigned value;
    cr_assert_eq(sscanf(edit, "%31[^=]=%7[^:]:%u", key, type, &value), 3);
    if (!strcmp(type, "i32")) return metadata_set_i32(keys, key, (int32_t)value, NULL);
    return metadata_set(keys, key, (GgufValue){.type = GGUF_U16, .u = value}, NULL);
}

/* The bundled model as a plain GGUF of the 8-expert default recipe below, keys edited by each expression on
 * the way: "key=type:value", or "-key" to remove one. */
static void lone_write(Lone *l, const char *const *edits) {
    Arena *arena;
    Metadata *keys;
    GgufPlan *plan;
    FileResult file;
    OK(arena_open(&arena, NULL, err));
    OK(metadata_copy(&keys, l->stack.top->metadata, arena, err));
    for (; edits && *edits; edits++) {
        if (**edits == '-')
            metadata_unset(keys, *edits + 1);
        else
            OK(strncmp(*edits, "split.", 6) ? edit_set(keys, *edits, err) : set_split_key(keys, *edits));
    }
    OK(gguf_plan_open(&plan, l->stack.top, keys, NULL, err));
    OK(gguf_execute(&file, plan, l->path, (ExecuteOptions){.threads = 2}, err));
    gguf_plan_close(plan);
    arena_close(arena);
}

static Lone *lone_open(void) {
    static const char text[] = "{\"recipe\": 1, \"name\": \"a\", \"base\": {\"path\": \".\"}, \"overrides\": "
                               "{\"rope_scaling\": {\"rope_type\": "
                               "\"yarn\", \"factor\": 2.0, \"original_max_position_embeddings\": 256}, "
                               "\"max_position_embeddings\": 512},"
                               "\"outputs\": [{\"format\": \"gguf\", \"type\": \"bf16\"}]}";
    Lone *l = calloc(1, sizeof *l);
    FixturePath recipe;
    cr_assert_not_null(l);
    fixture_dir(l->root);
    fixture_path(l->path, l->root, "a.gguf");
    fixture_write_text(l->root, "r.json", text);
    fixture_path(recipe, l->root, "r.json");
    OK(recipe_load(&l->recipe, recipe, NULL, 0, NULL, err));
    OK(model_open(&l->source, FIXTURE_TINY, NULL, err));
    OK(recipe_stack_open(&l->stack, l->recipe, 0, l->source, NULL, err));
    return l;
}

static void lone_close(Lone *l) {
    recipe_stack_close(&l->stack);
    model_close(l->source);
    recipe_close(l->recipe);
    fixture_remove(l->root);
    free(l);
}

Test(test_validate_structure, a_whole_file) {
    Lone *l = lone_open();
    lone_write(l, NULL);
    Report *r = validate_at(l->path, NULL, NULL);
    report_is(r, "nothing shown"); /* well-formed, but nothing says of what */
    cr_assert_eq(report_group(r, "structure"), CHECK_PASS);
    cr_assert_eq(report_group(r, "hashes"), CHECK_NOT_RUN);
    cr_assert_eq(find_check(r, "structure", "tensors")->status, CHECK_PASS);
    report_close(r);
    lone_close(l);
}

typedef struct LintCase {
    const char *edits[4];
    const char *name, *words; /* NULL: no failure */
} LintCase;

static const LintCase lints[] = {
    {{"qwen3moe.context_length=u32:513"}, "context length", "513 is above factor x original: 2 x 256 = 512"},
    {{"qwen3moe.context_length=u32:400"}, NULL, NULL}, /* lowering is allowed */
    {{"qwen3moe.rope.scaling.factor=f32:1.3", "qwen3moe.rope.scaling.original_context_length=u32:250",
      "qwen3moe.context_length=u32:325"},
     NULL,
     NULL}, /* exactly factor x original, though float32's 1.3 is below 1.3 */
    {{"qwen3moe.rope.scaling.factor=f32:1.3", "qwen3moe.rope.scaling.original_context_length=u32:250",
      "qwen3moe.context_length=u32:326"},
     "context length",
     "326 is above"},
    {{"-qwen3moe.rope.scaling.original_context_length"}, "rope scaling", "yarn without"},
    {{"qwen3moe.rope.scaling.type=str:dynamic"}, "rope scaling", "\"dynamic\"; llama.cpp aborts"},
    {{"qwen3moe.rope.scaling.yarn_beta_fast=f32:16"}, "rope scaling", "ignores rope.scaling.yarn_beta_fast"},
    {{"qwen3moe.rope.scaling.yarn_attn_factor=f32:1"},
     "rope scaling",
     "ignores rope.scaling.yarn_attn_factor"},
    {{"split.count=u16:0"}, "split keys", "split.count is left"},
    {{"split.no=u16:0", "split.tensors.count=i32:27"}, "split keys", "split.tensors.count is left"},
    {{"general.file_type=u32:1"}, "file type", "means F16, but most weights are BF16"},
    {{"general.file_type=u32:15"}, "file type", "means Q4_K"},
    {{"general.file_type=u32:32"}, NULL, NULL},
};

Test(test_validate_structure, lints) {
    Lone *l = lone_open();
    for (size_t i = 0; i < sizeof lints / sizeof *lints; i++) {
        lone_write(l, lints[i].edits);
        Report *r = validate_at(l->path, NULL, NULL);
        if (lints[i].name)
            fails_with(r, "structure", lints[i].name, lints[i].words);
        else
            report_is(r, "nothing shown");
        report_close(r);
    }
    lone_close(l);
}

/* Another architecture with the same tensors: what needs no family is checked, what does is not run. */
Test(test_validate_structure, another_architecture) {
    Lone *l = lone_open();
    lone_write(l, NULL);
    size_t length;
    char *bytes = fixture_read(l->root, "a.gguf", &length);
    for (char *at = bytes; (at = memmem(at, length - (size_t)(at - bytes), "qwen3moe", 8)); at += 8)
        memcpy(at, "olmoe-xy", 8);
    fixture_write(l->root, "a.gguf", bytes, length);
    free(bytes);
    Report *r = validate_at(l->path, NULL, NULL);
    report_is(r, "nothing shown");
    cr_assert_eq(find_check(r, "structure", "tensors")->status, CHECK_NOT_RUN);
    cr_assert_eq(find_check(r, "structure", "weights finite")->status, CHECK_PASS);
    report_close(r);

    uint32_t used = 129;
    poke_key(l->root, "a.gguf", "olmoe-xy.expert_used_count", &used, 4);
    r = validate_at(l->path, NULL, NULL);
    fails_with(r, "structure", "experts", "129 of 128 experts");
    report_close(r);
    lone_close(l);
}

/* A file of an unknown architecture, written by hand: 3 tokens, embedding of `rows` rows of 4 floats. */
static void write_small(const char *directory, uint32_t alignment, uint64_t rows, bool list) {
    Arena *arena;
    Metadata *keys;
    Buffer b;
    static const uint32_t used[] = {2, 4};
    OK(arena_open(&arena, NULL, err));
    OK(metadata_open(&keys, arena, err));
    OK(metadata_set_string(keys, "general.architecture", "small", err));
    OK(metadata_set_u32(keys, "general.alignment", alignment, err));
    OK(metadata_set_u32(keys, "small.expert_count", 4, err));
    GgufValue many = {.type = GGUF_ARRAY, .array = {.type = GGUF_U32, .count = 2, .raw = used}};
    if (list)
        OK(metadata_set(keys, "small.expert_used_count", many, err));
    else
        OK(metadata_set_u32(keys, "small.expert_used_count", 2, err));
    OK(metadata_set_strings(keys, "tokenizer.ggml.tokens", (const char *[]){"a", "b", "c"}, 3, err));
    buffer_init(&b, NULL);
    buffer_append(&b, "GGUF", 4);
    buffer_u32(&b, 3);
    buffer_u64(&b, 1);
    buffer_u64(&b, metadata_count(keys));
    for (size_t i = 0; i < metadata_slots(keys); i++) metadata_write_kv(&b, metadata_slot(keys, i));
    buffer_u64(&b, 17);
    buffer_text(&b, "token_embd.weight");
    buffer_u32(&b, 2);
    buffer_u64(&b, 4);
    buffer_u64(&b, rows);
    buffer_u32(&b, DT_F32);
    buffer_u64(&b, 0);
    while (b.length % alignment) buffer_char(&b, 0);
    for (uint64_t i = 0; i < 4 * rows; i++) buffer_f32(&b, 0.5f);
    while (b.length % alignment) buffer_char(&b, 0);
    fixture_write(directory, "a.gguf", b.data, b.length);
    buffer_free(&b);
    arena_close(arena);
}

Test(test_validate_structure, tokens_alignment_lists) {
    FixturePath root, path;
    fixture_dir(root);
    fixture_path(path, root, "a.gguf");
    write_small(root, 32, 3, false);
    Report *r = validate_at(path, NULL, NULL);
    report_is(r, "nothing shown");
    report_close(r);
    write_small(root, 64, 2, true);
    r = validate_at(path, NULL, NULL);
    fails_with(r, "structure", "alignment", "general.alignment is 64");
    fails_with(r, "structure", "tokens", "3 tokens, token_embd.weight has 2 rows");
    fails_with(r, "structure", "experts", "a list, one number a layer");
    cr_assert_eq(report_count(r, CHECK_FAIL), 3);
    report_close(r);
    fixture_remove(root);
}

Test(test_validate_structure, nan_and_infinity) {
    Lone *l = lone_open();
    lone_write(l, NULL);
    size_t length;
    char *bytes = fixture_read(l->root, "a.gguf", &length);
    static const unsigned char nan[] = {0xC0, 0x7F}, inf[] = {0x80, 0xFF};
    memcpy(bytes + length - 64, nan, 2); /* blk.1.ffn_up_exps comes last: row 32 x 128 - 1, element 64 - 32 */
    fixture_write(l->root, "a.gguf", bytes, length);
    Report *r = validate_at(l->path, NULL, NULL);
    fails_with(r, "structure", "weights finite",
               "1 of 27 tensors hold NaN or infinity; the first is blk.1.ffn_up_exps.weight, at row 4095, "
               "element 32");
    report_close(r);
    memcpy(bytes + length - 64, inf, 2);
    fixture_write(l->root, "a.gguf", bytes, length);
    r = validate_at(l->path, NULL, NULL);
    fails_with(r, "structure", "weights finite", "row 4095, element 32");
    report_close(r);
    free(bytes);
    lone_close(l);
}

Test(test_validate_structure, cut_or_with_more_behind) {
    Lone *l = lone_open();
    lone_write(l, NULL);
    size_t length;
    char *bytes = fixture_read(l->root, "a.gguf", &length);
    fixture_write(l->root, "a.gguf", bytes, length - 64);
    Report *r = validate_at(l->path, NULL, NULL);
    report_is(r, "failed");
    fails_with(r, "structure", "opens", "");
    cr_assert_null(strstr(find_check(r, "structure", "opens")->detail, l->root));
    report_close(r);
    bytes = realloc(bytes, length + 100);
    cr_assert_not_null(bytes);
    memset(bytes + length, 'x', 100);
    fixture_write(l->root, "a.gguf", bytes, length + 100);
    r = validate_at(l->path, NULL, NULL);
    fails_with(r, "structure", "file size", "100 bytes follow the last tensor");
    report_close(r);
    free(bytes);
    Error err = {0};
    fixture_unlink(l->root, "a.gguf");
    cr_assert_eq(validate_path(&r, l->path, NULL, &err), ERR_IO);
    cr_assert_null(r);
    lone_close(l);
}

Test(test_validate_structure, checkpoints) {
    FixturePath root;
    fixture_dir(root);
    fixture_copy_dir(FIXTURE_TINY, root);
    Report *r = validate_at(root, NULL, NULL);
    report_is(r, "nothing shown");
    cr_assert_eq(report_group(r, "structure"), CHECK_PASS);
    report_close(r);
    fixture_replace(root, "config.json", "\"moe_intermediate_size\": 32", "\"moe_intermediate_size\": 48");
    r = validate_at(root, NULL, NULL);
    report_is(r, "failed");
    cr_assert_null(strstr(find_check(r, "structure", NULL)->detail, root));
    report_close(r);
    fixture_copy(FIXTURE_TINY, root, "config.json");
    fixture_unlink(root, "model-00002-of-00002.safetensors");
    r = validate_at(root, NULL, NULL);
    fails_with(r, "structure", "opens", "model-00002-of-00002.safetensors is missing");
    report_close(r);
    fixture_copy(FIXTURE_TINY, root, "model-00002-of-00002.safetensors");
    fixture_replace(root, "tokenizer.json", "\"NFC\"", "\"NFKC\"");
    r = validate_at(root, NULL, NULL);
    cr_assert_neq(find_check(r, "structure", "tokenizer")->status, CHECK_PASS);
    report_close(r);
    fixture_remove(root);
}

/* ---- provenance ---- */

Test(test_validate_structure, provenance) {
    Made *m = made_open("{\"format\":\"gguf\",\"type\":\"bf16\"}");
    FixturePath path;
    fixture_path(path, m->package, made_gguf);
    Report *r = validate_at(path, NULL, NULL);
    cr_assert_eq(find_check(r, "structure", "provenance")->status, CHECK_PASS);
    report_close(r);
    size_t length;
    char *good = fixture_read(m->package, made_gguf, &length);
    static const struct {
        const char *key, *value, *words; /* value: overwrites what stands behind key, type and length */
    } changes[] = {
        {"recast.output", "bf17", "another output"},
        {"recast.recipe.sha256", "0", "recast.recipe.sha256"},
        {"recast.source.repo", "X", "another repo"},
        {"recast.weights.sha256", "00000000", "another weights_sha256"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *bytes = malloc(length);
        cr_assert_not_null(bytes);
        memcpy(bytes, good, length);
        size_t at = find_bytes(bytes, length, changes[i].key, strlen(changes[i].key)) +
                    strlen(changes[i].key) + 4 + 8;
        memcpy(bytes + at, changes[i].value, strlen(changes[i].value));
        fixture_write(m->package, made_gguf, bytes, length);
        free(bytes);
        r = validate_at(path, NULL, NULL);
        cr_assert_neq(find_check(r, "structure", "provenance")->status, CHECK_PASS, "%s", changes[i].key);
        report_close(r);
    }
    fixture_write(m->package, made_gguf, good, length);
    uint32_t context = 512;
    poke_key(m->package, made_gguf, "qwen3moe.context_length", &context, 4);
    r = validate_at(path, NULL, NULL);
    fails_with(r, "structure", "provenance",
               "provenance describes another file: its recipe sets max_position_embeddings to 1024, but the "
               "file has 512");
    report_close(r);
    fixture_write(m->package, made_gguf, good, length);
    float factor = 2;
    poke_key(m->package, made_gguf, "qwen3moe.rope.scaling.factor", &factor, 4);
    r = validate_at(path, NULL, NULL);
    fails_with(r, "structure", "provenance", "rope_scaling to yarn by 4, but the file has yarn by 2");
    report_close(r);
    fixture_write(m->package, made_gguf, good, length);
    poke_key(m->package, made_gguf, "recast.edited", "\1", 1);
    r = validate_at(path, NULL, NULL);
    cr_assert_eq(find_check(r, "structure", "provenance")->status, CHECK_NOT_RUN);
    cr_assert_not_null(strstr(find_check(r, "structure", "provenance")->detail, "recast.edited is true"));
    report_close(r);
    free(good);
    made_close(m);
}

/* Another tool changes the tensors and leaves the keys: here, one that writes f16. */
Test(test_validate_structure, provenance_of_another_file) {
    Made *m = made_open("{\"format\":\"gguf\",\"type\":\"bf16\"}");
    FixturePath path, other;
    Model *model, *f16;
    GgufPlan *plan;
    FileResult file;
    fixture_path(path, m->package, made_gguf);
    fixture_path(other, m->root, "f16.gguf");
    OK(model_open(&model, path, NULL, err));
    OK(retype_as(&f16, model, DT_F16, NULL, err));
    OK(gguf_plan_open(&plan, f16, NULL, NULL, err));
    OK(gguf_execute(&file, plan, other, (ExecuteOptions){.threads = 2}, err));
    gguf_plan_close(plan);
    model_close(f16);
    model_close(model);
    Report *r = validate_at(other, NULL, NULL);
    fails_with(r, "structure", "provenance",
               "provenance describes another file: recast.output is bf16, but tensor ");
    report_close(r);
    made_close(m);
}

/* Out of memory at any request: an error, never a report that says less than it should. */
Test(test_validate_structure, out_of_memory) {
    Lone *l = lone_open();
    lone_write(l, NULL);
    bool whole = false;
    for (size_t left = 0; !whole; left += 1 + left / 8) {
        FailingAllocator f;
        failing_init(&f, left);
        Report *r;
        Error err = {0};
        ValidateOptions options = {.threads = 1, .allocator = &f.allocator};
        int code = validate_path(&r, l->path, &options, &err);
        whole = !f.failed;
        if (whole)
            cr_assert_eq(code, 0, "%s", err.message);
        else
            cr_assert_eq(code, ERR_MEMORY, "%zu: %s", left, err.message);
        report_close(r);
        cr_assert_eq(f.live, 0);
    }
    lone_close(l);
}
