/* edit_shards.c -- see edit_shards.h. The others come first and the first shard last: as long as that is
 * missing, nothing looks whole. */
#include "convert/edit_shards.h"

#include "core/output.h"
#include "model/gguf_split.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Others {
    const Model *set;
    const char **paths; /* where they go, by shard; NULL: there already */
    size_t n_made;      /* shards below it are done; shard 0 counts as such */
    Arena *arena;
} Others;

static int check_path(const char *path, const Model *set, Error *err) {
    uint32_t number, count;
    if (gguf_is_shard_path(path, &number, &count) && number == 1 && count == set->n_files) return 0;
    return error_set(err, ERR_USAGE,
                     "%s: the model has %zu shards, so its first must be named -00001-of-%05zu.gguf", path,
                     set->n_files, set->n_files);
}

/* *same: the shard stands there already. Another file of that name is an error. */
static int look(bool *same, const char *from, const char *to, Error *err) {
    struct stat a, b;
    *same = false;
    if (stat(from, &a)) return error_sys(err, ERR_IO, errno, "%s", from);
    if (lstat(to, &b)) {
        if (errno == ENOENT) return 0;
        return error_sys(err, ERR_IO, errno, "%s", to);
    }
    *same = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
    if (*same) return 0;
    return error_set(err, ERR_IO, "%s exists and is another file than %s; give another -o, or remove it", to,
                     from);
}

/* All names are looked at before any is taken. */
static int plan_others(Others *o, const char *path, Error *err) {
    size_t n = o->set->n_files;
    o->paths = arena_alloc(o->arena, n, sizeof *o->paths);
    if (!o->paths) return error_memory(err, "the shards of a model");
    for (size_t i = 1; i < n; i++) {
        bool same;
        const char *to = gguf_shard_path(o->arena, path, i, n);
        if (!to) return error_memory(err, "a path");
        TRY(look(&same, input_path(o->set->files[i].input), to, err));
        if (!same) o->paths[i] = to;
    }
    return 0;
}

static int make_others(Others *o, bool copy, Error *err) {
    for (size_t i = 1; i < o->set->n_files; i++) {
        if (o->paths[i]) TRY(copy_file(input_path(o->set->files[i].input), o->paths[i], !copy, err));
        o->n_made = i + 1;
    }
    return 0;
}

static void remove_others(const Others *o) {
    for (size_t i = 1; i < o->n_made; i++)
        if (o->paths[i]) unlink(o->paths[i]);
}

static int write_first(FileResult *out, const Model *first, const Metadata *keys, const char *path,
                       ExecuteOptions options, Error *err) {
    GgufPlan *plan;
    TRY(gguf_plan_open(&plan, first, keys, options.allocator, err));
    int code = gguf_execute(out, plan, path, options, err);
    gguf_plan_close(plan);
    return code;
}

int edit_first_shard(FileResult *out, const Model *set, const Model *first, const Metadata *keys,
                     const char *path, bool copy, ExecuteOptions options, Error *err) {
    Others o = {.set = set};
    TRY(check_path(path, set, err));
    TRY(arena_open(&o.arena, options.allocator, err));
    int code = plan_others(&o, path, err);
    if (!code) code = make_others(&o, copy, err);
    if (!code) code = write_first(out, first, keys, path, options, err);
    if (code) remove_others(&o);
    arena_close(o.arena);
    return code;
}
