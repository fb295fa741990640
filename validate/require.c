/* require.c -- --require: a check that was skipped must not look like a pass. */
#include "validate/validation.h"
#include <string.h>

static const char *const groups[] = {"structure",  "hashes",  "source",   "rebuild",
                                     "generation", "quality", "signature"};
enum { N_GROUPS = sizeof groups / sizeof *groups };

static const char *group_of(const char *word, size_t length) {
    for (size_t i = 0; i < N_GROUPS; i++)
        if (strlen(groups[i]) == length && !memcmp(groups[i], word, length)) return groups[i];
    return NULL;
}

/* The group at *list, which moves behind its comma, or to NULL after the last. */
static int next_group(const char **group, const char **list, Error *err) {
    const char *word = *list;
    size_t length = strcspn(word, ",");
    *group = group_of(word, length);
    *list = word[length] ? word + length + 1 : NULL;
    if (*group) return 0;
    return error_set(err, ERR_USAGE,
                     "--require: \"%.*s\" is no group; there are structure, hashes, source, rebuild, "
                     "generation, quality, signature",
                     (int)(length < 100 ? length : 100), word);
}

int validate_groups_known(const char *list, Error *err) {
    const char *group;
    while (list) TRY(next_group(&group, &list, err));
    return 0;
}

int validate_require(Report *r, const char *list, Error *err) {
    const char *group;
    while (list) {
        TRY(next_group(&group, &list, err));
        if (report_group(r, group) != CHECK_NOT_RUN) continue;
        report_add(r, group, CHECK_FAIL, "required", "required, but not everything in this group was run");
        r->verdict = "failed";
        r->signed_by = NULL;
    }
    return report_ok(r, err);
}
