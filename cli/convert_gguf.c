/* convert_gguf.c -- `recast convert` to GGUF: one file, a split one, one of each of several types from one
 * reading of the source, or a part of one. */
#include "cli/convert_job.h"
#include "cli/fallbacks.h"
#include "convert/parts.h"
#include "convert/produce.h"
#include "core/input.h"
#include "model/lora_gguf.h"
#include "model/views.h"
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TYPES = 32, LARGEST_TYPE_FILE = 1 << 20 };

/* One GGUF of those that are made. */
typedef struct Target {
    const char *type; /* as recast.output names it */
    OutputTypes types;
    const char *path; /* NULL: hash only */
    RecipeStack stack;
    const Model *model;
    Provenance provenance;
    Buffer derivation;
} Target;

typedef struct Job {
    Cli *cli;
    const ConvertArgs *args;
    const Subject *subject;
    Settled settled;
    DType embedding_type, output_type; /* DT_NONE: the presets' */
    size_t n;
    Target *targets;
    SplitRule split;
    Arena *arena;
} Job;

static void say(const char *text) {
    fputs(text, stderr);
}

/* ---- types ---- */

/* A preset as llama-quantize spells it, in any case, or by its number. */
static int parse_type(const Preset **out, const char *word, size_t length, Arena *arena, Error *err) {
    const char *name = arena_printf(arena, "%.*s", (int)length, word), *offered = output_presets_text(arena);
    if (!name || !offered) return error_memory(err, "a type");
    *out = preset_by_name(name);
    return *out ? 0 : error_set(err, ERR_USAGE, "--type %s: %s are offered", name, offered);
}

/* Without --type: the type in which most of the weights are stored, so that nothing is lost. (llama.cpp's
 * converter makes F16 of an F32 checkpoint.) */
static int stored_type(const Preset **out, const Model *m, Error *err) {
    DType type = gguf_common_type(m);
    *out = dtype_is_float(type) ? preset_by_file_type(gguf_file_type(type)) : NULL;
    if (*out) return 0;
    return error_set(err, ERR_UNSUPPORTED,
                     "%s is stored as %s: only f32, f16 and bf16 weights can be converted", m->path,
                     dtype_name(type));
}

/* What is wrong with a word of the command line is usage; in a file it is the file's format. */
static int add_word(TensorTypes *types, const char *word, Error *err) {
    Error found = {0};
    int code = tensor_types_add_word(types, word, strlen(word), &found);
    if (code == ERR_FORMAT || code == ERR_RECIPE)
        return error_set(err, ERR_USAGE, "--tensor-type: %s", found.message);
    if (code && err) *err = found;
    return code;
}

/* What --imatrix, --tensor-type and the like say goes for every type that has blocks. */
static int add_options(Job *j, OutputTypes *t, Error *err) {
    const ConvertArgs *a = j->args;
    t->requantize = a->requantize;
    if (dtype_is_float(t->preset->type)) return 0;
    t->embedding_type = j->embedding_type;
    t->output_type = j->output_type;
    if (a->tensor_types.count || a->tensor_type_file) TRY(tensor_types_open(&t->tensor_types, NULL, err));
    for (size_t i = 0; i < a->tensor_types.count; i++)
        TRY(add_word(t->tensor_types, a->tensor_types.items[i], err));
    if (a->tensor_type_file) {
        char *text;
        size_t length;
        TRY(input_read_file(&text, &length, a->tensor_type_file, LARGEST_TYPE_FILE, j->arena, err));
        TRY(tensor_types_add_text(t->tensor_types, a->tensor_type_file, text, length, err));
    }
    return a->imatrix ? output_types_set_imatrix(t, a->imatrix, j->arena, err) : 0;
}

/* "bf16,q8_0" */
static int parse_types(Job *j, const char *list, Error *err) {
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        if (j->n == MOST_TYPES) return error_set(err, ERR_USAGE, "--type: more than %d types", MOST_TYPES);
        Target *t = &j->targets[j->n];
        TRY(parse_type(&t->types.preset, at, length, j->arena, err));
        t->type = t->types.preset->key;
        for (size_t i = 0; i < j->n; i++)
            if (j->targets[i].type == t->type)
                return error_set(err, ERR_USAGE, "--type: %s is there twice", t->type);
        j->n++;
        TRY(add_options(j, &t->types, err));
        at += length;
        if (!*at) return 0;
    }
}

static int parse_single(DType *out, const char *option, const char *name, Error *err) {
    *out = name ? output_tensor_type(name) : DT_NONE;
    if (!name || *out != DT_NONE) return 0;
    return error_set(err, ERR_USAGE, "%s %s: that is no type that a tensor can get", option, name);
}

/* What is made, and of which type; the recipe says it, or --type, or the source itself. */
static int choose_types(Job *j, Error *err) {
    const Subject *s = j->subject;
    TRY(parse_single(&j->embedding_type, "--embedding-type", j->args->embedding_type, err));
    TRY(parse_single(&j->output_type, "--output-type", j->args->output_type, err));
    if (!s->recipe && j->args->type) return parse_types(j, j->args->type, err);
    j->n = 1;
    if (s->recipe)
        j->targets[0].type = s->recipe->outputs[j->args->output - 1].type_name;
    else if (s->source->form == FORM_HF) {
        TRY(stored_type(&j->targets[0].types.preset, s->source, err));
        j->targets[0].type = j->targets[0].types.preset->key;
    } else
        j->targets[0].type = "stored"; /* a GGUF of any types is copied as it is */
    return 0;
}

/* ---- names ---- */

#define TYPE_MARK "{type}"

/* OUT with the type in the place of its mark. */
static const char *named(const Job *j, const char *type) {
    const char *out = j->args->out, *mark = strstr(out, TYPE_MARK);
    if (!mark) return out;
    char *path = arena_printf(j->arena, "%.*s%s%s", (int)(mark - out), out, type, mark + strlen(TYPE_MARK));
    for (char *c = path ? path + (mark - out) : NULL; c && c < path + (mark - out) + strlen(type); c++)
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
    return path;
}

/* A whole file under a shard's name would be taken for one. */
static int check_shard_name(const char *out, const SplitRule *rule, Error *err) {
    uint32_t number, count;
    if (!out || !split_rule_is_none(rule) || !gguf_is_shard_path(out, &number, &count)) return 0;
    return error_set(
        err, ERR_USAGE,
        "%s is the name of a shard, but one whole file was asked for; choose another name, or split it", out);
}

static int choose_names(Job *j, Error *err) {
    const ConvertArgs *a = j->args;
    if (!a->out) return 0;
    if (j->n > 1 && !strstr(a->out, TYPE_MARK))
        return error_set(err, ERR_USAGE, "several types need several names: -o NAME-" TYPE_MARK ".gguf");
    for (size_t i = 0; i < j->n; i++) {
        j->targets[i].path = named(j, j->targets[i].type);
        if (!j->targets[i].path) return error_memory(err, "a file name");
        TRY(check_shard_name(j->targets[i].path, &j->split, err));
    }
    return 0;
}

static int choose_split(Job *j, Error *err) {
    const ConvertArgs *a = j->args;
    const Subject *s = j->subject;
    if (s->recipe)
        j->split = s->recipe->outputs[a->output - 1].split;
    else if (a->split)
        TRY(split_rule_parse(&j->split, a->split, err));
    if ((a->part_index || a->join) && !split_rule_is_none(&j->split))
        return error_set(err, ERR_USAGE, "parts are written of one file: leave the split out");
    if ((a->part_index || a->join) && j->n > 1)
        return error_set(err, ERR_USAGE, "parts are written of one file: give one type at a time");
    return 0;
}

/* ---- views ---- */

/* Of a plain conversion: GGUF names over a checkpoint, then the types. */
static int plain_stack(Target *t, const Model *source, Error *err) {
    RecipeStack *s = &t->stack;
    if (source->form == FORM_HF) {
        TRY(gguf_names_open(&s->names, source, NULL, NULL, err));
        s->top = s->names;
    } else {
        s->top = source;
    }
    return retype_stack(s, &t->types, NULL, err);
}

static int open_views(Job *j, Error *err) {
    for (size_t i = 0; i < j->n; i++) {
        Target *t = &j->targets[i];
        if (!j->subject->recipe && t->types.preset) TRY(plain_stack(t, j->subject->source, err));
        t->model = t->stack.top ? t->stack.top : j->subject->model;
        TRY(fallbacks_say(t->model, j->cli->quiet ? NULL : say, err));
    }
    return 0;
}

static int derive(Job *j, Target *t, Error *err) {
    const Subject *s = j->subject;
    const SourceProof *proof = j->settled.proof;
    if (s->recipe)
        TRY(recipe_derivation(s->recipe, j->args->output - 1, proof, s->commit, &t->derivation, err));
    else
        TRY(recipe_plain_derivation(&t->types, &j->split, proof, &t->derivation, err));
    t->provenance = (Provenance){.derivation = buffer_string(&t->derivation),
                                 .commit = s->commit,
                                 .proof = proof,
                                 .output = t->type,
                                 .n_changes = t->model->n_changes,
                                 .changes = t->model->changes,
                                 .lora = t->model->lora};
    if (!s->recipe) return 0;
    t->provenance.repo = s->recipe->repo;
    t->provenance.license = s->recipe->license;
    t->provenance.author = s->recipe->author;
    t->provenance.n_tags = s->recipe->n_tags;
    t->provenance.tags = s->recipe->tags;
    return 0;
}

/* ---- carrying out ---- */

static int write_part(Job *j, const GgufPlan *plan, ExecuteOptions options, Error *err) {
    bool done;
    PartRange range;
    const ConvertArgs *a = j->args;
    const char *path = j->targets[0].path;
    TRY(part_write(&done, &range, plan, path, a->part_index, a->part_count, options, err));
    cli_end_progress(j->cli);
    if (j->cli->json) {
        cJSON *doc = cJSON_CreateObject();
        cJSON_AddStringToObject(doc, "path", path);
        cJSON_AddNumberToObject(doc, "part", a->part_index);
        cJSON_AddNumberToObject(doc, "parts", a->part_count);
        cJSON_AddNumberToObject(doc, "begin", (double)range.begin);
        cJSON_AddNumberToObject(doc, "end", (double)range.end);
        cJSON_AddBoolToObject(doc, "written", !done);
        return cli_print_json(doc, err);
    }
    if (j->cli->quiet) return 0;
    printf("part %u of %u: bytes %llu to %llu of %llu%s\n", a->part_index, a->part_count,
           (unsigned long long)range.begin, (unsigned long long)range.end,
           (unsigned long long)plan->file_size, done ? ", done before" : "");
    return 0;
}

/* What a file is called that is hashed only; NULL: no memory. */
static const char *nameless(const Job *j, const Production *p, size_t output) {
    size_t k = 0;
    while (p->first_output[k + 1] <= output) k++;
    size_t shards = p->first_output[k + 1] - p->first_output[k];
    const char *of = j->n > 1 ? arena_printf(j->arena, ", %s", j->targets[k].type) : "";
    if (!of || shards == 1) return of ? arena_printf(j->arena, "(hash only%s)", of) : NULL;
    return arena_printf(j->arena, "(hash only%s, shard %zu of %zu)", of, output - p->first_output[k] + 1,
                        shards);
}

/* What was merged into the weights; an adapter that is written as such is merged into nothing. */
static const Lora *merged_by(const Job *j) {
    const Model *m = j->targets[0].model;
    return is_lora_gguf(m) ? NULL : m->lora;
}

static int print(Job *j, const Production *p, const DryRun *dry, Error *err) {
    size_t n = p->conversion.n_outputs;
    if (convert_is_silent(j->cli, j->args)) return 0;
    NamedResult *files = arena_alloc(j->arena, n, sizeof *files);
    if (!files) return error_memory(err, "the list of files");
    for (size_t i = 0; i < n; i++) {
        const ConversionOutput *o = &p->conversion.outputs[i];
        files[i] = (NamedResult){o->path ? o->path : nameless(j, p, i), o->result};
        files[i].result.size = o->plan->file_size;
        if (!files[i].name) return error_memory(err, "the list of files");
    }
    cJSON *fallbacks = NULL;
    for (size_t i = 0; i < j->n; i++) fallbacks_json(j->targets[i].model, j->targets[i].type, &fallbacks);
    return convert_print(j->cli, j->settled.proof, files, n, merged_by(j), fallbacks, dry, err);
}

/* Does a run that was killed have its journal beside this output (convert/journal.h)? */
static bool is_unfinished(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    static const char end[] = ".journal";
    char directory[PATH_MAX];
    size_t n = strlen(name);
    bool found = false;
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    DIR *entries = opendir(directory);
    for (struct dirent *e; entries && !found && (e = readdir(entries));) {
        size_t m = strlen(e->d_name);
        found = e->d_name[0] == '.' && !strncmp(e->d_name + 1, name, n) && e->d_name[n + 1] == '.' &&
                m > n + sizeof end && !strcmp(e->d_name + m - (sizeof end - 1), end);
    }
    if (entries) closedir(entries);
    return found;
}

/* A run that goes on may find some of its outputs with their names already. */
static int check_new(const Conversion *c, Error *err) {
    if (!c->n_outputs || !c->outputs[0].path || is_unfinished(c->outputs[0].path)) return 0;
    for (size_t i = 0; i < c->n_outputs; i++) TRY(cli_check_new(c->outputs[i].path, "-o", err));
    return 0;
}

/* The same before sources are hashed, where names are known by then: those of shards follow from the plan. */
static int check_targets(const Job *j, Error *err) {
    const char *first = j->targets[0].path;
    if (j->args->replace || !first || !split_rule_is_none(&j->split) || is_unfinished(first)) return 0;
    for (size_t i = 0; i < j->n; i++) TRY(cli_check_new(j->targets[i].path, "-o", err));
    return 0;
}

static int execute(Job *j, Production *p, ExecuteOptions options, Error *err) {
    const ConvertArgs *a = j->args;
    ProofHow how = j->settled.how;
    DryRun dry = {.how = how, .path = a->hash ? NULL : a->out};
    const Lora *lora = merged_by(j);
    if (!a->replace) TRY(check_new(&p->conversion, err));
    if (how == PROOF_PROMISED || how == PROOF_PLANNED) p->conversion.source = j->subject->source;
    if (how == PROOF_PROMISED) p->conversion.promised = j->settled.proof;
    if (a->part_index && !a->dry_run) return write_part(j, p->conversion.outputs[0].plan, options, err);
    if (a->dry_run)
        TRY(convert_estimate(&dry.estimate, &p->conversion, proof_passes(how), options, err));
    else if (a->join && lora) /* other processes made the parts */
        TRY(lora_finish(lora, options.threads, err));
    if (a->join && !a->dry_run)
        TRY(parts_join(&p->conversion, options, err));
    else if (!a->dry_run)
        TRY(convert_execute(&p->conversion, options, err));
    return print(j, p, a->dry_run ? &dry : NULL, err);
}

static int produce(Job *j, ExecuteOptions options, Error *err) {
    Production *production;
    Product products[MOST_TYPES];
    for (size_t i = 0; i < j->n; i++) {
        Target *t = &j->targets[i];
        TRY(derive(j, t, err));
        products[i] =
            (Product){.model = t->model, .provenance = &t->provenance, .path = t->path, .split = j->split};
    }
    TRY(production_open(&production, products, j->n, NULL, err));
    int code = execute(j, production, options, err);
    production_close(production);
    return code;
}

static int job_run(Job *j, ExecuteOptions options, Error *err) {
    j->targets = arena_alloc(j->arena, MOST_TYPES, sizeof *j->targets);
    if (!j->targets) return error_memory(err, "a conversion");
    memset(j->targets, 0, MOST_TYPES * sizeof *j->targets);
    for (size_t i = 0; i < MOST_TYPES; i++) {
        buffer_init(&j->targets[i].derivation, NULL);
        j->targets[i].types = output_types(NULL);
    }
    TRY(choose_types(j, err));
    TRY(choose_split(j, err));
    TRY(choose_names(j, err));
    TRY(open_views(j, err));
    TRY(check_targets(j, err));
    TRY(convert_settle(&j->settled, j->cli, j->args, j->subject, false, err));
    return produce(j, options, err);
}

int convert_gguf(Cli *cli, const ConvertArgs *a, const Subject *s, ExecuteOptions options, Error *err) {
    Job j = {.cli = cli, .args = a, .subject = s};
    TRY(arena_open(&j.arena, NULL, err));
    int code = job_run(&j, options, err);
    for (size_t i = 0; j.targets && i < MOST_TYPES; i++) {
        buffer_free(&j.targets[i].derivation);
        recipe_stack_close(&j.targets[i].stack);
        output_types_close(&j.targets[i].types);
    }
    source_proof_close(j.settled.proof);
    arena_close(j.arena);
    return code;
}
