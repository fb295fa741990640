/* convert_hf.c -- `recast convert` to the Hugging Face form: files of a checkpoint, copied, patched or merged
 * with adapters, from one reading of the source. */
#include "cli/convert_job.h"
#include "convert/hf_form.h"
#include "core/output.h"
#include <stdlib.h>

/* No file of this form says anything of the source, so its proof may be found in the pass that writes; what
 * pins say is compared before the directory has its name. */
static int prove_and_write(Settled *settled, const HfConversion *c, const Subject *s, ExecuteOptions options,
                           Error *err) {
    size_t pinned;
    SourceProof *found = NULL;
    HfConversion job = *c;
    if (settled->how == PROOF_NONE) return hf_execute(&job, options, err);
    job.source = s->source;
    job.promised = settled->proof;
    job.proof = &found;
    TRY(hf_execute(&job, options, err));
    source_proof_close(settled->proof);
    settled->proof = found;
    return s->recipe ? recipe_check_pins(s->recipe, s->source, found, s->commit, &pinned, err) : 0;
}

static int make_hf(FileResult *results, const ConvertArgs *a, const HfPlan *plan, const Subject *s,
                   Settled *settled, ExecuteOptions options, Error *err) {
    OutputDir *directory = NULL;
    HfConversion c = {.plan = plan, .link = a->link, .results = results};
    int code = a->hash ? 0 : output_dir_create(&directory, a->out, false, NULL, err);
    if (directory) c.directory = output_dir_staging(directory);
    if (!code) code = prove_and_write(settled, &c, s, options, err);
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
    uint64_t all = 0, hashed = 0;
    for (size_t i = 0; i < plan->n_files; i++) {
        results[i] = (FileResult){.size = hf_file_size(&plan->files[i])};
        all += results[i].size;
        if (plan->files[i].merged && !options.no_hash) hashed += results[i].size;
    }
    convert_estimate_files(&dry->estimate, a->hash ? 0 : all, hashed, options.threads);
    return 0;
}

static int write_hf(Cli *cli, const ConvertArgs *a, const Subject *s, Settled *settled,
                    ExecuteOptions options, Error *err) {
    HfPlan *plan;
    DryRun dry;
    TRY(hf_plan_open(&plan, s->model, NULL, err));
    FileResult *results = calloc(plan->n_files, sizeof *results);
    NamedResult *named = calloc(plan->n_files, sizeof *named);
    int code = results && named ? 0 : error_memory(err, "the list of files");
    if (!code && a->dry_run)
        code = plan_hf(&dry, results, a, plan, s, settled, options, err);
    else if (!code)
        code = make_hf(results, a, plan, s, settled, options, err);
    for (size_t i = 0; !code && i < plan->n_files; i++)
        named[i] = (NamedResult){plan->files[i].name, results[i]};
    if (!code && !convert_is_silent(cli, a))
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
    int code = convert_settle(&settled, cli, a, s, true, err);
    if (!code) code = write_hf(cli, a, s, &settled, options, err);
    source_proof_close(settled.proof);
    return code;
}
