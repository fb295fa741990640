/* journal.c -- see journal.h. Layout: magic, key in hex, payload, SHA-256 in hex of all that stands before
 * it. */
#include "convert/journal.h"
#include "core/input.h"
#include "core/output.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char magic[] = "recast journal 1\n";
enum { MAGIC = sizeof magic - 1, KEY = SHA256_HEX - 1, NAME_DIGITS = 16, LARGEST = 256 << 20 };

/* Beside the output, hidden; the key's first digits are in the name, so that journals of other work don't
 * meet. */
static int journal_path(char out[PATH_MAX], const char *path, const char *key, Error *err) {
    const char *slash = strrchr(path, '/');
    int directory = slash ? (int)(slash + 1 - path) : 0;
    int n =
        snprintf(out, PATH_MAX, "%.*s.%s.%.*s.journal", directory, path, path + directory, NAME_DIGITS, key);
    return n > 0 && n < PATH_MAX ? 0 : error_sys(err, ERR_IO, ENAMETOOLONG, "the journal of %s", path);
}

/* A kill in the middle of writing leaves a file that the next write, or the removal, finds by its name. */
#define UNFINISHED "0"

static int replace_file(const char *name, const Buffer *b, Error *err) {
    Output *o;
    uint64_t old;
    TRY(output_resume(&o, name, UNFINISHED, false, &old, NULL, err));
    int code = old && ftruncate(output_fd(o), 0) != 0 ? error_sys(err, ERR_IO, errno, "%s", name) : 0;
    if (!code) code = output_write(o, 0, b->data, b->length, err);
    if (!code) return output_commit(o, err);
    output_discard(o);
    return code;
}

int journal_write(const char *path, const char key[SHA256_HEX], const Buffer *payload, Error *err) {
    char name[PATH_MAX], hex[SHA256_HEX];
    Buffer b;
    TRY(journal_path(name, path, key, err));
    buffer_init(&b, NULL);
    buffer_append(&b, magic, MAGIC);
    buffer_append(&b, key, KEY);
    buffer_append(&b, payload->data, payload->length);
    int code = buffer_ok(&b, name, err);
    if (!code) code = sha256_bytes(hex, b.data, b.length, err);
    if (!code) buffer_append(&b, hex, KEY);
    if (!code) code = buffer_ok(&b, name, err);
    if (!code) code = replace_file(name, &b, err);
    buffer_free(&b);
    return code;
}

static int check(bool *found, Buffer *payload, const char *text, size_t length, const char *key, Error *err) {
    char hex[SHA256_HEX];
    if (length < MAGIC + 2 * KEY || memcmp(text, magic, MAGIC) || memcmp(text + MAGIC, key, KEY)) return 0;
    TRY(sha256_bytes(hex, text, length - KEY, err));
    if (memcmp(hex, text + length - KEY, KEY)) return 0;
    buffer_append(payload, text + MAGIC + KEY, length - MAGIC - 2 * KEY);
    *found = true;
    return buffer_ok(payload, "a journal", err);
}

int journal_read(bool *found, Buffer *payload, const char *path, const char key[SHA256_HEX], Error *err) {
    char name[PATH_MAX], *text;
    size_t length;
    Arena *arena;
    *found = false;
    TRY(journal_path(name, path, key, err));
    if (access(name, F_OK) != 0) return 0;
    TRY(arena_open(&arena, NULL, err));
    int code = input_read_file(&text, &length, name, LARGEST, arena, err);
    if (!code) code = check(found, payload, text, length, key, err);
    arena_close(arena);
    return code;
}

void journal_remove(const char *path, const char key[SHA256_HEX]) {
    char name[PATH_MAX];
    if (journal_path(name, path, key, NULL)) return;
    unlink(name);
    output_forget(name, UNFINISHED);
}
