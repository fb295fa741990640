/* clone.c -- see clone.h. */
#include "convert/clone.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    KERNEL_PIECE = 16 << 20, /* small enough that Ctrl-C is noticed at once and the disk begins early */
    LARGEST_ALIGNMENT = 64   /* of a plan; it is 32 */
};

/* ---- what can be cloned ---- */

/* Does the tensor lie in one piece at `at`, counted from the start of the range? Empty ones lie anywhere. */
static bool lies_at(const CloneRange *r, const Tensor *t, uint64_t at) {
    uint64_t next = r->from + at;
    for (uint32_t i = 0; i < t->n_extents; i++) {
        const Extent *e = &t->extents[i];
        if (e->length == 0) continue;
        if (e->file != r->file || e->offset != next) return false;
        next += e->length;
    }
    return next - r->from - at == tensor_bytes(t);
}

/* The first tensor that has bytes says where the data begins. */
static bool find_start(CloneRange *out, const GgufPlan *plan) {
    for (size_t i = 0; i < plan->model->n_tensors; i++) {
        const Tensor *t = &plan->model->tensors[i];
        if (t->n_extents == 0 || tensor_bytes(t) == 0) continue;
        if (t->extents[0].offset < plan->offsets[i]) return false;
        *out = (CloneRange){t->extents[0].file, t->extents[0].offset - plan->offsets[i], 0};
        return input_fd(out->file) >= 0;
    }
    return false;
}

bool clone_find(CloneRange *out, const GgufPlan *plan) {
    const Model *m = plan->model;
    CloneRange r;
    if (plan->alignment > LARGEST_ALIGNMENT || !find_start(&r, plan)) return false;
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (t->n_transforms || !lies_at(&r, t, plan->offsets[i])) return false;
        r.length = plan->offsets[i] + tensor_bytes(t);
    }
    *out = r;
    return true;
}

/* ---- where blocks meet ---- */

static bool blocks_meet(const CloneRange *r, uint64_t data_offset) {
    return r->from % CLONE_BLOCK == data_offset % CLONE_BLOCK;
}

/* With a string of one byte the data would begin at plan->data_offset; how long must it be? 0: none will do,
 * as the source has a smaller alignment. */
static size_t pad_length(const CloneRange *r, const GgufPlan *plan) {
    uint64_t missing = (r->from + CLONE_BLOCK - plan->data_offset % CLONE_BLOCK) % CLONE_BLOCK;
    return missing % plan->alignment ? 0 : 1 + (size_t)missing;
}

static int set_pad(Metadata *m, size_t length, Error *err) {
    char text[CLONE_BLOCK + 1];
    memset(text, '.', length);
    text[length] = '\0';
    return metadata_set_string(m, "recast.pad", text, err);
}

int clone_pad(Metadata *m, const Model *model, const Allocator *allocator, Error *err) {
    GgufPlan *plan;
    CloneRange r;
    metadata_unset(m, "recast.pad");
    TRY(gguf_plan_open(&plan, model, m, allocator, err));
    bool wanted = clone_find(&r, plan) && r.length >= CLONE_LEAST && !blocks_meet(&r, plan->data_offset);
    gguf_plan_close(plan);
    if (!wanted) return 0;
    TRY(set_pad(m, 1, err));
    TRY(gguf_plan_open(&plan, model, m, allocator, err));
    size_t length = pad_length(&r, plan);
    gguf_plan_close(plan);
    if (length) return set_pad(m, length, err);
    metadata_unset(m, "recast.pad");
    return 0;
}

/* ---- the few bytes that are copied here ---- */

/* From the range to its place in the output; less than a block. */
static int copy_bytes(Output *o, const GgufPlan *plan, const CloneRange *r, uint64_t begin, uint64_t end,
                      Error *err) {
    uint8_t buffer[CLONE_BLOCK];
    size_t n = (size_t)(end - begin);
    TRY(input_read(r->file, r->from + begin, buffer, n, err));
    return output_write(o, plan->data_offset + begin, buffer, n, err);
}

static bool all_zero(const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return false;
    return true;
}

/* Padding is zero in what we write, whatever the source has there: the bytes must not depend on the way that
 * they came. */
static int zero_padding(Output *o, const GgufPlan *plan, const CloneRange *r, Error *err) {
    const Model *m = plan->model;
    uint8_t found[LARGEST_ALIGNMENT], zeros[LARGEST_ALIGNMENT] = {0};
    for (size_t i = 0; i < m->n_tensors; i++) {
        bool last = i + 1 == m->n_tensors;
        uint64_t end = plan->offsets[i] + tensor_bytes(&m->tensors[i]);
        uint64_t next = last ? plan->file_size - plan->data_offset : plan->offsets[i + 1];
        size_t n = (size_t)(next - end); /* below the alignment */
        if (n == 0) continue;
        if (!last) {
            TRY(input_read(r->file, r->from + end, found, n, err));
            if (all_zero(found, n)) continue;
        }
        TRY(output_write(o, plan->data_offset + end, zeros, n, err));
    }
    return 0;
}

/* ---- sharing ---- */

int clone_share(bool *done, Output *o, const GgufPlan *plan, Error *err) {
    CloneRange r;
    *done = false;
    if (!clone_find(&r, plan) || !blocks_meet(&r, plan->data_offset)) return 0;
    /* whole blocks of the source, counted from the range's start */
    uint64_t begin = (CLONE_BLOCK - r.from % CLONE_BLOCK) % CLONE_BLOCK;
    uint64_t end = r.length - (r.from + r.length) % CLONE_BLOCK;
    if (r.length < 2 * CLONE_BLOCK || end <= begin) return 0;
    struct file_clone_range range = {.src_fd = input_fd(r.file),
                                     .src_offset = r.from + begin,
                                     .src_length = end - begin,
                                     .dest_offset = plan->data_offset + begin};
    /* Any refusal (another file system, one that can't, larger blocks) leaves the ordinary way. */
    if (ioctl(output_fd(o), FICLONERANGE, &range) != 0) return 0;
    TRY(copy_bytes(o, plan, &r, 0, begin, err));
    TRY(copy_bytes(o, plan, &r, end, r.length, err));
    TRY(zero_padding(o, plan, &r, err));
    *done = true;
    return 0;
}

/* ---- copying inside the kernel ---- */

int clone_copy(bool *done, Output *o, const GgufPlan *plan, const Progress *progress, const char *phase,
               Error *err) {
    CloneRange r;
    *done = false;
    if (!clone_find(&r, plan)) return 0;
    for (uint64_t at = 0; at < r.length;) {
        uint64_t left = r.length - at;
        off_t in = (off_t)(r.from + at), out = (off_t)(plan->data_offset + at);
        ssize_t n = copy_file_range(input_fd(r.file), &in, output_fd(o), &out,
                                    left < KERNEL_PIECE ? (size_t)left : KERNEL_PIECE, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
            return error_sys(err, ERR_IO, errno, "cannot write %s at byte %llu", output_path(o),
                             (unsigned long long)(plan->data_offset + at));
        if (n <= 0) return 0; /* also EIO: reading and writing find out on which side it is */
        output_start(o, plan->data_offset + at, (uint64_t)n);
        at += (uint64_t)n;
        TRY(progress_update(progress, phase, plan->data_offset + at, plan->file_size, err));
    }
    TRY(zero_padding(o, plan, &r, err));
    *done = true;
    return 0;
}
