/* What a runner takes is said before, and is what it takes; and when it can't be had, what could. */
#include "model/checkpoint.h"
#include "model/views.h"
#include "retype_fixture.h"
#include "runner/ref/kv.h"
#include "tests/unit/fixture.h"

/* Counts what is asked for; an allocator that gives at most `limit` bytes at once. */
typedef struct Counter {
    Allocator allocator;
    size_t asked, limit;
} Counter;

static void *resize(void *context, void *pointer, size_t size) {
    Counter *c = context;
    if (size == 0) {
        mem_free(NULL, pointer);
        return NULL;
    }
    if (size > c->limit) return NULL;
    c->asked += size;
    return mem_resize(NULL, pointer, size);
}

static void counter_open(Counter *c, size_t limit) {
    *c = (Counter){.allocator = {resize, c}, .limit = limit};
}

static Model *open_tiny(void) {
    Model *m;
    Error err = {0};
    cr_assert_eq(checkpoint_open(&m, FIXTURE_TINY, NULL, &err), 0, "%s", err.message);
    return m;
}

/* Everything is counted but tables and the rests of arena blocks; nothing is counted twice. */
static void as_said(const Model *m, RunnerOptions options, bool views) {
    Error err = {0};
    Counter c;
    Runner *r;
    RunnerMemory said;
    cr_assert_eq(runner_memory(&said, m, options, NULL, &err), 0, "%s", err.message);
    counter_open(&c, SIZE_MAX);
    cr_assert_eq(runner_open(&r, m, options, &c.allocator, &err), 0, "%s", err.message);
    uint64_t sum = said.kv + said.work + said.read;
    cr_assert(c.asked >= sum, "%zu asked for, %llu said", c.asked, (unsigned long long)sum);
    cr_assert(c.asked - sum < 1 << 20, "%zu asked for, %llu said", c.asked, (unsigned long long)sum);
    cr_assert_eq(said.mapped < 3000000, views); /* computed rows are read, not mapped */
    runner_close(r);
}

Test(runner_memory, as_said) {
    Error err = {0};
    Model *m = open_tiny(), *names, *q8;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0);
    as_said(names, (RunnerOptions){.threads = 1}, false);
    as_said(names, (RunnerOptions){.context = 20000, .kv = KV_F16, .threads = 3}, false);
    cr_assert_eq(retype_as(&q8, names, DT_Q8_0, NULL, &err), 0);
    as_said(q8, (RunnerOptions){.threads = 2}, true);
    as_said(q8, (RunnerOptions){.threads = 2, .activations = ACTIVATIONS_F32}, true);
    model_close(q8);
    model_close(names);
    model_close(m);
}

/* Either form of a model says the same. */
Test(runner_memory, figures) {
    Model *m = open_tiny(), *names;
    Error err = {0};
    RunnerMemory a, b;
    const ModelParams *p = &m->params;
    uint64_t elements = 2 * (uint64_t)p->n_layers * p->n_kv_heads * p->head_dim;
    cr_assert_eq(gguf_names_open(&names, m, &(GgufNamesOptions){0}, NULL, &err), 0);
    for (uint64_t bytes = 2; bytes <= 4; bytes += 2) {
        RunnerOptions options = {.context = 1000, .kv = bytes == 4 ? KV_F32 : KV_F16};
        cr_assert_eq(runner_memory(&a, m, options, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(runner_memory(&b, names, options, NULL, &err), 0, "%s", err.message);
        cr_assert_eq(a.kv, 1000 * elements * bytes);
        cr_assert(a.kv == b.kv && a.mapped == b.mapped && a.read == b.read && a.work == b.work);
    }
    model_close(names);
    model_close(m);
}

/* The largest piece that is given is 10 MB: each half of the cache may have as much. */
Test(runner_memory, what_would_fit) {
    const ModelParams p = {.n_layers = 2, .n_kv_heads = 2, .head_dim = 32};
    ModelParams odd = p;
    Counter c;
    KvCache kv;
    Error err = {0};
    counter_open(&c, 10000000);
    cr_assert_eq(kv_open(&kv, &p, 1000000, KV_F16, &c.allocator, &err), ERR_MEMORY);
    cr_assert_str_eq(err.message,
                     "no memory for a KV cache of 512000000 bytes (1000000 positions in f16); a context "
                     "of up to 39062 would fit, and of up to 73529 with the cache in q8_0");
    cr_assert_eq(kv_open(&kv, &p, 39062, KV_F16, &c.allocator, &err), 0, "what it says is true");
    kv_close(&kv);
    cr_assert_eq(kv_open(&kv, &p, 39063, KV_F16, &c.allocator, &err), ERR_MEMORY);
    cr_assert_eq(kv_open(&kv, &p, 73529, KV_Q8_0, &c.allocator, &err), 0);
    kv_close(&kv);
    cr_assert_eq(kv_open(&kv, &p, UINT32_MAX, KV_Q8_0, &c.allocator, &err), ERR_MEMORY);
    cr_assert(strstr(err.message, "up to 73529 would fit") && !strstr(err.message, "with the cache"), "%s",
              err.message);
    odd.head_dim = 16; /* no blocks of 32 */
    cr_assert_eq(kv_open(&kv, &odd, UINT32_MAX, KV_F32, &c.allocator, &err), ERR_MEMORY);
    cr_assert(strstr(err.message, "up to 39062 would fit") && !strstr(err.message, "q8_0"), "%s",
              err.message);
}
