/* produce.c -- see produce.h. */
#include "convert/produce.h"

#include "convert/clone.h"
#include <string.h>

static int plan_product(Production *p, size_t i, const Product *product, const Allocator *allocator,
                        Error *err) {
    Metadata *metadata;
    TRY(metadata_copy(&metadata, product->model->metadata, p->arena, err));
    TRY(provenance_set(metadata, product->provenance, err));
    if (split_rule_is_none(&product->split)) TRY(clone_pad(metadata, product->model, allocator, err));
    TRY(gguf_set_open(&p->sets[i], product->model, metadata, &product->split, allocator, err));
    p->first_output[i + 1] = p->first_output[i] + p->sets[i]->n_files;
    return 0;
}

static int list_outputs(Production *p, const Product *products, Error *err) {
    size_t n = p->first_output[p->n_products];
    ConversionOutput *outputs = arena_alloc(p->arena, n, sizeof *outputs);
    if (!outputs) return error_memory(err, "a conversion");
    for (size_t i = 0; i < p->n_products; i++) {
        for (size_t f = 0; f < p->sets[i]->n_files; f++) {
            ConversionOutput *o = &outputs[p->first_output[i] + f];
            *o = (ConversionOutput){.plan = p->sets[i]->files[f], .continues = f > 0};
            if (!products[i].path) continue;
            o->path = gguf_set_path(p->sets[i], p->arena, products[i].path, f);
            if (!o->path) return error_memory(err, "a path");
        }
    }
    p->conversion.outputs = outputs;
    p->conversion.n_outputs = n;
    return 0;
}

static int plan_all(Production *p, const Product *products, size_t n, const Allocator *allocator,
                    Error *err) {
    p->sets = arena_alloc(p->arena, n, sizeof *p->sets);
    p->first_output = arena_alloc(p->arena, n + 1, sizeof *p->first_output);
    if (!p->sets || !p->first_output) return error_memory(err, "a conversion");
    p->n_products = n;
    for (size_t i = 0; i < n; i++) TRY(plan_product(p, i, &products[i], allocator, err));
    return list_outputs(p, products, err);
}

int production_open(Production **out, const Product *products, size_t n, const Allocator *allocator,
                    Error *err) {
    Arena *arena;
    *out = NULL;
    TRY(arena_open(&arena, allocator, err));
    Production *p = arena_alloc(arena, 1, sizeof *p);
    if (!p) {
        arena_close(arena);
        return error_memory(err, "a conversion");
    }
    *p = (Production){.arena = arena};
    int code = plan_all(p, products, n, allocator, err);
    if (code)
        production_close(p);
    else
        *out = p;
    return code;
}

void production_close(Production *p) {
    if (!p) return;
    for (size_t i = 0; p->sets && i < p->n_products; i++) gguf_set_close(p->sets[i]);
    arena_close(p->arena);
}
