/* cmd_publish.c -- a package to the Hugging Face Hub. */
#include "cli/hub_open.h"
#include "core/json.h"
#include "packager/publish.h"
#include <stdio.h>
#include <string.h>

enum { USUAL_CONNECTIONS = 8 };

static const char *state_name(const PublishResult *r, const PublishFile *f) {
    if (!r->asked) return "";
    switch (f->state) {
    case PUBLISH_NEW: return "new";
    case PUBLISH_SAME: return "same";
    case PUBLISH_KNOWN: return "known";
    case PUBLISH_SENT: return "sent";
    }
    return "";
}

/* A small file travels inside the commit. */
static const char *shown_state(const PublishResult *r, const PublishFile *f, bool dry_run) {
    if (r->asked && !f->lfs && f->state == PUBLISH_NEW && !dry_run) return "sent";
    return state_name(r, f);
}

static int print_json(const PublishResult *r, const PublishOptions *o, Error *err) {
    cJSON *doc = cJSON_CreateObject(), *files, *list;
    cJSON_AddStringToObject(doc, "repo", o->repo);
    if (r->commit[0]) cJSON_AddStringToObject(doc, "commit", r->commit);
    if (r->pull_request) cJSON_AddStringToObject(doc, "pull_request", r->pull_request);
    cJSON_AddBoolToObject(doc, "dry_run", o->dry_run);
    cJSON_AddBoolToObject(doc, "nothing_new", r->nothing_new);
    cJSON_AddNumberToObject(doc, "bytes_sent", (double)r->bytes_sent);
    files = cJSON_AddArrayToObject(doc, "files");
    for (size_t i = 0; i < r->n_files; i++) {
        const PublishFile *f = &r->files[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(files, item);
        cJSON_AddStringToObject(item, "path", f->path);
        cJSON_AddNumberToObject(item, "size", (double)f->size);
        cJSON_AddStringToObject(item, "sha256", f->sha256);
        if (!r->asked) continue;
        cJSON_AddBoolToObject(item, "lfs", f->lfs);
        cJSON_AddStringToObject(item, "state", shown_state(r, f, o->dry_run));
    }
    list = cJSON_AddArrayToObject(doc, "others");
    for (size_t i = 0; i < r->n_others; i++) cJSON_AddItemToArray(list, cJSON_CreateString(r->others[i]));
    list = cJSON_AddArrayToObject(doc, "card_warnings");
    for (size_t i = 0; i < r->n_warnings; i++) cJSON_AddItemToArray(list, cJSON_CreateString(r->warnings[i]));
    return cli_print_json(doc, err);
}

static void print_line(const char *label, const char *text) {
    printf("%s", label);
    cli_print_safe(text, strlen(text));
    putchar('\n');
}

static void print_files(const PublishResult *r, const PublishOptions *o) {
    char size[32];
    uint64_t total = 0;
    for (size_t i = 0; i < r->n_files; i++) {
        const PublishFile *f = &r->files[i];
        printf("%-6s%9s  %.16s  ", shown_state(r, f, o->dry_run), human_bytes(f->size, size), f->sha256);
        print_line("", f->path);
        total += f->size;
    }
    printf("%zu files, %s, each as the manifest says\n", r->n_files, human_bytes(total, size));
}

static void print_text(const Hub *hub, const PublishResult *r, const PublishOptions *o) {
    char size[32];
    print_files(r, o);
    for (size_t i = 0; i < r->n_warnings; i++) print_line("card: ", r->warnings[i]);
    for (size_t i = 0; i < r->n_others; i++) print_line("on the Hub and not in the package: ", r->others[i]);
    if (o->dry_run) {
        printf("dry run: nothing was sent to %s/%s%s\n", hub_endpoint(hub), o->repo,
               r->asked             ? ""
               : hub_has_token(hub) ? ", which is not there yet"
                                    : "; without a token the Hub was not asked what it has");
        return;
    }
    if (r->nothing_new)
        printf("nothing to do: the branch has all of it already\n");
    else
        printf("%s sent in large files\n", human_bytes(r->bytes_sent, size));
    if (r->pull_request) print_line("pull request ", r->pull_request);
    printf("%s/%s, commit %s: %zu files on the Hub have the manifest's hashes\n", hub_endpoint(hub), o->repo,
           r->commit, r->n_files);
}

static int cmd_publish(Cli *cli, int argc, char **argv, Error *err) {
    PublishOptions o = {.repo = NULL};
    float wait = 0;
    uint32_t connections = USUAL_CONNECTIONS;
    char state[4096];
    const OptionSpec specs[] = {
        {"--repo", 0, OPTION_STRING, "USER/NAME", "the repository; made if it is missing", &o.repo},
        {"--private", 0, OPTION_FLAG, NULL, "make it a private one", &o.private},
        {"--revision", 0, OPTION_STRING, "BRANCH", "another branch than main; made if it is missing",
         &o.revision},
        {"--create-pr", 0, OPTION_FLAG, NULL, "a pull request instead of a commit on the branch",
         &o.create_pr},
        {"--message", 'm', OPTION_STRING, "TEXT", "what the commit says", &o.message},
        {"--dry-run", 0, OPTION_FLAG, NULL, "check everything, say what would be sent, send nothing",
         &o.dry_run},
        {"--connections", 0, OPTION_U32, "N", "uploads side by side (default: 8)", &connections},
        {"--retry-wait", 0, OPTION_FLOAT, "SECONDS",
         "before the first retry (default: 1); then 2, 4, 8 times that", &wait},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!o.repo) return error_set(err, ERR_USAGE, "--repo USER/NAME says where it goes");
    TRY(cli_check_package(cli->args.items[0], err));
    o.threads = cli->threads;
    o.progress = &cli->progress;
    o.state_directory = cli_cache_directory("publish", state, sizeof state);
    Hub *hub;
    PublishResult *result = NULL;
    TRY(cli_hub_open(&hub, !o.dry_run, connections, wait, err));
    int code = publish(&result, hub, cli->args.items[0], &o, err);
    cli_end_progress(cli);
    if (!code && cli->json)
        code = print_json(result, &o, err);
    else if (!code && !cli->quiet)
        print_text(hub, result, &o);
    publish_close(result);
    hub_close(hub);
    return code;
}

const Command command_publish = {
    .name = "publish",
    .summary = "send a package to the Hugging Face Hub, as one commit, and check what arrived",
    .usage = "publish DIR --repo USER/NAME [--private] [--revision BRANCH] [--create-pr] [--dry-run]",
    .details = "DIR is a package (recast build). Its files are held against its manifest before anything is "
               "sent, and what\n"
               "the Hub then says it holds afterwards. What the Hub has already is not sent again; a run "
               "that was cut short\n"
               "goes on when the same command is given again. If somebody else commits meanwhile, nothing is "
               "committed. The\n"
               "token is that of HF_TOKEN or `hf auth login`; HF_ENDPOINT names another Hub.",
    .examples = "  recast publish out/tiny-extreme --repo me/tiny-extreme --dry-run\n"
                "  recast publish Qwen3-30B-A6B-16/ --repo me/Qwen3-30B-A6B-16 --private\n"
                "  recast publish Qwen3-30B-A6B-16/ --repo them/model --create-pr\n",
    .run = cmd_publish,
};
