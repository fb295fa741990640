/* report.h -- what a validation found, as a value: validate fills it, packager stores it, cli prints it. */
#ifndef RECAST_CORE_REPORT_H
#define RECAST_CORE_REPORT_H

#include "core/buffer.h"
#include <cjson/cJSON.h>

typedef enum CheckStatus { CHECK_PASS, CHECK_FAIL, CHECK_NOT_RUN } CheckStatus;

typedef struct Check {
    const char *group; /* "structure", "hashes", "source", "rebuild", "generation", "quality", "signature" */
    const char *name;  /* "weights digest" */
    CheckStatus status;
    const char *
        detail; /* what was seen; for "not run" the reason. Never a path of the machine, a time or a speed. */
} Check;

typedef struct Report {
    Arena *arena;
    Check *checks;
    size_t n_checks, capacity;
    const char *verdict;   /* "consistent", "derived", "failed", "nothing shown"; set by validate */
    const char *signed_by; /* "key 52ca..", "CN=.."; NULL: by nobody that was checked */
    bool failed_alloc;
} Report;

int report_open(Report **out, const Allocator *allocator, Error *err) MUST_CHECK;
void report_close(Report *r); /* NULL-safe */
void report_add(Report *r, const char *group, CheckStatus status, const char *name, const char *detail, ...)
    ERROR_PRINTF(5, 6);
size_t report_count(const Report *r, CheckStatus status);
/* pass only if the group has at least one check and all are pass; fail if one fails; else not run */
CheckStatus report_group(const Report *r, const char *group);
void report_text(const Report *r, Buffer *out); /* aligned lines, then the verdict */
int report_json(const Report *r, cJSON **out,
                Error *err) MUST_CHECK; /* {"verdict":..,"checks":[..]}; caller deletes */
/* JUnit XML: a test suite a group, "not run" as skipped. */
void report_junit(const Report *r, Buffer *out);
int report_ok(const Report *r, Error *err) MUST_CHECK; /* ERR_MEMORY if an add failed */

#endif
