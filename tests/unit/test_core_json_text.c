#include "core/json.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4 };

/* "a.b" into its parts, in place. */
static size_t split(char *dotted, const char *path[MAX_DEPTH]) {
    size_t depth = 0;
    if (!*dotted) return 0;
    for (char *p = strtok(dotted, "."); p; p = strtok(NULL, ".")) path[depth++] = p;
    return depth;
}

static void sets(const char *text, const char *dotted, const char *value, const char *want) {
    char copy[100];
    strcpy(copy, dotted);
    const char *path[MAX_DEPTH];
    size_t depth = split(copy, path);
    Buffer b;
    Error err = {0};
    buffer_init(&b, NULL);
    buffer_text(&b, text);
    cr_assert_eq(json_text_set(&b, path, depth, value, &err), 0, "%s", err.message);
    cr_assert_str_eq(buffer_string(&b), want);
    cJSON *root;
    cr_assert_eq(json_parse(&root, b.data, b.length, "t.json", &err), 0, "%s", err.message);
    cJSON_Delete(root);
    buffer_free(&b);
}

static void removes(const char *text, const char *dotted, const char *want) {
    char copy[100];
    strcpy(copy, dotted);
    const char *path[MAX_DEPTH];
    size_t depth = split(copy, path);
    Buffer b;
    Error err = {0};
    buffer_init(&b, NULL);
    buffer_text(&b, text);
    cr_assert_eq(json_text_remove(&b, path, depth, &err), 0, "%s", err.message);
    cr_assert_str_eq(buffer_string(&b), want);
    buffer_free(&b);
}

static void finds(const char *text, const char *dotted, const char *want) {
    char copy[100];
    strcpy(copy, dotted);
    const char *path[MAX_DEPTH];
    size_t depth = split(copy, path);
    JsonSpan span;
    cr_assert_eq(json_text_find(text, strlen(text), path, depth, &span), want != NULL, "%s in %s", dotted,
                 text);
    if (!want) return;
    cr_assert_eq(span.end - span.begin, strlen(want));
    cr_assert(strncmp(text + span.begin, want, strlen(want)) == 0, "%s", text + span.begin);
}

Test(core_json_text, find) {
    static const char text[] =
        " {\"a\" : 1.50 ,\"b\":{\"a\":[1, {\"c\":2}],\"c\":\"}\\\"{\"},\"a.b\":true, \"x\\u00e9\\n\":null}";
    finds(text, "a", "1.50");
    finds(text, "b", "{\"a\":[1, {\"c\":2}],\"c\":\"}\\\"{\"}");
    finds(text, "b.a", "[1, {\"c\":2}]");
    finds(text, "b.c", "\"}\\\"{\"");
    finds(text, "x\xC3\xA9\n", "null");
    finds(text, "", text + 1);
    finds(text, "c", NULL);
    finds(text, "b.a.c", NULL); /* an array is not an object */
    finds(text, "a.b", NULL);   /* a path, not the key "a.b" */
    finds(text, "b.d", NULL);
}

Test(core_json_text, keys_are_compared_by_meaning) {
    finds("{\"\\u0061\\u0062\":1}", "ab", "1");
    finds("{\"\\ud83d\\ude00\":1}", "\xF0\x9F\x98\x80", "1");
    finds("{\"\\/\\\\\\\"\\b\\f\\r\\t\":1}", "/\\\"\b\f\r\t", "1");
    finds("{\"abc\":1}", "ab", NULL);
    finds("{\"ab\":1}", "abc", NULL);
    finds("{\"a\\u00e9\":1}", "a\xC3", NULL);
    finds("{\"\\uFFFF\":1}", "\xEF\xBF\xBF", "1");
}

Test(core_json_text, find_in_damaged_text_is_false) {
    static const char *const bad[] = {
        "", "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1 \"b\":2}", "[1]", "{\"a\":x}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) finds(bad[i], "a", NULL);
}

Test(core_json_text, set_replaces_the_values_own_bytes) {
    sets("{\"a\":1,\"b\":  2.50e0 ,\"c\":[ ]}", "a", "16", "{\"a\":16,\"b\":  2.50e0 ,\"c\":[ ]}");
    sets("{\n\t\"a\" : 1 ,\n\t\"b\" : 1E-06\n}\n", "b", "2", "{\n\t\"a\" : 1 ,\n\t\"b\" : 2\n}\n");
    sets("{\"a\":{\"b\":{\"c\":[1,2]}},\"c\":0}", "a.b.c", "null", "{\"a\":{\"b\":{\"c\":null}},\"c\":0}");
    sets("{\"a\":{\"x\":1}}", "a", "{\"y\":2}", "{\"a\":{\"y\":2}}");
    sets(" [1] ", "", "{}", " {} ");
    sets("{\"\\u0061\":1}", "a", "2", "{\"\\u0061\":2}");
}

Test(core_json_text, set_appends_in_the_style_of_the_neighbours) {
    sets("{\"a\":1,\"b\":2}", "c", "3", "{\"a\":1,\"b\":2,\"c\":3}");
    sets("{\"a\": 1, \"b\": 2}", "c", "3", "{\"a\": 1, \"b\": 2, \"c\": 3}");
    sets("{ \"a\" : 1 , \"b\" : 2 }", "c", "3", "{ \"a\" : 1 , \"b\" : 2 , \"c\" : 3 }");
    sets("{\"a\": 1}", "c", "3", "{\"a\": 1, \"c\": 3}");
    sets("{\"a\":1}", "c", "3", "{\"a\":1,\"c\":3}");
    sets("{ \"a\":1 }", "c", "3", "{ \"a\":1, \"c\":3 }");
    sets("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "c", "{\"d\": 1}",
         "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": {\"d\": 1}\n}\n");
    sets("{\n    \"a\": 1\n}", "c", "3", "{\n    \"a\": 1,\n    \"c\": 3\n}");
    sets("{\r\n\t\"a\":1\r\n}", "c", "3", "{\r\n\t\"a\":1,\r\n\t\"c\":3\r\n}");
    sets("{ \"a\": 1\n, \"b\": 2\n}", "c", "3", "{ \"a\": 1\n, \"b\": 2\n, \"c\": 3\n}");
    sets("{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": 0\n}", "a.y", "2",
         "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": 2\n  },\n  \"b\": 0\n}");
    sets("{\"a\": 1}", "q\"\n", "3", "{\"a\": 1, \"q\\\"\\n\": 3}");
}

Test(core_json_text, set_in_an_empty_object) {
    sets("{}", "a", "1", "{\"a\": 1}");
    sets("{ }", "a", "1", "{\"a\": 1}");
    sets("{\n}\n", "a", "1", "{\n  \"a\": 1\n}\n");
    sets("{\"r\":{},\"z\":0}", "r.a", "1", "{\"r\":{\"a\":1},\"z\":0}");
    sets("{\"r\": {}}", "r.a", "1", "{\"r\": {\"a\": 1}}");
    sets("{\n    \"z\": 0,\n    \"r\": {}\n}", "r.a", "1",
         "{\n    \"z\": 0,\n    \"r\": {\n        \"a\": 1\n    }\n}");
    sets("{\r\n\t\"r\":{ }\r\n}", "r.a", "1", "{\r\n\t\"r\":{\r\n\t\t\"a\":1\r\n\t}\r\n}");
    sets("{\n  \"p\": {\n    \"r\": {\n    }\n  }\n}", "p.r.a", "1",
         "{\n  \"p\": {\n    \"r\": {\n      \"a\": 1\n    }\n  }\n}");
}

static void set_fails(const char *text, const char *dotted, const char *value, const char *why) {
    char copy[100];
    strcpy(copy, dotted);
    const char *path[MAX_DEPTH];
    size_t depth = split(copy, path);
    Buffer b;
    Error err = {0};
    buffer_init(&b, NULL);
    buffer_text(&b, text);
    cr_assert_eq(json_text_set(&b, path, depth, value, &err), ERR_FORMAT, "%s", text);
    cr_assert(strstr(err.message, why), "%s", err.message);
    cr_assert_str_eq(buffer_string(&b), text);
    buffer_free(&b);
}

Test(core_json_text, set_needs_its_parents_and_json) {
    set_fails("{\"a\":1}", "b.c", "1", "can't set b.c: b is not an object");
    set_fails("{\"a\":1}", "a.c", "1", "a is not an object");
    set_fails("{\"a\":[{}]}", "a.c", "1", "a is not an object");
    set_fails("[1]", "c", "1", "the root is not an object");
    set_fails("{\"a\":}", "c", "1", "not valid JSON");
    set_fails("", "c", "1", "not valid JSON");
    set_fails("{\"a\":1}", "a", "1,", "the value to set is not JSON");
    set_fails("{\"a\":1}", "a", "", "the value to set is not JSON");
}

Test(core_json_text, remove_takes_the_comma_along) {
    removes("{\"a\":1,\"b\":2,\"c\":3}", "a", "{\"b\":2,\"c\":3}");
    removes("{\"a\":1,\"b\":2,\"c\":3}", "b", "{\"a\":1,\"c\":3}");
    removes("{\"a\":1,\"b\":2,\"c\":3}", "c", "{\"a\":1,\"b\":2}");
    removes("{ \"a\" : 1 }", "a", "{}");
    removes("{\n  \"a\": [1, {}],\n  \"b\": 2\n}\n", "a", "{\n  \"b\": 2\n}\n");
    removes("{\n  \"a\": 1,\n  \"b\": {\"x\": 1}\n}\n", "b", "{\n  \"a\": 1\n}\n");
    removes("{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}\n", "b", "{\n  \"a\": 1,\n  \"c\": 3\n}\n");
    removes("{\n  \"r\": {\n    \"a\": 1\n  }\n}", "r.a", "{\n  \"r\": {}\n}");
    removes("{\"r\":{\"a\":1,\"b\":2}}", "r.b", "{\"r\":{\"a\":1}}");
}

Test(core_json_text, removing_what_is_absent_changes_nothing) {
    removes("{\"a\":1}", "b", "{\"a\":1}");
    removes("{\"a\":1}", "b.c", "{\"a\":1}");
    removes("{\"a\":1}", "a.c", "{\"a\":1}");
    removes("[]", "a", "[]");
    Buffer b;
    Error err;
    buffer_init(&b, NULL);
    buffer_text(&b, "{}");
    cr_assert_eq(json_text_remove(&b, NULL, 0, &err), ERR_FORMAT);
    buffer_free(&b);
}

/* On a real config: set, set back, and the bytes are those of the start. */
Test(core_json_text, a_change_and_its_reverse_leave_a_config_as_it_was) {
    static const char *const experts[] = {"num_experts_per_tok"}, *const fresh[] = {"recast_test_key"};
    FILE *f = fopen("tests/data/tiny-qwen3moe/config.json", "rb");
    cr_assert_not_null(f);
    char text[8192];
    size_t length = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[length] = '\0';
    JsonSpan span;
    cr_assert(json_text_find(text, length, experts, 1, &span));
    char old[32] = "";
    cr_assert_lt(span.end - span.begin, sizeof old);
    memcpy(old, text + span.begin, span.end - span.begin);
    Buffer b;
    buffer_init(&b, NULL);
    buffer_append(&b, text, length);
    cr_assert_eq(json_text_set(&b, experts, 1, "12345", NULL), 0);
    cr_assert_str_neq(buffer_string(&b), text);
    cr_assert_eq(json_text_set(&b, experts, 1, old, NULL), 0);
    cr_assert_str_eq(buffer_string(&b), text);
    cr_assert_eq(json_text_set(&b, fresh, 1, "{\"a\": 1}", NULL), 0);
    cr_assert_eq(json_text_remove(&b, fresh, 1, NULL), 0);
    cr_assert_str_eq(buffer_string(&b), text);
    buffer_free(&b);
}

/* Gives out memory n times, then none. */
static void *limited(void *context, void *pointer, size_t size) {
    int *left = context;
    if (size == 0) {
        free(pointer);
        return NULL;
    }
    return (*left)-- > 0 ? realloc(pointer, size) : NULL;
}

Test(core_json_text, without_memory_the_text_stays) {
    static const char *const path[] = {"a"};
    int failures = 0;
    for (int n = 1; n < 12; n++) {
        int left = n;
        Allocator allocator = {limited, &left};
        Buffer b;
        Error err;
        buffer_init(&b, &allocator);
        buffer_text(&b, "{\"a\":1}");
        if (b.failed) continue;
        int code = json_text_set(&b, path, 1, "1234567890", &err);
        failures += code != 0;
        cr_assert(code == 0 || code == ERR_MEMORY);
        cr_assert_str_eq(buffer_string(&b), code ? "{\"a\":1}" : "{\"a\":1234567890}");
        buffer_free(&b);
    }
    cr_assert_gt(failures, 0);
}
