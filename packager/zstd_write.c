/* zstd_write.c -- frames of 256 MiB, each compressed by several threads, and the seek table. */
#include "core/threads.h"
#include "packager/zstd_stream.h"
#include <zstd.h>

enum { OUT_BYTES = 1 << 20, JOB_BYTES = 16 << 20, SUM = 4 };

struct ZstdWriter {
    ZSTD_CCtx *ctx;
    Output *file;
    uint64_t at;       /* of the file */
    uint64_t left;     /* bytes to come */
    uint64_t in_frame; /* still to come in this frame */
    uint64_t frame_begin, frame_bytes;
    Buffer table; /* entries: compressed size, size, checksum; u32 each */
    uint32_t n_frames;
    uint8_t last[SUM]; /* the file's last bytes: a frame ends with its checksum */
    uint8_t *out;
};

static int zstd_failed(size_t code, Error *err) {
    return error_set(err, ERR_MEMORY, "zstd: %s", ZSTD_getErrorName(code));
}

static int set(ZstdWriter *w, ZSTD_cParameter parameter, int value, Error *err) {
    size_t code = ZSTD_CCtx_setParameter(w->ctx, parameter, value);
    return ZSTD_isError(code) ? zstd_failed(code, err) : 0;
}

/* A library built without threads refuses workers: then it is done by the caller's. */
static int configure(ZstdWriter *w, unsigned threads, int level, Error *err) {
    Error without = {0};
    TRY(set(w, ZSTD_c_compressionLevel, level ? level : 3, err));
    TRY(set(w, ZSTD_c_checksumFlag, 1, err));
    TRY(set(w, ZSTD_c_enableLongDistanceMatching, 1, err));
    TRY(set(w, ZSTD_c_windowLog, ZSTD_WINDOW_LOG, err));
    if (set(w, ZSTD_c_nbWorkers, (int)(threads ? threads : threads_available()), &without)) return 0;
    return set(w, ZSTD_c_jobSize, JOB_BYTES, err);
}

int zstd_writer_open(ZstdWriter **out, Output *file, uint64_t total, unsigned threads, int level,
                     Error *err) {
    ZstdWriter *w = mem_alloc(NULL, sizeof *w);
    *out = NULL;
    if (!w) return error_memory(err, "an archive");
    *w = (ZstdWriter){
        .file = file, .left = total, .ctx = ZSTD_createCCtx(), .out = mem_alloc(NULL, OUT_BYTES)};
    buffer_init(&w->table, NULL);
    int code = w->ctx && w->out ? configure(w, threads, level, err) : error_memory(err, "an archive");
    if (code)
        zstd_writer_close(w);
    else
        *out = w;
    return code;
}

void zstd_writer_close(ZstdWriter *w) {
    if (!w) return;
    ZSTD_freeCCtx(w->ctx);
    buffer_free(&w->table);
    mem_free(NULL, w->out);
    mem_free(NULL, w);
}

static int put(ZstdWriter *w, const uint8_t *bytes, size_t length, Error *err) {
    TRY(output_write(w->file, w->at, bytes, length, err));
    w->at += length;
    for (size_t i = length < SUM ? 0 : length - SUM; i < length; i++) {
        for (size_t k = 0; k + 1 < SUM; k++) w->last[k] = w->last[k + 1];
        w->last[SUM - 1] = bytes[i];
    }
    return 0;
}

static int begin_frame(ZstdWriter *w, Error *err) {
    w->frame_bytes = w->left < ZSTD_FRAME_BYTES ? w->left : ZSTD_FRAME_BYTES;
    w->in_frame = w->frame_bytes;
    w->frame_begin = w->at;
    size_t code = ZSTD_CCtx_setPledgedSrcSize(w->ctx, w->frame_bytes);
    return ZSTD_isError(code) ? zstd_failed(code, err) : 0;
}

static void end_frame(ZstdWriter *w) {
    buffer_u32(&w->table, (uint32_t)(w->at - w->frame_begin));
    buffer_u32(&w->table, (uint32_t)w->frame_bytes);
    buffer_append(&w->table, w->last, SUM);
    w->n_frames++;
}

/* Compresses bytes of one frame. */
static int compress(ZstdWriter *w, const void *bytes, size_t length, Error *err) {
    ZSTD_inBuffer in = {bytes, length, 0};
    bool last = length == w->in_frame;
    for (size_t left = 1; last ? left > 0 : in.pos < in.size;) {
        ZSTD_outBuffer out = {w->out, OUT_BYTES, 0};
        left = ZSTD_compressStream2(w->ctx, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) return zstd_failed(left, err);
        TRY(put(w, w->out, out.pos, err));
    }
    w->in_frame -= length;
    w->left -= length;
    if (last) end_frame(w);
    return 0;
}

int zstd_write(ZstdWriter *w, const void *bytes, size_t length, Error *err) {
    for (const uint8_t *at = bytes; length;) {
        if (!w->left) return error_set(err, ERR_LIMIT, "an archive grew while it was written");
        if (!w->in_frame) TRY(begin_frame(w, err));
        size_t n = w->in_frame < length ? (size_t)w->in_frame : length;
        TRY(compress(w, at, n, err));
        at += n;
        length -= n;
    }
    return 0;
}

int zstd_writer_finish(ZstdWriter *w, uint64_t *size, Error *err) {
    if (w->left || w->in_frame) return error_set(err, ERR_LIMIT, "an archive shrank while it was written");
    Buffer head;
    buffer_init(&head, NULL);
    buffer_u32(&head, ZSTD_TABLE_MAGIC);
    buffer_u32(&head, (uint32_t)(w->table.length + 9));
    buffer_u32(&w->table, w->n_frames);
    buffer_u8(&w->table, 0x80); /* entries have checksums */
    buffer_u32(&w->table, (uint32_t)ZSTD_SEEK_MAGIC);
    int code = buffer_ok(&head, "an archive", err);
    if (!code) code = buffer_ok(&w->table, "an archive", err);
    if (!code) code = put(w, (const uint8_t *)head.data, head.length, err);
    if (!code) code = put(w, (const uint8_t *)w->table.data, w->table.length, err);
    buffer_free(&head);
    *size = w->at;
    return code;
}
