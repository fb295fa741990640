/* merged_shard.c -- see merged_shard.h. One walk from the file's first byte to its last: bytes between
 * computed tensors are copied, rows of computed ones are read through the model. */
#include "convert/merged_shard.h"

#include "core/output.h"
#include "core/walks.h"
#include <stdlib.h>
#include <string.h>

enum { LARGEST_ROW = 32 << 20 }; /* bytes: a row that is computed is held whole */

typedef struct Region {
    uint64_t begin, end; /* in the file */
    const Tensor *tensor;
    uint64_t row_bytes;
} Region;

typedef struct Shard {
    const Input *file;
    size_t n_regions;
    Region *regions; /* sorted */
    Output *output;  /* NULL: hash only */
    Sha256 *hash;    /* NULL: no hash */
    char sha256[SHA256_HEX];
} Shard;

static bool is_computed_in(const Tensor *t, const Input *file) {
    return t->n_transforms && t->n_extents == 1 && t->extents[0].file == file && t->extents[0].length;
}

bool merged_shard_changes(const Model *m, const Input *file) {
    for (size_t i = 0; i < m->n_tensors; i++)
        if (is_computed_in(&m->tensors[i], file)) return true;
    return false;
}

static int compare_regions(const void *a, const void *b) {
    uint64_t x = ((const Region *)a)->begin, y = ((const Region *)b)->begin;
    return (x > y) - (x < y);
}

static int list_regions(Shard *s, const Model *m, size_t *buffer, Arena *arena, Error *err) {
    s->regions = arena_alloc(arena, m->n_tensors, sizeof *s->regions);
    if (!s->regions) return error_memory(err, "a merged file");
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (!is_computed_in(t, s->file)) continue;
        const Extent *e = &t->extents[0];
        Region r = {e->offset, e->offset + e->length, t, tensor_row_bytes(t)};
        if (t->type != t->stored || r.row_bytes > LARGEST_ROW)
            return error_set(err, ERR_LIMIT, "tensor %s: its rows can't be computed in place", t->name);
        if (r.row_bytes > *buffer) *buffer = (size_t)r.row_bytes;
        s->regions[s->n_regions++] = r;
    }
    qsort(s->regions, s->n_regions, sizeof *s->regions, compare_regions);
    return 0;
}

/* The first region that ends behind the position, or n_regions. */
static size_t find_region(const Shard *s, uint64_t position) {
    size_t low = 0, high = s->n_regions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->regions[middle].end <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void cut(const Walk *w, Piece *p) {
    const Shard *s = w->context;
    size_t i = find_region(s, p->begin);
    const Region *r = i < s->n_regions ? &s->regions[i] : NULL;
    bool inside = r && r->begin <= p->begin;
    uint64_t left = (inside ? r->end : r ? r->begin : w->length) - p->begin;
    p->item = inside ? i : SIZE_MAX;
    p->length = left < WALK_PIECE ? (size_t)left : WALK_PIECE;
    if (!inside) return;
    p->first = (p->begin - r->begin) / r->row_bytes;
    p->count = p->length / r->row_bytes ? p->length / r->row_bytes : 1;
    p->length = (size_t)(p->count * r->row_bytes);
}

static int fill(const Walk *w, const Piece *p, uint8_t *buffer, Error *err) {
    const Shard *s = w->context;
    if (p->item == SIZE_MAX)
        TRY(input_read(s->file, p->begin, buffer, p->length, err));
    else
        TRY(model_read(s->regions[p->item].tensor, p->first, p->count, buffer, err));
    return s->output ? output_write(s->output, p->begin, buffer, p->length, err) : 0;
}

static int take(Walk *w, const Piece *p, const uint8_t *buffer, Error *err) {
    Shard *s = w->context;
    (void)err;
    sha256_update(s->hash, buffer, p->length);
    return 0;
}

static int finish(Walk *w, Error *err) {
    Shard *s = w->context;
    (void)err;
    sha256_finish(s->hash, s->sha256);
    return 0;
}

static const char *name(const Walk *w, const Piece *p) {
    const Shard *s = w->context;
    return p->item == SIZE_MAX ? input_name(s->file) : s->regions[p->item].tensor->name;
}

static int run(Shard *s, const Model *m, const char *path, const ExecuteOptions *options, Arena *arena,
               Error *err) {
    static const WalkKind hashed = {.cut = cut, .fill = fill, .take = take, .finish = finish, .name = name};
    static const WalkKind unhashed = {.cut = cut, .fill = fill, .name = name};
    size_t buffer = WALK_PIECE;
    TRY(list_regions(s, m, &buffer, arena, err));
    if (!options->no_hash) TRY(sha256_open(&s->hash, err));
    if (path) {
        TRY(output_create(&s->output, path, options->allocator, err));
        TRY(output_reserve(s->output, input_size(s->file), err));
    }
    Walk walk = {.kind = s->hash ? &hashed : &unhashed, .context = s, .length = input_size(s->file)};
    WalkOptions how = {.threads = options->threads,
                       .buffer_size = buffer,
                       .phase = path ? "write merged weights" : "hash what would be written",
                       .progress = options->progress,
                       .allocator = options->allocator};
    TRY(walks_run(&walk, 1, how, err));
    TRY(input_unchanged(s->file, err));
    Output *done = s->output;
    s->output = NULL;
    return done ? output_commit(done, err) : 0;
}

int merged_shard_write(FileResult *out, const Model *m, const Input *file, const char *path,
                       const ExecuteOptions *options, Error *err) {
    Shard s = {.file = file};
    Arena *arena;
    TRY(arena_open(&arena, options->allocator, err));
    int code = run(&s, m, path, options, arena, err);
    output_discard(s.output);
    sha256_close(s.hash);
    arena_close(arena);
    out->size = input_size(file);
    memcpy(out->sha256, s.sha256, SHA256_HEX);
    return code;
}
