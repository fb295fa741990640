/* dry_run.c -- see dry_run.h. */
#include "cli/dry_run.h"

#include "cli/cli.h"
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* Free bytes in the directory of path, or in the nearest one above it that exists. */
static bool free_bytes(const char *path, uint64_t *bytes) {
    char directory[4096];
    struct statvfs v;
    int n = snprintf(directory, sizeof directory, "%s%s", path[0] == '/' ? "" : "./", path);
    if (n < 0 || (size_t)n >= sizeof directory) return false;
    do {
        char *slash = strrchr(directory, '/');
        if (!slash) return false;
        slash[slash == directory] = '\0';
    } while (statvfs(directory, &v) != 0 && directory[1]);
    return u64_mul(bytes, v.f_bavail, v.f_frsize);
}

static const char *pass_text(const DryRun *d) {
    switch (d->how) {
    case PROOF_PROMISED: return "1: pins are verified while the outputs are written";
    case PROOF_PLANNED:
        return "2: the source is not pinned, so it is hashed first; pins (`recast pin RECIPE`) spare that";
    case PROOF_IN_PASS: return "1: the source is hashed while the outputs are written";
    case PROOF_NONE: return "1: nothing is hashed";
    case PROOF_FOUND: break;
    }
    return "1";
}

void dry_run_print(const DryRun *d) {
    char a[32], b[32], c[32];
    uint64_t left;
    const ConversionEstimate *e = &d->estimate;
    bool one_pass = d->how == PROOF_PROMISED || d->how == PROOF_IN_PASS;
    printf("passes   %s\n", pass_text(d));
    if (one_pass && !e->read_again)
        printf("reading  each byte once from the disk: source order and output order are up to %s apart, the "
               "page "
               "cache may hold %s\n",
               human_bytes(e->disorder, a), human_bytes(e->cache, b));
    else if (one_pass)
        printf("reading  %s of the source twice from the disk: source order and output order are up to %s "
               "apart, "
               "the page cache may hold %s\n",
               human_bytes(e->read_again, a), human_bytes(e->disorder, b), human_bytes(e->cache, c));
    if (d->extras)
        printf("after    %s of outputs are read again for the checks, %s for the hashes of tensors\n",
               human_bytes(d->extras->checked, a), human_bytes(d->extras->tensors_hashed, b));
    printf("memory   %s of buffers\n", human_bytes(e->buffers, c));
    printf("time     about %.0f s, if the disk keeps up%s\n", e->seconds < 1 ? 1.0 : e->seconds,
           d->extras ? ", and what checks and generation take" : "");
    if (d->path && free_bytes(d->path, &left))
        printf("space    %s needed, %s free%s\n", human_bytes(e->output_bytes, a), human_bytes(left, b),
               left < e->output_bytes ? ": NOT ENOUGH" : "");
}

void dry_run_json(const DryRun *d, cJSON *document) {
    const ConversionEstimate *e = &d->estimate;
    uint64_t left;
    bool one_pass = d->how == PROOF_PROMISED || d->how == PROOF_IN_PASS;
    cJSON *o = cJSON_AddObjectToObject(document, "dry_run");
    cJSON_AddNumberToObject(o, "passes", proof_passes(d->how));
    cJSON_AddBoolToObject(o, "pinned", d->how == PROOF_PROMISED);
    cJSON_AddBoolToObject(o, "one_read", one_pass && !e->read_again);
    cJSON_AddNumberToObject(o, "source_bytes", (double)e->source_bytes);
    cJSON_AddNumberToObject(o, "output_bytes", (double)e->output_bytes);
    cJSON_AddNumberToObject(o, "buffer_bytes", (double)e->buffers);
    cJSON_AddNumberToObject(o, "read_again_bytes", (double)e->read_again);
    cJSON_AddNumberToObject(o, "disorder_bytes", (double)e->disorder);
    cJSON_AddNumberToObject(o, "cache_bytes", (double)e->cache);
    cJSON_AddNumberToObject(o, "seconds", e->seconds);
    if (d->extras) {
        cJSON_AddNumberToObject(o, "checked_bytes", (double)d->extras->checked);
        cJSON_AddNumberToObject(o, "tensor_hash_bytes", (double)d->extras->tensors_hashed);
        cJSON_AddNumberToObject(o, "evidence_bytes", (double)d->extras->evidence);
        cJSON_AddNumberToObject(o, "archive_bytes", (double)d->extras->archive);
    }
    if (d->path && free_bytes(d->path, &left)) cJSON_AddNumberToObject(o, "free_bytes", (double)left);
}
