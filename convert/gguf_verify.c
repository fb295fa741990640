/* gguf_verify.c -- the second look at a GGUF file before it gets its name.
 *
 * It goes through model/gguf.c, which shares no code with the writer: a header that we wrote wrongly is found
 * here, and not by a user's llama.cpp. The data itself is not read again; its hash was taken from what was
 * written. */
#include "convert/gguf_verify.h"

#include "model/gguf.h"
#include <string.h>

static int differs(Error *err, const char *name, const char *what) {
    return error_set(
        err, ERR_CHECK,
        "%s reads back differently than it was written: %s differs; check disk and memory, then run again",
        name, what);
}

/* The next key that the plan writes, from slot *i on; NULL at the end. */
static const GgufKv *next_key(const Metadata *m, size_t *i) {
    while (*i < metadata_slots(m)) {
        const GgufKv *kv = metadata_slot(m, (*i)++);
        if (!kv->removed && !gguf_plan_drops(kv)) return kv;
    }
    return NULL;
}

static int compare_keys(const Metadata *planned, const Metadata *found, const char *name,
                        const Allocator *allocator, Error *err) {
    Buffer a, b;
    buffer_init(&a, allocator);
    buffer_init(&b, allocator);
    int code = 0;
    for (size_t i = 0, j = 0; !code;) {
        const GgufKv *want = next_key(planned, &i), *have = next_key(found, &j);
        if (!want && !have) break;
        if (!want || !have) {
            code = differs(err, name, "the number of keys");
            break;
        }
        buffer_clear(&a);
        buffer_clear(&b);
        metadata_write_kv(&a, want);
        metadata_write_kv(&b, have);
        code = buffer_ok(&a, name, err);
        if (!code) code = buffer_ok(&b, name, err);
        if (!code && (a.length != b.length || memcmp(a.data, b.data, a.length) != 0)) {
            code = differs(err, name, want->key.data);
        }
    }
    buffer_free(&a);
    buffer_free(&b);
    return code;
}

static bool same_tensor(const Tensor *want, const Tensor *have, uint64_t offset) {
    bool same =
        strcmp(want->name, have->name) == 0 && want->type == have->type && want->n_dims == have->n_dims;
    for (int d = 0; d < TENSOR_MAX_DIMS; d++) same = same && want->dims[d] == have->dims[d];
    /* An empty tensor need not have an extent. */
    if (have->n_extents == 0) return same && tensor_bytes(want) == 0;
    return same && have->n_extents == 1 && have->extents[0].offset == offset &&
           have->extents[0].length == tensor_bytes(want);
}

static int compare(const GgufPlan *plan, const Model *found, const char *name, const Allocator *allocator,
                   Error *err) {
    const Model *m = plan->model;
    TRY(compare_keys(plan->metadata, found->metadata, name, allocator, err));
    if (found->n_tensors != m->n_tensors) return differs(err, name, "the number of tensors");
    for (size_t i = 0; i < m->n_tensors; i++) {
        uint64_t offset = plan->data_offset + plan->offsets[i];
        if (!same_tensor(&m->tensors[i], &found->tensors[i], offset))
            return differs(err, name, m->tensors[i].name);
    }
    return 0;
}

int gguf_verify(const GgufPlan *plan, int fd, const char *name, const Allocator *allocator, Error *err) {
    Input *in;
    TRY(input_open_fd(&in, fd, name, allocator, err));
    if (input_size(in) != plan->file_size) {
        input_close(in);
        return differs(err, name, "its size");
    }
    Model *found;
    int code = gguf_open_shard(&found, in, allocator, err);
    if (code) {
        input_close(in);
        return error_wrap(err, code, "what was just written can't be read back");
    }
    code = compare(plan, found, name, allocator, err);
    model_close(found);
    return code;
}
