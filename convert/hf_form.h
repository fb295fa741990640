/* hf_form.h -- the Hugging Face form of a derived checkpoint: config.json patched at the values' own bytes,
 * weights and tokenizer as they are. Weight files in which adapters change tensors are written anew with
 * their own header; the others stay copies.
 *
 * The patch keeps the source's spelling (rope_scaling + rope_theta, or rope_parameters), so that transformers
 * 4 and 5 and vLLM all read the override; never both spellings mixed (docs/hf-form.md). */
#ifndef RECAST_CONVERT_HF_FORM_H
#define RECAST_CONVERT_HF_FORM_H

#include "convert/execute.h"
#include "model/proof.h"

typedef struct HfFile {
    const char *name;         /* in the directory */
    const SourceFile *source; /* copied as it is; NULL if text */
    const char *text;         /* new content */
    size_t length;            /* of text */
    bool merged; /* a weight file in which adapters change tensors: written anew, place by place */
} HfFile;

typedef struct HfPlan {
    const Model *model; /* FORM_HF, overrides applied; borrowed */
    size_t n_files;
    HfFile *files; /* sorted by name */
    Arena *arena;
} HfPlan;

int hf_plan_open(HfPlan **out, const Model *model, const Allocator *allocator, Error *err) MUST_CHECK;
void hf_plan_close(HfPlan *p);          /* NULL-safe */
uint64_t hf_file_size(const HfFile *f); /* bytes, of the source's file or the patched text */

typedef struct HfConversion {
    const HfPlan *plan;
    const char *directory; /* existing and empty; NULL: hash only, nothing is written */
    bool link;             /* hard-link weights and other untouched files */
    const SourceProof
        *known;          /* what the source was found to be: spares hashing what it covers. NULL: nothing */
    const Model *source; /* as model_open gives it: its proof is made in the same pass. NULL: no proof */
    const SourceProof *promised; /* what that proof must say; NULL: nothing. A difference is ERR_CHECK */
    SourceProof **proof;         /* caller closes; NULL: not wanted */
    FileResult *results;         /* filled in: one a file of the plan */
} HfConversion;

/* Makes all files in one pass over the source: proved, copied (shared blocks and links where the file system
 * can) and merged side by side. No file has its name before the proof holds. Afterwards the directory is
 * opened again and its parameters and tensors are compared with the model's. */
int hf_execute(const HfConversion *c, ExecuteOptions options, Error *err) MUST_CHECK;

#endif
