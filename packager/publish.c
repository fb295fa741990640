/* publish.c -- the order of things. See publish.h. */
#include "packager/publish_private.h"
#include <string.h>

static int check_options(const PublishOptions *o, Error *err) {
    if (!hub_is_repo(o->repo))
        return error_set(err, ERR_USAGE, "\"%s\" is no repository: it is named user/name", o->repo);
    return 0;
}

/* The same package to the same place: what an unfinished run left belongs to this one. */
static int open_journal(Publish *p, Error *err) {
    char key[SHA256_HEX];
    const ManifestFile *last = p->manifest->n_files ? &p->manifest->files[p->manifest->n_files - 1] : NULL;
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(&b, "%s\n%s\n%s\n%d\n%s\n", hub_endpoint(p->hub), p->options->repo, p->revision,
                  p->options->create_pr, last ? last->sha256 : "");
    for (size_t i = 0; i < p->manifest->n_files; i++) buffer_printf(&b, "%s\n", p->manifest->files[i].sha256);
    int code = buffer_ok(&b, "a journal's key", err);
    if (!code) code = sha256_bytes(key, b.data, b.length, err);
    buffer_free(&b);
    if (code) return code;
    return publish_journal_open(&p->journal, p->options->dry_run ? NULL : p->options->state_directory, key,
                                err);
}

static bool anything_new(const PublishResult *r) {
    for (size_t i = 0; i < r->n_files; i++)
        if (r->files[i].state != PUBLISH_SAME) return true;
    return false;
}

/* The revision to look at afterwards: a pull request's own, which its URL ends with. */
static const char *made_revision(const Publish *p) {
    const char *pr = p->result->pull_request, *slash = pr ? strrchr(pr, '/') : NULL;
    if (slash && slash[1] && strspn(slash + 1, "0123456789") == strlen(slash + 1))
        return arena_printf(p->arena, "refs%%2Fpr%%2F%s", slash + 1);
    return p->result->commit;
}

static int send_everything(Publish *p, Error *err) {
    TRY(publish_preupload(p, err));
    p->result->nothing_new = !anything_new(p->result);
    if (p->options->dry_run) return 0;
    if (p->result->nothing_new) {
        strcpy(p->result->commit, p->head);
    } else {
        TRY(publish_upload(p, err));
        TRY(publish_unchanged(p, err));
        TRY(publish_commit(p, err));
    }
    const char *revision = p->result->nothing_new ? p->revision_in_path : made_revision(p);
    if (!revision) return error_memory(err, "a URL");
    TRY(publish_compare(p, revision, NULL, err));
    return publish_others(p, revision, err);
}

static int run(Publish *p, Error *err) {
    const PublishOptions *o = p->options;
    bool ask = !o->dry_run || hub_has_token(p->hub);
    TRY(manifest_read(&p->manifest, p->directory, NULL, err));
    TRY(publish_list(p, err));
    TRY(open_journal(p, err));
    if (ask) TRY(publish_check_card(p, err));
    if (ask) TRY(publish_open_repo(p, err));
    TRY(publish_hash(p, err));
    return ask && p->exists ? send_everything(p, err) : 0;
}

static void close_run(Publish *p, int code) {
    bool finished = !code && !p->options->dry_run;
    for (size_t i = 0; p->inputs && i < p->result->n_files; i++) input_close(p->inputs[i]);
    publish_journal_close(p->journal, finished);
    manifest_close(p->manifest);
    pthread_mutex_destroy(&p->lock);
}

int publish(PublishResult **out, Hub *hub, const char *directory, const PublishOptions *options, Error *err) {
    Publish p = {.hub = hub, .directory = directory, .options = options};
    *out = NULL;
    TRY(check_options(options, err));
    TRY(arena_open(&p.arena, NULL, err));
    pthread_mutex_init(&p.lock, NULL);
    p.result = arena_alloc(p.arena, 1, sizeof *p.result);
    p.revision = options->revision ? options->revision : "main";
    Buffer encoded;
    buffer_init(&encoded, NULL);
    hub_encode(&encoded, p.revision, false);
    p.revision_in_path = arena_string(p.arena, buffer_string(&encoded));
    int code =
        p.result && p.revision_in_path ? buffer_ok(&encoded, "a URL", err) : error_memory(err, "a run");
    buffer_free(&encoded);
    if (!code) code = run(&p, err);
    close_run(&p, code);
    if (code) {
        arena_close(p.arena);
        return code;
    }
    p.result->arena = p.arena;
    *out = p.result;
    return 0;
}

void publish_close(PublishResult *r) {
    if (r) arena_close(r->arena);
}
