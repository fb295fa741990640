/* hub_repo.c -- see hub_repo.h. */
#include "packager/hub_repo.h"
#include "core/json.h"
#include "model/family.h"
#include "model/gguf.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_FILES = 100000, MOST_PAGES = 1000, FIRST_BYTES = 1 << 20, MOST_BYTES = 256 << 20 };

int git_blob_oid(char hex[41], const void *bytes, size_t length, Error *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    char head[40];
    int n = snprintf(head, sizeof head, "blob %zu", length);
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    bool ok = c && EVP_DigestInit_ex(c, EVP_sha1(), NULL) && EVP_DigestUpdate(c, head, (size_t)n + 1) &&
              EVP_DigestUpdate(c, bytes, length) && EVP_DigestFinal_ex(c, digest, NULL);
    EVP_MD_CTX_free(c);
    if (!ok) return error_memory(err, "a git hash");
    for (int i = 0; i < 20; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

/* ---- names and hashes ---- */

static int read_entry(HubFile *f, const cJSON *item, Arena *arena, Error *err) {
    const cJSON *lfs = json_present(item, "lfs");
    const char *path = cJSON_GetStringValue(json_get(item, "path")),
               *oid = cJSON_GetStringValue(json_get(lfs ? lfs : item, "oid"));
    if (!path || !oid || !json_u64(json_get(item, "size"), &f->size))
        return error_set(err, ERR_FORMAT, "the Hub's list of files has an entry without path, oid or size");
    if (lfs ? !sha256_is_hex(oid) : strlen(oid) != 40)
        return error_set(err, ERR_FORMAT, "%s: the Hub's hash \"%s\" is none", path, oid);
    strcpy(lfs ? f->sha256 : f->git_oid, oid);
    f->path = arena_string(arena, path);
    return f->path ? 0 : error_memory(err, path);
}

static int read_page(HubRepo *r, size_t *room, const cJSON *page, Arena *arena, Error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, page) {
        const char *type = cJSON_GetStringValue(json_get(item, "type"));
        if (!type || strcmp(type, "file") != 0) continue;
        if (r->n_files == MOST_FILES)
            return error_set(err, ERR_LIMIT, "%s has more than %d files", r->name, MOST_FILES);
        if (r->n_files == *room) {
            HubFile *more = arena_alloc(arena, *room * 2 + 64, sizeof *more);
            if (!more) return error_memory(err, "the list of files");
            if (r->n_files) memcpy(more, r->files, r->n_files * sizeof *more);
            r->files = more;
            *room = *room * 2 + 64;
        }
        TRY(read_entry(&r->files[r->n_files], item, arena, err));
        r->n_files++;
    }
    return 0;
}

static int read_tree(HubRepo *r, Arena *arena, Error *err) {
    size_t room = 0;
    const char *url = arena_printf(arena, "/api/models/%s/tree/%s?recursive=true", r->name, r->commit);
    for (int page = 0; url && page < MOST_PAGES; page++) {
        HubRequest q = {.method = "GET", .url = url, .authorize = true};
        HubAnswer a = {0};
        cJSON *json = NULL;
        int code = hub_send(r->hub, &q, &a, err);
        if (!code && a.status != 200) code = hub_refused(r->hub, &q, &a, err);
        if (!code) code = json_parse(&json, buffer_string(&a.body), a.body.length, r->name, err);
        if (!code) code = read_page(r, &room, json, arena, err);
        url = !code && a.next[0] ? arena_string(arena, a.next) : NULL;
        cJSON_Delete(json);
        hub_answer_free(&a);
        TRY(code);
    }
    return 0;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const HubFile *)a)->path, ((const HubFile *)b)->path);
}

static int find_commit(HubRepo *r, const char *revision, Arena *arena, Error *err) {
    Buffer encoded;
    cJSON *info = NULL;
    buffer_init(&encoded, NULL);
    hub_encode(&encoded, revision, false);
    char *url = arena_printf(arena, "/api/models/%s/revision/%s", r->name, buffer_string(&encoded));
    int code = url && !encoded.failed ? 0 : error_memory(err, "a URL");
    buffer_free(&encoded);
    if (!code) code = hub_json(r->hub, "GET", url, NULL, &info, err);
    const char *sha = cJSON_GetStringValue(json_get(info, "sha"));
    if (!code && (!sha || strlen(sha) > 64 || strspn(sha, "0123456789abcdef") != strlen(sha)))
        code = error_set(err, ERR_FORMAT, "%s: the Hub names no commit", r->name);
    if (!code) strcpy(r->commit, sha);
    cJSON_Delete(info);
    return code;
}

int hub_repo_read(HubRepo *out, Hub *hub, const char *name, Arena *arena, Error *err) {
    const char *at = strchr(name, '@');
    char *repo = arena_copy(arena, name, at ? (size_t)(at - name) : strlen(name));
    if (!repo) return error_memory(err, "a repository");
    *out = (HubRepo){.hub = hub, .name = repo};
    if (!hub_is_repo(repo)) return error_set(err, ERR_USAGE, "hf:%s is no repository: hf:user/name", name);
    TRY(find_commit(out, at ? at + 1 : "main", arena, err));
    TRY(read_tree(out, arena, err));
    if (out->n_files) qsort(out->files, out->n_files, sizeof *out->files, by_path);
    return 0;
}

/* ---- bytes ---- */

/* Bytes first .. first+length-1, or less at the end of the file. */
static int fetch(const HubRepo *repo, const HubFile *file, uint64_t first, uint64_t length, Buffer *out,
                 Error *err) {
    Buffer url;
    char range[64];
    HubAnswer a = {0};
    buffer_init(&url, NULL);
    buffer_printf(&url, "/%s/resolve/%s/", repo->name, repo->commit);
    hub_encode(&url, file->path, true);
    snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)first,
             (unsigned long long)(first + length - 1));
    HubRequest q = {
        .method = "GET", .url = buffer_string(&url), .authorize = true, .range = length ? range : NULL};
    int code = buffer_ok(&url, "a URL", err);
    if (!code) code = hub_send(repo->hub, &q, &a, err);
    bool whole = a.status == 200 && (first == 0 && file->size <= length);
    if (!code && a.status != 206 && !whole)
        code = a.status == 200 ? error_set(err, ERR_IO, "%s: the server sends no ranges", file->path)
                               : hub_refused(repo->hub, &q, &a, err);
    uint64_t expected = file->size - first < length ? file->size - first : length;
    if (!code && a.body.length != expected)
        code = error_set(err, ERR_IO, "%s: %zu bytes came, %llu were asked for", file->path, a.body.length,
                         (unsigned long long)expected);
    if (!code) buffer_append(out, buffer_string(&a.body), a.body.length);
    if (!code) code = buffer_ok(out, file->path, err);
    hub_answer_free(&a);
    buffer_free(&url);
    return code;
}

int hub_repo_fetch(const HubRepo *repo, const HubFile *file, uint64_t limit, Buffer *out, Error *err) {
    if (file->size > limit)
        return error_set(err, ERR_LIMIT, "%s has %llu bytes, more than is fetched for a look", file->path,
                         (unsigned long long)file->size);
    return file->size ? fetch(repo, file, 0, file->size, out, err) : 0;
}

/* ---- headers ---- */

/* Where the first tensor's bytes begin; the file's size if there are none. */
static uint64_t data_start(const Model *m, uint64_t size) {
    uint64_t start = size;
    for (size_t i = 0; i < m->n_tensors; i++)
        if (m->tensors[i].n_extents && m->tensors[i].extents[0].offset < start)
            start = m->tensors[i].extents[0].offset;
    return start;
}

/* A file without a name that has the whole size, and the fetched bytes at its beginning: the rest is a hole.
 */
static int open_sparse(Input **out, const Buffer *bytes, const HubFile *file, Error *err) {
    FILE *f = tmpfile();
    bool ok = f && fwrite(bytes->data, 1, bytes->length, f) == bytes->length && fflush(f) == 0 &&
              ftruncate(fileno(f), (off_t)file->size) == 0;
    int code = ok ? input_open_fd(out, fileno(f), file->path, NULL, err)
                  : error_set(err, ERR_IO, "no temporary file for the header of %s", file->path);
    if (f) fclose(f);
    return code;
}

/* One attempt with what is there. *more: the header goes on behind it (or seems to). */
static int try_header(Model **out, const Buffer *bytes, const HubFile *file, bool *more, Error *err) {
    Input *in;
    TRY(open_sparse(&in, bytes, file, err));
    int code = gguf_open_shard(out, in, NULL, err);
    *more = bytes->length < file->size;
    if (code) {
        input_close(in);
        return code;
    }
    if (data_start(*out, file->size) <= bytes->length) *more = false;
    if (!*more) return 0;
    model_close(*out); /* zeros were read as if they were a header */
    *out = NULL;
    return ERR_FORMAT;
}

int hub_repo_gguf(Model **out, const HubRepo *repo, const HubFile *file, uint64_t *fetched, Error *err) {
    Buffer bytes;
    bool more = true;
    int code = 0;
    *out = NULL;
    buffer_init(&bytes, NULL);
    for (uint64_t want = FIRST_BYTES; more && want <= MOST_BYTES && !*out; want *= 4) {
        code = fetch(repo, file, bytes.length, want - bytes.length, &bytes, err);
        if (code) break;
        code = try_header(out, &bytes, file, &more, err);
    }
    *fetched += bytes.length;
    buffer_free(&bytes);
    if (!code && !*out) code = error_set(err, ERR_LIMIT, "%s: a header of more than 256 MiB", file->path);
    if (!code) code = params_from_metadata(&(*out)->params, (*out)->metadata, err);
    if (code && *out) {
        model_close(*out);
        *out = NULL;
    }
    return code;
}
