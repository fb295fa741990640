/* ollama_import.c -- see ollama_import.h. */
#include "cli/ollama_import.h"
#include "core/json.h"
#include "core/sha256.h"
#include "packager/hub.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Hashing {
    Cli *cli;
    uint64_t total;
} Hashing;

static int hashed(void *context, uint64_t bytes) {
    Hashing *h = context;
    return progress_update(&h->cli->progress, "hash", bytes, h->total, NULL);
}

static int hash_file(Cli *cli, const char *path, char hex[SHA256_HEX], Error *err) {
    Input *in;
    TRY(input_open(&in, path, NULL, err));
    Hashing h = {cli, input_size(in)};
    int code = sha256_input(hex, in, hashed, &h, err);
    input_close(in);
    cli_end_progress(cli);
    return code;
}

static int store_directory(char buf[4096], Error *err) {
    const char *store = getenv("OLLAMA_MODELS"), *home = getenv("HOME");
    struct stat st;
    int n = store && *store ? snprintf(buf, 4096, "%s", store)
            : home && *home ? snprintf(buf, 4096, "%s/.ollama/models", home)
                            : -1;
    if (n < 0 || n >= 4000)
        return error_set(err, ERR_IO, "OLLAMA_MODELS does not say where Ollama's store is");
    if (stat(buf, &st) != 0 || !S_ISDIR(st.st_mode))
        return error_set(err, ERR_IO, "%s is no directory; OLLAMA_MODELS names Ollama's store", buf);
    strcat(buf, "/blobs");
    if (mkdir(buf, 0755) != 0 && errno != EEXIST) return error_sys(err, ERR_IO, errno, "can't make %s", buf);
    return 0;
}

/* A blob of that name has these bytes, or is an older try of something that was cut short. */
static int link_blob(const char *path, const char *hex, bool *there, Error *err) {
    char blob[4200], store[4096];
    struct stat a, b;
    TRY(store_directory(store, err));
    snprintf(blob, sizeof blob, "%s/sha256-%s", store, hex);
    *there = false;
    /* in the Hub's cache the path is a symbolic link, which would lead nowhere from there */
    if (linkat(AT_FDCWD, path, AT_FDCWD, blob, AT_SYMLINK_FOLLOW) == 0) return 0;
    if (errno == EXDEV)
        return error_set(
            err, ERR_UNSUPPORTED,
            "%s lies on another file system than %s, so it can't be linked; ollama create copies it", path,
            store);
    if (errno != EEXIST) return error_sys(err, ERR_IO, errno, "can't link %s to %s", path, blob);
    *there = true;
    if (stat(path, &a) == 0 && stat(blob, &b) == 0 && a.st_size == b.st_size) return 0;
    return error_set(err, ERR_CHECK, "%s is there with another size; it is damaged: remove it", blob);
}

static void request_text(const LaunchPlan *plan, const char *name, const char *hex, Buffer *b) {
    const char *slash = strrchr(plan->path, '/');
    buffer_text(b, "{\"model\":");
    json_write_string(b, name);
    buffer_text(b, ",\"files\":{");
    json_write_string(b, slash ? slash + 1 : plan->path);
    buffer_printf(b, ":\"sha256:%s\"},\"parameters\":{\"num_ctx\":%u},\"stream\":false}", hex, plan->context);
}

/* *made: false if nobody answers there. */
static int create(const LaunchPlan *plan, const char *name, const char *hex, bool *made, Error *err) {
    char endpoint[300];
    const char *host = getenv("OLLAMA_HOST");
    if (!host || !*host) host = "127.0.0.1:11434";
    snprintf(endpoint, sizeof endpoint, "%s%.280s", strstr(host, "://") ? "" : "http://", host);
    Hub *hub;
    Buffer body;
    HubAnswer a = {0};
    HubOptions options = {.endpoint = endpoint, .connections = 1};
    TRY(hub_open(&hub, &options, err));
    buffer_init(&body, NULL);
    request_text(plan, name, hex, &body);
    HubRequest r = {.method = "POST",
                    .url = "/api/create",
                    .once = true,
                    .content_type = "application/json",
                    .body = body.data,
                    .length = body.length};
    int code = buffer_ok(&body, "a request", err);
    if (!code) code = hub_send(hub, &r, &a, err);
    *made = !code && a.status == 200 && strstr(buffer_string(&a.body), "success");
    if (!code && a.status && !*made)
        code = error_set(err, ERR_IO, "Ollama at %s answers %ld to /api/create: %.300s", endpoint, a.status,
                         buffer_string(&a.body));
    hub_answer_free(&a);
    buffer_free(&body);
    hub_close(hub);
    return code;
}

int ollama_import(Cli *cli, const LaunchPlan *plan, const char *name, Error *err) {
    char hex[SHA256_HEX];
    bool there, made = false;
    if (plan->engine != ENGINE_OLLAMA) return error_set(err, ERR_USAGE, "--import is for --engine ollama");
    if (plan->model->n_files > 1)
        return error_set(err, ERR_UNSUPPORTED,
                         "%s is split, and Ollama joins such files into a copy; convert it to one file",
                         plan->path);
    TRY(hash_file(cli, plan->path, hex, err));
    TRY(link_blob(plan->path, hex, &there, err));
    TRY(create(plan, name, hex, &made, err));
    if (cli->quiet) return 0;
    printf("%s in Ollama's store as sha256-%s\n", there ? "was" : "linked, without a copy,", hex);
    if (made)
        printf("ollama run %s\n", name);
    else
        printf("Ollama does not run here; when it does, ollama create %s takes the file from its store\n",
               name);
    return 0;
}
