/* cmd_inspect.c -- what is in a checkpoint, a GGUF of any architecture, an adapter or a package. */
#include "cli/cli.h"
#include "cli/inspect_adapter.h"
#include "cli/value.h"
#include "convert/provenance.h"
#include "core/json.h"
#include "model/proof.h"
#include "packager/manifest.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- models ---- */

/* Strings of a file or a manifest may hold anything. */
static void print_text(const char *text) {
    cli_print_safe(text, strlen(text));
}

static void print_made_from(const char *repo, const char *commit) {
    printf("made from     ");
    print_text(repo ? repo : "a local source");
    if (commit) printf(" at ");
    if (commit) print_text(commit);
    printf("\n");
}

static bool is_adapter_gguf(const Model *m) {
    const char *type = m->metadata ? metadata_string(m->metadata, "general.type") : NULL;
    return type && !strcmp(type, "adapter");
}

static void print_params(const Model *m) {
    const ModelParams *p = &m->params;
    char size[32];
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->n_tensors; i++) bytes += tensor_bytes(&m->tensors[i]);
    printf("form          %s", m->form == FORM_GGUF ? "GGUF" : "Hugging Face checkpoint");
    if (m->form == FORM_GGUF && m->n_files > 1) printf(", %zu shards", m->n_files);
    printf("\n");
    printf("architecture  ");
    print_text(p->architecture);
    bool foreign = !m->family && !is_adapter_gguf(m); /* an adapter names its base's */
    printf("%s\n", foreign ? " (not one that Recast can convert from Hugging Face or run)" : "");
    printf("tensors       %zu, %s\n", m->n_tensors, human_bytes(bytes, size));
    if (p->n_layers)
        printf("layers        %u, %u wide, %u query and %u key-value heads of %u\n", p->n_layers, p->n_embd,
               p->n_heads, p->n_kv_heads, p->head_dim);
    if (p->n_experts)
        printf("experts       %u of %u used, %u wide\n", p->n_experts_used, p->n_experts, p->n_ff_expert);
    if (p->context) printf("context       %u positions\n", p->context);
    if (p->n_layers) {
        printf("rope          %s, base %.9g", rope_type_name(p->rope.type), (double)p->rope.theta);
        if (p->rope.factor > 0) printf(", factor %.9g", (double)p->rope.factor);
        if (p->rope.original_context) printf(", original context %u", p->rope.original_context);
        printf("\n");
    }
    if (m->family)
        printf("parameters    %.2f M, %.2f M of them used a token\n", (double)params_total(p) / 1e6,
               (double)params_active(p) / 1e6);
}

static void print_types(const Model *m) {
    printf("types        ");
    for (unsigned type = 0; type < DT_NONE; type++) {
        size_t count = 0;
        for (size_t i = 0; i < m->n_tensors; i++) count += m->tensors[i].type == (DType)type;
        if (count) printf(" %zu %s", count, dtype_name((DType)type));
    }
    printf("\n");
}

static int print_provenance(const Model *m, Error *err) {
    ProvenanceRead p;
    if (!m->metadata) return 0;
    TRY(provenance_read(&p, m->metadata, err));
    if (!p.present) return 0;
    print_made_from(p.repo, p.commit);
    for (size_t i = 0; i < p.n_changes; i++) {
        printf("changed       ");
        cli_print_safe(p.changes[i].data, p.changes[i].length);
        printf("\n");
    }
    if (p.weights_sha256) printf("weights       sha256 %s (of the source)\n", p.weights_sha256);
    if (p.edited) printf("edited        yes: its metadata was changed after it was made\n");
    return 0;
}

static int print_keys(const Metadata *m, Error *err) {
    Buffer line;
    buffer_init(&line, NULL);
    printf("\n%zu keys\n", metadata_count(m));
    for (size_t i = 0; i < metadata_slots(m); i++) {
        const GgufKv *kv = metadata_slot(m, i);
        if (kv->removed) continue;
        buffer_clear(&line);
        buffer_printable(&line, kv->key.data, kv->key.length);
        buffer_printf(&line, "  %s  ", gguf_type_name(kv->value.type));
        value_text(&line, &kv->value);
        printf("  %s\n", buffer_string(&line));
    }
    int code = buffer_ok(&line, "the keys", err);
    buffer_free(&line);
    return code;
}

static void print_shape(const Tensor *t) {
    putchar('[');
    for (uint32_t d = t->n_dims; d-- > 0;) printf("%llu%s", (unsigned long long)t->dims[d], d ? ", " : "");
    putchar(']');
}

static int print_tensors(const Cli *cli, const Model *m, bool hashes, Error *err) {
    printf("\n%zu tensors (torch shapes)\n", m->n_tensors);
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        char hex[SHA256_HEX];
        if (hashes) {
            TRY(progress_update(&cli->progress, "hash tensors", i, m->n_tensors, err));
            TRY(tensor_sha256(hex, t, err));
            printf("  %s", hex);
        }
        printf("  %-5s ", dtype_name(t->type));
        cli_print_safe(t->name, strlen(t->name));
        printf("  ");
        print_shape(t);
        printf("\n");
    }
    return 0;
}

static int digest_or_reason(const Cli *cli, const Model *m, char hex[SHA256_HEX], Error *reason, Error *err) {
    hex[0] = 0;
    int code = weights_digest(hex, m, cli->threads, &cli->progress, reason);
    if (code && code != ERR_UNSUPPORTED) {
        if (err) *err = *reason;
        return code;
    }
    return 0;
}

static int inspect_text(Cli *cli, const Model *m, bool hashes, Error *err) {
    print_params(m);
    print_types(m);
    TRY(inspect_adapters_print(m, err));
    TRY(print_provenance(m, err));
    if (hashes) {
        char hex[SHA256_HEX];
        Error reason = {0};
        TRY(digest_or_reason(cli, m, hex, &reason, err));
        if (hex[0])
            printf("weights       sha256 %s (computed)\n", hex);
        else
            printf("weights       no digest: %s\n", reason.message);
    }
    cli_end_progress(cli);
    if (m->metadata) TRY(print_keys(m->metadata, err));
    if (hashes || cli->verbose) return print_tensors(cli, m, hashes, err);
    printf("\nrecast inspect -v lists the tensors, --hashes their SHA-256 too\n");
    return 0;
}

static void add_params_json(cJSON *doc, const Model *m) {
    const ModelParams *p = &m->params;
    cJSON *o = cJSON_AddObjectToObject(doc, "parameters");
    cJSON_AddStringToObject(o, "architecture", p->architecture);
    cJSON_AddNumberToObject(o, "layers", p->n_layers);
    cJSON_AddNumberToObject(o, "embedding", p->n_embd);
    cJSON_AddNumberToObject(o, "experts", p->n_experts);
    cJSON_AddNumberToObject(o, "experts_used", p->n_experts_used);
    cJSON_AddNumberToObject(o, "context", p->context);
    cJSON_AddStringToObject(o, "rope", rope_type_name(p->rope.type));
    cJSON_AddNumberToObject(o, "rope_theta", (double)p->rope.theta);
    cJSON_AddNumberToObject(o, "rope_factor", (double)p->rope.factor);
    cJSON_AddNumberToObject(o, "rope_original_context", p->rope.original_context);
}

static int inspect_json(Cli *cli, const Model *m, bool hashes, Error *err) {
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "form", m->form == FORM_GGUF ? "gguf" : "hf");
    if (m->form == FORM_GGUF && m->n_files > 1) cJSON_AddNumberToObject(doc, "shards", (double)m->n_files);
    add_params_json(doc, m);
    int code = inspect_adapters_json(m, doc, err);
    cJSON *tensors = cJSON_AddArrayToObject(doc, "tensors");
    for (size_t i = 0; !code && i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        cJSON *o = cJSON_CreateObject(), *shape = cJSON_AddArrayToObject(o, "shape");
        cJSON_AddStringToObject(o, "name", t->name);
        cJSON_AddStringToObject(o, "type", dtype_name(t->type));
        for (uint32_t d = t->n_dims; d-- > 0;) cJSON_AddItemToArray(shape, unsigned_json(t->dims[d]));
        char hex[SHA256_HEX];
        if (hashes) code = tensor_sha256(hex, t, err);
        if (hashes && !code) cJSON_AddStringToObject(o, "sha256", hex);
        cJSON_AddItemToArray(tensors, o);
    }
    char digest[SHA256_HEX];
    Error reason = {0};
    if (!code && hashes) code = digest_or_reason(cli, m, digest, &reason, err);
    if (!code && hashes && digest[0]) cJSON_AddStringToObject(doc, "weights_sha256", digest);
    if (m->metadata) {
        cJSON *keys = cJSON_AddObjectToObject(doc, "keys");
        for (size_t i = 0; i < metadata_slots(m->metadata); i++) {
            const GgufKv *kv = metadata_slot(m->metadata, i);
            if (!kv->removed) cJSON_AddItemToObject(keys, kv->key.data, value_json(&kv->value));
        }
    }
    cli_end_progress(cli);
    if (!code) return cli_print_json(doc, err);
    cJSON_Delete(doc);
    return code;
}

/* ---- packages ---- */

static bool is_package(const char *path) {
    char manifest[4096];
    struct stat st;
    int n = snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
    return n > 0 && (size_t)n < sizeof manifest && stat(manifest, &st) == 0;
}

static void print_merged(const cJSON *lora) {
    const cJSON *list = json_get(lora, "adapters"), *a;
    cJSON_ArrayForEach(a, list) {
        const cJSON *hash = json_get(a, "weights_sha256"), *scale = json_get(a, "scale");
        if (!cJSON_IsString(hash)) continue;
        printf("merged        adapter, sha256 ");
        print_text(hash->valuestring);
        if (cJSON_IsNumber(scale)) printf(", scale %.9g", scale->valuedouble);
        printf("\n");
    }
}

static void print_package(const Manifest *m) {
    char size[32];
    printf("package       ");
    print_text(m->name);
    printf("\n");
    print_made_from(m->repo, m->commit);
    for (size_t i = 0; i < m->n_changes; i++) {
        const Change *c = &m->changes[i];
        printf("changed       ");
        print_text(c->key);
        printf(": ");
        print_text(c->old_value);
        printf(" -> ");
        print_text(c->new_value);
        printf("\n");
    }
    print_merged(json_get(m->json, "lora"));
    for (size_t i = 0; i < m->n_artifacts; i++) {
        const Artifact *a = &m->artifacts[i];
        printf("artifact      ");
        print_text(a->path);
        printf(": %s ", a->format);
        print_text(a->type);
        printf(", %zu tensors, weights %s the source's\n", a->n_tensors,
               a->lossless ? "equal to" : "not equal to");
    }
    for (size_t i = 0; i < m->n_files; i++) {
        printf("  %s  %9s  ", m->files[i].sha256, human_bytes(m->files[i].size, size));
        print_text(m->files[i].path);
        printf("\n");
    }
}

static int inspect_package(Cli *cli, const char *path, Error *err) {
    Manifest *m;
    TRY(manifest_read(&m, path, NULL, err));
    if (cli->json) {
        int code = cli_print_json(cJSON_Duplicate(m->json, true), err);
        manifest_close(m);
        return code;
    }
    print_package(m);
    manifest_close(m);
    return 0;
}

static int cmd_inspect(Cli *cli, int argc, char **argv, Error *err) {
    bool hashes = false;
    const OptionSpec specs[] = {
        {"--hashes", 0, OPTION_FLAG, NULL, "SHA-256 of every tensor, and the weights digest", &hashes},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if (is_package(cli->args.items[0])) return inspect_package(cli, cli->args.items[0], err);
    if (is_adapter(cli->args.items[0])) return inspect_adapter(cli, cli->args.items[0], err);
    warn_interrupted_edit(cli, cli->args.items[0]);
    Subject s;
    TRY(subject_open(&s, cli->args.items[0], NULL, 0, err));
    int code = cli->json ? inspect_json(cli, s.model, hashes, err) : inspect_text(cli, s.model, hashes, err);
    subject_close(&s);
    return code;
}

const Command command_inspect = {
    .name = "inspect",
    .summary = "show what is in a checkpoint, a GGUF, an adapter or a package",
    .usage = "inspect PATH [--hashes]",
    .examples = "  recast inspect model.gguf\n"
                "  recast inspect Qwen3-30B-A3B/ --hashes\n"
                "  recast inspect out/tiny-extreme\n",
    .run = cmd_inspect,
};
