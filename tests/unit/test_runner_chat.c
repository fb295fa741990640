/* chat: prompts equal to transformers' apply_chat_template (tests/golden/chat.jsonl, made by make_chat.py),
 * and refusals. RECAST_CHAT_GOLDEN names another file of that form, for runs over more conversations. */
#include "core/json.h"
#include "core/sha256.h"
#include "runner/chat.h"
#include "tests/unit/support.h"

enum { MOST_MESSAGES = 32 };

static size_t read_messages(ChatMessage *out, const cJSON *list) {
    size_t n = 0;
    const cJSON *m;
    cJSON_ArrayForEach(m, list) {
        cr_assert_lt(n, MOST_MESSAGES);
        out[n++] =
            (ChatMessage){cJSON_GetArrayItem(m, 0)->valuestring, cJSON_GetArrayItem(m, 1)->valuestring};
    }
    return n;
}

static void compare(const ChatTemplate *t, const ChatMessage *messages, size_t n, const cJSON *prompts,
                    size_t line) {
    for (int thinking = 1; thinking >= 0; thinking--) {
        const cJSON *expected = cJSON_GetArrayItem(prompts, cJSON_GetArraySize(prompts) > 1 ? !thinking : 0);
        Buffer out;
        Error err = {0};
        buffer_init(&out, NULL);
        cr_assert_eq(chat_render(t, messages, n, thinking, &out, &err), 0, "line %zu: %s", line, err.message);
        cr_assert_str_eq(buffer_string(&out), expected->valuestring, "line %zu, %s, thinking %d", line,
                         t->name, thinking);
        buffer_free(&out);
    }
}

Test(runner_chat, equals_transformers) {
    const char *path = getenv("RECAST_CHAT_GOLDEN");
    FILE *f = fopen(path ? path : "tests/golden/chat.jsonl", "r");
    char *text = NULL;
    size_t size = 0, line = 0, known = 0;
    cr_assert_not_null(f);
    for (ssize_t n; (n = getline(&text, &size, f)) > 0;) {
        cJSON *json, *prompts;
        ChatMessage messages[MOST_MESSAGES];
        cr_assert_eq(json_parse(&json, text, (size_t)n, "golden", NULL), 0);
        size_t count = read_messages(messages, json_get(json, "messages"));
        line++, known = 0;
        cJSON_ArrayForEach(prompts, json_get(json, "prompts")) {
            const ChatTemplate *t = chat_template_by_hash(prompts->string);
            cr_assert_not_null(t, "line %zu: no renderer for %s", line, prompts->string);
            compare(t, messages, count, prompts, line);
            known++;
        }
        cJSON_Delete(json);
    }
    size_t all = 0;
    while (chat_templates[all]) all++;
    cr_assert_eq(known, all, "every renderer is held against transformers");
    cr_assert_geq(line, 30);
    free(text);
    fclose(f);
}

Test(runner_chat, by_the_hash_of_the_text) {
    cJSON *config;
    const ChatTemplate *t = NULL;
    Error err = {0};
    char hex[SHA256_HEX];
    cr_assert_eq(json_parse_file(&config, "tests/data/tiny-qwen3moe/tokenizer_config.json", 1 << 20, &err),
                 0);
    const char *text = json_get(config, "chat_template")->valuestring;
    cr_assert_eq(chat_template_find(&t, text, &err), 0, "%s", err.message);
    cr_assert_str_eq(t->name, "ChatML");
    cJSON_Delete(config);

    cr_assert_eq(chat_template_find(&t, "{{ other }}", &err), ERR_UNSUPPORTED);
    cr_assert_eq(sha256_bytes(hex, "{{ other }}", 11, NULL), 0);
    cr_assert_not_null(strstr(err.message, hex), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "--raw"), "%s", err.message);
    cr_assert_eq(chat_template_find(&t, NULL, &err), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(err.message, "--raw"), "%s", err.message);
    for (size_t i = 0; chat_templates[i]; i++) {
        cr_assert(sha256_is_hex(chat_templates[i]->sha256));
        cr_assert_eq(chat_template_by_hash(chat_templates[i]->sha256), chat_templates[i]);
    }
}

static void refuse(const ChatMessage *messages, size_t n, const char *word) {
    Buffer out;
    Error err = {0};
    buffer_init(&out, NULL);
    cr_assert_eq(chat_render(chat_templates[0], messages, n, true, &out, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
    cr_assert_eq(out.length, 0);
    buffer_free(&out);
}

Test(runner_chat, refusals) {
    refuse(NULL, 0, "at least one");
    refuse((const ChatMessage[]){{"user", "a"}, {"tool", "b"}}, 2, "message 1: role \"tool\"");
    FailingAllocator f;
    Buffer out;
    failing_init(&f, 0);
    buffer_init(&out, &f.allocator);
    cr_assert_eq(chat_render(chat_templates[0], (const ChatMessage[]){{"user", "a"}}, 1, true, &out, NULL),
                 ERR_MEMORY);
    buffer_free(&out);
}
