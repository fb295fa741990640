/* test_model_vocab.c -- the vocabulary of both forms: facts of the tiny tokenizer, keys as llama.cpp's
 * converter writes them, and what is refused. */
#include "core/sha256.h"
#include "tests/unit/fixture.h"
#include "tests/unit/support.h"
#include "tests/unit/vocab_fixture.h"

/* ---- a copy of the tiny tokenizer, edited ---- */

typedef struct Copy {
    FixturePath directory;
    VocabFiles files;
    Vocab *vocab;
    Error err;
    int code; /* of vocab_open */
} Copy;

static void merge_patch(cJSON *target, const cJSON *patch) {
    for (const cJSON *item = patch->child; item; item = item->next) {
        cJSON *old = cJSON_GetObjectItemCaseSensitive(target, item->string);
        if (cJSON_IsNull(item)) {
            cJSON_DeleteItemFromObjectCaseSensitive(target, item->string);
        } else if (cJSON_IsObject(item) && cJSON_IsObject(old)) {
            merge_patch(old, item);
        } else {
            cJSON_DeleteItemFromObjectCaseSensitive(target, item->string);
            cJSON_AddItemToObject(target, item->string, cJSON_Duplicate(item, true));
        }
    }
}

static void copy_start(Copy *c) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "config.json"};
    *c = (Copy){.code = -1};
    fixture_dir(c->directory);
    for (size_t i = 0; i < 3; i++) {
        size_t length;
        char *text = fixture_read(FIXTURE_TINY, names[i], &length);
        fixture_write(c->directory, names[i], text, length);
        free(text);
    }
}

static void copy_edit(Copy *c, const char *file, const char *patch) {
    char *text = fixture_read(c->directory, file, NULL);
    cJSON *target = cJSON_Parse(text), *changes = cJSON_Parse(patch);
    cr_assert(target && changes, "%s: %s", file, patch);
    merge_patch(target, changes);
    char *edited = cJSON_PrintUnformatted(target);
    fixture_write_text(c->directory, file, edited);
    free(edited);
    free(text);
    cJSON_Delete(target);
    cJSON_Delete(changes);
}

static void copy_open(Copy *c, uint32_t n_vocab) {
    cr_assert_eq(vocab_files_open(&c->files, c->directory, n_vocab, &c->err), 0, "%s", c->err.message);
    c->code = vocab_open(&c->vocab, &c->files.model, NULL, &c->err);
    cr_assert_eq(c->code == 0, c->vocab != NULL);
}

static void copy_close(Copy *c) {
    vocab_close(c->vocab);
    vocab_files_close(&c->files);
    fixture_remove(c->directory);
}

/* ---- the tiny tokenizer ---- */

Test(model_vocab, tiny) {
    Error err = {0};
    VocabFiles files;
    Vocab *v;
    cr_assert_eq(vocab_files_open(&files, FIXTURE_TINY, 1024, &err), 0, "%s", err.message);
    cr_assert_eq(vocab_open(&v, &files.model, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(v->n_tokens, 1024);
    cr_assert_eq(v->n_merges, 744);
    cr_assert_str_eq(v->pre, "qwen2");
    cr_assert_str_eq(v->tokens[0].data, "!");
    cr_assert_eq(v->types[0], TOKEN_NORMAL);
    cr_assert_str_eq(v->tokens[1000].data, "<|endoftext|>");
    cr_assert_eq(v->types[1000], TOKEN_CONTROL);
    cr_assert_str_eq(v->tokens[1003].data, "<think>");
    cr_assert_eq(v->types[1003], TOKEN_USER_DEFINED);
    cr_assert_str_eq(v->tokens[1005].data, "[PAD1005]");
    cr_assert_eq(v->types[1005], TOKEN_UNUSED);
    cr_assert_str_eq(v->tokens[1023].data, "[PAD1023]");
    cr_assert_str_eq(v->merges[743].data, "\xC4\xA0m erc");
    cr_assert_str_eq(v->tokens[v->merge_ids[743].result].data, "\xC4\xA0merc");
    cr_assert_eq(v->eos, 1002);
    cr_assert_eq(v->pad, 1000);
    cr_assert_eq(v->bos, 1000);
    cr_assert_eq(v->unk, -1);
    cr_assert(v->has_add_bos && !v->add_bos && v->has_add_eos && !v->add_eos);
    cr_assert_str_eq(v->id_order[0], "eos");
    cr_assert_str_eq(v->id_order[1], "padding");
    cr_assert_str_eq(v->id_order[2], "bos");
    cr_assert_null(v->id_order[3]);
    cr_assert(strstr(v->chat_template, "<|im_start|>assistant"));
    cr_assert_eq(v->n_templates, 0);
    vocab_close(v);
    vocab_files_close(&files);
    vocab_close(NULL);
}

Test(model_vocab, rows_without_vocab_size) {
    Copy c;
    copy_start(&c);
    copy_open(&c, 0);
    cr_assert_eq(c.code, 0, "%s", c.err.message);
    cr_assert_eq(c.vocab->n_tokens, 1005);
    copy_close(&c);
}

/* ---- GGUF keys, as llama.cpp's converter writes them ---- */

static void key_line(char *out, size_t size, const GgufKv *kv) {
    char hex[SHA256_HEX];
    Buffer b;
    buffer_init(&b, NULL);
    metadata_write_kv(&b, kv);
    size_t head = 8 + kv->key.length + 4; /* length, key, type */
    if (kv->value.type == GGUF_U32 || kv->value.type == GGUF_BOOL) {
        snprintf(hex, sizeof hex, "%llu", (unsigned long long)kv->value.u);
    } else {
        cr_assert_eq(sha256_bytes(hex, b.data + head, b.length - head, NULL), 0);
    }
    snprintf(out, size, "%s %s %s", kv->key.data, gguf_type_name(kv->value.type), hex);
    buffer_free(&b);
}

/* Compares the keys with the lines that follow; the next line behind them. */
static char *check_keys(const Metadata *m, const char *variant, char *line, char **rest) {
    char expected[200];
    for (size_t i = 0; i < metadata_slots(m); i++) {
        cr_assert(line && strncmp(line, "key ", 4) == 0, "%s: fewer keys expected", variant);
        key_line(expected, sizeof expected, metadata_slot(m, i));
        cr_expect_str_eq(expected, line + 4, "%s: %s, expected %s", variant, expected, line + 4);
        line = strtok_r(NULL, "\n", rest);
    }
    return line;
}

Test(model_vocab, keys_equal_the_converters) {
    char *text = fixture_read("tests/golden", "vocab-keys.txt", NULL), *rest, *file;
    char *line = strtok_r(text, "\n", &rest);
    int variants = 0;
    while (line) {
        cr_assert_eq(strncmp(line, "variant ", 8), 0, "%s", line);
        const char *name = line + 8;
        Copy c;
        copy_start(&c);
        while ((line = strtok_r(NULL, "\n", &rest)) && strncmp(line, "key ", 4) != 0) {
            char *word = strtok_r(line, " ", &file), *which = strtok_r(NULL, " ", &file);
            if (strcmp(word, "edit") == 0) {
                copy_edit(&c, which, file);
            } else {
                cJSON *content = cJSON_Parse(file);
                fixture_write_text(c.directory, which, content->valuestring);
                cJSON_Delete(content);
            }
        }
        copy_open(&c, 1024);
        cr_assert_eq(c.code, 0, "%s: %s", name, c.err.message);
        Arena *arena;
        Metadata *m;
        cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
        cr_assert_eq(metadata_open(&m, arena, NULL), 0);
        cr_assert_eq(vocab_to_metadata(m, c.vocab, &c.err), 0, "%s", c.err.message);
        line = check_keys(m, name, line, &rest);
        arena_close(arena);
        copy_close(&c);
        variants++;
    }
    cr_assert_eq(variants, 11);
    free(text);
}

/* ---- the GGUF form ---- */

typedef struct Gguf {
    Arena *arena;
    Metadata *m;
    Model model;
    Vocab *vocab;
    Error err;
    int code;
} Gguf;

/* The tiny vocabulary's keys. */
static void gguf_start(Gguf *g) {
    VocabFiles files;
    Vocab *v;
    *g = (Gguf){.code = -1};
    cr_assert_eq(vocab_files_open(&files, FIXTURE_TINY, 1024, NULL), 0);
    cr_assert_eq(vocab_open(&v, &files.model, NULL, NULL), 0);
    cr_assert_eq(arena_open(&g->arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&g->m, g->arena, NULL), 0);
    cr_assert_eq(vocab_to_metadata(g->m, v, NULL), 0);
    vocab_close(v);
    vocab_files_close(&files);
}

static void gguf_open_vocab(Gguf *g) {
    g->model = (Model){.form = FORM_GGUF, .path = "x.gguf", .metadata = g->m, .params = {.n_vocab = 1024}};
    g->code = vocab_open(&g->vocab, &g->model, NULL, &g->err);
    cr_assert_eq(g->code == 0, g->vocab != NULL);
}

static void gguf_close(Gguf *g) {
    vocab_close(g->vocab);
    arena_close(g->arena);
}

Test(model_vocab, gguf_round_trip) {
    Gguf g;
    gguf_start(&g);
    const char *names[] = {"b", "a"};
    cr_assert_eq(metadata_set_string(g.m, "tokenizer.chat_template.a", "A", NULL), 0);
    cr_assert_eq(metadata_set_string(g.m, "tokenizer.chat_template.b", "B", NULL), 0);
    cr_assert_eq(metadata_set_strings(g.m, "tokenizer.chat_templates", names, 2, NULL), 0);
    cr_assert_eq(metadata_set_u32(g.m, "tokenizer.ggml.eot_token_id", 1002, NULL), 0);
    cr_assert_eq(metadata_set_u32(g.m, "tokenizer.ggml.unknown_token_id", UINT32_MAX, NULL), 0); /* "none" */
    gguf_open_vocab(&g);
    cr_assert_eq(g.code, 0, "%s", g.err.message);
    const Vocab *v = g.vocab;
    cr_assert_eq(v->n_tokens, 1024);
    cr_assert_eq(v->n_merges, 744);
    cr_assert_eq(v->types[1003], TOKEN_USER_DEFINED);
    cr_assert(v->eos == 1002 && v->pad == 1000 && v->bos == 1000 && v->eot == 1002 && v->unk == -1);
    cr_assert(v->has_add_bos && !v->add_bos && !v->has_add_sep);
    cr_assert_eq(v->n_templates, 2);
    cr_assert_str_eq(v->templates[0].name, "a");
    cr_assert_str_eq(v->templates[1].text, "B");

    Metadata *again;
    cr_assert_eq(metadata_open(&again, g.arena, NULL), 0);
    cr_assert_eq(vocab_to_metadata(again, v, &g.err), 0, "%s", g.err.message);
    cr_assert_eq(metadata_count(again), metadata_count(g.m) - 1); /* all but the id that named none */
    for (size_t i = 0; i < metadata_slots(again); i++) {
        const GgufKv *kv = metadata_slot(again, i);
        char here[200], there[200];
        if (strcmp(kv->key.data, "tokenizer.chat_templates") == 0) continue; /* sorted now */
        GgufKv old = {kv->key, *metadata_get(g.m, kv->key.data), false};
        key_line(here, sizeof here, kv);
        key_line(there, sizeof there, &old);
        cr_expect_str_eq(here, there);
    }
    gguf_close(&g);
}

static void set_types(Metadata *m, uint32_t id, unsigned char type) {
    static unsigned char raw[4 * 1024];
    memcpy(raw, metadata_get(m, "tokenizer.ggml.token_type")->array.raw, sizeof raw);
    raw[4 * id] = type;
    GgufValue value = {.type = GGUF_ARRAY, .array = {GGUF_I32, 1024, raw, NULL}};
    cr_assert_eq(metadata_set(m, "tokenizer.ggml.token_type", value, NULL), 0);
}

static void set_string_at(Metadata *m, const char *key, uint32_t i, const char *text) {
    static GgufString strings[1024];
    GgufArray old = metadata_get(m, key)->array;
    memcpy(strings, old.strings, (size_t)old.count * sizeof *strings);
    strings[i] = (GgufString){text, strlen(text)};
    GgufValue value = {.type = GGUF_ARRAY, .array = {GGUF_STRING, old.count, NULL, strings}};
    cr_assert_eq(metadata_set(m, key, value, NULL), 0);
}

Test(model_vocab, gguf_refused) {
    static const struct {
        int what;
        int code;
        const char *says;
    } cases[] = {
        {0, ERR_FORMAT, "tokenizer.ggml.model is missing"},
        {1, ERR_UNSUPPORTED, "\"llama\""},
        {2, ERR_UNSUPPORTED, "\"qwen35\""},
        {3, ERR_FORMAT, "tokenizer.ggml.tokens is missing"},
        {4, ERR_FORMAT, "tokenizer.ggml.token_type must be a list of 1024 i32"},
        {5, ERR_FORMAT, "token 7 has type 9; expected 1 to 6"},
        {6, ERR_FORMAT, "tokens 0 and 5 are both spelled \"!\""},
        {7, ERR_FORMAT, "token 9 is not valid UTF-8"},
        {8, ERR_FORMAT, "merge 3 needs \"nowhere\""},
        {9, ERR_FORMAT, "merge 3 is \"nospace\"; expected two tokens"},
        {10, ERR_FORMAT, "1024 tokens, but the embedding has 1000 rows"},
        {11, ERR_FORMAT, "tokenizer.chat_template.x is missing"},
        {12, ERR_UNSUPPORTED, "pre \"(none)\""},
        {13, ERR_FORMAT, "tokenizer.ggml.merges is no list of strings"},
    };
    const char *x = "x";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Gguf g;
        gguf_start(&g);
        switch (cases[i].what) {
        case 0: metadata_unset(g.m, "tokenizer.ggml.model"); break;
        case 1: cr_assert_eq(metadata_set_string(g.m, "tokenizer.ggml.model", "llama", NULL), 0); break;
        case 2: cr_assert_eq(metadata_set_string(g.m, "tokenizer.ggml.pre", "qwen35", NULL), 0); break;
        case 3: metadata_unset(g.m, "tokenizer.ggml.tokens"); break;
        case 4: metadata_unset(g.m, "tokenizer.ggml.token_type"); break;
        case 5: set_types(g.m, 7, 9); break;
        case 6: set_string_at(g.m, "tokenizer.ggml.tokens", 5, "!"); break;
        case 7: set_string_at(g.m, "tokenizer.ggml.tokens", 9, "\xFF"); break;
        case 8: set_string_at(g.m, "tokenizer.ggml.merges", 3, "a nowhere"); break;
        case 9: set_string_at(g.m, "tokenizer.ggml.merges", 3, "nospace"); break;
        case 11: cr_assert_eq(metadata_set_strings(g.m, "tokenizer.chat_templates", &x, 1, NULL), 0); break;
        case 12: metadata_unset(g.m, "tokenizer.ggml.pre"); break;
        case 13: cr_assert_eq(metadata_set_u32(g.m, "tokenizer.ggml.merges", 1, NULL), 0); break;
        default: break;
        }
        gguf_open_vocab(&g);
        if (cases[i].what == 10) {
            vocab_close(g.vocab);
            g.model.params.n_vocab = 1000;
            g.code = vocab_open(&g.vocab, &g.model, NULL, &g.err);
        }
        cr_expect_eq(g.code, cases[i].code, "case %d: %s", cases[i].what, g.err.message);
        cr_expect(strstr(g.err.message, cases[i].says), "case %d: %s", cases[i].what, g.err.message);
        gguf_close(&g);
    }
}

/* ---- tokenizer.json that is not Qwen2's, or not sound ---- */

typedef struct Refusal {
    const char *file, *patch;
    int code;
    const char *says;
} Refusal;

#define SPLIT(pattern, behavior, invert)                                                   \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"},\"behavior\":\"" behavior \
    "\",\"invert\":" invert "}"
#define QWEN                                                                          \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| " \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define BYTES(prefix, regex) \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix ",\"use_regex\":" regex "}"
#define PRE(list) "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" list "]}}"

static void check_refusals(const Refusal *r, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Copy c;
        copy_start(&c);
        copy_edit(&c, r[i].file, r[i].patch);
        copy_open(&c, 1024);
        cr_expect_eq(c.code, r[i].code, "%s: %s", r[i].patch, c.err.message);
        cr_expect(c.code == 0 || strstr(c.err.message, r[i].says), "%s: %s", r[i].patch, c.err.message);
        copy_close(&c);
    }
}

Test(model_vocab, other_pipelines) {
    static const Refusal cases[] = {
        {"tokenizer.json", "{\"normalizer\":{\"type\":\"NFKC\"}}", ERR_UNSUPPORTED,
         "normalizer is {\"type\":\"NFKC\"}; expected NFC"},
        {"tokenizer.json", "{\"normalizer\":null}", ERR_UNSUPPORTED, "normalizer is absent"},
        {"tokenizer.json", "{\"pre_tokenizer\":null}", ERR_UNSUPPORTED, "pre_tokenizer is absent"},
        {"tokenizer.json", PRE(BYTES("false", "true")), ERR_UNSUPPORTED, "a Sequence of Split and ByteLevel"},
        {"tokenizer.json", PRE(SPLIT("a+", "Isolated", "false") "," BYTES("false", "false")), ERR_UNSUPPORTED,
         "the split pattern is {\"Regex\":\"a+\"}"},
        {"tokenizer.json", PRE(SPLIT(QWEN, "Removed", "false") "," BYTES("false", "false")), ERR_UNSUPPORTED,
         "behavior Isolated"},
        {"tokenizer.json", PRE(SPLIT(QWEN, "Isolated", "true") "," BYTES("false", "false")), ERR_UNSUPPORTED,
         "invert false"},
        {"tokenizer.json", PRE(SPLIT(QWEN, "Isolated", "false") "," BYTES("true", "false")), ERR_UNSUPPORTED,
         "add_prefix_space"},
        {"tokenizer.json", PRE(SPLIT(QWEN, "Isolated", "false") "," BYTES("false", "true")), ERR_UNSUPPORTED,
         "use_regex"},
        {"tokenizer.json", PRE(SPLIT(QWEN, "Isolated", "false") "," BYTES("false", "false")), 0, ""},
        {"tokenizer.json", "{\"model\":{\"type\":\"Unigram\"}}", ERR_UNSUPPORTED,
         "model.type is \"Unigram\"; expected BPE"},
        {"tokenizer.json", "{\"model\":{\"dropout\":0.1}}", ERR_UNSUPPORTED, "model.dropout is 0.1"},
        {"tokenizer.json", "{\"model\":{\"unk_token\":\"!\"}}", ERR_UNSUPPORTED, "model.unk_token is \"!\""},
        {"tokenizer.json", "{\"model\":{\"continuing_subword_prefix\":\"##\"}}", ERR_UNSUPPORTED,
         "continuing_subword_prefix"},
        {"tokenizer.json", "{\"model\":{\"end_of_word_suffix\":\"x\"}}", ERR_UNSUPPORTED,
         "end_of_word_suffix"},
        {"tokenizer.json", "{\"model\":{\"byte_fallback\":true}}", ERR_UNSUPPORTED, "byte_fallback"},
        {"tokenizer.json", "{\"model\":{\"ignore_merges\":true}}", ERR_UNSUPPORTED, "ignore_merges"},
        {"tokenizer.json",
         "{\"model\":{\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"\",\"ignore_merges\":null}"
         "}",
         0, ""},
        {"tokenizer.json", "{\"post_processor\":{\"type\":\"TemplateProcessing\"}}", ERR_UNSUPPORTED,
         "post_processor"},
        {"tokenizer.json", "{\"post_processor\":null}", 0, ""},
        {"tokenizer.json", "{\"decoder\":null}", ERR_UNSUPPORTED, "decoder is absent"},
    };
    check_refusals(cases, sizeof cases / sizeof *cases);
}

#define ADDED(id, content, more) "{\"added_tokens\":[{\"id\":" id ",\"content\":" content more "}]}"
#define NO_DECODER               "{\"added_tokens_decoder\":null}"

Test(model_vocab, unsound_files) {
    static const Refusal cases[] = {
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":1024}}}", ERR_FORMAT,
         "token \"zzz\" has id 1024, but the vocabulary has 1024 rows"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":4294967295}}}", ERR_FORMAT, "has id 4294967295"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":0}}}", ERR_FORMAT,
         "tokens \"!\" and \"zzz\" have the same id 0"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":-1}}}", ERR_FORMAT,
         "the id of token \"zzz\" is no whole number"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":1010.5}}}", ERR_FORMAT, "is no whole number"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"zzz\":\"1010\"}}}", ERR_FORMAT, "is no whole number"},
        {"tokenizer.json", "{\"model\":{\"vocab\":[]}}", ERR_FORMAT, "model.vocab is missing or no object"},
        {"tokenizer.json", "{\"model\":{\"vocab\":null}}", ERR_FORMAT, "model.vocab is missing or no object"},
        {"tokenizer.json", "{\"model\":{\"vocab\":{\"[PAD1020]\":1010}}}", ERR_FORMAT,
         "tokens 1010 and 1020 are both spelled \"[PAD1020]\""},
        {"tokenizer.json", "{\"model\":{\"merges\":null}}", ERR_FORMAT, "model.merges is missing"},
        {"tokenizer.json", "{\"model\":{\"merges\":{}}}", ERR_FORMAT, "model.merges is missing or no list"},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"a\",\"b\",\"c\"]]}}", ERR_FORMAT,
         "merge 0 is neither"},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"a\",1]]}}", ERR_FORMAT, "merge 0 is neither"},
        {"tokenizer.json", "{\"model\":{\"merges\":[[]]}}", ERR_FORMAT, "merge 0 is neither"},
        {"tokenizer.json", "{\"model\":{\"merges\":[7]}}", ERR_FORMAT, "merge 0 is neither"},
        {"tokenizer.json", "{\"model\":{\"merges\":[\"a\"]}}", ERR_FORMAT, "merge 0 is \"a\""},
        {"tokenizer.json", "{\"model\":{\"merges\":[\"a b c\"]}}", ERR_FORMAT, "merge 0 is \"a b c\""},
        {"tokenizer.json", "{\"model\":{\"merges\":[\"a \"]}}", ERR_FORMAT, "merge 0 is \"a \""},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"a b\",\"c\"]]}}", ERR_FORMAT, "merge 0 holds a space"},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"t\",\"h\"],[\"t\",\"h\"]]}}", ERR_FORMAT,
         "merge 1, \"t h\", occurs twice"},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"nope\",\"h\"]]}}", ERR_FORMAT,
         "merge 0 needs \"nope\""},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"q\",\"z\"]]}}", ERR_FORMAT, "merge 0 needs \"qz\""},
        {"tokenizer.json", "{\"model\":{\"merges\":[[\"<think>\",\"h\"]]}}", ERR_FORMAT,
         "merge 0 needs \"<think>\""},
        {"tokenizer.json", "{\"model\":{\"merges\":[]}}", 0, ""},
        {"tokenizer.json", "{\"added_tokens\":{}}", ERR_FORMAT, "added_tokens is no list"},
        {"tokenizer.json", "{\"added_tokens\":[7]}", ERR_FORMAT, "lacks an id or a content"},
        {"tokenizer.json", ADDED("1010", "\"\"", ""), ERR_FORMAT, "lacks an id or a content"},
        {"tokenizer.json", ADDED("\"1010\"", "\"x\"", ""), ERR_FORMAT, "lacks an id or a content"},
        {"tokenizer.json", ADDED("2000", "\"<new>\"", ""), ERR_FORMAT, "\"<new>\" has id 2000"},
        {"tokenizer.json", ADDED("64", "\"<new>\"", ""), ERR_FORMAT,
         "tokens \"a\" and \"<new>\" have the same id 64"},
        {"tokenizer.json", ADDED("1010", "\"a\"", ""), ERR_FORMAT,
         "tokens 64 and 1010 are both spelled \"a\""},
        {"tokenizer.json", ADDED("1010", "\"<new>\"", ",\"normalized\":true"), ERR_UNSUPPORTED,
         "\"normalized\""},
        {"tokenizer.json", ADDED("1010", "\"<new>\"", ",\"lstrip\":true"), ERR_UNSUPPORTED, "\"lstrip\""},
        {"tokenizer_config.json", "{\"pad_token\":\"<|nope|>\"}", ERR_FORMAT,
         "names \"<|nope|>\" (pad_token)"},
        {"tokenizer_config.json", "{\"pad_token\":\"a\"}", ERR_FORMAT, "names \"a\" (pad_token)"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"1009\":{\"content\":\"<think>\"}}}",
         ERR_FORMAT, "token 1009 \"<think>\""},
        {"tokenizer_config.json", "{\"chat_template\":7}", ERR_FORMAT, "neither a string nor a list"},
        {"tokenizer_config.json", "{\"chat_template\":[{\"name\":\"x\"}]}", ERR_FORMAT,
         "lacks a name or a template"},
        {"tokenizer_config.json",
         "{\"chat_template\":[{\"name\":\"a b\",\"template\":\"1\"},{\"name\":\"a-b\",\"template\":\"2\"}]}",
         ERR_FORMAT, "two chat templates are named \"a_b\""},
        {"config.json", "{\"bos_token_id\":1024}", ERR_FORMAT,
         "bos_token_id is 1024; expected a token id below 1024"},
        {"config.json", "{\"bos_token_id\":-1}", ERR_FORMAT, "bos_token_id is -1"},
        {"config.json", "{\"bos_token_id\":\"1\"}", 0, ""},
    };
    check_refusals(cases, sizeof cases / sizeof *cases);
}

Test(model_vocab, files_that_are_no_json) {
    static const struct {
        const char *file, *text, *says;
    } cases[] = {
        {"tokenizer.json", "", "tokenizer.json"},
        {"tokenizer.json", "[]", "normalizer"},
        {"tokenizer.json", "{\"model\":", "tokenizer.json"},
        {"tokenizer_config.json", "{", "tokenizer_config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Copy c;
        copy_start(&c);
        fixture_write_text(c.directory, cases[i].file, cases[i].text);
        copy_open(&c, 1024);
        cr_expect_neq(c.code, 0);
        cr_expect(strstr(c.err.message, cases[i].says), "%s", c.err.message);
        copy_close(&c);
    }
}

Test(model_vocab, template_file_not_text) {
    static const struct {
        const char *bytes;
        size_t length;
        const char *says;
    } cases[] = {{"a\xFF", 2, "not valid UTF-8"}, {"a\0b", 3, "holds a NUL"}};
    for (size_t i = 0; i < 2; i++) {
        Copy c;
        copy_start(&c);
        copy_edit(&c, "tokenizer_config.json", "{\"chat_template\":null}");
        fixture_write(c.directory, "chat_template.jinja", cases[i].bytes, cases[i].length);
        copy_open(&c, 1024);
        cr_expect_eq(c.code, ERR_FORMAT);
        cr_expect(strstr(c.err.message, cases[i].says), "%s", c.err.message);
        copy_close(&c);
    }
}

Test(model_vocab, missing_tokenizer) {
    Error err = {0};
    Vocab *v;
    Model m = {.form = FORM_HF, .path = "some/dir"};
    cr_assert_eq(vocab_open(&v, &m, NULL, &err), ERR_FORMAT);
    cr_assert(strstr(err.message, "some/dir: tokenizer.json is missing"), "%s", err.message);
    cr_assert_null(v);
}

Test(model_vocab, too_large) {
    Copy c;
    copy_start(&c);
    copy_open(&c, UINT32_MAX);
    cr_expect_eq(c.code, ERR_LIMIT, "%s", c.err.message);
    copy_close(&c);
}

Test(model_vocab, memory_runs_out) {
    VocabFiles files;
    Error err;
    cr_assert_eq(vocab_files_open(&files, FIXTURE_TINY, 1024, &err), 0);
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        Vocab *v;
        failing_init(&f, n);
        int code = vocab_open(&v, &files.model, &f.allocator, &err);
        vocab_close(v);
        cr_assert_eq(f.live, 0, "after %zu", n);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY, "after %zu: %s", n, err.message);
        cr_assert_lt(n, 1000);
    }
    vocab_files_close(&files);
}
