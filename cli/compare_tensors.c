/* compare_tensors.c -- which tensors differ between two models, the worst first. */
#include "cli/compare.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_shape(const Tensor *a, const Tensor *b) {
    return !memcmp(a->dims, b->dims, sizeof a->dims);
}

/* What can't be measured first, then by relative error, then by name. */
static int worse_first(const void *a, const void *b) {
    const ComparedTensor *x = a, *y = b;
    if (x->d.measured != y->d.measured) return x->d.measured ? 1 : -1;
    double p = isnan(x->d.relative) ? INFINITY : x->d.relative;
    double q = isnan(y->d.relative) ? INFINITY : y->d.relative;
    if (p != q) return p > q ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void add(ComparedTensors *t, const char *name, const char *what) {
    t->list[t->n++] = (ComparedTensor){.name = name, .what = what};
}

typedef struct Pairs {
    const Tensor **a, **b; /* those of one shape that may differ */
    TensorDifference *d;
    size_t n;
} Pairs;

static int find_pairs(ComparedTensors *t, Pairs *p, const Model *a, const Model *b, const SameFiles *files) {
    for (size_t i = 0; i < a->n_tensors; i++) {
        const Tensor *x = &a->tensors[i], *y = model_find(b, x->name);
        if (!y) {
            t->only_a++;
            add(t, x->name, "only in the first");
        } else if (!same_shape(x, y)) {
            t->differ++;
            add(t, x->name, "other shape");
        } else if (files && same_files_cover(files, x, y)) {
            t->same++;
        } else {
            p->a[p->n] = x;
            p->b[p->n++] = y;
        }
    }
    for (size_t i = 0; i < b->n_tensors; i++) {
        if (model_find(a, b->tensors[i].name)) continue;
        t->only_b++;
        add(t, b->tensors[i].name, "only in the second");
    }
    return 0;
}

static int take_results(ComparedTensors *t, const Pairs *p, Arena *arena, Error *err) {
    for (size_t i = 0; i < p->n; i++) {
        if (p->d[i].identical) {
            t->same++;
            continue;
        }
        const char *what =
            arena_printf(arena, "%s -> %s", dtype_name(p->a[i]->type), dtype_name(p->b[i]->type));
        if (!what) return error_memory(err, "the list of tensors");
        t->differ++;
        add(t, p->a[i]->name, what);
        t->list[t->n - 1].d = p->d[i];
    }
    return 0;
}

int compared_tensors_find(ComparedTensors *out, const Cli *cli, const Model *a, const Model *b,
                          const SameFiles *files, Arena *arena, Error *err) {
    Pairs p = {.n = 0};
    DifferenceOptions options = {.threads = cli->threads, .progress = &cli->progress};
    *out = (ComparedTensors){.n = 0};
    out->list = arena_alloc(arena, a->n_tensors + b->n_tensors, sizeof *out->list);
    p.a = arena_alloc(arena, a->n_tensors, sizeof *p.a);
    p.b = arena_alloc(arena, a->n_tensors, sizeof *p.b);
    p.d = arena_alloc(arena, a->n_tensors, sizeof *p.d);
    if (!out->list || !p.a || !p.b || !p.d) return error_memory(err, "the list of tensors");
    TRY(find_pairs(out, &p, a, b, files));
    TRY(tensor_differences(p.d, p.n, p.a, p.b, options, err));
    TRY(take_results(out, &p, arena, err));
    qsort(out->list, out->n, sizeof *out->list, worse_first);
    return 0;
}

/* ---- printing ---- */

void compared_tensors_print(const ComparedTensors *t) {
    for (size_t i = 0; i < t->n; i++) {
        const TensorDifference *d = &t->list[i].d;
        cli_print_safe(t->list[i].name, strlen(t->list[i].name));
        printf(": %s", t->list[i].what);
        if (d->measured && !d->differ)
            printf(", the same numbers");
        else if (d->measured)
            printf(
                ", rmse %.3g (%.3g of the first's), largest %.3g, cosine %.6f, %llu of %llu elements differ",
                d->rmse, d->relative, d->max, d->cosine, (unsigned long long)d->differ,
                (unsigned long long)d->elements);
        printf("\n");
    }
}

/* JSON has no infinity and no NaN: null. */
static void put_number(cJSON *o, const char *key, double value) {
    if (isfinite(value))
        cJSON_AddNumberToObject(o, key, value);
    else
        cJSON_AddNullToObject(o, key);
}

void compared_tensors_json(const ComparedTensors *t, cJSON *list) {
    for (size_t i = 0; i < t->n; i++) {
        const TensorDifference *d = &t->list[i].d;
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "tensor", t->list[i].name);
        cJSON_AddStringToObject(o, "what", t->list[i].what);
        if (d->measured) {
            cJSON_AddNumberToObject(o, "elements", (double)d->elements);
            cJSON_AddNumberToObject(o, "differ", (double)d->differ);
            put_number(o, "max", d->max);
            put_number(o, "rmse", d->rmse);
            put_number(o, "relative", d->relative);
            put_number(o, "cosine", d->cosine);
        }
        cJSON_AddItemToArray(list, o);
    }
}
