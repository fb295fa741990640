/* fused.c -- see fused.h. */
#include "model/fused.h"

#include <stdio.h>
#include <string.h>

static const char experts[] = ".mlp.experts.";

/* What follows ".mlp.experts." in a name, or NULL. */
static const char *after_experts(const char *name) {
    const char *found = strstr(name, experts);
    return found ? found + sizeof experts - 1 : NULL;
}

FusedKind fused_kind(const char *name) {
    const char *rest = after_experts(name);
    if (!rest || (*rest >= '0' && *rest <= '9')) return FUSED_NO;
    if (!strcmp(rest, "gate_up_proj") || !strcmp(rest, "gate_up_proj.weight")) return FUSED_GATE_UP;
    if (!strcmp(rest, "down_proj") || !strcmp(rest, "down_proj.weight")) return FUSED_DOWN;
    return FUSED_OTHER;
}

static void print_shape(char *out, size_t size, const SafetensorsEntry *e) {
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < e->n_dims && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)e->shape[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

int fused_check(const SafetensorsEntry *e, const ModelParams *p, const char *path, Error *err) {
    char shape[96];
    FusedKind kind = fused_kind(e->name);
    uint64_t n = p->n_experts, d = p->n_embd, ff = p->n_ff_expert;
    uint64_t rows = kind == FUSED_GATE_UP ? 2 * ff : d, columns = kind == FUSED_GATE_UP ? d : ff;
    print_shape(shape, sizeof shape, e);
    if (kind == FUSED_OTHER)
        return error_set(
            err, ERR_UNSUPPORTED,
            "%s: tensor %s [%s]: this layout of expert tensors is not offered; experts are read one by "
            "one (mlp.experts.0.gate_proj.weight ...) or fused as gate_up_proj and down_proj",
            path, e->name, shape);
    if (e->n_dims == 3 && e->shape[0] == n && e->shape[1] == rows && e->shape[2] == columns) return 0;
    bool transposed = e->n_dims == 3 && e->shape[0] == n && e->shape[1] == columns && e->shape[2] == rows;
    return error_set(
        err, ERR_UNSUPPORTED,
        "%s: tensor %s has the shape [%s]; fused experts are read as [%llu, %llu, %llu]%s", path, e->name,
        shape, (unsigned long long)n, (unsigned long long)rows, (unsigned long long)columns,
        transposed ? "; this is the transposed layout of Qwen3-VL-MoE, which is not offered" : "");
}

size_t fused_count(FusedKind kind, uint32_t n_experts) {
    if (kind == FUSED_NO) return 1;
    return kind == FUSED_GATE_UP ? 2 * (size_t)n_experts : n_experts;
}

int fused_part(SafetensorsEntry *out, const SafetensorsEntry *e, size_t i, Arena *arena, Error *err) {
    bool two = fused_kind(e->name) == FUSED_GATE_UP;
    size_t parts = two ? 2 : 1, expert = i / parts;
    const char *what = !two ? "down_proj" : i % 2 ? "up_proj" : "gate_proj";
    int prefix = (int)(after_experts(e->name) - e->name);
    *out = (SafetensorsEntry){.type = e->type, .n_dims = 2, .shape = {e->shape[1] / parts, e->shape[2]}};
    out->length = e->length / (e->shape[0] * parts);
    out->offset = e->offset + i * out->length;
    out->name = arena_printf(arena, "%.*s%zu.%s.weight", prefix, e->name, expert, what);
    return out->name ? 0 : error_memory(err, "the tensor table");
}
