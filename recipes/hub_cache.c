/* hub_cache.c -- finding the base: base.path, or a snapshot in the Hugging Face cache. Nothing is downloaded.
 *
 * The cache's layout (huggingface_hub, "Manage your cache"): models--ORG--NAME/refs/REVISION holds a commit,
 * snapshots/COMMIT/FILE are symbolic links to ../../blobs/HASH. HASH is the SHA-256 of a large file, and so a
 * pin, and the git hash of a small one. */
#include "recipes/recipe_private.h"
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REF_LIMIT = 1024 };

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool hub_blob_sha256(const char *path, char hex[SHA256_HEX]) {
    char target[PATH_MAX];
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length <= 0) return false;
    target[length] = '\0';
    char *slash = strrchr(target, '/');
    if (!slash || !sha256_is_hex(slash + 1)) return false;
    *slash = '\0';
    const char *folder = strrchr(target, '/');
    if (strcmp(folder ? folder + 1 : target, "blobs") != 0) return false;
    memcpy(hex, slash + 1, SHA256_HEX);
    return true;
}

/* CACHE/models--ORG--NAME, in the arena. */
static char *repo_directory(const Recipe *r, const char *cache_root) {
    const char *slash = strchr(r->repo, '/');
    if (!slash) return arena_printf(r->arena, "%s/models--%s", cache_root, r->repo);
    return arena_printf(r->arena, "%s/models--%.*s--%s", cache_root, (int)(slash - r->repo), r->repo,
                        slash + 1);
}

/* The commit that refs/REVISION holds; *out is NULL if there is no such file or it holds something else. */
static int read_ref(const char **out, const Recipe *r, const char *directory, Error *err) {
    *out = NULL;
    char *path = arena_printf(r->arena, "%s/refs/%s", directory, r->revision), *text;
    if (!path) return error_memory(err, "the path of a ref");
    size_t length;
    Error missing;
    int code = input_read_file(&text, &length, path, REF_LIMIT, r->arena, &missing);
    if (code == ERR_MEMORY) return error_memory(err, path);
    if (code) return 0;
    while (length && strchr(" \t\r\n", text[length - 1])) text[--length] = '\0';
    if (strlen(text) == length && is_commit(text)) *out = text;
    return 0;
}

/* What to type. A commit or a branch other than main is named. */
static int not_cached(const Recipe *r, const char *cache_root, Error *err) {
    const char *revision = r->commit ? r->commit : strcmp(r->revision, "main") ? r->revision : NULL;
    return error_set(err, ERR_IO,
                     "%s: base.repo: %s%s%s is not in the Hugging Face cache%s%s; fetch it with: hf download "
                     "%s%s%s (or name a directory that holds it in base.path)",
                     r->path, r->repo, revision ? " at " : "", revision ? revision : "",
                     cache_root ? " " : "", cache_root ? cache_root : "", r->repo,
                     revision ? " --revision " : "", revision ? revision : "");
}

static int locate_in_cache(Recipe *r, const char *cache_root, const char **directory, const char **commit,
                           Error *err) {
    if (!cache_root) return not_cached(r, cache_root, err);
    char *repo = repo_directory(r, cache_root);
    if (!repo) return error_memory(err, "the path of a cached repository");
    const char *found = r->commit ? r->commit : is_commit(r->revision) ? r->revision : NULL;
    if (!found) TRY(read_ref(&found, r, repo, err));
    if (!found) return not_cached(r, cache_root, err);
    char *snapshot = arena_printf(r->arena, "%s/snapshots/%s", repo, found);
    if (!snapshot) return error_memory(err, "the path of a snapshot");
    if (!is_directory(snapshot)) return not_cached(r, cache_root, err);
    *directory = snapshot;
    *commit = found;
    return 0;
}

int recipe_locate(Recipe *r, const char *cache_root, const char **directory, const char **commit,
                  Error *err) {
    *directory = NULL;
    *commit = NULL;
    if (!r->base_path) return locate_in_cache(r, cache_root, directory, commit, err);
    struct stat st;
    if (stat(r->base_path, &st) != 0)
        return error_sys(err, ERR_IO, errno, "%s: base.path: can't find %s", r->path, r->base_path);
    *directory = r->base_path;
    *commit = r->commit;
    return 0;
}
