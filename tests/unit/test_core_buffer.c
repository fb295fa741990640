/* Bytes that grow, little-endian numbers, and a failure that is remembered. */
#include "core/buffer.h"
#include "support.h"

Test(core_buffer, text) {
    Buffer b;
    buffer_init(&b, NULL);
    cr_assert_str_eq(buffer_string(&b), "");
    cr_assert_null(b.data);
    buffer_append(&b, NULL, 0);
    buffer_text(&b, "");
    cr_assert_null(b.data);
    buffer_text(&b, "one");
    buffer_char(&b, ' ');
    buffer_printf(&b, "%d%s", 2, "");
    buffer_append(&b, " three!", 6);
    cr_assert_str_eq(buffer_string(&b), "one 2 three");
    cr_assert_eq(b.length, 11);
    buffer_clear(&b);
    cr_assert_eq(b.length, 0);
    cr_assert_str_eq(buffer_string(&b), "");
    buffer_zeros(&b, 0);
    buffer_zeros(&b, 3);
    cr_assert_eq(memcmp(b.data, "\0\0\0", 4), 0);
    cr_assert_eq(buffer_ok(&b, "x", NULL), 0);
    buffer_free(&b);
    cr_assert_null(b.data);
}

Test(core_buffer, grows_to_any_length) {
    Buffer b;
    buffer_init(&b, NULL);
    for (int i = 0; i < 100000; i++) buffer_char(&b, (char)('a' + i % 26));
    cr_assert_eq(b.length, 100000);
    for (int i = 0; i < 100000; i++) cr_assert_eq(b.data[i], 'a' + i % 26);
    cr_assert_eq(b.data[100000], '\0');
    buffer_printf(&b, "%*s", 200000, "x"); /* longer than any guess */
    cr_assert_eq(b.length, 300000);
    cr_assert_eq(b.data[299999], 'x');
    buffer_free(&b);
}

Test(core_buffer, numbers_are_little_endian) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_u8(&b, 0xFE);
    buffer_u16(&b, 0x0102);
    buffer_u32(&b, 0x03040506);
    buffer_u64(&b, 0x0708090A0B0C0D0E);
    buffer_f32(&b, 1.5f); /* 0x3FC00000 */
    buffer_f64(&b, -2.0); /* 0xC000000000000000 */
    static const unsigned char expected[] = {0xFE, 2,    1,    6, 5, 4, 3, 0x0E, 0x0D,
                                             0x0C, 0x0B, 0x0A, 9, 8, 7, 0, 0,    0xC0,
                                             0x3F, 0,    0,    0, 0, 0, 0, 0,    0xC0};
    cr_assert_eq(b.length, sizeof expected);
    cr_assert_eq(memcmp(b.data, expected, sizeof expected), 0);
    cr_assert_eq(load_u16(b.data + 1), 0x0102);
    cr_assert_eq(load_u32(b.data + 3), 0x03040506);
    cr_assert_eq(load_u64(b.data + 7), 0x0708090A0B0C0D0E);
    cr_assert_eq(load_u64("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), UINT64_MAX);
    cr_assert_eq(load_u32("\xFF\xFF\xFF\xFF"), UINT32_MAX);
    cr_assert_eq(load_u16("\xFF\xFF"), UINT16_MAX);
    buffer_free(&b);
}

Test(core_buffer, printable) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printable(&b, "a\0\x1B[m\xC3\xA9\xFF\n", 9);
    cr_assert_str_eq(buffer_string(&b), "a??[m\xC3\xA9??");
    buffer_free(&b);
}

Test(core_buffer, sizes_that_overflow) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b, "abc");
    buffer_zeros(&b, SIZE_MAX - 2);
    cr_assert(b.failed);
    cr_assert_str_eq(buffer_string(&b), "abc");
    Error e;
    cr_assert_eq(buffer_ok(&b, "a header", &e), ERR_MEMORY);
    cr_assert_str_eq(e.message, "not enough memory for a header");
    buffer_free(&b);
    cr_assert_not(b.failed, "free begins anew");
}

static void fill(Buffer *b) {
    buffer_u64(b, 1);
    for (int i = 0; i < 100; i++) buffer_printf(b, "line %d\n", i);
    buffer_zeros(b, 5000);
    buffer_text(b, "end");
}

Test(core_buffer, every_allocation_may_fail) {
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        failing_init(&f, n);
        Buffer b;
        buffer_init(&b, &f.allocator);
        fill(&b);
        cr_assert_eq(b.failed, f.failed);
        cr_assert_eq(buffer_ok(&b, "x", NULL), f.failed ? ERR_MEMORY : 0);
        if (f.failed) {
            size_t length = b.length;
            f.left = 100; /* memory is back, but the buffer has a hole: it must stay failed */
            buffer_text(&b, "more");
            cr_assert_eq(b.length, length);
            cr_assert(b.failed);
        }
        buffer_free(&b);
        cr_assert_eq(f.live, 0);
        if (!f.failed) {
            cr_assert_gt(n, 2);
            break;
        }
    }
}
