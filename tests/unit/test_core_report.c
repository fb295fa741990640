/* A report as a value, as text and as JSON. */
#include "core/report.h"
#include "support.h"

static Report *sample(void) {
    Report *r;
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    report_add(r, "structure", CHECK_PASS, "header", "%d tensors", 42);
    report_add(r, "hashes", CHECK_FAIL, "weights digest", "expected %s", "be97\x1B[m");
    report_add(r, "quality", CHECK_NOT_RUN, "d\xC3\xA9j\xC3\xA0 vu", NULL);
    r->verdict = "failed";
    return r;
}

Test(core_report, text) {
    Report *r = sample();
    Buffer b;
    buffer_init(&b, NULL);
    report_text(r, &b);
    cr_assert_str_eq(buffer_string(&b), "pass     structure  header          42 tensors\n"
                                        "fail     hashes     weights digest  expected be97?[m\n"
                                        "not run  quality    d\xC3\xA9j\xC3\xA0 vu\n"
                                        "verdict: failed\n");
    buffer_free(&b);
    report_close(r);
}

Test(core_report, json) {
    Report *r = sample();
    cJSON *json;
    cr_assert_eq(report_json(r, &json, NULL), 0);
    char *text = cJSON_PrintUnformatted(json);
    cr_assert_str_eq(
        text, "{\"verdict\":\"failed\",\"checks\":["
              "{\"group\":\"structure\",\"name\":\"header\",\"status\":\"pass\",\"detail\":\"42 tensors\"},"
              "{\"group\":\"hashes\",\"name\":\"weights digest\",\"status\":\"fail\",\"detail\":"
              "\"expected be97\\u001b[m\"},"
              "{\"group\":\"quality\",\"name\":\"d\xC3\xA9j\xC3\xA0 vu\",\"status\":\"not "
              "run\",\"detail\":\"\"}]}");
    cJSON_free(text);
    cJSON_Delete(json);
    report_close(r);
}

Test(core_report, empty) {
    Report *r;
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    Buffer b;
    buffer_init(&b, NULL);
    report_text(r, &b);
    cr_assert_str_eq(buffer_string(&b), "");
    cJSON *json;
    cr_assert_eq(report_json(r, &json, NULL), 0);
    char *text = cJSON_PrintUnformatted(json);
    cr_assert_str_eq(text, "{\"verdict\":null,\"checks\":[]}");
    cJSON_free(text);
    cJSON_Delete(json);
    buffer_free(&b);
    report_close(r);
    report_close(NULL);
}

Test(core_report, groups_and_counts) {
    Report *r;
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    cr_assert_eq(report_group(r, "hashes"), CHECK_NOT_RUN, "no check shows nothing");
    report_add(r, "hashes", CHECK_PASS, "a", "x");
    report_add(r, "source", CHECK_PASS, "a", "x");
    report_add(r, "source", CHECK_NOT_RUN, "b", "x");
    cr_assert_eq(report_group(r, "hashes"), CHECK_PASS);
    cr_assert_eq(report_group(r, "source"), CHECK_NOT_RUN, "one that was not run is not a pass");
    report_add(r, "source", CHECK_FAIL, "c", "x");
    report_add(r, "source", CHECK_PASS, "d", "x");
    cr_assert_eq(report_group(r, "source"), CHECK_FAIL);
    cr_assert_eq(report_count(r, CHECK_PASS), 3);
    cr_assert_eq(report_count(r, CHECK_FAIL), 1);
    cr_assert_eq(report_count(r, CHECK_NOT_RUN), 1);
    cr_assert_eq(report_ok(r, NULL), 0);
    report_close(r);
}

Test(core_report, many_checks_and_borrowed_texts) {
    Report *r;
    char name[32];
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "check %d", i);
        report_add(r, "g", CHECK_PASS, name, "%d", i);
    }
    memset(name, 0, sizeof name);
    cr_assert_eq(r->n_checks, 1000);
    cr_assert_str_eq(r->checks[0].name, "check 0");
    cr_assert_str_eq(r->checks[999].name, "check 999");
    cr_assert_str_eq(r->checks[999].detail, "999");
    report_close(r);
}

Test(core_report, every_allocation_may_fail) {
    for (size_t n = 0;; n++) {
        FailingAllocator f;
        failing_init(&f, n);
        Report *r;
        if (report_open(&r, &f.allocator, NULL) == 0) {
            for (int i = 0; i < 300; i++) report_add(r, "group", CHECK_PASS, "name", "detail %d", i);
            cr_assert_eq(report_ok(r, NULL), f.failed ? ERR_MEMORY : 0);
            report_close(r);
        }
        cr_assert_eq(f.live, 0);
        if (!f.failed) {
            cr_assert_gt(n, 3);
            break;
        }
    }
}
