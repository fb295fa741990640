/* undo.c -- see undo.h. Little-endian, like GGUF: magic, inode, size, number of patches; of each patch
 * offset, length, old bytes, new bytes; SHA-256 of all that. */
#include "convert/undo.h"

#include "core/output.h"
#include "core/sha256.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC_BYTES = 16, HEAD_BYTES = MAGIC_BYTES + 24, PATCH_BYTES = 12, HASH_DIGITS = SHA256_HEX - 1 };
static const char magic[MAGIC_BYTES + 1] = "RECAST UNDO 1\r\n\x1A";

int undo_path(char **out, const char *target, Arena *arena, Error *err) {
    const char *slash = strrchr(target, '/'), *name = slash ? slash + 1 : target;
    if (strlen(name) + sizeof "..recast-undo" - 1 > NAME_MAX) {
        return error_sys(err, ERR_IO, ENAMETOOLONG,
                         "an edit in place keeps an undo record beside the file, and .%s.recast-undo can't "
                         "be one",
                         name);
    }
    *out = arena_printf(arena, "%.*s.%s.recast-undo", (int)(name - target), target, name);
    return *out ? 0 : error_memory(err, "the name of an undo record");
}

/* ---- writing ---- */

static void put_record(Buffer *b, const UndoRecord *r) {
    buffer_append(b, magic, MAGIC_BYTES);
    buffer_u64(b, r->inode);
    buffer_u64(b, r->size);
    buffer_u64(b, r->n_patches);
    for (size_t i = 0; i < r->n_patches; i++) {
        const BytePatch *p = &r->patches[i];
        buffer_u64(b, p->offset);
        buffer_u32(b, p->length);
        buffer_append(b, p->before, p->length);
        buffer_append(b, p->after, p->length);
    }
}

static int check_length(const UndoRecord *r, Error *err) {
    uint64_t length = HEAD_BYTES + HASH_DIGITS;
    for (size_t i = 0; i < r->n_patches; i++) {
        length += PATCH_BYTES + 2 * (uint64_t)r->patches[i].length;
        if (length <= UNDO_MAX_BYTES) continue;
        return error_set(err, ERR_LIMIT,
                         "more than %d bytes would change, too many to be done in place; write a new file "
                         "(-o OUT.gguf)",
                         UNDO_MAX_BYTES / 2);
    }
    return 0;
}

int undo_write(const char *target, const UndoRecord *record, Error *err) {
    Arena *arena;
    char *path, hex[SHA256_HEX];
    Buffer b;
    TRY(check_length(record, err));
    TRY(arena_open(&arena, NULL, err));
    buffer_init(&b, NULL);
    put_record(&b, record);
    int code = buffer_ok(&b, "an undo record", err);
    if (!code) code = sha256_bytes(hex, b.data, b.length, err);
    if (!code) {
        buffer_append(&b, hex, HASH_DIGITS);
        code = buffer_ok(&b, "an undo record", err);
    }
    if (!code) code = undo_path(&path, target, arena, err);
    if (!code) code = output_file(path, b.data, b.length, NULL, err);
    buffer_free(&b);
    arena_close(arena);
    return code;
}

/* ---- reading ---- */

static int damaged(Error *err, const char *path, const char *what) {
    return error_set(err, ERR_FORMAT,
                     "%s %s, so it can't tell how to undo an edit; if the file beside it is as it should be "
                     "(recast inspect), remove the record",
                     path, what);
}

/* The record's patches point into bytes. */
static int parse(UndoRecord *r, const char *path, const uint8_t *bytes, size_t length, Arena *arena,
                 Error *err) {
    char hex[SHA256_HEX];
    if (length < HEAD_BYTES + HASH_DIGITS || memcmp(bytes, magic, MAGIC_BYTES))
        return damaged(err, path, "is no undo record");
    length -= HASH_DIGITS;
    TRY(sha256_bytes(hex, bytes, length, err));
    if (memcmp(hex, bytes + length, HASH_DIGITS)) return damaged(err, path, "is damaged (SHA-256)");
    uint64_t n = load_u64(bytes + MAGIC_BYTES + 16);
    *r = (UndoRecord){load_u64(bytes + MAGIC_BYTES), load_u64(bytes + MAGIC_BYTES + 8), 0, NULL};
    if (n > (length - HEAD_BYTES) / PATCH_BYTES) return damaged(err, path, "is damaged (number of patches)");
    BytePatch *patches = arena_alloc(arena, (size_t)n, sizeof *patches);
    if (!patches) return error_memory(err, "an undo record");
    uint64_t end = 0; /* of the patch before */
    size_t at = HEAD_BYTES;
    for (size_t i = 0; i < n; i++) {
        if (length - at < PATCH_BYTES) return damaged(err, path, "is damaged (a patch)");
        BytePatch *p = &patches[i];
        *p = (BytePatch){.offset = load_u64(bytes + at), .length = load_u32(bytes + at + 8)};
        at += PATCH_BYTES;
        if (p->length > (length - at) / 2 || p->offset < end || p->length > r->size ||
            p->offset > r->size - p->length)
            return damaged(err, path, "is damaged (the place of a patch)");
        p->before = bytes + at;
        p->after = bytes + at + p->length;
        at += 2 * (size_t)p->length;
        end = p->offset + p->length;
    }
    if (at != length) return damaged(err, path, "is damaged (its length)");
    r->patches = patches;
    r->n_patches = (size_t)n;
    return 0;
}

/* O_NOFOLLOW, and a regular file only: a record is never a link to something else. */
static int read_bytes(uint8_t **bytes, size_t *length, int fd, const char *path, Arena *arena, Error *err) {
    struct stat s;
    if (fstat(fd, &s)) return error_sys(err, ERR_IO, errno, "cannot examine %s", path);
    if (!S_ISREG(s.st_mode) || s.st_size > UNDO_MAX_BYTES) return damaged(err, path, "is no undo record");
    *length = (size_t)s.st_size;
    *bytes = arena_alloc(arena, *length + 1, 1);
    if (!*bytes) return error_memory(err, "an undo record");
    for (size_t done = 0; done < *length;) {
        ssize_t n = pread(fd, *bytes + done, *length - done, (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_sys(err, ERR_IO, errno, "cannot read %s", path);
        if (n == 0) return damaged(err, path, "became shorter while it was read");
        done += (size_t)n;
    }
    return 0;
}

int undo_read(UndoRecord **out, const char *target, Arena *arena, Error *err) {
    char *path;
    uint8_t *bytes = NULL;
    size_t length = 0;
    *out = NULL;
    Error too_long;
    int code = undo_path(&path, target, arena, &too_long);
    if (code) return code == ERR_MEMORY ? error_memory(err, "the name of an undo record") : 0; /* no record */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT) return 0;
    if (fd < 0 && errno == ELOOP) return damaged(err, path, "is a symbolic link");
    if (fd < 0) return error_sys(err, ERR_IO, errno, "cannot open %s", path);
    code = read_bytes(&bytes, &length, fd, path, arena, err);
    close(fd);
    if (code) return code;
    UndoRecord *r = arena_alloc(arena, 1, sizeof *r);
    if (!r) return error_memory(err, "an undo record");
    TRY(parse(r, path, bytes, length, arena, err));
    *out = r;
    return 0;
}

/* ---- removing ---- */

static int flush(int fd) {
    while (fsync(fd) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

static int remove_in(int directory, const char *path, bool *removed, Error *err) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    *removed = unlinkat(directory, name, 0) == 0 || errno == ENOENT;
    if (!*removed) return error_sys(err, ERR_IO, errno, "cannot remove %s", path);
    int sys = flush(directory);
    if (sys == 0 || sys == EINVAL || sys == ENOTSUP) return 0; /* directories that can't be flushed */
    return error_sys(err, ERR_IO, sys, "%s is removed, but its directory can't be written to disk", path);
}

static int remove_path(const char *path, bool *removed, Arena *arena, Error *err) {
    const char *slash = strrchr(path, '/');
    const char *parent = !slash ? "." : slash == path ? "/" : arena_copy(arena, path, (size_t)(slash - path));
    if (!parent) return error_memory(err, "the name of a directory");
    int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return error_sys(err, ERR_IO, errno, "cannot remove %s", path);
    int code = remove_in(directory, path, removed, err);
    close(directory);
    return code;
}

int undo_remove(const char *target, bool *removed, Error *err) {
    Arena *arena;
    char *path;
    bool gone = false;
    TRY(arena_open(&arena, NULL, err));
    int code = undo_path(&path, target, arena, err);
    if (!code) code = remove_path(path, &gone, arena, err);
    if (removed) *removed = gone;
    arena_close(arena);
    return code;
}

/* ---- the file itself ---- */

static int read_place(int fd, const BytePatch *p, uint8_t *out, const char *name, Error *err) {
    for (size_t done = 0; done < p->length;) {
        ssize_t n = pread(fd, out + done, p->length - done, (off_t)(p->offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return error_sys(err, ERR_IO, n < 0 ? errno : EIO, "cannot read %s at byte %llu", name,
                             (unsigned long long)(p->offset + done));
        done += (size_t)n;
    }
    return 0;
}

static int other_file(Error *err, const char *name, const char *why) {
    return error_set(err, ERR_CHECK,
                     "the undo record .%s.recast-undo belongs to another file: %s; if this one is as it "
                     "should be (recast inspect), remove the record",
                     name, why);
}

static int check_patch(const BytePatch *p, int fd, const char *name, Error *err) {
    uint8_t *now = mem_alloc(NULL, p->length);
    if (!now) return error_memory(err, "an undo record");
    int code = read_place(fd, p, now, name, err);
    for (uint32_t i = 0; !code && i < p->length; i++) {
        if (now[i] != p->before[i] && now[i] != p->after[i])
            code = other_file(err, name, "bytes that it names are neither the old nor the new ones");
    }
    mem_free(NULL, now);
    return code;
}

int undo_check(const UndoRecord *record, int fd, const char *name, Error *err) {
    struct stat s;
    if (fstat(fd, &s)) return error_sys(err, ERR_IO, errno, "cannot examine %s", name);
    if ((uint64_t)s.st_ino != record->inode)
        return other_file(err, name, "the inode is not the recorded one");
    if ((uint64_t)s.st_size != record->size) return other_file(err, name, "the size is not the recorded one");
    for (size_t i = 0; i < record->n_patches; i++) TRY(check_patch(&record->patches[i], fd, name, err));
    return 0;
}

int undo_put(const UndoRecord *record, int fd, bool new_bytes, const char *name, Error *err) {
    for (size_t i = 0; i < record->n_patches; i++) {
        const BytePatch *p = &record->patches[i];
        const uint8_t *bytes = new_bytes ? p->after : p->before;
        for (size_t done = 0; done < p->length;) {
            ssize_t n = pwrite(fd, bytes + done, p->length - done, (off_t)(p->offset + done));
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0)
                return error_sys(err, ERR_IO, n < 0 ? errno : EIO, "cannot write %s at byte %llu", name,
                                 (unsigned long long)(p->offset + done));
            done += (size_t)n;
        }
    }
    int sys = flush(fd);
    return sys ? error_sys(err, ERR_IO, sys, "cannot write %s to disk", name) : 0;
}
