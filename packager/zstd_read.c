/* zstd_read.c -- a zstd stream that may be anybody's, read from front to back. Frames that come decoded
 * (zstd_frames.h) stand for the beginning of the file; the rest is decoded here. */
#include "packager/zstd_frames.h"
#include "packager/zstd_stream.h"
#include <string.h>
#include <zstd.h>

enum { IN_BYTES = 1 << 20 };

struct ZstdReader {
    ZSTD_DCtx *ctx;
    const Input *file;
    uint64_t at; /* of the file: bytes handed to zstd */
    uint8_t *bytes;
    ZSTD_inBuffer in;
    bool in_frame; /* a frame has begun and not ended */

    ZstdFrames *frames; /* NULL: none are decoded ahead, or no more */
    const uint8_t *ready;
    size_t n_ready;
};

int zstd_reader_open(ZstdReader **out, const Input *in, unsigned threads, Error *err) {
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
    int code = zstd_frames_open(&r->frames, in, threads, err);
    if (code)
        zstd_reader_close(r);
    else
        *out = r;
    return code;
}

void zstd_reader_close(ZstdReader *r) {
    if (!r) return;
    zstd_frames_close(r->frames);
    ZSTD_freeDCtx(r->ctx);
    mem_free(NULL, r->bytes);
    mem_free(NULL, r);
}

/* Up to a multiple of IN_BYTES: what zstd is given at a place of the file does not depend on where decoding
 * ahead has ended. */
static int fill(ZstdReader *r, Error *err) {
    uint64_t left = input_size(r->file) - r->at, piece = IN_BYTES - r->at % IN_BYTES;
    size_t n = (size_t)(left < piece ? left : piece);
    if (r->in.pos < r->in.size || !n) return 0;
    TRY(input_read(r->file, r->at, r->bytes, n, err));
    r->at += n;
    r->in = (ZSTD_inBuffer){r->bytes, n, 0};
    return 0;
}

/* Some bytes of frames that come decoded; 0: there are no more of them. */
static size_t take_ready(ZstdReader *r, void *buffer, size_t size) {
    if (!r->n_ready && r->frames) r->ready = zstd_frames_next(r->frames, &r->n_ready, &r->at);
    if (!r->ready) {
        zstd_frames_close(r->frames);
        r->frames = NULL;
        r->n_ready = 0;
        return 0;
    }
    size_t n = r->n_ready < size ? r->n_ready : size;
    memcpy(buffer, r->ready, n);
    r->ready += n;
    r->n_ready -= n;
    return n;
}

/* Some bytes; *length 0 is the end of the file, between two frames. */
static int read_some(ZstdReader *r, void *buffer, size_t size, size_t *length, Error *err) {
    if (r->frames && (*length = take_ready(r, buffer, size))) return 0;
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
