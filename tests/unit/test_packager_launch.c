/* test_packager_launch.c -- what fits, in the figures of Qwen3-30B-A3B: 48 layers of 4 key-value heads of
 * 128, so 98,304 bytes of f16 cache a position (12 GiB at 131,072) and 52,224 of q8_0. */
#include "packager/launch.h"
#include "support.h"

#define GIB ((uint64_t)1 << 30)

enum { LAYERS = 48 };

/* A model of that shape whose tensors have `weights` bytes: experts of every layer, and a head. */
typedef struct Fixture {
    Model model;
    Tensor tensors[LAYERS + 1];
    Extent extents[LAYERS + 1];
    char names[LAYERS][40];
} Fixture;

static void shape(Fixture *f, uint64_t weights) {
    uint64_t one = weights / (LAYERS + 1) / 4 * 4;
    memset(f, 0, sizeof *f);
    for (int i = 0; i <= LAYERS; i++) {
        if (i < LAYERS) snprintf(f->names[i], sizeof f->names[i], "blk.%d.ffn_up_exps.weight", i);
        f->extents[i] = (Extent){.length = one};
        f->tensors[i] = (Tensor){.name = i < LAYERS ? f->names[i] : "output.weight",
                                 .type = DT_F32,
                                 .stored = DT_F32,
                                 .n_dims = 2,
                                 .dims = {one / 4, 1, 1, 1},
                                 .n_extents = 1,
                                 .extents = &f->extents[i]};
    }
    f->model = (Model){.form = FORM_GGUF, .n_tensors = LAYERS + 1, .tensors = f->tensors, .n_files = 1};
    f->model.params = (ModelParams){.n_layers = LAYERS,
                                    .n_kv_heads = 4,
                                    .n_heads = 32,
                                    .head_dim = 128,
                                    .n_experts = 128,
                                    .n_experts_used = 16,
                                    .n_vocab = 151936,
                                    .context = 131072};
}

static LaunchPlan plan(Fixture *f, uint64_t vram, uint32_t context) {
    LaunchPlan p = {.engine = ENGINE_LLAMA_CPP, .path = "m.gguf", .vram = vram, .context = context};
    Error err;
    cr_assert_eq(launch_plan(&p, &f->model, &err), 0, "%s", err.message);
    return p;
}

Test(launch, the_cache_follows_from_the_shape) {
    static Fixture f;
    shape(&f, 18600000000);
    LaunchPlan p = plan(&f, 0, 0);
    cr_expect_eq(p.kv_f16, 98304);
    cr_expect_eq(p.kv_q8_0, 52224);
    cr_expect_eq(p.kv_f16 * p.context, 12 * GIB);
    cr_expect(p.fits && p.cache == CACHE_F16 &&
              p.layers_on_gpu == LAYERS); /* nothing was said, nothing is judged */
}

/* Q4_K_M is 18.6 GB. 128k in f16 is about 30.5 GiB, in q8_0 about 25: known from the engines' own reports. */
Test(launch, q4_k_m_at_131072_positions) {
    static Fixture f;
    shape(&f, 18600000000);
    LaunchPlan p = plan(&f, 32 * GIB, 0);
    cr_expect(p.fits && p.cache == CACHE_F16);
    p = plan(&f, 30 * GIB, 0);
    cr_expect(p.fits && p.cache == CACHE_Q8_0);
    p = plan(&f, 24 * GIB, 0);
    cr_expect(!p.fits && p.cache == CACHE_Q8_0 && p.layers_on_gpu == LAYERS);
    cr_expect(p.expert_layers_on_cpu >= 1 && p.expert_layers_on_cpu <= 5, "%u", p.expert_layers_on_cpu);
    cr_expect(p.most_q8_0 > 100000 && p.most_q8_0 < 131072 && p.most_q8_0 % 256 == 0, "%llu",
              (unsigned long long)p.most_q8_0);
    p = plan(&f, 24 * GIB, 32768);
    cr_expect(p.fits && p.cache == CACHE_F16);
    p = plan(&f, 2 * GIB, 131072);
    cr_expect(!p.fits && p.expert_layers_on_cpu == LAYERS && p.layers_on_gpu < LAYERS);
}

Test(launch, a_dense_model_leaves_whole_layers_out) {
    static Fixture f;
    shape(&f, 18600000000);
    for (int i = 0; i < LAYERS; i++) snprintf(f.names[i], sizeof f.names[i], "blk.%d.ffn_up.weight", i);
    f.model.params.n_experts = f.model.params.n_experts_used = 0;
    LaunchPlan p = plan(&f, 20 * GIB, 0);
    cr_expect(!p.fits && p.expert_layers_on_cpu == 0);
    cr_expect(p.layers_on_gpu > 20 && p.layers_on_gpu < LAYERS, "%u", p.layers_on_gpu);
    p = plan(&f, 1 << 20, 0);
    cr_expect_eq(p.layers_on_gpu, 0);
}

Test(launch, what_can_not_be_planned) {
    static Fixture f;
    Error err;
    shape(&f, 1 << 20);
    LaunchPlan p = {.engine = ENGINE_VLLM, .path = "m.gguf"};
    cr_expect_eq(launch_plan(&p, &f.model, &err), ERR_USAGE);
    p = (LaunchPlan){.engine = ENGINE_OLLAMA, .path = "m.gguf", .context = 131073};
    cr_expect_eq(launch_plan(&p, &f.model, &err), ERR_USAGE);
    f.model.params.context = 0;
    p.context = 0;
    cr_expect_eq(launch_plan(&p, &f.model, &err), ERR_USAGE);
    /* an architecture whose shapes are not known still gets a script */
    f.model.params = (ModelParams){.context = 4096};
    p = plan(&f, 1 << 20, 0);
    cr_expect(!p.fits && p.layers_on_gpu == 0 && p.most_f16 == 0);
}

Test(launch, engines_have_names) {
    LaunchEngine e;
    for (int i = 0; i < ENGINE_COUNT; i++) {
        cr_assert(launch_engine_by_name(launch_engine_name((LaunchEngine)i), &e));
        cr_expect_eq((int)e, i);
    }
    cr_expect(!launch_engine_by_name("exllama", &e));
}
