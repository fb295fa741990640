/* lora_private.h -- what the files of the lora view share (lora*.c only).
 *
 * An adapter is read (lora_adapter.c, its configuration lora_config.c), its keys are matched with the base's
 * tensors and become operations on them (lora_map.c), and operations are carried out on rows (lora_apply.c)
 * with parts of A and B that are read when needed (lora_factor.c). */
#ifndef RECAST_MODEL_LORA_PRIVATE_H
#define RECAST_MODEL_LORA_PRIVATE_H

#include "model/lora.h"
#include "model/lora_kernel.h"
#include "model/safetensors.h"
#include <pthread.h>

/* ---- adapter_config.json (lora_config.c) ---- */

typedef struct LoraConfig {
    uint32_t rank;
    double alpha;
    bool rslora, dora, bias; /* bias: adapter holds biases of the base */
    bool lora_bias;          /* pairs have a bias of B */
    bool peft_0_18;          /* peft_version is 0.18.x */
    const cJSON *target_modules, *exclude_modules, *target_parameters, *modules_to_save, *layers;
    const cJSON *rank_pattern, *alpha_pattern, *tokens; /* NULL if absent */
    cJSON *json;
} LoraConfig;

/* Refuses what can't be merged, by key and reason. Caller deletes json, after an error too. */
int lora_config_read(LoraConfig *out, const char *text, size_t length, const char *name,
                     Error *err) MUST_CHECK;
/* Rank and alpha of a module: the first pattern that matches, else the common value. ERR_UNSUPPORTED for a
 * pattern that can't be read. */
int lora_config_rank(uint32_t *out, const LoraConfig *c, const char *module, Error *err) MUST_CHECK;
int lora_config_alpha(double *out, const LoraConfig *c, const char *module, Error *err) MUST_CHECK;

/* target_modules and the like: a list of names (of whole modules or their ends), or one regular expression.
 */
typedef struct LoraNames LoraNames;
/* *out is NULL if there is nothing to match, or (*unread) an expression that this version can't read, or
 * "all-linear". */
int lora_names_open(LoraNames **out, const cJSON *item, bool *unread, Error *err) MUST_CHECK;
void lora_names_close(LoraNames *n); /* NULL-safe */
bool lora_names_match(const LoraNames *n, const char *module);
/* Does the list (an array of strings) name the parameter or module? */
bool lora_listed(const cJSON *list, const char *module);
/* Does modules_to_save name it? As PEFT has it, a name is any end of a path: "norm" is "input_layernorm" too.
 */
bool lora_saved(const LoraConfig *c, const char *module);
/* Do the first `length` bytes of module end in name? */
bool lora_ends(const char *module, size_t length, const char *name);
/* Is the module in a layer that layers_to_transform leaves out? */
bool lora_layer_left_out(const LoraConfig *c, const char *module);

/* ---- one adapter (lora_adapter.c) ---- */

typedef enum LoraPart {
    LORA_A,
    LORA_B,
    LORA_EMBEDDING_A,
    LORA_EMBEDDING_B,
    LORA_B_BIAS,
    LORA_MAGNITUDE,
    LORA_BASE,   /* "base_layer.weight": the base's own tensor, saved beside a pair */
    LORA_TOKENS, /* token_adapter.trainable_tokens_delta */
    LORA_WEIGHT, /* a plain tensor */
    LORA_BIAS,
    LORA_PARTS
} LoraPart;

typedef struct LoraModule {
    const char *path; /* "model.layers.0.self_attn.q_proj" */
    const SafetensorsEntry *parts[LORA_PARTS];
    bool used;
} LoraModule;

typedef struct LoraAdapter {
    LoraAdapterInfo info;
    const char *path; /* as given */
    Input *config_file, *file;
    LoraConfig config;
    SafetensorsHeader header;
    size_t n_modules;
    LoraModule *modules;
    Table *by_path; /* to modules */
    size_t index;   /* of the spec */
    Model *gguf;    /* where it is llama.cpp's file: owns `file`; NULL: PEFT's directory */
} LoraAdapter;

/* Opens, parses and (where the spec does not know the hashes) hashes both files. Closed by
 * lora_adapter_close, after an error too. */
int lora_adapter_open(LoraAdapter *out, const LoraSpec *spec, Arena *arena, Arena *scratch,
                      const Allocator *allocator, Error *err) MUST_CHECK;
void lora_adapter_close(LoraAdapter *a);
/* The same for an adapter GGUF (lora_gguf_read.c); family and parameters are the base's. */
int lora_adapter_open_gguf(LoraAdapter *out, const LoraSpec *spec, const Model *base, Arena *arena,
                           const Allocator *allocator, Error *err) MUST_CHECK;
LoraModule *lora_find_module(const LoraAdapter *a, const char *path);

/* ---- factors (lora_factor.c) ---- */

/* B of fused experts, regrouped to [E][outer][rank] in its own type. */
typedef struct LoraSlab {
    const LoraAdapter *adapter;
    const SafetensorsEntry *entry; /* [outer][E * rank] */
    uint32_t n_experts, rank;
    bool expert_slowest; /* column e * rank + j; else j * E + e */
    uint8_t *bytes;      /* NULL: not there at the moment */
    unsigned users;
    uint64_t last_use;
    bool loading;
} LoraSlab;

/* One side of a product: values (x, k), k below the rank, where they lie. */
typedef struct LoraFactor {
    const LoraAdapter *adapter;
    const SafetensorsEntry *entry;
    LoraSlab *slab; /* NULL: in the file */
    bool k_fastest; /* (x, k) at base + x * rank + k; else at base + k * width + x */
    uint64_t base;  /* elements, from the start of the entry or slab */
    uint64_t width; /* values of one k, where x is fastest */
    uint64_t first; /* x of this side's first value */
} LoraFactor;

/* ---- operations (lora_map.c) ---- */

typedef enum LoraOpKind {
    LORA_OP_ADD,     /* + s * B A */
    LORA_OP_DORA,    /* m / |W + s B A| * (... + s B A) */
    LORA_OP_VECTOR,  /* + s * vector: a bias */
    LORA_OP_REPLACE, /* the whole tensor is the adapter's */
    LORA_OP_ROWS     /* some rows are the adapter's */
} LoraOpKind;

typedef struct LoraOp {
    struct LoraOp *next;
    LoraOpKind kind;
    const LoraAdapter *adapter;
    uint32_t rank;
    float scale;
    bool
        wrapped; /* an embedding or a parameter that PEFT wraps: with LORA_PEFT its change is rounded first */
    LoraFactor rows, columns;      /* B and A as W's rows and columns see them */
    const SafetensorsEntry *entry; /* magnitude, vector, whole tensor, new rows */
    uint64_t n_ids;
    const uint32_t *ids; /* sorted; the row of W that row places[i] of entry becomes */
    const uint32_t *places;
    size_t target; /* LORA_NO_TARGET: it may stay as it is */
} LoraOp;

#define LORA_NO_TARGET SIZE_MAX

/* A tensor that changes, and what its rows became. */
typedef struct LoraTensor {
    Lora *lora;
    const Tensor *base;
    LoraOp *first, *last;
    uint64_t *seen; /* a bit a row */
    uint64_t rows_seen;
    uint64_t changed; /* elements */
    uint32_t max;     /* bits */
    uint64_t sum[2];  /* of |new - old| in 2^-64, low and high word: order can't matter */
} LoraTensor;

/* What one pair (or, of experts, all pairs of a layer and projection) is meant to change. */
typedef struct LoraTarget {
    const char *name;
    const LoraAdapter *adapter;
} LoraTarget;

struct Lora {
    Model model; /* first, so that a Model can be taken for what it is part of */
    const Model *base;
    const Allocator *allocator;
    size_t n_adapters;
    LoraAdapter *adapters;
    LoraAdapterInfo *infos;
    LoraTensor **touched; /* a base tensor's index -> what happens to it; NULL: nothing */
    size_t n_touched;
    size_t n_targets, targets_capacity;
    LoraTarget *targets;
    Table *target_names;
    LoraSlab **slabs;
    size_t n_slabs, slabs_capacity;
    uint64_t slab_bytes, clock;
    const LoraKernel *kernel;
    pthread_mutex_t lock; /* guards statistics and slabs */
    pthread_cond_t loaded;
    bool synchronized; /* lock and loaded are there */
    bool beside;       /* lora_beside_open's: quantized tensors and adapter GGUFs are taken */
};

/* lora_open, with `beside`. */
int lora_view_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs, bool beside,
                   const Allocator *allocator, Error *err) MUST_CHECK;
/* A tensor that nothing may have changed yet; NULL: no memory. */
LoraTensor *lora_touch(Lora *l, const Tensor *t);
/* The transform that carries out what happens to a tensor. */
RowTransform lora_transform(LoraTensor *t);

/* One adapter meeting the base (lora_map.c, lora_check.c). */
typedef struct LoraMapping {
    Lora *lora;
    LoraAdapter *adapter;
    Arena *arena;
    bool tied; /* embedding and head are one tensor */
    Error *err;
} LoraMapping;
/* Does target_parameters name this parameter of the module? PEFT changes such a one in two steps. */
bool lora_is_wrapped(const LoraMapping *m, const char *path, const char *parameter);
/* Does a module's path end as that of all experts of a layer? */
bool lora_is_fused_path(const char *path);
/* After all keys were matched: is everything there that the configuration asks for? Sets the adapter's
 * info.unread. */
int lora_check_config(const LoraMapping *m) MUST_CHECK;

/* Matches all keys of an adapter with the base and adds its operations. */
int lora_map(Lora *l, LoraAdapter *a, Error *err) MUST_CHECK;

/* A copy of columns 0 .. n of a factor, as LoraDelta has A. buffer: lora_panels_size floats. */
size_t lora_panels_size(uint32_t rank, uint64_t columns);
int lora_load_columns(Lora *l, float *out, const LoraFactor *f, uint32_t rank, uint64_t columns,
                      Error *err) MUST_CHECK;
/* Rows first .. first + n: out[n][rank]. */
int lora_load_rows(Lora *l, float *out, const LoraFactor *f, uint32_t rank, uint64_t first, uint64_t n,
                   Error *err) MUST_CHECK;
/* n elements of an entry from `first` on, as float32. */
int lora_load(float *out, const LoraAdapter *a, const SafetensorsEntry *e, uint64_t first, uint64_t n,
              Error *err) MUST_CHECK;
/* One slab for an entry however many experts use it. */
int lora_slab(LoraSlab **out, Lora *l, const LoraAdapter *a, const SafetensorsEntry *e, uint32_t n_experts,
              uint32_t rank, bool expert_slowest, Error *err) MUST_CHECK;
void lora_slabs_free(Lora *l);

/* RowTransform.apply of a tensor that changes; context: its LoraTensor. (lora_apply.c) */
int lora_apply(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
               const void *in, void *out, Error *err);

#endif
