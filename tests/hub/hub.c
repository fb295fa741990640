/* hub.c -- the Hub's API as far as tests need it: repositories, branches, preupload, LFS, commits, files. */
#include "server.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_REPOS = 16, MOST_BRANCHES = 16, MOST_FILES = 512, MOST_UPLOADS = 256, MOST_PARTS = 4096 };

typedef struct Entry {
    char path[256];
    bool lfs;
    char oid[65]; /* SHA-256, or git's blob hash */
    uint64_t size;
} Entry;

typedef struct Branch {
    char name[128], head[41];
    size_t n;
    Entry files[MOST_FILES];
} Branch;

typedef struct Repo {
    char name[200];
    bool private;
    int n_prs;
    size_t n_branches;
    Branch *branches[MOST_BRANCHES];
} Repo;

typedef struct Upload {
    char oid[65];
    uint64_t size;
    size_t n_parts;
    char etags[MOST_PARTS][40];
} Upload;

struct Hub {
    size_t n_repos, n_uploads;
    unsigned n_commits;
    Repo *repos[MOST_REPOS];
    Upload *uploads[MOST_UPLOADS];
};

/* ---- state ---- */

int hub_state_open(Server *s) {
    static const char *const parts[] = {"", "/lfs", "/regular", "/parts"};
    char path[4096];
    s->hub = calloc(1, sizeof *s->hub);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s%s", s->directory, parts[i]);
        if (mkdir(path, 0755) != 0 && errno != EEXIST) return -1;
    }
    return s->hub ? 0 : -1;
}

static Repo *find_repo(Server *s, const char *name) {
    for (size_t i = 0; i < s->hub->n_repos; i++)
        if (!strcmp(s->hub->repos[i]->name, name)) return s->hub->repos[i];
    return NULL;
}

static void new_commit(Server *s, Branch *b) {
    unsigned long long n = ++s->hub->n_commits;
    snprintf(b->head, sizeof b->head, "%016llx%024llx", n * 0x9e3779b97f4a7c15ull, n);
}

static Branch *find_branch(Repo *r, const char *name) {
    for (size_t i = 0; i < r->n_branches; i++)
        if (!strcmp(r->branches[i]->name, name) || !strcmp(r->branches[i]->head, name)) return r->branches[i];
    return NULL;
}

static Branch *add_branch(Server *s, Repo *r, const char *name, const Branch *from) {
    if (r->n_branches == MOST_BRANCHES) return NULL;
    Branch *b = r->branches[r->n_branches++] = calloc(1, sizeof *b);
    if (from) *b = *from;
    snprintf(b->name, sizeof b->name, "%s", name);
    if (!from) new_commit(s, b);
    return b;
}

static Repo *add_repo(Server *s, const char *name, bool private) {
    if (s->hub->n_repos == MOST_REPOS) return NULL;
    Repo *r = s->hub->repos[s->hub->n_repos++] = calloc(1, sizeof *r);
    snprintf(r->name, sizeof r->name, "%s", name);
    r->private = private;
    add_branch(s, r, "main", NULL);
    return r;
}

void hub_move(Server *s) {
    for (size_t i = 0; i < s->hub->n_repos; i++)
        for (size_t k = 0; k < s->hub->repos[i]->n_branches; k++)
            new_commit(s, s->hub->repos[i]->branches[k]);
}

static Entry *find_entry(Branch *b, const char *path) {
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->files[i].path, path)) return &b->files[i];
    return NULL;
}

static Entry *put_entry(Branch *b, const char *path) {
    Entry *e = find_entry(b, path);
    if (!e && b->n < MOST_FILES) e = &b->files[b->n++];
    if (e) snprintf(e->path, sizeof e->path, "%s", path);
    return e;
}

static void stored_path(const Server *s, const Entry *e, char *path, size_t size) {
    snprintf(path, size, "%s/%s/%s", s->directory, e->lfs ? "lfs" : "regular", e->oid);
}

static int write_file(const char *path, const void *bytes, size_t n) {
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(bytes, 1, n, f) == n;
    if (f && fclose(f)) ok = false;
    return ok ? 0 : -1;
}

static bool has_object(const Server *s, const char *oid, uint64_t size) {
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/lfs/%s", s->directory, oid);
    return stat(path, &st) == 0 && (uint64_t)st.st_size == size;
}

static void git_oid(const void *bytes, size_t n, char hex[41]) {
    unsigned char digest[64];
    char head[40];
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    int length = snprintf(head, sizeof head, "blob %zu", n);
    EVP_DigestInit_ex(c, EVP_sha1(), NULL);
    EVP_DigestUpdate(c, head, (size_t)length + 1);
    EVP_DigestUpdate(c, bytes, n);
    EVP_DigestFinal_ex(c, digest, NULL);
    EVP_MD_CTX_free(c);
    for (int i = 0; i < 20; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static bool goes_as_lfs(const char *path, uint64_t size) {
    static const char *const ends[] = {".gguf", ".safetensors", ".zip", "tokenizer.json"};
    size_t n = strlen(path);
    for (size_t i = 0; i < 4; i++) {
        size_t m = strlen(ends[i]);
        if (n >= m && !strcmp(path + n - m, ends[i])) return true;
    }
    return size > 10 << 20;
}

/* ---- a repository from a directory ---- */

static int load_file(Server *s, Branch *b, const char *from, const char *name) {
    Arena *arena;
    char *bytes, path[4096];
    size_t n;
    if (arena_open(&arena, NULL, NULL)) return -1;
    if (input_read_file(&bytes, &n, from, 1u << 31, arena, NULL)) return -1;
    Entry *e = put_entry(b, name);
    e->size = n;
    e->lfs = goes_as_lfs(name, n) && n > 0;
    if (e->lfs && sha256_bytes(e->oid, bytes, n, NULL)) return -1;
    if (!e->lfs) git_oid(bytes, n, e->oid);
    stored_path(s, e, path, sizeof path);
    int code = write_file(path, bytes, n);
    arena_close(arena);
    return code;
}

static int load_below(Server *s, Branch *b, const char *directory, const char *below) {
    char path[4096], name[1024];
    snprintf(path, sizeof path, "%s/%s", directory, below);
    DIR *d = opendir(path);
    if (!d) return -1;
    int code = 0;
    for (struct dirent *e; !code && (e = readdir(d));) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", e->d_name);
        snprintf(path, sizeof path, "%.2000s/%.1000s", directory, name);
        if (stat(path, &st)) continue;
        code = S_ISDIR(st.st_mode) ? load_below(s, b, directory, name) : load_file(s, b, path, name);
    }
    closedir(d);
    return code;
}

int hub_load(Server *s, const char *spec) {
    char name[200];
    const char *equals = strchr(spec, '=');
    if (!equals || equals - spec >= 200) return -1;
    snprintf(name, sizeof name, "%.*s", (int)(equals - spec), spec);
    Repo *r = add_repo(s, name, false);
    return r ? load_below(s, r->branches[0], equals + 1, "") : -1;
}

/* ---- rights ---- */

typedef enum Right { NOBODY, READER, WRITER } Right;

static Right right_of(const Server *s, const Request *r) {
    const char *token = strncmp(r->authorization, "Bearer ", 7) ? "" : r->authorization + 7;
    return !strcmp(token, s->token) ? WRITER : !strcmp(token, s->reader) ? READER : NOBODY;
}

static bool may_write(const Server *s, const Request *r, Reply *out) {
    Right right = right_of(s, r);
    if (right == WRITER) return true;
    if (right == READER)
        reply_json(out, 403, "{\"error\":\"Forbidden: you must use a write token\"}");
    else
        reply_json(out, 401, "{\"error\":\"Invalid username or password.\"}");
    return false;
}

static void not_found(Reply *out, const char *code) {
    reply_json(out, 404, "{\"error\":\"not found\"}");
    buffer_printf(&out->headers, "X-Error-Code: %s\r\n", code);
}

static void bad(Reply *out, const char *why) {
    reply_json(out, 400, "{\"error\":\"%s\"}", why);
}

static const char *text_of(const cJSON *o, const char *key) {
    const char *s = cJSON_GetStringValue(json_get(o, key));
    return s ? s : "";
}

/* ---- calls ---- */

static void do_create(Server *s, const cJSON *j, Reply *out) {
    char name[300];
    const char *visibility = text_of(j, "visibility");
    snprintf(name, sizeof name, "%s/%s", text_of(j, "organization"), text_of(j, "name"));
    if (strcmp(visibility, "private") != 0 && strcmp(visibility, "public") != 0) {
        bad(out, "visibility");
        return;
    }
    if (!strncmp(name, "other/", 6)) {
        reply_json(out, 403, "{\"error\":\"no rights in this namespace\"}");
        return;
    }
    if (find_repo(s, name)) {
        reply_json(out, 409, "{\"error\":\"You already created this model repo\"}");
        return;
    }
    add_repo(s, name, !strcmp(visibility, "private"));
    reply_json(out, 200, "{\"url\":\"http://127.0.0.1:%d/%s\",\"name\":\"%s\"}", s->port, name, name);
}

/* A card must have a front matter with a licence. */
static void do_validate(const cJSON *j, Reply *out) {
    const char *card = text_of(j, "content");
    if (strncmp(card, "---\n", 4) != 0) {
        reply_json(out, 400, "{\"errors\":[{\"message\":\"there is no front matter\"}],\"warnings\":[]}");
        return;
    }
    if (strstr(card, "warn-me")) {
        reply_json(out, 200,
                   "{\"errors\":[],\"warnings\":[{\"message\":\"empty or missing yaml metadata\"}]}");
        return;
    }
    reply_json(out, 200, "{\"errors\":[],\"warnings\":[]}");
}

static void do_info(const Repo *r, const Branch *b, Reply *out) {
    reply_json(out, 200, "{\"id\":\"%s\",\"private\":%s,\"sha\":\"%s\"}", r->name,
               r->private ? "true" : "false", b->head);
}

static void do_preupload(Branch *b, const cJSON *j, Reply *out) {
    const cJSON *f;
    Buffer *body = &out->body;
    buffer_text(body, "{\"files\":[");
    cJSON_ArrayForEach(f, json_get(j, "files")) {
        uint64_t size = 0;
        unsigned char sample[1024];
        const char *path = text_of(f, "path"), *text = text_of(f, "sample");
        if (!json_u64(json_get(f, "size"), &size)) {
            bad(out, "size");
            return;
        }
        if (strlen(text) > 1000 || base64_decode(text, sample) != (size < 512 ? size : 512)) {
            bad(out, "sample");
            return;
        }
        const Entry *e = find_entry(b, path);
        buffer_text(body, f->prev && f != json_get(j, "files")->child ? ",{\"path\":" : "{\"path\":");
        json_write_string(body, path);
        buffer_printf(body, ",\"uploadMode\":\"%s\",\"shouldIgnore\":false",
                      goes_as_lfs(path, size) ? "lfs" : "regular");
        if (e) buffer_printf(body, ",\"oid\":\"%s\"", e->oid);
        buffer_text(body, "}");
    }
    buffer_text(body, "]}");
    out->status = 200;
}

static void multipart_actions(Server *s, Buffer *b, const char *oid, uint64_t size) {
    size_t id = s->hub->n_uploads++;
    Upload *u = s->hub->uploads[id] = calloc(1, sizeof *u);
    snprintf(u->oid, sizeof u->oid, "%s", oid);
    u->size = size;
    u->n_parts = (size_t)((size + s->part - 1) / s->part);
    buffer_printf(b,
                  "\"upload\":{\"href\":\"http://localhost:%d/complete/%zu/"
                  "%s?sig=s3cret\",\"header\":{\"chunk_size\":\"%llu\"",
                  s->port, id, oid, (unsigned long long)s->part);
    for (size_t i = 1; i <= u->n_parts; i++)
        buffer_printf(b, ",\"%05zu\":\"http://localhost:%d/part/%zu/%s/%zu?sig=s3cret\"", i, s->port, id, oid,
                      i);
    buffer_text(b, "}}");
}

static void do_batch(Server *s, const Repo *repo, const Request *r, const cJSON *j, Reply *out) {
    const cJSON *o;
    Buffer *b = &out->body;
    if (strcmp(r->content_type, "application/vnd.git-lfs+json") != 0 ||
        strcmp(r->accept, r->content_type) != 0) {
        bad(out, "the types of git-lfs are missing");
        return;
    }
    if (strcmp(text_of(j, "operation"), "upload") != 0 || strcmp(text_of(j, "hash_algo"), "sha256") != 0) {
        bad(out, "not an upload");
        return;
    }
    buffer_text(b, "{\"transfer\":\"multipart\",\"objects\":[");
    cJSON_ArrayForEach(o, json_get(j, "objects")) {
        const char *oid = text_of(o, "oid");
        uint64_t size = 0;
        if (!sha256_is_hex(oid) || !json_u64(json_get(o, "size"), &size)) {
            bad(out, "oid or size");
            return;
        }
        if (b->data[b->length - 1] == '}') buffer_char(b, ',');
        buffer_printf(b, "{\"oid\":\"%s\",\"size\":%llu,\"authenticated\":true", oid,
                      (unsigned long long)size);
        if (!has_object(s, oid, size)) {
            buffer_text(b, ",\"actions\":{");
            if (size > s->part)
                multipart_actions(s, b, oid, size);
            else
                buffer_printf(
                    b, "\"upload\":{\"href\":\"http://localhost:%d/put/%s/%llu?sig=s3cret\",\"header\":{}}",
                    s->port, oid, (unsigned long long)size);
            buffer_printf(
                b,
                ",\"verify\":{\"href\":\"http://127.0.0.1:%d/%s.git/info/lfs/objects/verify\",\"header\":{"
                "\"Authorization\":\"Bearer short-lived\"}}}",
                s->port, repo->name);
        }
        buffer_char(b, '}');
    }
    buffer_text(b, "]}");
    out->status = 200;
}

static void do_put(Server *s, const Request *r, Reply *out) {
    char oid[80], hex[SHA256_HEX], path[4096];
    unsigned long long size;
    if (r->authorization[0]) {
        bad(out, "a presigned URL takes no token");
        return;
    }
    if (sscanf(r->path, "/put/%64[0-9a-f]/%llu", oid, &size) != 2 || size != r->length) {
        bad(out, "size");
        return;
    }
    if (sha256_bytes(hex, r->body, r->length, NULL) || strcmp(hex, oid) != 0) {
        bad(out, "other bytes");
        return;
    }
    snprintf(path, sizeof path, "%s/lfs/%s", s->directory, oid);
    if (write_file(path, r->body, r->length)) {
        bad(out, "storage");
        return;
    }
    out->status = 200;
}

static Upload *find_upload(Server *s, size_t id, const char *oid) {
    Upload *u = id < s->hub->n_uploads ? s->hub->uploads[id] : NULL;
    return u && !strcmp(u->oid, oid) ? u : NULL;
}

static void do_part(Server *s, const Request *r, Reply *out) {
    size_t id, part;
    char oid[80], hex[SHA256_HEX], path[4096];
    if (r->authorization[0]) {
        bad(out, "a presigned URL takes no token");
        return;
    }
    if (sscanf(r->path, "/part/%zu/%64[0-9a-f]/%zu", &id, oid, &part) != 3) {
        bad(out, "URL");
        return;
    }
    Upload *u = find_upload(s, id, oid);
    if (!u || part < 1 || part > u->n_parts) {
        not_found(out, "NoSuchUpload");
        return;
    }
    uint64_t left = u->size - (part - 1) * s->part;
    if (r->length != (left < s->part ? left : s->part)) {
        bad(out, "size of the part");
        return;
    }
    if (sha256_bytes(hex, r->body, r->length, NULL)) {
        bad(out, "hash");
        return;
    }
    snprintf(path, sizeof path, "%s/parts/%zu-%zu", s->directory, id, part);
    if (write_file(path, r->body, r->length)) {
        bad(out, "storage");
        return;
    }
    snprintf(u->etags[part - 1], sizeof u->etags[0], "\"%.32s\"", hex);
    buffer_printf(&out->headers, "ETag: %s\r\n", u->etags[part - 1]);
    out->status = 200;
}

static int join_parts(Server *s, size_t id, const Upload *u, char hex[SHA256_HEX]) {
    char path[4096], part[4096];
    Sha256 *h;
    snprintf(path, sizeof path, "%s/lfs/%s.new", s->directory, u->oid);
    FILE *to = fopen(path, "wb");
    if (!to || sha256_open(&h, NULL)) return -1;
    for (size_t i = 1; i <= u->n_parts; i++) {
        static char buffer[1 << 20];
        snprintf(part, sizeof part, "%s/parts/%zu-%zu", s->directory, id, i);
        FILE *from = fopen(part, "rb");
        for (size_t n; from && (n = fread(buffer, 1, sizeof buffer, from)) > 0;) {
            sha256_update(h, buffer, n);
            fwrite(buffer, 1, n, to);
        }
        if (from) fclose(from);
        unlink(part);
    }
    sha256_finish(h, hex);
    sha256_close(h);
    if (fclose(to)) return -1;
    snprintf(part, sizeof part, "%s/lfs/%s", s->directory, u->oid);
    return rename(path, part);
}

static void do_complete(Server *s, const Request *r, const cJSON *j, Reply *out) {
    size_t id, n = 0;
    char oid[80], hex[SHA256_HEX];
    const cJSON *p;
    if (r->authorization[0]) {
        bad(out, "a presigned URL takes no token");
        return;
    }
    if (sscanf(r->path, "/complete/%zu/%64[0-9a-f]", &id, oid) != 2) {
        bad(out, "URL");
        return;
    }
    Upload *u = find_upload(s, id, oid);
    if (!u || strcmp(text_of(j, "oid"), oid) != 0) {
        not_found(out, "NoSuchUpload");
        return;
    }
    cJSON_ArrayForEach(p, json_get(j, "parts")) {
        uint64_t number = 0;
        if (!json_u64(json_get(p, "partNumber"), &number) || number != n + 1 || n >= u->n_parts ||
            strcmp(text_of(p, "etag"), u->etags[n]) != 0) {
            bad(out, "a part's number or ETag");
            return;
        }
        n++;
    }
    if (n != u->n_parts) {
        bad(out, "number of parts");
        return;
    }
    if (join_parts(s, id, u, hex) || strcmp(hex, oid) != 0 || !has_object(s, oid, u->size)) {
        bad(out, "other bytes");
        return;
    }
    u->oid[0] = '\0'; /* an upload is completed once */
    reply_json(out, 200, "{\"success\":true}");
}

static void do_verify(Server *s, const cJSON *j, Reply *out) {
    uint64_t size = 0;
    if (json_u64(json_get(j, "size"), &size) && has_object(s, text_of(j, "oid"), size))
        reply_json(out, 200, "{}");
    else
        reply_json(out, 404, "{\"error\":\"no such object\"}");
}

/* ---- commit ---- */

static const char *commit_line(Server *s, Branch *b, const cJSON *line) {
    const char *key = text_of(line, "key");
    const cJSON *v = json_get(line, "value");
    Entry e = {0};
    snprintf(e.path, sizeof e.path, "%s", text_of(v, "path"));
    if (!strcmp(key, "lfsFile")) {
        e.lfs = true;
        snprintf(e.oid, sizeof e.oid, "%s", text_of(v, "oid"));
        if (!json_u64(json_get(v, "size"), &e.size) || strcmp(text_of(v, "algo"), "sha256") != 0)
            return "lfsFile";
        if (!has_object(s, e.oid, e.size)) return "the commit names an object that is not there";
    } else if (!strcmp(key, "file")) {
        const char *content = text_of(v, "content");
        unsigned char *bytes = malloc(strlen(content) + 1);
        size_t n = base64_decode(content, bytes);
        char path[4096];
        if (n == SIZE_MAX || strcmp(text_of(v, "encoding"), "base64") != 0) return "base64";
        e.size = n;
        git_oid(bytes, n, e.oid);
        stored_path(s, &e, path, sizeof path);
        int code = write_file(path, bytes, n);
        free(bytes);
        if (code) return "storage";
    } else {
        return "a line of an unknown kind";
    }
    Entry *to = e.path[0] ? put_entry(b, e.path) : NULL;
    if (!to) return "path";
    *to = e;
    return NULL;
}

static const char *commit_lines(Server *s, Branch *b, const Request *r) {
    bool first = true;
    for (char *at = r->body, *end; *at; at = end + 1) {
        cJSON *line = NULL;
        end = strchr(at, '\n');
        if (!end) return "a line without an end";
        if (json_parse(&line, at, (size_t)(end - at), "line", NULL)) return "JSON";
        const char *problem = NULL;
        if (first && strcmp(text_of(line, "key"), "header") != 0) problem = "no header";
        if (first && !text_of(json_get(line, "value"), "summary")[0]) problem = "no summary";
        if (!first) problem = commit_line(s, b, line);
        first = false;
        cJSON_Delete(line);
        if (problem) return problem;
    }
    return first ? "empty" : NULL;
}

/* What the header's parentCommit says; "" if nothing. */
static void parent_of(const Request *r, char out[65]) {
    const char *p = strstr(r->body, "\"parentCommit\":\""), *end = strchr(r->body, '\n');
    out[0] = '\0';
    if (p && (!end || p < end)) sscanf(p + 16, "%64[0-9a-f]", out);
}

static void do_commit(Server *s, Repo *repo, Branch *b, const Request *r, Reply *out) {
    char parent[65], name[64];
    bool pr = strstr(r->target, "create_pr=1") != NULL;
    if (strcmp(r->content_type, "application/x-ndjson") != 0) {
        bad(out, "content type");
        return;
    }
    parent_of(r, parent);
    if (parent[0] && strcmp(parent, b->head) != 0) {
        reply_json(out, 412, "{\"error\":\"A commit has happened since. Please refresh and try again.\"}");
        return;
    }
    Branch *work = calloc(1, sizeof *work);
    *work = *b;
    const char *problem = commit_lines(s, work, r);
    if (problem) {
        free(work);
        {
            bad(out, problem);
            return;
        }
    }
    new_commit(s, work);
    if (pr) {
        snprintf(name, sizeof name, "refs/pr/%d", ++repo->n_prs);
        b = add_branch(s, repo, name, work);
    } else {
        *b = *work;
    }
    free(work);
    buffer_printf(&out->body,
                  "{\"success\":true,\"commitOid\":\"%s\",\"commitUrl\":\"http://127.0.0.1:%d/%s/commit/%s\"",
                  b->head, s->port, repo->name, b->head);
    if (pr)
        buffer_printf(&out->body, ",\"pullRequestUrl\":\"http://127.0.0.1:%d/%s/discussions/%d\"", s->port,
                      repo->name, repo->n_prs);
    buffer_char(&out->body, '}');
    out->status = 200;
}

/* ---- reading ---- */

static void entry_json(Buffer *b, const Entry *e) {
    buffer_text(b, "{\"type\":\"file\",\"path\":");
    json_write_string(b, e->path);
    buffer_printf(b, ",\"size\":%llu,\"oid\":\"%s\"", (unsigned long long)e->size,
                  e->lfs ? "0000000000000000000000000000000000000000" : e->oid);
    if (e->lfs)
        buffer_printf(b, ",\"lfs\":{\"oid\":\"%s\",\"size\":%llu,\"pointerSize\":134}", e->oid,
                      (unsigned long long)e->size);
    buffer_char(b, '}');
}

/* paths=a%2Fb&paths=c: is `path` among them? */
static bool is_asked(const char *form, const char *path) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_text(&b, "paths=");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (strchr("-._~", *p) || (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
            (*p >= 'A' && *p <= 'Z'))
            buffer_char(&b, (char)*p);
        else
            buffer_printf(&b, "%%%02X", *p);
    }
    buffer_char(&b, '&');
    bool found = strstr(form, b.data) != NULL;
    buffer_free(&b);
    return found;
}

static void do_paths_info(Branch *b, const Request *r, Reply *out) {
    bool first = true;
    buffer_char(&out->body, '[');
    for (size_t i = 0; i < b->n; i++) {
        if (!is_asked(r->body, b->files[i].path)) continue;
        if (!first) buffer_char(&out->body, ',');
        entry_json(&out->body, &b->files[i]);
        first = false;
    }
    buffer_char(&out->body, ']');
    out->status = 200;
}

/* Pages of 7, so that tests meet the second. */
static void do_tree(const Server *s, const Branch *b, const Request *r, Reply *out) {
    enum { PAGE = 7 };
    const char *cursor = strstr(r->target, "cursor=");
    size_t first = cursor ? strtoul(cursor + 7, NULL, 10) : 0;
    buffer_char(&out->body, '[');
    for (size_t i = first; i < b->n && i < first + PAGE; i++) {
        if (i > first) buffer_char(&out->body, ',');
        entry_json(&out->body, &b->files[i]);
    }
    buffer_char(&out->body, ']');
    if (first + PAGE < b->n)
        buffer_printf(&out->headers,
                      "Link: <http://127.0.0.1:%d%s?recursive=true&cursor=%zu>; rel=\"next\"\r\n", s->port,
                      r->path, first + PAGE);
    out->status = 200;
}

static void send_file(const Server *s, const Entry *e, const Request *r, Reply *out) {
    char path[4096];
    uint64_t first = 0, last = e->size ? e->size - 1 : 0;
    stored_path(s, e, path, sizeof path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        not_found(out, "EntryNotFound");
        return;
    }
    out->status = 200;
    if (sscanf(r->range, "bytes=%lu-%lu", &first, &last) >= 1 && e->size) {
        if (last >= e->size) last = e->size - 1;
        out->status = 206;
        buffer_printf(&out->headers, "Content-Range: bytes %lu-%lu/%lu\r\n", first, last, e->size);
    }
    for (uint64_t at = first; e->size && at <= last;) {
        char some[65536];
        size_t want = last + 1 - at < sizeof some ? (size_t)(last + 1 - at) : sizeof some;
        ssize_t n = pread(fd, some, want, (off_t)at);
        if (n <= 0) break;
        buffer_append(&out->body, some, (size_t)n);
        at += (uint64_t)n;
    }
    close(fd);
}

static void do_resolve(Server *s, Branch *b, const char *path, const Request *r, Reply *out) {
    const Entry *e = find_entry(b, path);
    if (!e) {
        not_found(out, "EntryNotFound");
        return;
    }
    buffer_printf(&out->headers, "X-Repo-Commit: %s\r\n", b->head);
    if (!e->lfs || !s->cdn) {
        send_file(s, e, r, out);
        return;
    }
    out->status = 302;
    buffer_printf(&out->headers, "Location: http://localhost:%d/cdn/%s/%llu?sig=s3cret\r\n", s->port, e->oid,
                  (unsigned long long)e->size);
}

static void do_cdn(Server *s, const Request *r, Reply *out) {
    Entry e = {.lfs = true};
    unsigned long long size;
    if (r->authorization[0]) {
        bad(out, "a presigned URL takes no token");
        return;
    }
    if (sscanf(r->path, "/cdn/%64[0-9a-f]/%llu", e.oid, &size) != 2) {
        bad(out, "URL");
        return;
    }
    e.size = size;
    send_file(s, &e, r, out);
}

/* ---- which call it is ---- */

/* "/api/models/USER/NAME[/WHAT/REST]" or "/USER/NAME/WHAT/REST": splits. */
static Repo *split_path(Server *s, const char *at, char what[64], char rest[512]) {
    char user[100], name[100], repo[201];
    what[0] = rest[0] = '\0';
    if (sscanf(at, "%99[^/]/%99[^/]/%63[^/]/%511s", user, name, what, rest) < 2) return NULL;
    snprintf(repo, sizeof repo, "%s/%s", user, name);
    return find_repo(s, repo);
}

static void api_write(Server *s, Repo *repo, const char *what, const char *rest, const Request *r,
                      const cJSON *j, Reply *out) {
    Branch *b = find_branch(repo, rest);
    if (!may_write(s, r, out)) return;
    if (!strcmp(what, "branch")) {
        Branch *from = find_branch(repo, text_of(j, "startingPoint"));
        if (b || !from) {
            reply_json(out, 409, "{\"error\":\"branch\"}");
            return;
        }
        add_branch(s, repo, rest, from);
        {
            reply_json(out, 200, "{}");
            return;
        }
    }
    if (!b) {
        not_found(out, "RevisionNotFound");
        return;
    }
    if (!strcmp(what, "preupload")) {
        do_preupload(b, j, out);
        return;
    }
    do_commit(s, repo, b, r, out);
}

static void api_models(Server *s, const Request *r, const cJSON *j, Reply *out) {
    char what[64], rest[512];
    Repo *repo = split_path(s, r->path + strlen("/api/models/"), what, rest);
    bool post = !strcmp(r->method, "POST");
    if (!repo || (repo->private && right_of(s, r) == NOBODY)) {
        not_found(out, "RepoNotFound");
        return;
    }
    if (post && (!strcmp(what, "preupload") || !strcmp(what, "commit") || !strcmp(what, "branch"))) {
        api_write(s, repo, what, rest, r, j, out);
        return;
    }
    Branch *b = find_branch(repo, *what ? rest : "main");
    if (!b) {
        not_found(out, "RevisionNotFound");
        return;
    }
    if (!*what || !strcmp(what, "revision")) {
        do_info(repo, b, out);
        return;
    }
    if (post && !strcmp(what, "paths-info")) {
        do_paths_info(b, r, out);
        return;
    }
    if (!strcmp(what, "tree")) {
        do_tree(s, b, r, out);
        return;
    }
    not_found(out, "NotFound");
}

static void files(Server *s, const Request *r, const cJSON *j, Reply *out) {
    char what[64], rest[512], revision[256], *git = strstr(r->path, ".git/info/lfs/objects/");
    char copy[8192];
    snprintf(copy, sizeof copy, "%s", r->path + 1);
    if (git) copy[git - r->path - 1] = '\0';
    Repo *repo = split_path(s, copy, what, rest);
    if (!repo) {
        not_found(out, "RepoNotFound");
        return;
    }
    if (git) {
        if (!may_write(s, r, out)) return;
        if (strstr(git, "/batch")) {
            do_batch(s, repo, r, j, out);
            return;
        }
        {
            do_verify(s, j, out);
            return;
        }
    }
    const char *slash = strchr(rest, '/');
    if (strcmp(what, "resolve") != 0 || !slash) {
        not_found(out, "NotFound");
        return;
    }
    snprintf(revision, sizeof revision, "%.*s", (int)(slash - rest), rest);
    Branch *b = find_branch(repo, revision);
    if (!b) {
        not_found(out, "RevisionNotFound");
        return;
    }
    do_resolve(s, b, slash + 1, r, out);
}

void hub_answer(Server *s, const Request *r, Reply *out) {
    cJSON *j = NULL;
    bool json = strstr(r->content_type, "json") && !strstr(r->content_type, "ndjson");
    if (json && json_parse(&j, r->body, r->length, "request", NULL)) {
        bad(out, "not JSON");
        return;
    }
    if (!strcmp(r->path, "/api/repos/create")) {
        if (may_write(s, r, out)) do_create(s, j, out);
    } else if (!strcmp(r->path, "/api/validate-yaml")) {
        do_validate(j, out);
    } else if (!strcmp(r->path, "/api/whoami-v2")) {
        if (may_write(s, r, out)) reply_json(out, 200, "{\"name\":\"me\",\"orgs\":[]}");
    } else if (!strncmp(r->path, "/api/models/", 12)) {
        api_models(s, r, j, out);
    } else if (!strncmp(r->path, "/put/", 5)) {
        do_put(s, r, out);
    } else if (!strncmp(r->path, "/part/", 6)) {
        do_part(s, r, out);
    } else if (!strncmp(r->path, "/complete/", 10)) {
        do_complete(s, r, j, out);
    } else if (!strncmp(r->path, "/cdn/", 5)) {
        do_cdn(s, r, out);
    } else {
        files(s, r, j, out);
    }
    cJSON_Delete(j);
}
