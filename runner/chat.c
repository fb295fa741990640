/* chat.c -- see chat.h. Behaviour was held against transformers' apply_chat_template on the texts with these
 * hashes: tests/golden/make_chat.py. */
#include "runner/chat.h"
#include "core/sha256.h"
#include <string.h>

/* ChatML and nothing else: the bundled tiny model. */
static const ChatTemplate plain_chatml = {"a69808240e15b64c69cae3797202fedb85f619ba07491c7fca00db6607318ceb",
                                          "ChatML", CHAT_THINKS_NEVER, false};
/* April 2025, and as it has been since; they differ only in content that is not text. */
static const ChatTemplate qwen3_first = {"87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5",
                                         "Qwen3 (first)", CHAT_THINKS_IF_TOLD, true};
static const ChatTemplate qwen3 = {"a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8",
                                   "Qwen3", CHAT_THINKS_IF_TOLD, true};
static const ChatTemplate qwen3_instruct = {
    "64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326", "Qwen3-Instruct-2507",
    CHAT_THINKS_NEVER, false};
static const ChatTemplate qwen3_thinking = {
    "3802169b2a02b81e6adb7ab4f64f91ff02db753c8c3a64a01c35192d3a61d8d7", "Qwen3-Thinking-2507",
    CHAT_THINKS_ALWAYS, true};

const ChatTemplate *const chat_templates[] = {&qwen3,          &qwen3_first,  &qwen3_instruct,
                                              &qwen3_thinking, &plain_chatml, NULL};

const ChatTemplate *chat_template_by_hash(const char *sha256) {
    for (const ChatTemplate *const *t = chat_templates; *t; t++)
        if (!strcmp((*t)->sha256, sha256)) return *t;
    return NULL;
}

int chat_template_find(const ChatTemplate **out, const char *text, Error *err) {
    char hex[SHA256_HEX];
    if (!text)
        return error_set(err, ERR_UNSUPPORTED,
                         "the model has no chat template; --raw sends the text as it is");
    TRY(sha256_bytes(hex, text, strlen(text), err));
    *out = chat_template_by_hash(hex);
    if (*out) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "the model's chat template (sha256 %s) is unknown: Qwen3, Qwen3-Instruct-2507, "
                     "Qwen3-Thinking-2507 and plain ChatML are known; --raw sends the text as it is",
                     hex);
}

/* ---- pieces of text ---- */

typedef struct Span {
    const char *at;
    size_t length;
} Span;

static Span strip_left(Span s) {
    while (s.length && s.at[0] == '\n') s.at++, s.length--;
    return s;
}

static Span strip_right(Span s) {
    while (s.length && s.at[s.length - 1] == '\n') s.length--;
    return s;
}

/* What stands before the first `mark`, or all. */
static Span before_first(Span s, const char *mark) {
    const char *at = memmem(s.at, s.length, mark, strlen(mark));
    if (at) s.length = (size_t)(at - s.at);
    return s;
}

/* What stands behind the last `mark`, or all. Occurrences are counted from the left, as split does; these
 * marks can't overlap themselves. */
static Span after_last(Span s, const char *mark) {
    size_t n = strlen(mark);
    for (const char *at; (at = memmem(s.at, s.length, mark, n));) {
        s.length -= (size_t)(at + n - s.at);
        s.at = at + n;
    }
    return s;
}

static void add(Buffer *out, Span s) {
    buffer_append(out, s.at, s.length);
}

/* ---- messages ---- */

static bool is(const ChatMessage *m, const char *role) {
    return !strcmp(m->role, role);
}

static void open_turn(Buffer *out, const char *role) {
    buffer_text(out, "<|im_start|>");
    buffer_text(out, role);
    buffer_char(out, '\n');
}

/* The answer of a tool, which a template takes for no question of the user's. */
static bool is_tool_response(const char *content) {
    static const char begin[] = "<tool_response>", end[] = "</tool_response>";
    size_t n = strlen(content);
    return !strncmp(content, begin, strlen(begin)) && n >= strlen(end) &&
           !strcmp(content + n - strlen(end), end);
}

/* The user's last question; without one, the last message. */
static size_t last_query(const ChatMessage *m, size_t count) {
    for (size_t i = count; i-- > 0;)
        if (is(&m[i], "user") && !is_tool_response(m[i].content)) return i;
    return count - 1;
}

/* An answer of a model that thinks: thoughts before the user's last question are dropped, later ones are put
 * into the one form that the model writes itself. */
static void answer(Buffer *out, const char *text, bool after_query, bool last) {
    Span content = {text, strlen(text)}, thought = {text, 0};
    if (strstr(text, "</think>")) {
        thought = strip_left(after_last(strip_right(before_first(content, "</think>")), "<think>"));
        content = strip_left(after_last(content, "</think>"));
    }
    if (after_query && (last || thought.length)) {
        buffer_text(out, "<think>\n");
        add(out, strip_left(strip_right(thought)));
        buffer_text(out, "\n</think>\n\n");
        content = strip_left(content);
    }
    add(out, content);
}

static int check(const ChatMessage *m, size_t count, Error *err) {
    if (!count) return error_set(err, ERR_USAGE, "a conversation needs at least one message");
    for (size_t i = 0; i < count; i++)
        if (!is(&m[i], "system") && !is(&m[i], "user") && !is(&m[i], "assistant"))
            return error_set(
                err, ERR_USAGE,
                "message %zu: role \"%s\"; system, user and assistant are offered (tools are not)", i,
                m[i].role);
    return 0;
}

int chat_render(const ChatTemplate *t, const ChatMessage *m, size_t count, bool thinking, Buffer *out,
                Error *err) {
    TRY(check(m, count, err));
    size_t query = last_query(m, count);
    for (size_t i = 0; i < count; i++) {
        open_turn(out, m[i].role);
        if (t->knows_thoughts && is(&m[i], "assistant"))
            answer(out, m[i].content, i > query, i + 1 == count);
        else
            buffer_text(out, m[i].content);
        buffer_text(out, "<|im_end|>\n");
    }
    open_turn(out, "assistant");
    if (t->thinking == CHAT_THINKS_ALWAYS) buffer_text(out, "<think>\n");
    if (t->thinking == CHAT_THINKS_IF_TOLD && !thinking) buffer_text(out, "<think>\n\n</think>\n\n");
    return buffer_ok(out, "the prompt", err);
}
