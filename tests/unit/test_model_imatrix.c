/* Importance matrices in both forms, written here byte by byte, and everything that a damaged or hostile file
 * can be refused for. */
#include "core/buffer.h"
#include "model/imatrix.h"
#include "support.h"
#include <math.h>

static Buffer b;
static Imatrix *m;
static Error e;

static void setup(void) {
    buffer_init(&b, NULL);
    m = NULL;
    e = (Error){0};
}

static void teardown(void) {
    imatrix_close(m);
    buffer_free(&b);
}

#define IMATRIX(name) Test(model_imatrix, name, .init = setup, .fini = teardown)

static int open_it(void) {
    Input *in;
    imatrix_close(m);
    m = NULL;
    e = (Error){0};
    /* a copy of exactly its size, so that the sanitizer sees a read beyond it */
    char *copy = malloc(b.length ? b.length : 1);
    if (b.length) memcpy(copy, b.data, b.length);
    cr_assert_eq(input_open_memory(&in, "dir/x.imatrix", copy, b.length, NULL, NULL), 0);
    int code = imatrix_open_input(&m, in, NULL, &e);
    input_close(in);
    free(copy);
    return code;
}

static void opens(void) {
    int code = open_it();
    cr_assert_eq(code, 0, "%s", e.message);
}

static void refused(int code, const char *part) {
    int got = open_it();
    cr_assert_eq(got, code, "%d: %s", got, e.message);
    cr_assert_null(m);
    cr_assert_not_null(strstr(e.message, "dir/x.imatrix"), "%s", e.message);
    cr_assert_not_null(strstr(e.message, part), "%s", e.message);
}

static Tensor tensor(const char *name, uint64_t d0, uint64_t d1, uint64_t d2) {
    return (Tensor){.name = name, .type = DT_F32, .n_dims = 3, .dims = {d0, d1, d2, 1}};
}

/* ---- the older form ---- */

static void entry(const char *name, uint32_t calls, uint32_t count, const float *values) {
    buffer_u32(&b, (uint32_t)strlen(name));
    buffer_text(&b, name);
    buffer_u32(&b, calls);
    buffer_u32(&b, count);
    for (uint32_t i = 0; i < count; i++) buffer_f32(&b, values[i]);
}

static void legacy(void) {
    buffer_clear(&b);
    buffer_u32(&b, 2);
    entry("blk.0.attn_q.weight", 4, 3, (const float[]){1, 6, 0});
    entry("output.weight", 0, 2, (const float[]){0.5f, 7});
}

IMATRIX(the_older_form_is_read) {
    legacy();
    buffer_u32(&b, 19);
    buffer_u32(&b, 8);
    buffer_text(&b, "wiki.txt");
    opens();
    cr_assert_str_eq(m->file_name, "x.imatrix");
    cr_assert_not(m->is_gguf);
    cr_assert_eq(m->n_entries, 2);
    cr_assert_eq(m->chunk_count, 19);
    cr_assert_eq(m->chunk_size, 0);
    cr_assert_eq(m->n_datasets, 1);
    cr_assert_str_eq(m->datasets[0], "wiki.txt");
    const ImatrixEntry *q = imatrix_find(m, "blk.0.attn_q.weight");
    cr_assert_eq(q, &m->entries[0]);
    cr_assert(q->n_in == 3 && q->n_mat == 1);
    cr_assert(q->weights[0] == 0.25f && q->weights[1] == 1.5f && q->weights[2] == 0);
    const ImatrixEntry *o = imatrix_find(m, "output.weight");
    cr_assert(o->weights[0] == 0.5f && o->weights[1] == 7, "no calls: the values as they are");
    cr_assert_null(imatrix_find(m, "blk.0.attn_q"));
}

IMATRIX(its_trailer_may_be_missing_or_short) {
    legacy();
    opens();
    cr_assert_eq(m->chunk_count, 0);
    cr_assert_eq(m->n_datasets, 0);
    buffer_u32(&b, 5);
    opens();
    cr_assert_eq(m->chunk_count, 5);
    cr_assert_eq(m->n_datasets, 0);
    buffer_u32(&b, 0);
    opens();
    cr_assert_eq(m->n_datasets, 0);
}

IMATRIX(the_smallest_and_the_longest_names_are_read) {
    char longest[1024] = {0};
    memset(longest, 'n', 1023);
    buffer_u32(&b, 1);
    entry("n", 2, 1, (const float[]){3});
    opens();
    cr_assert_eq(imatrix_find(m, "n")->weights[0], 1.5f);
    buffer_clear(&b);
    buffer_u32(&b, 1);
    entry(longest, 2, 1, (const float[]){3});
    opens();
    cr_assert_not_null(imatrix_find(m, longest));
}

IMATRIX(every_cut_of_the_older_form_is_refused) {
    legacy();
    size_t entries = b.length;
    buffer_u32(&b, 19);
    size_t chunks = b.length;
    buffer_u32(&b, 8);
    buffer_text(&b, "wiki.txt");
    for (size_t n = b.length; n-- > 0;) {
        b.length = n;
        if (n == entries || n == chunks)
            opens();
        else
            refused(ERR_FORMAT, n < 4 ? "bytes are no importance matrix" : "");
    }
}

static void patched(size_t at, uint32_t value, int code, const char *part) {
    legacy();
    buffer_u32(&b, 19);
    buffer_u32(&b, 8);
    buffer_text(&b, "wiki.txt");
    for (size_t i = 0; i < 4; i++) b.data[at + i] = (char)(value >> 8 * i);
    refused(code, part);
}

IMATRIX(every_number_of_the_older_form_is_checked) {
    enum { NAME = 4, CALLS = 27, COUNT = 31, VALUES = 35, CHUNKS = 47 + 4 + 13 + 8 + 8, LENGTH = CHUNKS + 4 };
    patched(0, 0, ERR_FORMAT, "number of entries is 0");
    patched(0, 0x80000000u, ERR_FORMAT, "number of entries is -2147483648");
    patched(0, 1000, ERR_FORMAT, "number of entries, is 1000");
    patched(0, 0x7fffffff, ERR_FORMAT, "number of entries, is 2147483647");
    patched(NAME, 0, ERR_FORMAT, "entry 1 of 2: dir/x.imatrix: the length of a tensor's name is 0");
    patched(NAME, 0xffffffff, ERR_FORMAT, "name is -1");
    patched(NAME, 1024, ERR_FORMAT, "name is 1024");
    patched(NAME, 200, ERR_FORMAT, "name is 200");
    patched(CALLS, 0xffffffff, ERR_FORMAT, "a count of calls is -1");
    patched(COUNT, 0, ERR_FORMAT, "a number of values is 0");
    patched(COUNT, 0xfffffff0, ERR_FORMAT, "a number of values is -16");
    patched(COUNT, 0x7fffffff, ERR_FORMAT, "number of values, is 2147483647");
    patched(COUNT, 1000, ERR_FORMAT, "number of values, is 1000");
    patched(VALUES, 0x7fc00000, ERR_NUMERIC, "value 0 of blk.0.attn_q.weight is nan");
    patched(VALUES + 4, 0x7f800000, ERR_NUMERIC, "value 1 of blk.0.attn_q.weight is inf");
    patched(VALUES + 8, 0xbf800000, ERR_NUMERIC, "value 2 of blk.0.attn_q.weight is -1");
    patched(CHUNKS, 0xffffffff, ERR_FORMAT, "number of chunks is -1");
    patched(LENGTH, 0xffffffff, ERR_FORMAT, "dataset's name is -1");
    patched(LENGTH, 9, ERR_FORMAT, "dataset's name is 9");
    patched(LENGTH, 7, ERR_FORMAT, "1 bytes follow the end");
    patched(LENGTH + 4, 0x00696b77, ERR_FORMAT, "holds a NUL");
    patched(NAME + 4, 0x006b6c62, ERR_FORMAT, "holds a NUL");
    cr_assert_eq(e.offset, NAME + 4);
}

IMATRIX(a_name_twice_is_refused) {
    buffer_u32(&b, 2);
    entry("a.weight", 1, 1, (const float[]){1});
    entry("a.weight", 1, 1, (const float[]){1});
    refused(ERR_FORMAT, "a.weight has two entries");
}

IMATRIX(other_files_are_refused) {
    refused(ERR_FORMAT, "0 bytes are no importance matrix");
    buffer_text(&b, "{\"a\": 1}");
    refused(ERR_FORMAT, "no importance matrix");
    buffer_clear(&b);
    buffer_zeros(&b, 4096);
    refused(ERR_FORMAT, "number of entries is 0");
}

/* ---- the GGUF form ---- */

typedef struct Info {
    const char *name;
    uint32_t n_dims, type;
    uint64_t d0, d1;
    const float *values;
} Info;

static void string(const char *s) {
    buffer_u64(&b, strlen(s));
    buffer_text(&b, s);
}

static void key(const char *name, uint32_t type) {
    string(name);
    buffer_u32(&b, type);
}

static void key_u32(const char *name, uint32_t value) {
    key(name, GGUF_U32);
    buffer_u32(&b, value);
}

static void key_strings(const char *name, const char *one, const char *two) {
    key(name, GGUF_ARRAY);
    buffer_u32(&b, GGUF_STRING);
    buffer_u64(&b, 2);
    string(one);
    string(two);
}

static void header(uint64_t n_tensors, uint64_t n_keys) {
    buffer_clear(&b);
    buffer_text(&b, "GGUF");
    buffer_u32(&b, 3);
    buffer_u64(&b, n_tensors);
    buffer_u64(&b, n_keys);
}

static void standard_keys(const char *type) {
    key("general.type", GGUF_STRING);
    string(type);
    key_strings("imatrix.datasets", "a.txt", "b.txt");
    key_u32("imatrix.chunk_count", 7);
    key_u32("imatrix.chunk_size", 512);
}

static uint64_t padded(uint64_t n) {
    return (n + 31) / 32 * 32;
}

static uint64_t info_elements(const Info *t) {
    return t->d0 * (t->n_dims > 1 ? t->d1 : 1);
}

static void tensors(const Info *list, size_t n) {
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        string(list[i].name);
        buffer_u32(&b, list[i].n_dims);
        buffer_u64(&b, list[i].d0);
        if (list[i].n_dims > 1) buffer_u64(&b, list[i].d1);
        buffer_u32(&b, list[i].type);
        buffer_u64(&b, offset);
        offset += padded(info_elements(&list[i]) * dtype_info((DType)list[i].type)->bytes);
    }
    buffer_zeros(&b, padded(b.length) - b.length);
    for (size_t i = 0; i < n; i++) {
        size_t start = b.length;
        uint64_t bytes = info_elements(&list[i]) * dtype_info((DType)list[i].type)->bytes;
        for (uint64_t k = 0; k * 4 < bytes; k++) buffer_f32(&b, list[i].values ? list[i].values[k] : 1);
        buffer_zeros(&b, (size_t)padded(b.length - start) - (b.length - start));
    }
}

static const float SUMS[] = {2, 4, 8, 5, 6, 7, 9, 3, 0}, COUNTS[] = {2, 0, 2.6f};
/* As llama-imatrix writes it: by name, counts before sums. */
static const Info TWO[] = {
    {"blk.0.ffn_up_exps.weight.counts", 2, DT_F32, 1, 3, COUNTS},
    {"blk.0.ffn_up_exps.weight.in_sum2", 2, DT_F32, 3, 3, SUMS},
    {"output.weight.counts", 1, DT_F32, 1, 1, COUNTS},
    {"output.weight.in_sum2", 1, DT_F32, 3, 1, SUMS},
};

static void gguf_of(const Info *list, size_t n) {
    header(n, 4);
    standard_keys("imatrix");
    tensors(list, n);
}

IMATRIX(the_gguf_form_is_read) {
    gguf_of(TWO, 4);
    opens();
    cr_assert(m->is_gguf);
    cr_assert_str_eq(m->file_name, "x.imatrix");
    cr_assert_eq(m->n_entries, 2);
    cr_assert_eq(m->chunk_count, 7);
    cr_assert_eq(m->chunk_size, 512);
    cr_assert_eq(m->n_datasets, 2);
    cr_assert_str_eq(m->datasets[0], "a.txt");
    cr_assert_str_eq(m->datasets[1], "b.txt");
    const ImatrixEntry *up = imatrix_find(m, "blk.0.ffn_up_exps.weight");
    cr_assert_not_null(up);
    cr_assert(up->n_in == 3 && up->n_mat == 3);
    /* a count of 2; none: 1 everywhere; 2.6 is 3 */
    static const float expected[] = {1, 2, 4, 1, 1, 1, 3, 1, 0};
    for (size_t i = 0; i < 9; i++) cr_assert_eq(up->weights[i], expected[i], "%zu", i);
    const ImatrixEntry *o = imatrix_find(m, "output.weight");
    cr_assert(o->n_in == 3 && o->n_mat == 1);
    cr_assert(o->weights[0] == 1 && o->weights[1] == 2 && o->weights[2] == 4);
}

IMATRIX(other_tensors_of_a_gguf_are_passed_over) {
    Info list[5];
    memcpy(list, TWO, sizeof TWO);
    list[4] = (Info){"output.weight.in_sum", 1, DT_F16, 2, 1, NULL};
    gguf_of(list, 5);
    opens();
    cr_assert_eq(m->n_entries, 2);
}

IMATRIX(every_cut_of_the_gguf_form_is_refused) {
    gguf_of(TWO, 4);
    size_t whole = b.length - 20; /* the last tensor's 12 bytes are padded to 32 */
    for (size_t n = whole; n-- > 0;) {
        b.length = n;
        cr_assert_neq(open_it(), 0, "%zu", n);
        cr_assert_null(m);
    }
}

IMATRIX(its_keys_are_checked) {
    header(4, 1);
    key_u32("imatrix.chunk_count", 7);
    tensors(TWO, 4);
    refused(ERR_FORMAT, "imatrix.datasets is missing");
    header(4, 2);
    key_strings("imatrix.datasets", "a", "b");
    key_u32("imatrix.chunk_size", 7);
    tensors(TWO, 4);
    refused(ERR_FORMAT, "imatrix.chunk_count is missing");
    header(4, 2);
    key_strings("imatrix.datasets", "a", "b");
    key_u32("imatrix.chunk_count", 7);
    tensors(TWO, 4);
    refused(ERR_FORMAT, "imatrix.chunk_size is missing");
    header(4, 3);
    key_u32("imatrix.datasets", 7);
    key_u32("imatrix.chunk_count", 7);
    key_u32("imatrix.chunk_size", 7);
    tensors(TWO, 4);
    refused(ERR_FORMAT, "imatrix.datasets is missing or no array of strings");
    header(4, 2);
    key_strings("imatrix.datasets", "a", "b");
    key_strings("imatrix.chunk_count", "a", "b");
    tensors(TWO, 4);
    refused(ERR_FORMAT, "imatrix.chunk_count is missing or no u32");
    header(4, 4);
    standard_keys("model");
    tensors(TWO, 4);
    refused(ERR_FORMAT, "general.type is \"model\", expected \"imatrix\"");
    header(4, 3); /* a file without general.type */
    key_strings("imatrix.datasets", "a", "b");
    key_u32("imatrix.chunk_count", 7);
    key_u32("imatrix.chunk_size", 7);
    tensors(TWO, 4);
    opens();
}

IMATRIX(a_dataset_s_name_holds_no_nul) {
    gguf_of(TWO, 4);
    char *at = memmem(b.data, b.length, "b.txt", 5);
    at[1] = 0;
    refused(ERR_FORMAT, "imatrix.datasets holds a NUL");
}

/* The pair, with one of the two replaced. */
static void pair_with(size_t which, Info other, int code, const char *part) {
    Info list[2] = {TWO[0], TWO[1]};
    list[which] = other;
    gguf_of(list, 2);
    refused(code, part);
}

IMATRIX(its_tensors_are_checked) {
    static const float nan_sums[9] = {1, NAN}, inf_counts[3] = {INFINITY}, minus[9] = {0, 0, -1};
    static const char sums[] = "blk.0.ffn_up_exps.weight.in_sum2",
                      counts[] = "blk.0.ffn_up_exps.weight.counts";
    gguf_of(TWO, 1);
    refused(ERR_FORMAT, "tensor blk.0.ffn_up_exps.weight.counts has no partner ending in .in_sum2");
    gguf_of(TWO + 1, 1);
    refused(ERR_FORMAT, "tensor blk.0.ffn_up_exps.weight.in_sum2 has no partner ending in .counts");
    gguf_of(TWO, 0);
    refused(ERR_FORMAT, "without an entry");
    pair_with(1, (Info){sums, 2, DT_F16, 3, 3, NULL}, ERR_FORMAT, "are F16 and F32, expected F32");
    pair_with(0, (Info){counts, 2, DT_F16, 1, 4, NULL}, ERR_FORMAT, "are F32 and F16, expected F32");
    pair_with(0, (Info){counts, 2, DT_F32, 1, 2, NULL}, ERR_FORMAT, "9 values for 2 counts");
    pair_with(0, (Info){counts, 2, DT_F32, 1, 18, NULL}, ERR_FORMAT, "9 values for 18 counts");
    pair_with(1, (Info){sums, 2, DT_F32, 3, 3, nan_sums}, ERR_NUMERIC,
              "value 1 of blk.0.ffn_up_exps.weight.in_sum2 is nan");
    pair_with(1, (Info){sums, 2, DT_F32, 3, 3, minus}, ERR_NUMERIC,
              "value 2 of blk.0.ffn_up_exps.weight.in_sum2 is -1");
    pair_with(0, (Info){counts, 2, DT_F32, 1, 3, inf_counts}, ERR_NUMERIC,
              "value 0 of blk.0.ffn_up_exps.weight.counts is inf");
    pair_with(0, (Info){counts, 2, DT_F32, 1, 3, minus}, ERR_NUMERIC,
              "value 2 of blk.0.ffn_up_exps.weight.counts is -1");
    static const Info nameless[] = {{".counts", 1, DT_F32, 1, 1, NULL}, {".in_sum2", 1, DT_F32, 1, 1, NULL}};
    gguf_of(nameless, 2);
    refused(ERR_FORMAT, "no name before .in_sum2");
}

/* ---- sizes ---- */

IMATRIX(weights_are_for_tensors_of_their_size) {
    const float *w;
    gguf_of(TWO, 4);
    opens();
    Tensor t = tensor("blk.0.ffn_up_exps.weight", 3, 100, 3);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert_eq(w, m->entries[0].weights);
    t = tensor("blk.0.ffn_down_exps.weight", 3, 100, 3);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert_null(w, "no entry");
    t = tensor("output.weight", 4, 100, 1);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), ERR_CHECK);
    cr_assert_null(w);
    cr_assert_str_eq(e.message, "x.imatrix: 3 values for the tensor output.weight, which has 4 columns in 1 "
                                "matrices: it was made from another model");
    t = tensor("output.weight", UINT64_MAX / 2, 1, 4);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), ERR_CHECK);
}

/* The product alone counts, and the embedding's may be of any size, as with llama-quantize. */
IMATRIX(sizes_of_experts_and_embeddings_are_lenient) {
    const float *w, six[] = {1, 2, 3, 4, 5, 6};
    buffer_u32(&b, 3);
    entry("exps.weight", 1, 6, six);
    entry("token_embd.weight", 1, 6, six);
    entry("per_layer_token_embd.weight", 1, 6, six);
    opens();
    Tensor t = tensor("exps.weight", 3, 9, 2);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert(w && w[5] == 6);
    t = tensor("token_embd.weight", 7, 9, 1);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert_null(w);
    t = tensor("token_embd.weight", 6, 9, 1);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert_not_null(w);
    t = tensor("per_layer_token_embd.weight", 7, 9, 1);
    cr_assert_eq(imatrix_weights(&w, m, &t, &e), 0);
    cr_assert_null(w);
}

/* ---- files and memory ---- */

IMATRIX(both_forms_are_read_from_files) {
    TempDir d;
    temp_dir_open(&d);
    for (int form = 0; form < 2; form++) {
        if (form)
            gguf_of(TWO, 4);
        else
            legacy();
        FILE *f = fopen(temp_path(&d, "i.dat"), "wb");
        cr_assert_not_null(f);
        cr_assert_eq(fwrite(b.data, 1, b.length, f), b.length);
        fclose(f);
        imatrix_close(m);
        cr_assert_eq(imatrix_open(&m, temp_path(&d, "i.dat"), NULL, &e), 0, "%s", e.message);
        cr_assert_eq(m->n_entries, 2);
        cr_assert_eq(m->is_gguf, form == 1);
        cr_assert_str_eq(m->file_name, "i.dat");
    }
    imatrix_close(m);
    m = NULL;
    cr_assert_eq(imatrix_open(&m, temp_path(&d, "none.dat"), NULL, &e), ERR_IO);
    cr_assert_null(m);
    temp_dir_close(&d);
}

IMATRIX(a_file_above_the_limit_is_refused) {
    TempDir d;
    temp_dir_open(&d);
    int fd = open(temp_path(&d, "big.dat"), O_CREAT | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    if (!ftruncate(fd, (off_t)((1ull << 34) + 1))) /* sparse; some file systems can't */
        cr_assert_eq(imatrix_open(&m, temp_path(&d, "big.dat"), NULL, &e), ERR_LIMIT, "%s", e.message);
    close(fd);
    temp_dir_close(&d);
}

static void fails_cleanly(void) {
    Input *in;
    cr_assert_eq(input_open_memory(&in, "x", b.data, b.length, NULL, NULL), 0);
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        failing_init(&f, n);
        int code = imatrix_open_input(&m, in, &f.allocator, &e);
        if (!code) imatrix_close(m);
        m = NULL;
        cr_assert_eq(f.live, 0);
        if (!code) break;
        cr_assert_eq(code, ERR_MEMORY, "%s", e.message);
        cr_assert_lt(n, 1000);
    }
    input_close(in);
}

IMATRIX(every_failed_allocation_is_an_error) {
    legacy();
    buffer_u32(&b, 19);
    buffer_u32(&b, 8);
    buffer_text(&b, "wiki.txt");
    fails_cleanly();
    gguf_of(TWO, 4);
    fails_cleanly();
}

IMATRIX(closing_nothing_is_allowed) {
    imatrix_close(NULL);
}
