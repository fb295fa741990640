/* lora_beside.c -- adapters over a GGUF, for running it: its tensors are shown one an expert under Hugging
 * Face's names, the lora view works on those, and what it computes is put back under the GGUF's names. */
#include "model/family.h"
#include "model/lora_private.h"
#include <string.h>

/* ---- a GGUF's tensors under Hugging Face's names ---- */

typedef struct Slices {
    Model model; /* first */
    const Model *base;
    size_t *first; /* a base tensor's first slice; one more at the end */
} Slices;

/* The part offset .. offset + length of a tensor's bytes. */
static int slice_extents(Tensor *out, const Tensor *t, uint64_t offset, uint64_t length, Arena *arena,
                         Error *err) {
    Extent *list = arena_alloc(arena, t->n_extents + 1u, sizeof *list);
    if (!list) return error_memory(err, "the tensor table");
    for (uint32_t i = 0; i < t->n_extents && length; i++) {
        const Extent *e = &t->extents[i];
        if (offset >= e->length) {
            offset -= e->length;
            continue;
        }
        uint64_t here = e->length - offset < length ? e->length - offset : length;
        list[out->n_extents++] = (Extent){e->file, e->offset + offset, here};
        length -= here;
        offset = 0;
    }
    out->extents = list;
    return 0;
}

static int add_slices(Slices *s, Tensor *tensors, Table *names, const Tensor *t, Error *err) {
    Model *m = &s->model;
    TensorSpec spec;
    char name[160];
    if (!family_find_spec(m->family, &m->params, t->name, &spec) || t->n_transforms)
        return error_set(err, ERR_UNSUPPORTED, "%s: tensor %s is %s: adapters can't be put beside it",
                         m->path, t->name, t->n_transforms ? "computed" : "none of the family");
    if (memcmp(t->dims, spec.dims, sizeof t->dims))
        return error_set(err, ERR_FORMAT, "%s: tensor %s has not the shape that the parameters ask for",
                         m->path, t->name);
    uint64_t n = spec.stacked ? spec.dims[2] : 1, bytes = tensor_stored_bytes(t) / n;
    for (uint32_t e = 0; e < n; e++) {
        Tensor *slice = &tensors[m->n_tensors];
        if (!family_expert_name(&spec, e, name, sizeof name))
            return error_set(err, ERR_LIMIT, "a name is too long");
        *slice = *t;
        slice->name = arena_string(m->arena, name);
        slice->n_extents = 0;
        if (spec.stacked) {
            slice->n_dims = 2;
            slice->dims[2] = 1;
        }
        TRY(slice_extents(slice, t, e * bytes, bytes, m->arena, err));
        if (!slice->name || table_put(names, slice->name, strlen(slice->name), m->n_tensors))
            return error_memory(err, "the tensor table");
        m->n_tensors++;
    }
    return 0;
}

static int fill_slices(Slices *s, Error *err) {
    Model *m = &s->model;
    const Model *base = s->base;
    size_t n = 0;
    Table *names;
    for (size_t i = 0; i < base->n_tensors; i++)
        if (!size_add(&n, n, base->tensors[i].dims[2]))
            return error_set(err, ERR_LIMIT, "%s: too many experts", base->path);
    Tensor *tensors = arena_alloc(m->arena, n, sizeof *tensors);
    s->first = arena_alloc(m->arena, base->n_tensors + 1, sizeof *s->first);
    if (!tensors || !s->first) return error_memory(err, "the tensor table");
    TRY(table_open(&names, m->arena, n, err));
    m->n_tensors = 0;
    m->tensors = tensors;
    m->names = names;
    m->form = FORM_HF;
    for (size_t i = 0; i < base->n_tensors; i++) {
        s->first[i] = m->n_tensors;
        TRY(add_slices(s, tensors, names, &base->tensors[i], err));
    }
    s->first[base->n_tensors] = m->n_tensors;
    return 0;
}

/* ---- and back ---- */

typedef struct Beside {
    Model model; /* first */
    Slices slices;
    Model *view; /* lora, over the slices */
} Beside;

/* All experts of a tensor of which some change. */
typedef struct Stack {
    LoraTensor **experts;
    uint64_t rows;
} Stack;

static int apply_stack(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                       const void *in, void *out, Error *err) {
    const Stack *s = t->context;
    uint64_t in_row, out_row;
    if (!dtype_bytes(t->from, row_elements, &in_row) || !dtype_bytes(t->to, row_elements, &out_row))
        return error_set(err, ERR_LIMIT, "a row is too long");
    for (uint64_t done = 0; done < n_rows;) {
        uint64_t row = first_row + done, left = s->rows - row % s->rows;
        uint64_t n = left < n_rows - done ? left : n_rows - done;
        RowTransform own = lora_transform(s->experts[row / s->rows]);
        TRY(own.apply(&own, row % s->rows, n, row_elements, (const uint8_t *)in + done * in_row,
                      (uint8_t *)out + done * out_row, err));
        done += n;
    }
    return 0;
}

static int put_back(Beside *b, Tensor *t, size_t first, size_t end, Error *err) {
    Lora *l = (Lora *)b->view;
    bool changes = false;
    for (size_t i = first; i < end; i++) changes |= l->touched[i] != NULL;
    if (!changes) return 0;
    Stack *s = arena_alloc(b->model.arena, 1, sizeof *s);
    if (!s) return error_memory(err, "the tensor table");
    *s = (Stack){&l->touched[first], tensor_rows(&b->slices.model.tensors[first])};
    /* the others go the same way, with nothing done to them, so that all have one type */
    for (size_t i = first; i < end; i++)
        if (!lora_touch(l, &b->slices.model.tensors[i])) return error_memory(err, "the tensor table");
    RowTransform own = lora_transform(l->touched[first]);
    t->transforms[t->n_transforms++] =
        (RowTransform){.from = own.from, .to = own.to, .apply = apply_stack, .context = s};
    t->type = own.to;
    return 0;
}

static int build(Beside *b, const Model *base, const LoraSpec *specs, size_t n, const Allocator *allocator,
                 Error *err) {
    b->slices = (Slices){.model = *base, .base = base};
    b->slices.model.arena = b->model.arena;
    TRY(fill_slices(&b->slices, err));
    TRY(lora_view_open(&b->view, &b->slices.model, specs, n, true, allocator, err));
    Tensor *tensors = arena_alloc(b->model.arena, base->n_tensors, sizeof *tensors);
    if (!tensors) return error_memory(err, "the tensor table");
    for (size_t i = 0; i < base->n_tensors; i++) {
        tensors[i] = base->tensors[i];
        TRY(put_back(b, &tensors[i], b->slices.first[i], b->slices.first[i + 1], err));
    }
    b->model.tensors = tensors;
    b->model.lora = b->view->lora;
    return 0;
}

static void close_view(Model *m) {
    Beside *b = (Beside *)m;
    model_close(b->view);
    arena_close(m->arena);
}

int lora_beside_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs,
                     const Allocator *allocator, Error *err) {
    Arena *arena;
    *out = NULL;
    if (base->form == FORM_HF) return lora_view_open(out, base, specs, n_specs, true, allocator, err);
    if (!base->family)
        return error_set(err, ERR_UNSUPPORTED, "%s: architecture %s is not known (known: %s)", base->path,
                         base->params.architecture, family_known());
    TRY(arena_open(&arena, allocator, err));
    Beside *b = arena_alloc(arena, 1, sizeof *b);
    if (!b) {
        arena_close(arena);
        return error_memory(err, "a model with adapters");
    }
    *b = (Beside){.model = *base};
    b->model.arena = arena;
    b->model.close = close_view;
    int code = build(b, base, specs, n_specs, allocator, err);
    if (code)
        close_view(&b->model);
    else
        *out = &b->model;
    return code;
}
