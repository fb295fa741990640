/* publish_parts.c -- one object in parts: those that a killed run has sent already are not sent again, as
 * long as the store still takes the URLs of that run. */
#include "core/json.h"
#include "core/threads.h"
#include "packager/publish_private.h"
#include <string.h>

enum { MOST_STARTS = 3 }; /* from the beginning, with new URLs */

typedef struct Parts {
    Publish *p;
    size_t file;
    UploadTarget target;
    size_t n;
    size_t *missing; /* n part indices, from 0 */
    char (*etags)[256];
    _Atomic bool stale; /* a URL was no longer good */
} Parts;

static int put_part(void *context, size_t index, unsigned thread, Error *err) {
    Parts *s = context;
    Publish *p = s->p;
    const PublishFile *f = &p->result->files[s->file];
    size_t part = s->missing[index];
    uint64_t offset = part * s->target.chunk, left = f->size - offset;
    HubRequest r = {.connection = thread,
                    .method = "PUT",
                    .url = s->target.urls[part],
                    .file = p->inputs[s->file],
                    .offset = offset,
                    .size = left < s->target.chunk ? left : s->target.chunk,
                    .sent = &p->sent};
    HubAnswer a = {0};
    int code = hub_send(p->hub, &r, &a, err);
    if (!code && (a.status < 200 || a.status > 299)) {
        if (publish_stale(&a)) s->stale = true; /* another part's answer may be another */
        code = hub_refused(p->hub, &r, &a, err);
    } else if (!code && !a.etag[0]) {
        code = error_set(err, ERR_FORMAT, "the store's answer to part %zu has no ETag", part + 1);
    }
    if (!code) {
        memcpy(s->etags[part], a.etag, sizeof a.etag);
        publish_journal_note_part(p->journal, f->sha256, part, a.etag);
    }
    hub_answer_free(&a);
    return code ? error_wrap(err, code, "%s", f->path) : 0;
}

static int complete(Parts *s, Error *err) {
    const PublishFile *f = &s->p->result->files[s->file];
    static const char lfs_json[] = "application/vnd.git-lfs+json";
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(&b, "{\"oid\":\"%s\",\"parts\":[", f->sha256);
    for (size_t i = 0; i < s->target.n_parts; i++) {
        buffer_printf(&b, "%s{\"partNumber\":%zu,\"etag\":", i ? "," : "", i + 1);
        json_write_string(&b, s->etags[i]);
        buffer_char(&b, '}');
    }
    buffer_text(&b, "]}");
    HubRequest r = {.method = "POST",
                    .url = s->target.href,
                    .content_type = lfs_json,
                    .accept = lfs_json,
                    .body = b.data,
                    .length = b.length};
    HubAnswer a = {0};
    int code = buffer_ok(&b, "a request", err);
    if (!code) code = hub_send(s->p->hub, &r, &a, err);
    if (!code && (a.status < 200 || a.status > 299)) {
        s->stale = publish_stale(&a);
        code = hub_refused(s->p->hub, &r, &a, err);
    }
    hub_answer_free(&a);
    buffer_free(&b);
    return code ? error_wrap(err, code, "%s", f->path) : 0;
}

/* What the journal knows of an earlier run's parts. */
static int prepare(Parts *s, const cJSON *actions, Error *err) {
    Publish *p = s->p;
    const PublishFile *f = &p->result->files[s->file];
    s->stale = false;
    s->n = 0;
    TRY(upload_target_read(&s->target, p, f, actions, err));
    if (!s->target.n_parts)
        return error_set(err, ERR_FORMAT, "%s: the Hub changed its mind about parts", f->path);
    s->missing = arena_alloc(p->arena, s->target.n_parts, sizeof *s->missing);
    s->etags = arena_alloc(p->arena, s->target.n_parts, sizeof *s->etags);
    if (!s->missing || !s->etags) return error_memory(err, f->path);
    for (size_t i = 0; i < s->target.n_parts; i++) {
        const char *etag = publish_journal_etag(p->journal, f->sha256, i);
        if (etag && strlen(etag) < sizeof s->etags[i])
            strcpy(s->etags[i], etag);
        else
            s->missing[s->n++] = i;
    }
    return 0;
}

static uint64_t bytes_there(const Parts *s, uint64_t size) {
    uint64_t missing = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint64_t left = size - s->missing[i] * s->target.chunk;
        missing += left < s->target.chunk ? left : s->target.chunk;
    }
    return size - missing;
}

static int send_parts(Parts *s, const cJSON *actions, Error *err) {
    Publish *p = s->p;
    TRY(prepare(s, actions, err));
    p->had += bytes_there(s, p->result->files[s->file].size);
    if (p->options->progress && p->options->progress->item)
        p->options->progress->item(p->options->progress->context, p->result->files[s->file].path);
    TRY(threads_run(hub_connections(p->hub), s->n, (ThreadWork){put_part, s}, err));
    return complete(s, err);
}

int publish_parts(Publish *p, size_t file, const cJSON *actions, Error *err) {
    const PublishFile *f = &p->result->files[file];
    const cJSON *before = publish_journal_actions(p->journal, f->sha256);
    Parts s = {.p = p, .file = file};
    cJSON *fresh = NULL;
    if (before)
        actions = before;
    else
        publish_journal_note_actions(p->journal, f->sha256, actions);
    int code = send_parts(&s, actions, err);
    for (int starts = 1; code && s.stale && starts < MOST_STARTS; starts++) {
        publish_journal_forget(p->journal, f->sha256);
        cJSON_Delete(fresh);
        fresh = NULL;
        code = publish_ask_again(p, f, &fresh, &actions, err);
        if (code || !actions) break; /* or it is there meanwhile */
        publish_journal_note_actions(p->journal, f->sha256, actions);
        code = send_parts(&s, actions, err);
    }
    cJSON_Delete(fresh);
    if (!code) code = publish_verify(p, 0, f, &s.target, err);
    if (!code) publish_journal_forget(p->journal, f->sha256);
    return code;
}
