/* cuda_runner.h -- the seam between the program and its CUDA part, a shared object that is opened at run
 * time.
 *
 * C on both sides, and no type of the program's: recast never links CUDA, and a recast_cuda.so of another
 * version is refused by its ABI number. The host keeps the embedding, the RoPE table and the token ids; the
 * device keeps matrices, norms and the KV cache. Bits are those of runner/ref/ (docs/arithmetic.md).
 *
 * Every function that can fail returns 0 or 1 and writes why into `error`, one line. */
#ifndef RECAST_RUNNER_CUDA_CUDA_RUNNER_H
#define RECAST_RUNNER_CUDA_CUDA_RUNNER_H

#include <stddef.h>
#include <stdint.h>

enum { RECAST_CUDA_ABI = 2, CUDA_ERROR_SIZE = 512, CUDA_MAX_EXPERTS = 1024 };
#define RECAST_CUDA_SYMBOL "recast_cuda_api"

/* What load() is given: matrices of a layer, then its norms, then what the model has once. */
typedef enum CudaSlot {
    CUDA_Q,
    CUDA_K,
    CUDA_V,
    CUDA_O,
    CUDA_ROUTER,
    CUDA_GATE, /* one expert at a time, as the next two */
    CUDA_UP,
    CUDA_DOWN,
    CUDA_MATRICES, /* how many a layer has */
    CUDA_ATTN_NORM = CUDA_MATRICES,
    CUDA_Q_NORM,
    CUDA_K_NORM,
    CUDA_FFN_NORM,
    CUDA_NORM, /* of the model; layer is ignored here and below */
    CUDA_HEAD
} CudaSlot;

enum { CUDA_KV_F32, CUDA_KV_F16, CUDA_KV_Q8_0 };
enum {
    CUDA_PLAIN = 1,   /* no graph, no early launches: to find out what is wrong */
    CUDA_UNMARKED = 2 /* kernels don't say that they began: to measure what saying so costs */
};

typedef struct CudaModel {
    uint32_t n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff_expert, n_experts, n_experts_used, n_vocab;
    float rms_eps;
    uint32_t norm_topk_prob;    /* 0 or 1 */
    uint32_t context;           /* positions to make room for */
    uint32_t kv;                /* CUDA_KV_F32 ... */
    uint32_t float_activations; /* 1: dequantize weights instead of quantizing what they meet */
    uint32_t flags;
    uint32_t head_type;
    const uint8_t (*types)[CUDA_MATRICES]; /* [n_layers], ids of GGUF; borrowed for the call */
} CudaModel;

typedef struct CudaPlan {
    uint64_t weights, kv, work; /* bytes on the device */
    uint32_t batch;             /* tokens that go through a layer together */
} CudaPlan;

typedef struct CudaDevice {
    char name[256];
    uint64_t total_bytes, free_bytes;
    int major, minor; /* compute capability */
} CudaDevice;

/* What greedy sampling asks of logits. */
typedef struct CudaBest {
    uint32_t token; /* of the largest logit, the lowest if there are several */
    float margin;   /* how far the second largest is below it */
    uint32_t bad;   /* the first that is NaN or infinite; UINT32_MAX: none */
} CudaBest;

typedef struct CudaBatch {
    const float *x;             /* [count][n_embd] rows of the embedding */
    const float *cosine, *sine; /* [count][head_dim / 2] */
    uint32_t count, first;      /* positions first .. first + count - 1 */
    float *logits;              /* [n_vocab] behind the last token; or NULL */
    CudaBest *best;             /* of these logits; or NULL */
    float *states;              /* [count][n_embd] what the head reads, for each token; or NULL */
    float *routes;              /* with states: [n_layers][count][n_experts] the router's logits; or NULL */
} CudaBatch;

/* The first layer and token with a NaN or an infinity in the residual stream. */
typedef struct CudaFault {
    uint32_t layer; /* from 1; 0: none */
    uint32_t token; /* index in the batch */
} CudaFault;

typedef struct CudaRunner CudaRunner;

typedef struct CudaApi {
    uint32_t abi;  /* RECAST_CUDA_ABI: read before anything else */
    uint32_t size; /* of this struct */
    /* The first device. Fails where there is no driver, no device or an older one than sm_80. */
    int (*probe)(CudaDevice *out, char *error);
    /* What open() will allocate; touches no device. Fails for a shape or a type that has no kernel. */
    int (*plan)(const CudaModel *model, CudaPlan *out, char *error);
    /* weights_of: a runner whose weights this one uses as well, its matrices and norms being the same;
     * nothing is loaded then, and either may be closed first. NULL: its own. */
    int (*open)(CudaRunner **out, const CudaModel *model, const CudaRunner *weights_of, char *error);
    /* Rows of a matrix (all of it, or all of one expert) as they stand in a file, or a norm as float32. */
    int (*load)(CudaRunner *r, CudaSlot slot, uint32_t layer, uint32_t expert, const void *data, char *error);
    /* Positions from `first` on are written anew; earlier ones must have been run. */
    int (*forward)(CudaRunner *r, const CudaBatch *batch, CudaFault *fault, char *error);
    /* logits [count][n_vocab] of states [count][n_embd]. */
    int (*head)(CudaRunner *r, const float *states, size_t count, float *logits, char *error);
    void (*close)(CudaRunner *r); /* NULL-safe */
} CudaApi;

typedef const CudaApi *(*CudaApiFunction)(void);

#endif
