/* metadata_digest.c -- see metadata_digest.h. */
#include "model/metadata_digest.h"
#include "model/gguf_split.h"
#include <stdlib.h>
#include <string.h>

/* Does it say how the file is laid out, not what the model is? */
static bool is_layout(const GgufKv *kv) {
    static const char alignment[] = "general.alignment";
    return gguf_is_split_key(kv) ||
           (kv->key.length == sizeof alignment - 1 && !memcmp(kv->key.data, alignment, kv->key.length));
}

static int by_key(const void *a, const void *b) {
    const GgufString *x = &(*(const GgufKv *const *)a)->key, *y = &(*(const GgufKv *const *)b)->key;
    int order = memcmp(x->data, y->data, x->length < y->length ? x->length : y->length);
    return order ? order : x->length < y->length ? -1 : x->length > y->length;
}

static int hash_all(Sha256 *sha, const GgufKv *const *kvs, size_t n, Error *err) {
    Buffer b;
    int code = 0;
    buffer_init(&b, NULL);
    for (size_t i = 0; i < n && !code; i++) {
        buffer_clear(&b);
        metadata_write_kv(&b, kvs[i]);
        code = buffer_ok(&b, "a digest of metadata", err);
        if (!code) sha256_update(sha, b.data, b.length);
    }
    buffer_free(&b);
    return code;
}

int metadata_sha256(char hex[SHA256_HEX], const Metadata *m, Error *err) {
    size_t slots = metadata_slots(m), n = 0;
    Sha256 *sha;
    const GgufKv **kvs = mem_alloc(NULL, (slots + 1) * sizeof *kvs);
    if (!kvs) return error_memory(err, "a digest of metadata");
    for (size_t i = 0; i < slots; i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (!kv->removed && !is_layout(kv)) kvs[n++] = kv;
    }
    qsort(kvs, n, sizeof *kvs, by_key);
    int code = sha256_open(&sha, err);
    if (!code) {
        code = hash_all(sha, kvs, n, err);
        sha256_finish(sha, hex);
        sha256_close(sha);
    }
    mem_free(NULL, kvs);
    return code;
}
