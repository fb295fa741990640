/* package.c -- the files around the artifacts: recipe.json, .gitattributes, sweep.svg and README.md.in if the
 * recipe names a picture and a template of the card, provenance.json, bom.cdx.json, README.md, manifest.json,
 * SHA256SUMS, in this order, since each lists the ones before it. Artifacts are there already and are not
 * touched. */
#include "core/input.h"
#include "core/json.h"
#include "core/output.h"
#include "packager/evidence.h"
#include "packager/manifest_private.h"
#include "packager/signature.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OWN_FILES = 7, LARGEST_PICTURE = 4 << 20, DEPTH_LIMIT = 16 };

#define TEMPLATE_FILE "README.md.in" /* what README.md was made by, if the recipe names a template */

/* What a plain git push needs: the Hub's own list has no *.gguf, and a tokenizer.json is above its 10 MB. */
static const char gitattributes[] = "*.gguf filter=lfs diff=lfs merge=lfs -text\n"
                                    "*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
                                    "tokenizer.json filter=lfs diff=lfs merge=lfs -text\n";
static const char *const own_names[] = {
    "README.md",     "recipe.json", ".gitattributes", "manifest.json",        "SHA256SUMS", "sweep.svg",
    PROVENANCE_FILE, BOM_FILE,      SIGNATURE_FILE,   PROVENANCE_SIGNED_FILE, TEMPLATE_FILE};

/* ---- what is there ---- */

static int compare_files(const void *a, const void *b) {
    return strcmp(((const ManifestFile *)a)->path, ((const ManifestFile *)b)->path);
}

/* A regular file of that size, reached without symbolic links? */
static int check_present(int directory, const char *label, const ManifestFile *file, Error *err) {
    int at = directory, code = 0;
    const char *part = file->path;
    for (const char *slash; !code && (slash = strchr(part, '/')); part = slash + 1) {
        char name[256];
        size_t length = (size_t)(slash - part);
        int next = -1;
        if (length < sizeof name) {
            memcpy(name, part, length);
            name[length] = '\0';
            next = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        if (next < 0)
            code = error_sys(err, ERR_IO, length < sizeof name ? errno : ENAMETOOLONG,
                             "%s/%s: can't enter its directory", label, file->path);
        if (at != directory) close(at);
        at = next;
    }
    struct stat st;
    if (!code && fstatat(at, part, &st, AT_SYMLINK_NOFOLLOW) != 0)
        code = error_sys(err, ERR_IO, errno, "%s/%s is to be packaged", label, file->path);
    else if (!code && !S_ISREG(st.st_mode))
        code = error_set(err, ERR_FORMAT, "%s/%s is not a regular file; a package holds nothing else", label,
                         file->path);
    else if (!code && (uint64_t)st.st_size != file->size)
        code =
            error_set(err, ERR_CHECK, "%s/%s has %llu bytes, expected %llu; it changed after it was hashed",
                      label, file->path, (unsigned long long)st.st_size, (unsigned long long)file->size);
    if (at != directory && at >= 0) close(at);
    return code;
}

static int check_listed(const char *directory, const ManifestFile *files, size_t count, Error *err) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return error_sys(err, ERR_IO, errno, "can't open the directory %s", directory);
    int code = 0;
    for (size_t i = 0; i < count && !code; i++) {
        const char *problem = package_path_problem(files[i].path);
        if (problem)
            code = error_set(err, ERR_FORMAT, "%s: the path \"%s\" %s; a package can't hold it", directory,
                             files[i].path, problem);
        for (size_t k = 0; k < sizeof own_names / sizeof *own_names && !code; k++)
            if (strcmp(files[i].path, own_names[k]) == 0)
                code = error_set(err, ERR_FORMAT,
                                 "%s: an artifact can't be named %s, which the package writes itself",
                                 directory, own_names[k]);
        if (!code && i && strcmp(files[i - 1].path, files[i].path) == 0)
            code = error_set(err, ERR_FORMAT, "%s: %s is listed twice", directory, files[i].path);
        if (!code) code = check_present(fd, directory, &files[i], err);
    }
    close(fd);
    return code;
}

static bool is_listed(const char *path, const ManifestFile *files, size_t count) {
    ManifestFile wanted = {.path = path};
    return bsearch(&wanted, files, count, sizeof *files, compare_files) != NULL;
}

/* SHA256SUMS promises to list everything, so nothing else may lie in the directory. */
static int check_nothing_else(const char *directory, const char *below, unsigned depth,
                              const ManifestFile *files, size_t count, Arena *arena, Error *err) {
    char *path = arena_printf(arena, "%s%s%s", directory, *below ? "/" : "", below);
    if (!path) return error_memory(err, directory);
    DIR *dir = depth < DEPTH_LIMIT ? opendir(path) : NULL;
    if (!dir)
        return error_sys(err, ERR_IO, depth < DEPTH_LIMIT ? errno : ELOOP, "can't list the directory %s",
                         path);
    int code = 0;
    for (struct dirent *e; !code && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        char *name = arena_printf(arena, "%s%s%s", below, *below ? "/" : "", e->d_name);
        struct stat st;
        if (!name)
            code = error_memory(err, path);
        else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            code = error_sys(err, ERR_IO, errno, "%s/%s", directory, name);
        else if (S_ISDIR(st.st_mode))
            code = check_nothing_else(directory, name, depth + 1, files, count, arena, err);
        else if (!is_listed(name, files, count))
            code = error_set(err, ERR_FORMAT,
                             "%s/%s belongs to no artifact; a package lists every file that it holds",
                             directory, name);
    }
    closedir(dir);
    return code;
}

/* ---- recipe.json ---- */

/* The last part of a path, if it is a name: "../data/tiny" gives "tiny". */
static char *last_name(const char *path, Arena *arena) {
    size_t end = strlen(path);
    while (end && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin && path[begin - 1] != '/') begin--;
    char *name = arena_copy(arena, path + begin, end - begin);
    if (name && (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
        return arena_string(arena, "checkpoint");
    return name;
}

/* A package holds no path of the machine. With a repo the path goes; without one only the directory's own
 * name stays, since a recipe must say what it is made from. "$schema" pointed beside the recipe and would
 * point nowhere here. */
static int portable_recipe(Buffer *text, const PackageInputs *in, Arena *arena, Error *err) {
    static const char *const schema[] = {"$schema"}, *const base_path[] = {"base", "path"},
                             *const sign_key[] = {"package", "sign_key"},
                             *const sweep[] = {"package", "sweep"}, *const card[] = {"package", "card"};
    buffer_text(text, in->pinned_recipe);
    TRY(buffer_ok(text, "recipe.json", err));
    TRY(json_text_remove(text, schema, 1, err));
    TRY(json_text_remove(text, sign_key, 2, err));
    if (in->recipe->sweep) TRY(json_text_set(text, sweep, 2, "\"sweep.svg\"", err));
    if (in->recipe->card) TRY(json_text_set(text, card, 2, "\"" TEMPLATE_FILE "\"", err));
    TRY(recipe_set_lora_text(in->recipe, RECIPE_PATHS_NAMES, text, err));
    if (in->recipe->repo) return json_text_remove(text, base_path, 2, err);
    if (!in->recipe->base_path) return 0;
    char *name = last_name(in->recipe->base_path, arena);
    if (!name) return error_memory(err, "recipe.json");
    Buffer quoted;
    buffer_init(&quoted, NULL);
    json_write_string(&quoted, name);
    int code = buffer_ok(&quoted, "recipe.json", err);
    if (!code) code = json_text_set(text, base_path, 2, buffer_string(&quoted), err);
    buffer_free(&quoted);
    return code;
}

/* ---- writing ---- */

typedef struct Package {
    const char *directory;
    PackageInputs inputs; /* the caller's, with the files below */
    ManifestFile *files;  /* sorted; room for OWN_FILES more */
    ManifestFile *made;   /* the artifacts' alone */
    size_t n_made;
    const Allocator *allocator;
    Arena *arena;
} Package;

static int write_text(const Package *p, const char *name, const Buffer *text, ManifestFile *file,
                      Error *err) {
    char *path = arena_printf(p->arena, "%s/%s", p->directory, name);
    if (!path) return error_memory(err, name);
    *file = (ManifestFile){.path = name, .size = text->length};
    TRY(sha256_bytes(file->sha256, buffer_string(text), text->length, err));
    return output_file(path, buffer_string(text), text->length, p->allocator, err);
}

/* Writes a file and lists it for those that follow. */
static int add_text(Package *p, const char *name, const Buffer *text, Error *err) {
    Manifest *m = &p->inputs.manifest;
    TRY(write_text(p, name, text, &p->files[m->n_files], err));
    m->n_files++;
    qsort(p->files, m->n_files, sizeof *p->files, compare_files);
    return 0;
}

static int write_sums(const Package *p, const ManifestFile *manifest, Buffer *text, Error *err) {
    const Manifest *m = &p->inputs.manifest;
    bool done = false;
    ManifestFile sums;
    buffer_clear(text);
    for (size_t i = 0; i < m->n_files; i++) {
        if (!done && strcmp(manifest->path, m->files[i].path) < 0) {
            buffer_printf(text, "%s  %s\n", manifest->sha256, manifest->path);
            done = true;
        }
        buffer_printf(text, "%s  %s\n", m->files[i].sha256, m->files[i].path);
    }
    if (!done) buffer_printf(text, "%s  %s\n", manifest->sha256, manifest->path);
    TRY(buffer_ok(text, "SHA256SUMS", err));
    return write_text(p, "SHA256SUMS", text, &sums, err);
}

int package_read_picture(char **out, size_t *length, const char *path, Arena *arena, Error *err) {
    TRY(input_read_file(out, length, path, LARGEST_PICTURE, arena, err));
    if (*length >= 4 && memcmp(*out, "<svg", 4) == 0) return 0;
    return error_set(err, ERR_RECIPE, "package.sweep: %s is not a picture of `recast sweep --picture`", path);
}

static int add_sweep(Package *p, Buffer *text, Error *err) {
    char *picture;
    size_t length;
    if (!p->inputs.recipe->sweep) return 0;
    TRY(package_read_picture(&picture, &length, p->inputs.recipe->sweep, p->arena, err));
    buffer_clear(text);
    buffer_append(text, picture, length);
    TRY(buffer_ok(text, "sweep.svg", err));
    return add_text(p, "sweep.svg", text, err);
}

/* The card, and before it the template that made it, so that a build of the package's own recipe makes it
 * again. */
static int add_card(Package *p, Buffer *text, Error *err) {
    CardTemplate own = {.name = NULL};
    const char *path = p->inputs.recipe->card;
    if (path) {
        TRY(card_template_read(&own, path, p->arena, err));
        buffer_clear(text);
        buffer_append(text, own.file, own.file_length);
        TRY(buffer_ok(text, TEMPLATE_FILE, err));
        TRY(add_text(p, TEMPLATE_FILE, text, err));
    }
    buffer_clear(text);
    TRY(card_write(text, &p->inputs, path ? &own : NULL, err));
    return add_text(p, "README.md", text, err);
}

static const char *hash_of(const Package *p, const char *name) {
    ManifestFile wanted = {.path = name};
    const ManifestFile *f =
        bsearch(&wanted, p->files, p->inputs.manifest.n_files, sizeof *p->files, compare_files);
    return f ? f->sha256 : "";
}

/* They speak of the artifacts' files, `made`, and of the recipe. */
static int write_evidence(Package *p, Buffer *text, Error *err) {
    PackageInputs made = p->inputs;
    made.manifest.n_files = p->n_made;
    made.manifest.files = p->made;
    buffer_clear(text);
    TRY(provenance_statement(text, &made, hash_of(p, "recipe.json"), err));
    TRY(add_text(p, PROVENANCE_FILE, text, err));
    buffer_clear(text);
    TRY(bom_write(text, &made, hash_of(p, "recipe.json"), hash_of(p, PROVENANCE_FILE), err));
    return add_text(p, BOM_FILE, text, err);
}

static int write_all(Package *p, Buffer *text, Error *err) {
    ManifestFile manifest;
    TRY(portable_recipe(text, &p->inputs, p->arena, err));
    TRY(add_text(p, "recipe.json", text, err));
    buffer_clear(text);
    buffer_text(text, gitattributes);
    TRY(buffer_ok(text, ".gitattributes", err));
    TRY(add_text(p, ".gitattributes", text, err));
    TRY(add_sweep(p, text, err));
    TRY(write_evidence(p, text, err));
    TRY(add_card(p, text, err));
    buffer_clear(text);
    TRY(manifest_write(text, &p->inputs.manifest, err));
    TRY(write_text(p, "manifest.json", text, &manifest, err));
    return write_sums(p, &manifest, text, err);
}

static int open_package(Package *p, Error *err) {
    Manifest *m = &p->inputs.manifest;
    size_t room;
    p->files = size_add(&room, m->n_files, OWN_FILES) ? arena_alloc(p->arena, room, sizeof *p->files) : NULL;
    if (!p->files) return error_memory(err, "the files of a package");
    if (m->n_files) memcpy(p->files, m->files, m->n_files * sizeof *p->files);
    qsort(p->files, m->n_files, sizeof *p->files, compare_files);
    m->files = p->files;
    p->n_made = m->n_files;
    p->made = arena_alloc(p->arena, p->n_made, sizeof *p->made);
    if (!p->made) return error_memory(err, "the files of a package");
    if (p->n_made) memcpy(p->made, p->files, p->n_made * sizeof *p->made);
    m->recipe_file = "recipe.json";
    TRY(check_listed(p->directory, p->files, m->n_files, err));
    return check_nothing_else(p->directory, "", 0, p->files, m->n_files, p->arena, err);
}

/* Measured on tiny-extreme, which lists 13 files: 41 KB, 54 with signatures. A file is named in the manifest,
 * the sums, the statement (twice when it is signed), the bill of materials and the signature. */
uint64_t package_evidence_bytes(const Recipe *r, size_t n_files, uint64_t tokens) {
    enum { ALWAYS = 40 << 10, A_FILE = 2 << 10, A_TOKEN = 12 };
    return ALWAYS + (uint64_t)(n_files + r->n_outputs) * A_FILE + tokens * A_TOKEN;
}

int package_write(const char *directory, const PackageInputs *in, const Allocator *allocator, Error *err) {
    Package p = {.directory = directory, .inputs = *in, .allocator = allocator};
    TRY(arena_open(&p.arena, allocator, err));
    Buffer text;
    buffer_init(&text, allocator);
    int code = open_package(&p, err);
    if (!code) code = write_all(&p, &text, err);
    buffer_free(&text);
    arena_close(p.arena);
    return code;
}
