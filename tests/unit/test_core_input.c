/* Reading files: exactly what was asked for or an error that says what and where. */
#include "core/input.h"
#include "faults.h"
#include "support.h"

static TempDir dir;
static void setup(void) {
    temp_dir_open(&dir);
}
static void teardown(void) {
    faults_clear();
    temp_dir_close(&dir);
}
TestSuite(core_input, .init = setup, .fini = teardown, .timeout = 10);

static Input *opened(const char *name, const char *text) {
    Input *in;
    Error e = {0};
    file_put(temp_path(&dir, name), text);
    cr_assert_eq(input_open(&in, temp_path(&dir, name), NULL, &e), 0, "%s", e.message);
    return in;
}

Test(core_input, read) {
    Input *in = opened("x.gguf", "0123456789");
    char b[11] = "";
    cr_assert_eq(input_size(in), 10);
    cr_assert_str_eq(input_name(in), "x.gguf");
    cr_assert_str_eq(input_path(in), temp_path(&dir, "x.gguf"));
    cr_assert_eq(input_read(in, 0, b, 10, NULL), 0);
    cr_assert_str_eq(b, "0123456789");
    cr_assert_eq(input_read(in, 7, b, 3, NULL), 0);
    cr_assert_eq(memcmp(b, "789", 3), 0);
    cr_assert_eq(input_read(in, 10, b, 0, NULL), 0);
    input_close(in);
    input_close(NULL);
}

Test(core_input, beyond_the_end) {
    Input *in = opened("x", "0123456789");
    char b[20];
    Error e;
    cr_assert_eq(input_read(in, 8, b, 3, &e), ERR_FORMAT);
    cr_assert_not_null(strstr(e.message, "truncated"));
    cr_assert_not_null(strstr(e.message, "3 bytes are expected, the file ends at byte 10 (at byte 8)"), "%s",
                       e.message);
    cr_assert_eq(e.offset, 8);
    cr_assert_eq(input_read(in, 11, b, 0, &e), ERR_FORMAT);
    cr_assert_eq(input_read(in, UINT64_MAX, b, 1, &e), ERR_FORMAT);
    cr_assert_eq(input_read(in, 1, b, SIZE_MAX, &e), ERR_FORMAT);
    cr_assert_not_null(strstr(e.message, "the file ends at byte 10"), "offset and length must not wrap");
    input_close(in);
}

Test(core_input, interruptions_and_short_reads) {
    Input *in = opened("x", "0123456789abcdef");
    char b[17] = "";
    faults.pieces = true;
    cr_assert_eq(input_read(in, 0, b, 16, NULL), 0);
    cr_assert_str_eq(b, "0123456789abcdef");
    cr_assert_geq(faults.turn, 12, "six pieces, each interrupted once");
    input_close(in);
}

Test(core_input, an_io_error_is_a_value) {
    Input *in = opened("x", "0123456789");
    char b[10];
    Error e;
    fault_set("pread", 1, EIO);
    cr_assert_eq(input_read(in, 4, b, 2, &e), ERR_IO);
    cr_assert_eq(e.sys, EIO);
    cr_assert(e.has_offset && e.offset == 4);
    cr_assert_not_null(strstr(e.message, "/x at byte 4: Input/output error"), "%s", e.message);
    input_close(in);
}

Test(core_input, cut_while_open) {
    Input *in = opened("x", "0123456789");
    char b[10];
    Error e;
    cr_assert_eq(truncate(temp_path(&dir, "x"), 6), 0);
    cr_assert_eq(input_read(in, 0, b, 10, &e), ERR_FORMAT);
    cr_assert_eq(e.offset, 6);
    input_close(in);
}

Test(core_input, what_can_not_be_opened) {
    Input *in = (Input *)&dir;
    Error e;
    cr_assert_eq(input_open(&in, temp_path(&dir, "none"), NULL, &e), ERR_IO);
    cr_assert_null(in);
    cr_assert_eq(e.sys, ENOENT);
    cr_assert_not_null(strstr(e.message, "/none: No such file"));
    cr_assert_eq(input_open(&in, dir.path, NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, EISDIR);
    cr_assert_not_null(strstr(e.message, "Is a directory"), "%s", e.message);
    cr_assert_eq(input_open(&in, "/dev/zero", NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "regular file is expected"), "%s", e.message);
    cr_assert_eq(mkfifo(temp_path(&dir, "fifo"), 0600), 0);
    cr_assert_eq(input_open(&in, temp_path(&dir, "fifo"), NULL, &e), ERR_IO,
                 "and it must not wait for a writer");
    cr_assert_null(in);
}

Test(core_input, memory) {
    Input *in;
    char b[3];
    const uint8_t *map;
    cr_assert_eq(input_open_memory(&in, "some/name", "abc", 3, NULL, NULL), 0);
    cr_assert_str_eq(input_name(in), "name");
    cr_assert_eq(input_read(in, 1, b, 2, NULL), 0);
    cr_assert_eq(memcmp(b, "bc", 2), 0);
    cr_assert_eq(input_read(in, 2, b, 2, NULL), ERR_FORMAT);
    cr_assert_eq(input_map(in, &map, NULL), 0);
    cr_assert_eq(memcmp(map, "abc", 3), 0);
    cr_assert_eq(input_unchanged(in, NULL), 0);
    input_close(in);
    cr_assert_eq(input_open_memory(&in, "empty", NULL, 0, NULL, NULL), 0);
    cr_assert_eq(input_map(in, &map, NULL), 0);
    cr_assert_not_null(map);
    cr_assert_eq(input_read(in, 0, b, 0, NULL), 0);
    input_close(in);
}

Test(core_input, descriptor) {
    Input *in, *twin;
    char b[3];
    Error e;
    file_put(temp_path(&dir, "x"), "abc");
    int fd = open(temp_path(&dir, "x"), O_RDONLY);
    cr_assert_eq(input_open_fd(&in, fd, "final/name", NULL, &e), 0);
    cr_assert_eq(input_open_fd(&twin, fd, "twin", NULL, &e), 0);
    cr_assert_eq(close(fd), 0);
    input_close(twin);
    cr_assert_str_eq(input_name(in), "name");
    cr_assert_eq(input_read(in, 0, b, 3, &e), 0, "it has a descriptor of its own");
    cr_assert_eq(memcmp(b, "abc", 3), 0);
    cr_assert_eq(input_read(in, 1, b, 3, &e), ERR_FORMAT);
    input_close(in);
    cr_assert_eq(input_open_fd(&in, -1, "none", NULL, &e), ERR_IO);
    cr_assert_null(in);
}

Test(core_input, map) {
    const uint8_t *map, *again;
    Input *in = opened("x", "0123456789");
    cr_assert_eq(input_map(in, &map, NULL), 0);
    cr_assert_eq(memcmp(map, "0123456789", 10), 0);
    cr_assert_eq(input_map(in, &again, NULL), 0);
    cr_assert_eq(map, again);
    input_close(in);
    in = opened("empty", "");
    cr_assert_eq(input_map(in, &map, NULL), 0);
    cr_assert_not_null(map);
    input_close(in);
}

Test(core_input, unchanged) {
    Input *in = opened("x", "0123456789");
    Error e;
    cr_assert_eq(input_unchanged(in, &e), 0);
    struct timespec times[2] = {{0, UTIME_OMIT}, {1, 0}};
    cr_assert_eq(utimensat(AT_FDCWD, temp_path(&dir, "x"), times, 0), 0);
    cr_assert_eq(input_unchanged(in, &e), ERR_CHECK, "other time");
    cr_assert_not_null(strstr(e.message, "/x was changed"), "%s", e.message);
    input_close(in);

    in = opened("y", "0123456789");
    struct stat s;
    file_put(temp_path(&dir, "z"), "0123456789");
    cr_assert_eq(stat(temp_path(&dir, "y"), &s), 0);
    struct timespec same[2] = {s.st_atim, s.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, temp_path(&dir, "z"), same, 0), 0);
    cr_assert_eq(rename(temp_path(&dir, "z"), temp_path(&dir, "y")), 0);
    cr_assert_eq(input_unchanged(in, &e), ERR_CHECK, "other file");
    cr_assert_eq(unlink(temp_path(&dir, "y")), 0);
    cr_assert_eq(input_unchanged(in, &e), ERR_CHECK, "no file");
    cr_assert_eq(e.sys, ENOENT);
    input_close(in);

    /* by descriptor: the file counts, not what now has its name */
    file_put(temp_path(&dir, "v"), "0123456789");
    int fd = open(temp_path(&dir, "v"), O_RDONLY);
    cr_assert_eq(input_open_fd(&in, fd, "v", NULL, &e), 0);
    cr_assert_eq(close(fd), 0);
    cr_assert_eq(unlink(temp_path(&dir, "v")), 0);
    cr_assert_eq(input_unchanged(in, &e), 0);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", input_fd(in));
    cr_assert_eq(truncate(path, 5), 0);
    cr_assert_eq(input_unchanged(in, &e), ERR_CHECK, "cut");
    input_close(in);
}

Test(core_input, whole_file_as_text) {
    Arena *a;
    char *text;
    size_t length;
    Error e;
    cr_assert_eq(arena_open(&a, NULL, NULL), 0);
    file_put(temp_path(&dir, "x"), "0123456789");
    cr_assert_eq(input_read_file(&text, &length, temp_path(&dir, "x"), 10, a, &e), 0);
    cr_assert_str_eq(text, "0123456789");
    cr_assert_eq(length, 10);
    cr_assert_eq(input_read_file(&text, &length, temp_path(&dir, "x"), 9, a, &e), ERR_LIMIT);
    cr_assert_null(text);
    cr_assert_not_null(strstr(e.message, "10 bytes; at most 9"), "%s", e.message);
    cr_assert_eq(input_read_file(&text, &length, dir.path, 9, a, &e), ERR_IO);
    fault_set("pread", 1, EIO);
    cr_assert_eq(input_read_file(&text, &length, temp_path(&dir, "x"), 10, a, &e), ERR_IO);
    cr_assert_null(text);
    arena_close(a);
}

Test(core_input, every_allocation_may_fail) {
    FailingAllocator f;
    Input *in;
    Error e;
    file_put(temp_path(&dir, "x"), "");
    failing_init(&f, 0);
    cr_assert_eq(input_open(&in, temp_path(&dir, "x"), &f.allocator, &e), ERR_MEMORY);
    cr_assert_null(in);
    cr_assert_eq(input_open_memory(&in, "m", "", 0, &f.allocator, &e), ERR_MEMORY);
    cr_assert_null(in);
    f.left = 1;
    cr_assert_eq(input_open(&in, temp_path(&dir, "x"), &f.allocator, &e), 0);
    input_close(in);
    cr_assert_eq(f.live, 0);
}
