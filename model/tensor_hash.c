/* tensor_hash.c -- see tensor_hash.h. */
#include "model/tensor_hash.h"

#include "model/narrow.h"

enum { PIECE_BYTES = 4 << 20 };

void tensor_hasher_close(TensorHasher *h) {
    sha256_close(h->sha);
    mem_free(NULL, h->piece);
    mem_free(NULL, h->narrowed);
    *h = (TensorHasher){0};
}

static int reserve(uint8_t **buffer, size_t *size, size_t wanted, Error *err) {
    if (*buffer && *size >= wanted) return 0;
    uint8_t *more = mem_resize(NULL, *buffer, wanted);
    if (!more) return error_memory(err, "hashing tensors");
    *buffer = more;
    *size = wanted;
    return 0;
}

/* Rows in pieces of about 4 MB. A tensor without transforms is read by bytes, so that a single long row needs
 * no more. */
typedef struct Pieces {
    const Tensor *t;
    uint64_t first_row, n_rows;
    uint64_t total, step; /* bytes; rows when there are transforms */
    uint64_t unit;        /* bytes of what is counted: 1, or a row's */
} Pieces;

static Pieces pieces_of(const Tensor *t, uint64_t first_row, uint64_t n_rows) {
    uint64_t row = tensor_row_bytes(t);
    Pieces p = {t, first_row, n_rows, n_rows * row, PIECE_BYTES, 1};
    if (t->n_transforms && row) {
        p.total = n_rows;
        p.step = row < PIECE_BYTES ? PIECE_BYTES / row : 1;
        p.unit = row;
    }
    return p;
}

static int read_piece(const Pieces *p, uint64_t at, uint64_t n, void *buffer, Error *err) {
    if (p->t->n_transforms) return model_read(p->t, p->first_row + at, n, buffer, err);
    return tensor_read_stored(p->t, p->first_row * tensor_row_bytes(p->t) + at, buffer, (size_t)n, err);
}

/* Hashes rows as `as`; *exact is false, and the hash abandoned, if an element does not fit. *done: bytes read
 * so far. */
static int hash_as(TensorHasher *h, const Pieces *p, DType as, bool *exact, char hex[SHA256_HEX],
                   uint64_t *done, HashProgress progress, Error *err) {
    DType type = p->t->type;
    if (!h->sha) TRY(sha256_open(&h->sha, err));
    uint64_t most = p->total < p->step ? p->total : p->step;
    TRY(reserve(&h->piece, &h->piece_size, (size_t)(most * p->unit) + 1, err));
    if (as != type) TRY(reserve(&h->narrowed, &h->narrowed_size, (size_t)(most * p->unit) + 1, err));
    *exact = true;
    for (uint64_t at = 0; at < p->total && *exact; at += p->step) {
        uint64_t n = p->total - at < p->step ? p->total - at : p->step;
        size_t bytes = (size_t)(n * p->unit);
        TRY(read_piece(p, at, n, h->piece, err));
        if (as == type) {
            sha256_update(h->sha, h->piece, bytes);
        } else {
            size_t width = type == DT_F32 ? 4 : 2, elements = bytes / width;
            *exact = narrow_exact(as, h->narrowed, type, h->piece, elements);
            if (*exact) sha256_update(h->sha, h->narrowed, 2 * elements);
        }
        /* A second try reads bytes that were counted already. */
        uint64_t end = at * p->unit + bytes;
        if (progress.call && *exact && end > *done) {
            TRY(progress.call(progress.context, end - *done, err));
            *done = end;
        }
    }
    sha256_finish(h->sha, hex);
    return hex[0] ? 0 : error_set(err, ERR_MEMORY, "OpenSSL failed to compute a SHA-256");
}

int tensor_hash_narrowest(TensorHasher *h, const Tensor *t, uint64_t first_row, uint64_t n_rows, DType *as,
                          char hex[SHA256_HEX], HashProgress progress, Error *err) {
    static const DType formats[] = {DT_BF16, DT_F16, DT_F32};
    if (!dtype_is_float(t->type))
        return error_set(err, ERR_UNSUPPORTED, "tensor %s is %s: only F32, F16 and BF16 can be narrowed",
                         t->name, dtype_name(t->type));
    Pieces p = pieces_of(t, first_row, n_rows);
    uint64_t done = 0;
    for (size_t i = 0; i < 3; i++) {
        bool exact;
        TRY(hash_as(h, &p, formats[i], &exact, hex, &done, progress, err));
        *as = formats[i];
        if (exact || formats[i] == t->type) break; /* the stored type always is */
    }
    return 0;
}

int tensor_hash_rows(TensorHasher *h, const Tensor *t, uint64_t first_row, uint64_t n_rows,
                     char hex[SHA256_HEX], HashProgress progress, Error *err) {
    Pieces p = pieces_of(t, first_row, n_rows);
    bool exact;
    uint64_t done = 0;
    return hash_as(h, &p, t->type, &exact, hex, &done, progress, err);
}
