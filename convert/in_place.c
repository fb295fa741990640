/* in_place.c -- see in_place.h. The order of things: lock; take back what was cut short; read the header;
 * find the bytes; write the record; write the bytes; remove the record. Each step is on disk before the next.
 *
 * Where a value lies follows from the sizes of the keys before it, as the format has no other freedom. What
 * is found there is compared with what the reader read before anything is written. */
#include "convert/in_place.h"

#include "convert/undo.h"
#include "model/family.h"
#include "model/gguf.h"
#include "model/gguf_split.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PREAMBLE_BYTES = 24 /* magic, version, numbers of tensors and of keys */ };

struct InPlace {
    const char *path, *name;
    int fd;
    bool restored;
    Model *file; /* as it stands */
    Arena *arena;
};

/* ---- opening ---- */

static int refuse(Error *err, const char *path, const char *why) {
    return error_set(err, ERR_IO, "%s can't be edited in place: %s", path, why);
}

/* O_NOFOLLOW: who edits through a link changes a file that stands elsewhere, under names that nobody named.
 */
static int open_file(InPlace *e, Error *err) {
    e->fd = open(e->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (e->fd < 0 && errno == ELOOP)
        return refuse(err, e->path,
                      "it is a symbolic link; name the file itself, or write a new one (-o OUT.gguf)");
    if (e->fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM || errno == ETXTBSY))
        return error_sys(err, ERR_IO, errno,
                         "%s can't be edited in place, but a new file can be written (-o OUT.gguf)", e->path);
    if (e->fd < 0) return error_sys(err, ERR_IO, errno, "cannot open %s", e->path);
    return 0;
}

/* Root may write what is marked read-only, but whoever marked it meant something by it. */
static int check_file(const InPlace *e, Error *err) {
    struct stat s;
    if (fstat(e->fd, &s)) return error_sys(err, ERR_IO, errno, "cannot examine %s", e->path);
    if (!S_ISREG(s.st_mode)) return refuse(err, e->path, "it is no regular file");
    if (!(s.st_mode & 0222))
        return refuse(err, e->path, "it is read-only; chmod u+w it, or write a new file (-o OUT.gguf)");
    if (s.st_nlink != 1)
        return refuse(err, e->path,
                      "it has other hard links, which would change too; write a new file (-o OUT.gguf)");
    return 0;
}

static int lock_file(const InPlace *e, Error *err) {
    while (flock(e->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno == EWOULDBLOCK) return refuse(err, e->path, "another edit is at work on it");
        return error_sys(err, ERR_IO, errno, "cannot lock %s, which keeps out other edits", e->path);
    }
    return 0;
}

static int take_back(InPlace *e, Error *err) {
    UndoRecord *record;
    TRY(undo_read(&record, e->path, e->arena, err));
    if (!record) return 0;
    TRY(undo_check(record, e->fd, e->name, err));
    TRY(undo_put(record, e->fd, false, e->name, err));
    TRY(undo_remove(e->path, NULL, err));
    e->restored = true;
    return 0;
}

static int read_file(InPlace *e, const Allocator *allocator, Error *err) {
    Input *in;
    TRY(input_open(&in, e->path, allocator, err));
    int code = gguf_open_shard(&e->file, in, allocator, err);
    if (code) input_close(in);
    return code;
}

static int open_all(InPlace *e, const char *path, const Allocator *allocator, Error *err) {
    if (!(e->path = arena_string(e->arena, path))) return error_memory(err, path);
    const char *slash = strrchr(e->path, '/');
    e->name = slash ? slash + 1 : e->path;
    TRY(open_file(e, err));
    TRY(check_file(e, err));
    TRY(lock_file(e, err));
    TRY(take_back(e, err));
    return read_file(e, allocator, err);
}

int in_place_open(InPlace **out, const char *path, const Allocator *allocator, Error *err) {
    Arena *arena;
    *out = NULL;
    TRY(arena_open(&arena, allocator, err));
    InPlace *e = arena_alloc(arena, 1, sizeof *e);
    if (!e) {
        arena_close(arena);
        return error_memory(err, path);
    }
    *e = (InPlace){.fd = -1, .arena = arena};
    int code = open_all(e, path, allocator, err);
    if (code) {
        in_place_close(e);
        return code;
    }
    *out = e;
    return 0;
}

void in_place_close(InPlace *e) {
    if (!e) return;
    model_close(e->file);
    if (e->fd >= 0) close(e->fd); /* and with it the lock */
    arena_close(e->arena);
}

bool in_place_restored(const InPlace *e) {
    return e->restored;
}
const Metadata *in_place_metadata(const InPlace *e) {
    return e->file->metadata;
}

int in_place_interrupted(bool *out, const char *path, Error *err) {
    Arena *arena;
    UndoRecord *record;
    Error found = {0};
    *out = false;
    TRY(arena_open(&arena, NULL, err));
    int code = undo_read(&record, path, arena, &found);
    *out = code == ERR_FORMAT || (!code && record);
    arena_close(arena);
    if (!code || code == ERR_FORMAT) return 0;
    if (err) *err = found;
    return code;
}

/* ---- which bytes ---- */

static uint64_t value_bytes(const GgufValue *v) {
    const GgufArray *a = &v->array;
    if (v->type == GGUF_STRING) return 8 + v->string.length;
    if (v->type != GGUF_ARRAY) return gguf_type_bytes(v->type);
    uint64_t bytes = 12;
    if (a->type != GGUF_STRING) return bytes + a->count * gguf_type_bytes(a->type);
    for (uint64_t i = 0; i < a->count; i++) bytes += 8 + a->strings[i].length;
    return bytes;
}

/* Arrays are not edited, so a copy of the keys shares them. */
static bool same_value(const GgufValue *a, const GgufValue *b) {
    if (a->type != b->type) return false;
    switch (a->type) {
    case GGUF_ARRAY: return a->array.raw == b->array.raw && a->array.strings == b->array.strings;
    case GGUF_STRING:
        return a->string.length == b->string.length &&
               memcmp(a->string.data, b->string.data, (size_t)a->string.length) == 0;
    case GGUF_F32: return memcmp(&a->f32, &b->f32, sizeof a->f32) == 0; /* -0 is another value than 0 */
    case GGUF_F64: return memcmp(&a->f64, &b->f64, sizeof a->f64) == 0;
    default: return a->u == b->u;
    }
}

static int would_move(Error *err, const GgufKv *kv, const char *what) {
    return error_set(err, ERR_UNSUPPORTED,
                     "%.64s %s: the tensor data behind the header would have to move, which can't be done in "
                     "place; write a new file (-o OUT.gguf)",
                     kv->key.data, what);
}

/* May old become new? */
static int check_change(const GgufKv *old, const GgufValue *new_value, Error *err) {
    const GgufValue *value = &old->value;
    if (gguf_is_split_key(old))
        return error_set(err, ERR_UNSUPPORTED, "%.64s ties the shards together and can't be edited in place",
                         old->key.data);
    if (new_value->type != value->type) return would_move(err, old, "would get another type");
    if (value->type == GGUF_ARRAY)
        return error_set(err, ERR_UNSUPPORTED, "%.64s is an array, which can't be edited in place",
                         old->key.data);
    if (value_bytes(new_value) == value_bytes(value)) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "%.64s has a string of %llu bytes and would get one of %llu: in place, only a string of "
                     "equal length can replace it; write a new file (-o OUT.gguf)",
                     old->key.data, (unsigned long long)value->string.length,
                     (unsigned long long)new_value->string.length);
}

static int not_as_read(const InPlace *e, uint64_t at, Error *err) {
    return error_at(err, ERR_CHECK, at,
                    "%s was changed while it was in use; run again when nothing writes it", e->path);
}

/* The patch for a key that stands at `at`. Of a string the length stays, so only its text is in the patch. */
static int make_patch(InPlace *e, BytePatch *p, const GgufKv *old, const GgufValue *new_value, uint64_t at,
                      Error *err) {
    GgufKv wanted = {old->key, *new_value, false};
    Buffer a, b;
    buffer_init(&a, NULL);
    buffer_init(&b, NULL);
    metadata_write_kv(&a, old);
    metadata_write_kv(&b, &wanted);
    int code = buffer_ok(&a, "a value", err);
    if (!code) code = buffer_ok(&b, "a value", err);
    uint8_t *now = code ? NULL : arena_alloc(e->arena, a.length, 1);
    const char *after = code ? NULL : arena_copy(e->arena, b.data, b.length);
    size_t length = a.length, skip = 8 + (size_t)old->key.length + 4;
    if (!code && (!now || !after)) code = error_memory(err, "a value");
    if (!code) code = input_read(e->file->files[0].input, at, now, length, err);
    /* Any byte but 0 is true to a reader, and what we write is 1. */
    size_t compared = old->value.type == GGUF_BOOL ? skip : length;
    if (!code && memcmp(now, a.data, compared) != 0) code = not_as_read(e, at, err);
    buffer_free(&a);
    buffer_free(&b);
    if (code) return code;
    if (old->value.type == GGUF_STRING) skip += 8;
    if (length - skip > UNDO_MAX_BYTES) return error_set(err, ERR_LIMIT, "a value is too large");
    *p = (BytePatch){at + skip, (uint32_t)(length - skip), now + skip, (const uint8_t *)after + skip};
    return 0;
}

static int find_patches(InPlace *e, BytePatch *patches, size_t *n, const Metadata *edited, Error *err) {
    const Metadata *m = e->file->metadata;
    uint64_t at = PREAMBLE_BYTES;
    *n = 0;
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *old = metadata_slot(m, i);
        const GgufValue *new_value = metadata_get(edited, old->key.data);
        uint64_t here = at;
        at += 8 + old->key.length + 4 + value_bytes(&old->value);
        if (!new_value) return would_move(err, old, "would go");
        if (same_value(&old->value, new_value)) continue;
        TRY(check_change(old, new_value, err));
        TRY(make_patch(e, &patches[(*n)++], old, new_value, here, err));
    }
    return 0;
}

static int check_no_new_key(const Metadata *m, const Metadata *edited, Error *err) {
    for (size_t i = 0; i < metadata_slots(edited); i++) {
        const GgufKv *kv = metadata_slot(edited, i);
        if (!kv->removed && !metadata_get(m, kv->key.data)) return would_move(err, kv, "would be new");
    }
    return 0;
}

/* A file that the reader would refuse is not made. */
static int check_parameters(const InPlace *e, const Metadata *edited, Error *err) {
    const char *kind = metadata_string(edited, "general.type");
    ModelParams params = {0};
    if (!metadata_get(edited, "general.architecture")) return 0; /* a later shard, or no model */
    TRY(params_from_metadata(&params, edited, err));
    if (kind && strcmp(kind, "model")) return 0;
    const Family *family = family_by_gguf(params.architecture);
    params.tied_embeddings = !model_find(e->file, "output.weight");
    return family ? family->check_params(&params, err) : 0;
}

/* ---- changing them ---- */

/* The last moment before the first byte is written. */
static int still_the_same(const InPlace *e, struct stat *s, Error *err) {
    struct stat named;
    TRY(input_unchanged(e->file->files[0].input, err));
    TRY(check_file(e, err));
    if (fstat(e->fd, s) || lstat(e->path, &named))
        return error_sys(err, ERR_IO, errno, "cannot examine %s", e->path);
    if (s->st_dev == named.st_dev && s->st_ino == named.st_ino) return 0;
    return error_set(err, ERR_CHECK, "%s is another file than it was; run again", e->path);
}

/* After a failure: the old bytes, and then no record. If that fails too, the record stays. */
static int go_back(const InPlace *e, const UndoRecord *record, int code, Error *err) {
    Error second = {0};
    int again = undo_put(record, e->fd, false, e->name, &second);
    if (!again) {
        /* A record that stays is harmless now: it would put back what is there already. */
        (void)!undo_remove(e->path, NULL, &second);
        return error_wrap(err, code, "nothing was changed");
    }
    return error_wrap(
        err, code,
        "the edit was cut short and can't be taken back now (%.200s); run recast edit --in-place "
        "%s again, which will",
        second.message, e->path);
}

static int write_patches(const InPlace *e, const UndoRecord *record, Error *err) {
    bool removed = false;
    int code = undo_write(e->path, record, err);
    if (code) { /* it may be there already, but not on disk */
        (void)!undo_remove(e->path, NULL, NULL);
        return error_wrap(err, code, "nothing was changed");
    }
    code = undo_put(record, e->fd, true, e->name, err);
    if (code) return go_back(e, record, code, err);
    code = undo_remove(e->path, &removed, err);
    if (!code) return 0;
    if (!removed) return go_back(e, record, code, err);
    return error_wrap(err, code, "%s is edited", e->path);
}

int in_place_commit(InPlace *e, const Metadata *edited, size_t *n_values, Error *err) {
    const Metadata *m = e->file->metadata;
    struct stat s;
    size_t n;
    *n_values = 0;
    BytePatch *patches = arena_alloc(e->arena, metadata_slots(m), sizeof *patches);
    if (!patches) return error_memory(err, "an edit");
    TRY(check_no_new_key(m, edited, err));
    TRY(find_patches(e, patches, &n, edited, err));
    if (n == 0) return 0;
    TRY(check_parameters(e, edited, err));
    TRY(still_the_same(e, &s, err));
    UndoRecord record = {(uint64_t)s.st_ino, (uint64_t)s.st_size, n, patches};
    TRY(write_patches(e, &record, err));
    *n_values = n;
    return 0;
}
