/* stack.c -- a recipe's views over an open source: override, adapters, then for a GGUF output the GGUF names
 * and the type. */
#include "model/lora_gguf.h"
#include "model/views.h"
#include "recipes/recipe_private.h"

int recipe_override_open(RecipeStack *out, const Recipe *r, const Model *source, const Allocator *allocator,
                         Error *err) {
    *out = (RecipeStack){0};
    OverrideOptions options = {.accept_inert_dynamic = r->accept_inert_dynamic};
    int code = override_open(&out->override, source, r->overrides, options, allocator, err);
    if (code) return error_wrap(err, code, "%s", r->path);
    out->top = out->override;
    if (!r->n_lora) return 0;
    code = recipe_lora_open(&out->lora, r, out->override, allocator, err);
    if (code) {
        recipe_stack_close(out);
        return error_wrap(err, code, "%s: lora", r->path);
    }
    out->top = out->lora;
    return 0;
}

int retype_stack(RecipeStack *s, const OutputTypes *types, const Allocator *allocator, Error *err) {
    RetypeOptions options;
    TRY(output_types_options(&options, &s->imatrix, types, allocator, err));
    TRY(retype_open(&s->retype, s->top, &options, allocator, err));
    s->top = s->retype;
    return 0;
}

static int open_gguf(RecipeStack *s, const Recipe *r, const RecipeOutput *o, const Model *source,
                     const Allocator *allocator, Error *err) {
    if (source->form == FORM_HF) {
        GgufNamesOptions options = {.name = r->name, .bake_dynamic = o->bake_dynamic};
        TRY(gguf_names_open(&s->names, s->top, &options, allocator, err));
        s->top = s->names;
    } else if (o->bake_dynamic) {
        return error_set(err, ERR_RECIPE, "gguf_dynamic needs a Hugging Face checkpoint, but %s is a GGUF",
                         source->path);
    }
    return retype_stack(s, &o->types, allocator, err);
}

int recipe_stack_open(RecipeStack *out, const Recipe *r, size_t output, const Model *source,
                      const Allocator *allocator, Error *err) {
    const RecipeOutput *o = &r->outputs[output];
    TRY(recipe_override_open(out, r, source, allocator, err));
    int code = 0;
    if (o->format == OUTPUT_GGUF)
        code = open_gguf(out, r, o, source, allocator, err);
    else if (o->format == OUTPUT_LORA)
        code = lora_gguf_open(&out->adapter, out->top, r->name, allocator, err);
    else if (source->form != FORM_HF)
        code = error_set(err, ERR_UNSUPPORTED,
                         "the Hugging Face form is made from a Hugging Face checkpoint, but %s is a GGUF",
                         source->path);
    if (out->adapter) out->top = out->adapter;
    if (!code) return 0;
    recipe_stack_close(out);
    return error_wrap(err, code, "%s: outputs[%zu]", r->path, output);
}

void recipe_stack_close(RecipeStack *s) {
    model_close(s->retype);
    model_close(s->names);
    model_close(s->adapter);
    model_close(s->lora);
    model_close(s->override);
    imatrix_close(s->imatrix);
    *s = (RecipeStack){0};
}
