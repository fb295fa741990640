/* package.h -- a directory ready for Hugging Face: artifacts, model card, manifest, SHA256SUMS,
 * .gitattributes, recipe. */
#ifndef RECAST_PACKAGER_PACKAGE_H
#define RECAST_PACKAGER_PACKAGE_H

#include "packager/manifest.h"
#include "recipes/recipe.h"

typedef struct PackageInputs {
    const Recipe *recipe;
    const Model *source;       /* parameters of the base */
    const Model *derived;      /* source with overrides: parameters of the variant */
    const char *pinned_recipe; /* text for recipe.json: sources pinned (recipe_pinned_text) */
    Manifest manifest; /* filled in by the caller, except recipe_file; `files` lists the artifacts' files,
                          already in the directory, with their hashes; package_write adds its own */
} PackageInputs;

/* Writes README.md (by the template README.md.in if the recipe names one, which is kept), recipe.json,
 * .gitattributes, manifest.json and SHA256SUMS into a directory that holds the
 * artifacts already. base.path of the recipe is dropped from recipe.json when base.repo is there (a package
 * holds no path of the machine). */
int package_write(const char *directory, const PackageInputs *in, const Allocator *allocator,
                  Error *err) MUST_CHECK;

/* What stands in a package and not in its manifest: the manifest itself, SHA256SUMS, and what signing adds
 * (model.sig, provenance.intoto.jsonl). */
bool package_is_unlisted(const char *path);
/* About what package_write and signing put beside the artifacts takes, hashes of tensors aside: bytes, rather
 * too many. It grows with the files that are listed and with what was generated, tokens in all. */
uint64_t package_evidence_bytes(const Recipe *r, size_t n_files, uint64_t tokens);
/* A file of weights by its name (*.gguf, *.safetensors): what an archive of the evidence leaves out. */
bool package_is_weights(const char *path);

/* The picture that package.sweep names, in the arena. ERR_IO, or ERR_RECIPE if it is no SVG. */
int package_read_picture(char **out, size_t *length, const char *path, Arena *arena, Error *err) MUST_CHECK;

/* A template of the model card: Markdown with placeholders (card_template.h, docs/packaging.md). */
typedef struct CardTemplate {
    const char *name; /* for messages */
    const char *text; /* of `length` bytes, UTF-8 */
    size_t length;
    const char *file; /* the whole file, if it was read from one: text but for a byte order mark */
    size_t file_length;
} CardTemplate;

/* The one that package.card names, in the arena, checked. ERR_IO, ERR_LIMIT (above 1 MiB), ERR_RECIPE naming
 * file and line: unknown placeholders, conditions that don't match, front matter that contradicts the
 * program's. */
int card_template_read(CardTemplate *out, const char *path, Arena *arena, Error *err) MUST_CHECK;
int card_template_check(const CardTemplate *t, Error *err) MUST_CHECK;

/* The model card alone (package_write uses it) by a checked template; NULL: the program's own, card.md. It
 * begins with the YAML front matter of the Hub (license, base_model, base_model_relation, tags, pipeline_tag,
 * library_name), every string quoted. */
int card_write(Buffer *out, const PackageInputs *in, const CardTemplate *own, Error *err) MUST_CHECK;
/* Does the front matter of a card from anywhere name the manifest's licence and base model, once and as
 * card_write spells them? ERR_CHECK with file and line. */
int card_check(const char *text, size_t length, const Manifest *m, Error *err) MUST_CHECK;

#endif
