/* publish_repo.c -- the repository: is the card right, is it there, where does its branch stand, what has it.
 */
#include "core/json.h"
#include "packager/dsse.h"
#include "packager/hub_repo.h"
#include "packager/publish_private.h"
#include <stdio.h>
#include <string.h>

enum { FILES_A_CALL = 256, SAMPLE_BYTES = 512 };

/* ---- the card ---- */

static int add_warning(Publish *p, const char *text, Error *err) {
    PublishResult *r = p->result;
    enum { MOST = 32 };
    if (!r->warnings) r->warnings = arena_alloc(p->arena, MOST, sizeof *r->warnings);
    const char *copy = arena_string(p->arena, text);
    if (!r->warnings || !copy) return error_memory(err, "the Hub's warnings");
    if (r->n_warnings < MOST) r->warnings[r->n_warnings++] = copy;
    return 0;
}

static int judge_card(Publish *p, const cJSON *answer, Error *err) {
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get(answer, "errors")) {
        const char *text = cJSON_GetStringValue(json_get(item, "message"));
        return error_set(err, ERR_FORMAT, "%s/README.md: the Hub refuses the card: %s", p->directory,
                         text ? text : "no reason given");
    }
    cJSON_ArrayForEach(item, json_get(answer, "warnings")) {
        const char *text = cJSON_GetStringValue(json_get(item, "message"));
        if (text) TRY(add_warning(p, text, err));
    }
    return 0;
}

static int ask_about_card(Publish *p, const char *text, Error *err) {
    Buffer body;
    buffer_init(&body, NULL);
    buffer_text(&body, "{\"content\":");
    json_write_string(&body, text);
    buffer_text(&body, ",\"repoType\":\"model\"}");
    HubRequest r = {.method = "POST",
                    .url = "/api/validate-yaml",
                    .authorize = true,
                    .content_type = "application/json",
                    .body = body.data,
                    .length = body.length};
    HubAnswer a = {0};
    cJSON *answer = NULL;
    int code = buffer_ok(&body, "the card", err);
    if (!code) code = hub_send(p->hub, &r, &a, err);
    /* 400 comes with the list of errors too */
    if (!code && a.status != 200 && a.status != 400) code = hub_refused(p->hub, &r, &a, err);
    if (!code) code = json_parse(&answer, buffer_string(&a.body), a.body.length, "the Hub's answer", err);
    if (!code) code = judge_card(p, answer, err);
    if (!code && a.status != 200) code = hub_refused(p->hub, &r, &a, err);
    cJSON_Delete(answer);
    hub_answer_free(&a);
    buffer_free(&body);
    return code;
}

int publish_check_card(Publish *p, Error *err) {
    for (size_t i = 0; i < p->result->n_files; i++) {
        char *text;
        if (strcmp(p->result->files[i].path, "README.md") != 0) continue;
        TRY(publish_content(p, i, &text, err));
        return ask_about_card(p, text, err);
    }
    return 0;
}

/* ---- repository and branch ---- */

/* GET of JSON that may be missing: *answer NULL after 404. */
static int look_up(Publish *p, const char *url, cJSON **answer, Error *err) {
    HubRequest r = {.method = "GET", .url = url, .authorize = true};
    HubAnswer a = {0};
    *answer = NULL;
    int code = hub_send(p->hub, &r, &a, err);
    if (!code && a.status == 200)
        code = hub_parse(&r, &a, answer, err);
    else if (!code && a.status != 404)
        code = hub_refused(p->hub, &r, &a, err);
    hub_answer_free(&a);
    return code;
}

int publish_head(Publish *p, char out[65], bool *is_private, Error *err) {
    cJSON *answer;
    char *url = arena_printf(p->arena, "/api/models/%s/revision/%s", p->options->repo, p->revision_in_path);
    out[0] = '\0';
    if (!url) return error_memory(err, "a URL");
    TRY(look_up(p, url, &answer, err));
    const char *sha = cJSON_GetStringValue(json_get(answer, "sha"));
    if (sha && strlen(sha) <= 64 && strspn(sha, "0123456789abcdef") == strlen(sha)) strcpy(out, sha);
    if (is_private && answer) *is_private = cJSON_IsTrue(json_get(answer, "private"));
    cJSON_Delete(answer);
    return 0;
}

/* Does the repository exist for this token? */
static int exists(Publish *p, bool *yes, bool *is_private, Error *err) {
    cJSON *answer;
    char *url = arena_printf(p->arena, "/api/models/%s", p->options->repo);
    if (!url) return error_memory(err, "a URL");
    TRY(look_up(p, url, &answer, err));
    *yes = answer != NULL;
    *is_private = cJSON_IsTrue(json_get(answer, "private"));
    cJSON_Delete(answer);
    return 0;
}

/* 409 means that it is there; a token that may write to it but not make one gets 403, which is looked into.
 */
static int create(Publish *p, bool *created, Error *err) {
    const char *slash = strchr(p->options->repo, '/');
    char *body = arena_printf(p->arena,
                              "{\"name\":\"%s\",\"organization\":\"%.*s\",\"type\":\"model\",\"visibility\":"
                              "\"%s\"}",
                              slash + 1, (int)(slash - p->options->repo), p->options->repo,
                              p->options->private ? "private" : "public");
    if (!body) return error_memory(err, "a request");
    HubRequest r = {.method = "POST",
                    .url = "/api/repos/create",
                    .authorize = true,
                    .content_type = "application/json",
                    .body = body,
                    .length = strlen(body)};
    HubAnswer a = {0};
    bool there = false, is_private;
    int code = hub_send(p->hub, &r, &a, err);
    *created = !code && a.status >= 200 && a.status < 300;
    if (!code && !*created && a.status != 409) {
        if (a.status == 403) code = exists(p, &there, &is_private, err);
        if (!code && !there) code = hub_refused(p->hub, &r, &a, err);
    }
    hub_answer_free(&a);
    return code;
}

static int make_branch(Publish *p, Error *err) {
    char *url = arena_printf(p->arena, "/api/models/%s/branch/%s", p->options->repo, p->revision_in_path);
    if (!url) return error_memory(err, "a URL");
    return hub_json(p->hub, "POST", url, "{\"startingPoint\":\"main\"}", NULL, err);
}

int publish_open_repo(Publish *p, Error *err) {
    bool created = false, is_private = false;
    if (p->options->dry_run) {
        TRY(exists(p, &p->exists, &is_private, err));
    } else {
        TRY(create(p, &created, err));
        p->exists = true;
    }
    if (!p->exists) return 0;
    TRY(publish_head(p, p->head, &is_private, err));
    bool makeable = strcmp(p->revision, "main") != 0 && strncmp(p->revision, "refs/", 5) != 0;
    if (!p->head[0] && makeable && !p->options->dry_run) {
        TRY(make_branch(p, err));
        TRY(publish_head(p, p->head, &is_private, err));
    }
    if (!p->head[0] && !created && !p->options->dry_run)
        return error_set(err, ERR_IO, "%s has no revision %s that this token can see", p->options->repo,
                         p->revision);
    if (p->options->private && !created && p->head[0] && !is_private)
        return error_set(err, ERR_CHECK,
                         "%s is there already and public; --private makes only new repositories private",
                         p->options->repo);
    return 0;
}

/* ---- preupload ---- */

static int ask_body(Publish *p, size_t first, size_t end, Buffer *b, Error *err) {
    buffer_text(b, "{\"files\":[");
    for (size_t i = first; i < end; i++) {
        const PublishFile *f = &p->result->files[i];
        char sample[SAMPLE_BYTES];
        size_t n = f->size < SAMPLE_BYTES ? (size_t)f->size : SAMPLE_BYTES;
        TRY(input_read(p->inputs[i], 0, sample, n, err));
        buffer_text(b, i == first ? "{\"path\":" : ",{\"path\":");
        json_write_string(b, f->path);
        buffer_text(b, ",\"sample\":\"");
        base64_write(b, sample, n);
        buffer_printf(b, "\",\"size\":%llu}", (unsigned long long)f->size);
    }
    buffer_text(b, "]}");
    return buffer_ok(b, "a request", err);
}

static const cJSON *answer_for(const cJSON *answer, const char *path) {
    const cJSON *item;
    cJSON_ArrayForEach(item, json_get(answer, "files")) {
        const char *name = cJSON_GetStringValue(json_get(item, "path"));
        if (name && !strcmp(name, path)) return item;
    }
    return NULL;
}

static int take_answer(Publish *p, size_t i, const cJSON *answer, Error *err) {
    PublishFile *f = &p->result->files[i];
    const cJSON *item = answer_for(answer, f->path);
    const char *mode = cJSON_GetStringValue(json_get(item, "uploadMode")),
               *oid = cJSON_GetStringValue(json_get(item, "oid"));
    if (!mode || (strcmp(mode, "lfs") != 0 && strcmp(mode, "regular") != 0))
        return error_set(err, ERR_FORMAT, "the Hub does not say how %s is to be uploaded", f->path);
    if (cJSON_IsTrue(json_get(item, "shouldIgnore")))
        return error_set(err, ERR_CHECK,
                         "the repository's .gitignore leaves out %s, which the manifest promises", f->path);
    f->lfs = !strcmp(mode, "lfs") && f->size > 0;
    if (!f->lfs) {
        char *bytes;
        TRY(publish_content(p, i, &bytes, err));
        TRY(git_blob_oid(f->git_oid, bytes, (size_t)f->size, err));
    }
    f->state = oid && !strcmp(oid, f->lfs ? f->sha256 : f->git_oid) ? PUBLISH_SAME : PUBLISH_NEW;
    return 0;
}

static int ask_some(Publish *p, const char *url, size_t first, size_t end, Error *err) {
    Buffer body;
    cJSON *answer = NULL;
    buffer_init(&body, NULL);
    int code = ask_body(p, first, end, &body, err);
    if (!code) code = hub_json(p->hub, "POST", url, buffer_string(&body), &answer, err);
    for (size_t i = first; !code && i < end; i++) code = take_answer(p, i, answer, err);
    cJSON_Delete(answer);
    buffer_free(&body);
    return code;
}

int publish_preupload(Publish *p, Error *err) {
    char *url = arena_printf(p->arena, "/api/models/%s/preupload/%s%s", p->options->repo, p->revision_in_path,
                             p->options->create_pr ? "?create_pr=1" : "");
    if (!url) return error_memory(err, "a URL");
    for (size_t i = 0; i < p->result->n_files; i += FILES_A_CALL) {
        size_t end = i + FILES_A_CALL < p->result->n_files ? i + FILES_A_CALL : p->result->n_files;
        TRY(ask_some(p, url, i, end, err));
    }
    p->result->asked = true;
    return 0;
}
