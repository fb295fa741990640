#include "core/json.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static cJSON *parse(const char *text) {
    cJSON *root;
    Error err = {0};
    cr_assert_eq(json_parse(&root, text, strlen(text), "t.json", &err), 0, "%s: %s", text, err.message);
    return root;
}

static void refuse_bytes(const char *text, size_t length, size_t offset, const char *why) {
    /* In memory of exactly that size, so that a sanitizer sees any read beyond the end. */
    char *exact = malloc(length ? length : 1);
    memcpy(exact, text, length);
    cJSON *root = (cJSON *)exact;
    Error err = {0};
    cr_assert_eq(json_parse(&root, exact, length, "t.json", &err), ERR_FORMAT, "accepted: %s", text);
    cr_assert_null(root);
    cr_assert(err.has_offset);
    cr_assert_eq(err.offset, offset, "%s: offset %llu: %s", text, (unsigned long long)err.offset,
                 err.message);
    cr_assert(strstr(err.message, why), "%s: %s", text, err.message);
    cr_assert(strncmp(err.message, "t.json: ", 8) == 0);
    free(exact);
}

static void refuse(const char *text, size_t offset, const char *why) {
    refuse_bytes(text, strlen(text), offset, why);
}

Test(core_json, values) {
    cJSON *root = parse(
        " {\"a\": [1, -2.5e3, true, false, null, \"x\\u00e9\\n\\uD83D\\uDE00\"], \"\": {}, \"b\": 0}\r\n\t");
    const cJSON *a = json_get(root, "a");
    cr_assert(cJSON_IsArray(a));
    cr_assert_eq(a->child->valuedouble, 1);
    cr_assert_eq(a->child->next->valuedouble, -2500);
    cr_assert_str_eq(a->child->prev->valuestring, "x\xC3\xA9\n\xF0\x9F\x98\x80");
    cr_assert(cJSON_IsObject(json_get(root, "")));
    cr_assert_null(json_get(root, "A"));
    cr_assert_null(json_get(a, "a"));
    cr_assert_null(json_get(NULL, "a"));
    cJSON_Delete(root);
    cJSON_Delete(parse("3"));
    cJSON_Delete(parse("\"\""));
    cJSON_Delete(parse("[]"));
}

Test(core_json, refuses_what_is_not_json) {
    refuse("", 0, "found the end of the text");
    refuse("  ", 2, "found the end of the text");
    refuse("{", 1, "expected a key or '}', found the end");
    refuse("[1", 2, "expected ',' or ']'");
    refuse("[1,]", 3, "expected a value, found ']'");
    refuse("{\"a\":1,}", 7, "expected a key, found '}'");
    refuse("{\"a\" 1}", 5, "expected ':'");
    refuse("{a:1}", 1, "expected a key");
    refuse("{\"a\":1 \"b\":2}", 7, "expected ',' or '}'");
    refuse("[1] x", 4, "expected the end of the text");
    refuse("{}{}", 2, "expected the end of the text");
    refuse("nul", 0, "expected a value");
    refuse("True", 0, "expected a value");
    refuse("NaN", 0, "expected a value");
    refuse("[Infinity]", 1, "expected a value");
    refuse("'a'", 0, "expected a value");
    refuse("[1, // one\n 2]", 4, "expected a value");
    refuse("\xEF\xBB\xBF{}", 0, "byte order mark");
    refuse("\v1", 0, "found byte 0x0B");
    refuse_bytes("1\0", 2, 1, "expected the end of the text after its value, found byte 0x00");
}

Test(core_json, refuses_wrong_numbers) {
    refuse("01", 0, "superfluous 0");
    refuse("[-012]", 1, "superfluous 0");
    refuse("+1", 0, "expected a value");
    refuse(".5", 0, "expected a value");
    refuse("-", 1, "expected a digit");
    refuse("1.", 2, "expected a digit");
    refuse("1.e3", 2, "expected a digit");
    refuse("1e", 2, "expected a digit");
    refuse("1e+", 3, "expected a digit");
    refuse("0x10", 1, "end of the text");
    refuse("[0, 1e999]", 4, "too large");
    refuse("-1e309", 0, "too large");
    refuse("1.8e308", 0, "too large");
    refuse("17976931348623159.0e292", 0, "too large");
    refuse("1e99999999999999999999", 0, "too large");
    refuse("1111111111111111111111111111111111111111111111111111111111111111", 0, "63 characters");
}

Test(core_json, accepts_numbers_up_to_the_limits) {
    static const struct {
        const char *text;
        double value;
    } cases[] = {
        {"1.7976931348623157e308", 1.7976931348623157e308},
        {"17976931348623157.0e292", 1.7976931348623157e308},
        {"0.00017976931348623157E+312", 1.7976931348623157e308},
        {"1e-999", 0},
        {"5e-324", 4.9406564584124654e-324},
        {"0e999999999999", 0},
        {"-0.0", 0},
        {"1E2", 100},
        {"111111111111111111111111111111111111111111111111111111111111111", 1.1111111111111111e62},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *root = parse(cases[i].text);
        cr_assert_eq(root->valuedouble, cases[i].value, "%s", cases[i].text);
        cJSON_Delete(root);
    }
}

Test(core_json, refuses_wrong_strings) {
    refuse("\"abc", 0, "does not end");
    refuse("[\"a\\\"]", 1, "does not end");
    refuse("\"\\", 1, "unknown escape");
    refuse("\"a\\x41\"", 2, "unknown escape");
    refuse("\"a\nb\"", 2, "control character");
    refuse_bytes("\"a\0b\"", 5, 2, "control character");
    refuse("\"ab\\u0000\"", 3, "\\u0000");
    refuse("{\"\\u0000\":1}", 2, "\\u0000");
    refuse("\"\\u12G4\"", 1, "four hexadecimal digits");
    refuse("\"\\u12", 1, "four hexadecimal digits");
    refuse("\"\\uD800\"", 1, "half a surrogate pair");
    refuse("\"x\\uDC00\"", 2, "half a surrogate pair");
    refuse("\"\\uD800\\u0041\"", 1, "half a surrogate pair");
    refuse("\"\\uD800\\uD800\"", 1, "half a surrogate pair");
    refuse("\"\\uD83Dabcdef\"", 1, "half a surrogate pair");
    refuse("\"\\uD83D\\uDE", 1, "half a surrogate pair");
    refuse("\"\\uD83D\\uDE0x\"", 7, "four hexadecimal digits");
    refuse("\"a\xFF\"", 2, "invalid UTF-8");
    refuse("\"\xC0\xAF\"", 1, "invalid UTF-8");
    refuse("\"\xED\xA0\x80\"", 1, "invalid UTF-8");
    refuse("\"\xE2\x82\"", 1, "invalid UTF-8");
    refuse("{\"\xF5\": 1}", 2, "invalid UTF-8");
}

Test(core_json, depth_is_limited_to_64) {
    char text[400] = "";
    for (int i = 0; i < 64; i++) strcat(text, i % 2 ? "{\"a\":" : "[");
    strcat(text, "7");
    for (int i = 63; i >= 0; i--) strcat(text, i % 2 ? "}" : "]");
    cJSON_Delete(parse(text));

    char deep[200];
    memset(deep, '[', 65);
    memset(deep + 65, ']', 65);
    refuse_bytes(deep, 130, 64, "nested more than 64 deep");
    memset(deep, '[', 200);
    refuse_bytes(deep, 200, 64, "nested more than 64 deep");
    /* text that would take far more memory than itself */
    size_t most = 1 << 22, length = 2 * most + 2;
    char *many = malloc(length + 1);
    for (size_t i = 0; i < length; i++) many[i] = i % 2 ? '0' : ',';
    many[0] = '[';
    many[length - 1] = ']';
    many[length] = 0;
    refuse_bytes(many, length, 2 * most - 1, "more than 4194304 values");
    free(many);
    cJSON_Delete(parse("[[],[],{},{\"a\":[]}]")); /* depth falls again */
}

Test(core_json, duplicate_keys_are_refused_in_every_object) {
    refuse("{\"a\":1,\"a\":2}", 7, "the key \"a\" is there twice");
    refuse("{\"a\":1,\"b\":{\"c\":[{\"x\":1,\"x\":2}]}}", 24, "the key \"x\" is there twice");
    refuse("{\"a\":1,\"\\u0061\":2}", 7, "\\u0061");
    refuse("{\"\\uD83D\\uDE00\":1,\n\"\xF0\x9F\x98\x80\":2}", 19, "line 2, column 1");
    refuse("{\"\":1,\"\":2}", 6, "twice");
    /* The same key in two objects is no duplicate, nor is another case. */
    cJSON_Delete(parse("{\"a\":{\"a\":1},\"b\":{\"a\":1},\"A\":2}"));
}

Test(core_json, duplicate_in_a_large_object) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b, "{\"first\":{\"k7\":0}");
    for (int i = 0; i < 5000; i++) buffer_printf(&b, ",\"k%d\":%d", i, i);
    size_t at = b.length + 1;
    buffer_text(&b, ",\"k4321\":[{}]}");
    refuse_bytes(b.data, b.length, at, "the key \"k4321\" is there twice");
    b.data[at + 1] = 'K';
    cJSON *root;
    cr_assert_eq(json_parse(&root, b.data, b.length, "t.json", NULL), 0);
    cJSON_Delete(root);
    buffer_free(&b);
}

Test(core_json, errors_name_line_and_column) {
    refuse("{\n  \"a\": 1,\n  \"b\": x\n}", 19, "line 3, column 8: expected a value, found 'x' (at byte 19)");
}

/* A header of 18,867 tensors and a vocabulary of 151,643 keys: a check of all pairs would take minutes. */
Test(core_json, large_objects_parse_in_linear_time) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b, "{\"model\":{\"vocab\":{\"x\":0");
    for (int i = 1; i < 151643; i++) buffer_printf(&b, ",\n      \"\xC4\xA0token%d\": %d", i, i);
    buffer_text(&b, "}}");
    for (int i = 0; i < 18867; i++)
        buffer_printf(
            &b,
            ",\"model.layers.%d.mlp.experts.%d.up_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[768,2048],"
            "\"data_offsets\":[%d,%d]}",
            i / 400, i % 400, i, i + 1);
    buffer_text(&b, "}");
    cr_assert_not(b.failed);
    clock_t start = clock();
    cJSON *root;
    cr_assert_eq(json_parse(&root, b.data, b.length, "t.json", NULL), 0);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    cr_assert_lt(seconds, 5.0, "%.3f s", seconds); /* 0.15 s; room for sanitizers and busy machines */
    cJSON_Delete(root);
    buffer_free(&b);
}

Test(core_json, every_prefix_and_every_damaged_byte_is_safe) {
    static const char text[] =
        "{\"a\":[1.5e3,-0,\"\\uD83D\\uDE00\\n\xC3\xA9\"],\"b\":{\"c\":null,\"d\":true},\"e\":{}}";
    size_t length = strlen(text);
    cJSON *root;
    for (size_t n = 0; n < length; n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        cr_assert_eq(json_parse(&root, copy, n, "t.json", NULL), ERR_FORMAT);
        free(copy);
    }
    for (size_t i = 0; i < length; i++) {
        for (int c = 0; c < 256; c++) {
            char *copy = malloc(length);
            memcpy(copy, text, length);
            copy[i] = (char)c;
            if (json_parse(&root, copy, length, "t.json", NULL) == 0) cJSON_Delete(root);
            free(copy);
        }
    }
}

Test(core_json, present_skips_null) {
    cJSON *root = parse("{\"a\":null,\"b\":false}");
    cr_assert_not_null(json_get(root, "a"));
    cr_assert_null(json_present(root, "a"));
    cr_assert_not_null(json_present(root, "b"));
    cr_assert_null(json_present(root, "c"));
    cJSON_Delete(root);
}

Test(core_json, integers) {
    static const struct {
        const char *text;
        bool u64, u32;
        uint64_t value;
    } cases[] = {
        {"0", true, true, 0},
        {"-0", true, true, 0},
        {"16", true, true, 16},
        {"1e3", true, true, 1000},
        {"4.0", true, true, 4},
        {"4294967295", true, true, 4294967295u},
        {"4294967296", true, false, 4294967296u},
        {"9007199254740992", true, false, 9007199254740992u},
        {"9007199254740994", false, false, 0},
        {"-1", false, false, 0},
        {"1.5", false, false, 0},
        {"1e300", false, false, 0},
        {"\"1\"", false, false, 0},
        {"true", false, false, 0},
        {"null", false, false, 0},
        {"[1]", false, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *root = parse(cases[i].text);
        uint64_t v64 = 77;
        uint32_t v32 = 77;
        cr_assert_eq(json_u64(root, &v64), cases[i].u64, "%s", cases[i].text);
        cr_assert_eq(json_u32(root, &v32), cases[i].u32, "%s", cases[i].text);
        cr_assert_eq(v64, cases[i].u64 ? cases[i].value : 77, "%s", cases[i].text);
        cr_assert_eq(v32, cases[i].u32 ? cases[i].value : 77, "%s", cases[i].text);
        cJSON_Delete(root);
    }
    uint64_t v;
    cr_assert_not(json_u64(NULL, &v));
}

Test(core_json, files) {
    cJSON *root;
    Error err = {0};
    cr_assert_eq(json_parse_file(&root, "tests/data/tiny-qwen3moe/config.json", 1 << 20, &err), 0, "%s",
                 err.message);
    cr_assert_str_eq(json_get(root, "model_type")->valuestring, "qwen3_moe");
    cJSON_Delete(root);
    cr_assert_eq(json_parse_file(&root, "tests/data/tiny-qwen3moe/config.json", 10, &err), ERR_LIMIT);
    cr_assert_null(root);
    cr_assert_eq(json_parse_file(&root, "tests/data/no-such-file.json", 10, &err), ERR_IO);
    cr_assert_null(root);
}

Test(core_json, nearest_word_finds_slips_of_the_pen) {
    static const char *const known[] = {
        "num_experts_per_tok", "max_position_embeddings", "rope_scaling", "rope_theta", "name", NULL};
    static const char *const none[] = {NULL};
    cr_assert_str_eq(nearest_word("num_experts_per_token", known), "num_experts_per_tok");
    cr_assert_str_eq(nearest_word("rope_scalling", known), "rope_scaling");
    cr_assert_str_eq(nearest_word("max_positon_embedings", known), "max_position_embeddings");
    cr_assert_str_eq(nearest_word("nmae", known), "name");
    cr_assert_str_eq(nearest_word("name", known), "name");
    cr_assert_null(nearest_word("temperature", known));
    cr_assert_null(nearest_word("x", known));
    cr_assert_null(nearest_word("", known));
    cr_assert_null(nearest_word("name", none));
    char lengthy[300];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    cr_assert_null(nearest_word(lengthy, known));
}
