/* hf_walk.c -- see hf_walk.h. From the file's first byte to its last: bytes between computed tensors are
 * copied, rows of computed ones are read through the model. */
#include "convert/hf_walk.h"

#include <stdlib.h>
#include <string.h>

enum {
    LARGEST_ROW = 32 << 20, /* bytes: a row that is computed is held whole */
    BEHIND = 8 << 20, /* bytes: how much is sent to the disk at a time, one such step behind the writing */
};

static bool is_computed_in(const Tensor *t, const Input *file) {
    return t->n_transforms && t->n_extents == 1 && t->extents[0].file == file && t->extents[0].length;
}

bool hf_walk_computes(const Model *m, const Input *file) {
    for (size_t i = 0; i < m->n_tensors; i++)
        if (is_computed_in(&m->tensors[i], file)) return true;
    return false;
}

static int compare_regions(const void *a, const void *b) {
    uint64_t x = ((const HfRegion *)a)->begin, y = ((const HfRegion *)b)->begin;
    return (x > y) - (x < y);
}

int hf_walk_open(HfWalk *out, const Model *m, const Input *file, size_t *buffer, Arena *arena, Error *err) {
    size_t n = 0;
    *out = (HfWalk){.file = file};
    for (size_t i = 0; i < m->n_tensors; i++) n += is_computed_in(&m->tensors[i], file);
    if (!(out->regions = arena_alloc(arena, n, sizeof *out->regions)))
        return error_memory(err, "a merged file");
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (!is_computed_in(t, file)) continue;
        const Extent *e = &t->extents[0];
        HfRegion r = {e->offset, e->offset + e->length, t, tensor_row_bytes(t)};
        if (t->type != t->stored || r.row_bytes > LARGEST_ROW)
            return error_set(err, ERR_LIMIT, "tensor %s: its rows can't be computed in place", t->name);
        if (r.row_bytes > *buffer) *buffer = (size_t)r.row_bytes;
        out->regions[out->n_regions++] = r;
    }
    if (n) qsort(out->regions, n, sizeof *out->regions, compare_regions);
    return 0;
}

/* The first region that ends behind the position, or n_regions. */
static size_t find_region(const HfWalk *f, uint64_t position) {
    size_t low = 0, high = f->n_regions;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->regions[middle].end <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void cut(const Walk *w, Piece *p) {
    const HfWalk *f = w->context;
    size_t i = find_region(f, p->begin);
    const HfRegion *r = i < f->n_regions ? &f->regions[i] : NULL;
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
    const HfWalk *f = w->context;
    if (p->item == SIZE_MAX)
        TRY(input_read(f->file, p->begin, buffer, p->length, err));
    else
        TRY(model_read(f->regions[p->item].tensor, p->first, p->count, buffer, err));
    if (!f->output) return 0;
    TRY(output_write(f->output, p->begin, buffer, p->length, err));
    uint64_t step = p->begin / BEHIND, end = (p->begin + p->length) / BEHIND;
    if (step && step != end) output_start(f->output, (step - 1) * BEHIND, (end - step) * BEHIND);
    return 0;
}

static int take(Walk *w, const Piece *p, const uint8_t *buffer, Error *err) {
    HfWalk *f = w->context;
    (void)err;
    sha256_update(f->hash, buffer, p->length);
    return 0;
}

static void take2(Walk *a, const Piece *pa, const uint8_t *bytes_a, Walk *b, const Piece *pb,
                  const uint8_t *bytes_b) {
    HfWalk *x = a->context, *y = b->context;
    sha256_update2(x->hash, bytes_a, pa->length, y->hash, bytes_b, pb->length);
}

static int finish(Walk *w, Error *err) {
    HfWalk *f = w->context;
    (void)err;
    sha256_finish(f->hash, f->sha256);
    return 0;
}

static const char *name(const Walk *w, const Piece *p) {
    const HfWalk *f = w->context;
    return p->item == SIZE_MAX ? input_name(f->file) : f->regions[p->item].tensor->name;
}

Walk hf_walk(HfWalk *context, unsigned group) {
    static const WalkKind hashed = {cut, fill, take, take2, finish, name};
    static const WalkKind unhashed = {cut, fill, NULL, NULL, NULL, name};
    return (Walk){.kind = context->hash ? &hashed : &unhashed,
                  .context = context,
                  .group = group,
                  .length = input_size(context->file)};
}
