/* tensor_hashes.c -- what llama-gguf-hash --check reads: SHA-256 over tensor bytes alone, so that metadata
 * can change under it. */
#include "model/gguf.h"
#include "packager/evidence.h"
#include <string.h>

enum { PIECE = 1 << 20 };

typedef struct Hashes {
    Buffer *out;
    const char *name;
    Sha256 *tensor, *all;
    uint8_t *piece;
    uint64_t done, total;
    const Progress *progress;
} Hashes;

static int hash_extent(Hashes *h, const Extent *e, Error *err) {
    for (uint64_t at = 0; at < e->length;) {
        uint64_t left = e->length - at;
        size_t n = left < PIECE ? (size_t)left : PIECE;
        TRY(input_read(e->file, e->offset + at, h->piece, n, err));
        sha256_update2(h->tensor, h->piece, n, h->all, h->piece, n);
        at += n;
        h->done += n;
        TRY(progress_update(h->progress, "hash tensors", h->done, h->total, err));
    }
    return 0;
}

static int hash_tensors(Hashes *h, const Model *m, Error *err) {
    char hex[SHA256_HEX];
    for (size_t i = 0; i < m->n_tensors; i++) h->total += tensor_stored_bytes(&m->tensors[i]);
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        for (uint32_t k = 0; k < t->n_extents; k++) TRY(hash_extent(h, &t->extents[k], err));
        sha256_finish(h->tensor, hex);
        buffer_printf(h->out, "%-8s  %s  %s:%s\n", "sha256", hex, h->name, t->name);
    }
    sha256_finish(h->all, hex);
    buffer_printf(h->out, "%-8s  %s  %s\n", "sha256", hex, h->name);
    return buffer_ok(h->out, "hashes of tensors", err);
}

uint64_t tensor_hashes_size(const Model *m, const char *name) {
    uint64_t whole = 8 + 2 + (SHA256_HEX - 1) + 2 + strlen(name) + 1, size = whole;
    for (size_t i = 0; i < m->n_tensors; i++) size += whole + 1 + strlen(m->tensors[i].name);
    return size;
}

int tensor_hashes_write(Buffer *out, const char *path, const char *name, const Progress *progress,
                        Error *err) {
    Input *in;
    Model *m = NULL;
    Hashes h = {.out = out, .name = name, .progress = progress, .piece = mem_alloc(NULL, PIECE)};
    int code = h.piece ? input_open(&in, path, NULL, err) : error_memory(err, "hashes of tensors");
    if (!code) {
        code = gguf_open_shard(&m, in, NULL, err);
        if (code) input_close(in);
    }
    if (!code) code = sha256_open(&h.tensor, err);
    if (!code) code = sha256_open(&h.all, err);
    if (!code) code = hash_tensors(&h, m, err);
    sha256_close(h.tensor);
    sha256_close(h.all);
    model_close(m);
    mem_free(NULL, h.piece);
    return code;
}
