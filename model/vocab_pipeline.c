/* vocab_pipeline.c -- is this tokenizer.json Qwen2's pipeline? Every setting that changes ids is compared;
 * whatever differs is named. Settings that only move offsets (trim_offsets) are not looked at. */
#include "model/vocab_private.h"

#include <stdio.h>
#include <string.h>

static int differs(const char *where, const char *key, const cJSON *found, const char *expected, Error *err) {
    Buffer text;
    buffer_init(&text, NULL);
    if (found) {
        json_write_canonical(&text, found);
    } else {
        buffer_text(&text, "absent");
    }
    int code =
        error_set(err, ERR_UNSUPPORTED,
                  "%s: %s is %.300s; expected %s. Only Qwen2's tokenizer is known (as in Qwen2, Qwen2.5 and "
                  "Qwen3): NFC, its split pattern, byte level, plain BPE",
                  where, key, buffer_string(&text), expected);
    buffer_free(&text);
    return code;
}

static bool is_string(const cJSON *item, const char *expected) {
    return cJSON_IsString(item) && strcmp(item->valuestring, expected) == 0;
}

static bool is_type(const cJSON *item, const char *type) {
    return is_string(json_get(item, "type"), type);
}

static int check_pre_tokenizer(const cJSON *root, const char *where, Error *err) {
    const cJSON *pre = json_get(root, "pre_tokenizer");
    const cJSON *list = json_get(pre, "pretokenizers");
    if (!is_type(pre, "Sequence") || !cJSON_IsArray(list) || cJSON_GetArraySize(list) != 2) {
        return differs(where, "pre_tokenizer", pre, "a Sequence of Split and ByteLevel", err);
    }
    const cJSON *split = cJSON_GetArrayItem(list, 0), *bytes = cJSON_GetArrayItem(list, 1);
    const cJSON *regex = json_get(json_get(split, "pattern"), "Regex");
    if (!is_type(split, "Split"))
        return differs(where, "pre_tokenizer.pretokenizers[0]", split, "a Split", err);
    if (!is_string(regex, vocab_qwen2_pattern)) {
        return differs(where, "the split pattern", json_get(split, "pattern"), "Qwen2's", err);
    }
    if (!is_string(json_get(split, "behavior"), "Isolated") || !cJSON_IsFalse(json_get(split, "invert"))) {
        return differs(where, "pre_tokenizer.pretokenizers[0]", split, "behavior Isolated and invert false",
                       err);
    }
    if (!is_type(bytes, "ByteLevel") || !cJSON_IsFalse(json_get(bytes, "add_prefix_space")) ||
        !cJSON_IsFalse(json_get(bytes, "use_regex"))) {
        return differs(where, "pre_tokenizer.pretokenizers[1]", bytes,
                       "ByteLevel with add_prefix_space and use_regex false", err);
    }
    return 0;
}

static int check_model(const cJSON *model, const char *where, Error *err) {
    const cJSON *dropout = json_present(model, "dropout");
    /* null, false and "" all mean that a feature is off */
    static const char *const off[] = {"unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                      "byte_fallback", "ignore_merges"};
    if (!is_type(model, "BPE")) return differs(where, "model.type", json_get(model, "type"), "BPE", err);
    if (dropout && !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0)) {
        return differs(where, "model.dropout", dropout, "none", err);
    }
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        const cJSON *item = json_present(model, off[i]);
        if (item && !cJSON_IsFalse(item) && !is_string(item, "")) {
            char key[64];
            snprintf(key, sizeof key, "model.%s", off[i]);
            return differs(where, key, item, "none", err);
        }
    }
    return 0;
}

int vocab_check_pipeline(const cJSON *root, const char *where, Error *err) {
    const cJSON *normalizer = json_get(root, "normalizer"), *post = json_present(root, "post_processor");
    if (!is_type(normalizer, "NFC")) return differs(where, "normalizer", normalizer, "NFC", err);
    TRY(check_pre_tokenizer(root, where, err));
    TRY(check_model(json_get(root, "model"), where, err));
    if (post && !is_type(post, "ByteLevel"))
        return differs(where, "post_processor", post, "ByteLevel or none", err);
    if (!is_type(json_get(root, "decoder"), "ByteLevel")) {
        return differs(where, "decoder", json_get(root, "decoder"), "ByteLevel", err);
    }
    return 0;
}
