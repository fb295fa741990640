/* output_types.h -- what an output of a recipe says of its types: a preset of llama-quantize, types for
 * single tensors, an importance matrix. The same is said on the command line and, in recast.recipe, by a file
 * of itself. */
#ifndef RECAST_RECIPES_OUTPUT_TYPES_H
#define RECAST_RECIPES_OUTPUT_TYPES_H

#include "core/sha256.h"
#include "model/views.h"
#include <cjson/cJSON.h>

typedef struct OutputTypes {
    const Preset *preset;              /* NULL: as stored */
    DType embedding_type, output_type; /* DT_NONE: the preset's */
    TensorTypes *tensor_types;         /* NULL: none */
    const char *imatrix_path;          /* where it is; NULL if there is none, or it is only known by hash */
    const char *imatrix_name;          /* without directories; NULL: there is none */
    char imatrix_sha256[SHA256_HEX];
    bool requantize;
} OutputTypes;

OutputTypes output_types(const Preset *preset); /* the preset (NULL: as stored) and nothing else */

/* A preset by its key or its alias in lower case ("q4_k_m", "q4_k"), as recipes spell it; NULL if it is none.
 */
const Preset *output_preset(const char *key);
/* "f32, f16, bf16, ..., iq4_xs": all that are offered. In the arena; NULL: no memory. */
const char *output_presets_text(Arena *arena);
/* A type for a single tensor: floats, and what core/quantize.h can make; any case. DT_NONE if it is none. */
DType output_tensor_type(const char *name);

/* tensor_types, output_type, embedding_type, imatrix and requantize of an output: `path` is its JSON path.
 * tensor_types is an object {pattern: type}, or, where tools sort keys, an array of [pattern, type]; imatrix
 * a path relative to `directory`, which is hashed, or {"name", "sha256"} as a derivation has it. Strings go
 * to the arena. *out is what output_types gave. Close it, also after an error. ERR_RECIPE, ERR_IO. */
int output_types_parse(OutputTypes *out, const cJSON *output, const char *path, const char *directory,
                       Arena *arena, const Allocator *allocator, Error *err) MUST_CHECK;
void output_types_close(OutputTypes *t);
/* Hashes the file and keeps path and name, in the arena. */
int output_types_set_imatrix(OutputTypes *t, const char *path, Arena *arena, Error *err) MUST_CHECK;
/* Adds them to an output's object as a derivation has them; not the preset. False: no memory. */
bool output_types_put(const OutputTypes *t, cJSON *output);

/* Opens the importance matrix, if there is one (*imatrix, else NULL; caller closes), and gives what retype
 * wants; both must outlive the view. ERR_CHECK if the matrix is not the one that was hashed; ERR_UNSUPPORTED
 * if it is known by hash alone. */
int output_types_options(RetypeOptions *out, Imatrix **imatrix, const OutputTypes *t,
                         const Allocator *allocator, Error *err) MUST_CHECK;

#endif
