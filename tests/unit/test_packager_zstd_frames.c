/* test_packager_zstd_frames.c -- frames decoded ahead by several threads: whatever the file and its seek
 * table say, what is read and how it fails is what one thread reads. */
#include "packager/archive.h"
#include "packager/zstd_frames.h"
#include "packager/zstd_stream.h"
#include "support.h"
#include <zstd.h>

#define HOSTILE "tests/golden/hostile/"

static void store_u32(void *p, uint32_t x) {
    for (int i = 0; i < 4; i++) ((uint8_t *)p)[i] = (uint8_t)(x >> 8 * i);
}

static const unsigned teams[] = {2, 3, 16, 0};

typedef struct Stream {
    Buffer bytes, table; /* frames; entries */
    uint32_t n_frames;
} Stream;

typedef struct FrameStyle {
    int checksum, window_log; /* 0: as usual */
    bool without_size, without_sums;
} FrameStyle;

static void add_frame(Stream *s, const void *content, size_t n, FrameStyle style) {
    size_t room = ZSTD_compressBound(n) + 64;
    char *packed = malloc(room);
    ZSTD_CCtx *c = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, style.checksum);
    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, style.window_log);
    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, !style.without_size);
    ZSTD_inBuffer in = {content, n, 0};
    ZSTD_outBuffer out = {packed, room, 0};
    if (style.window_log) /* a known size would make the window smaller */
        ZSTD_compressStream2(c, &out, &in, ZSTD_e_flush);
    cr_assert_eq(ZSTD_compressStream2(c, &out, &in, ZSTD_e_end), 0);
    buffer_append(&s->bytes, packed, out.pos);
    buffer_u32(&s->table, (uint32_t)out.pos);
    buffer_u32(&s->table, (uint32_t)n);
    if (!style.without_sums) buffer_u32(&s->table, 0);
    s->n_frames++;
    ZSTD_freeCCtx(c);
    free(packed);
}

static void end_stream(Stream *s, FrameStyle style) {
    buffer_u32(&s->bytes, ZSTD_TABLE_MAGIC);
    buffer_u32(&s->bytes, (uint32_t)s->table.length + 9);
    buffer_append(&s->bytes, s->table.data, s->table.length);
    buffer_u32(&s->bytes, s->n_frames);
    buffer_u8(&s->bytes, style.without_sums ? 0 : 0x80);
    buffer_u32(&s->bytes, (uint32_t)ZSTD_SEEK_MAGIC);
    cr_assert_not(s->bytes.failed);
}

static void make_stream(Stream *s, const char *content, size_t n, size_t frame, FrameStyle style) {
    buffer_init(&s->bytes, NULL);
    buffer_init(&s->table, NULL);
    s->n_frames = 0;
    for (size_t at = 0; at < n; at += frame)
        add_frame(s, content + at, n - at < frame ? n - at : frame, style);
    end_stream(s, style);
}

static void free_stream(Stream *s) {
    buffer_free(&s->bytes);
    buffer_free(&s->table);
}

/* Content that zstd makes smaller and that is different everywhere. */
static void make_content(char *to, size_t n) {
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        to[i] = (char)("abcdefgh"[state >> 29] + (i % 1000 == 0));
    }
}

typedef struct Outcome {
    Buffer bytes;
    int code;
    Error error;
    bool threaded; /* were frames decoded ahead at all? */
} Outcome;

static void read_all(Outcome *o, const void *bytes, size_t length, size_t expected, unsigned threads) {
    Input *in;
    ZstdReader *r = NULL;
    ZstdFrames *frames = NULL;
    char piece[700];
    *o = (Outcome){0};
    buffer_init(&o->bytes, NULL);
    cr_assert_eq(input_open_memory(&in, "x", bytes, length, NULL, &o->error), 0);
    cr_assert_eq(zstd_frames_open(&frames, in, threads, &o->error), 0);
    o->threaded = frames != NULL;
    zstd_frames_close(frames);
    o->code = zstd_reader_open(&r, in, threads, &o->error);
    for (size_t at = 0, n; !o->code && at < expected; at += n) {
        n = expected - at < sizeof piece ? expected - at : sizeof piece;
        o->code = zstd_read(r, piece, n, &o->error);
        if (!o->code) buffer_append(&o->bytes, piece, n);
    }
    if (!o->code) o->code = zstd_read_end(r, &o->error);
    zstd_reader_close(r);
    input_close(in);
}

/* As many bytes as asked for, all of them or none of an error, with any number of threads. */
static int same_everywhere(const void *bytes, size_t length, size_t expected, const char *what) {
    Outcome one, other;
    read_all(&one, bytes, length, expected, 1);
    cr_assert_not(one.threaded);
    for (size_t i = 0; i < sizeof teams / sizeof *teams; i++) {
        read_all(&other, bytes, length, expected, teams[i]);
        cr_assert_eq(one.code, other.code, "%s, %u threads: %d (%s), %d (%s)", what, teams[i], one.code,
                     one.error.message, other.code, other.error.message);
        cr_assert_str_eq(one.error.message, other.error.message, "%s, %u threads", what, teams[i]);
        cr_assert_eq(one.bytes.length, other.bytes.length, "%s", what);
        if (one.bytes.length) cr_assert_eq(memcmp(one.bytes.data, other.bytes.data, one.bytes.length), 0);
        buffer_free(&other.bytes);
    }
    buffer_free(&one.bytes);
    return one.code;
}

static bool is_threaded(const Buffer *b, size_t expected) {
    Outcome o;
    read_all(&o, b->data, b->length, expected, 3);
    buffer_free(&o.bytes);
    return o.threaded;
}

enum { CONTENT = 30000 };

Test(packager_zstd_frames, reads_what_was_written) {
    static char content[CONTENT];
    const FrameStyle styles[] = {{0}, {.checksum = 1}, {.without_size = true}, {.without_sums = true}};
    make_content(content, CONTENT);
    for (size_t i = 0; i < 4; i++)
        for (size_t frame = 700; frame < 2 * CONTENT; frame *= 3) {
            Stream s;
            Outcome o;
            make_stream(&s, content, CONTENT, frame, styles[i]);
            read_all(&o, s.bytes.data, s.bytes.length, CONTENT, 4);
            cr_assert_eq(o.code, 0, "%s", o.error.message);
            cr_assert_eq(o.threaded, frame < CONTENT);
            cr_assert_arr_eq(o.bytes.data, content, CONTENT);
            buffer_free(&o.bytes);
            cr_assert_eq(same_everywhere(s.bytes.data, s.bytes.length, CONTENT, "good"), 0);
            free_stream(&s);
        }
}

Test(packager_zstd_frames, a_wrong_byte_anywhere) {
    static char content[CONTENT];
    Stream s;
    make_content(content, CONTENT);
    make_stream(&s, content, CONTENT, 2500, (FrameStyle){.checksum = 1});
    size_t n = s.bytes.length, refused = 0, tried = 0;
    for (size_t i = 0; i < n; i += i + 200 < n ? 7 : 1, tried++) {
        char what[80];
        snprintf(what, sizeof what, "byte %zu of %zu", i, n);
        s.bytes.data[i] ^= 0x11;
        refused += same_everywhere(s.bytes.data, n, CONTENT, what) != 0;
        s.bytes.data[i] ^= 0x11;
    }
    cr_assert_gt(refused, tried / 2);
    for (size_t i = 0; i < n; i += 97) same_everywhere(s.bytes.data, i, CONTENT, "cut");
    same_everywhere(s.bytes.data, n, CONTENT - 1, "read too little");
    same_everywhere(s.bytes.data, n, CONTENT + 1, "read too much");
    free_stream(&s);
}

/* Entries that say other things than the frames: everything is there, so everything is read. */
static void lie(FrameStyle style) {
    static char content[CONTENT];
    Stream s;
    make_content(content, CONTENT);
    make_stream(&s, content, CONTENT, 2500, style);
    char *entries = s.bytes.data + s.bytes.length - 9 - s.table.length;
    struct {
        size_t entry, word;
        int32_t add, next; /* to this entry's word, and to the following entry's */
    } lies[] = {
        {3, 0, 1, -1},    {3, 0, -1, 1},      {0, 0, 100, -100}, {3, 1, 1, 0},     {3, 1, -1, 0},
        {3, 1, -2500, 0}, {0, 1, 1 << 30, 0}, {5, 1, -2501, 0},  {10, 0, -20, 20}, {2, 0, 7, 0},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char was[24], *e = entries + 12 * lies[i].entry, *word = e + 4 * lies[i].word;
        memcpy(was, e, sizeof was);
        store_u32(word, load_u32(word) + (uint32_t)lies[i].add);
        store_u32(word + 12, load_u32(word + 12) + (uint32_t)lies[i].next);
        cr_assert_eq(same_everywhere(s.bytes.data, s.bytes.length, CONTENT, "a lie"), 0, "lie %zu", i);
        cr_assert_eq(is_threaded(&s.bytes, CONTENT), i != 9, "lie %zu",
                     i); /* the last doesn't fill the file */
        memcpy(e, was, sizeof was);
    }
    free_stream(&s);
}

Test(packager_zstd_frames, a_table_that_lies) {
    lie((FrameStyle){.checksum = 1});
    lie((FrameStyle){.without_size = true}); /* then only decoding can tell */
}

/* Two frames in one entry, an empty frame, a skippable one, no frames at all, no table, and two tables. */
Test(packager_zstd_frames, unusual_streams) {
    static char content[CONTENT];
    Stream s;
    make_content(content, CONTENT);
    make_stream(&s, content, CONTENT, 2500, (FrameStyle){0});
    size_t frames = s.bytes.length - s.table.length - 17;
    cr_assert_eq(same_everywhere(s.bytes.data, frames, CONTENT, "no table"), 0);
    buffer_append(&s.bytes, s.bytes.data + frames, s.table.length + 17);
    cr_assert_eq(same_everywhere(s.bytes.data, s.bytes.length, CONTENT, "two tables"), 0);
    free_stream(&s);

    buffer_init(&s.bytes, NULL);
    buffer_init(&s.table, NULL);
    s.n_frames = 0;
    add_frame(&s, content, 1000, (FrameStyle){0});
    add_frame(&s, content + 1000, 0, (FrameStyle){0});
    add_frame(&s, content + 1000, 2000, (FrameStyle){0});
    add_frame(&s, content + 3000, 1000, (FrameStyle){0});
    store_u32(s.table.data + 24, load_u32(s.table.data + 24) + load_u32(s.table.data + 36));
    store_u32(s.table.data + 28, 3000);
    s.table.length -= 12;
    s.n_frames--;
    end_stream(&s, (FrameStyle){0});
    cr_assert(is_threaded(&s.bytes, 4000));
    cr_assert_eq(same_everywhere(s.bytes.data, s.bytes.length, 4000, "two in one"), 0);
    free_stream(&s);

    make_stream(&s, content, 0, 1, (FrameStyle){0});
    cr_assert_eq(same_everywhere(s.bytes.data, s.bytes.length, 0, "nothing"), 0);
    free_stream(&s);
}

/* Threads keep to the limit that the reader has. */
Test(packager_zstd_frames, a_window_that_is_too_large) {
    static char content[CONTENT];
    Stream s;
    make_content(content, CONTENT);
    for (int log = ZSTD_WINDOW_LOG; log <= ZSTD_WINDOW_LOG + 1; log++) {
        buffer_init(&s.bytes, NULL);
        buffer_init(&s.table, NULL);
        s.n_frames = 0;
        add_frame(&s, content, 10000, (FrameStyle){0});
        add_frame(&s, content + 10000, 10000, (FrameStyle){.window_log = log, .without_size = true});
        add_frame(&s, content + 20000, 10000, (FrameStyle){0});
        end_stream(&s, (FrameStyle){0});
        cr_assert(is_threaded(&s.bytes, CONTENT));
        int code = same_everywhere(s.bytes.data, s.bytes.length, CONTENT, "window");
        cr_assert_eq(code, log > ZSTD_WINDOW_LOG ? ERR_FORMAT : 0);
        free_stream(&s);
    }
}

/* ---- frames that only reading them piece by piece refuses ---- */

static void add_bytes(Stream *s, const void *packed, size_t n_packed, size_t n) {
    buffer_append(&s->bytes, packed, n_packed);
    buffer_u32(&s->table, (uint32_t)n_packed);
    buffer_u32(&s->table, (uint32_t)n);
    buffer_u32(&s->table, 0);
    s->n_frames++;
}

/* Good frames around `packed`, which is to give n bytes. */
static int read_between(const void *packed, size_t n_packed, size_t n, const char *what) {
    static char content[CONTENT];
    Stream s = {.n_frames = 0};
    make_content(content, CONTENT);
    buffer_init(&s.bytes, NULL);
    buffer_init(&s.table, NULL);
    add_frame(&s, content, 10000, (FrameStyle){0});
    add_bytes(&s, packed, n_packed, n);
    add_frame(&s, content, 10000, (FrameStyle){0});
    end_stream(&s, (FrameStyle){0});
    cr_assert(is_threaded(&s.bytes, 20000 + n));
    int code = same_everywhere(s.bytes.data, s.bytes.length, 20000 + n, what);
    free_stream(&s);
    return code;
}

/* A frame with a window of 1 KiB and one block of n bytes, as it is or a byte over and over: a block is no
 * larger than the window (RFC 8878, 3.1.1.2.4). */
static int read_block(bool repeated, size_t n) {
    static uint8_t frame[9 + CONTENT];
    store_u32(frame, ZSTD_MAGICNUMBER);
    frame[4] = frame[5] = 0; /* no sizes; the window */
    uint32_t header = 1 | (uint32_t)repeated << 1 | (uint32_t)n << 3;
    for (int i = 0; i < 3; i++) frame[6 + i] = (uint8_t)(header >> 8 * i);
    memset(frame + 9, 'x', n);
    return read_between(frame, 9 + (repeated ? 1 : n), n, repeated ? "a repeated byte" : "a plain block");
}

Test(packager_zstd_frames, blocks_larger_than_their_window) {
    for (int repeated = 0; repeated < 2; repeated++) {
        cr_assert_eq(read_block(repeated, 1024), 0);
        cr_assert_eq(read_block(repeated, 1025), ERR_FORMAT);
        cr_assert_eq(read_block(repeated, CONTENT), ERR_FORMAT);
    }
}

/* The header promises a smaller window than the matches need. */
Test(packager_zstd_frames, matches_from_beyond_the_window) {
    enum { FAR = 3 << 20, REPEATED = 64 << 10 };
    uint32_t state = 7;
    uint8_t *content = malloc(FAR);
    Stream s = {.n_frames = 0};
    for (size_t i = 0; i < FAR; i++) content[i] = (uint8_t)((state = state * 1664525 + 1013904223) >> 24);
    memcpy(content + FAR - REPEATED, content, REPEATED);
    buffer_init(&s.bytes, NULL);
    buffer_init(&s.table, NULL);
    add_frame(&s, content, FAR, (FrameStyle){.window_log = 22, .without_size = true});
    uint8_t *frame = (uint8_t *)s.bytes.data;
    cr_assert_lt(s.bytes.length, FAR); /* the match was found */
    cr_assert_eq(frame[5], (22 - 10) << 3);
    cr_assert_eq(read_between(frame, s.bytes.length, FAR, "as made"), 0);
    frame[5] = (17 - 10) << 3;
    cr_assert_eq(read_between(frame, s.bytes.length, FAR, "a smaller window"), ERR_FORMAT);
    free_stream(&s);
    free(content);
}

/* ---- hostile archives, cut into frames ---- */

/* What zstd makes of an archive; false: it is damaged. */
static bool unzstd(Buffer *out, const char *path) {
    char command[500], piece[4096];
    snprintf(command, sizeof command, "zstd -qdc %s 2>/dev/null", path);
    FILE *f = popen(command, "r");
    cr_assert_not_null(f);
    for (size_t n; out->length < (32 << 20) && (n = fread(piece, 1, sizeof piece, f));)
        buffer_append(out, piece, n);
    return pclose(f) == 0 && out->length && out->length < (32 << 20);
}

static void unpack_both(const char *name, const char *path, const char *message) {
    char first[sizeof((Error *)0)->message] = "";
    for (unsigned threads = 1; threads <= 4; threads++) {
        TempDir t;
        ArchiveResult r;
        Error err = {0};
        temp_dir_open(&t);
        int code =
            archive_unpack(&r, path, temp_path(&t, "out"), &(ArchiveOptions){.threads = threads}, &err);
        bool good = !strcmp(message, "-");
        cr_assert_eq(code == 0, good, "%s: %s", name, err.message);
        if (!good) cr_assert(strstr(err.message, message), "%s: %s", name, err.message);
        if (threads == 1) memcpy(first, err.message, sizeof first);
        cr_assert_str_eq(err.message, first, "%s, %u threads", name, threads);
        if (!good) cr_assert_eq(count_entries(t.path), 0, "%s left something", name);
        temp_dir_close(&t);
    }
}

Test(packager_zstd_frames, hostile_archives_in_many_frames) {
    char line[300], path[400];
    size_t cut = 0, n = 0;
    FILE *table = fopen(HOSTILE "table.txt", "r");
    if (system("command -v zstd >/dev/null")) cr_skip_test("zstd is missing");
    cr_assert_not_null(table);
    while (fgets(line, sizeof line, table)) {
        char *tab = strchr(line, '\t'), *message = tab + 1;
        *tab = 0;
        message[strcspn(message, "\n")] = 0;
        snprintf(path, sizeof path, HOSTILE "%s", line);
        if (archive_kind(path) != ARCHIVE_TAR_ZST) continue;
        unpack_both(line, path, message);
        n++;
        Buffer content;
        buffer_init(&content, NULL);
        if (unzstd(&content, path)) {
            Stream s;
            TempDir t;
            temp_dir_open(&t);
            make_stream(&s, content.data, content.length, content.length / 13 + 300,
                        (FrameStyle){.checksum = 1});
            cr_assert(is_threaded(&s.bytes, content.length));
            FILE *f = fopen(temp_path(&t, "x.tar.zst"), "wb");
            cr_assert_eq(fwrite(s.bytes.data, 1, s.bytes.length, f), s.bytes.length);
            fclose(f);
            unpack_both(line, temp_path(&t, "x.tar.zst"), message);
            temp_dir_close(&t);
            free_stream(&s);
            cut++;
        }
        buffer_free(&content);
    }
    fclose(table);
    cr_assert_eq(n, 46, "%zu", n);
    cr_assert_gt(cut, 30, "%zu", cut);
}
