/* A file appears under its name only when complete; whatever fails, the old one stays as it was. */
#include "core/output.h"
#include "core/process.h"
#include "core/threads.h"
#include "faults.h"
#include "support.h"
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static TempDir dir;
static void setup(void) {
    temp_dir_open(&dir);
    file_put(temp_path(&dir, "old"), "old text");
}
static void teardown(void) {
    faults_clear();
    temp_dir_close(&dir);
}
/* A skipped test doesn't come to its teardown. */
static void skip(const char *why) {
    teardown();
    cr_skip_test("%s", why);
}
TestSuite(core_output, .init = setup, .fini = teardown, .timeout = 20);

static Output *created(const char *name) {
    Output *o;
    Error e = {0};
    cr_assert_eq(output_create(&o, temp_path(&dir, name), NULL, &e), 0, "%s", e.message);
    return o;
}

/* The old file is whole, and nothing is left beside it. */
static void nothing_happened(void) {
    cr_assert(file_is(temp_path(&dir, "old"), "old text"));
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(core_output, a_new_file) {
    Output *o = created("new");
    Error e;
    cr_assert_str_eq(output_path(o), temp_path(&dir, "new"));
    cr_assert_not(path_exists(temp_path(&dir, "new")), "not before it is complete");
    cr_assert_eq(output_write(o, 5, "world", 5, &e), 0);
    cr_assert_eq(output_write(o, 0, "hello", 5, &e), 0);
    cr_assert_eq(output_write(o, 10, NULL, 0, &e), 0);
    char back[10];
    cr_assert_eq(pread(output_fd(o), back, 10, 0), 10);
    cr_assert_eq(memcmp(back, "helloworld", 10), 0);
    cr_assert_eq(output_commit(o, &e), 0);
    cr_assert(file_is(temp_path(&dir, "new"), "helloworld"));
    cr_assert_eq(count_entries(dir.path), 2);
}

Test(core_output, replaces_the_old_file_at_once) {
    Output *o = created("old");
    cr_assert_eq(output_write(o, 0, "new", 3, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "old"), "old text"));
    cr_assert_eq(output_commit(o, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "old"), "new"));
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(core_output, discard) {
    Output *o = created("old");
    cr_assert_eq(output_write(o, 0, "new", 3, NULL), 0);
    output_discard(o);
    output_discard(NULL);
    nothing_happened();
}

Test(core_output, mode_follows_the_umask) {
    static const mode_t masks[] = {022, 077, 002};
    for (size_t i = 0; i < 3; i++) {
        umask(masks[i]);
        struct stat s;
        cr_assert_eq(output_file(temp_path(&dir, "new"), "x", 1, NULL, NULL), 0);
        cr_assert_eq(stat(temp_path(&dir, "new"), &s), 0);
        cr_assert_eq(s.st_mode & 07777, 0666 & ~masks[i]);
    }
    umask(022);
}

Test(core_output, names_in_the_working_directory) {
    cr_assert_eq(chdir(dir.path), 0);
    cr_assert_eq(output_file("plain", "x", 1, NULL, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "plain"), "x"));
    char longest[NAME_MAX + 2];
    memset(longest, 'n', NAME_MAX + 1);
    longest[NAME_MAX + 1] = '\0';
    Error e;
    cr_assert_eq(output_file(longest, "x", 1, NULL, &e), ERR_IO, "too long is an error at once");
    cr_assert_eq(e.sys, ENAMETOOLONG);
    longest[NAME_MAX] = '\0';
    cr_assert_eq(output_file(longest, "x", 1, NULL, NULL), 0, "the temporary's name is cut");
    cr_assert_eq(chdir("/"), 0);
}

/* ---- what can't be created ---- */

Test(core_output, places_that_are_refused) {
    Output *o;
    Error e;
    cr_assert_eq(output_create(&o, temp_path(&dir, "none/x"), NULL, &e), ERR_IO);
    cr_assert_null(o);
    cr_assert_eq(e.sys, ENOENT);
    cr_assert_not_null(strstr(e.message, "/none: No such file"), "%s", e.message);
    cr_assert_eq(output_create(&o, temp_path(&dir, "old/x"), NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOTDIR);
    cr_assert_eq(output_create(&o, dir.path, NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, EISDIR);
    cr_assert_eq(output_create(&o, temp_path(&dir, "x/"), NULL, &e), ERR_IO);
    cr_assert_eq(output_create(&o, "", NULL, &e), ERR_IO);
    cr_assert_eq(output_create(&o, "..", NULL, &e), ERR_IO);
    cr_assert_null(o);
    nothing_happened();
}

/* A rename onto /dev/null would remove the device. */
Test(core_output, devices_and_pipes_are_not_replaced) {
    Output *o;
    Error e;
    cr_assert_eq(mkfifo(temp_path(&dir, "fifo"), 0600), 0);
    cr_assert_eq(output_create(&o, temp_path(&dir, "fifo"), NULL, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "pipe or a device"), "%s", e.message);
    cr_assert_eq(symlink("/dev/null", temp_path(&dir, "null")), 0);
    cr_assert_eq(output_create(&o, temp_path(&dir, "null"), NULL, &e), ERR_IO);
}

Test(core_output, unwritable_directory) {
    if (geteuid() == 0 && (setegid(65534) != 0 || chmod(dir.path, 0555) != 0 || seteuid(65534) != 0)) {
        skip("cannot become an ordinary user");
    }
    chmod(dir.path, 0555);
    Output *o;
    Error e;
    cr_assert_eq(output_create(&o, temp_path(&dir, "x"), NULL, &e), ERR_IO);
    cr_assert_eq(e.sys, EACCES);
    cr_assert_eq(seteuid(getuid()), 0);
    chmod(dir.path, 0755);
    nothing_happened();
}

/* ---- links ---- */

Test(core_output, a_link_is_replaced_and_not_followed) {
    cr_assert_eq(symlink("old", temp_path(&dir, "link")), 0);
    cr_assert_eq(output_file(temp_path(&dir, "link"), "new", 3, NULL, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "old"), "old text"));
    cr_assert(file_is(temp_path(&dir, "link"), "new"));
}

/* Somebody guessed the temporary's name and laid a link to our file there. */
Test(core_output, a_link_under_the_temporary_name_is_not_followed) {
    cr_assert_eq(symlink("old", temp_path(&dir, ".new.0000000000000000.tmp")), 0);
    faults.same_random = true;
    Output *o = created("new");
    cr_assert_eq(output_write(o, 0, "evil", 4, NULL), 0);
    cr_assert_eq(output_commit(o, NULL), 0);
    cr_assert_not(faults.same_random, "the guessed name was tried");
    cr_assert(file_is(temp_path(&dir, "old"), "old text"));
    cr_assert(file_is(temp_path(&dir, "new"), "evil"));
}

/* ---- failing steps ---- */

static int commit_with(const char *call, int nth, int sys, Error *e) {
    Output *o = created("old");
    cr_assert_eq(output_write(o, 0, "new", 3, NULL), 0);
    fault_set(call, nth, sys);
    int code = output_commit(o, e);
    cr_assert_geq(faults.one.seen, nth);
    fault_set(NULL, 0, 0);
    return code;
}

Test(core_output, a_failed_commit_leaves_the_old_file) {
    Error e;
    cr_assert_eq(commit_with("fsync", 1, EIO, &e), ERR_IO);
    cr_assert_eq(e.sys, EIO);
    cr_assert_not_null(strstr(e.message, "/old to disk: Input/output error"), "%s", e.message);
    nothing_happened();
    cr_assert_eq(commit_with("renameat", 1, EACCES, &e), ERR_IO);
    cr_assert_eq(e.sys, EACCES);
    nothing_happened();
}

Test(core_output, flushing_the_directory) {
    Error e;
    cr_assert_eq(commit_with("fsync", 2, EIO, &e), ERR_IO);
    cr_assert_not_null(strstr(e.message, "is in place, but"), "%s", e.message);
    cr_assert(file_is(temp_path(&dir, "old"), "new"));
    cr_assert_eq(commit_with("fsync", 2, EINVAL, &e), 0, "file systems that can't are no error");
    cr_assert_eq(commit_with("fsync", 1, EINTR, &e), 0);
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(core_output, a_failed_write_says_where) {
    Output *o = created("old");
    Error e;
    fault_set("pwrite", 1, ENOSPC);
    cr_assert_eq(output_write(o, 1000, "new", 3, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOSPC);
    cr_assert(e.has_offset && e.offset == 1000);
    cr_assert_not_null(strstr(e.message, "/old at byte 1000 ("), "%s", e.message);
    cr_assert_not_null(strstr(e.message, " bytes are free there): No space left on device"), "%s", e.message);
    output_discard(o);
    fault_set("pwrite", 1, EIO);
    cr_assert_eq(output_file(temp_path(&dir, "old"), "new", 3, NULL, &e), ERR_IO);
    nothing_happened();
}

Test(core_output, offsets_beyond_any_file) {
    Output *o = created("old");
    Error e;
    cr_assert_eq(output_write(o, UINT64_MAX, "new", 3, &e), ERR_IO);
    cr_assert_eq(output_write(o, INT64_MAX, "new", 3, &e), ERR_IO);
    cr_assert_eq(e.sys, EFBIG);
    cr_assert_eq(output_reserve(o, UINT64_MAX, &e), ERR_LIMIT);
    output_discard(o);
    nothing_happened();
}

Test(core_output, interruptions_and_short_writes) {
    Output *o = created("new");
    faults.pieces = true;
    cr_assert_eq(output_write(o, 0, "0123456789abcdef", 16, NULL), 0);
    faults.pieces = false;
    cr_assert_eq(output_commit(o, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "new"), "0123456789abcdef"));
}

/* ---- full disks ---- */

Test(core_output, reserve) {
    Output *o = created("new");
    Error e;
    cr_assert_eq(output_reserve(o, 0, &e), 0);
    cr_assert_eq(output_reserve(o, 100000, &e), 0);
    fault_set("fallocate", 1, EOPNOTSUPP);
    cr_assert_eq(output_reserve(o, 100000, &e), 0, "file systems that can't reserve are no error");
    fault_set("fallocate", 1, EINTR);
    cr_assert_eq(output_reserve(o, 100000, &e), 0);
    fault_set("fallocate", 1, ENOSPC);
    cr_assert_eq(output_reserve(o, 123456789, &e), ERR_IO);
    cr_assert_eq(e.sys, ENOSPC);
    cr_assert_not_null(strstr(e.message, "123456789 bytes are needed, "), "%s", e.message);
    cr_assert_not_null(strstr(e.message, " are free there"), "%s", e.message);
    cr_assert_eq(output_write(o, 0, "abc", 3, &e), 0);
    cr_assert_eq(output_commit(o, &e), 0);
    cr_assert(file_is(temp_path(&dir, "new"), "abc"), "a reservation doesn't make the file longer");
}

Test(core_output, a_limit_on_file_size) {
    process_catch_signals(); /* SIGXFSZ would end the program */
    struct rlimit limit = {65536, 65536};
    Output *o = created("old");
    static char piece[65536];
    Error e;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(output_write(o, 1000, piece, sizeof piece, &e), ERR_IO);
    cr_assert_eq(e.sys, EFBIG);
    cr_assert_eq(e.offset, 65536, "what fitted was written");
    cr_assert_not_null(strstr(e.message, "ulimit -f"), "%s", e.message);
    output_discard(o);
    nothing_happened();
}

static bool write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    if (!f) return false;
    bool ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok;
}

/* A file system of 1 MiB, in a mount namespace of this process alone; false where that isn't allowed. */
static bool mount_small_disk(const char *path) {
    char uids[32], gids[32]; /* outside: this user; inside: root */
    snprintf(uids, sizeof uids, "0 %u 1", geteuid());
    snprintf(gids, sizeof gids, "0 %u 1", getegid());
    bool allowed = unshare(CLONE_NEWNS) == 0 ||
                   (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_text("/proc/self/setgroups", "deny") &&
                    write_text("/proc/self/uid_map", uids) && write_text("/proc/self/gid_map", gids));
    if (!allowed) return false;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    return mkdir(path, 0755) == 0 && mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0;
}

enum { FULL_DISK_OK, FULL_DISK_FAILED, FULL_DISK_SKIPPED };

#define EXPECT(condition) \
    if (!(condition)) return fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition), FULL_DISK_FAILED

static int fill_small_disk(void) {
    if (!mount_small_disk(temp_path(&dir, "disk"))) return FULL_DISK_SKIPPED;
    unsigned long left = (1ul << 20) - (unsigned long)sysconf(_SC_PAGESIZE); /* one page holds the old text */
    char expected[80];
    snprintf(expected, sizeof expected, "2097152 bytes are needed, %lu are free", left);

    static char piece[1 << 19];
    Output *o;
    Error e = {0};
    EXPECT(output_file(temp_path(&dir, "disk/old"), "old text", 8, NULL, &e) == 0);
    EXPECT(output_create(&o, temp_path(&dir, "disk/old"), NULL, &e) == 0);
    EXPECT(output_reserve(o, 1 << 21, &e) == ERR_IO && e.sys == ENOSPC);
    EXPECT(strstr(e.message, expected));
    EXPECT(output_reserve(o, 1 << 19, &e) == 0);
    EXPECT(output_write(o, 0, piece, sizeof piece, &e) == 0);
    EXPECT(output_write(o, 1 << 19, piece, sizeof piece, &e) == ERR_IO && e.sys == ENOSPC);
    EXPECT(e.offset == left);
    EXPECT(strstr(e.message, "(0 bytes are free there)"));
    output_discard(o);
    EXPECT(file_is(temp_path(&dir, "disk/old"), "old text"));
    EXPECT(count_entries(temp_path(&dir, "disk")) == 1);
    return FULL_DISK_OK;
}

/* In a child: a process with threads, as Criterion's are, can't enter a user namespace. The disk goes with
 * it. */
Test(core_output, a_disk_that_is_really_full) {
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        _exit(fill_small_disk());
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == FULL_DISK_SKIPPED) skip("mounting is not allowed here");
    cr_assert_eq(WEXITSTATUS(status), FULL_DISK_OK);
}

/* ---- threads and memory ---- */

static int write_piece(void *context, size_t index, unsigned thread, Error *err) {
    (void)thread;
    char piece[100];
    memset(piece, 'a' + (int)(index % 26), sizeof piece);
    return output_write(context, index * sizeof piece, piece, sizeof piece, err);
}

Test(core_output, several_threads) {
    Output *o = created("new");
    cr_assert_eq(threads_run(4, 500, (ThreadWork){write_piece, o}, NULL), 0);
    char *expected = malloc(50001);
    for (int i = 0; i < 50000; i++) expected[i] = (char)('a' + i / 100 % 26);
    expected[50000] = '\0';
    cr_assert_eq(output_commit(o, NULL), 0);
    cr_assert(file_is(temp_path(&dir, "new"), expected));
    free(expected);
}

Test(core_output, every_allocation_may_fail) {
    FailingAllocator f;
    failing_init(&f, 0);
    cr_assert_eq(output_file(temp_path(&dir, "old"), "new", 3, &f.allocator, NULL), ERR_MEMORY);
    nothing_happened();
    f.left = 1;
    cr_assert_eq(output_file(temp_path(&dir, "old"), "new", 3, &f.allocator, NULL), 0);
    cr_assert_eq(f.live, 0);
}
