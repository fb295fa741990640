/* cmd_edit.c -- change metadata of any GGUF, leave tensors alone: into a new file, or in the file itself. */
#include "cli/cli.h"
#include "cli/value.h"
#include "convert/clone.h"
#include "convert/edit.h"
#include "convert/edit_shards.h"
#include "convert/execute.h"
#include "convert/in_place.h"
#include "model/gguf.h"
#include "model/gguf_split.h"
#include <stdio.h>
#include <string.h>

typedef struct EditArgs {
    const char *path, *out;
    OptionList sets, unsets;
    bool in_place, copy, no_hash, replace;
} EditArgs;

static int apply(Metadata *m, const EditArgs *a, Error *err) {
    for (size_t i = 0; i < a->sets.count; i++) TRY(edit_set(m, a->sets.items[i], err));
    for (size_t i = 0; i < a->unsets.count; i++) TRY(edit_unset(m, a->unsets.items[i], err));
    return edit_finish(m, err);
}

static int check_args(const EditArgs *a, Error *err) {
    if (a->out && a->in_place)
        return error_set(err, ERR_USAGE,
                         "-o writes a new file and --in-place changes the old one: give one of them");
    if (!a->out && !a->in_place)
        return error_set(err, ERR_USAGE, "-o OUT.gguf is missing (or --in-place, to change the file itself)");
    if (a->in_place && (a->copy || a->no_hash || a->replace))
        return error_set(err, ERR_USAGE, "--in-place writes no new file, so %s says nothing",
                         a->copy      ? "--copy"
                         : a->no_hash ? "--no-hash"
                                      : "--replace");
    if (!a->in_place && !a->sets.count && !a->unsets.count)
        return error_set(err, ERR_USAGE, "nothing to change: give --set or --unset");
    return 0;
}

/* ---- a new file ---- */

static ExecuteOptions execute_options(const Cli *cli, const EditArgs *a) {
    return (ExecuteOptions){.threads = cli->threads, .no_hash = a->no_hash, .progress = &cli->progress};
}

static int write_edited(Cli *cli, const EditArgs *a, const Model *model, const Metadata *m,
                        FileResult *result, Error *err) {
    GgufPlan *plan;
    TRY(gguf_plan_open(&plan, model, m, NULL, err));
    int code = gguf_execute(result, plan, a->out, execute_options(cli, a), err);
    gguf_plan_close(plan);
    return code;
}

/* A split model stays one if OUT is named as a shard; else it becomes a whole file. */
static bool keeps_shards(const Model *model, const char *out) {
    uint32_t number, count;
    return model->n_files > 1 && gguf_is_shard_path(out, &number, &count);
}

static int edit_shards(Cli *cli, const EditArgs *a, const Model *model, FileResult *result, Error *err) {
    Input *in;
    Model *first;
    Arena *arena = NULL;
    Metadata *m;
    TRY(input_open(&in, model->path, NULL, err));
    int code = gguf_open_shard(&first, in, NULL, err);
    if (code) {
        input_close(in);
        return code;
    }
    code = arena_open(&arena, NULL, err);
    if (!code) code = metadata_copy(&m, first->metadata, arena, err);
    if (!code) code = apply(m, a, err);
    if (!code) code = clone_pad(m, first, NULL, err);
    if (!code)
        code = edit_first_shard(result, model, first, m, a->out, a->copy, execute_options(cli, a), err);
    arena_close(arena);
    model_close(first);
    return code;
}

static int edit_whole(Cli *cli, const EditArgs *a, const Model *model, FileResult *result, Error *err) {
    Arena *arena;
    Metadata *m;
    TRY(arena_open(&arena, NULL, err));
    int code = metadata_copy(&m, model->metadata, arena, err);
    if (!code) code = apply(m, a, err);
    if (!code) code = clone_pad(m, model, NULL, err);
    if (!code) code = write_edited(cli, a, model, m, result, err);
    arena_close(arena);
    return code;
}

static int print_result(Cli *cli, const char *out, const FileResult *result, Error *err) {
    cli_end_progress(cli);
    if (cli->json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "path", out);
        cJSON_AddNumberToObject(doc, "size", (double)result->size);
        if (result->sha256[0]) cJSON_AddStringToObject(doc, "sha256", result->sha256);
        return cli_print_json(doc, err);
    }
    if (!cli->quiet) printf("%s  %s\n", result->sha256[0] ? result->sha256 : "-", out);
    return 0;
}

static int edit_into(Cli *cli, const EditArgs *a, Error *err) {
    Model *model;
    FileResult result;
    uint32_t number, count;
    TRY(gguf_open(&model, a->path, NULL, err));
    bool shards = keeps_shards(model, a->out);
    int code = !shards && gguf_is_shard_path(a->out, &number, &count)
                   ? error_set(err, ERR_USAGE, "%s is the name of a shard, but the model is one file", a->out)
                   : 0;
    if (!code)
        code = shards ? edit_shards(cli, a, model, &result, err) : edit_whole(cli, a, model, &result, err);
    if (!code) code = print_result(cli, a->out, &result, err);
    if (!code && shards && !cli->json && !cli->quiet) {
        if (model->n_files == 2) printf("the other shard is beside it, unchanged\n");
        if (model->n_files > 2) printf("the other %zu shards are beside it, unchanged\n", model->n_files - 1);
    }
    model_close(model);
    return code;
}

/* ---- the file itself ---- */

/* Arrays are not edited. x and y get the bytes. */
static bool differs(const GgufKv *old, const GgufValue *now, Buffer *x, Buffer *y) {
    if (!now || now->type == GGUF_ARRAY) return false;
    GgufKv twin = {.key = old->key, .value = *now};
    buffer_clear(x);
    buffer_clear(y);
    metadata_write_kv(x, old);
    metadata_write_kv(y, &twin);
    return x->length != y->length || memcmp(x->data, y->data, x->length);
}

static void show_change(cJSON *list, const char *key, const char *old, const char *now) {
    if (list) {
        cJSON *o = cJSON_CreateObject();
        cJSON_AddStringToObject(o, "key", key);
        cJSON_AddStringToObject(o, "old", old);
        cJSON_AddStringToObject(o, "new", now);
        cJSON_AddItemToArray(list, o);
        return;
    }
    cli_print_safe(key, strlen(key));
    printf(": %s -> %s\n", old, now);
}

/* As compare shows it. list: NULL for text. */
static int show_changes(cJSON *list, const Metadata *old, const Metadata *edited, Error *err) {
    Buffer x, y;
    buffer_init(&x, NULL);
    buffer_init(&y, NULL);
    for (size_t i = 0; i < metadata_slots(old); i++) {
        const GgufKv *kv = metadata_slot(old, i);
        const GgufValue *now = metadata_get(edited, kv->key.data);
        if (!differs(kv, now, &x, &y)) continue;
        buffer_clear(&x);
        buffer_clear(&y);
        value_text(&x, &kv->value);
        value_text(&y, now);
        if (!strcmp(buffer_string(&x), buffer_string(&y))) buffer_text(&y, " (different further on)");
        show_change(list, kv->key.data, buffer_string(&x), buffer_string(&y));
    }
    int code = buffer_ok(&x, "the changes", err);
    if (!code) code = buffer_ok(&y, "the changes", err);
    buffer_free(&x);
    buffer_free(&y);
    return code;
}

/* What the file said before, and what it says now; edited NULL: it was only put back. */
static int print_in_place(const Cli *cli, const EditArgs *a, const InPlace *file, const Metadata *edited,
                          Error *err) {
    cJSON *doc = cli->json ? cJSON_CreateObject() : NULL;
    cJSON *list = NULL;
    if (doc) {
        cJSON_AddStringToObject(doc, "path", a->path);
        cJSON_AddBoolToObject(doc, "restored", in_place_restored(file));
        list = cJSON_AddArrayToObject(doc, "changed");
    }
    int code = edited && (doc || !cli->quiet) ? show_changes(list, in_place_metadata(file), edited, err) : 0;
    if (doc && !code) return cli_print_json(doc, err);
    cJSON_Delete(doc);
    return code;
}

/* The keys of a split model are all in its first shard. */
static int check_shard(const EditArgs *a, const Metadata *m, Error *err) {
    const GgufValue *number = metadata_get(m, "split.no");
    if (!number || number->type != GGUF_U16 || number->u == 0) return 0;
    return error_set(err, ERR_USAGE,
                     "%s is shard %llu of a model, which has no keys to edit: name the first shard", a->path,
                     (unsigned long long)number->u + 1);
}

static int change_open(const Cli *cli, const EditArgs *a, InPlace *file, Arena *arena, Error *err) {
    Metadata *m;
    size_t n;
    TRY(check_shard(a, in_place_metadata(file), err));
    TRY(metadata_copy(&m, in_place_metadata(file), arena, err));
    TRY(apply(m, a, err));
    TRY(in_place_commit(file, m, &n, err));
    TRY(print_in_place(cli, a, file, m, err));
    if (n == 0 && !cli->json && !cli->quiet) printf("%s has these values already\n", a->path);
    return 0;
}

/* With nothing to set, an edit that was cut short is taken back and nothing else is done. */
static int edit_in_place(const Cli *cli, const EditArgs *a, Error *err) {
    InPlace *file;
    Arena *arena = NULL;
    TRY(in_place_open(&file, a->path, NULL, err));
    if (in_place_restored(file) && !cli->quiet)
        fprintf(stderr, "recast edit: an edit of %s had been cut short; its old values were put back\n",
                a->path);
    int code;
    if (!a->sets.count && !a->unsets.count && in_place_restored(file)) {
        code = print_in_place(cli, a, file, NULL, err);
    } else if (!a->sets.count && !a->unsets.count) {
        code = error_set(err, ERR_USAGE,
                         "nothing to change: give --set, and no edit of %s waits to be taken back", a->path);
    } else {
        code = arena_open(&arena, NULL, err);
        if (!code) code = change_open(cli, a, file, arena, err);
    }
    arena_close(arena);
    in_place_close(file);
    return code;
}

static int cmd_edit(Cli *cli, int argc, char **argv, Error *err) {
    EditArgs a = {.out = NULL};
    const OptionSpec specs[] = {
        {"--out", 'o', OPTION_STRING, "OUT.gguf", "the new file; of a split model, its new first shard",
         &a.out},
        {"--in-place", 0, OPTION_FLAG, NULL,
         "change the file itself, in milliseconds: numbers, bools, strings of equal length", &a.in_place},
        {"--set", 0, OPTION_LIST, "KEY=TYPE:VALUE",
         "int, float, bool, str or u8 .. f64; no TYPE for a key that exists", &a.sets},
        {"--unset", 0, OPTION_LIST, "KEY", "leave a key out", &a.unsets},
        {"--copy", 0, OPTION_FLAG, NULL, "copy the other shards of a split model instead of linking them",
         &a.copy},
        {"--no-hash", 0, OPTION_FLAG, NULL,
         "don't hash the new file: then nothing is read that can be shared", &a.no_hash},
        {"--replace", 0, OPTION_FLAG, NULL, "OUT.gguf may exist: it is replaced", &a.replace},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    a.path = cli->args.items[0];
    TRY(check_args(&a, err));
    if (!a.replace) TRY(cli_check_new(a.out, "-o", err));
    return a.in_place ? edit_in_place(cli, &a, err) : edit_into(cli, &a, err);
}

const Command command_edit = {
    .name = "edit",
    .summary = "change metadata of a GGUF of any architecture, leave its tensors alone",
    .details =
        "Of a split model, FILE is the first shard. If OUT is named as one too (NEW-00001-of-00003.gguf), "
        "only that is\nwritten, and the others are hard-linked beside it; else OUT becomes one whole file.\n"
        "--in-place changes FILE itself where nothing has to move. If that is cut short, the next edit in "
        "place puts FILE\nback first.",
    .usage = "edit FILE.gguf (-o OUT.gguf | --in-place) [--set KEY=TYPE:VALUE] [--unset KEY]",
    .examples = "  recast edit model.gguf -o new.gguf --set qwen3moe.expert_used_count=16\n"
                "  recast edit model.gguf -o new.gguf --set general.author=str:me --unset general.url\n"
                "  recast edit model.gguf --in-place --set qwen3moe.expert_used_count=16\n",
    .run = cmd_edit,
};
