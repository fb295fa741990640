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
void hf_plan_close(HfPlan *p); /* NULL-safe */
/* Writes all files into an existing empty directory and gives size and SHA-256 of each (results: n_files).
 * link: hard-link weights and other untouched files. proof (may be NULL) spares hashing what it covers.
 * directory NULL: hash only. Afterwards the directory is opened again and its parameters compared with the
 * model's. */
int hf_execute(FileResult *results, const HfPlan *plan, const char *directory, bool link,
               const SourceProof *proof, ExecuteOptions options, Error *err) MUST_CHECK;

uint64_t hf_file_size(const HfFile *f); /* bytes, of the source's file or the patched text */

#endif
