/* zstd_read.c -- a zstd stream that may be anybody's, read from front to back. */
#include "packager/zstd_stream.h"
#include <zstd.h>

enum { IN_BYTES = 1 << 20 };

struct ZstdReader {
    ZSTD_DCtx *ctx;
    const Input *file;
    uint64_t at; /* of the file: bytes handed to zstd */
    uint8_t *bytes;
    ZSTD_inBuffer in;
    bool in_frame; /* a frame has begun and not ended */
};

int zstd_reader_open(ZstdReader **out, const Input *in, Error *err) {
    ZstdReader *r = mem_alloc(NULL, sizeof *r);
    *out = NULL;
    if (!r) return error_memory(err, "an archive");
    *r = (ZstdReader){.file = in, .ctx = ZSTD_createDCtx(), .bytes = mem_alloc(NULL, IN_BYTES)};
    r->in.src = r->bytes;
    if (!r->ctx || !r->bytes ||
        ZSTD_isError(ZSTD_DCtx_setParameter(r->ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))) {
        zstd_reader_close(r);
        return error_memory(err, "an archive");
    }
    *out = r;
    return 0;
}

void zstd_reader_close(ZstdReader *r) {
    if (!r) return;
    ZSTD_freeDCtx(r->ctx);
    mem_free(NULL, r->bytes);
    mem_free(NULL, r);
}

static int fill(ZstdReader *r, Error *err) {
    uint64_t left = input_size(r->file) - r->at;
    size_t n = left < IN_BYTES ? (size_t)left : IN_BYTES;
    if (r->in.pos < r->in.size || !n) return 0;
    TRY(input_read(r->file, r->at, r->bytes, n, err));
    r->at += n;
    r->in = (ZSTD_inBuffer){r->bytes, n, 0};
    return 0;
}

/* Some bytes; *length 0 is the end of the file, between two frames. */
static int read_some(ZstdReader *r, void *buffer, size_t size, size_t *length, Error *err) {
    ZSTD_outBuffer out = {buffer, size, 0};
    while (!out.pos) {
        TRY(fill(r, err));
        bool empty = r->in.pos == r->in.size;
        if (empty && !r->in_frame) break;
        size_t before = r->in.pos, code = ZSTD_decompressStream(r->ctx, &out, &r->in);
        if (ZSTD_isError(code))
            return error_at(err, ERR_FORMAT, r->at - r->in.size + r->in.pos, "%s: zstd: %s",
                            input_name(r->file), ZSTD_getErrorName(code));
        if (empty && !out.pos && r->in.pos == before && code)
            return error_at(err, ERR_FORMAT, input_size(r->file), "%s is cut off", input_name(r->file));
        r->in_frame = code != 0;
    }
    *length = out.pos;
    return 0;
}

int zstd_read(ZstdReader *r, void *buffer, size_t length, Error *err) {
    for (uint8_t *at = buffer; length;) {
        size_t n = 0;
        TRY(read_some(r, at, length, &n, err));
        if (!n)
            return error_set(err, ERR_FORMAT, "%s is cut off: the archive ends too early",
                             input_name(r->file));
        at += n;
        length -= n;
    }
    return 0;
}

int zstd_read_end(ZstdReader *r, Error *err) {
    uint8_t more;
    size_t n = 0;
    TRY(read_some(r, &more, 1, &n, err));
    return n ? error_set(err, ERR_FORMAT, "%s: something follows the end of the archive", input_name(r->file))
             : 0;
}
