/* test_model_read.c -- reading rows of a tensor: over extents, through a chain of transforms, mapped. */
#include "model/model.h"

#include "fixture.h"

static Error e;

/* A test's tensor: extents in one or two memory files. */
static uint8_t bytes[2][4096];
static Input *files[2];

static void setup(void) {
    for (int f = 0; f < 2; f++) {
        for (int i = 0; i < 4096; i++) bytes[f][i] = (uint8_t)(i * 7 + f * 100);
        cr_assert_eq(input_open_memory(&files[f], f ? "second" : "first", bytes[f], 4096, NULL, &e), 0);
    }
}

static void teardown(void) {
    input_close(files[0]);
    input_close(files[1]);
}

#define READ(name) Test(model_read, name, .init = setup, .fini = teardown)

READ(extents_concatenate) {
    /* Rows of 6 U8; extents of 3, 0, 1 and 2 rows in two files. */
    Extent extents[] = {{files[0], 10, 18}, {files[1], 50, 0}, {files[1], 1000, 6}, {files[0], 0, 12}};
    Tensor t = {.name = "t",
                .type = DT_U8,
                .stored = DT_U8,
                .n_dims = 2,
                .dims = {6, 6, 1, 1},
                .n_extents = 4,
                .extents = extents};
    uint8_t whole[36], expected[36];
    memcpy(expected, bytes[0] + 10, 18);
    memcpy(expected + 18, bytes[1] + 1000, 6);
    memcpy(expected + 24, bytes[0], 12);
    cr_assert_eq(model_read(&t, 0, 6, whole, &e), 0);
    cr_assert_eq(memcmp(whole, expected, 36), 0);
    for (uint64_t first = 0; first <= 6; first++)
        for (uint64_t n = 0; first + n <= 6; n++) {
            memset(whole, 0, sizeof whole);
            cr_assert_eq(model_read(&t, first, n, whole, &e), 0);
            cr_assert_eq(memcmp(whole, expected + 6 * first, 6 * n), 0);
        }
    cr_assert_eq(model_read(&t, 6, 1, whole, &e), ERR_LIMIT);
    cr_assert_eq(model_read(&t, 0, UINT64_MAX, whole, &e), ERR_LIMIT);
    cr_assert_eq(tensor_read_stored(&t, 17, whole, 8, &e), 0, "across three of them");
    cr_assert_eq(memcmp(whole, expected + 17, 8), 0);
    cr_assert_eq(tensor_read_stored(&t, 35, whole, 2, &e), ERR_FORMAT);
    cr_assert_eq(tensor_read_stored(&t, UINT64_MAX, whole, 1, &e), ERR_FORMAT);
}

READ(a_file_that_is_too_short_is_named) {
    Extent extent = {files[1], 4090, 12};
    Tensor t = {.name = "short",
                .type = DT_U8,
                .stored = DT_U8,
                .dims = {12, 1, 1, 1},
                .n_dims = 1,
                .n_extents = 1,
                .extents = &extent};
    uint8_t row[12];
    cr_assert_eq(model_read(&t, 0, 1, row, &e), ERR_FORMAT);
    cr_assert_not_null(strstr(e.message, "short"));
    cr_assert_not_null(strstr(e.message, "second"));
}

READ(sizes) {
    Tensor q = {.name = "q", .type = DT_Q4_K, .stored = DT_BF16, .n_dims = 3, .dims = {512, 3, 5, 1}};
    cr_assert_eq(tensor_rows(&q), 15);
    cr_assert_eq(tensor_elements(&q), 15 * 512);
    cr_assert_eq(tensor_row_bytes(&q), 2 * 144);
    cr_assert_eq(tensor_bytes(&q), 15 * 2 * 144);
    cr_assert_eq(tensor_stored_bytes(&q), 15 * 1024);
    Tensor scalar = {.name = "s", .type = DT_F32, .stored = DT_F32, .dims = {1, 1, 1, 1}};
    cr_assert_eq(tensor_bytes(&scalar), 4);
}

/* ---- transforms ---- */

/* U8 -> U16: value + 1000 * row: shows that rows are counted over the whole tensor. */
static int add_row(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                   const void *in, void *out, Error *err) {
    (void)err;
    const uint8_t *from = in;
    uint16_t *to = out;
    cr_assert(t->from == DT_U8 && t->to == DT_U16);
    for (uint64_t r = 0; r < n_rows; r++)
        for (uint64_t i = 0; i < row_elements; i++)
            to[r * row_elements + i] = (uint16_t)(from[r * row_elements + i] + 1000 * (first_row + r));
    return 0;
}

/* U16 -> U64: the value, and the transform's own constant above it. */
static int widen(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                 const void *in, void *out, Error *err) {
    (void)first_row, (void)err;
    const uint16_t *from = in;
    uint64_t *to = out;
    for (uint64_t i = 0; i < n_rows * row_elements; i++)
        to[i] = from[i] + (*(const uint64_t *)t->context << 16);
    return 0;
}

static int fail(const RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                const void *in, void *out, Error *err) {
    (void)t, (void)n_rows, (void)row_elements, (void)in, (void)out;
    return error_set(err, ERR_NUMERIC, "row %llu is bad", (unsigned long long)first_row);
}

READ(a_chain_of_transforms) {
    uint64_t mark = 9;
    Extent extents[] = {{files[0], 0, 40}, {files[1], 0, 20}};
    Tensor t = {.name = "t",
                .type = DT_U64,
                .stored = DT_U8,
                .n_dims = 2,
                .dims = {20, 3, 1, 1},
                .n_extents = 2,
                .extents = extents,
                .n_transforms = 2,
                .transforms = {{DT_U8, DT_U16, add_row, NULL}, {DT_U16, DT_U64, widen, &mark}}};
    uint64_t out[60];
    cr_assert_eq(model_read(&t, 1, 2, out, &e), 0);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(out[i], (9u << 16) + bytes[0][20 + i] + 1000);
        cr_assert_eq(out[20 + i], (9u << 16) + bytes[1][i] + 2000);
    }
    const void *mapped = out;
    cr_assert_eq(tensor_map(&t, 0, 1, &mapped, &e), 0);
    cr_assert_null(mapped, "transformed rows lie nowhere");
    t.transforms[1].apply = fail;
    cr_assert_eq(model_read(&t, 2, 1, out, &e), ERR_NUMERIC);
    cr_assert_str_eq(e.message, "tensor t: row 2 is bad");
}

/* More rows than one step of scratch holds (1 MiB of U64 is 2^17 elements). */
READ(many_steps) {
    enum { ROW = 1000, ROWS = 300 };
    uint64_t mark = 1;
    Input *in;
    uint8_t *stored = malloc(ROW * ROWS);
    uint64_t *out = malloc(sizeof *out * ROW * ROWS);
    cr_assert(stored && out);
    for (int i = 0; i < ROW * ROWS; i++) stored[i] = (uint8_t)(i * 31);
    cr_assert_eq(input_open_memory(&in, "large", stored, ROW * ROWS, NULL, &e), 0);
    Extent extent = {in, 0, ROW * ROWS};
    Tensor t = {.name = "t",
                .type = DT_U64,
                .stored = DT_U8,
                .n_dims = 2,
                .dims = {ROW, ROWS, 1, 1},
                .n_extents = 1,
                .extents = &extent,
                .n_transforms = 2,
                .transforms = {{DT_U8, DT_U16, add_row, NULL}, {DT_U16, DT_U64, widen, &mark}}};
    cr_assert_eq(model_read(&t, 0, ROWS, out, &e), 0, "%s", e.message);
    for (int i = 0; i < ROW * ROWS; i++)
        cr_assert_eq(out[i], (1u << 16) + (uint16_t)(stored[i] + 1000 * (i / ROW)), "element %d", i);
    input_close(in);
    free(stored);
    free(out);
}

/* ---- mapping ---- */

READ(mapped_rows) {
    _Alignas(16) static uint8_t aligned[256];
    Input *in;
    const void *p;
    for (int i = 0; i < 256; i++) aligned[i] = (uint8_t)i;
    cr_assert_eq(input_open_memory(&in, "aligned", aligned, 256, NULL, &e), 0);
    Extent extents[] = {{in, 16, 32}, {in, 128, 32}};
    Tensor t = {.name = "t",
                .type = DT_F32,
                .stored = DT_F32,
                .n_dims = 2,
                .dims = {4, 4, 1, 1},
                .n_extents = 2,
                .extents = extents};
    cr_assert_eq(tensor_map(&t, 1, 1, &p, &e), 0);
    cr_assert_eq(((const uint8_t *)p)[0], 32);
    cr_assert_eq(tensor_map(&t, 2, 2, &p, &e), 0);
    cr_assert_eq(((const uint8_t *)p)[0], 128);
    cr_assert_eq(tensor_map(&t, 1, 2, &p, &e), 0);
    cr_assert_null(p, "in two extents");
    cr_assert_eq(tensor_map(&t, 3, 2, &p, &e), ERR_LIMIT);
    extents[0].offset = 18;
    cr_assert_eq(tensor_map(&t, 0, 1, &p, &e), 0);
    cr_assert_null(p, "no float may lie there");
    t.type = t.stored = DT_BF16, t.dims[0] = 8;
    cr_assert_eq(tensor_map(&t, 0, 1, &p, &e), 0);
    cr_assert_not_null(p, "a bfloat16 may");
    input_close(in);
}
