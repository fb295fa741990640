/* chat.h -- a conversation as the prompt that a model was trained on.
 *
 * A chat template is a program in Jinja. It is not run: the templates of Qwen's models are known by the
 * SHA-256 of their text, and each has a renderer here that gives the same bytes as transformers'
 * apply_chat_template (docs/generation.md). Tools are not offered. */
#ifndef RECAST_RUNNER_CHAT_H
#define RECAST_RUNNER_CHAT_H

#include "core/buffer.h"

typedef struct ChatMessage {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
} ChatMessage;

typedef enum ChatThinking {
    CHAT_THINKS_NEVER,   /* no trace of it in the template */
    CHAT_THINKS_IF_TOLD, /* enable_thinking */
    CHAT_THINKS_ALWAYS   /* every answer begins inside a thought */
} ChatThinking;

/* A template that is known; static. */
typedef struct ChatTemplate {
    const char *sha256; /* of its text, 64 hex digits */
    const char *name;   /* "Qwen3" */
    ChatThinking thinking;
    bool knows_thoughts; /* thoughts of earlier answers are left out */
} ChatTemplate;

/* NULL-terminated, for listing. */
extern const ChatTemplate *const chat_templates[];
/* The template with this text (NULL: the model has none). ERR_UNSUPPORTED, naming the hash, the known ones
 * and
 * --raw. */
int chat_template_find(const ChatTemplate **out, const char *text, Error *err) MUST_CHECK;
/* By the hash of its text; NULL if it is unknown. */
const ChatTemplate *chat_template_by_hash(const char *sha256);
/* Appends the prompt that asks for the next answer (add_generation_prompt). thinking is enable_thinking,
 * which only a template with CHAT_THINKS_IF_TOLD looks at. ERR_USAGE: no message, or another role. */
int chat_render(const ChatTemplate *t, const ChatMessage *messages, size_t count, bool thinking, Buffer *out,
                Error *err) MUST_CHECK;

#endif
