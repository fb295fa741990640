/* convert_hf.c -- `recast convert` to the Hugging Face form: files of a checkpoint, copied or patched. */
#include "cli/convert_job.h"
#include "convert/hf_form.h"
#include "core/output.h"
#include <stdlib.h>

/* Files that are copied take their hashes from the proof, so a promise is verified first. */
static int verify_promise(const Subject *s, const Settled *settled, ExecuteOptions options, Error *err) {
    if (settled->how != PROOF_PROMISED) return 0;
    Conversion c = {.source = s->source, .promised = settled->proof};
    return convert_execute(&c, options, err);
}

static int copy_hf(FileResult *results, const ConvertArgs *a, const HfPlan *plan, const Settled *settled,
                   ExecuteOptions options, Error *err) {
    OutputDir *directory = NULL;
    int code = a->hash ? 0 : output_dir_create(&directory, a->out, false, NULL, err);
    if (!code)
        code = hf_execute(results, plan, directory ? output_dir_staging(directory) : NULL, a->link,
                          settled->proof, options, err);
    if (code || !directory) {
        output_dir_discard(directory);
        return code;
    }
    return output_dir_commit(directory, err);
}

static int plan_hf(DryRun *dry, FileResult *results, const ConvertArgs *a, const HfPlan *plan,
                   const Subject *s, const Settled *settled, ExecuteOptions options, Error *err) {
    Conversion c = {.source = settled->how == PROOF_NONE ? NULL : s->source};
    *dry = (DryRun){.how = settled->how, .path = a->hash ? NULL : a->out};
    TRY(convert_estimate(&dry->estimate, &c, proof_passes(settled->how), options, err));
    for (size_t i = 0; i < plan->n_files; i++) {
        results[i] = (FileResult){.size = hf_file_size(&plan->files[i])};
        if (!a->hash) dry->estimate.output_bytes += results[i].size;
    }
    return 0;
}

static int write_hf(Cli *cli, const ConvertArgs *a, const Subject *s, const Settled *settled,
                    ExecuteOptions options, Error *err) {
    HfPlan *plan;
    DryRun dry;
    TRY(hf_plan_open(&plan, s->model, NULL, err));
    FileResult *results = calloc(plan->n_files, sizeof *results);
    NamedResult *named = calloc(plan->n_files, sizeof *named);
    int code = results && named ? 0 : error_memory(err, "the list of files");
    if (!code && a->dry_run) {
        code = plan_hf(&dry, results, a, plan, s, settled, options, err);
    } else {
        if (!code) code = verify_promise(s, settled, options, err);
        if (!code) code = copy_hf(results, a, plan, settled, options, err);
    }
    for (size_t i = 0; !code && i < plan->n_files; i++)
        named[i] = (NamedResult){plan->files[i].name, results[i]};
    if (!code)
        code = convert_print(cli, settled->proof, named, plan->n_files, s->model->lora, NULL,
                             a->dry_run ? &dry : NULL, err);
    free(named);
    free(results);
    hf_plan_close(plan);
    return code;
}

int convert_hf(Cli *cli, const ConvertArgs *a, const Subject *s, ExecuteOptions options, Error *err) {
    Settled settled = {.proof = NULL};
    if (s->model->form != FORM_HF)
        return error_set(err, ERR_UNSUPPORTED, "GGUF -> Hugging Face is not offered: OUT must end in .gguf");
    if (a->part_index || a->join)
        return error_set(err, ERR_USAGE, "--part and --join are for GGUF; the Hugging Face form is a copy");
    if (a->type || a->split)
        return error_set(err, ERR_USAGE,
                         "--%s is for GGUF; the Hugging Face form keeps its weights and files as they are",
                         a->type ? "type" : "split");
    int code = convert_settle(&settled, cli, a, s, err);
    if (!code) code = write_hf(cli, a, s, &settled, options, err);
    source_proof_close(settled.proof);
    return code;
}
