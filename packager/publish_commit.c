/* publish_commit.c -- the one step that changes the branch, and the look afterwards at what it then holds. */
#include "core/json.h"
#include "packager/dsse.h"
#include "packager/publish_private.h"
#include <string.h>

enum { PATHS_A_CALL = 200, MOST_COMMITS = 5, MOST_OTHERS = 1000, MOST_PAGES = 1000 };

/* ---- what the Hub holds ---- */

static int differs(const PublishFile *f, const cJSON *item, bool *same, Error *err) {
    const cJSON *lfs = json_present(item, "lfs");
    const char *oid = cJSON_GetStringValue(json_get(lfs ? lfs : item, "oid"));
    uint64_t size = 0;
    bool equal = oid && !strcmp(oid, f->lfs ? f->sha256 : f->git_oid) && f->lfs == (lfs != NULL) &&
                 json_u64(json_get(item, "size"), &size) && size == f->size;
    if (equal) return 0;
    if (same) {
        *same = false;
        return 0;
    }
    return error_set(err, ERR_CHECK, "%s: on the Hub after the commit: %s %s, expected %s", f->path,
                     item ? "oid" : "nothing", oid ? oid : "", f->lfs ? f->sha256 : f->git_oid);
}

static int compare_some(Publish *p, const char *url, size_t first, size_t end, bool *same, Error *err) {
    Buffer b;
    HubAnswer a = {0};
    cJSON *answer = NULL;
    buffer_init(&b, NULL);
    for (size_t i = first; i < end; i++) {
        buffer_text(&b, "paths=");
        hub_encode(&b, p->result->files[i].path, false);
        buffer_char(&b, '&');
    }
    buffer_text(&b, "expand=true");
    HubRequest r = {.method = "POST",
                    .url = url,
                    .authorize = true,
                    .content_type = "application/x-www-form-urlencoded",
                    .body = b.data,
                    .length = b.length};
    int code = buffer_ok(&b, "a request", err);
    if (!code) code = hub_send(p->hub, &r, &a, err);
    if (!code && a.status != 200) code = hub_refused(p->hub, &r, &a, err);
    if (!code) code = hub_parse(&r, &a, &answer, err);
    for (size_t i = first; !code && i < end; i++) {
        const PublishFile *f = &p->result->files[i];
        const cJSON *item, *found = NULL;
        cJSON_ArrayForEach(item, answer) {
            const char *path = cJSON_GetStringValue(json_get(item, "path"));
            if (path && !strcmp(path, f->path)) found = item;
        }
        code = differs(f, found, same, err);
    }
    cJSON_Delete(answer);
    hub_answer_free(&a);
    buffer_free(&b);
    return code;
}

int publish_compare(Publish *p, const char *revision, bool *same, Error *err) {
    char *url = arena_printf(p->arena, "/api/models/%s/paths-info/%s", p->options->repo, revision);
    if (!url) return error_memory(err, "a URL");
    if (same) *same = true;
    for (size_t i = 0; i < p->result->n_files; i += PATHS_A_CALL) {
        size_t end = i + PATHS_A_CALL < p->result->n_files ? i + PATHS_A_CALL : p->result->n_files;
        TRY(compare_some(p, url, i, end, same, err));
    }
    return 0;
}

static bool is_ours(const Publish *p, const char *path) {
    for (size_t i = 0; i < p->result->n_files; i++)
        if (!strcmp(p->result->files[i].path, path)) return true;
    return false;
}

static int note_others(Publish *p, const cJSON *tree, Error *err) {
    const cJSON *item;
    PublishResult *r = p->result;
    if (!r->others) r->others = arena_alloc(p->arena, MOST_OTHERS, sizeof *r->others);
    if (!r->others) return error_memory(err, "the repository's files");
    cJSON_ArrayForEach(item, tree) {
        const char *path = cJSON_GetStringValue(json_get(item, "path")),
                   *type = cJSON_GetStringValue(json_get(item, "type"));
        if (!path || !type || strcmp(type, "file") != 0 || is_ours(p, path)) continue;
        if (r->n_others < MOST_OTHERS && !(r->others[r->n_others++] = arena_string(p->arena, path)))
            return error_memory(err, "the repository's files");
    }
    return 0;
}

int publish_others(Publish *p, const char *revision, Error *err) {
    const char *url =
        arena_printf(p->arena, "/api/models/%s/tree/%s?recursive=true", p->options->repo, revision);
    for (int page = 0; url && page < MOST_PAGES; page++) {
        HubRequest r = {.method = "GET", .url = url, .authorize = true};
        HubAnswer a = {0};
        cJSON *tree = NULL;
        int code = hub_send(p->hub, &r, &a, err);
        if (!code && a.status != 200) code = hub_refused(p->hub, &r, &a, err);
        if (!code) code = hub_parse(&r, &a, &tree, err);
        if (!code) code = note_others(p, tree, err);
        url = !code && a.next[0] ? arena_string(p->arena, a.next) : NULL;
        cJSON_Delete(tree);
        hub_answer_free(&a);
        TRY(code);
    }
    return 0;
}

/* ---- the commit ---- */

static int add_line(Publish *p, size_t i, Buffer *b, Error *err) {
    const PublishFile *f = &p->result->files[i];
    if (f->lfs) {
        buffer_text(b, "{\"key\":\"lfsFile\",\"value\":{\"path\":");
        json_write_string(b, f->path);
        buffer_printf(b, ",\"algo\":\"sha256\",\"oid\":\"%s\",\"size\":%llu}}\n", f->sha256,
                      (unsigned long long)f->size);
        return 0;
    }
    char *bytes;
    TRY(publish_content(p, i, &bytes, err));
    buffer_text(b, "{\"key\":\"file\",\"value\":{\"content\":\"");
    base64_write(b, bytes, (size_t)f->size);
    buffer_text(b, "\",\"path\":");
    json_write_string(b, f->path);
    buffer_text(b, ",\"encoding\":\"base64\"}}\n");
    return 0;
}

static int commit_body(Publish *p, Buffer *b, Error *err) {
    char *usual = arena_printf(p->arena, "Publish %s", p->manifest->name);
    if (!usual) return error_memory(err, "a request");
    buffer_text(b, "{\"key\":\"header\",\"value\":{\"summary\":");
    json_write_string(b, p->options->message ? p->options->message : usual);
    buffer_text(b, ",\"description\":\"\"");
    if (p->head[0]) buffer_printf(b, ",\"parentCommit\":\"%s\"", p->head);
    buffer_text(b, "}}\n");
    for (size_t i = 0; i < p->result->n_files; i++)
        if (p->result->files[i].state != PUBLISH_SAME) TRY(add_line(p, i, b, err));
    return buffer_ok(b, "the commit", err);
}

/* The branch is not where it was: with this very content (our commit, whose answer was lost), or not. */
static int moved(Publish *p, const char *now, Error *err) {
    bool same;
    TRY(publish_compare(p, now, &same, err));
    if (same) {
        strcpy(p->result->commit, now);
        return 0;
    }
    return error_set(err, ERR_CHECK,
                     "%s: the branch %s moved from %.12s to %.12s while this ran, so nothing was committed; "
                     "look at what was added there and run the command again (what was uploaded is not sent "
                     "twice)",
                     p->options->repo, p->revision, p->head, now);
}

static int take_commit(Publish *p, const HubAnswer *a, Error *err) {
    cJSON *answer = NULL;
    TRY(json_parse(&answer, buffer_string(&a->body), a->body.length, "the Hub's answer to the commit", err));
    const char *oid = cJSON_GetStringValue(json_get(answer, "commitOid")),
               *pr = cJSON_GetStringValue(json_get(answer, "pullRequestUrl"));
    int code = 0;
    if (!oid || strlen(oid) > 64 || strspn(oid, "0123456789abcdef") != strlen(oid) || !*oid)
        code = error_set(err, ERR_FORMAT, "the Hub's answer to the commit names no commit");
    else
        strcpy(p->result->commit, oid);
    if (!code && p->options->create_pr && pr) p->result->pull_request = arena_string(p->arena, pr);
    cJSON_Delete(answer);
    return code;
}

/* No answer, or one that says neither yes nor no: the branch knows. *again: it is where it was. */
static int find_out(Publish *p, const HubAnswer *a, unsigned tries, bool *again, Error *err) {
    char now[65];
    *again = false;
    if (p->options->create_pr || !p->head[0])
        return error_set(
            err, ERR_IO,
            "the Hub did not say whether it made the commit (%s); look at %s/%s/%s before you run this again",
            a->status ? "a server error" : a->lost, hub_endpoint(p->hub), p->options->repo,
            p->options->create_pr ? "discussions" : "commits");
    TRY(hub_pause(p->hub, tries, err));
    TRY(publish_head(p, now, NULL, err));
    if (!strcmp(now, p->head)) {
        *again = true;
        return 0;
    }
    return moved(p, now, err);
}

static int send_commit(Publish *p, const HubRequest *r, Error *err) {
    for (unsigned tries = 0;; tries++) {
        HubAnswer a = {0};
        bool again = false;
        char now[65];
        int code = hub_send(p->hub, r, &a, err);
        if (!code && a.status >= 200 && a.status < 300)
            code = take_commit(p, &a, err);
        else if (!code && (a.status == 412 || a.status == 409) && !publish_head(p, now, NULL, err) &&
                 strcmp(now, p->head) != 0)
            code = moved(p, now, err);
        else if (!code && (a.status == 0 || a.status >= 500) && tries < MOST_COMMITS)
            code = find_out(p, &a, tries, &again, err);
        else if (!code)
            code = hub_refused(p->hub, r, &a, err);
        hub_answer_free(&a);
        if (code || !again) return code;
    }
}

int publish_commit(Publish *p, Error *err) {
    Buffer b;
    char *url = arena_printf(p->arena, "/api/models/%s/commit/%s%s", p->options->repo, p->revision_in_path,
                             p->options->create_pr ? "?create_pr=1" : "");
    if (!url) return error_memory(err, "a URL");
    buffer_init(&b, NULL);
    int code = commit_body(p, &b, err);
    HubRequest r = {.method = "POST",
                    .url = url,
                    .authorize = true,
                    .once = true,
                    .content_type = "application/x-ndjson",
                    .body = b.data,
                    .length = b.length};
    if (!code) code = send_commit(p, &r, err);
    buffer_free(&b);
    return code;
}
