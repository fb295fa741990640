/* dsse.c -- see dsse.h. */
#include "packager/dsse.h"
#include "core/json.h"
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* ---- base64 ---- */

void base64_write(Buffer *out, const void *bytes, size_t length) {
    const uint8_t *in = bytes;
    for (size_t i = 0; i < length; i += 3) {
        size_t n = length - i < 3 ? length - i : 3;
        uint32_t v = (uint32_t)in[i] << 16;
        if (n > 1) v |= (uint32_t)in[i + 1] << 8;
        if (n > 2) v |= in[i + 2];
        char four[4] = {alphabet[v >> 18], alphabet[v >> 12 & 63], n > 1 ? alphabet[v >> 6 & 63] : '=',
                        n > 2 ? alphabet[v & 63] : '='};
        buffer_append(out, four, sizeof four);
    }
}

static int digit(char c) {
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* Bits behind the last byte must be zero: else there would be two spellings of one value. */
bool base64_read(Buffer *out, const char *text) {
    size_t length = strlen(text);
    if (length % 4) return false;
    for (size_t i = 0; i < length; i += 4) {
        size_t pad = i + 4 < length ? 0 : (text[i + 3] == '=') + (text[i + 3] == '=' && text[i + 2] == '=');
        uint32_t v = 0;
        for (size_t k = 0; k < 4 - pad; k++) {
            int d = digit(text[i + k]);
            if (d < 0) return false;
            v |= (uint32_t)d << (18 - 6 * k);
        }
        if ((pad == 1 && (v & 0xFF)) || (pad == 2 && (v & 0xFFFF))) return false;
        uint8_t three[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        buffer_append(out, three, 3 - pad);
    }
    return true;
}

/* ---- envelopes ---- */

static void write_pae(Buffer *out, const void *payload, size_t length) {
    buffer_printf(out, "DSSEv1 %zu %s %zu ", sizeof DSSE_PAYLOAD_TYPE - 1, DSSE_PAYLOAD_TYPE, length);
    buffer_append(out, payload, length);
}

static bool add_base64(cJSON *object, const char *key, const void *bytes, size_t length) {
    Buffer text;
    buffer_init(&text, NULL);
    base64_write(&text, bytes, length);
    bool ok = !text.failed && cJSON_AddStringToObject(object, key, buffer_string(&text));
    buffer_free(&text);
    return ok;
}

static cJSON *envelope_json(const void *payload, size_t length, const Buffer *signature) {
    cJSON *root = cJSON_CreateObject();
    bool ok = root && add_base64(root, "payload", payload, length) &&
              cJSON_AddStringToObject(root, "payloadType", DSSE_PAYLOAD_TYPE);
    cJSON *list = ok ? cJSON_AddArrayToObject(root, "signatures") : NULL;
    cJSON *one = list ? cJSON_CreateObject() : NULL;
    ok = one && cJSON_AddItemToArray(list, one) &&
         add_base64(one, "sig", signature->data, signature->length) &&
         cJSON_AddStringToObject(one, "keyid", "");
    if (ok) return root;
    cJSON_Delete(root);
    return NULL;
}

int dsse_sign(cJSON **out, const void *payload, size_t payload_length, const SignKey *key, Error *err) {
    Buffer pae, signature;
    buffer_init(&pae, NULL);
    buffer_init(&signature, NULL);
    *out = NULL;
    write_pae(&pae, payload, payload_length);
    int code = buffer_ok(&pae, "a statement", err);
    if (!code) code = sign_key_sign(key, pae.data, pae.length, &signature, err);
    if (!code) *out = envelope_json(payload, payload_length, &signature);
    if (!code && !*out) code = error_memory(err, "an envelope");
    buffer_free(&pae);
    buffer_free(&signature);
    return code;
}

bool json_only_has(const cJSON *object, const char *const *keys) {
    if (!cJSON_IsObject(object)) return false;
    for (const cJSON *m = object->child; m; m = m->next) {
        const char *const *k = keys;
        while (*k && strcmp(*k, m->string)) k++;
        if (!*k) return false;
    }
    return true;
}

static const char *text_of(const cJSON *object, const char *key) {
    return cJSON_GetStringValue(json_get(object, key));
}

static int read_parts(Envelope *e, const cJSON *json, const char *name, Error *err) {
    static const char *const members[] = {"payload", "payloadType", "signatures", NULL}, *const parts[] = {
                                                                                             "sig", "keyid",
                                                                                             NULL};
    const char *payload = text_of(json, "payload"), *type = text_of(json, "payloadType");
    const cJSON *list = json_get(json, "signatures");
    if (!json_only_has(json, members) || !payload || !type || !cJSON_IsArray(list))
        return error_set(err, ERR_FORMAT, "%s: a DSSE envelope has payload, payloadType and signatures",
                         name);
    if (strcmp(type, DSSE_PAYLOAD_TYPE))
        return error_set(err, ERR_FORMAT, "%s: the payload is no in-toto statement but %s", name, type);
    const cJSON *one = list->child;
    const char *sig = one && !one->next && json_only_has(one, parts) ? text_of(one, "sig") : NULL;
    if (!sig) return error_set(err, ERR_FORMAT, "%s: expected exactly one signature", name);
    if (!base64_read(&e->payload, payload) || !base64_read(&e->signature, sig))
        return error_set(err, ERR_FORMAT, "%s: a value that is not base64", name);
    TRY(buffer_ok(&e->payload, name, err));
    return buffer_ok(&e->signature, name, err);
}

int dsse_read(Envelope *out, const cJSON *json, const char *name, Error *err) {
    buffer_init(&out->payload, NULL);
    buffer_init(&out->signature, NULL);
    int code = read_parts(out, json, name, err);
    if (code) envelope_free(out);
    return code;
}

void envelope_free(Envelope *e) {
    buffer_free(&e->payload);
    buffer_free(&e->signature);
}

int dsse_verify(const Envelope *e, const PublicKey *key, Error *err) {
    Buffer pae;
    buffer_init(&pae, NULL);
    write_pae(&pae, buffer_string(&e->payload), e->payload.length);
    int code = buffer_ok(&pae, "a statement", err);
    if (!code)
        code = public_key_verify(key, pae.data, pae.length, buffer_string(&e->signature), e->signature.length,
                                 err);
    buffer_free(&pae);
    return code;
}
