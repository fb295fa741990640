/* remote_compare.c -- is that variant untouched? Answered from hashes of files, configs and GGUF headers. */
#include "cli/remote_compare.h"
#include "cli/compare.h"
#include "cli/hub_open.h"
#include "cli/remote_side.h"
#include "convert/provenance.h"
#include "core/json.h"
#include "model/family.h"
#include <stdio.h>
#include <string.h>

enum { MOST_HEADERS = 16 };

bool is_remote(const char *path) {
    return !strncmp(path, "hf:", 3);
}

static bool ends_with(const char *s, const char *tail) {
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

static bool is_gguf(const HubFile *f) {
    return ends_with(f->path, ".gguf");
}

static bool is_weights(const HubFile *f) {
    return is_gguf(f) || ends_with(f->path, ".safetensors") || ends_with(f->path, ".bin");
}

static bool is_adapter(const HubFile *f) {
    return strstr(f->path, "adapter_model.") != NULL;
}

/* What was found, in words and as JSON. */
typedef struct Finding {
    Cli *cli;
    Side a, b;
    cJSON *json;                          /* NULL: print */
    size_t n_weights, n_same;             /* of B's checkpoint (safetensors); of those, A's byte for byte */
    size_t n_gguf, n_gguf_same, n_claims; /* GGUFs of B; A's byte for byte; made, as they say, of A's files */
    size_t n_unlike;                      /* GGUFs that are neither */
    size_t n_a_weights;
    uint64_t bytes_same;
    size_t n_changed; /* keys of config.json */
    size_t n_other;   /* tokenizer and generation files that differ */
    bool covered;     /* every weight file of A's checkpoint is in B */
} Finding;

static void say(Finding *f, const char *group, const char *what, const char *detail) {
    if (!f->json) {
        printf("%-12s ", group);
        cli_print_safe(what, strlen(what));
        if (*detail) printf("  ");
        cli_print_safe(detail, strlen(detail));
        putchar('\n');
        return;
    }
    cJSON *list = cJSON_GetObjectItemCaseSensitive(f->json, group);
    if (!list) list = cJSON_AddArrayToObject(f->json, group);
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "what", what);
    cJSON_AddStringToObject(item, "detail", detail);
    cJSON_AddItemToArray(list, item);
}

/* ---- weights ---- */

/* The file of A with these bytes, or NULL. */
static int find_twin(Finding *f, HubFile *y, HubFile **twin, Error *err) {
    *twin = NULL;
    for (size_t i = 0; i < f->a.repo.n_files && !*twin; i++) {
        HubFile *x = &f->a.repo.files[i];
        bool same;
        if (!is_weights(x) || x->size != y->size) continue;
        TRY(side_same(&f->a, x, &f->b, y, &same, err));
        if (same) *twin = x;
    }
    return 0;
}

static int check_covered(Finding *f, Error *err) {
    f->covered = true;
    for (size_t i = 0; i < f->a.repo.n_files; i++) {
        HubFile *x = &f->a.repo.files[i];
        bool found = false, same;
        if (!ends_with(x->path, ".safetensors") || is_adapter(x)) continue;
        f->n_a_weights++;
        for (size_t k = 0; k < f->b.repo.n_files && !found; k++) {
            HubFile *y = &f->b.repo.files[k];
            if (!is_weights(y) || x->size != y->size) continue;
            TRY(side_same(&f->a, x, &f->b, y, &same, err));
            found = same;
        }
        if (found) continue;
        f->covered = false;
    }
    return 0;
}

/* Does the GGUF name, as its sources, weights that A has? That is a claim; validate --source proves it. */
static int check_claim(Finding *f, const HubFile *y, const Model *m, bool *claims, Error *err) {
    ProvenanceRead p;
    *claims = false;
    if (provenance_read(&p, m->metadata, err)) {
        say(f, "gguf", y->path, err ? err->message : "provenance that contradicts itself");
        return 0;
    }
    size_t named = 0, found = 0;
    for (size_t i = 0; p.present && i < p.n_files; i++) {
        if (!ends_with(p.names[i].data, ".safetensors")) continue;
        named++;
        for (size_t k = 0; k < f->a.repo.n_files; k++) {
            HubFile *x = &f->a.repo.files[k];
            if (!ends_with(x->path, p.names[i].data)) continue;
            TRY(side_hash(&f->a, x, err));
            if (!strcmp(x->sha256, p.sha256[i].data)) {
                found++;
                break;
            }
        }
    }
    *claims = named && named == found && !p.n_adapters && !p.edited;
    char detail[200];
    if (named)
        snprintf(detail, sizeof detail, "%.24s, says it was made from %zu weight files, %zu of them A's%s%s",
                 p.output ? p.output : "some type", named, found, p.n_adapters ? ", and LoRA adapters" : "",
                 p.edited ? "; edited since" : "");
    else
        snprintf(detail, sizeof detail, "does not say from which files it was made");
    say(f, "gguf", y->path, detail);
    return 0;
}

/* Keys of two GGUFs, or parameters of A's config and a GGUF. */
static int compare_header(Finding *f, const Model *m, Error *err) {
    Model *other = NULL, of_config = {.form = FORM_HF};
    size_t n = 0;
    HubFile *config = side_find(&f->a, "config.json");
    int code = 0;
    cJSON *json = NULL, *list = f->json ? cJSON_CreateArray() : NULL;
    Buffer text;
    buffer_init(&text, NULL);
    for (size_t i = 0; !config && i < f->a.repo.n_files && !other && !code; i++)
        if (is_gguf(&f->a.repo.files[i])) code = side_gguf(&f->a, &f->a.repo.files[i], &other, err);
    if (!code && config) code = side_read(&f->a, config, &text, err);
    if (!code && config) code = json_parse(&json, buffer_string(&text), text.length, "config.json", err);
    const char *class = cJSON_GetStringValue(cJSON_GetArrayItem(json_get(json, "architectures"), 0));
    const Family *family = class ? family_by_hf(class) : NULL;
    if (!code && family) code = family->params_from_config(&of_config.params, json, err);
    if (!code && (family || other)) code = compared_keys_show(&n, list, other ? other : &of_config, m, err);
    if (f->json) cJSON_AddItemToObject(f->json, "gguf_keys", list);
    if (!side_find(&f->b, "config.json")) f->n_changed += n; /* else its own keys count */
    model_close(other);
    cJSON_Delete(json);
    buffer_free(&text);
    return code;
}

static int look_at_gguf(Finding *f, HubFile *y, bool first, Error *err) {
    Model *m;
    bool claims;
    TRY(side_gguf(&f->b, y, &m, err));
    int code = check_claim(f, y, m, &claims, err);
    /* one of several types has the keys of all */
    if (!code && first) code = compare_header(f, m, err);
    model_close(m);
    if (claims)
        f->n_claims++;
    else
        f->n_unlike++;
    return code;
}

/* A shard behind the first has no keys of its own. */
static bool is_later_shard(const HubFile *f) {
    const char *of = strstr(f->path, "-of-");
    return is_gguf(f) && of && of - f->path >= 6 && strncmp(of - 6, "-00001", 6) != 0 && of[-6] == '-';
}

static int compare_weights(Finding *f, Error *err) {
    size_t headers = 0;
    for (size_t i = 0; i < f->b.repo.n_files; i++) {
        HubFile *y = &f->b.repo.files[i], *twin;
        if (!is_weights(y)) continue;
        TRY(find_twin(f, y, &twin, err));
        if (twin) f->bytes_same += y->size;
        if (is_gguf(y)) {
            f->n_gguf++;
            if (twin) f->n_gguf_same++;
            if (!twin && !is_later_shard(y) && headers < MOST_HEADERS)
                TRY(look_at_gguf(f, y, headers++ == 0, err));
            continue;
        }
        f->n_weights++;
        if (twin)
            f->n_same++;
        else
            say(f, "weights", y->path,
                is_adapter(y) ? "a LoRA adapter that A has not" : "not among A's files");
    }
    return check_covered(f, err);
}

/* ---- config.json ---- */

static void value_of(const cJSON *v, Buffer *out) {
    buffer_clear(out);
    if (v)
        json_write_canonical(out, v);
    else
        buffer_text(out, "absent");
}

static void compare_key(Finding *f, const char *group, const char *path, const cJSON *x, const cJSON *y) {
    Buffer a, b, line;
    buffer_init(&a, NULL);
    buffer_init(&b, NULL);
    buffer_init(&line, NULL);
    value_of(x, &a);
    value_of(y, &b);
    if (strcmp(buffer_string(&a), buffer_string(&b)) != 0) {
        buffer_printf(&line, "%s -> %s", buffer_string(&a), buffer_string(&b));
        say(f, group, path, buffer_string(&line));
        f->n_changed++;
    }
    buffer_free(&a);
    buffer_free(&b);
    buffer_free(&line);
}

static void compare_objects(Finding *f, const char *group, const cJSON *x, const cJSON *y) {
    const cJSON *item;
    cJSON_ArrayForEach(item, x) compare_key(f, group, item->string, item, json_get(y, item->string));
    cJSON_ArrayForEach(item, y) if (!json_get(x, item->string))
        compare_key(f, group, item->string, NULL, item);
}

/* A JSON file that both have, key by key. */
static int compare_json(Finding *f, const char *name, Error *err) {
    HubFile *x = side_find(&f->a, name), *y = side_find(&f->b, name);
    bool same = true;
    if (x && y) TRY(side_same(&f->a, x, &f->b, y, &same, err));
    if (!x || !y || same) return 0;
    Buffer a, b;
    cJSON *p = NULL, *q = NULL;
    buffer_init(&a, NULL);
    buffer_init(&b, NULL);
    int code = side_read(&f->a, x, &a, err);
    if (!code) code = side_read(&f->b, y, &b, err);
    if (!code) code = json_parse(&p, buffer_string(&a), a.length, name, err);
    if (!code) code = json_parse(&q, buffer_string(&b), b.length, name, err);
    if (!code) compare_objects(f, name, p, q);
    cJSON_Delete(p);
    cJSON_Delete(q);
    buffer_free(&a);
    buffer_free(&b);
    return code;
}

static int compare_small(Finding *f, Error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",   "vocab.json",
                                        "merges.txt",     "special_tokens_map.json", "chat_template.jinja"};
    TRY(compare_json(f, "config.json", err));
    TRY(compare_json(f, "generation_config.json", err));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        HubFile *x = side_find(&f->a, names[i]), *y = side_find(&f->b, names[i]);
        bool same = true;
        if (x && y) TRY(side_same(&f->a, x, &f->b, y, &same, err));
        if (same) continue;
        say(f, "tokenizer", names[i], "differs");
        f->n_other++;
    }
    return 0;
}

/* ---- the answer ---- */

/* "identical": by hash; "claimed"; "different"; "unknown": what is there can't be compared by hashes. */
static const char *verdict(const Finding *f) {
    bool whole = f->n_weights && f->n_same == f->n_weights && f->covered && f->n_a_weights;
    bool ggufs = f->n_gguf && f->n_gguf_same == f->n_gguf;
    if (whole && !f->n_unlike) return "identical";
    if (!f->n_weights && ggufs) return "identical";
    if (f->n_weights && (f->n_same < f->n_weights || (f->n_a_weights && !f->covered))) return "different";
    if (f->n_claims && !f->n_unlike) return "claimed";
    return "unknown";
}

static void answer_text(const Finding *f, const char *v, Buffer *b) {
    char size[32];
    if (!strcmp(v, "identical")) {
        buffer_printf(b, "untouched: all %zu weight files of B (%s) are A's, byte for byte; ",
                      f->n_same + f->n_gguf_same, human_bytes(f->bytes_same, size));
        if (f->n_changed || f->n_other)
            buffer_printf(b, "what differs is %zu keys beside them and %zu tokenizer files", f->n_changed,
                          f->n_other);
        else
            buffer_text(b, "and so is everything beside them");
        if (f->n_claims) buffer_printf(b, "; %zu GGUFs say that they were made from these", f->n_claims);
    } else if (!strcmp(v, "different")) {
        buffer_printf(b, "not the same files: %zu of B's %zu weight files are A's", f->n_same, f->n_weights);
        if (f->n_same == f->n_weights)
            buffer_printf(b, ", and A has %zu: B lacks some", f->n_a_weights);
        else
            buffer_text(b, ". They may hold the same tensors in other files; recast compare on the "
                           "downloaded models tells");
    } else if (!strcmp(v, "claimed")) {
        buffer_text(b,
                    "untouched as far as its own header says: it names A's files as what it was made from; "
                    "recast validate B.gguf --source A proves it after a download");
    } else {
        buffer_text(
            b,
            "can't be told from hashes: no weight file of B is one of A's, and no header names them; recast "
            "compare on the downloaded models tells");
    }
}

static int answer(Finding *f, Error *err) {
    Buffer b;
    char size[32];
    const char *v = verdict(f);
    buffer_init(&b, NULL);
    answer_text(f, v, &b);
    int code = buffer_ok(&b, "the answer", err);
    if (!code && f->json) {
        cJSON_AddStringToObject(f->json, "weights_are", v);
        cJSON_AddStringToObject(f->json, "answer", buffer_string(&b));
        cJSON_AddNumberToObject(f->json, "fetched", (double)(f->a.fetched + f->b.fetched));
        code = cli_print_json(f->json, err);
        f->json = NULL;
    } else if (!code) {
        printf("%s\n", buffer_string(&b));
        if (!f->cli->quiet)
            fprintf(stderr, "%s were downloaded for this\n", human_bytes(f->a.fetched + f->b.fetched, size));
    }
    buffer_free(&b);
    return code;
}

static void introduce(Finding *f) {
    const Side *sides[] = {&f->a, &f->b};
    for (size_t i = 0; i < 2 && !f->json; i++) {
        printf("%c            ", 'A' + (int)i);
        cli_print_safe(sides[i]->name, strlen(sides[i]->name));
        if (sides[i]->repo.commit[0]) printf(" at %.12s", sides[i]->repo.commit);
        printf(", %zu files\n", sides[i]->repo.n_files);
    }
}

int remote_compare(Cli *cli, const char *a, const char *b, Error *err) {
    Finding f = {.cli = cli, .json = cli->json ? cJSON_CreateObject() : NULL};
    Hub *hub;
    Arena *arena;
    TRY(cli_hub_open(&hub, false, 1, 0, err));
    int code = arena_open(&arena, NULL, err);
    if (code) {
        hub_close(hub);
        return code;
    }
    code = side_open(&f.a, cli, hub, a, arena, err);
    if (!code) code = side_open(&f.b, cli, hub, b, arena, err);
    if (!code) introduce(&f);
    if (!code) code = compare_weights(&f, err);
    if (!code) code = compare_small(&f, err);
    cli_end_progress(cli);
    if (!code) code = answer(&f, err);
    cJSON_Delete(f.json);
    arena_close(arena);
    hub_close(hub);
    return code;
}
