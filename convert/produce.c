/* produce.c -- see produce.h. */
#include "convert/produce.h"

int gguf_produce(FileResult *out, const Model *model, const Provenance *provenance, const char *path,
                 ExecuteOptions options, Error *err) {
    Arena *arena;
    Metadata *metadata;
    GgufPlan *plan = NULL;
    TRY(arena_open(&arena, options.allocator, err));
    int code = metadata_copy(&metadata, model->metadata, arena, err);
    if (!code) code = provenance_set(metadata, provenance, err);
    if (!code) code = gguf_plan_open(&plan, model, metadata, options.allocator, err);
    if (!code) code = gguf_execute(out, plan, path, options, err);
    gguf_plan_close(plan);
    arena_close(arena);
    return code;
}
