/* same_files.c -- see same_files.h. */
#include "cli/same_files.h"

#include "cli/cli.h"
#include <string.h>

enum { PIECE_BYTES = 1 << 20 };

/* ---- comparing ---- */

static bool same_on_disk(const Input *a, const Input *b) {
    Buffer x, y;
    buffer_init(&x, NULL);
    buffer_init(&y, NULL);
    input_identity(a, &x);
    input_identity(b, &y);
    bool same = !x.failed && !y.failed && x.length == y.length && !memcmp(x.data, y.data, x.length);
    buffer_free(&x);
    buffer_free(&y);
    return same;
}

static int same_bytes(bool *same, const Input *a, const Input *b, char *buffers, const Progress *progress,
                      Error *err) {
    uint64_t size = input_size(b);
    *same = input_size(a) == size;
    for (uint64_t at = 0; *same && at < size; at += PIECE_BYTES) {
        size_t n = size - at < PIECE_BYTES ? (size_t)(size - at) : PIECE_BYTES;
        TRY(progress_update(progress, "compare files", at, size, err));
        TRY(input_read(a, at, buffers, n, err));
        TRY(input_read(b, at, buffers + PIECE_BYTES, n, err));
        *same = !memcmp(buffers, buffers + PIECE_BYTES, n);
    }
    return 0;
}

static int compare_all(SameFiles *s, const Progress *progress, Error *err) {
    const Model *a = s->a, *b = s->b;
    s->same = arena_alloc(s->arena, b->n_files, sizeof *s->same);
    char *buffers = arena_alloc(s->arena, 2, PIECE_BYTES);
    if (!s->same || !buffers) return error_memory(err, "comparing files");
    if (a->n_files != b->n_files) return 0; /* every shard says how many there are */
    for (size_t i = 0; i < b->n_files; i++) {
        s->same[i] = same_on_disk(a->files[i].input, b->files[i].input);
        if (!s->same[i])
            TRY(same_bytes(&s->same[i], a->files[i].input, b->files[i].input, buffers, progress, err));
    }
    return 0;
}

int same_files_open(SameFiles **out, const Model *a, const Model *b, const Progress *progress, Error *err) {
    Arena *arena;
    *out = NULL;
    TRY(arena_open(&arena, NULL, err));
    SameFiles *s = arena_alloc(arena, 1, sizeof *s);
    int code = s ? 0 : error_memory(err, "comparing files");
    if (!code) {
        *s = (SameFiles){.a = a, .b = b, .n_files = b->n_files, .arena = arena};
        code = compare_all(s, progress, err);
    }
    if (code)
        arena_close(arena);
    else
        *out = s;
    return code;
}

void same_files_close(SameFiles *s) {
    if (s) arena_close(s->arena);
}

/* ---- what follows ---- */

bool same_files_cover(const SameFiles *s, const Tensor *x, const Tensor *y) {
    if (x->type != y->type || x->n_transforms || y->n_transforms || x->n_extents != 1 || y->n_extents != 1)
        return false;
    const Extent *p = x->extents, *q = y->extents;
    if (p->offset != q->offset || p->length != q->length) return false;
    for (size_t i = 0; i < s->n_files; i++)
        if (s->b->files[i].input == q->file) return s->same[i] && s->a->files[i].input == p->file;
    return false;
}

void same_files_text(const SameFiles *s, Buffer *out) {
    char part[32], whole[32];
    size_t missing = 0;
    uint64_t bytes = 0, total = 0;
    for (size_t i = 0; i < s->n_files; i++) {
        uint64_t size = input_size(s->b->files[i].input);
        total += size;
        bytes += s->same[i] ? 0 : size;
        missing += !s->same[i];
    }
    human_bytes(bytes, part);
    human_bytes(total, whole);
    if (!missing) {
        buffer_text(out, "none");
    } else if (missing == s->n_files) {
        buffer_printf(out, "all (%s)", whole);
    } else {
        const char *before = missing > 1 ? "shards " : "shard ";
        for (size_t i = 0; i < s->n_files; i++) {
            if (s->same[i]) continue;
            buffer_printf(out, "%s%zu", before, i + 1);
            before = ", ";
        }
        buffer_printf(out, " (%s of %s)", part, whole);
    }
}
