/* test_model_proof.c -- hashes of files and tensors, and the weights digest in every form of the same model.
 *
 * The literals come from an independent program (Python, numpy) that follows docs/weights-digest.md, and from
 * sha256sum. */
#include "model/proof.h"

#include "fixture.h"
#include "model/checkpoint.h"
#include "model/family.h"
#include "model/gguf.h"
#include "model/narrow.h"
#include "model/views.h"
#include "retype_fixture.h"
#include <fcntl.h>

static const char tiny_digest[] = "be974b7483e75be19e66256c857e600cc3f6ef5f1cae5a6135690b52fb2bc4bb";

static FixturePath dir;
static Model *m;
static Error e;
static char hex[SHA256_HEX];

static void setup(void) {
    fixture_dir(dir);
}

static void teardown(void) {
    model_close(m);
    fixture_remove(dir);
}

#define PROOF(name) Test(model_proof, name, .init = setup, .fini = teardown)

static void digest_is(const char *expected) {
    for (unsigned threads = 1; threads <= 3; threads++) {
        cr_assert_eq(weights_digest(hex, m, threads, NULL, &e), 0, "%s", e.message);
        cr_assert_str_eq(hex, expected);
    }
}

static void open_dir(void) {
    cr_assert_eq(checkpoint_open(&m, dir, NULL, &e), 0, "%s", e.message);
}

/* ---- one digest for every form ---- */

PROOF(bundled_model) {
    cr_assert_eq(checkpoint_open(&m, FIXTURE_TINY, NULL, &e), 0, "%s", e.message);
    digest_is(tiny_digest);
}

/* Rows of a tensor as bf16 bits, widened to float32 if asked for. */
static void append_rows(Buffer *out, const Tensor *t, bool wide) {
    uint64_t n = tensor_elements(t);
    uint16_t *bits = malloc(2 * (size_t)n);
    cr_assert_not_null(bits);
    cr_assert_eq(model_read(t, 0, tensor_rows(t), bits, &e), 0, "%s", e.message);
    for (uint64_t i = 0; i < n; i++) {
        if (wide) buffer_u16(out, 0);
        buffer_u16(out, bits[i]);
    }
    free(bits);
}

/* The bundled model in one float32 file, its experts fused. */
static void write_fused_float32(const Model *tiny) {
    FixtureShard s;
    fixture_shard_begin(&s);
    for (size_t i = 0; i < tiny->n_tensors; i++) {
        const Tensor *t = &tiny->tensors[i];
        if (strstr(t->name, ".experts.")) continue;
        Buffer rows;
        buffer_init(&rows, NULL);
        append_rows(&rows, t, true);
        uint64_t shape[2] = {t->n_dims == 2 ? t->dims[1] : t->dims[0], t->dims[0]};
        fixture_shard_add(&s, t->name, DT_F32, t->n_dims, shape, rows.data, rows.length);
        buffer_free(&rows);
    }
    for (int layer = 0; layer < 2; layer++) {
        Buffer gate_up, down;
        char name[128];
        buffer_init(&gate_up, NULL);
        buffer_init(&down, NULL);
        for (int expert = 0; expert < 128; expert++) {
            static const char *const parts[] = {"gate", "up", "down"};
            for (int part = 0; part < 3; part++) {
                snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s_proj.weight", layer, expert,
                         parts[part]);
                append_rows(part < 2 ? &gate_up : &down, model_find(tiny, name), true);
            }
        }
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.gate_up_proj", layer);
        fixture_shard_add(&s, name, DT_F32, 3, (uint64_t[]){128, 64, 64}, gate_up.data, gate_up.length);
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.down_proj", layer);
        fixture_shard_add(&s, name, DT_F32, 3, (uint64_t[]){128, 64, 32}, down.data, down.length);
        buffer_free(&gate_up);
        buffer_free(&down);
    }
    fixture_shard_write(&s, dir, "model.safetensors");
}

PROOF(fused_float32_copy) {
    Model *tiny;
    cr_assert_eq(checkpoint_open(&tiny, FIXTURE_TINY, NULL, &e), 0);
    fixture_copy(FIXTURE_TINY, dir, "config.json");
    write_fused_float32(tiny);
    model_close(tiny);
    open_dir();
    digest_is(tiny_digest);
}

static void kv_u32(Buffer *b, const char *key, uint32_t value) {
    buffer_u64(b, strlen(key));
    buffer_text(b, key);
    buffer_u32(b, GGUF_U32);
    buffer_u32(b, value);
}

/* The bundled model as a GGUF file with stacked experts; norms and router in float32, the rest bf16. */
static void write_gguf(const Model *tiny, Buffer *b, bool break_a_value) {
    const char architecture[] = "qwen3moe";
    const ModelParams *p = &tiny->params;
    size_t n = tiny->family->n_tensors(p);
    uint64_t offset = 0;
    buffer_text(b, "GGUF");
    buffer_u32(b, 3), buffer_u64(b, n), buffer_u64(b, 13);
    buffer_u64(b, 20), buffer_text(b, "general.architecture"), buffer_u32(b, GGUF_STRING);
    buffer_u64(b, 8), buffer_text(b, architecture);
    kv_u32(b, "qwen3moe.block_count", p->n_layers);
    kv_u32(b, "qwen3moe.context_length", p->context);
    kv_u32(b, "qwen3moe.embedding_length", p->n_embd);
    kv_u32(b, "qwen3moe.feed_forward_length", p->n_ff);
    kv_u32(b, "qwen3moe.attention.head_count", p->n_heads);
    kv_u32(b, "qwen3moe.attention.head_count_kv", p->n_kv_heads);
    kv_u32(b, "qwen3moe.attention.key_length", p->head_dim);
    kv_u32(b, "qwen3moe.attention.value_length", p->head_dim);
    kv_u32(b, "qwen3moe.expert_count", p->n_experts);
    kv_u32(b, "qwen3moe.expert_used_count", p->n_experts_used);
    kv_u32(b, "qwen3moe.expert_feed_forward_length", p->n_ff_expert);
    kv_u32(b, "qwen3moe.vocab_size", p->n_vocab);
    Buffer data;
    buffer_init(&data, NULL);
    for (size_t i = n; i-- > 0;) { /* any order will do: backwards */
        TensorSpec spec;
        tiny->family->tensor(p, i, &spec);
        buffer_u64(b, strlen(spec.gguf_name)), buffer_text(b, spec.gguf_name), buffer_u32(b, spec.n_dims);
        for (uint32_t d = 0; d < spec.n_dims; d++) buffer_u64(b, spec.dims[d]);
        buffer_u32(b, spec.keep_f32 ? DT_F32 : DT_BF16), buffer_u64(b, offset);
        for (uint32_t x = 0; x < (spec.stacked ? spec.dims[2] : 1); x++) {
            char name[160];
            cr_assert(family_expert_name(&spec, x, name, sizeof name));
            append_rows(&data, model_find(tiny, name), spec.keep_f32);
        }
        while (data.length % 32) buffer_u8(&data, 0);
        offset = data.length;
    }
    while (b->length % 32) buffer_u8(b, 0);
    if (break_a_value) data.data[data.length / 2] ^= 1;
    buffer_append(b, data.data, data.length);
    buffer_free(&data);
    cr_assert_not(b->failed);
}

PROOF(gguf_file) {
    Model *tiny;
    Input *in;
    cr_assert_eq(checkpoint_open(&tiny, FIXTURE_TINY, NULL, &e), 0);
    for (int broken = 0; broken < 2; broken++) {
        Buffer b;
        buffer_init(&b, NULL);
        write_gguf(tiny, &b, broken);
        cr_assert_eq(input_open_memory(&in, "tiny.gguf", b.data, b.length, NULL, &e), 0);
        cr_assert_eq(gguf_open_input(&m, in, NULL, &e), 0, "%s", e.message);
        cr_assert_eq(family_check_tensors(m, &e), 0, "%s", e.message);
        if (!broken) digest_is(tiny_digest);
        cr_assert_eq(weights_digest(hex, m, 2, NULL, &e), 0);
        cr_assert_eq(strcmp(hex, tiny_digest) == 0, !broken, "one bit of difference shows");
        model_close(m);
        m = NULL;
        buffer_free(&b);
    }
    model_close(tiny);
}

/* Views are read row by row through their transforms. float16 rounds, and has another digest. */
PROOF(views) {
    static const struct {
        DType type;
        const char *digest;
    } expected[] = {{DT_NONE, tiny_digest},
                    {DT_F32, tiny_digest},
                    {DT_BF16, tiny_digest},
                    {DT_F16, "85ec2c8610010c617920441a4fca3f15f13c91bcaa7ecb4f2c36c4cd475cd0ba"}};
    Model *tiny, *names;
    GgufNamesOptions options = {0};
    cr_assert_eq(checkpoint_open(&tiny, FIXTURE_TINY, NULL, &e), 0);
    cr_assert_eq(gguf_names_open(&names, tiny, &options, NULL, &e), 0, "%s", e.message);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(retype_as(&m, names, expected[i].type, NULL, &e), 0, "%s", e.message);
        digest_is(expected[i].digest);
        model_close(m);
        m = NULL;
    }
    model_close(names);
    model_close(tiny);
}

PROOF(layouts_of_random_models) {
    char expected[SHA256_HEX];
    for (int variant = 0; variant < 5; variant++) {
        FixtureModel f = fixture_model_default();
        f.experts = 102, f.layers = 1, f.seed = 7;
        f.shards = variant == 1 ? 4 : 1;
        f.float32 = variant == 2;
        f.fused = variant >= 3;
        f.fused_suffix = variant == 4;
        fixture_remove(dir);
        cr_assert_eq(mkdir(dir, 0755), 0);
        fixture_model(dir, &f);
        open_dir();
        cr_assert_eq(weights_digest(hex, m, 2, NULL, &e), 0, "%s", e.message);
        if (variant == 0) strcpy(expected, hex);
        cr_assert_str_eq(hex, expected, "variant %d", variant);
        model_close(m);
        m = NULL;
    }
}

/* ---- narrowing ---- */

static void add_words(FixtureShard *s, const char *name, DType type, uint64_t n, const uint32_t *words) {
    Buffer b;
    buffer_init(&b, NULL);
    for (uint64_t i = 0; i < n; i++) {
        if (type == DT_F32)
            buffer_u32(&b, words[i]);
        else
            buffer_u16(&b, (uint16_t)words[i]);
    }
    fixture_shard_add(s, name, type, 1, &n, b.data, b.length);
    buffer_free(&b);
}

#define WORDS(...)                                          \
    (sizeof((uint32_t[]){__VA_ARGS__}) / 4), (uint32_t[]) { \
        __VA_ARGS__                                         \
    }

PROOF(each_tensor_takes_the_narrowest_exact_form) {
    FixtureShard s;
    fixture_copy(FIXTURE_TINY, dir, "config.json");
    fixture_shard_begin(&s);
    add_words(&s, "bf16", DT_F32,
              WORDS(0x3F800000, 0x80000000, 0x7F800000, 0x7FC00000, 0x00010000, 0x7F7F0000));
    add_words(&s, "f16", DT_F32,
              WORDS(0x3F802000, 0x477FE000, 0x33800000, 0x80000000, 0xFF800000, 0x38800000, 0x387FC000));
    add_words(&s, "f16.nan", DT_F32, WORDS(0x3F802000, 0x7FC02000));
    add_words(&s, "f32", DT_F32, WORDS(0x3F800001));
    add_words(&s, "f32.large", DT_F32, WORDS(0x3F802000, 0x47800000)); /* 65536 overflows float16 */
    add_words(&s, "f32.small", DT_F32, WORDS(0x3F802000, 0x33000000)); /* 2^-25 is below its denormals */
    add_words(&s, "f32.between", DT_F32,
              WORDS(0x3F802000, 0x33C00000)); /* 1.5 * 2^-24 is between two of them */
    add_words(&s, "f32.nan", DT_F32, WORDS(0x3F802000, 0x7FC00001));
    add_words(&s, "half.bf16", DT_F16, WORDS(0x3C00, 0x8000, 0x7C00, 0x0001));
    add_words(&s, "half.f16", DT_F16, WORDS(0x3C01));
    fixture_shard_add(&s, "scalar", DT_F32, 0, NULL, "\0\0\x80\x3f", 4);
    fixture_shard_add(&s, "nothing", DT_F32, 2, (uint64_t[]){0, 5}, "", 0);
    fixture_shard_write(&s, dir, "model.safetensors");
    open_dir();
    digest_is("d885de0fb98e55b07eee299aab6f88cb36e3dccc9df8eae94c134b0a6fb10e66");
}

/* The element that does not fit is the last of six megabytes: everything before was read in vain. */
PROOF(a_late_exception) {
    enum { N = 1500000 };
    FixtureShard s;
    uint32_t *words = calloc(N, sizeof *words);
    cr_assert_not_null(words);
    for (uint32_t i = 0; i < N; i++) words[i] = 0x3F800000 + (i % 128 << 16);
    fixture_copy(FIXTURE_TINY, dir, "config.json");
    fixture_shard_begin(&s);
    words[N - 1] = 0x3F802000;
    add_words(&s, "late.f16", DT_F32, N, words);
    words[N - 1] = 0x3F800001;
    add_words(&s, "late.f32", DT_F32, N, words);
    fixture_shard_write(&s, dir, "model.safetensors");
    free(words);
    open_dir();
    digest_is("51fe6f2abc5b59aabd25435d3ae793241838296a6693017ae77f63381bfc093f");
}

Test(model_proof, narrow_one_value_at_a_time) {
    uint16_t out;
    /* Every bf16 and every f16 value, widened, comes back. */
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint32_t wide = bits << 16;
        cr_assert(narrow_exact(DT_BF16, &out, DT_F32, &wide, 1));
        cr_assert_eq(out, bits);
        wide |= 1;
        cr_assert_not(narrow_exact(DT_BF16, &out, DT_F32, &wide, 1));
    }
    for (uint32_t bits = 0; bits < 65536; bits++) {
        /* by the definition of the format, in double */
        uint32_t exponent = bits >> 10 & 31, mantissa = bits & 1023, wide;
        float value = exponent ? 1 + (float)mantissa / 1024 : (float)mantissa / 1024;
        for (int i = exponent ? (int)exponent - 15 : -14; i != 0; i += i < 0 ? 1 : -1)
            value = i < 0 ? value / 2 : value * 2;
        memcpy(&wide, &value, 4);
        if (exponent == 31) wide = 0x7F800000 | mantissa << 13;
        wide |= bits >> 15 << 31;
        cr_assert(narrow_exact(DT_F16, &out, DT_F32, &wide, 1), "%04x", bits);
        cr_assert_eq(out, bits, "%04x gave %04x", bits, out);
        bool as_bf16 = narrow_exact(DT_BF16, &out, DT_F16, &(uint16_t){(uint16_t)bits}, 1);
        cr_assert_eq(as_bf16, (wide & 0xFFFF) == 0, "%04x", bits);
        wide |= 1;
        cr_assert_not(narrow_exact(DT_F16, &out, DT_F32, &wide, 1), "%04x", bits);
    }
}

/* ---- what has no digest ---- */

PROOF(unknown_families_have_none) {
    FixtureModel f = fixture_model_default();
    SourceProof *p;
    fixture_model(dir, &f);
    fixture_replace(dir, "config.json", "Qwen3MoeForCausalLM", "OtherForCausalLM");
    open_dir();
    cr_assert_eq(weights_digest(hex, m, 1, NULL, &e), ERR_UNSUPPORTED);
    cr_assert_str_eq(hex, "");
    cr_assert_eq(source_prove(&p, m, 2, NULL, NULL, &e), 0, "%s", e.message);
    cr_assert_str_eq(p->weights_sha256, "");
    cr_assert_eq(p->n_files, m->n_files);
    source_proof_close(p);
}

PROOF(integers_have_none) {
    FixtureShard s;
    fixture_copy(FIXTURE_TINY, dir, "config.json");
    fixture_shard_begin(&s);
    fixture_shard_add(&s, "a", DT_I8, 1, (uint64_t[]){4}, "abcd", 4);
    fixture_shard_write(&s, dir, "model.safetensors");
    open_dir();
    cr_assert_eq(weights_digest(hex, m, 1, NULL, &e), ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(e.message, "tensor a is I8"), "%s", e.message);
    cr_assert_eq(tensor_sha256(hex, &m->tensors[0], &e), 0);
    cr_assert_str_eq(hex, "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589",
                     "sha256 of abcd");
}

/* ---- sources ---- */

PROOF(a_whole_source) {
    static const struct {
        const char *name, *sha256;
        uint64_t size;
    } expected[] = {
        {"config.json", "9ac0c210c195f52fed80be5392d88e73ce8549701ee85129f9dc0858d2166175", 945},
        {"generation_config.json", "53ae866e1cb4194583ad6a46fb4a83d836669a3e3cf4c69dacf05b560ed38921", 205},
        {"merges.txt", "bb18f7fb7474b34f630ba3c3106d8c1a5aaa3f113251e03b4ba30a849e3ba45a", 4779},
        {"model-00001-of-00002.safetensors",
         "4fd0186d32ebbe7a967fa7bf9f32e0dd798001acd6773f70bc6f1c8681dbe849", 1937648},
        {"model-00002-of-00002.safetensors",
         "291f824822d16106af4e492e00b03c4aa26dc0b1855389f50760fbacf3a683d6", 1674928},
        {"model.safetensors.index.json", "1f48c86f6d2c0b83037593c2addf0765475318193753738fdc1ce3063b6095c0",
         70449},
        {"tokenizer.json", "cbad8be7d02d2a8f3fbe1e7675be15d42905bf4742658edb84552f313a1645a6", 53704},
        {"tokenizer_config.json", "d775247822ae86034c2210c763bc61a1a7316d1ae13c692a6c8c7a85674282ca", 1516},
        {"vocab.json", "8d3f1a196d8a2269f72d3ac93f75f52ca2961e13fa7907b7496c294a31604fbb", 12587},
    };
    SourceProof *p;
    cr_assert_eq(checkpoint_open(&m, FIXTURE_TINY, NULL, &e), 0);
    for (unsigned threads = 0; threads <= 4; threads++) {
        cr_assert_eq(source_prove(&p, m, threads, NULL, NULL, &e), 0, "%s", e.message);
        cr_assert_str_eq(p->weights_sha256, tiny_digest);
        cr_assert_eq(p->n_files, 9);
        for (size_t i = 0; i < 9; i++) {
            cr_assert_str_eq(p->files[i].name, expected[i].name);
            cr_assert_str_eq(p->files[i].sha256, expected[i].sha256);
            cr_assert_eq(p->files[i].size, expected[i].size);
        }
        source_proof_close(p);
    }
    source_proof_close(NULL);
}

/* The walks of source_prove and the rows of weights_digest are different code. Elements that don't narrow
 * stand at the end of tensors of several pieces, and nothing is aligned. */
PROOF(late_misfits_in_float32) {
    SourceProof *p;
    FixtureModel f = fixture_model_default();
    FixturePath path;
    f.float32 = true;
    f.hidden = 768;
    fixture_model(dir, &f);
    fixture_path(path, dir, "model.safetensors");
    for (int round = 0; round < 3; round++) {
        open_dir();
        int fd = open(path, O_RDWR);
        for (size_t i = (size_t)round; round && i < m->n_tensors; i += 3) {
            const Extent *x = &m->tensors[i].extents[0];
            uint32_t bits = round == 1 ? 0x3F802000 : 0x3F800001; /* exact in float16; in neither */
            uint64_t at = x->offset + x->length - 4;
            cr_assert_eq(pwrite(fd, &bits, 4, (off_t)at), 4);
        }
        close(fd);
        model_close(m);
        open_dir();
        cr_assert_eq(weights_digest(hex, m, 2, NULL, &e), 0, "%s", e.message);
        for (unsigned threads = 1; threads <= 3; threads++) {
            cr_assert_eq(source_prove(&p, m, threads, NULL, NULL, &e), 0, "%s", e.message);
            cr_assert_str_eq(p->weights_sha256, hex);
            source_proof_close(p);
        }
        model_close(m);
        m = NULL;
    }
}

typedef struct Watch {
    uint64_t last, total, stop_at;
    bool wrong;
} Watch;

static int watch(void *context, const char *phase, uint64_t done, uint64_t total) {
    Watch *w = context;
    w->wrong |= done < w->last || done > total || (w->total && total != w->total) || !phase;
    w->last = done;
    w->total = total;
    return done >= w->stop_at;
}

PROOF(progress_adds_up_and_stops) {
    SourceProof *p;
    Watch w = {.stop_at = UINT64_MAX};
    Progress progress = {.update = watch, .context = &w};
    FixtureModel f = fixture_model_default();
    f.float32 = true;
    fixture_model(dir, &f);
    open_dir();
    cr_assert_eq(source_prove(&p, m, 3, &progress, NULL, &e), 0, "%s", e.message);
    source_proof_close(p);
    cr_assert_not(w.wrong);
    cr_assert_eq(w.last, w.total);
    uint64_t all = w.total;
    for (uint64_t at = 0; at < all; at += all / 7) {
        w = (Watch){.stop_at = at};
        cr_assert_eq(source_prove(&p, m, 3, &progress, NULL, &e), ERR_INTERRUPTED);
        cr_assert_null(p);
        w = (Watch){.stop_at = at / 3};
        cr_assert_eq(weights_digest(hex, m, 3, &progress, &e), ERR_INTERRUPTED);
    }
}

PROOF(a_file_that_changes_while_it_is_open) {
    SourceProof *p;
    FixtureModel f = fixture_model_default();
    fixture_model(dir, &f);
    open_dir();
    fixture_write_text(dir, "merges.txt", "something else");
    int code = source_prove(&p, m, 1, NULL, NULL, &e);
    cr_assert(code == ERR_CHECK || code == ERR_FORMAT, "%d %s", code, e.message);
    cr_assert_not_null(strstr(e.message, "merges.txt"), "%s", e.message);
}
