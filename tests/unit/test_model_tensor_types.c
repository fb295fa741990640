/* Lists of patterns and types. Whether a pattern is found in a name was checked against std::regex_search
 * (libstdc++), which llama-quantize uses. */
#include "core/buffer.h"
#include "model/tensor_types.h"
#include "support.h"

static TensorTypes *list;
static Error e;

static void setup(void) {
    e = (Error){0};
    cr_assert_eq(tensor_types_open(&list, NULL, NULL), 0);
}

static void teardown(void) {
    tensor_types_close(list);
}

#define TYPES(name) Test(model_tensor_types, name, .init = setup, .fini = teardown)

static bool finds(const char *pattern, const char *name) {
    TensorTypes *t;
    cr_assert_eq(tensor_types_open(&t, NULL, NULL), 0);
    int code = tensor_types_add(t, pattern, DT_Q8_0, &e);
    cr_assert_eq(code, 0, "%s: %s", pattern, e.message);
    bool found = tensor_types_find(t, name) == DT_Q8_0;
    tensor_types_close(t);
    return found;
}

TYPES(patterns_are_ecmascript_s) {
    static const struct {
        const char *pattern, *yes, *no;
    } table[] = {
        {"attn_v", "blk.0.attn_v.weight", "blk.0.attn_k.weight"},
        {"ATTN_V", "blk.0.attn_v.weight", "blk.0.ATTN_V.weight"},
        {"^output", "output.weight", "blk.0.attn_output.weight"},
        {"^output\\.weight$", "output.weight", "output_norm.weight"},
        {"blk\\.\\d+\\.ffn", "blk.12.ffn_up.weight", "blk.x.ffn_up.weight"},
        {"blk\\.\\D+\\.ffn", "blk.12.ffn_up.weight", "blk.x.ffn_up.weight"}, /* \D in lower case */
        {"blk.(0|1|2[0-3])\\.", "blk.23.ffn_up.weight", "blk.24.ffn_up.weight"},
        {"ffn_(?:up|down)", "blk.0.ffn_down.weight", "blk.0.ffn_gate.weight"},
        {"ffn_.+?s\\.", "blk.0.ffn_up_exps.weight", "blk.0.ffn_up.weight"},
        {"a{2,3}?b", "xaab", "xab"},
        {"^a{2,}$", "aaaa", "a"},
        {"^a{3}$", "aaa", "aaaa"},
        {"^(a{10}){100}b?$|^c", "c", "a"},
        {"^\\w+$", "az_09", "a-b"},
        {"a\\sb", "a b", "asb"},
        {"a\\tb", "a\tb", "atb"},
        {"^[\\d_]+$", "1_2", "1-2"},
        {"^[\\w.-]+$", "a.b-c", "a b"},
        {"^[^\\d]+$", "abc", "ab1"},
        {"^[\\]a]+$", "a]", "\\"},
        {"^[a\\-z]+$", "a-z", "b"},
        {"^[-a]+$", "-a", "b"},
        {"^[a-]+$", "-a", "b"},
        {"^[\\^]$", "^", "\\"},
        {"^[\\^-]$", "-", "\\"},
        {"^[^^]$", "-", "^"},
        {"^[\\[:.]+$", "[:.", "="},
        {"^[[:digit:]a]+$", "1a", "b"},
        {"^[[:upper:]]$", "Q", "q"},
        {"^[.]$", ".", "x"},
        {"^[\\\\]$", "\\", "x"},
        {"a\\.b\\*c\\(\\)\\[\\]\\{\\}\\|\\^\\$\\+\\?\\\\", "a.b*c()[]{}|^$+?\\", "axb*c()[]{}|^$+?\\"},
        {"a\\-\\_\\/\\<", "a-_/<", "a-_/"},
        {"x]}", "x]}", "x"},
        {"a||b", "", "\xff" /* every name has the empty text in it */},
        {"(|a)b", "b", "a"},
        {"()", "x", NULL},
        {".", "x", ""},
        {"$", "x", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        cr_assert(finds(table[i].pattern, table[i].yes), "%s in %s", table[i].pattern, table[i].yes);
        if (table[i].no && table[i].no[0] != '\xff')
            cr_assert_not(finds(table[i].pattern, table[i].no), "%s in %s", table[i].pattern, table[i].no);
    }
}

TYPES(what_can_t_be_said_is_refused_by_name) {
    static const struct {
        const char *pattern, *part;
    } table[] = {
        {"", "empty"},
        {"a(?=b)", "assertions like (?=...) and (?!...) are not offered, at byte 1"},
        {"a(?!b)", "assertions"},
        {"(?<a>b)", "assertions"},
        {"(a)\\1", "back-references"},
        {"(a)\\9", "back-references"},
        {"\\0", "back-references"},
        {"\\bffn", "this escape is not offered"},
        {"\\x41", "this escape"},
        {"[\\b]", "this escape"},
        {"a\\", "ends in a backslash, at byte 1"},
        {"[\\", "ends in a backslash"},
        {"(a", "not closed"},
        {"a)", "no group to close, at byte 1"},
        {"[a", "not closed, at byte 0"},
        {"[", "not closed"},
        {"[]", "empty"},
        {"[^]", "empty"},
        {"[z-a]", "range"},
        {"[a-\\d]", "range"},
        {"[[:foo:]]", "no class"},
        {"[[:alpha]", "no class"},
        {"[[.a.]]", "[. .]"},
        {"[[=a=]]", "[. .]"},
        {"*a", "nothing to repeat, at byte 0"},
        {"a|*", "nothing to repeat"},
        {"(*a)", "nothing to repeat"},
        {"a**", "nothing to repeat, at byte 2"},
        {"a+{2}", "nothing to repeat"},
        {"^*", "nothing to repeat"},
        {"{2}", "nothing to repeat"},
        {"a{", "expected {m}"},
        {"a{x}", "expected {m}"},
        {"a{,2}", "expected {m}"},
        {"a{3,2}", "expected {m}"},
        {"a{2", "expected {m}"},
        {"a{1001}", "1000 repetitions"},
        {"((a{99}){99}){99}", "1000 repetitions"},
        {"a{99999999999999999999}", "1000 repetitions"},
        {"(a{10}){101}", "1000 repetitions"},
        {"\xc3\xa9", "no printable ASCII"},
        {"a\n", "no printable ASCII"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        e = (Error){0};
        cr_assert_eq(tensor_types_add(list, table[i].pattern, DT_Q8_0, &e), ERR_RECIPE, "%s",
                     table[i].pattern);
        cr_assert_not_null(strstr(e.message, table[i].part), "%s: %s", table[i].pattern, e.message);
    }
    char longer[1002] = {0};
    memset(longer, 'a', 1001);
    cr_assert_eq(tensor_types_add(list, longer, DT_Q8_0, &e), ERR_RECIPE);
    longer[1000] = 0;
    cr_assert_eq(tensor_types_add(list, longer, DT_Q8_0, &e), 0);
    cr_assert_eq(tensor_types_count(list), 1, "refused ones are not in the list");
}

TYPES(the_first_pattern_found_wins) {
    cr_assert_eq(tensor_types_find(list, "x"), DT_NONE);
    cr_assert_eq(tensor_types_add(list, "Ffn", DT_Q4_K, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "ffn_down", DT_Q6_K, NULL), 0);
    cr_assert_eq(tensor_types_add(list, "output", DT_F32, NULL), 0);
    cr_assert_eq(tensor_types_find(list, "blk.0.ffn_down.weight"), DT_Q4_K);
    cr_assert_eq(tensor_types_find(list, "output.weight"), DT_F32);
    cr_assert_eq(tensor_types_find(list, "token_embd.weight"), DT_NONE);
    cr_assert_eq(tensor_types_count(list), 3);
    cr_assert_str_eq(tensor_types_pattern(list, 0), "ffn");
    cr_assert_eq(tensor_types_type(list, 1), DT_Q6_K);
}

static int add_text(const char *text) {
    e = (Error){0};
    return tensor_types_add_text(list, "types.txt", text, strlen(text), &e);
}

TYPES(a_file_of_llama_quantize_is_read) {
    cr_assert_eq(add_text("blk\\.0\\.ffn_down=Q6_K\r\n\n  ATTN_v=iq4_xs\tattn_k=bf16\noutput=q8_0"), 0);
    cr_assert_eq(tensor_types_count(list), 4);
    cr_assert_str_eq(tensor_types_pattern(list, 1), "attn_v");
    cr_assert_eq(tensor_types_type(list, 0), DT_Q6_K);
    cr_assert_eq(tensor_types_type(list, 1), DT_IQ4_XS);
    cr_assert_eq(tensor_types_type(list, 2), DT_BF16);
    cr_assert_eq(tensor_types_type(list, 3), DT_Q8_0);
    cr_assert_eq(add_text(""), 0);
    cr_assert_eq(add_text(" \n \n"), 0);
    cr_assert_eq(tensor_types_count(list), 4);
}

TYPES(lines_that_are_none_are_named) {
    static const struct {
        const char *text;
        int code;
        const char *part;
    } table[] = {
        {"a=q4_k\n\nattn_v\n", ERR_FORMAT, "types.txt: line 3: \"attn_v\" is not of the form pattern=type"},
        {"=q4_k", ERR_FORMAT, "types.txt: line 1: \"=q4_k\" is not of the form"},
        {"a=", ERR_FORMAT, "no type of weights"},
        {"a=q4_k_m", ERR_FORMAT, "\"q4_k_m\" is no type of weights"},
        {"a=b=q4_k", ERR_FORMAT, "\"b=q4_k\" is no type"},
        {"a=i32", ERR_FORMAT, "\"i32\" is no type of weights"},
        {"a=q8_1", ERR_FORMAT, "\"q8_1\" is no type of weights"},
        {"# a comment", ERR_FORMAT, "line 1: \"#\""},
        {"ok=f16\n(=f16", ERR_RECIPE, "types.txt: line 2: the pattern \"(\""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        cr_assert_eq(add_text(table[i].text), table[i].code, "%s: %s", table[i].text, e.message);
        cr_assert_not_null(strstr(e.message, table[i].part), "%s", e.message);
    }
    cr_assert_eq(tensor_types_add_text(list, "x", "a\0b=f16", 7, &e), ERR_FORMAT);
}

TYPES(types_have_names_in_any_case) {
    static const struct {
        const char *name;
        DType type;
    } table[] = {{"f32", DT_F32},     {"F16", DT_F16},    {"bf16", DT_BF16},     {"q4_0", DT_Q4_0},
                 {"Q4_k", DT_Q4_K},   {"q6_K", DT_Q6_K},  {"IQ4_nl", DT_IQ4_NL}, {"iq4_xs", DT_IQ4_XS},
                 {"mxfp4", DT_MXFP4}, {"q4_k ", DT_NONE}, {"", DT_NONE},         {"i8", DT_NONE},
                 {"f64", DT_NONE},    {"q8_k", DT_NONE},  {"bool", DT_NONE},     {"q4_k_s", DT_NONE}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        cr_assert_eq(weight_type_by_name(table[i].name, strlen(table[i].name)), table[i].type, "%s",
                     table[i].name);
}

Test(model_tensor_types, every_failed_allocation_is_an_error) {
    static const char text[] = "blk\\.[0-9]+\\.ffn_(?:up|down)=q4_k attn=q8_0";
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        TensorTypes *t = NULL;
        failing_init(&f, n);
        int code = tensor_types_open(&t, &f.allocator, &e);
        if (!code) code = tensor_types_add_text(t, "x", text, sizeof text - 1, &e);
        tensor_types_close(t);
        cr_assert_eq(f.live, 0);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY);
        cr_assert_lt(n, 100);
    }
}
