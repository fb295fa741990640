/* penalty.c -- see penalty.h. Plain float32, each operation rounded once, in the order of vLLM: repetition,
 * then frequency, then presence; so the bits are the same everywhere. */
#include "runner/penalty.h"
#include <math.h>
#include <string.h>

struct Penalty {
    PenaltyOptions options;
    uint32_t n_vocab;
    const Allocator *allocator;
    float *logits;    /* [n_vocab]: the answer of penalty_apply */
    uint32_t *counts; /* [n_vocab]: times said in the answer */
    bool *seen;       /* [n_vocab]: in prompt or answer */
};

bool penalty_wanted(const PenaltyOptions *o) {
    return (o->repeat != 0 && o->repeat != 1) || o->presence != 0 || o->frequency != 0;
}

static int check(const PenaltyOptions *o, Error *err) {
    if (!(o->repeat >= 0) || isinf(o->repeat))
        return error_set(err, ERR_USAGE, "the repetition penalty is %g, expected a number above 0 (1 is off)",
                         (double)o->repeat);
    if (!isfinite(o->presence))
        return error_set(err, ERR_USAGE, "the presence penalty is %g, expected a finite number",
                         (double)o->presence);
    if (!isfinite(o->frequency))
        return error_set(err, ERR_USAGE, "the frequency penalty is %g, expected a finite number",
                         (double)o->frequency);
    return 0;
}

/* n zeroed items, or NULL. */
static void *zeros(const Allocator *allocator, size_t n, size_t size) {
    size_t bytes;
    if (!size_mul(&bytes, n, size)) return NULL;
    void *p = mem_alloc(allocator, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

int penalty_open(Penalty **out, PenaltyOptions options, uint32_t n_vocab, const Allocator *allocator,
                 Error *err) {
    TRY(check(&options, err));
    Penalty *p = mem_alloc(allocator, sizeof *p);
    if (!p) return error_memory(err, "the penalties");
    if (options.repeat == 0) options.repeat = 1;
    *p = (Penalty){.options = options, .n_vocab = n_vocab, .allocator = allocator};
    p->logits = zeros(allocator, n_vocab, sizeof *p->logits);
    p->counts = zeros(allocator, n_vocab, sizeof *p->counts);
    p->seen = zeros(allocator, n_vocab, sizeof *p->seen);
    if (!p->logits || !p->counts || !p->seen) {
        penalty_close(p);
        return error_memory(err, "the penalties");
    }
    *out = p;
    return 0;
}

void penalty_close(Penalty *p) {
    if (!p) return;
    mem_free(p->allocator, p->logits);
    mem_free(p->allocator, p->counts);
    mem_free(p->allocator, p->seen);
    mem_free(p->allocator, p);
}

void penalty_note(Penalty *p, uint32_t token, bool answer) {
    if (token >= p->n_vocab) return;
    p->seen[token] = true;
    if (answer && p->counts[token] < UINT32_MAX) p->counts[token]++;
}

const float *penalty_apply(Penalty *p, const float *logits) {
    const PenaltyOptions *o = &p->options;
    for (uint32_t i = 0; i < p->n_vocab; i++) {
        float x = logits[i];
        if (p->seen[i]) x = x > 0 ? x / o->repeat : x * o->repeat;
        if (p->counts[i]) {
            x -= o->frequency * (float)p->counts[i];
            x -= o->presence;
        }
        p->logits[i] = x;
    }
    return p->logits;
}
