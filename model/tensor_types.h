/* tensor_types.h -- a list of (pattern, type): which tensors get a type of their own, as llama-quantize's
 * --tensor-type and --tensor-type-file say it.
 *
 * A pattern is a regular expression that is looked for anywhere in a tensor's name; the first one of the list
 * that is found wins. As in llama-quantize the pattern is put in lower case, the name is not. There it is an
 * ECMAScript expression of std::regex; here it is turned into a POSIX one, which finds the same names, or is
 * refused: what POSIX can't say are assertions (?= ?! \b), back-references (\1) and \x, \u, \c escapes. */
#ifndef RECAST_MODEL_TENSOR_TYPES_H
#define RECAST_MODEL_TENSOR_TYPES_H

#include "core/dtype.h"
#include "core/memory.h"

typedef struct TensorTypes TensorTypes;

int tensor_types_open(TensorTypes **out, const Allocator *allocator, Error *err) MUST_CHECK;
void tensor_types_close(TensorTypes *t); /* NULL-safe */

/* Adds to the end of the list. ERR_RECIPE if the pattern is malformed or can't be said here. */
int tensor_types_add(TensorTypes *t, const char *pattern, DType type, Error *err) MUST_CHECK;
/* Adds what a --tensor-type-file holds: "pattern=type" words, one a line or with space between them. `name`
 * of the file is for messages. ERR_FORMAT or ERR_RECIPE with the line. */
int tensor_types_add_text(TensorTypes *t, const char *name, const char *text, size_t length,
                          Error *err) MUST_CHECK;
/* One such word: the argument of --tensor-type. */
int tensor_types_add_word(TensorTypes *t, const char *word, size_t length, Error *err) MUST_CHECK;

/* The type of the first pattern found in the name, else DT_NONE. Thread-safe. */
DType tensor_types_find(const TensorTypes *t, const char *tensor_name);

/* The list, in order. The pattern is as it counts: in lower case. */
size_t tensor_types_count(const TensorTypes *t);
const char *tensor_types_pattern(const TensorTypes *t, size_t i);
DType tensor_types_type(const TensorTypes *t, size_t i);

/* "q4_K" in any case: a type that weights can have (no integers, no formats of activations), else DT_NONE.
 * Whether Recast can make it is quantize.h's business. */
DType weight_type_by_name(const char *name, size_t length);

#endif
