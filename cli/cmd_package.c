/* cmd_package.c -- a package directory as one file. */
#include "cli/cli.h"
#include "packager/archive.h"
#include <stdio.h>

static int print_packed(const Cli *cli, const char *path, const ArchiveResult *r, Error *err) {
    char packed[32], whole[32];
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        if (!doc) return error_memory(err, "the JSON output");
        cJSON_AddStringToObject(doc, "archive", path);
        cJSON_AddNumberToObject(doc, "size", (double)r->archive_bytes);
        cJSON_AddNumberToObject(doc, "files", (double)r->n_files);
        cJSON_AddNumberToObject(doc, "bytes", (double)r->bytes);
        cJSON_AddNumberToObject(doc, "planes", (double)r->n_planes);
        return cli_print_json(doc, err);
    }
    if (cli->quiet) return 0;
    bool zip = archive_kind(path) == ARCHIVE_ZIP;
    printf("%s: %s, %zu files of %s%s\n", path, human_bytes(r->archive_bytes, packed), r->n_files,
           human_bytes(r->bytes, whole), zip ? ", all but the weights" : "");
    if (r->n_planes)
        printf("%zu of them with their bytes in planes: recast unpack puts them together again\n",
               r->n_planes);
    return 0;
}

static int cmd_package(Cli *cli, int argc, char **argv, Error *err) {
    const char *path = NULL;
    uint32_t level = 0;
    bool replace = false;
    ArchiveResult result;
    ArchiveOptions o = {.progress = &cli->progress};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "FILE", "NAME.zip (all but the weights) or NAME.tar.zst (everything)",
         &path},
        {"--level", 0, OPTION_U32, "N", "of zstd, 1 to 19 (3)", &level},
        {"--plain", 0, OPTION_FLAG, NULL, "no planes: tar --zstd -xf then gives the package itself",
         &o.plain},
        {"--replace", 0, OPTION_FLAG, NULL, "FILE may exist: it is replaced", &replace},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (!path) return error_set(err, ERR_USAGE, "-o is missing: NAME.zip or NAME.tar.zst");
    if (level > 19) return error_set(err, ERR_USAGE, "--level %u: 1 to 19 are offered", level);
    TRY(cli_check_package(cli->args.items[0], err));
    if (!replace) TRY(cli_check_new(path, "-o", err));
    o.level = (int)level;
    o.threads = cli->threads;
    int code = archive_write(&result, path, cli->args.items[0], &o, err);
    cli_end_progress(cli);
    return code ? code : print_packed(cli, path, &result, err);
}

const Command command_package = {
    .name = "package",
    .summary = "pack a package directory into one file: the evidence as .zip, or everything as .tar.zst",
    .usage = "package DIR -o FILE.zip|FILE.tar.zst [options]",
    .details = "Every file is hashed on its way and must be what manifest.json says. The .zip holds all but "
               "the weights "
               "and is\n"
               "the same byte for byte wherever it is made; recast validate reads it as it is. In a .tar.zst "
               "the bytes "
               "of bf16\n"
               "weights are sorted into planes where that pays (about a third smaller than the weights).",
    .examples = "  recast package out/tiny-extreme -o out/tiny-extreme.zip\n"
                "  recast package out/tiny-extreme -o out/tiny-extreme.tar.zst\n"
                "  recast validate out/tiny-extreme.zip\n",
    .run = cmd_package,
};
