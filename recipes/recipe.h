/* recipe.h -- a recipe is a stack of views, written down.
 *
 * recipe_load checks a recipe against version 1 of the format (recipes/recipe.schema.json): every mistake is
 * named with its JSON path ("outputs[1].type"), unknown keys get the nearest known one. What needs the base
 * (200 of 128 experts, context above factor x original) is checked when the stack is opened. Keys of the
 * format that this version doesn't build yet are ERR_UNSUPPORTED by name. */
#ifndef RECAST_RECIPES_RECIPE_H
#define RECAST_RECIPES_RECIPE_H

#include "core/dtype.h"
#include "model/gguf_split.h"
#include "model/lora.h"
#include "model/model.h"
#include "model/proof.h"
#include "recipes/output_types.h"

/* OUTPUT_LORA: the recipe's adapter as a GGUF, to be kept beside the base ("gguf-lora") */
typedef enum OutputFormat { OUTPUT_GGUF, OUTPUT_HF, OUTPUT_LORA } OutputFormat;

typedef struct RecipeOutput {
    OutputFormat format;
    OutputTypes types;     /* GGUF */
    const char *type_name; /* the preset's key: "bf16"; "" for hf */
    uint32_t bake_dynamic; /* "gguf_dynamic": {"bake": L}; 0 if absent */
    SplitRule split;       /* "split": "48G", 128, "metadata-first"; all zero if absent */
    const char *file_name; /* in the package: "{name}-BF16.gguf" (shards: {name}-BF16-00001-of-0000N.gguf);
                              for hf the directory "hf" */
    const cJSON *json;     /* the output's own object */
} RecipeOutput;

/* An adapter that is merged. */
typedef struct RecipeLora {
    const char *spelled, *path; /* as the recipe has it, and resolved against its directory */
    double scale;
    LoraRounding rounding;
    LoraLayout layout;
    const char *config_sha256, *weights_sha256;               /* pins, NULL if absent */
    char found_config[SHA256_HEX], found_weights[SHA256_HEX]; /* of the files; "" until a stack was opened */
} RecipeLora;

/* What a lossy type may cost against the source; negative: no limit. */
typedef struct QualityLimits {
    double max_kl;        /* mean divergence, nats a token */
    double min_top1;      /* share of positions */
    double max_ppl_ratio; /* perplexity over the source's */
} QualityLimits;

/* A prompt as a conversation: the chat template of the base makes a text of it (validate/prompts.h). */
typedef struct RecipeMessage {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
} RecipeMessage;

typedef struct RecipeChat {
    size_t n_messages; /* at least one */
    const RecipeMessage *messages;
} RecipeChat;

typedef struct Recipe {
    const char *path;            /* as given */
    const char *directory;       /* what its relative paths are relative to */
    const char *name;            /* a file name without directories: [A-Za-z0-9._-]+ */
    const char *repo, *revision; /* base.repo (NULL if absent), base.revision ("main" if absent) */
    const char *base_path;       /* base.path resolved against directory; NULL if absent */
    const char *commit;          /* pins, NULL if absent */
    const cJSON *sha256;         /* {"file": "hex"}; NULL if absent */
    const char *weights_sha256;
    const cJSON *overrides; /* object, maybe empty; never NULL */
    bool accept_inert_dynamic;
    size_t n_lora;
    RecipeLora *lora; /* in the order in which they are merged */
    size_t n_outputs;
    RecipeOutput *outputs; /* at least one */
    size_t n_prompts;
    const char *const *prompts;   /* validate.prompts; a default prompt if absent. NULL: a conversation */
    const RecipeChat *chats;      /* [n_prompts]: the conversations; NULL if there can be none */
    uint32_t n_tokens;            /* validate.tokens, default 64 */
    const char *eval_text;        /* validate.text resolved against directory; NULL if absent */
    QualityLimits limits;         /* validate.max_kl, min_top1, max_ppl_ratio */
    const char *license, *author; /* package.*: NULL if absent */
    size_t n_tags;
    const char *const *tags;
    const char
        *sign_key; /* package.sign_key: "env:NAME", or a file resolved against directory; NULL if absent */
    const char *archive; /* package.archive: "zip" or "tar.zst"; NULL if absent */
    const char *sweep;   /* package.sweep resolved against directory: an SVG picture; NULL if absent */
    const char *card;    /* package.card likewise: a template of the model card; NULL if absent */
    cJSON *json;         /* the whole, after --set */
    const char *text;    /* of the file, as spelled */
    size_t text_length;  /* bytes */
    bool edited;         /* --set changed something: json says more than text */
    Arena *arena;
} Recipe;

/* sets: "overrides.num_experts_per_tok=12", "outputs[0].type=f16" or "outputs.0.type=f16" (value: JSON, or a
 * bare string), applied before checking; objects and arrays that are missing on the way are made. Errors:
 * ERR_USAGE (a malformed set), ERR_IO, ERR_FORMAT (not JSON), ERR_RECIPE, ERR_UNSUPPORTED. */
int recipe_load(Recipe **out, const char *path, const char *const *sets, size_t n_sets,
                const Allocator *allocator, Error *err) MUST_CHECK;
void recipe_close(Recipe *r); /* NULL-safe */
/* outputs[output].file_name: what this output is called in the package. */
const char *recipe_output_name(const Recipe *r, size_t output);

/* The checkpoint directory: base.path, else the snapshot in the Hugging Face cache (cache_root: value for
 * HF_HUB_CACHE; NULL: none). In the arena of the recipe. *commit is the snapshot's commit or the recipe's,
 * NULL if there is none. Error: ERR_IO naming the exact `hf download` command. */
int recipe_locate(Recipe *r, const char *cache_root, const char **directory, const char **commit,
                  Error *err) MUST_CHECK;
/* Compares a proof with the recipe's pins and with the hashes that the cache's blob names promise (64 hex
 * digits). ERR_CHECK names file, expected and found. *pinned: how many files and digests a pin covered. */
int recipe_check_pins(const Recipe *r, const Model *source, const SourceProof *proof, const char *commit,
                      size_t *pinned, Error *err) MUST_CHECK;
/* What a proof will say if the source is as pins promise: weights from base.sha256 or the cache's blob names,
 * the digest from base.weights_sha256; the small files are hashed. Whoever uses it must verify it
 * (Conversion.promised). *out is NULL if a pin is missing. r NULL: no recipe. ERR_CHECK if pins or small
 * files disagree. Caller closes. */
int recipe_promised_proof(SourceProof **out, const Recipe *r, const Model *source, const char *commit,
                          const Allocator *allocator, Error *err) MUST_CHECK;
bool recipe_has_pins(const Recipe *r); /* of files or weights, in the recipe itself */
/* The recipe's own text with the pins set (base.commit, base.sha256, base.weights_sha256), all else as it was
 * spelled; after --set, the edited tree is printed instead. */
int recipe_pinned_text(const Recipe *r, const SourceProof *proof, const char *commit, Buffer *text,
                       Error *err) MUST_CHECK;
/* RFC 8785 JSON of what decides the bytes of one output: base (repo, commit, hashes), overrides, this output;
 * not the name, prompts, package or paths. commit NULL: the recipe's pin, if it has one. The same recipe
 * (pinned or not) and source always give the same text. */
int recipe_derivation(const Recipe *r, size_t output, const SourceProof *proof, const char *commit,
                      Buffer *json, Error *err) MUST_CHECK;
/* The same for a plain conversion without a recipe: base (hashes) and output only.
 * split: NULL or all zero for one file. */
int recipe_plain_derivation(const OutputTypes *types, const SplitRule *split, const SourceProof *proof,
                            Buffer *json, Error *err) MUST_CHECK;

/* The stack of views over an open source. Members that are not needed are NULL; `top` is what to read. The
 * source is borrowed. */
typedef struct RecipeStack {
    Model *override;  /* source with the recipe's parameters, HF or GGUF form */
    Model *lora;      /* its adapters merged; only if the recipe has some */
    Model *adapter;   /* only for a gguf-lora output */
    Model *names;     /* GGUF form (only for a gguf output over a checkpoint) */
    Model *retype;    /* only for a gguf output */
    Imatrix *imatrix; /* what retype weights with; NULL: nothing */
    const Model *top;
} RecipeStack;
int recipe_stack_open(RecipeStack *out, const Recipe *r, size_t output, const Model *source,
                      const Allocator *allocator, Error *err) MUST_CHECK;
/* Puts the types on top of a stack whose top is in GGUF form. */
int retype_stack(RecipeStack *s, const OutputTypes *types, const Allocator *allocator, Error *err) MUST_CHECK;
/* Only override and adapters: what `run RECIPE` reads and generation is compared with. */
int recipe_override_open(RecipeStack *out, const Recipe *r, const Model *source, const Allocator *allocator,
                         Error *err) MUST_CHECK;
void recipe_stack_close(RecipeStack *s);

/* Other places for the recipe's adapters, in its order; n 0: they stay. ERR_USAGE if they are not as many. */
int recipe_set_adapters(Recipe *r, const char *const *paths, size_t n, Error *err) MUST_CHECK;
/* The "lora" of a recipe's text, if it has one, with the hashes of the adapters that a stack was opened with
 * (recipe_pinned_text keeps paths, a package only the directories' names). */
typedef enum RecipePaths { RECIPE_PATHS_KEPT, RECIPE_PATHS_NAMES, RECIPE_PATHS_NONE } RecipePaths;
int recipe_set_lora_text(const Recipe *r, RecipePaths paths, Buffer *text, Error *err) MUST_CHECK;

#endif
