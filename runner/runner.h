/* runner.h -- the forward pass of a model: tokens in, logits out.
 *
 * Strict arithmetic (docs/arithmetic.md): the same model, tokens and options give the same bits of logits on
 * every machine. This is the readable reference (ref/); faster backends must equal it bit for bit. Takes a
 * model in either form (a Hugging Face one is shown through the gguf-names view), with weights of any type
 * that core/quantize.h knows. */
#ifndef RECAST_RUNNER_RUNNER_H
#define RECAST_RUNNER_RUNNER_H

#include "model/model.h"

typedef enum KvType { KV_F32, KV_F16, KV_Q8_0 } KvType;
/* What quantized weights meet: activations quantized in blocks of 32, or float32 ones, for which the weights
 * are dequantized. Float weights always meet float32. */
typedef enum ActivationType { ACTIVATIONS_Q8, ACTIVATIONS_F32 } ActivationType;
/* Who computes; the bits are the same. AUTO: a GPU if there is one that can take the model, else the
 * processor. */
typedef enum DeviceKind { DEVICE_CPU, DEVICE_AUTO, DEVICE_CUDA } DeviceKind;

typedef struct RunnerOptions {
    uint32_t context; /* positions to make room for; 0: the model's context length */
    KvType kv;
    ActivationType activations;
    uint32_t rope_length; /* `dynamic`: fixed length of the frequency table; 0: the native context, which then
                             is the limit */
    unsigned threads;     /* 0: one a processor */
    DeviceKind device;
    const char
        *device_library; /* absolute path of the CUDA part; NULL: beside the executable or its libdir */
    bool device_plain;   /* without CUDA graphs: to find out what is wrong */
    bool
        device_unmarked; /* kernels don't say that they began, so a late error has no name: for bench/gpu.c */
    const struct Runner *weights_of; /* NULL, or a runner of the same tensors (of other parameters, say): on a
                                        GPU both use one copy. Where they differ it says nothing */
} RunnerOptions;

typedef struct Runner Runner;

/* Checks tensors and shapes, maps the files, makes the RoPE table and the KV cache. model must outlive the
 * runner. Errors: ERR_UNSUPPORTED (family, weight type, rope type), ERR_FORMAT (missing tensor, wrong shape:
 * expected and found), ERR_MEMORY with the size asked for, ERR_LIMIT. */
int runner_open(Runner **out, const Model *model, RunnerOptions options, const Allocator *allocator,
                Error *err) MUST_CHECK;
void runner_close(Runner *r); /* NULL-safe */

const ModelParams *runner_params(const Runner *r);
const char *runner_arithmetic(const Runner *r); /* "recast-arithmetic-1/f32 activations/kv f32" */
unsigned runner_threads(const Runner *r);       /* as asked for: 0 is one a processor */
const char *runner_device(const Runner *r);     /* "cpu", or the GPU's name and "(cuda)" */
/* Why DEVICE_AUTO passed over a GPU that is there; "" if it did not. */
const char *runner_device_note(const Runner *r);
uint32_t runner_position(const Runner *r); /* tokens in the KV cache */
uint32_t runner_context(const Runner *r);  /* positions there is room for */
void runner_reset(Runner *r);              /* forget all tokens */
/* Keeps the first `position` tokens and forgets those behind them; what follows has the bits of a run from
 * the start. Nothing happens if there are no more. After a failed forward pass everything is forgotten. */
void runner_rewind(Runner *r, uint32_t position);
/* Forgets all tokens and makes the frequency table that `dynamic` has for a sequence of `length` tokens,
 * which then is the limit (the native context, if that is larger); 0: as the options say. Other rope types
 * have one table, and this only resets. */
int runner_set_rope_length(Runner *r, uint32_t length, Error *err) MUST_CHECK;
/* Appends tokens to the sequence and computes the logits that follow the last one. Errors: ERR_LIMIT (context
 * full, or beyond the native length with `dynamic`), ERR_USAGE (token id out of range, no tokens),
 * ERR_NUMERIC (non-finite logits: layer and token), ERR_INTERRUPTED. After an error the runner must be reset.
 */
int runner_forward(Runner *r, const uint32_t *tokens, size_t count, Error *err) MUST_CHECK;
/* n_vocab floats after the last token of runner_forward; borrowed, valid until the next call */
const float *runner_logits(const Runner *r);
/* sample_greedy of these logits; a GPU has found it already. */
uint32_t runner_best(const Runner *r, float *margin);

/* ---- logits after every token, for evaluation ---- */

/* Appends tokens as runner_forward does, and gives for each of them what the head reads: states
 * [count][n_embd]. All tokens go through one layer before the next, so that each weight is read once however
 * large the model. */
int runner_states(Runner *r, const uint32_t *tokens, size_t count, float *states, Error *err) MUST_CHECK;
/* From now on, how much of the router's probability the chosen experts hold is noted; the mean so far, over
 * tokens and layers (0 before the first). */
void runner_note_route(Runner *r);
double runner_route_share(const Runner *r);
/* The logits [count][n_vocab] of `count` states. The bits are those of runner_forward, token by token. */
int runner_head(Runner *r, const float *states, size_t count, float *logits, Error *err) MUST_CHECK;

/* "auto", "cpu", "cuda" */
bool device_by_name(DeviceKind *out, const char *name);
/* "f32", "f16", "q8_0" */
const char *kv_type_name(KvType type);
bool kv_type_by_name(KvType *out, const char *name);

/* What running a model takes, in bytes, said before anything is allocated. */
typedef struct RunnerMemory {
    uint64_t mapped; /* weights, where the files are mapped: the system may drop these pages at any time */
    uint64_t read;   /* weights that have to be read into memory */
    uint64_t kv;     /* the KV cache of the whole context */
    uint64_t work;   /* everything else: activations, logits, threads' memory */
} RunnerMemory;
/* For these options (context 0: the model's). Errors: those of runner_open, but nothing is allocated. */
int runner_memory(RunnerMemory *out, const Model *model, RunnerOptions options, const Allocator *allocator,
                  Error *err) MUST_CHECK;
/* The bytes of the KV cache for a context, before allocating it. false on overflow. */
bool runner_kv_bytes(const ModelParams *p, uint32_t context, KvType kv, uint64_t *bytes);

/* What running a model on the first GPU takes, in bytes, said before anything is allocated there. */
typedef struct DeviceMemory {
    char name[264];             /* as runner_device says it */
    uint64_t weights, kv, work; /* on the device; without weights_of */
    uint64_t free_bytes;        /* of the device, now */
    uint64_t host_work;         /* on the host, beside RunnerMemory's `mapped` and `read` */
} DeviceMemory;
/* For these options (context 0: the model's; `device` is not looked at). model NULL: only which GPU there is
 * and what is free. Errors: ERR_DEVICE (no library, no driver, no device), ERR_MEMORY (more than is free;
 * with what would fit), ERR_UNSUPPORTED, those of runner_memory. */
int runner_device_memory(DeviceMemory *out, const Model *model, RunnerOptions options,
                         const Allocator *allocator, Error *err) MUST_CHECK;

#endif
