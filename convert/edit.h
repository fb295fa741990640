/* edit.h -- metadata edits as users spell them: KEY=TYPE:VALUE (llama.cpp's --override-kv types: int, float,
 * bool, str; and GGUF's own u8 .. f64), TYPE optional for a key that exists. */
#ifndef RECAST_CONVERT_EDIT_H
#define RECAST_CONVERT_EDIT_H

#include "model/metadata.h"

/* Applies one --set. `int` becomes the type that an existing key has, else u32 (i32 if negative). ERR_USAGE:
 * unknown type, not a number, out of range, unknown key without TYPE (nearest known key proposed), an array,
 * general.alignment, general.architecture, split keys or provenance. */
int edit_set(Metadata *m, const char *expression, Error *err) MUST_CHECK;
/* Applies one --unset; ERR_USAGE if the key is absent or can't be spared (general.architecture). */
int edit_unset(Metadata *m, const char *key, Error *err) MUST_CHECK;
/* If the file carries recast.* provenance, sets recast.edited to true. */
int edit_finish(Metadata *m, Error *err) MUST_CHECK;

#endif
