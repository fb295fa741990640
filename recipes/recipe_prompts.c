/* recipe_prompts.c -- "validate.prompts": texts, or conversations as data. What a model makes of a
 * conversation is its chat template's business, which stands above this room. */
#include "recipes/fields.h"
#include "recipes/recipe_private.h"
#include <string.h>

enum { MOST_MESSAGES = 1024 };

static const KeyRule chat_keys[] = {{"messages", NULL}, {NULL, NULL}};
static const KeyRule message_keys[] = {{"role", NULL}, {"content", NULL}, {NULL, NULL}};

static bool is_role(const char *s) {
    return !strcmp(s, "system") || !strcmp(s, "user") || !strcmp(s, "assistant");
}

static int parse_message(RecipeMessage *out, const cJSON *item, const char *path, Error *err) {
    char where[FIELD_PATH_SIZE];
    if (!cJSON_IsObject(item))
        return field_mismatch(item, path, "an object with \"role\" and \"content\"", err);
    TRY(fields_check(item, path, message_keys, err));
    TRY(field_string(&out->role, item, path, "role", true, err));
    field_path(where, path, "role");
    if (!is_role(out->role))
        return field_mismatch(json_get(item, "role"), where, "\"system\", \"user\" or \"assistant\"", err);
    return field_string(&out->content, item, path, "content", true, err);
}

static int parse_chat(RecipeChat *out, const Recipe *r, const cJSON *item, const char *path, Error *err) {
    const cJSON *list;
    char messages_path[FIELD_PATH_SIZE], where[FIELD_PATH_SIZE];
    TRY(fields_check(item, path, chat_keys, err));
    TRY(field_array(&list, item, path, "messages", true, err));
    field_path(messages_path, path, "messages");
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    if (n > MOST_MESSAGES)
        return error_set(err, ERR_LIMIT, "%s: %zu messages; a prompt has at most %d", messages_path, n,
                         MOST_MESSAGES);
    RecipeMessage *messages = arena_alloc(r->arena, n, sizeof *messages);
    if (!messages) return error_memory(err, messages_path);
    for (const cJSON *m = list->child; m; m = m->next, i++) {
        field_index(where, messages_path, i);
        TRY(parse_message(&messages[i], m, where, err));
    }
    *out = (RecipeChat){.n_messages = n, .messages = messages};
    return 0;
}

int recipe_parse_prompts(Recipe *r, const cJSON *list, Error *err) {
    static const char path[] = "validate.prompts";
    char where[FIELD_PATH_SIZE];
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    const char **texts = arena_alloc(r->arena, n, sizeof *texts);
    RecipeChat *chats = arena_alloc(r->arena, n, sizeof *chats);
    if (!texts || !chats) return error_memory(err, path);
    for (const cJSON *m = list->child; m; m = m->next, i++) {
        field_index(where, path, i);
        texts[i] = NULL;
        chats[i] = (RecipeChat){0, NULL};
        if (cJSON_IsObject(m))
            TRY(parse_chat(&chats[i], r, m, where, err));
        else if (cJSON_IsString(m))
            TRY(item_string(&texts[i], m, where, err));
        else
            return field_mismatch(m, where, "a text, or an object with \"messages\"", err);
    }
    r->prompts = texts;
    r->chats = chats;
    r->n_prompts = n;
    return 0;
}
