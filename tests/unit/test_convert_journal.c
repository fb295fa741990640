/* A journal is there only if it is whole and about the same work; a partial output is found again. */
#include "convert/journal.h"
#include "core/output.h"
#include "fixture.h"
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static const char key_a[SHA256_HEX] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char key_b[SHA256_HEX] = "00112233445566770000000000000000000000000000000000000000000000ff";

static void put(Buffer *b, const char *text) {
    buffer_init(b, NULL);
    buffer_text(b, text);
}

static bool read_back(const char *path, const char *key, const char *expected) {
    Buffer b;
    bool found;
    buffer_init(&b, NULL);
    cr_assert_eq(journal_read(&found, &b, path, key, NULL), 0);
    if (found) cr_assert_str_eq(buffer_string(&b), expected);
    buffer_free(&b);
    return found;
}

Test(convert_journal, is_replaced_and_removed) {
    FixturePath dir, path, name;
    Buffer b;
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    cr_assert_not(read_back(path, key_a, ""));
    put(&b, "first");
    cr_assert_eq(journal_write(path, key_a, &b, NULL), 0);
    buffer_free(&b);
    cr_assert(read_back(path, key_a, "first"));
    cr_assert_not(read_back(path, key_b, ""), "same name, another key");
    put(&b, "second, longer");
    cr_assert_eq(journal_write(path, key_a, &b, NULL), 0);
    buffer_free(&b);
    cr_assert(read_back(path, key_a, "second, longer"));
    fixture_path(name, dir, ".x.gguf.0011223344556677.journal");
    cr_assert_eq(access(name, F_OK), 0);
    journal_remove(path, key_a);
    cr_assert_neq(access(name, F_OK), 0);
    journal_remove(path, key_a);
    fixture_remove(dir);
}

Test(convert_journal, a_damaged_one_is_none) {
    FixturePath dir, path, name;
    Buffer b;
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    fixture_path(name, dir, ".x.gguf.0011223344556677.journal");
    put(&b, "payload");
    cr_assert_eq(journal_write(path, key_a, &b, NULL), 0);
    buffer_free(&b);
    Arena *arena;
    char *whole;
    size_t length;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(input_read_file(&whole, &length, name, 1000, arena, NULL), 0);
    for (size_t i = 0; i < length; i++) {
        whole[i] ^= 1;
        cr_assert_eq(output_file(name, whole, length, NULL, NULL), 0);
        cr_assert_not(read_back(path, key_a, ""), "byte %zu flipped", i);
        whole[i] ^= 1;
        cr_assert_eq(output_file(name, whole, i, NULL, NULL), 0);
        cr_assert_not(read_back(path, key_a, ""), "cut to %zu bytes", i);
    }
    arena_close(arena);
    fixture_remove(dir);
}

Test(convert_journal, partial_outputs) {
    FixturePath dir, path, name;
    Output *o, *second;
    uint64_t size;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    fixture_path(name, dir, ".x.gguf.abc123.partial");
    cr_assert_eq(output_resume(&o, path, "abc123", false, &size, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(size, 0);
    cr_assert_eq(output_write(o, 0, "hello", 5, NULL), 0);
    cr_assert_eq(output_flush(o, NULL), 0);
    cr_assert_eq(output_resume(&second, path, "abc123", false, &size, NULL, &err), ERR_IO, "locked");
    cr_assert(strstr(err.message, "another process"), "%s", err.message);
    cr_assert_eq(output_resume(&second, path, "abc124", false, &size, NULL, &err), 0, "another key");
    output_discard(second);
    output_keep(o);
    cr_assert_eq(access(name, F_OK), 0);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(output_resume(&o, path, "abc123", false, &size, NULL, &err), 0);
    cr_assert_eq(size, 5);
    cr_assert_eq(output_write(o, 5, " world", 6, NULL), 0);
    cr_assert_eq(output_commit(o, NULL), 0);
    cr_assert_neq(access(name, F_OK), 0);
    Arena *arena;
    char *text;
    size_t length;
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(input_read_file(&text, &length, path, 100, arena, NULL), 0);
    cr_assert_str_eq(text, "hello world");
    arena_close(arena);
    fixture_remove(dir);
}

Test(convert_journal, shared_writers_and_strangers) {
    FixturePath dir, path, name;
    Output *a, *b;
    uint64_t size;
    Error err = {0};
    fixture_dir(dir);
    fixture_path(path, dir, "x.gguf");
    fixture_path(name, dir, ".x.gguf.ff.partial");
    cr_assert_eq(output_resume(&a, path, "ff", true, &size, NULL, NULL), 0);
    cr_assert_eq(output_resume(&b, path, "ff", true, &size, NULL, NULL), 0);
    output_keep(b);
    cr_assert_eq(output_resume(&b, path, "ff", false, &size, NULL, NULL), ERR_IO, "somebody still writes");
    output_discard(a);
    cr_assert_eq(symlink("/etc/passwd", name), 0);
    cr_assert_eq(output_resume(&a, path, "ff", false, &size, NULL, &err), ERR_IO);
    cr_assert_eq(unlink(name), 0);
    FixturePath other;
    fixture_path(other, dir, "other");
    fixture_write_text(dir, "other", "precious");
    cr_assert_eq(link(other, name), 0);
    cr_assert_eq(output_resume(&a, path, "ff", false, &size, NULL, &err), ERR_IO);
    cr_assert(strstr(err.message, "not ours"), "%s", err.message);
    cr_assert_eq(output_resume(&a, path, "../x", false, &size, NULL, &err), ERR_IO);
    fixture_remove(dir);
}
