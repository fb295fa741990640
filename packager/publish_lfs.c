/* publish_lfs.c -- the bytes of LFS files: ask where they go, then send them.
 *
 * Files of one PUT go side by side; a multipart file's parts do (publish_parts.c), file after file, so that
 * the URLs of the last one are fresh when its turn comes. */
#include "core/json.h"
#include "core/threads.h"
#include "packager/publish_private.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OBJECTS_A_CALL = 256, FRESH_SECONDS = 600, MOST_PARTS = 100000 };

static const char lfs_json[] = "application/vnd.git-lfs+json";

/* ---- where an object goes ---- */

/* As the endpoint, or better. */
static bool is_good_url(const Publish *p, const char *url) {
    return (!strncmp(url, "http://", 7) || !strncmp(url, "https://", 8)) &&
           !hub_gives_up_tls(hub_endpoint(p->hub), url);
}

static const char *href_of(const Publish *p, const cJSON *action) {
    static const char usual[] = "https://huggingface.co";
    const char *href = cJSON_GetStringValue(json_get(action, "href"));
    if (!href || !is_good_url(p, href)) return NULL;
    /* a mirror may pass on the Hub's own answer */
    if (!strncmp(href, usual, sizeof usual - 1) && href[sizeof usual - 1] == '/')
        return arena_printf(p->arena, "%s%s", hub_endpoint(p->hub), href + sizeof usual - 1);
    return arena_string(p->arena, href);
}

static bool all_digits(const char *s) {
    return *s && strspn(s, "0123456789") == strlen(s);
}

/* header {"chunk_size": "16000000", "00001": URL, ...}: as many parts as the size says. */
static int read_parts(UploadTarget *t, const Publish *p, const PublishFile *f, const cJSON *header,
                      Error *err) {
    const char *chunk = cJSON_GetStringValue(json_get(header, "chunk_size"));
    if (!chunk) return 0;
    t->chunk = all_digits(chunk) ? strtoull(chunk, NULL, 10) : 0;
    uint64_t n = t->chunk ? f->size / t->chunk + (f->size % t->chunk != 0) : 0;
    if (n == 0 || n > MOST_PARTS)
        return error_set(err, ERR_FORMAT, "%s: the Hub wants parts of \"%s\" bytes", f->path, chunk);
    t->n_parts = (size_t)n;
    t->urls = arena_alloc(p->arena, t->n_parts, sizeof *t->urls);
    if (!t->urls) return error_memory(err, f->path);
    const cJSON *item;
    size_t found = 0;
    cJSON_ArrayForEach(item, header) {
        if (!all_digits(item->string) || !cJSON_IsString(item)) continue;
        uint64_t number = strtoull(item->string, NULL, 10);
        if (number < 1 || number > n || t->urls[number - 1])
            return error_set(err, ERR_FORMAT, "%s: the Hub names a part %s of %llu", f->path, item->string,
                             (unsigned long long)n);
        if (!is_good_url(p, item->valuestring))
            return error_set(err, ERR_FORMAT, "%s: the Hub gives no good URL for part %s", f->path,
                             item->string);
        t->urls[number - 1] = arena_string(p->arena, item->valuestring);
        if (!t->urls[number - 1]) return error_memory(err, f->path);
        found++;
    }
    if (found == t->n_parts) return 0;
    return error_set(err, ERR_FORMAT, "%s: the Hub gives %zu URLs for %llu parts", f->path, found,
                     (unsigned long long)n);
}

int upload_target_read(UploadTarget *out, const Publish *p, const PublishFile *f, const cJSON *actions,
                       Error *err) {
    const cJSON *upload = json_get(actions, "upload"), *verify = json_present(actions, "verify");
    memset(out, 0, sizeof *out);
    out->href = href_of(p, upload);
    if (!out->href) return error_set(err, ERR_FORMAT, "%s: the Hub gives no good URL to send it to", f->path);
    TRY(read_parts(out, p, f, json_get(upload, "header"), err));
    if (!verify) return 0;
    out->verify = href_of(p, verify);
    if (!out->verify) return error_set(err, ERR_FORMAT, "%s: the Hub gives no URL to verify it", f->path);
    const char *authorization = cJSON_GetStringValue(json_get(json_get(verify, "header"), "Authorization"));
    if (authorization && !strpbrk(authorization, "\r\n"))
        out->verify_header = arena_printf(p->arena, "Authorization: %s", authorization);
    return 0;
}

bool publish_stale(const HubAnswer *a) {
    return a->status == 400 || a->status == 403 || a->status == 404 || a->status == 410;
}

/* The endpoint gets the token; another host gets what the Hub gave us for it. */
int publish_verify(Publish *p, unsigned connection, const PublishFile *f, const UploadTarget *t, Error *err) {
    if (!t->verify) return 0;
    char body[160];
    snprintf(body, sizeof body, "{\"oid\":\"%s\",\"size\":%llu}", f->sha256, (unsigned long long)f->size);
    bool own = hub_same_origin(t->verify, hub_endpoint(p->hub));
    HubRequest r = {.connection = connection,
                    .method = "POST",
                    .url = t->verify,
                    .authorize = own,
                    .header = own ? NULL : t->verify_header,
                    .content_type = lfs_json,
                    .accept = lfs_json,
                    .body = body,
                    .length = strlen(body)};
    HubAnswer a = {0};
    int code = hub_send(p->hub, &r, &a, err);
    if (!code && (a.status < 200 || a.status > 299)) code = hub_refused(p->hub, &r, &a, err);
    hub_answer_free(&a);
    return code ? error_wrap(err, code, "%s", f->path) : 0;
}

/* ---- batch ---- */

/* document: the caller deletes it. */
static int batch(Publish *p, const size_t *files, size_t n, cJSON **document, Error *err) {
    Buffer b;
    char *url = arena_printf(p->arena, "/%s.git/info/lfs/objects/batch", p->options->repo);
    if (!url) return error_memory(err, "a URL");
    buffer_init(&b, NULL);
    buffer_text(
        &b, "{\"operation\":\"upload\",\"transfers\":[\"basic\",\"multipart\"],\"hash_algo\":\"sha256\",");
    buffer_text(&b, "\"ref\":{\"name\":");
    json_write_string(&b, p->revision);
    buffer_text(&b, "},\"objects\":[");
    for (size_t i = 0; i < n; i++) {
        const PublishFile *f = &p->result->files[files[i]];
        buffer_printf(&b, "%s{\"oid\":\"%s\",\"size\":%llu}", i ? "," : "", f->sha256,
                      (unsigned long long)f->size);
    }
    buffer_text(&b, "]}");
    HubRequest r = {.method = "POST",
                    .url = url,
                    .authorize = true,
                    .content_type = lfs_json,
                    .accept = lfs_json,
                    .body = b.data,
                    .length = b.length};
    HubAnswer a = {0};
    int code = buffer_ok(&b, "a request", err);
    if (!code) code = hub_send(p->hub, &r, &a, err);
    if (!code && a.status != 200) code = hub_refused(p->hub, &r, &a, err);
    if (!code) code = json_parse(document, buffer_string(&a.body), a.body.length, "the LFS answer", err);
    hub_answer_free(&a);
    buffer_free(&b);
    return code;
}

/* *actions: NULL if the Hub has the object. */
static int actions_of(const cJSON *document, const PublishFile *f, const cJSON **actions, Error *err) {
    const cJSON *o;
    *actions = NULL;
    cJSON_ArrayForEach(o, json_get(document, "objects")) {
        const char *oid = cJSON_GetStringValue(json_get(o, "oid"));
        if (!oid || strcmp(oid, f->sha256) != 0) continue;
        const cJSON *error = json_present(o, "error");
        const char *text = cJSON_GetStringValue(json_get(error, "message"));
        if (error)
            return error_set(err, ERR_IO, "%s: the Hub refuses the object: %s", f->path,
                             text ? text : "no reason");
        const cJSON *all = json_present(o, "actions");
        if (json_present(all, "upload")) *actions = all;
        return 0;
    }
    return error_set(err, ERR_FORMAT, "%s: the Hub's answer leaves the object out", f->path);
}

int publish_ask_again(Publish *p, const PublishFile *f, cJSON **document, const cJSON **actions, Error *err) {
    size_t file = (size_t)(f - p->result->files);
    TRY(batch(p, &file, 1, document, err));
    int code = actions_of(*document, f, actions, err);
    if (code || !*actions) {
        cJSON_Delete(*document);
        *document = NULL;
    }
    return code;
}

/* ---- sending ---- */

/* Files of one PUT, side by side. */
typedef struct Singles {
    Publish *p;
    size_t n;
    size_t *files;
    UploadTarget *targets;
    bool *stale; /* its URL was no longer good */
} Singles;

static int put_single(void *context, size_t index, unsigned thread, Error *err) {
    Singles *s = context;
    Publish *p = s->p;
    PublishFile *f = &p->result->files[s->files[index]];
    HubRequest r = {.connection = thread,
                    .method = "PUT",
                    .url = s->targets[index].href,
                    .file = p->inputs[s->files[index]],
                    .size = f->size,
                    .sent = &p->sent};
    HubAnswer a = {0};
    int code = hub_send(p->hub, &r, &a, err);
    bool fine = !code && a.status >= 200 && a.status < 300;
    s->stale[index] = !code && !fine && publish_stale(&a);
    if (!code && !fine) code = s->stale[index] ? 0 : hub_refused(p->hub, &r, &a, err);
    hub_answer_free(&a);
    if (code) return error_wrap(err, code, "%s", f->path);
    if (!fine) return 0;
    TRY(publish_verify(p, thread, f, &s->targets[index], err));
    f->state = PUBLISH_SENT;
    return 0;
}

static int open_singles(Singles *s, Publish *p, size_t room, Error *err) {
    *s = (Singles){.p = p,
                   .files = arena_alloc(p->arena, room + 1, sizeof *s->files),
                   .targets = arena_alloc(p->arena, room + 1, sizeof *s->targets),
                   .stale = arena_alloc(p->arena, room + 1, sizeof *s->stale)};
    return s->files && s->targets && s->stale ? 0 : error_memory(err, "the files to send");
}

/* URLs that were no longer good are asked for anew, once. */
static int put_singles(Singles *s, Error *err) {
    Publish *p = s->p;
    unsigned threads = hub_connections(p->hub);
    TRY(threads_run(threads, s->n, (ThreadWork){put_single, s}, err));
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->stale[i]) continue;
        const PublishFile *f = &p->result->files[s->files[i]];
        const cJSON *actions;
        cJSON *fresh = NULL;
        TRY(publish_ask_again(p, f, &fresh, &actions, err));
        int code = actions ? upload_target_read(&s->targets[n], p, f, actions, err) : 0;
        if (actions) s->files[n++] = s->files[i];
        cJSON_Delete(fresh);
        TRY(code);
    }
    s->n = n;
    TRY(threads_run(threads, s->n, (ThreadWork){put_single, s}, err));
    for (size_t i = 0; i < s->n; i++)
        if (s->stale[i])
            return error_set(err, ERR_IO, "%s: the store refuses the bytes, also at a new URL",
                             p->result->files[s->files[i]].path);
    return 0;
}

static bool is_multipart(const cJSON *actions) {
    return json_get(json_get(json_get(actions, "upload"), "header"), "chunk_size") != NULL;
}

/* Sends the files of one batch answer: first those of one PUT, then the multipart ones. */
static int send_batch(Publish *p, const cJSON *document, const size_t *files, size_t n, Error *err) {
    Singles s;
    time_t asked = time(NULL);
    TRY(open_singles(&s, p, n, err));
    for (size_t i = 0; i < n; i++) {
        PublishFile *f = &p->result->files[files[i]];
        const cJSON *actions;
        TRY(actions_of(document, f, &actions, err));
        if (!actions) {
            f->state = PUBLISH_KNOWN;
            p->had += f->size;
        } else if (!is_multipart(actions)) {
            s.files[s.n] = files[i];
            TRY(upload_target_read(&s.targets[s.n++], p, f, actions, err));
        }
    }
    TRY(put_singles(&s, err));
    for (size_t i = 0; i < n; i++) {
        PublishFile *f = &p->result->files[files[i]];
        const cJSON *actions;
        cJSON *fresh = NULL;
        TRY(actions_of(document, f, &actions, err));
        if (!actions || !is_multipart(actions)) continue;
        if (time(NULL) - asked > FRESH_SECONDS) TRY(publish_ask_again(p, f, &fresh, &actions, err));
        int code = actions ? publish_parts(p, files[i], actions, err) : 0;
        cJSON_Delete(fresh);
        TRY(code);
        f->state = PUBLISH_SENT;
    }
    return 0;
}

static int send_some(Publish *p, const size_t *files, size_t n, Error *err) {
    cJSON *document = NULL;
    TRY(batch(p, files, n, &document, err));
    int code = send_batch(p, document, files, n, err);
    cJSON_Delete(document);
    return code;
}

/* Called while requests run, by any of the threads. */
static int tick(void *context) {
    Publish *p = context;
    pthread_mutex_lock(&p->lock);
    uint64_t done = p->had + p->sent;
    int stop = progress_update(p->options->progress, "upload", done < p->to_send ? done : p->to_send,
                               p->to_send, NULL);
    pthread_mutex_unlock(&p->lock);
    return stop;
}

static int send_all(Publish *p, const size_t *files, size_t n, Error *err) {
    for (size_t i = 0; i < n; i += OBJECTS_A_CALL)
        TRY(send_some(p, files + i, n - i < OBJECTS_A_CALL ? n - i : OBJECTS_A_CALL, err));
    return 0;
}

int publish_upload(Publish *p, Error *err) {
    PublishResult *r = p->result;
    size_t *files = arena_alloc(p->arena, r->n_files + 1, sizeof *files), n = 0;
    if (!files) return error_memory(err, "the list of files");
    for (size_t i = 0; i < r->n_files; i++) {
        if (!r->files[i].lfs || r->files[i].state != PUBLISH_NEW || r->files[i].same_as) continue;
        files[n++] = i;
        p->to_send += r->files[i].size;
    }
    hub_on_tick(p->hub, tick, p);
    int code = send_all(p, files, n, err);
    hub_on_tick(p->hub, NULL, NULL);
    for (size_t i = 0; !code && i < r->n_files; i++)
        if (r->files[i].lfs && r->files[i].state == PUBLISH_NEW) r->files[i].state = PUBLISH_KNOWN;
    r->bytes_sent = p->sent;
    return code;
}
