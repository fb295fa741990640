/* output_walk.c -- see output_walk.h. What the bytes are is model/'s, where they go gguf_plan.c's business.
 */
#include "convert/output_walk.h"

#include <string.h>

enum {
    LARGEST_ROW = 32 << 20, /* bytes: a row that has to be transformed is held whole */
    BEHIND = 8 << 20, /* bytes: how much is sent to the disk at a time, one such step behind the writing */
};

static bool is_plain(const Tensor *t) {
    return t->n_transforms == 0;
}

/* A tensor is counted in bytes if it is a copy, else in rows. */
static uint64_t unit_bytes(const Tensor *t) {
    return is_plain(t) ? 1 : tensor_row_bytes(t);
}

/* The tensor at a place behind the header. An empty tensor shares its place with the next one, which wins. */
static size_t find_tensor(const GgufPlan *plan, uint64_t offset) {
    size_t low = 0, high = plan->model->n_tensors;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (plan->offsets[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* A piece of the header, or of one tensor; a tensor's last piece has the zeros that follow it. */
static void cut(const Walk *w, Piece *p) {
    const OutputWalk *o = w->context;
    const GgufPlan *plan = o->plan;
    if (p->begin < plan->data_offset) {
        uint64_t left = plan->data_offset - p->begin;
        p->length = left < WALK_PIECE ? (size_t)left : WALK_PIECE;
        return;
    }
    size_t i = find_tensor(plan, p->begin - plan->data_offset), n = plan->model->n_tensors;
    const Tensor *t = &plan->model->tensors[i];
    uint64_t unit = unit_bytes(t), units = tensor_bytes(t) / unit;
    uint64_t most = unit < WALK_PIECE ? WALK_PIECE / unit : 1;
    uint64_t end = i + 1 < n ? plan->data_offset + plan->offsets[i + 1] : plan->file_size;
    p->item = i;
    p->first = (p->begin - plan->data_offset - plan->offsets[i]) / unit;
    p->count = units - p->first < most ? units - p->first : most;
    p->length = (size_t)(p->first + p->count == units ? end - p->begin : p->count * unit);
}

static int fill_data(const OutputWalk *o, const Piece *p, uint8_t *buffer, Error *err) {
    const Tensor *t = &o->plan->model->tensors[p->item];
    size_t bytes = (size_t)(p->count * unit_bytes(t));
    memset(buffer + bytes, 0, p->length - bytes);
    if (is_plain(t)) return tensor_read_stored(t, p->first, buffer, bytes, err);
    return model_read(t, p->first, p->count, buffer, err);
}

static int fill(const Walk *w, const Piece *p, uint8_t *buffer, Error *err) {
    const OutputWalk *o = w->context;
    if (p->begin < o->plan->data_offset)
        memcpy(buffer, o->plan->header.data + p->begin, p->length);
    else
        TRY(fill_data(o, p, buffer, err));
    if (!o->output || (o->data_there && p->begin >= o->plan->data_offset)) return 0;
    TRY(output_write(o->output, p->begin, buffer, p->length, err));
    uint64_t step = p->begin / BEHIND, end = (p->begin + p->length) / BEHIND;
    if (step && step != end) output_start(o->output, (step - 1) * BEHIND, (end - step) * BEHIND);
    return 0;
}

static int take(Walk *w, const Piece *p, const uint8_t *buffer, Error *err) {
    OutputWalk *o = w->context;
    (void)err;
    sha256_update(o->hash, buffer, p->length);
    return 0;
}

static void take2(Walk *a, const Piece *pa, const uint8_t *bytes_a, Walk *b, const Piece *pb,
                  const uint8_t *bytes_b) {
    OutputWalk *x = a->context, *y = b->context;
    sha256_update2(x->hash, bytes_a, pa->length, y->hash, bytes_b, pb->length);
}

static int finish(Walk *w, Error *err) {
    OutputWalk *o = w->context;
    (void)err;
    if (!o->sha256[0]) sha256_finish(o->hash, o->sha256); /* else it was taken up, ended already */
    return 0;
}

static const char *name(const Walk *w, const Piece *p) {
    const OutputWalk *o = w->context;
    return p->begin < o->plan->data_offset ? "header" : o->plan->model->tensors[p->item].name;
}

int output_walk_buffer(const GgufPlan *plan, size_t *bytes, Error *err) {
    const Model *m = plan->model;
    uint64_t widest = WALK_PIECE;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        uint64_t row = is_plain(t) ? 0 : tensor_row_bytes(t);
        if (row > LARGEST_ROW)
            return error_set(err, ERR_LIMIT,
                             "tensor %s: a row of %llu bytes can't be converted, %d are the limit", t->name,
                             (unsigned long long)row, LARGEST_ROW);
        if (row > widest) widest = row;
    }
    *bytes = (size_t)widest + plan->alignment;
    return 0;
}

Walk output_walk(OutputWalk *context, unsigned group) {
    static const WalkKind hashed = {cut, fill, take, take2, finish, name};
    static const WalkKind unhashed = {cut, fill, NULL, NULL, NULL, name};
    return (Walk){.kind = context->hash ? &hashed : &unhashed,
                  .context = context,
                  .group = group,
                  .length = context->data_there && !context->hash ? context->plan->data_offset
                                                                  : context->plan->file_size};
}

void output_walk_save(const Walk *w, Buffer *out) {
    const OutputWalk *o = w->context;
    buffer_u64(out, w->position);
    buffer_append(out, o->sha256, SHA256_HEX); /* empty before the end */
    sha256_save(o->hash, out);
}

bool output_walk_load(Walk *w, BufferReader *in) {
    OutputWalk *o = w->context;
    w->position = reader_u64(in);
    reader_bytes(in, o->sha256, SHA256_HEX);
    sha256_load(o->hash, in);
    return !in->failed && w->position <= w->length;
}
