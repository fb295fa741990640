/* vocab_hf_config.c -- special ids and chat templates of a checkpoint: tokenizer_config.json, config.json,
 * chat_template.jinja and chat_template.json, with the precedence of llama.cpp's converter (gguf-py's
 * SpecialVocab). Templates are copied, never interpreted. */
#include "model/vocab_private.h"

#include "core/utf8.h"
#include <stdio.h>
#include <string.h>

/* ---- which tokens are special ---- */

static bool is_added(const VocabBuilder *b, uint64_t id) {
    return b->types[id] == TOKEN_CONTROL || b->types[id] == TOKEN_USER_DEFINED;
}

/* A token is given as its text or as an object with "content"; NULL if it is neither. */
static const char *spelling(const cJSON *item) {
    if (cJSON_IsObject(item)) item = json_get(item, "content");
    return cJSON_IsString(item) && *item->valuestring ? item->valuestring : NULL;
}

/* transformers makes a token special that is named so here, whatever tokenizer.json says of it, and adds one
 * that is missing there under a new id. The latter would change how text is cut, unseen: refused. */
static int mark_special(VocabBuilder *b, const cJSON *item, const char *key, Error *err) {
    const char *text = spelling(item);
    uint64_t id;
    if (!text) return 0;
    if (!table_get(b->ids, text, strlen(text), &id) || !is_added(b, id)) {
        return error_set(
            err, ERR_FORMAT,
            "%s: tokenizer_config.json names \"%.64s\" (%s), which is none of the added tokens of "
            "tokenizer.json; have transformers write both files again",
            b->where, text, key);
    }
    b->types[id] = TOKEN_CONTROL;
    return 0;
}

/* added_tokens_decoder repeats the added tokens: {"1000": {"content": ..., "special": ...}}. */
static int compare_added(VocabBuilder *b, const cJSON *decoder, Error *err) {
    for (const cJSON *item = decoder ? decoder->child : NULL; item; item = item->next) {
        const char *text = spelling(item), *name = item->string ? item->string : "";
        uint64_t id;
        char expected[24];
        if (!text) continue;
        if (table_get(b->ids, text, strlen(text), &id)) {
            snprintf(expected, sizeof expected, "%u", (unsigned)id);
            if (is_added(b, id) && strcmp(name, expected) == 0) {
                if (cJSON_IsTrue(json_get(item, "special"))) b->types[id] = TOKEN_CONTROL;
                continue;
            }
        }
        return error_set(
            err, ERR_FORMAT,
            "%s: added_tokens_decoder of tokenizer_config.json has token %.20s \"%.64s\", which "
            "tokenizer.json does not have among its added tokens; have transformers write both files again",
            b->where, name, text);
    }
    return 0;
}

static int read_special_marks(VocabBuilder *b, const cJSON *config, Error *err) {
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
    for (const cJSON *item = config->child; item; item = item->next) {
        size_t length = item->string ? strlen(item->string) : 0;
        if (length < 6 || strcmp(item->string + length - 6, "_token") != 0) continue;
        TRY(mark_special(b, item, item->string, err));
    }
    for (size_t i = 0; i < 2; i++) {
        const cJSON *list = json_present(config, lists[i]);
        for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
            TRY(mark_special(b, item, lists[i], err));
        }
    }
    return compare_added(b, json_present(config, "added_tokens_decoder"), err);
}

/* ---- special ids ---- */

static const char *token_text(const cJSON *config, const char *kind) {
    char key[32];
    snprintf(key, sizeof key, "%s_token", kind);
    return spelling(json_present(config, key));
}

static void read_special_texts(VocabBuilder *b, const cJSON *config) {
    for (size_t i = 0; i < SPECIAL_KINDS; i++) {
        const SpecialKind *kind = &vocab_special_kinds[i];
        uint64_t id;
        if (!kind->hf) continue;
        const char *text = token_text(config, kind->hf);
        if (!text && kind->instead) text = token_text(config, kind->instead);
        if (!text || !table_get(b->ids, text, strlen(text), &id)) continue;
        vocab_add_special(b, kind, (uint32_t)id);
    }
}

/* config.json fills what is still missing. Lists of ids (several ends) name no single token and are left
 * alone. */
static int read_special_ids(VocabBuilder *b, const Model *m, Error *err) {
    for (size_t i = 0; i < SPECIAL_KINDS; i++) {
        const SpecialKind *kind = &vocab_special_kinds[i];
        if (!kind->hf || vocab_special(b->v, kind) >= 0) continue;
        char key[32];
        snprintf(key, sizeof key, "%s_token_id", kind->hf);
        const cJSON *item = json_present(m->config, key);
        uint32_t id;
        if (!cJSON_IsNumber(item)) continue;
        if (!json_u32(item, &id) || id >= b->v->n_tokens) {
            return error_set(err, ERR_FORMAT,
                             "%s: config.json: %s is %.17g; expected a token id below %u, or null", m->path,
                             key, item->valuedouble, b->v->n_tokens);
        }
        vocab_add_special(b, kind, id);
    }
    return 0;
}

static void read_add_flag(const cJSON *config, const char *key, bool *has, bool *value) {
    const cJSON *item = json_get(config, key);
    if (*has || !cJSON_IsBool(item)) return;
    *has = true;
    *value = cJSON_IsTrue(item);
}

/* ---- chat templates ---- */

static int set_default_template(VocabBuilder *b, const char *text, Error *err) {
    if (!*text) return 0; /* an empty string can't be told from none in a GGUF */
    b->v->chat_template = arena_string(b->v->arena, text);
    return b->v->chat_template ? 0 : error_memory(err, "a chat template");
}

/* The name becomes part of a GGUF key. */
static char *template_name(Arena *arena, const char *name) {
    size_t n = 0, length = strlen(name);
    char *copy = arena_copy(arena, name, length);
    if (!copy) return NULL;
    for (size_t i = 0; i < length;) {
        uint32_t c;
        size_t size = utf8_decode(name + i, length - i, &c);
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        copy[n++] = plain ? (char)c : '_';
        i += size ? size : 1;
    }
    copy[n] = 0;
    return copy;
}

static int read_template_list(VocabBuilder *b, const cJSON *list, const char *where, Error *err) {
    NamedTemplate *named = arena_alloc(b->v->arena, (size_t)cJSON_GetArraySize(list) + 1, sizeof *named);
    size_t n = 0;
    if (!named) return error_memory(err, "the chat templates");
    for (const cJSON *item = list->child; item; item = item->next) {
        const cJSON *name = json_get(item, "name"), *text = json_get(item, "template");
        if (!cJSON_IsString(name) || !*name->valuestring || !cJSON_IsString(text)) {
            return error_set(err, ERR_FORMAT, "%s: an entry of chat_template lacks a name or a template",
                             where);
        }
        if (strcmp(name->valuestring, "default") == 0) {
            TRY(set_default_template(b, text->valuestring, err));
            continue;
        }
        named[n].name = template_name(b->v->arena, name->valuestring);
        named[n].text = arena_string(b->v->arena, text->valuestring);
        if (!named[n].name || !named[n].text) return error_memory(err, "the chat templates");
        n++;
    }
    TRY(vocab_sort_templates(named, n, where, err));
    b->v->templates = named;
    b->v->n_templates = n;
    return 0;
}

static int read_template_value(VocabBuilder *b, const cJSON *value, const char *where, Error *err) {
    if (!value) return 0;
    if (cJSON_IsString(value)) return set_default_template(b, value->valuestring, err);
    if (cJSON_IsArray(value)) return read_template_list(b, value, where, err);
    return error_set(err, ERR_FORMAT, "%s: chat_template is neither a string nor a list", where);
}

/* Text files are read as Python reads them: CR LF and a lone CR become LF. */
static void unify_newlines(char *text, size_t *length) {
    size_t n = 0;
    for (size_t i = 0; i < *length; i++) {
        bool carriage = text[i] == '\r';
        if (carriage && i + 1 < *length && text[i + 1] == '\n') i++;
        text[n++] = carriage ? '\n' : text[i];
    }
    text[n] = 0;
    *length = n;
}

static int read_template_file(VocabBuilder *b, const SourceFile *f, bool jinja, Error *err) {
    char *text;
    size_t length;
    const char *path = input_path(f->input);
    TRY(vocab_source_text(f, &text, &length, b->v->arena, err));
    if (!jinja) {
        cJSON *root;
        TRY(json_parse(&root, text, length, path, err));
        int code = read_template_value(b, json_present(root, "chat_template"), path, err);
        cJSON_Delete(root);
        return code;
    }
    size_t invalid = utf8_invalid_at(text, length);
    if (invalid < length)
        return error_at(err, ERR_FORMAT, invalid, "%s: the chat template is not valid UTF-8", path);
    if (memchr(text, 0, length)) return error_set(err, ERR_FORMAT, "%s: the chat template holds a NUL", path);
    unify_newlines(text, &length);
    return set_default_template(b, text, err);
}

int vocab_read_hf_config(VocabBuilder *b, const Model *m, const cJSON *config, Error *err) {
    Vocab *v = b->v;
    if (config) {
        const SourceFile *jinja = vocab_source(m, "chat_template.jinja");
        const SourceFile *json = jinja ? NULL : vocab_source(m, "chat_template.json");
        const cJSON *value = json_present(config, "chat_template");
        const char *where = input_path(vocab_source(m, "tokenizer_config.json")->input);
        TRY(read_template_value(b, value, where, err));
        if (!value && (jinja || json)) TRY(read_template_file(b, jinja ? jinja : json, jinja != NULL, err));
        read_add_flag(config, "add_bos_token", &v->has_add_bos, &v->add_bos);
        read_add_flag(config, "add_eos_token", &v->has_add_eos, &v->add_eos);
        read_add_flag(config, "add_sep_token", &v->has_add_sep, &v->add_sep);
        TRY(read_special_marks(b, config, err));
        read_special_texts(b, config);
    }
    return read_special_ids(b, m, err);
}
