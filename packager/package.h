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

/* Writes README.md, recipe.json, .gitattributes, manifest.json and SHA256SUMS into a directory that holds the
 * artifacts already. base.path of the recipe is dropped from recipe.json when base.repo is there (a package
 * holds no path of the machine). */
int package_write(const char *directory, const PackageInputs *in, const Allocator *allocator,
                  Error *err) MUST_CHECK;

/* What stands in a package and not in its manifest: the manifest itself, SHA256SUMS, and what signing adds
 * (model.sig, provenance.intoto.jsonl). */
bool package_is_unlisted(const char *path);
/* A file of weights by its name (*.gguf, *.safetensors): what an archive of the evidence leaves out. */
bool package_is_weights(const char *path);

/* The picture that package.sweep names, in the arena. ERR_IO, or ERR_RECIPE if it is no SVG. */
int package_read_picture(char **out, size_t *length, const char *path, Arena *arena, Error *err) MUST_CHECK;

/* The model card alone (package_write uses it): YAML front matter of the Hub (license, base_model,
 * base_model_relation, tags, pipeline_tag, library_name), every string quoted; then what was changed and what
 * not, files, how to check, how to run. */
int card_write(Buffer *out, const PackageInputs *in, Error *err) MUST_CHECK;

#endif
