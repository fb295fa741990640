/* report_junit.c -- a report as JUnit XML, the form that CI servers show: a test suite a group, a test case a
 * check. No times: a report has none. */
#include "core/report.h"
#include "core/utf8.h"
#include <string.h>

/* Text for an attribute or an element. What XML 1.0 can't hold (control characters, U+FFFE, U+FFFF, broken
 * UTF-8) becomes '?'. */
static void escaped(Buffer *out, const char *text) {
    size_t length = strlen(text);
    for (size_t i = 0, n; i < length; i += n) {
        uint32_t c = 0;
        n = printable_length(text + i, length - i);
        if (n) utf8_decode(text + i, n, &c);
        if (!n || c == 0xFFFE || c == 0xFFFF) {
            buffer_char(out, '?');
            if (!n) n = 1;
        } else if (c == '&') {
            buffer_text(out, "&amp;");
        } else if (c == '<') {
            buffer_text(out, "&lt;");
        } else if (c == '>') {
            buffer_text(out, "&gt;");
        } else if (c == '"') {
            buffer_text(out, "&quot;");
        } else {
            buffer_append(out, text + i, n);
        }
    }
}

static void attribute(Buffer *out, const char *name, const char *value) {
    buffer_printf(out, " %s=\"", name);
    escaped(out, value);
    buffer_char(out, '"');
}

/* tests, failures, errors and skipped of one group, or of all (NULL). */
static void counts(const Report *r, const char *group, Buffer *out) {
    size_t tests = 0, failures = 0, skipped = 0;
    for (size_t i = 0; i < r->n_checks; i++) {
        const Check *check = &r->checks[i];
        if (group && strcmp(check->group, group) != 0) continue;
        tests++;
        failures += check->status == CHECK_FAIL;
        skipped += check->status == CHECK_NOT_RUN;
    }
    buffer_printf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"0\" skipped=\"%zu\"", tests, failures,
                  skipped);
}

static void test_case(const Check *check, Buffer *out) {
    buffer_text(out, "    <testcase");
    attribute(out, "classname", check->group);
    attribute(out, "name", check->name);
    if (check->status == CHECK_PASS && !check->detail[0]) {
        buffer_text(out, "/>\n");
        return;
    }
    buffer_text(out, ">\n");
    if (check->status == CHECK_PASS) {
        buffer_text(out, "      <system-out>");
        escaped(out, check->detail);
        buffer_text(out, "</system-out>\n");
    } else {
        buffer_text(out, check->status == CHECK_FAIL ? "      <failure" : "      <skipped");
        attribute(out, "message", check->detail);
        buffer_text(out, "/>\n");
    }
    buffer_text(out, "    </testcase>\n");
}

/* The group that check i is the first of? */
static bool first_of_group(const Report *r, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (!strcmp(r->checks[k].group, r->checks[i].group)) return false;
    return true;
}

void report_junit(const Report *r, Buffer *out) {
    buffer_text(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"recast validate\"");
    counts(r, NULL, out);
    buffer_text(out, ">\n");
    for (size_t i = 0; i < r->n_checks; i++) {
        if (!first_of_group(r, i)) continue;
        const char *group = r->checks[i].group;
        buffer_text(out, "  <testsuite");
        attribute(out, "name", group);
        counts(r, group, out);
        buffer_text(out, ">\n");
        if (r->verdict) {
            buffer_text(out, "    <properties>\n      <property name=\"verdict\"");
            attribute(out, "value", r->verdict);
            buffer_text(out, "/>\n    </properties>\n");
        }
        for (size_t k = i; k < r->n_checks; k++)
            if (!strcmp(r->checks[k].group, group)) test_case(&r->checks[k], out);
        buffer_text(out, "  </testsuite>\n");
    }
    buffer_text(out, "</testsuites>\n");
}
