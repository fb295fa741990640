#include "core/json.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef void (*Writer)(Buffer *, const cJSON *);

static void writes(Writer writer, const char *in, const char *want) {
    cJSON *root;
    Error err = {0};
    cr_assert_eq(json_parse(&root, in, strlen(in), "t.json", &err), 0, "%s", err.message);
    Buffer b;
    buffer_init(&b, NULL);
    writer(&b, root);
    cr_assert_eq(buffer_ok(&b, "test", &err), 0);
    cr_assert_str_eq(buffer_string(&b), want);
    buffer_free(&b);
    cJSON_Delete(root);
}

static void canonical(const char *in, const char *want) {
    writes(json_write_canonical, in, want);
}
static void pretty(const char *in, const char *want) {
    writes(json_write_pretty, in, want);
}

static void number(double value, const char *want) {
    cJSON *item = cJSON_CreateNumber(value);
    Buffer b;
    buffer_init(&b, NULL);
    json_write_canonical(&b, item);
    cr_assert_str_eq(buffer_string(&b), want);
    buffer_free(&b);
    cJSON_Delete(item);
}

/* RFC 8785, appendix B. */
Test(core_json_write, numbers_of_rfc_8785) {
    static const struct {
        uint64_t bits;
        const char *text;
    } samples[] = {
        {0x0000000000000000, "0"},
        {0x8000000000000000, "0"},
        {0x0000000000000001, "5e-324"},
        {0x8000000000000001, "-5e-324"},
        {0x7fefffffffffffff, "1.7976931348623157e+308"},
        {0xffefffffffffffff, "-1.7976931348623157e+308"},
        {0x4340000000000000, "9007199254740992"},
        {0xc340000000000000, "-9007199254740992"},
        {0x4430000000000000, "295147905179352830000"},
        {0x44b52d02c7e14af5, "9.999999999999997e+22"},
        {0x44b52d02c7e14af6, "1e+23"},
        {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
        {0x444b1ae4d6e2ef4e, "999999999999999700000"},
        {0x444b1ae4d6e2ef4f, "999999999999999900000"},
        {0x444b1ae4d6e2ef50, "1e+21"},
        {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
        {0x3eb0c6f7a0b5ed8d, "0.000001"},
        {0x41b3de4355555553, "333333333.3333332"},
        {0x41b3de4355555554, "333333333.33333325"},
        {0x41b3de4355555555, "333333333.3333333"},
        {0x41b3de4355555556, "333333333.3333334"},
        {0x41b3de4355555557, "333333333.33333343"},
        {0xbecbf647612f3696, "-0.0000033333333333333333"},
        {0x43143ff3c1cb0959, "1424953923781206.2"},
    };
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++) {
        double value;
        memcpy(&value, &samples[i].bits, sizeof value);
        number(value, samples[i].text);
    }
}

/* As JavaScript prints them. */
Test(core_json_write, more_numbers) {
    number(1, "1");
    number(-17, "-17");
    number(4.50, "4.5");
    number(2e-3, "0.002");
    number(1e30, "1e+30");
    number(1e-27, "1e-27");
    number(1e-7, "1e-7");
    number(1.5e-7, "1.5e-7");
    number(0.1, "0.1");
    number(1e-06, "0.000001");
    number(1000000, "1000000");
    number(123456789012345680000.0, "123456789012345680000");
    number(1.2345e25, "1.2345e+25");
    number(9007199254740991.0, "9007199254740991");
    number(9007199254740993.0, "9007199254740992");
    number(12.25, "12.25");
    number(2.2250738585072014e-308, "2.2250738585072014e-308");
    number(0x1p-44, "5.684341886080802e-14"); /* nearest of 16 digits would be ...801, which reads back as
                                                 another double */
    number(0x1p-1074, "5e-324");
    number(NAN, "null");
    number(-INFINITY, "null");
}

Test(core_json_write, canonical_form) {
    canonical(" { } ", "{}");
    canonical("[ ]", "[]");
    canonical("{\"b\" : [1.0, 2.50, true , false,null], \"a\":{\"z\":\"\",\"y\":[[],{}]}}",
              "{\"a\":{\"y\":[[],{}],\"z\":\"\"},\"b\":[1,2.5,true,false,null]}");
    /* RFC 8785, section 3.2.2 */
    canonical("{\"numbers\":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"
              "\"string\":\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/"
              "\",\"literals\":[null,true,false]}",
              "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
              "\"string\":\"\xE2\x82\xAC$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

/* RFC 8785, section 3.2.3: UTF-16 puts the emoji (D83D...) before U+FB33, UTF-8 does not. */
Test(core_json_write, keys_are_sorted_as_utf16) {
    canonical("{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With "
              "Dagesh\","
              "\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\","
              "\"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
              "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xC2\x80\":\"Control\","
              "\"\xC3\xB6\":\"Latin Small Letter O With Diaeresis\",\"\xE2\x82\xAC\":\"Euro Sign\","
              "\"\xF0\x9F\x98\x80\":\"Emoji: Grinning Face\",\"\xEF\xAC\xB3\":\"Hebrew Letter Dalet With "
              "Dagesh\"}");
    canonical(
        "{\"aa\":1,\"a\":2,\"\":3,\"B\":4,\"a\\uE000\":5,\"a\\uD800\\uDC00\":6,\"a\\uD7FF\":7}",
        "{\"\":3,\"B\":4,\"a\":2,\"aa\":1,\"a\xED\x9F\xBF\":7,\"a\xF0\x90\x80\x80\":6,\"a\xEE\x80\x80\":5}");
}

Test(core_json_write, every_control_character_is_escaped) {
    canonical("\"\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f \\u007f\\u0085\\u2028\"",
              "\"\\u0001\\u0007\\b\\t\\n\\u000b\\f\\r\\u001f \x7F\xC2\x85\xE2\x80\xA8\"");
}

Test(core_json_write, strings_that_yaml_reads_too) {
    Buffer b;
    buffer_init(&b, NULL);
    json_write_string(&b, "a\"\\\n\x01\x7F\xC2\x85\xE2\x80\xA8\xEF\xBB\xBF\xC3\xA9 yes: #no\xFF\xC3");
    cr_assert_str_eq(
        buffer_string(&b),
        "\"a\\\"\\\\\\n\\u0001\\u007f\\u0085\\u2028\\ufeff\xC3\xA9 yes: #no\xEF\xBF\xBD\xEF\xBF\xBD\"");
    buffer_free(&b);
}

/* Integers that a double can't hold come as text. */
Test(core_json_write, raw_text) {
    Buffer b;
    buffer_init(&b, NULL);
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "b");
    cJSON_AddRawToObject(o, "a", "18446744073709551615");
    cJSON_AddItemToArray(list, cJSON_CreateRaw("-9223372036854775808"));
    json_write_pretty(&b, o);
    cr_assert_str_eq(buffer_string(&b),
                     "{\n  \"b\": [-9223372036854775808],\n  \"a\": 18446744073709551615\n}\n");
    cJSON_Delete(o);
    buffer_free(&b);
}

Test(core_json_write, pretty_form) {
    pretty("{}", "{}\n");
    pretty("7", "7\n");
    pretty("{\"b\":1,\"a\":{\"x\":[],\"y\":{},\"z\":[1,\"two\",null]},\"c\":[[1,2],{\"k\":0.5}]}",
           "{\n"
           "  \"b\": 1,\n"
           "  \"a\": {\n"
           "    \"x\": [],\n"
           "    \"y\": {},\n"
           "    \"z\": [1, \"two\", null]\n"
           "  },\n"
           "  \"c\": [\n"
           "    [1, 2],\n"
           "    {\n"
           "      \"k\": 0.5\n"
           "    }\n"
           "  ]\n"
           "}\n");
}

Test(core_json_write, arrays_of_scalars_break_after_100_characters) {
    char in[300], want[400];
    /* "[" + 96 + quotes + "]" = 100 characters: one line. The characters have two bytes each. */
    memset(in, 0, sizeof in);
    strcpy(in, "[\"");
    for (int i = 0; i < 96; i++) strcat(in, "\xC3\xA9");
    strcat(in, "\"]");
    snprintf(want, sizeof want, "%s\n", in);
    pretty(in, want);
    strcpy(in + strlen(in) - 2, "x\"]");
    snprintf(want, sizeof want, "[\n  %.*s\n]\n", (int)strlen(in) - 2, in + 1);
    pretty(in, want);
    pretty("[10000000,10000000,10000000,10000000,10000000,10000000,10000000,10000000,10000000,10000000,"
           "10000000]",
           "[\n  10000000,\n  10000000,\n  10000000,\n  10000000,\n  10000000,\n  10000000,\n  10000000,\n  "
           "10000000,\n"
           "  10000000,\n  10000000,\n  10000000\n]\n");
}

Test(core_json_write, what_was_written_reads_back) {
    static const char text[] =
        "{\"a\":[1.5e-9,{\"b\":\"\\u007f\\ud83d\\ude00\"}],\"c\":-3,\"d\":[true,1e22]}";
    canonical(text, "{\"a\":[1.5e-9,{\"b\":\"\x7F\xF0\x9F\x98\x80\"}],\"c\":-3,\"d\":[true,1e+22]}");
    cJSON *first, *second;
    Buffer b;
    buffer_init(&b, NULL);
    cr_assert_eq(json_parse(&first, text, strlen(text), "t.json", NULL), 0);
    json_write_pretty(&b, first);
    cr_assert_eq(json_parse(&second, b.data, b.length, "t.json", NULL), 0);
    cr_assert(cJSON_Compare(first, second, 1));
    cJSON_Delete(first);
    cJSON_Delete(second);
    buffer_free(&b);
}

static void *no_memory(void *context, void *pointer, size_t size) {
    (void)context;
    (void)pointer;
    (void)size;
    return NULL;
}

Test(core_json_write, a_failed_allocation_is_remembered) {
    Allocator none = {no_memory, NULL};
    cJSON *root;
    cr_assert_eq(json_parse(&root, "{\"a\":[1,2,[3]],\"b\":{}}", 22, "t.json", NULL), 0);
    Writer writers[] = {json_write_canonical, json_write_pretty};
    for (int i = 0; i < 2; i++) {
        Buffer b;
        Error err;
        buffer_init(&b, &none);
        writers[i](&b, root);
        cr_assert_eq(buffer_ok(&b, "test", &err), ERR_MEMORY);
        buffer_free(&b);
    }
    cJSON_Delete(root);
}
