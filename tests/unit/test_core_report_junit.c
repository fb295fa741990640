/* A report as JUnit XML. */
#include "core/report.h"
#include "support.h"

Test(core_report_junit, suites_cases_and_escapes) {
    Report *r;
    Buffer b;
    buffer_init(&b, NULL);
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    report_add(r, "structure", CHECK_PASS, "header", "%d tensors", 42);
    report_add(r, "hashes", CHECK_FAIL, "a<b> & \"c\"", "expected\n'%s' <", "be97\x1B[m");
    report_add(r, "structure", CHECK_PASS, "quiet", NULL);
    report_add(r, "quality", CHECK_NOT_RUN, "d\xC3\xA9j\xC3\xA0 vu", "no \xEF\xBF\xBF text \xFF.");
    r->verdict = "failed";
    report_junit(r, &b);
    cr_assert_eq(buffer_ok(&b, "xml", NULL), 0);
    cr_assert_str_eq(
        buffer_string(&b),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<testsuites name=\"recast validate\" tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\">\n"
        "  <testsuite name=\"structure\" tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"0\">\n"
        "    <properties>\n      <property name=\"verdict\" value=\"failed\"/>\n    </properties>\n"
        "    <testcase classname=\"structure\" name=\"header\">\n"
        "      <system-out>42 tensors</system-out>\n"
        "    </testcase>\n"
        "    <testcase classname=\"structure\" name=\"quiet\"/>\n"
        "  </testsuite>\n"
        "  <testsuite name=\"hashes\" tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\">\n"
        "    <properties>\n      <property name=\"verdict\" value=\"failed\"/>\n    </properties>\n"
        "    <testcase classname=\"hashes\" name=\"a&lt;b&gt; &amp; &quot;c&quot;\">\n"
        "      <failure message=\"expected?'be97?[m' &lt;\"/>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "  <testsuite name=\"quality\" tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\">\n"
        "    <properties>\n      <property name=\"verdict\" value=\"failed\"/>\n    </properties>\n"
        "    <testcase classname=\"quality\" name=\"d\xC3\xA9j\xC3\xA0 vu\">\n"
        "      <skipped message=\"no ? text ?.\"/>\n"
        "    </testcase>\n"
        "  </testsuite>\n"
        "</testsuites>\n");
    buffer_free(&b);
    report_close(r);
}

Test(core_report_junit, nothing) {
    Report *r;
    Buffer b;
    buffer_init(&b, NULL);
    cr_assert_eq(report_open(&r, NULL, NULL), 0);
    report_junit(r, &b);
    cr_assert_str_eq(buffer_string(&b),
                     "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                     "<testsuites name=\"recast validate\" tests=\"0\" failures=\"0\" errors=\"0\" "
                     "skipped=\"0\">\n</testsuites>\n");
    buffer_free(&b);
    report_close(r);
}
