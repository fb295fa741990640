/* require.c -- --require: a check that was skipped must not look like a pass. */
#include "validate/validation.h"
#include <string.h>

static const char *const groups[] = {"structure", "hashes", "source", "rebuild", "generation", "quality"};
enum { N_GROUPS = sizeof groups / sizeof *groups };

static const char *group_of(const char *word, size_t length) {
    for (size_t i = 0; i < N_GROUPS; i++)
        if (strlen(groups[i]) == length && !memcmp(groups[i], word, length)) return groups[i];
    return NULL;
}

int validate_require(Report *r, const char *list, Error *err) {
    bool missing = false;
    for (const char *word = list;; word++) {
        size_t length = strcspn(word, ",");
        const char *group = group_of(word, length);
        if (!group)
            return error_set(err, ERR_USAGE,
                             "--require: \"%.*s\" is no group; there are structure, hashes, source, rebuild, "
                             "generation, quality",
                             (int)(length < 100 ? length : 100), word);
        CheckStatus status = report_group(r, group);
        if (status == CHECK_NOT_RUN) {
            report_add(r, group, CHECK_FAIL, "required",
                       "required, but not everything in this group was run");
            missing = true;
        }
        word += length;
        if (!*word) break;
    }
    if (missing) r->verdict = "failed";
    return report_ok(r, err);
}
