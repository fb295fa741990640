/* model.h -- a model is something you read.
 *
 * A Model is parameters plus named tensors. Hugging Face checkpoints and GGUF files are models (sources);
 * override, gguf names and retype are views: models over another one that compute nothing until somebody
 * reads.
 *
 * A tensor is a list of extents (file, offset, length), which concatenate to its rows as stored, and a chain
 * of row transforms. model_read is the one operation. A tensor with an empty chain is a copy of extents: it
 * can be copied, hashed or mapped where it lies, and that makes "weights untouched" provable.
 *
 * Reading order: params.h, model.h, safetensors.h, checkpoint.h, gguf.h, family.h, then the views. */
#ifndef RECAST_MODEL_MODEL_H
#define RECAST_MODEL_MODEL_H

#include "core/dtype.h"
#include "core/input.h"
#include "core/table.h"
#include "model/metadata.h"
#include "model/params.h"
#include <cjson/cJSON.h>

enum { TENSOR_MAX_DIMS = 4, TENSOR_MAX_TRANSFORMS = 4 };

typedef struct Extent {
    Input *file;     /* borrowed from the source model */
    uint64_t offset; /* bytes from the start of the file */
    uint64_t length; /* bytes; a whole number of rows */
} Extent;

/* Turns rows of one type into as many rows of another; the shape stays. Stateless but for `context`. */
typedef struct RowTransform {
    DType from, to;
    /* n_rows rows from first_row on (counted over the whole tensor), row_elements elements each. Thread-safe.
     */
    int (*apply)(const struct RowTransform *t, uint64_t first_row, uint64_t n_rows, uint64_t row_elements,
                 const void *in, void *out, Error *err);
    const void *context; /* owned by the view that made the transform */
} RowTransform;

typedef struct Tensor {
    const char *name; /* in the model's form; borrowed from the model */
    DType type;       /* of the rows that model_read gives */
    DType stored;     /* of the rows in the extents */
    uint32_t n_dims;  /* 0 .. 4; a scalar has 0 */
    uint64_t dims[4]; /* ggml order, dims[0] fastest (torch's shape reversed); unused ones are 1 */
    uint32_t n_extents;
    const Extent *extents;
    uint32_t n_transforms;                          /* 0: the bytes are the stored ones */
    RowTransform transforms[TENSOR_MAX_TRANSFORMS]; /* applied first to last */
} Tensor;

typedef enum ModelForm {
    FORM_HF,  /* Hugging Face names, one tensor an expert (fused files are shown that way too), torch's shapes
                 reversed */
    FORM_GGUF /* GGUF names, experts stacked, metadata present */
} ModelForm;

typedef enum SourceRole {
    SOURCE_WEIGHTS,
    SOURCE_INDEX,
    SOURCE_CONFIG,
    SOURCE_GENERATION,
    SOURCE_TOKENIZER,
    SOURCE_OTHER
} SourceRole;

/* A file that belongs to the source. */
typedef struct SourceFile {
    const char *
        name; /* relative to the checkpoint directory, no directories in it; the file's own name for a GGUF */
    Input *input;
    SourceRole role;
} SourceFile;

/* One changed parameter, spelled as config.json spells it; values are canonical JSON ("null" if there was
 * none). */
typedef struct Change {
    const char *key, *old_value, *new_value;
} Change;

typedef struct Family Family; /* family.h */
typedef struct Lora Lora;     /* lora.h */

typedef struct Model {
    ModelForm form;
    const char *path;     /* of the source: directory or file as given */
    const Family *family; /* NULL if the architecture is unknown to Recast */
    ModelParams params;   /* for an unknown family: only what could be read */
    size_t n_tensors;
    const Tensor *tensors; /* FORM_HF: in order of (file, offset). FORM_GGUF: file order, or llama-quantize's
                              from a view */
    const Table *names;    /* tensor name -> index */
    const Metadata *metadata; /* FORM_GGUF only, else NULL */
    const cJSON *config;      /* parsed config.json of the source (before overrides); NULL for GGUF */
    const char *config_text;  /* its bytes, NUL-terminated; NULL for GGUF */
    size_t n_files;
    const SourceFile
        *files; /* every file of the source that Recast reads or copies, sorted by name as bytes */
    size_t n_changes;
    const Change *changes;          /* what override views above the source changed */
    const cJSON *overrides;         /* the overrides object those came from; NULL if none */
    const Lora *lora;               /* what a lora view below changes; NULL: nothing */
    Arena *arena;                   /* owns all of the above that this model made */
    void (*close)(struct Model *m); /* source: closes files; views: frees their own memory only */
} Model;

/* A view borrows its base: close views before what they stand on. NULL-safe. */
void model_close(Model *m);

const Tensor *model_find(const Model *m, const char *name); /* NULL if absent */
uint64_t tensor_rows(const Tensor *t);                      /* product of dims[1..3] */
uint64_t tensor_elements(const Tensor *t);
uint64_t tensor_row_bytes(const Tensor *t); /* of a row as model_read gives it */
uint64_t
tensor_bytes(const Tensor *t); /* rows * row bytes; checked against overflow when the model was opened */
uint64_t tensor_stored_bytes(const Tensor *t);

/* n_rows rows from first_row on, each tensor_row_bytes long, into buffer. Row = dims[0] elements.
 * Thread-safe. Uses at most a few MB of scratch when there are transforms. Errors: ERR_IO, ERR_FORMAT
 * (truncated file), what a transform returns. */
int model_read(const Tensor *t, uint64_t first_row, uint64_t n_rows, void *buffer, Error *err) MUST_CHECK;
/* Bytes offset .. offset+length of the *stored* tensor; the extents must cover them. Thread-safe. */
int tensor_read_stored(const Tensor *t, uint64_t offset, void *buffer, size_t length, Error *err) MUST_CHECK;
/* Where rows first_row .. first_row+n_rows lie in a mapped file, if the chain is empty, they lie in one
 * extent and the place is aligned for the type (safetensors does not promise that); else *out is NULL and
 * that is no error. Not thread-safe (it maps the file at first use). */
int tensor_map(const Tensor *t, uint64_t first_row, uint64_t n_rows, const void **out, Error *err) MUST_CHECK;

/* Opens whatever stands at path: a directory with config.json (checkpoint.h) or a file with GGUF's magic
 * (gguf.h). */
int model_open(Model **out, const char *path, const Allocator *allocator, Error *err) MUST_CHECK;

#endif
