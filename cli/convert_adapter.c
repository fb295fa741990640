/* convert_adapter.c -- `recast convert ADAPTER --base CHECKPOINT -o A.gguf`: an adapter to be kept beside the
 * model. */
#include "cli/convert_job.h"
#include "cli/merge_report.h"
#include "convert/produce.h"
#include "model/lora_gguf.h"
#include <string.h>

typedef struct Views {
    Model *base, *lora, *adapter;
} Views;

static int open_views(Views *v, const char *adapter, const char *base, Error *err) {
    const LoraAdapterInfo *infos;
    LoraSpec spec = {.path = adapter, .scale = 1};
    TRY(model_open(&v->base, base, NULL, err));
    TRY(lora_open(&v->lora, v->base, &spec, 1, NULL, err));
    lora_adapters(v->lora->lora, &infos);
    return lora_gguf_open(&v->adapter, v->lora, infos[0].name, NULL, err);
}

static int write_adapter(Cli *cli, const ConvertArgs *a, const Views *v, ExecuteOptions options, Error *err) {
    Production *p;
    Provenance provenance = {.lora = v->lora->lora, .output = "lora"};
    Product product = {.model = v->adapter, .provenance = &provenance, .path = a->hash ? NULL : a->out};
    TRY(production_open(&p, &product, 1, NULL, err));
    int code = convert_execute(&p->conversion, options, err);
    NamedResult file = {a->out ? a->out : "(hash only)", p->conversion.outputs[0].result};
    production_close(p);
    if (code || convert_is_silent(cli, a)) return code;
    return convert_print(cli, NULL, &file, 1, NULL, NULL, NULL, err);
}

int convert_adapter(Cli *cli, const ConvertArgs *a, const char *adapter, ExecuteOptions options, Error *err) {
    Views v = {NULL, NULL, NULL};
    size_t n = a->out ? strlen(a->out) : 0;
    if (a->out && (n < 5 || strcmp(a->out + n - 5, ".gguf")))
        return error_set(err, ERR_USAGE, "an adapter becomes a GGUF: OUT must end in .gguf");
    if (a->type || a->split || a->sets.count || a->output || a->part || a->join || a->link || a->dry_run)
        return error_set(err, ERR_USAGE,
                         "an adapter takes -o OUT.gguf or --hash, and no other option than --base");
    int code = open_views(&v, adapter, a->base, err);
    if (!code && !cli->quiet) merge_report_warn(v.lora->lora);
    if (!code) code = write_adapter(cli, a, &v, options, err);
    model_close(v.adapter);
    model_close(v.lora);
    model_close(v.base);
    return code;
}
