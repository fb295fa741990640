/* remote_side.c -- see remote_side.h. */
#include "cli/remote_side.h"
#include "cli/remote_compare.h"
#include "model/gguf.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SMALL_FILE = 64 << 20, MOST_LOCAL = 4096, DEPTH_LIMIT = 4 };

/* ---- a local side ---- */

static int add_local(Side *s, const char *path, uint64_t size, Error *err) {
    if (s->repo.n_files == MOST_LOCAL)
        return error_set(err, ERR_LIMIT, "%s: more than %d files", s->name, MOST_LOCAL);
    s->repo.files[s->repo.n_files++] = (HubFile){.path = path, .size = size};
    return 0;
}

/* Links are followed: the cache of the Hub is made of them. */
static int walk(Side *s, const char *below, unsigned depth, Arena *arena, Error *err) {
    char *path = arena_printf(arena, "%s/%s", s->directory, below);
    DIR *dir = path && depth < DEPTH_LIMIT ? opendir(path) : NULL;
    if (!dir)
        return error_sys(err, ERR_IO, depth < DEPTH_LIMIT ? errno : ELOOP, "can't list %s/%s", s->name,
                         below);
    int code = 0;
    for (struct dirent *e; !code && (e = readdir(dir));) {
        struct stat st;
        if (e->d_name[0] == '.') continue;
        char *name = arena_printf(arena, "%s%s%s", below, *below ? "/" : "", e->d_name);
        if (!name)
            code = error_memory(err, s->name);
        else if (fstatat(dirfd(dir), e->d_name, &st, 0) != 0)
            code = error_sys(err, ERR_IO, errno, "%s/%s", s->name, name);
        else if (S_ISDIR(st.st_mode))
            code = walk(s, name, depth + 1, arena, err);
        else if (S_ISREG(st.st_mode))
            code = add_local(s, name, (uint64_t)st.st_size, err);
    }
    closedir(dir);
    return code;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const HubFile *)a)->path, ((const HubFile *)b)->path);
}

static int open_local(Side *s, Arena *arena, Error *err) {
    struct stat st;
    s->repo.files = arena_alloc(arena, MOST_LOCAL, sizeof *s->repo.files);
    if (!s->repo.files) return error_memory(err, s->name);
    if (stat(s->name, &st) != 0) return error_sys(err, ERR_IO, errno, "%s", s->name);
    if (S_ISDIR(st.st_mode)) {
        s->directory = s->name;
        TRY(walk(s, "", 0, arena, err));
        qsort(s->repo.files, s->repo.n_files, sizeof *s->repo.files, by_path);
        return 0;
    }
    const char *slash = strrchr(s->name, '/');
    s->directory = slash ? arena_copy(arena, s->name, (size_t)(slash - s->name + 1)) : ".";
    if (!s->directory) return error_memory(err, s->name);
    return add_local(s, slash ? slash + 1 : s->name, (uint64_t)st.st_size, err);
}

static int local_path(const Side *s, const HubFile *f, char path[4096], Error *err) {
    int n = snprintf(path, 4096, "%s/%s", s->directory, f->path);
    return n > 0 && n < 4096 ? 0 : error_set(err, ERR_LIMIT, "%s: too long a path", f->path);
}

/* ---- either ---- */

int side_open(Side *out, Cli *cli, Hub *hub, const char *name, Arena *arena, Error *err) {
    *out = (Side){.name = name, .prefix = "", .cli = cli};
    if (is_remote(name))
        TRY(hub_repo_read(&out->repo, hub, name + 3, arena, err));
    else
        TRY(open_local(out, arena, err));
    if (!side_find(out, "config.json")) {
        out->prefix = "hf/";
        if (!side_find(out, "config.json")) out->prefix = "";
    }
    return 0;
}

HubFile *side_find(const Side *s, const char *path) {
    char whole[512];
    int n = snprintf(whole, sizeof whole, "%s%s", s->prefix, path);
    if (n < 0 || (size_t)n >= sizeof whole || !s->repo.n_files) return NULL;
    HubFile wanted = {.path = whole};
    return bsearch(&wanted, s->repo.files, s->repo.n_files, sizeof wanted, by_path);
}

int side_read(Side *s, const HubFile *f, Buffer *out, Error *err) {
    char path[4096], *text;
    size_t length;
    Arena *arena;
    if (!s->directory) {
        TRY(hub_repo_fetch(&s->repo, f, SMALL_FILE, out, err));
        s->fetched += f->size;
        return 0;
    }
    TRY(local_path(s, f, path, err));
    TRY(arena_open(&arena, NULL, err));
    int code = input_read_file(&text, &length, path, SMALL_FILE, arena, err);
    if (!code) buffer_append(out, text, length);
    arena_close(arena);
    return code ? code : buffer_ok(out, f->path, err);
}

typedef struct Hashing {
    Side *s;
    uint64_t total;
} Hashing;

static int hashed(void *context, uint64_t bytes) {
    Hashing *h = context;
    return progress_update(&h->s->cli->progress, "hash", bytes, h->total, NULL);
}

static int hash_local(Side *s, HubFile *f, Error *err) {
    char path[4096];
    Input *in;
    Hashing h = {s, f->size};
    TRY(local_path(s, f, path, err));
    TRY(input_open(&in, path, NULL, err));
    int code = sha256_input(f->sha256, in, hashed, &h, err);
    input_close(in);
    return code;
}

int side_hash(Side *s, HubFile *f, Error *err) {
    if (f->sha256[0]) return 0;
    if (s->directory) return hash_local(s, f, err);
    Buffer text;
    buffer_init(&text, NULL);
    int code = side_read(s, f, &text, err);
    if (!code) code = sha256_bytes(f->sha256, buffer_string(&text), text.length, err);
    buffer_free(&text);
    return code;
}

int side_same(Side *a, HubFile *x, Side *b, HubFile *y, bool *same, Error *err) {
    *same = x->size == y->size;
    if (!*same) return 0;
    if (x->git_oid[0] && y->git_oid[0]) {
        *same = !strcmp(x->git_oid, y->git_oid);
        return 0;
    }
    TRY(side_hash(a, x, err));
    TRY(side_hash(b, y, err));
    *same = !strcmp(x->sha256, y->sha256);
    return 0;
}

int side_gguf(Side *s, const HubFile *f, Model **out, Error *err) {
    char path[4096];
    if (!s->directory) return hub_repo_gguf(out, &s->repo, f, &s->fetched, err);
    TRY(local_path(s, f, path, err));
    return gguf_open(out, path, NULL, err);
}
