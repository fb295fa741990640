/* report.c -- collects checks and writes them as text or JSON. Decides no verdict: validate does. */
#include "core/report.h"
#include <string.h>

int report_open(Report **out, const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    Report *r = arena_alloc(arena, 1, sizeof *r);
    if (!r) {
        arena_close(arena);
        return error_memory(err, "a report");
    }
    r->arena = arena;
    *out = r;
    return 0;
}

void report_close(Report *r) {
    if (r) arena_close(r->arena);
}

/* Room for one more check; the old array stays in the arena. */
static bool make_room(Report *r) {
    if (r->n_checks < r->capacity) return true;
    size_t capacity = r->capacity ? r->capacity : 16;
    if (r->capacity && !size_mul(&capacity, capacity, 2)) return false;
    Check *checks = arena_alloc(r->arena, capacity, sizeof *checks);
    if (!checks) return false;
    if (r->n_checks) memcpy(checks, r->checks, r->n_checks * sizeof *checks);
    r->checks = checks;
    r->capacity = capacity;
    return true;
}

void report_add(Report *r, const char *group, CheckStatus status, const char *name, const char *detail, ...) {
    Buffer text;
    buffer_init(&text, NULL);
    va_list args;
    va_start(args, detail);
    if (detail) buffer_vprintf(&text, detail, args);
    va_end(args);

    Check check = {.status = status};
    check.group = arena_string(r->arena, group);
    check.name = arena_string(r->arena, name);
    check.detail = arena_copy(r->arena, text.data, text.length);
    if (text.failed || !check.group || !check.name || !check.detail || !make_room(r)) {
        r->failed_alloc = true;
    } else {
        r->checks[r->n_checks++] = check;
    }
    buffer_free(&text);
}

size_t report_count(const Report *r, CheckStatus status) {
    size_t count = 0;
    for (size_t i = 0; i < r->n_checks; i++) count += r->checks[i].status == status;
    return count;
}

CheckStatus report_group(const Report *r, const char *group) {
    size_t seen = 0, passed = 0;
    for (size_t i = 0; i < r->n_checks; i++) {
        const Check *check = &r->checks[i];
        if (strcmp(check->group, group) != 0) continue;
        if (check->status == CHECK_FAIL) return CHECK_FAIL;
        seen++;
        passed += check->status == CHECK_PASS;
    }
    return seen > 0 && passed == seen ? CHECK_PASS : CHECK_NOT_RUN;
}

static const char *status_name(CheckStatus status) {
    switch (status) {
    case CHECK_PASS: return "pass";
    case CHECK_FAIL: return "fail";
    case CHECK_NOT_RUN: return "not run";
    }
    return "not run";
}

/* Columns that a UTF-8 text takes, near enough: one a character. */
static size_t columns(const char *text) {
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void padded(Buffer *out, const char *text, size_t width) {
    buffer_text(out, text);
    for (size_t n = columns(text); n < width + 2; n++) buffer_char(out, ' ');
}

void report_text(const Report *r, Buffer *out) {
    size_t group_width = 0, name_width = 0;
    for (size_t i = 0; i < r->n_checks; i++) {
        size_t group = columns(r->checks[i].group), name = columns(r->checks[i].name);
        if (group > group_width) group_width = group;
        if (name > name_width) name_width = name;
    }
    for (size_t i = 0; i < r->n_checks; i++) {
        const Check *check = &r->checks[i];
        padded(out, status_name(check->status), strlen("not run"));
        padded(out, check->group, group_width);
        padded(out, check->name, check->detail[0] ? name_width : 0);
        buffer_printable(out, check->detail, strlen(check->detail)); /* it may quote a name out of a file */
        while (out->length && out->data[out->length - 1] == ' ') out->length--;
        buffer_char(out, '\n');
    }
    if (!r->verdict) return;
    buffer_printf(out, "verdict: %s", r->verdict);
    if (r->signed_by) buffer_text(out, ", signed by ");
    if (r->signed_by) buffer_printable(out, r->signed_by, strlen(r->signed_by));
    buffer_char(out, '\n');
}

static bool add_check(cJSON *checks, const Check *check) {
    cJSON *item = cJSON_CreateObject();
    if (!item) return false;
    if (!cJSON_AddItemToArray(checks, item)) {
        cJSON_Delete(item);
        return false;
    }
    return cJSON_AddStringToObject(item, "group", check->group) &&
           cJSON_AddStringToObject(item, "name", check->name) &&
           cJSON_AddStringToObject(item, "status", status_name(check->status)) &&
           cJSON_AddStringToObject(item, "detail", check->detail);
}

int report_json(const Report *r, cJSON **out, Error *err) {
    cJSON *root = cJSON_CreateObject();
    bool ok = root && (r->verdict ? cJSON_AddStringToObject(root, "verdict", r->verdict)
                                  : cJSON_AddNullToObject(root, "verdict"));
    if (ok && r->signed_by) ok = cJSON_AddStringToObject(root, "signed_by", r->signed_by);
    cJSON *checks = ok ? cJSON_AddArrayToObject(root, "checks") : NULL;
    ok = checks != NULL;
    for (size_t i = 0; ok && i < r->n_checks; i++) ok = add_check(checks, &r->checks[i]);
    if (!ok) {
        cJSON_Delete(root);
        *out = NULL;
        return error_memory(err, "a report as JSON");
    }
    *out = root;
    return 0;
}

int report_ok(const Report *r, Error *err) {
    return r->failed_alloc ? error_memory(err, "a report") : 0;
}
