/* zstd_frames.c -- see zstd_frames.h. */
#include "packager/zstd_frames.h"
#include "core/threads.h"
#include "packager/zstd_stream.h"
#include <pthread.h>
#include <zstd.h>

enum {
    FOOTER_BYTES = 9, /* u32 frames, u8 what entries have, u32 magic */
    HEAD_BYTES = 8,   /* of the skippable frame that the table is */
    HAS_SUMS = 0x80,
    RESERVED = 0x7C,
    MOST_FRAMES = 1 << 20,
    PIECE_BYTES = 1 << 20, /* read at once */
    MOST_SLOTS = ZSTD_MOST_DECODERS + 1,
};

typedef struct Frame {
    uint64_t at; /* of the file */
    size_t packed, size;
} Frame;

/* Memory that is kept for the next frame: 256 MiB of fresh pages cost as much as half of the decoding. */
typedef struct Room {
    uint8_t *bytes;
    size_t size;
} Room;

typedef struct Slot {
    Room room;
    bool done, fine; /* decoded, or else found to be not what the table says */
} Slot;

struct ZstdFrames {
    const Input *in;
    Frame *frames;
    size_t n_frames;
    uint64_t end; /* of the file: where the table begins */
    unsigned n_decoders, n_slots;
    pthread_t decoders[ZSTD_MOST_DECODERS];

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    size_t begun, taken; /* frames that decoders have begun; that the reader is through with */
    bool stop;
    Slot slots[MOST_SLOTS]; /* frame i is in slot i % n_slots */
    bool lent;              /* the reader has frame `taken` */
};

/* ---- the table ---- */

static uint32_t u32_at(const uint8_t *p) {
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Where the table's skippable frame begins and what its entries are. false: the file has none. */
static bool find_table(const Input *in, uint64_t *begin, size_t *n_frames, size_t *entry, Error *err,
                       int *code) {
    uint8_t footer[FOOTER_BYTES], head[HEAD_BYTES];
    uint64_t size = input_size(in);
    if (size < HEAD_BYTES + FOOTER_BYTES) return false;
    *code = input_read(in, size - FOOTER_BYTES, footer, sizeof footer, err);
    if (*code || u32_at(footer + 5) != (uint32_t)ZSTD_SEEK_MAGIC || footer[4] & RESERVED) return false;
    *n_frames = u32_at(footer);
    *entry = footer[4] & HAS_SUMS ? 12 : 8;
    uint64_t table = (uint64_t)*n_frames * *entry + FOOTER_BYTES;
    if (*n_frames > MOST_FRAMES || table > size - HEAD_BYTES) return false;
    *begin = size - table - HEAD_BYTES;
    *code = input_read(in, *begin, head, sizeof head, err);
    return !*code && u32_at(head) == (uint32_t)ZSTD_TABLE_MAGIC && u32_at(head + 4) == table;
}

/* false: the entries don't fill the file up to the table. */
static bool take_entries(ZstdFrames *f, const uint8_t *entries, size_t entry) {
    uint64_t at = 0;
    for (size_t i = 0; i < f->n_frames; i++, entries += entry) {
        f->frames[i] = (Frame){at, u32_at(entries), u32_at(entries + 4)};
        at += f->frames[i].packed;
    }
    return at == f->end;
}

/* *fits: there are frames, one behind the other. */
static int read_table(ZstdFrames *f, bool *fits, Error *err) {
    size_t entry = 0;
    int code = 0;
    *fits = find_table(f->in, &f->end, &f->n_frames, &entry, err, &code) && f->n_frames > 1;
    if (code || !*fits) return code;
    uint8_t *entries = mem_alloc(NULL, f->n_frames * entry);
    f->frames = mem_alloc(NULL, f->n_frames * sizeof *f->frames);
    code = entries && f->frames ? input_read(f->in, f->end + HEAD_BYTES, entries, f->n_frames * entry, err)
                                : error_memory(err, "an archive");
    if (!code) *fits = take_entries(f, entries, entry);
    mem_free(NULL, entries);
    return code;
}

/* ---- one frame ---- */

static bool make_room(Room *r, size_t size) {
    if (r->size >= size) return true;
    mem_free(NULL, r->bytes); /* what is in it need not be copied */
    r->bytes = mem_alloc(NULL, size);
    r->size = r->bytes ? size : 0;
    return r->bytes != NULL;
}

/* Exactly one frame of that length and size? Piece by piece, as the reader does it: all in one go, zstd takes
 * any window, and blocks and matches that reach beyond it. It has all in one go only if all of the frame is
 * there at the beginning, so the last byte comes later. */
static bool decode_pieces(const ZstdFrames *f, ZSTD_DCtx *ctx, const Frame *frame, uint8_t *piece,
                          uint8_t *to) {
    ZSTD_outBuffer out = {to, frame->size, 0};
    size_t more = 1, n = frame->packed - 1;
    ZSTD_DCtx_reset(ctx, ZSTD_reset_session_only);
    for (size_t at = 0; at < frame->packed; at += n, n = frame->packed - at) {
        if (n > PIECE_BYTES) n = PIECE_BYTES;
        if (input_read(f->in, frame->at + at, piece, n, NULL)) return false;
        ZSTD_inBuffer in = {piece, n, 0};
        more = ZSTD_decompressStream(ctx, &out, &in);
        if (ZSTD_isError(more) || in.pos < n) return false;
    }
    return !more && out.pos == frame->size;
}

/* false: the reader is to see for itself. */
static bool decode(const ZstdFrames *f, ZSTD_DCtx *ctx, const Frame *frame, uint8_t *piece, Room *to) {
    if (!ctx || !piece || frame->packed < 2 || !frame->size || frame->size > ZSTD_FRAME_BYTES) return false;
    return make_room(to, frame->size) && decode_pieces(f, ctx, frame, piece, to->bytes);
}

/* With the reader's limit to windows. NULL: no memory. */
static ZSTD_DCtx *open_context(void) {
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    if (!ctx || !ZSTD_isError(ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))) return ctx;
    ZSTD_freeDCtx(ctx);
    return NULL;
}

/* The next frame to decode, or n_frames when there is no more to do. The lock is held. */
static size_t await_room(ZstdFrames *f) {
    while (!f->stop && f->begun < f->n_frames && f->begun - f->taken >= f->n_slots)
        pthread_cond_wait(&f->changed, &f->lock);
    return f->stop ? f->n_frames : f->begun;
}

static void *run_decoder(void *argument) {
    ZstdFrames *f = argument;
    uint8_t *piece = mem_alloc(NULL, PIECE_BYTES);
    ZSTD_DCtx *ctx = open_context();
    pthread_mutex_lock(&f->lock);
    for (size_t i; (i = await_room(f)) < f->n_frames;) {
        Slot *slot = &f->slots[i % f->n_slots];
        f->begun++;
        pthread_mutex_unlock(&f->lock);
        bool fine = decode(f, ctx, &f->frames[i], piece, &slot->room);
        pthread_mutex_lock(&f->lock);
        slot->fine = fine;
        slot->done = true;
        if (!fine) f->stop = true; /* nobody will ask for what is behind it */
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    ZSTD_freeDCtx(ctx);
    mem_free(NULL, piece);
    return NULL;
}

/* ---- the reader ---- */

static void take_back(ZstdFrames *f) {
    f->slots[f->taken % f->n_slots].done = false;
    f->lent = false;
    f->taken++;
    pthread_cond_broadcast(&f->changed);
}

const uint8_t *zstd_frames_next(ZstdFrames *f, size_t *length, uint64_t *at) {
    const uint8_t *bytes = NULL;
    pthread_mutex_lock(&f->lock);
    if (f->lent) take_back(f);
    *at = f->end;
    if (f->taken < f->n_frames) {
        const Frame *frame = &f->frames[f->taken];
        const Slot *slot = &f->slots[f->taken % f->n_slots];
        while (!slot->done) pthread_cond_wait(&f->changed, &f->lock);
        f->lent = slot->fine;
        if (slot->fine) bytes = slot->room.bytes;
        *length = frame->size;
        *at = frame->at;
    }
    pthread_mutex_unlock(&f->lock);
    return bytes;
}

static void start(ZstdFrames *f, unsigned threads) {
    unsigned wanted = (threads ? threads : threads_available()) - 1;
    if (wanted > ZSTD_MOST_DECODERS) wanted = ZSTD_MOST_DECODERS;
    if (wanted > f->n_frames - 1) wanted = (unsigned)(f->n_frames - 1);
    f->n_slots = wanted + 1;
    pthread_mutex_lock(&f->lock);
    while (f->n_decoders < wanted &&
           pthread_create(&f->decoders[f->n_decoders], NULL, run_decoder, f) == 0) /* fewer will do */
        f->n_decoders++;
    pthread_mutex_unlock(&f->lock);
}

int zstd_frames_open(ZstdFrames **out, const Input *in, unsigned threads, Error *err) {
    bool fits = false;
    *out = NULL;
    if (threads == 1 || (!threads && threads_available() == 1)) return 0;
    ZstdFrames *f = mem_alloc(NULL, sizeof *f);
    if (!f) return error_memory(err, "an archive");
    *f = (ZstdFrames){.in = in, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    int code = read_table(f, &fits, err);
    if (!code && fits) start(f, threads);
    if (f->n_decoders)
        *out = f;
    else
        zstd_frames_close(f);
    return code;
}

void zstd_frames_close(ZstdFrames *f) {
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < f->n_decoders; i++) pthread_join(f->decoders[i], NULL);
    for (size_t i = 0; i < MOST_SLOTS; i++) mem_free(NULL, f->slots[i].room.bytes);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    mem_free(NULL, f->frames);
    mem_free(NULL, f);
}
