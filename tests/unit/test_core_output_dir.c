/* A directory appears only when complete; whatever fails, the old one stays as it was. Also mkdir -p. */
#include "core/output.h"
#include "faults.h"
#include "support.h"

static TempDir dir;
static void setup(void) {
    temp_dir_open(&dir);
    cr_assert_eq(mkdir(temp_path(&dir, "old"), 0755), 0);
    cr_assert_eq(mkdir(temp_path(&dir, "old/sub"), 0755), 0);
    file_put(temp_path(&dir, "old/sub/x"), "old text");
}
static void teardown(void) {
    faults_clear();
    temp_dir_close(&dir);
}
TestSuite(core_output_dir, .init = setup, .fini = teardown, .timeout = 20);

static OutputDir *created(const char *name, bool replace) {
    OutputDir *d;
    Error e = {0};
    char path[PATH_MAX * 2];
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, name), replace, NULL, &e), 0, "%s", e.message);
    snprintf(path, sizeof path, "%s/new", output_dir_staging(d));
    cr_assert_eq(output_file(path, "new text", 8, NULL, NULL), 0);
    return d;
}

static void nothing_happened(void) {
    cr_assert(file_is(temp_path(&dir, "old/sub/x"), "old text"));
    cr_assert_eq(count_entries(temp_path(&dir, "old")), 1);
    cr_assert_eq(count_entries(dir.path), 1);
}

static void replaced(void) {
    cr_assert(file_is(temp_path(&dir, "old/new"), "new text"));
    cr_assert_eq(count_entries(temp_path(&dir, "old")), 1);
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(core_output_dir, a_new_directory) {
    OutputDir *d = created("fresh///", false);
    cr_assert_str_eq(output_dir_path(d), temp_path(&dir, "fresh"));
    cr_assert_not(path_exists(temp_path(&dir, "fresh")));
    cr_assert_eq(output_dir_commit(d, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "fresh/new"), "new text"));
    cr_assert_eq(count_entries(dir.path), 2);
    struct stat s;
    cr_assert_eq(stat(temp_path(&dir, "fresh"), &s), 0);
    mode_t mask = umask(0);
    cr_assert_eq(s.st_mode & 07777, 0777 & ~mask);
}

Test(core_output_dir, a_name_in_the_working_directory) {
    cr_assert_eq(chdir(dir.path), 0);
    OutputDir *d;
    cr_assert_eq(output_dir_create(&d, "fresh", false, NULL, NULL), 0);
    cr_assert_eq(strchr(output_dir_staging(d), '/'), NULL);
    cr_assert_eq(output_dir_commit(d, NULL), 0);
    cr_assert_eq(count_entries(temp_path(&dir, "fresh")), 0);
    cr_assert_eq(chdir("/"), 0);
}

Test(core_output_dir, an_empty_directory_is_filled) {
    cr_assert_eq(mkdir(temp_path(&dir, "empty"), 0755), 0);
    cr_assert_eq(output_dir_commit(created("empty", false), NULL), 0);
    cr_assert(file_is(temp_path(&dir, "empty/new"), "new text"));
    cr_assert_eq(count_entries(dir.path), 2);
}

Test(core_output_dir, what_exists_is_refused) {
    OutputDir *d;
    Error e;
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "old"), false, NULL, &e), ERR_IO);
    cr_assert_null(d);
    cr_assert_eq(e.sys, ENOTEMPTY);
    cr_assert_not_null(strstr(e.message, "choose another name"), "%s", e.message);
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "old/sub/x"), true, NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOTDIR);
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "none/new"), true, NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOENT);
    static const char *const nameless[] = {"", "/", ".", "..", "old/.", "old/../"};
    for (size_t i = 0; i < 6; i++) cr_assert_eq(output_dir_create(&d, nameless[i], true, NULL, &e), ERR_IO);
    nothing_happened();
    cr_assert_eq(symlink("old", temp_path(&dir, "link")), 0);
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "link"), true, NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "symbolic link"), "%s", e.message);
}

Test(core_output_dir, replace) {
    OutputDir *d = created("old", true);
    cr_assert(file_is(temp_path(&dir, "old/sub/x"), "old text"));
    cr_assert_eq(output_dir_commit(d, NULL), 0);
    replaced();
}

Test(core_output_dir, replace_where_names_can_not_be_exchanged) {
    OutputDir *d = created("old", true);
    fault_set("renameat2", 0, EINVAL);
    cr_assert_eq(output_dir_commit(d, NULL), 0);
    cr_assert_eq(faults.one.seen, 1);
    replaced();
}

/* The directory was empty or absent at first, and somebody filled it meanwhile. */
Test(core_output_dir, what_appeared_meanwhile_stays) {
    OutputDir *d = created("fresh", false);
    cr_assert_eq(mkdir(temp_path(&dir, "fresh"), 0755), 0);
    file_put(temp_path(&dir, "fresh/theirs"), "their text");
    Error e;
    cr_assert_eq(output_dir_commit(d, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOTEMPTY);
    cr_assert(file_is(temp_path(&dir, "fresh/theirs"), "their text"));
    cr_assert_eq(count_entries(dir.path), 2);
}

Test(core_output_dir, any_step_may_fail) {
    static const struct {
        const char *call;
        int nth;
    } steps[] = {{"fsync", 1}, {"renameat", 1}, {"renameat2", 1}};
    for (size_t i = 0; i < 3; i++) {
        OutputDir *d = created("old", true);
        Error e;
        fault_set(steps[i].call, steps[i].nth, EIO);
        cr_assert_eq(output_dir_commit(d, &e), ERR_IO, "%s", steps[i].call);
        cr_assert_eq(e.sys, EIO);
        cr_assert_eq(faults.one.seen, steps[i].nth);
        fault_set(NULL, 0, 0);
        nothing_happened();
    }
}

/* In two steps, the second rename is the one that may leave no directory at all: it is undone. The first call
 * of renameat is the attempt to replace an empty directory. */
Test(core_output_dir, any_of_the_two_steps_may_fail) {
    for (int nth = 2; nth <= 3; nth++) {
        OutputDir *d = created("old", true);
        faults_clear();
        fault_set("renameat", nth, EIO);
        faults.other = (Fault){"renameat2", 0, EINVAL, 0};
        cr_assert_eq(output_dir_commit(d, NULL), ERR_IO);
        cr_assert_geq(faults.one.seen, nth);
        faults_clear();
        nothing_happened();
    }
}

Test(core_output_dir, flushing_the_parent) {
    OutputDir *d = created("old", true);
    Error e;
    fault_set("fsync", 2, EIO);
    cr_assert_eq(output_dir_commit(d, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "is in place, but"), "%s", e.message);
    replaced();
}

Test(core_output_dir, an_old_directory_that_can_not_be_removed) {
    OutputDir *d = created("old", true);
    Error e;
    fault_set("unlinkat", 1, EACCES);
    cr_assert_eq(output_dir_commit(d, &e), ERR_IO);
    cr_assert_eq(e.sys, EACCES);
    cr_assert_not_null(strstr(e.message, "is left as "), "%s", e.message);
    const char *left = strstr(e.message, dir.path); /* the new one; the second is what is left */
    left = strstr(left + 1, dir.path);
    cr_assert(file_is(temp_path(&dir, "old/new"), "new text"));
    cr_assert_eq(count_entries(dir.path), 2);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%.*s/sub/x", (int)strcspn(left, ":"), left);
    cr_assert(file_is(path, "old text"), "%s", path);
}

/* Removing the old directory, or a staging directory, must not reach through links. */
Test(core_output_dir, links_are_removed_and_not_followed) {
    cr_assert_eq(mkdir(temp_path(&dir, "outside"), 0755), 0);
    file_put(temp_path(&dir, "outside/precious"), "x");
    cr_assert_eq(symlink("../outside", temp_path(&dir, "old/link")), 0);
    cr_assert_eq(symlink("../../outside/precious", temp_path(&dir, "old/sub/link")), 0);
    cr_assert_eq(output_dir_commit(created("old", true), NULL), 0);
    cr_assert(file_is(temp_path(&dir, "outside/precious"), "x"));

    OutputDir *d = created("fresh", false);
    char path[PATH_MAX * 2];
    snprintf(path, sizeof path, "%s/link", output_dir_staging(d));
    cr_assert_eq(symlink("../outside", path), 0);
    output_dir_discard(d);
    cr_assert(file_is(temp_path(&dir, "outside/precious"), "x"));
    cr_assert_eq(count_entries(dir.path), 2);
}

Test(core_output_dir, discard_removes_everything) {
    OutputDir *d = created("fresh", false);
    char path[PATH_MAX * 2];
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "%s/a/b/%d", output_dir_staging(d), i);
        cr_assert_eq(make_directories(path, NULL), 0);
    }
    output_dir_discard(d);
    output_dir_discard(NULL);
    nothing_happened();
}

Test(core_output_dir, every_allocation_may_fail) {
    FailingAllocator f;
    OutputDir *d;
    failing_init(&f, 0);
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "fresh"), false, &f.allocator, NULL), ERR_MEMORY);
    cr_assert_null(d);
    nothing_happened();
    f.left = 1;
    cr_assert_eq(output_dir_create(&d, temp_path(&dir, "fresh"), false, &f.allocator, NULL), 0);
    output_dir_discard(d);
    cr_assert_eq(f.live, 0);
}

/* ---- make_directories ---- */

Test(core_output_dir, make_directories) {
    Error e;
    cr_assert_eq(make_directories(temp_path(&dir, "a//b/c/"), &e), 0);
    cr_assert_eq(count_entries(temp_path(&dir, "a/b/c")), 0);
    cr_assert_eq(make_directories(temp_path(&dir, "a/b/c"), &e), 0, "what is there is fine");
    cr_assert_eq(make_directories("/", &e), 0);
    cr_assert_eq(make_directories("", &e), ERR_IO);
    cr_assert_eq(make_directories(temp_path(&dir, "old/sub/x/y"), &e), ERR_IO);
    cr_assert_eq(e.sys, ENOTDIR);
    cr_assert_not_null(strstr(e.message, "old/sub/x: Not a directory"), "%s", e.message);
    cr_assert_eq(symlink("b", temp_path(&dir, "a/link")), 0);
    cr_assert_eq(make_directories(temp_path(&dir, "a/link/d"), &e), 0);
    cr_assert(path_exists(temp_path(&dir, "a/b/d")));
    cr_assert_eq(chdir(temp_path(&dir, "a")), 0);
    cr_assert_eq(make_directories("relative/path", &e), 0);
    cr_assert(path_exists(temp_path(&dir, "a/relative/path")));
    cr_assert_eq(chdir("/"), 0);
}

/* ---- directories that survive the process ---- */

static OutputDir *taken_up(const char *name) {
    OutputDir *d;
    Error e = {0};
    cr_assert_eq(output_dir_resume(&d, temp_path(&dir, name), false, "0123abcd", NULL, &e), 0, "%s",
                 e.message);
    return d;
}

static void put_in(const OutputDir *d, const char *name, const char *text) {
    char path[PATH_MAX * 2];
    snprintf(path, sizeof path, "%s/%s", output_dir_staging(d), name);
    file_put(path, text);
}

Test(core_output_dir, unfinished_files_are_taken_up_and_finished_ones_made_again) {
    OutputDir *d = taken_up("fresh");
    put_in(d, ".x.1234.partial", "half");
    put_in(d, ".x.1234.journal", "how far");
    put_in(d, "x", "a file that was complete");
    output_dir_keep(d);
    cr_assert(file_is(temp_path(&dir, ".fresh.0123abcd.partial/.x.1234.partial"), "half"));
    d = taken_up("fresh");
    cr_assert(file_is(temp_path(&dir, ".fresh.0123abcd.partial/.x.1234.journal"), "how far"));
    cr_assert_not(path_exists(temp_path(&dir, ".fresh.0123abcd.partial/x")));
    put_in(d, "x", "new");
    cr_assert_eq(output_dir_commit(d, NULL), 0);
    cr_assert_eq(count_entries(temp_path(&dir, "fresh")), 1, "what is unfinished is not delivered");
    cr_assert(file_is(temp_path(&dir, "fresh/x"), "new"));
    cr_assert_eq(count_entries(dir.path), 2);
}

Test(core_output_dir, without_a_journal_nothing_is_kept) {
    OutputDir *d = taken_up("fresh");
    put_in(d, ".x.1234.partial", "half");
    output_dir_keep(d);
    nothing_happened();
    output_dir_keep(NULL);
}

Test(core_output_dir, one_process_at_a_time) {
    OutputDir *d = taken_up("fresh"), *other;
    Error e = {0};
    cr_assert_eq(output_dir_resume(&other, temp_path(&dir, "fresh"), false, "0123abcd", NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "by another process"), "%s", e.message);
    cr_assert_eq(output_dir_resume(&other, temp_path(&dir, "fresh"), false, "4567", NULL, &e), 0,
                 "another work");
    output_dir_discard(other);
    output_dir_discard(d);
    nothing_happened();
}

Test(core_output_dir, something_else_under_the_name) {
    OutputDir *d;
    Error e = {0};
    cr_assert_eq(symlink("old", temp_path(&dir, ".fresh.0123abcd.partial")), 0);
    cr_assert_eq(output_dir_resume(&d, temp_path(&dir, "fresh"), false, "0123abcd", NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "not ours"), "%s", e.message);
    cr_assert(file_is(temp_path(&dir, "old/sub/x"), "old text"));
    cr_assert_eq(output_dir_resume(&d, temp_path(&dir, "fresh"), false, "no key", NULL, &e), ERR_IO);
}
