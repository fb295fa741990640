/* prompts.c -- see prompts.h. */
#include "validate/prompts.h"
#include "core/sha256.h"
#include "model/vocab.h"
#include "runner/chat.h"
#include <string.h>

static int render(const char **out, const RecipeChat *chat, const ChatTemplate *tmpl, Arena *arena,
                  Error *err) {
    Buffer text;
    ChatMessage *messages = arena_alloc(arena, chat->n_messages, sizeof *messages);
    if (!messages) return error_memory(err, "a prompt");
    for (size_t i = 0; i < chat->n_messages; i++)
        messages[i] = (ChatMessage){chat->messages[i].role, chat->messages[i].content};
    buffer_init(&text, NULL);
    int code = chat_render(tmpl, messages, chat->n_messages, true, &text, err);
    if (!code && !(*out = arena_copy(arena, buffer_string(&text), text.length)))
        code = error_memory(err, "a prompt");
    buffer_free(&text);
    return code;
}

/* chat_template_find's own message speaks of options that a recipe has not. */
static int find_template(const ChatTemplate **out, const Model *model, size_t prompt, Error *err) {
    Vocab *vocab;
    char sha256[SHA256_HEX];
    TRY(vocab_open(&vocab, model, NULL, err));
    const char *text = vocab->chat_template;
    int code = text ? sha256_bytes(sha256, text, strlen(text), err) : 0;
    *out = !code && text ? chat_template_by_hash(sha256) : NULL;
    if (!code && !text)
        code = error_set(err, ERR_RECIPE,
                         "validate.prompts[%zu] is a conversation, but the base has no chat template; give "
                         "the prompt as a string",
                         prompt);
    else if (!code && !*out)
        code = error_set(err, ERR_RECIPE,
                         "validate.prompts[%zu] is a conversation, but the base's chat template (sha256 %s) "
                         "is unknown: Qwen3, Qwen3-Instruct-2507, Qwen3-Thinking-2507 and plain ChatML are "
                         "known; give the prompt as a string",
                         prompt, sha256);
    vocab_close(vocab);
    return code;
}

int prompt_texts(const char *const **out, const Recipe *recipe, const Model *model, Arena *arena,
                 Error *err) {
    const ChatTemplate *tmpl = NULL;
    const char **texts = arena_alloc(arena, recipe->n_prompts, sizeof *texts);
    if (!texts) return error_memory(err, "the prompts");
    for (size_t i = 0; i < recipe->n_prompts; i++) {
        texts[i] = recipe->prompts[i];
        if (texts[i]) continue;
        if (!tmpl) TRY(find_template(&tmpl, model, i, err));
        TRY(render(&texts[i], &recipe->chats[i], tmpl, arena, err));
    }
    *out = texts;
    return 0;
}
