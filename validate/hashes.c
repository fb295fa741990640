/* hashes.c -- does a package agree with its own manifest: every file there, of the right size and SHA-256,
 * none besides, no links, and SHA256SUMS saying the same. */
#include "packager/package.h"
#include "validate/validation.h"
#include <string.h>

static const char manifest_name[] = "manifest.json", sums_name[] = "SHA256SUMS";

/* ---- hashing what is there ---- */

static bool is_listed(const Manifest *m, const char *path, size_t *index) {
    size_t low = 0, high = m->n_files; /* manifest_read checked the order */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, m->files[middle].path);
        if (index) *index = middle;
        if (!order) return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* Files that the manifest lists with the size they have, and manifest.json. */
static bool is_wanted(const void *context, const FoundFile *f) {
    const Manifest *m = context;
    size_t at = 0;
    return !strcmp(f->path, manifest_name) || (is_listed(m, f->path, &at) && m->files[at].size == f->size);
}

/* ---- files ---- */

typedef struct Lines {
    const Validation *v;
    size_t said, absent; /* absent: weights that the archive doesn't hold */
} Lines;

/* One line a file, up to a limit: a hostile package may hold any number. */
#define SAY(lines, name, ...)                                                                             \
    do {                                                                                                  \
        if ((lines)->said++ < MOST_LINES) check_add((lines)->v, "hashes", CHECK_FAIL, name, __VA_ARGS__); \
    } while (0)

static void compare_listed(Lines *l, const FileTree *w, const Manifest *m) {
    for (size_t i = 0; i < m->n_files; i++) {
        const ManifestFile *e = &m->files[i];
        const FoundFile *f = tree_find(w, e->path);
        if (!f && l->v->options->evidence && package_is_weights(e->path))
            l->absent++;
        else if (!f)
            SAY(l, e->path, "is missing");
        else if (f->kind != FOUND_FILE)
            continue; /* compare_found speaks of it */
        else if (f->size != e->size)
            SAY(l, e->path, "has %llu bytes, the manifest says %llu", (unsigned long long)f->size,
                (unsigned long long)e->size);
        else if (strcmp(f->sha256, e->sha256))
            SAY(l, e->path, "SHA-256 is %s, the manifest says %s", f->sha256, e->sha256);
    }
}

static void compare_found(Lines *l, const FileTree *w, const Manifest *m) {
    for (size_t i = 0; i < w->n_files; i++) {
        const FoundFile *f = &w->files[i];
        if (f->kind == FOUND_LINK)
            SAY(l, f->path, "is a symbolic link; a package holds its files itself");
        else if (f->kind == FOUND_OTHER)
            SAY(l, f->path, "is no regular file");
        else if (!package_is_unlisted(f->path) && !is_listed(m, f->path, NULL))
            SAY(l, f->path, "is not in the manifest");
    }
}

static void check_files(const Validation *v, const FileTree *w, const Manifest *m) {
    Lines l = {.v = v};
    uint64_t bytes = 0;
    compare_listed(&l, w, m);
    compare_found(&l, w, m);
    for (size_t i = 0; i < m->n_files; i++) bytes += m->files[i].size;
    if (l.said > MOST_LINES)
        check_add(v, "hashes", CHECK_FAIL, "files", "%zu more files are wrong", l.said - MOST_LINES);
    if (l.absent)
        check_add(v, "hashes", CHECK_NOT_RUN, "weights", "%zu files of weights are not in the archive",
                  l.absent);
    if (!l.said && l.absent)
        check_add(v, "hashes", CHECK_PASS, "files", "%zu files: sizes and SHA-256 as manifest.json says",
                  m->n_files - l.absent);
    else if (!l.said)
        check_add(v, "hashes", CHECK_PASS, "files",
                  "%zu files, %llu bytes: sizes and SHA-256 as manifest.json says%s", m->n_files,
                  (unsigned long long)bytes,
                  w->git_aside || w->cache_aside ? "; .git and .cache were not looked into" : "");
}

/* ---- SHA256SUMS ---- */

/* "<64 hex digits>  <path>\n" */
static bool take_line(const char **text, const char *end, char hex[SHA256_HEX], const char **path,
                      size_t *length) {
    const char *newline = memchr(*text, '\n', (size_t)(end - *text));
    if (!newline || newline - *text < SHA256_HEX + 2 || (*text)[64] != ' ' || (*text)[65] != ' ')
        return false;
    memcpy(hex, *text, 64);
    hex[64] = 0;
    *path = *text + 66;
    *length = (size_t)(newline - *path);
    *text = newline + 1;
    return sha256_is_hex(hex) && !memchr(*path, 0, *length);
}

static int check_line(const FileTree *w, const Manifest *m, const char *hex, const char *path, Error *err) {
    size_t at;
    const char *expected = NULL;
    if (!strcmp(path, manifest_name)) {
        const FoundFile *f = tree_find(w, path);
        expected = f ? f->sha256 : NULL;
    } else if (is_listed(m, path, &at)) {
        expected = m->files[at].sha256;
    }
    if (!expected) return error_set(err, ERR_CHECK, "lists %s, which the manifest does not", path);
    if (!strcmp(expected, hex)) return 0;
    return error_set(err, ERR_CHECK, "says %s for %s, expected %s", hex, path, expected);
}

static int compare_sums(const Validation *v, const FileTree *w, const Manifest *m, const char *text,
                        size_t length, Error *err) {
    const char *end = text + length, *path;
    char hex[SHA256_HEX];
    Table *seen;
    size_t n;
    TRY(table_open(&seen, v->arena, m->n_files + 1, err));
    while (text < end) {
        if (!take_line(&text, end, hex, &path, &n))
            return error_set(err, ERR_FORMAT, "line %zu is not \"SHA-256, two spaces, path\"",
                             table_count(seen) + 1);
        char *name = arena_copy(v->arena, path, n);
        if (!name) return error_memory(err, "SHA256SUMS");
        TRY(check_line(w, m, hex, name, err));
        int put = table_put(seen, name, n, 0);
        if (put == -1) return error_set(err, ERR_FORMAT, "lists %s twice", name);
        if (put) return error_memory(err, "SHA256SUMS");
    }
    for (size_t i = 0; i < m->n_files; i++)
        if (!table_get(seen, m->files[i].path, strlen(m->files[i].path), NULL))
            return error_set(err, ERR_CHECK, "does not list %s", m->files[i].path);
    if (table_get(seen, manifest_name, sizeof manifest_name - 1, NULL)) return 0;
    return error_set(err, ERR_CHECK, "does not list manifest.json");
}

static int read_sums(char **text, size_t *length, const Validation *v, const char *directory, Error *err) {
    enum { LIMIT = 64 << 20 };
    Input *in;
    TRY(package_open_file(&in, directory, sums_name, err));
    int code = input_size(in) > LIMIT ? error_set(err, ERR_LIMIT, "is larger than 64 MiB") : 0;
    *length = (size_t)input_size(in);
    *text = code ? NULL : arena_alloc(v->arena, *length + 1, 1);
    if (!code && !*text) code = error_memory(err, "SHA256SUMS");
    if (!code) code = input_read(in, 0, *text, *length, err);
    input_close(in);
    return code;
}

static int check_sums(const Validation *v, const char *directory, const FileTree *w, const Manifest *m,
                      Error *err) {
    const FoundFile *f = tree_find(w, sums_name);
    char *text;
    size_t length;
    Error found = {0};
    if (!f) {
        check_add(v, "hashes", CHECK_FAIL, sums_name, "is missing");
        return 0;
    }
    if (f->kind != FOUND_FILE) return 0; /* reported already */
    int code = read_sums(&text, &length, v, directory, &found);
    if (!code) code = compare_sums(v, w, m, text, length, &found);
    if (code) return check_error(v, "hashes", sums_name, &found, err);
    check_add(v, "hashes", CHECK_PASS, sums_name, "agrees with manifest.json");
    return 0;
}

int check_hashes(const Validation *v, const char *directory, FileTree *w, const Manifest *m, Error *err) {
    HashOptions options = {v->options->threads, v->options->progress};
    TRY(tree_hash(w, directory, is_wanted, m, options, v->arena, err));
    check_files(v, w, m);
    return check_sums(v, directory, w, m, err);
}
