/* hf_form.c -- a derived checkpoint directory: which files it has. Writing them is hf_write.c's business,
 * what is patched in config.json config_patch.c's. */
#include "convert/hf_form.h"

#include "convert/config_patch.h"
#include "convert/hf_walk.h"

/* ---- the plan ---- */

static int patched_config(HfFile *f, const Model *m, Arena *arena, const Allocator *allocator, Error *err) {
    Buffer text;
    buffer_init(&text, allocator);
    buffer_text(&text, m->config_text);
    int code = buffer_ok(&text, "config.json", err);
    if (!code) code = config_patch(&text, m->config, m->overrides, err);
    if (!code) {
        f->text = arena_copy(arena, text.data, text.length);
        f->length = text.length;
        f->source = NULL;
        if (!f->text) code = error_memory(err, "config.json");
    }
    buffer_free(&text);
    return code;
}

static int list_files(HfPlan *p, const Allocator *allocator, Error *err) {
    const Model *m = p->model;
    p->files = arena_alloc(p->arena, m->n_files, sizeof *p->files);
    if (!p->files) return error_memory(err, "the plan of a checkpoint");
    for (size_t i = 0; i < m->n_files; i++) {
        HfFile *f = &p->files[i];
        *f = (HfFile){.name = m->files[i].name, .source = &m->files[i]};
        f->merged = m->lora && m->files[i].role == SOURCE_WEIGHTS && hf_walk_computes(m, f->source->input);
        if (m->files[i].role != SOURCE_CONFIG || !m->overrides || !m->overrides->child) continue;
        TRY(patched_config(f, m, p->arena, allocator, err));
    }
    p->n_files = m->n_files;
    return 0;
}

/* The weights are copied as files, so nothing but a merge, which keeps types, may have been done to them. */
static int check_model(const Model *m, Error *err) {
    if (m->form != FORM_HF || !m->config || !m->config_text) {
        return error_set(err, ERR_UNSUPPORTED,
                         "%s is not a Hugging Face checkpoint, and making one of a GGUF file is not offered",
                         m->path);
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        if (t->n_transforms == 0 || (m->lora && t->type == t->stored)) continue;
        return error_set(err, ERR_UNSUPPORTED, "tensor %s: the Hugging Face form keeps weights as they are",
                         m->tensors[i].name);
    }
    return 0;
}

int hf_plan_open(HfPlan **out, const Model *model, const Allocator *allocator, Error *err) {
    *out = NULL;
    TRY(check_model(model, err));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    HfPlan *p = arena_alloc(arena, 1, sizeof *p);
    int code = p ? 0 : error_memory(err, "the plan of a checkpoint");
    if (!code) {
        *p = (HfPlan){.model = model, .arena = arena};
        code = list_files(p, allocator, err);
    }
    if (code) {
        arena_close(arena);
        return code;
    }
    *out = p;
    return 0;
}

void hf_plan_close(HfPlan *p) {
    if (p) arena_close(p->arena);
}

uint64_t hf_file_size(const HfFile *f) {
    return f->source ? input_size(f->source->input) : f->length;
}
