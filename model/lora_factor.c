/* lora_factor.c -- parts of A and B, read from the adapter's file when they are needed.
 *
 * B of fused experts is packed across experts ([outer][E * rank], the expert fastest), so that one expert's
 * part lies in single numbers all over a layer's tensor. It is regrouped once, kept while it is used, and
 * forgotten when the memory for such slabs is spent. */
#include "core/floats.h"
#include "model/lora_private.h"
#include <string.h>

enum {
    LOAD_PIECE = 1 << 16, /* elements that are read and widened in one go */
};
static const uint64_t SLAB_BYTES = 128u << 20; /* of slabs that nobody uses */

static size_t type_bytes(const SafetensorsEntry *e) {
    return dtype_info(e->type)->bytes;
}

int lora_load(float *out, const LoraAdapter *a, const SafetensorsEntry *e, uint64_t first, uint64_t n,
              Error *err) {
    size_t bytes = type_bytes(e);
    if (e->type == DT_F32) return input_read(a->file, e->offset + 4 * first, out, (size_t)(4 * n), err);
    uint8_t piece[2 * 4096];
    for (uint64_t done = 0; done < n;) {
        size_t here = n - done < 4096 ? (size_t)(n - done) : 4096;
        TRY(input_read(a->file, e->offset + bytes * (first + done), piece, bytes * here, err));
        TRY(floats_convert(DT_F32, out + done, e->type, piece, here, err));
        done += here;
    }
    return 0;
}

/* ---- slabs ---- */

int lora_slab(LoraSlab **out, Lora *l, const LoraAdapter *a, const SafetensorsEntry *e, uint32_t n_experts,
              uint32_t rank, bool expert_slowest, Error *err) {
    Arena *arena = l->model.arena;
    LoraSlab *last = l->n_slabs ? l->slabs[l->n_slabs - 1] : NULL;
    if (last && last->entry == e) {
        *out = last;
        return 0;
    }
    if (l->n_slabs == l->slabs_capacity) {
        size_t capacity = l->slabs_capacity ? 2 * l->slabs_capacity : 64;
        LoraSlab **more = arena_alloc(arena, capacity, sizeof *more);
        if (!more) return error_memory(err, "an adapter's experts");
        if (l->n_slabs) memcpy(more, l->slabs, l->n_slabs * sizeof *more);
        l->slabs = more;
        l->slabs_capacity = capacity;
    }
    LoraSlab *s = arena_alloc(arena, 1, sizeof *s);
    if (!s) return error_memory(err, "an adapter's experts");
    *s = (LoraSlab){
        .adapter = a, .entry = e, .n_experts = n_experts, .rank = rank, .expert_slowest = expert_slowest};
    l->slabs[l->n_slabs++] = *out = s;
    return 0;
}

/* One row of the packed tensor to its places in [E][outer][rank]. */
static void regroup_row(const LoraSlab *s, uint8_t *slab, const uint8_t *row, uint64_t outer, uint64_t x) {
    size_t bytes = type_bytes(s->entry), rank = s->rank, n = s->n_experts;
    for (size_t e = 0; e < n; e++) {
        uint8_t *to = slab + (e * outer + x) * rank * bytes;
        if (s->expert_slowest) {
            memcpy(to, row + e * rank * bytes, rank * bytes);
        } else if (bytes == 4) {
            for (size_t j = 0; j < rank; j++) memcpy(to + 4 * j, row + 4 * (j * n + e), 4);
        } else {
            for (size_t j = 0; j < rank; j++) memcpy(to + 2 * j, row + 2 * (j * n + e), 2);
        }
    }
}

static int fill_slab(uint8_t **out, const LoraSlab *s, Error *err) {
    uint64_t outer = s->entry->shape[0];
    size_t row_bytes = (size_t)(s->entry->length / outer);
    uint8_t *row = mem_alloc(NULL, row_bytes), *slab = mem_alloc(NULL, (size_t)s->entry->length);
    int code = row && slab ? 0 : error_memory(err, s->entry->name);
    for (uint64_t x = 0; !code && x < outer; x++) {
        code = input_read(s->adapter->file, s->entry->offset + x * row_bytes, row, row_bytes, err);
        if (!code) regroup_row(s, slab, row, outer, x);
    }
    mem_free(NULL, row);
    if (code)
        mem_free(NULL, slab);
    else
        *out = slab;
    return code;
}

/* Those that were used longest ago, and that nobody uses now. Called with the lock held. */
static void forget_slabs(Lora *l) {
    while (l->slab_bytes > SLAB_BYTES) {
        LoraSlab *oldest = NULL;
        for (size_t i = 0; i < l->n_slabs; i++) {
            LoraSlab *s = l->slabs[i];
            if (s->bytes && !s->users && (!oldest || s->last_use < oldest->last_use)) oldest = s;
        }
        if (!oldest) return;
        mem_free(NULL, oldest->bytes);
        oldest->bytes = NULL;
        l->slab_bytes -= oldest->entry->length;
    }
}

/* One thread fills a slab, the others that want it wait. */
static int take_slab(Lora *l, LoraSlab *s, Error *err) {
    pthread_mutex_lock(&l->lock);
    while (s->loading) pthread_cond_wait(&l->loaded, &l->lock);
    int code = 0;
    if (!s->bytes) {
        uint8_t *bytes = NULL;
        s->loading = true;
        pthread_mutex_unlock(&l->lock);
        code = fill_slab(&bytes, s, err);
        pthread_mutex_lock(&l->lock);
        s->loading = false;
        s->bytes = bytes;
        if (!code) l->slab_bytes += s->entry->length;
        pthread_cond_broadcast(&l->loaded);
    }
    if (!code) {
        s->users++;
        s->last_use = ++l->clock;
        forget_slabs(l);
    }
    pthread_mutex_unlock(&l->lock);
    return code;
}

static void give_slab(Lora *l, LoraSlab *s) {
    pthread_mutex_lock(&l->lock);
    s->users--;
    pthread_mutex_unlock(&l->lock);
}

void lora_slabs_free(Lora *l) {
    for (size_t i = 0; i < l->n_slabs; i++) mem_free(NULL, l->slabs[i]->bytes);
}

/* ---- factors ---- */

/* n values from element `at` on, of a slab that is held or of the file. */
static int load_at(float *out, const LoraFactor *f, uint64_t at, uint64_t n, Error *err) {
    if (!f->slab) return lora_load(out, f->adapter, f->entry, at, n, err);
    const uint8_t *from = f->slab->bytes + at * type_bytes(f->entry);
    return floats_convert(DT_F32, out, f->entry->type, from, (size_t)n, err);
}

/* n values of x from `first` on, as they lie where k is fastest: [n][rank]. */
static int load_k_fastest(float *out, const LoraFactor *f, uint32_t rank, uint64_t first, uint64_t n,
                          Error *err) {
    return load_at(out, f, f->base + (f->first + first) * rank, n * rank, err);
}

static int rows_in_place(float *out, const LoraFactor *f, uint32_t rank, uint64_t first, uint64_t n,
                         Error *err) {
    if (f->k_fastest) return load_k_fastest(out, f, rank, first, n, err);
    float *values = mem_alloc(NULL, (size_t)n * sizeof *values);
    if (!values) return error_memory(err, "an adapter's rows");
    int code = 0;
    for (uint32_t k = 0; !code && k < rank; k++) {
        code = load_at(values, f, f->base + k * f->width + f->first + first, n, err);
        for (uint64_t x = 0; !code && x < n; x++) out[x * rank + k] = values[x];
    }
    mem_free(NULL, values);
    return code;
}

size_t lora_panels_size(uint32_t rank, uint64_t columns) {
    return (size_t)((columns + LORA_PANEL - 1) / LORA_PANEL * LORA_PANEL) * rank;
}

/* Values of rank k from column `first` on into their panels; whoever calls has set the panels to 0. */
static void put_columns(float *out, const float *values, uint32_t rank, uint32_t k, uint64_t columns) {
    for (uint64_t i = 0; i < columns; i += LORA_PANEL) {
        uint64_t n = columns - i < LORA_PANEL ? columns - i : LORA_PANEL;
        memcpy(out + i * rank + (uint64_t)k * LORA_PANEL, values + i, (size_t)n * sizeof *values);
    }
}

static int columns_x_fastest(float *out, const LoraFactor *f, uint32_t rank, uint64_t columns, Error *err) {
    float *values = mem_alloc(NULL, (size_t)columns * sizeof *values);
    if (!values) return error_memory(err, "an adapter's columns");
    int code = 0;
    for (uint32_t k = 0; !code && k < rank; k++) {
        code = load_at(values, f, f->base + k * f->width + f->first, columns, err);
        if (!code) put_columns(out, values, rank, k, columns);
    }
    mem_free(NULL, values);
    return code;
}

/* A turned matrix: columns of W lie as rows here. */
static int columns_k_fastest(float *out, const LoraFactor *f, uint32_t rank, uint64_t columns, Error *err) {
    uint64_t step = rank < LOAD_PIECE ? LOAD_PIECE / rank : 1;
    float *values = mem_alloc(NULL, (size_t)(step * rank) * sizeof *values);
    if (!values) return error_memory(err, "an adapter's columns");
    int code = 0;
    for (uint64_t i = 0; !code && i < columns; i += step) {
        uint64_t n = columns - i < step ? columns - i : step;
        code = load_k_fastest(values, f, rank, i, n, err);
        for (uint64_t x = 0; !code && x < n; x++) {
            uint64_t column = i + x;
            float *panel = out + column / LORA_PANEL * LORA_PANEL * rank + column % LORA_PANEL;
            for (uint32_t k = 0; k < rank; k++) panel[(uint64_t)k * LORA_PANEL] = values[x * rank + k];
        }
    }
    mem_free(NULL, values);
    return code;
}

int lora_load_columns(Lora *l, float *out, const LoraFactor *f, uint32_t rank, uint64_t columns, Error *err) {
    memset(out, 0, lora_panels_size(rank, columns) * sizeof *out);
    if (f->slab) TRY(take_slab(l, f->slab, err));
    int code = f->k_fastest ? columns_k_fastest(out, f, rank, columns, err)
                            : columns_x_fastest(out, f, rank, columns, err);
    if (f->slab) give_slab(l, f->slab);
    return code;
}

int lora_load_rows(Lora *l, float *out, const LoraFactor *f, uint32_t rank, uint64_t first, uint64_t n,
                   Error *err) {
    if (f->slab) TRY(take_slab(l, f->slab, err));
    int code = rows_in_place(out, f, rank, first, n, err);
    if (f->slab) give_slab(l, f->slab);
    return code;
}
