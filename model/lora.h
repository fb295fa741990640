/* lora.h -- adapters on top of a checkpoint: W + s * B * A, computed when rows are read.
 *
 * lora_open gives a view: the tensors that an adapter changes get one row transform, all others stay the
 * extents that they were, and nothing is computed until somebody reads. Adapters are PEFT's (a directory with
 * adapter_config.json and adapter_model.safetensors). What is computed, in which order and how it is rounded
 * is docs/lora.md; the bits depend neither on the processor nor on the number of threads.
 *
 * Experts have their classic names in every checkpoint model, so an adapter for fused experts
 * (target_parameters) fits a checkpoint that holds them one by one, and the other way round. */
#ifndef RECAST_MODEL_LORA_H
#define RECAST_MODEL_LORA_H

#include "core/sha256.h"
#include "model/model.h"

/* LORA_ONCE: all adapters are added in float32 and the sum is rounded once to the tensor's type. LORA_PEFT:
 * what PEFT's merge_and_unload stores: each adapter's sum is rounded, and a change of experts, of other
 * parameters of target_parameters and of embeddings is rounded before it is added. */
typedef enum LoraRounding { LORA_ONCE, LORA_PEFT } LoraRounding;
/* How B of fused experts is packed. LORA_LAYOUT_PEFT: column j * E + e is rank j of expert e; the side that
 * is "in" is told by shapes and, where they don't, by peft_version. LORA_LAYOUT_PEFT_0_18: PEFT 0.18's, in
 * and out exchanged. LORA_LAYOUT_UNSLOTH: column e * r + j (Unsloth until 2026-09). */
typedef enum LoraLayout { LORA_LAYOUT_PEFT, LORA_LAYOUT_PEFT_0_18, LORA_LAYOUT_UNSLOTH } LoraLayout;

/* The names that recipes have: "once", "peft"; "peft", "peft-0.18", "unsloth-legacy". */
const char *lora_rounding_name(LoraRounding r);
bool lora_rounding_by_name(LoraRounding *out, const char *name);
const char *lora_layout_name(LoraLayout l);
bool lora_layout_by_name(LoraLayout *out, const char *name);

#define LORA_CONFIG_FILE  "adapter_config.json"
#define LORA_WEIGHTS_FILE "adapter_model.safetensors"

typedef struct LoraSpec {
    const char *path; /* a directory */
    double scale;     /* times what alpha and rank say; not 0 */
    LoraRounding rounding;
    LoraLayout layout;
    /* Of both files if they are known already; NULL: they are hashed (all of the adapter is read). */
    const char *config_sha256, *weights_sha256;
} LoraSpec;

/* What was merged of one adapter. */
typedef struct LoraAdapterInfo {
    const char *name; /* the directory's last component; for messages */
    char config_sha256[SHA256_HEX], weights_sha256[SHA256_HEX];
    double scale;
    LoraRounding rounding;
    LoraLayout layout;
    size_t n_pairs;     /* A and B that belong together; all of them are applied */
    size_t n_replaced;  /* whole tensors that take the place of the base's */
    size_t n_tensors;   /* of the base, one an expert, that it changes */
    const char *unread; /* "target_modules" or "exclude_modules", if that is "all-linear" or an expression
                           which this version can't read: then nobody has checked that every module it asks
                           for has its pair, and no other. NULL: all was checked */
} LoraAdapterInfo;

/* That in a sentence, for a report. */
#define LORA_UNREAD_TEXT                                                                                   \
    "%s is no list and no expression that this version can read, so it was not checked that every module " \
    "which it asks for has its pair: compare the number of pairs with what was trained"

/* What a tensor's rows became, counted while they were read. */
typedef struct LoraChange {
    const char *name;
    uint64_t elements, changed; /* changed: to another value */
    float max;                  /* largest |new - old| */
    double mean;                /* of |new - old| over all elements */
} LoraChange;

/* base: FORM_HF; every tensor that an adapter names must have a float type. specs are needed only during the
 * call, base as long as the view. Errors, each with its reason: ERR_UNSUPPORTED (a GGUF base, .bin adapters,
 * kinds of adapters that can't be merged, tied embeddings), ERR_FORMAT (a key that matches no tensor, a
 * target without a pair, half a pair, shapes, ranks, duplicates, truncated files), ERR_LIMIT, ERR_IO.
 * Non-finite values are found when rows are read: ERR_NUMERIC. */
int lora_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs,
              const Allocator *allocator, Error *err) MUST_CHECK;

/* For running a model with adapters that stay beside it: base of either form, of any types that
 * core/quantize.h reads; adapters also as llama.cpp's GGUFs (lora_gguf.h). Tensors that change keep a float
 * type, quantized ones become F32. Of a GGUF base, tensors of a known family. */
int lora_beside_open(Model **out, const Model *base, const LoraSpec *specs, size_t n_specs,
                     const Allocator *allocator, Error *err) MUST_CHECK;

/* Lora: Model.lora of the view and of the views above it. */
size_t lora_adapters(const Lora *l, const LoraAdapterInfo **list);
/* How many tensors change. */
size_t lora_tensors(const Lora *l);
/* Reads the rows that nobody has read yet, and checks that the adapter's files are what they were and that
 * every target was changed. ERR_CHECK names the target that was not. threads 0: one a processor. */
int lora_finish(const Lora *l, unsigned threads, Error *err) MUST_CHECK;
/* After lora_finish: all tensors that change together. */
typedef struct LoraSummary {
    size_t n_tensors;
    uint64_t elements, changed;
    float max; /* largest |new - old| */
    const char *max_name;
    double mean; /* of |new - old| over all elements of these tensors */
} LoraSummary;
LoraSummary lora_summary(const Lora *l);
/* After lora_finish; the list is in the arena, in the base's order. */
int lora_changes(const Lora *l, LoraChange **list, size_t *count, Arena *arena, Error *err) MUST_CHECK;

#endif
