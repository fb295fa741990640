/* cmd_unpack.c -- an archive of a package back into a directory. */
#include "cli/cli.h"
#include "packager/archive.h"
#include <stdio.h>
#include <string.h>

static int print_unpacked(const Cli *cli, const char *path, const char *directory, const ArchiveResult *r,
                          Error *err) {
    char size[32];
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        if (!doc) return error_memory(err, "the JSON output");
        cJSON_AddStringToObject(doc, "directory", directory);
        cJSON_AddNumberToObject(doc, "files", (double)r->n_files);
        cJSON_AddNumberToObject(doc, "bytes", (double)r->bytes);
        cJSON_AddNumberToObject(doc, "absent", (double)r->n_absent);
        return cli_print_json(doc, err);
    }
    if (cli->quiet) return 0;
    printf("%s: %zu files, %s, as manifest.json says\n", directory, r->n_files, human_bytes(r->bytes, size));
    if (r->n_absent)
        printf("%zu files of weights are not in the archive: recast validate %s checks the rest\n",
               r->n_absent, path);
    return 0;
}

/* "out/x.tar.zst" becomes "x". In buf; NULL if it is too long or nothing is left. */
static const char *default_name(const char *path, char *buf, size_t size) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t cut = archive_kind(path) == ARCHIVE_ZIP ? 4 : 8, n = strlen(name);
    if (n <= cut || n - cut >= size) return NULL;
    snprintf(buf, size, "%.*s", (int)(n - cut), name);
    return buf;
}

/* "64G", also K, M and T: powers of 1000. */
static int read_limit(uint64_t *out, const char *text, Error *err) {
    static const char units[] = "KMGT";
    char digits[32];
    size_t n = strlen(text);
    const char *unit = n ? strchr(units, text[n - 1]) : NULL;
    if (unit) n--;
    bool ok = n && n < sizeof digits;
    if (ok) snprintf(digits, sizeof digits, "%.*s", (int)n, text);
    ok = ok && parse_u64(digits, UINT64_MAX, out) && *out;
    for (const char *u = units; ok && unit && u <= unit; u++) ok = u64_mul(out, *out, 1000);
    return ok ? 0 : error_set(err, ERR_USAGE, "--max-size %s: give bytes, also as 500M, 64G or 2T", text);
}

static int cmd_unpack(Cli *cli, int argc, char **argv, Error *err) {
    const char *directory = NULL, *limit = NULL;
    char name[256];
    ArchiveResult result;
    ArchiveOptions o = {.progress = &cli->progress};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "DIR", "where the package goes (default: the archive's name)",
         &directory},
        {"--replace", 0, OPTION_FLAG, NULL, "DIR may be an older package: it is swapped for the new one",
         &o.replace},
        {"--max-size", 0, OPTION_STRING, "SIZE", "most bytes to unpack (50 times the archive and 64 MiB)",
         &limit},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    const char *path = cli->args.items[0];
    o.threads = cli->threads;
    if (limit) TRY(read_limit(&o.max_size, limit, err));
    if (archive_kind(path) == ARCHIVE_NONE)
        return error_set(err, ERR_USAGE, "%s: an archive of a package is called NAME.zip or NAME.tar.zst",
                         path);
    if (!directory) directory = default_name(path, name, sizeof name);
    if (!directory) return error_set(err, ERR_USAGE, "-o is missing: where the package goes");
    int code = archive_unpack(&result, path, directory, &o, err);
    if (code) cli_name_flag(err, "ask to replace it", "--replace");
    cli_end_progress(cli);
    return code ? code : print_unpacked(cli, path, directory, &result, err);
}

const Command command_unpack = {
    .name = "unpack",
    .summary = "unpack an archive of a package, checking everything in it",
    .usage = "unpack FILE.zip|FILE.tar.zst [-o DIR] [options]",
    .details =
        "DIR appears only when every file has the size and hash that the archive's manifest gives. Paths "
        "that "
        "leave DIR,\n"
        "links, names twice, files that aren't listed and more bytes than were promised are refused. Whether "
        "the\n"
        "manifest tells the truth is asked by recast validate DIR.",
    .examples = "  recast unpack tiny-extreme.tar.zst -o tiny\n"
                "  recast unpack tiny-extreme.zip\n",
    .run = cmd_unpack,
};
