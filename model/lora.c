/* lora.c -- the lora view: adapters over a checkpoint (see lora.h). */
#include "model/lora_private.h"

#include "core/floats.h"
#include "core/threads.h"
#include <math.h>
#include <string.h>
#include <sys/stat.h>

static const char *const rounding_names[] = {"once", "peft"};
static const char *const layout_names[] = {"peft", "peft-0.18", "unsloth-legacy"};

static bool find_name(size_t *out, const char *const *names, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name)) {
            *out = i;
            return true;
        }
    return false;
}

const char *lora_rounding_name(LoraRounding r) {
    return rounding_names[r];
}

bool lora_rounding_by_name(LoraRounding *out, const char *name) {
    size_t i;
    if (!find_name(&i, rounding_names, sizeof rounding_names / sizeof *rounding_names, name)) return false;
    *out = (LoraRounding)i;
    return true;
}

const char *lora_layout_name(LoraLayout l) {
    return layout_names[l];
}

bool lora_layout_by_name(LoraLayout *out, const char *name) {
    size_t i;
    if (!find_name(&i, layout_names, sizeof layout_names / sizeof *layout_names, name)) return false;
    *out = (LoraLayout)i;
    return true;
}

/* ---- the view ---- */

static void close_view(Model *m) {
    Lora *l = (Lora *)m;
    for (size_t i = 0; l->adapters && i < l->n_adapters; i++) lora_adapter_close(&l->adapters[i]);
    lora_slabs_free(l);
    if (l->synchronized) {
        pthread_mutex_destroy(&l->lock);
        pthread_cond_destroy(&l->loaded);
    }
    arena_close(l->model.arena);
}

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int open_adapter(Lora *l, LoraAdapter *a, const LoraSpec *spec, Arena *scratch, Error *err) {
    if (!is_file(spec->path)) return lora_adapter_open(a, spec, l->model.arena, scratch, l->allocator, err);
    if (l->beside) return lora_adapter_open_gguf(a, spec, l->base, l->model.arena, l->allocator, err);
    return error_set(err, ERR_UNSUPPORTED,
                     "adapter %s is a file: what is merged is PEFT's directory, with its %s and %s",
                     spec->path, LORA_CONFIG_FILE, LORA_WEIGHTS_FILE);
}

static int open_adapters(Lora *l, const LoraSpec *specs, size_t n, Arena *scratch, Error *err) {
    l->adapters = arena_alloc(l->model.arena, n, sizeof *l->adapters);
    l->infos = arena_alloc(l->model.arena, n, sizeof *l->infos);
    if (!l->adapters || !l->infos) return error_memory(err, "adapters");
    for (size_t i = 0; i < n; i++) {
        LoraAdapter *a = &l->adapters[l->n_adapters++];
        a->index = i;
        TRY(open_adapter(l, a, &specs[i], scratch, err));
        TRY(lora_map(l, a, err));
    }
    for (size_t i = 0; i < n; i++) l->infos[i] = l->adapters[i].info;
    return 0;
}

RowTransform lora_transform(LoraTensor *t) {
    DType from = t->base->type;
    return (RowTransform){
        .from = from, .to = dtype_is_float(from) ? from : DT_F32, .apply = lora_apply, .context = t};
}

static int build_tensors(Lora *l, Error *err) {
    const Model *base = l->base;
    Tensor *tensors = arena_alloc(l->model.arena, base->n_tensors, sizeof *tensors);
    if (!tensors) return error_memory(err, "the tensor table");
    for (size_t i = 0; i < base->n_tensors; i++) {
        Tensor *t = &tensors[i];
        *t = base->tensors[i];
        if (!l->touched[i]) continue;
        t->transforms[t->n_transforms++] = lora_transform(l->touched[i]);
        t->type = t->transforms[0].to;
    }
    l->model.tensors = tensors;
    return 0;
}

static int check_base(const Model *base, Error *err) {
    if (base->form == FORM_HF) return 0;
    return error_set(
        err, ERR_UNSUPPORTED,
        "%s is a GGUF: adapters are merged into a Hugging Face checkpoint in this version, since a "
        "GGUF may be quantized and keeps tensors under other names and shapes than the adapter; "
        "give the checkpoint, or keep the adapter beside the GGUF (--lora of recast run)",
        base->path);
}

static int open_view(Lora *l, const LoraSpec *specs, size_t n_specs, Error *err) {
    Arena *scratch;
    if (pthread_mutex_init(&l->lock, NULL)) return error_memory(err, "adapters");
    if (pthread_cond_init(&l->loaded, NULL)) {
        pthread_mutex_destroy(&l->lock);
        return error_memory(err, "adapters");
    }
    l->synchronized = true;
    l->kernel = lora_kernel_for(cpu_features());
    l->touched = arena_alloc(l->model.arena, l->base->n_tensors, sizeof *l->touched);
    if (!l->touched) return error_memory(err, "adapters");
    TRY(table_open(&l->target_names, l->model.arena, 1024, err));
    TRY(arena_open(&scratch, l->allocator, err));
    int code = open_adapters(l, specs, n_specs, scratch, err);
    arena_close(scratch);
    return code ? code : build_tensors(l, err);
}

int lora_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs,
              const Allocator *allocator, Error *err) {
    return lora_view_open(out, base, specs, n_specs, false, allocator, err);
}

int lora_view_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs, bool beside,
                   const Allocator *allocator, Error *err) {
    *out = NULL;
    TRY(check_base(base, err));
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Lora *l = arena_alloc(arena, 1, sizeof *l);
    if (!l) {
        arena_close(arena);
        return error_memory(err, "a model with adapters");
    }
    *l = (Lora){.model = *base, .base = base, .allocator = allocator, .beside = beside};
    l->model.arena = arena;
    l->model.close = close_view;
    l->model.lora = l;
    int code = open_view(l, specs, n_specs, err);
    if (code)
        close_view(&l->model);
    else
        *out = &l->model;
    return code;
}

size_t lora_adapters(const Lora *l, const LoraAdapterInfo **list) {
    *list = l->infos;
    return l->n_adapters;
}

size_t lora_tensors(const Lora *l) {
    return l->n_touched;
}

/* ---- the rest of the rows, and whether all targets were changed ---- */

enum { FINISH_BYTES = 1 << 20 };

static int read_rest(const Lora *l, size_t index, Error *err) {
    const LoraTensor *lt = l->touched[index];
    const Tensor *t = &l->model.tensors[index];
    if (!lt || lt->rows_seen == tensor_rows(t)) return 0;
    uint64_t bytes = tensor_row_bytes(t), step = bytes && bytes < FINISH_BYTES ? FINISH_BYTES / bytes : 1;
    uint8_t *buffer = mem_alloc(NULL, (size_t)(step * bytes));
    int code = buffer ? 0 : error_memory(err, "rows of a tensor");
    for (uint64_t row = 0; !code && row < tensor_rows(t); row += step) {
        uint64_t n = tensor_rows(t) - row < step ? tensor_rows(t) - row : step;
        code = model_read(t, row, n, buffer, err);
    }
    mem_free(NULL, buffer);
    return code;
}

static int finish_tensor(void *context, size_t index, unsigned thread, Error *err) {
    (void)thread;
    return read_rest(context, index, err);
}

static int check_changed(const Lora *l, Error *err) {
    bool *changed = mem_alloc(NULL, l->n_targets + 1);
    if (!changed) return error_memory(err, "what adapters changed");
    memset(changed, 0, l->n_targets + 1);
    for (size_t i = 0; i < l->base->n_tensors; i++) {
        const LoraTensor *t = l->touched[i];
        for (const LoraOp *op = t ? t->first : NULL; op; op = op->next)
            if (op->target != LORA_NO_TARGET && t->changed) changed[op->target] = true;
    }
    size_t missing = 0, first = 0;
    for (size_t i = 0; i < l->n_targets; i++)
        if (!changed[i] && !missing++) first = i;
    mem_free(NULL, changed);
    if (!missing) return 0;
    return error_set(
        err, ERR_CHECK,
        "adapter %s: %zu of %zu targets come out as they were, the first is %s: their B is zero, or "
        "their change is lost in rounding; a merge that changes nothing is none",
        l->targets[first].adapter->path, missing, l->n_targets, l->targets[first].name);
}

int lora_finish(const Lora *l, unsigned threads, Error *err) {
    ThreadWork work = {finish_tensor, (void *)l};
    TRY(threads_run(threads, l->base->n_tensors, work, err));
    for (size_t i = 0; i < l->n_adapters; i++) {
        TRY(input_unchanged(l->adapters[i].file, err));
        if (l->adapters[i].config_file) TRY(input_unchanged(l->adapters[i].config_file, err));
    }
    return check_changed(l, err);
}

static LoraChange change_of(const LoraTensor *t) {
    double sum = (double)t->sum[1] + (double)t->sum[0] * 0x1p-64;
    uint64_t elements = tensor_elements(t->base);
    return (LoraChange){.name = t->base->name,
                        .elements = elements,
                        .changed = t->changed,
                        .max = f32_from_bits(t->max),
                        .mean = elements ? sum / (double)elements : 0};
}

int lora_changes(const Lora *l, LoraChange **list, size_t *count, Arena *arena, Error *err) {
    *count = 0;
    *list = arena_alloc(arena, l->n_touched, sizeof **list);
    if (!*list) return error_memory(err, "what adapters changed");
    for (size_t i = 0; i < l->base->n_tensors; i++)
        if (l->touched[i]) (*list)[(*count)++] = change_of(l->touched[i]);
    return 0;
}

LoraSummary lora_summary(const Lora *l) {
    LoraSummary s = {.n_tensors = l->n_touched, .max_name = ""};
    double sum = 0;
    for (size_t i = 0; i < l->base->n_tensors; i++) {
        if (!l->touched[i]) continue;
        LoraChange c = change_of(l->touched[i]);
        s.elements += c.elements;
        s.changed += c.changed;
        sum += c.mean * (double)c.elements;
        if (c.max <= s.max) continue;
        s.max = c.max;
        s.max_name = c.name;
    }
    s.mean = s.elements ? sum / (double)s.elements : 0;
    return s;
}
