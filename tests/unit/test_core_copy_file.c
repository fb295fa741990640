/* Copies: by every way the same bytes, or nothing at all. */
#include "core/output.h"
#include "core/process.h"
#include "faults.h"
#include "support.h"
#include <signal.h>
#include <sys/resource.h>

enum { SIZE = (2 << 20) + 12345 }; /* three pieces of read and write */

static TempDir dir;
static char *text;
static void setup(void) {
    temp_dir_open(&dir);
    text = malloc(SIZE + 1);
    for (int i = 0; i < SIZE; i++) text[i] = (char)('a' + i % 26 + i / 4096 % 3);
    text[SIZE] = '\0';
    file_put(temp_path(&dir, "from"), text);
}
static void teardown(void) {
    faults_clear();
    temp_dir_close(&dir);
    free(text);
}
TestSuite(core_copy_file, .init = setup, .fini = teardown, .timeout = 20);

static int copy(bool link, Error *e) {
    return copy_file(temp_path(&dir, "from"), temp_path(&dir, "to"), link, e);
}

static void is_copied(void) {
    struct stat from, to;
    cr_assert(file_is(temp_path(&dir, "from"), text));
    cr_assert(file_is(temp_path(&dir, "to"), text));
    cr_assert_eq(stat(temp_path(&dir, "from"), &from), 0);
    cr_assert_eq(stat(temp_path(&dir, "to"), &to), 0);
    cr_assert_neq(from.st_ino, to.st_ino);
    cr_assert_eq(count_entries(dir.path), 2);
}

static void nothing_happened(void) {
    cr_assert(file_is(temp_path(&dir, "from"), text));
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(core_copy_file, as_the_file_system_likes) {
    umask(022);
    cr_assert_eq(chmod(temp_path(&dir, "from"), 0700), 0);
    cr_assert_eq(copy(false, NULL), 0);
    is_copied();
    struct stat s;
    cr_assert_eq(stat(temp_path(&dir, "to"), &s), 0);
    cr_assert_eq(s.st_mode & 07777, 0644);
}

/* A file that was shared, copied or written by an Output: the same mode. */
Test(core_copy_file, mode_as_an_output) {
    struct stat copied, written;
    umask(002);
    cr_assert_eq(copy(false, NULL), 0);
    cr_assert_eq(stat(temp_path(&dir, "to"), &copied), 0);
    cr_assert_eq(output_file(temp_path(&dir, "written"), "x", 1, NULL, NULL), 0);
    cr_assert_eq(stat(temp_path(&dir, "written"), &written), 0);
    cr_assert_eq(copied.st_mode, written.st_mode);
}

Test(core_copy_file, inside_the_kernel) {
    faults.no_clone = true;
    fault_set("pread", 1, EIO); /* not needed */
    cr_assert_eq(copy(false, NULL), 0);
    fault_set(NULL, 0, 0);
    is_copied();
}

static void no_shortcut(int nth) {
    faults_clear();
    faults.no_clone = true;
    faults.other = (Fault){"copy_file_range", nth, EXDEV, 0};
}

Test(core_copy_file, by_read_and_write) {
    no_shortcut(0);
    cr_assert_eq(copy(false, NULL), 0);
    cr_assert_eq(faults.other.seen, 1);
    is_copied();
}

/* The kernel copies 3 bytes, and then says that it can't: the rest goes on from there, 3 bytes a step. */
Test(core_copy_file, from_where_the_kernel_stopped) {
    text[1000] = '\0';
    file_put(temp_path(&dir, "from"), text);
    no_shortcut(3);
    faults.pieces = true;
    cr_assert_eq(copy(false, NULL), 0);
    cr_assert_eq(faults.other.seen, 3);
    is_copied();
}

Test(core_copy_file, empty) {
    text[0] = '\0';
    file_put(temp_path(&dir, "from"), "");
    cr_assert_eq(copy(false, NULL), 0);
    is_copied();
}

Test(core_copy_file, link) {
    struct stat s;
    cr_assert_eq(copy(true, NULL), 0);
    cr_assert_eq(stat(temp_path(&dir, "to"), &s), 0);
    cr_assert_eq(s.st_nlink, 2);
    cr_assert(file_is(temp_path(&dir, "to"), text));
}

Test(core_copy_file, link_across_file_systems) {
    fault_set("linkat", 1, EXDEV);
    cr_assert_eq(copy(true, NULL), 0);
    is_copied();
}

/* The Hugging Face cache: the snapshot is a link to a blob. */
Test(core_copy_file, source_behind_a_link) {
    struct stat from, to;
    cr_assert_eq(symlink("from", temp_path(&dir, "snapshot")), 0);
    cr_assert_eq(copy_file(temp_path(&dir, "snapshot"), temp_path(&dir, "linked"), true, NULL), 0);
    cr_assert_eq(copy_file(temp_path(&dir, "snapshot"), temp_path(&dir, "copied"), false, NULL), 0);
    cr_assert_eq(lstat(temp_path(&dir, "linked"), &to), 0);
    cr_assert_eq(stat(temp_path(&dir, "from"), &from), 0);
    cr_assert_eq(to.st_ino, from.st_ino);
    cr_assert_eq(lstat(temp_path(&dir, "copied"), &to), 0);
    cr_assert(S_ISREG(to.st_mode));
    cr_assert(file_is(temp_path(&dir, "copied"), text));
}

Test(core_copy_file, an_existing_target_is_not_touched) {
    Error e;
    file_put(temp_path(&dir, "to"), "mine");
    for (int link = 0; link < 2; link++) {
        cr_assert_eq(copy(link, &e), ERR_IO);
        cr_assert_eq(e.sys, EEXIST);
        cr_assert(file_is(temp_path(&dir, "to"), "mine"));
    }
    cr_assert_eq(unlink(temp_path(&dir, "to")), 0);
    cr_assert_eq(symlink("nowhere", temp_path(&dir, "to")), 0);
    cr_assert_eq(copy(false, &e), ERR_IO, "nor a link followed");
    cr_assert_not(path_exists(temp_path(&dir, "nowhere")));
}

Test(core_copy_file, sources_and_targets_that_are_refused) {
    Error e;
    cr_assert_eq(copy_file(temp_path(&dir, "none"), temp_path(&dir, "to"), false, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOENT);
    cr_assert_eq(copy_file(dir.path, temp_path(&dir, "to"), true, &e), ERR_IO);
    cr_assert_eq(copy_file("/dev/zero", temp_path(&dir, "to"), true, &e), ERR_IO);
    cr_assert_eq(copy_file(temp_path(&dir, "from"), temp_path(&dir, "none/to"), false, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOENT);
    cr_assert_eq(copy_file(temp_path(&dir, "from"), temp_path(&dir, "to/"), false, &e), ERR_IO);
    nothing_happened();
    cr_assert_eq(mkfifo(temp_path(&dir, "fifo"), 0600), 0);
    cr_assert_eq(copy_file(temp_path(&dir, "fifo"), temp_path(&dir, "to"), false, &e), ERR_IO,
                 "and no waiting");
}

Test(core_copy_file, a_failed_copy_leaves_nothing) {
    static const Fault steps[] = {
        {"fsync", 1, EIO, 0}, {"fsync", 2, EIO, 0}, {"copy_file_range", 1, ENOSPC, 0}};
    for (size_t i = 0; i < 3; i++) {
        Error e;
        faults_clear();
        faults.one = steps[i];
        faults.no_clone = true;
        cr_assert_eq(copy(false, &e), ERR_IO);
        cr_assert_eq(e.sys, steps[i].sys);
        faults_clear();
        nothing_happened();
    }
}

Test(core_copy_file, a_failed_read_or_write_leaves_nothing) {
    static const Fault steps[] = {{"pread", 2, EIO, 0}, {"pwrite", 3, ENOSPC, 0}};
    for (size_t i = 0; i < 2; i++) {
        Error e;
        no_shortcut(0);
        faults.one = steps[i];
        cr_assert_eq(copy(false, &e), ERR_IO);
        cr_assert_eq(e.sys, steps[i].sys);
        faults_clear();
        nothing_happened();
    }
}

Test(core_copy_file, a_limit_on_file_size) {
    process_catch_signals();
    struct rlimit limit = {65536, 65536};
    Error e;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int nth = 0; nth < 2; nth++) {
        no_shortcut(nth);
        if (nth) faults.other.call = NULL;
        cr_assert_eq(copy(false, &e), ERR_IO);
        cr_assert_eq(e.sys, EFBIG);
        nothing_happened();
    }
}

Test(core_copy_file, an_interrupted_copy_leaves_nothing) {
    signal(SIGINT, SIG_DFL); /* whatever the shell that started us had it set to */
    process_catch_signals();
    raise(SIGINT);
    for (int nth = 0; nth < 2; nth++) {
        no_shortcut(nth);
        if (nth) faults.other.call = NULL;
        cr_assert_eq(copy(false, NULL), ERR_INTERRUPTED);
        nothing_happened();
    }
}

/* Sharing moves no byte: it is done, or nothing is there. */
Test(core_copy_file, sharing) {
    bool done;
    struct stat from, to;
    const char *source = temp_path(&dir, "from"), *target = temp_path(&dir, "to");
    faults.no_clone = true;
    cr_assert_eq(share_file(&done, source, target, false, NULL), 0);
    cr_assert_not(done);
    nothing_happened();
    faults_clear();
    cr_assert_eq(share_file(&done, source, target, false, NULL), 0);
    if (done) { /* btrfs, XFS */
        is_copied();
        cr_assert_eq(unlink(target), 0);
    } else {
        nothing_happened();
    }
    cr_assert_eq(share_file(&done, source, target, true, NULL), 0);
    cr_assert(done);
    cr_assert_eq(stat(source, &from), 0);
    cr_assert_eq(stat(target, &to), 0);
    cr_assert_eq(from.st_ino, to.st_ino);
    for (int link = 0; link < 2; link++) {
        cr_assert_eq(share_file(&done, source, target, link, NULL), ERR_IO);
        cr_assert_not(done);
    }
    cr_assert_eq(count_entries(dir.path), 2);
}
