/* forward.h -- the forward pass of Qwen3-MoE, to be read beside docs/arithmetic.md. */
#ifndef RECAST_RUNNER_REF_FORWARD_H
#define RECAST_RUNNER_REF_FORWARD_H

#include "runner/ref/kv.h"
#include "runner/ref/ops.h"

enum { REF_MAX_EXPERTS = 1024 };

/* The frequency table in force. */
typedef struct RopeTable {
    float *inv_freq;        /* [head_dim / 2] */
    float attention_factor; /* multiplies cosines and sines */
} RopeTable;

/* Room for a batch of tokens; T = batch, entries = T * n_experts_used. */
typedef struct Activations {
    uint32_t batch;
    float *x;             /* [T][n_embd] the residual stream */
    float *y;             /* [T][n_embd] its norm; what a block gives back */
    float *q;             /* [T][n_heads * head_dim] queries */
    float *k, *v;         /* [T][n_kv_heads * head_dim] */
    float *heads;         /* [T][n_heads * head_dim] attention's output */
    float *cosine, *sine; /* [T][head_dim / 2] */
    float *route;         /* [T][n_experts] router logits, then weights (-1: not chosen) */
    uint32_t *entry;      /* [entries] token of each (expert, token) pair, by expert, then token */
    float *entry_weight;  /* [entries] */
    float *gate, *up;     /* [entries][n_ff_expert] */
    float *down;          /* [entries][n_embd] */
    Product *products;    /* [2 * n_experts] */
} Activations;

/* How much of the router's probability the chosen experts hold, over tokens and layers. */
typedef struct RouteShare {
    uint64_t sum; /* in units of 2^-32: integers, so that the order of tokens and layers changes nothing */
    uint64_t count;
} RouteShare;

typedef struct RefState {
    const ModelParams *params;
    const Weights *weights;
    const RopeTable *rope;
    KvCache kv;
    Team team;
    Activations a;
    RouteShare *share; /* NULL: nobody asks */
} RefState;

/* Makes KV cache and working memory for options.context positions, which is not 0. Memory other than the
 * cache lives in the arena.
 */
int ref_open(RefState *out, const ModelParams *params, const Weights *weights, const RopeTable *rope,
             RunnerOptions options, Arena *arena, const Allocator *allocator, Error *err) MUST_CHECK;
void ref_close(RefState *s);
/* Adds a token of a layer, whose router gave these logits [n_experts]. */
void route_share_add(RouteShare *share, const float *logits, const ModelParams *p);
/* The bytes of working memory that ref_open will ask for, the cache excluded. quantized: are any weights?
 * false: more than this machine can address. */
bool ref_work_bytes(uint64_t *out, const ModelParams *p, bool quantized, RunnerOptions options);
/* Tokens at positions first .. first + count - 1 (all checked by the caller); logits [n_vocab] after the last
 * one. */
int ref_forward(RefState *s, const uint32_t *tokens, size_t count, uint32_t first, float *logits,
                Error *err) MUST_CHECK;
/* The same tokens, and for each of them what the head reads: states [count][n_embd], normed. */
int ref_states(RefState *s, const uint32_t *tokens, size_t count, uint32_t first, float *states,
               Error *err) MUST_CHECK;
/* Logits [count][n_vocab] of such states; position: of the first one, for messages. */
int ref_head(RefState *s, const float *states, size_t count, float *logits, uint32_t position,
             Error *err) MUST_CHECK;

#endif
