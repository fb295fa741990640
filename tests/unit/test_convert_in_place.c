/* Edits in the file itself: the right bytes and no others, and whatever fails or dies on the way, the file is
 * the old one or the new one after the next look. */
#include "convert/edit.h"
#include "convert/gguf_plan.h"
#include "convert/in_place.h"
#include "convert/undo.h"
#include "core/output.h"
#include "core/sha256.h"
#include "faults.h"
#include "model/gguf.h"
#include "support.h"
#include <sys/wait.h>

/* ---- a file of 8 keys and one tensor of 32 bytes, of an architecture that nobody knows ---- */

static TempDir dir;
static const char *path;
static char *old_bytes, *new_bytes;
static size_t size;

static char *read_all(const char *from, size_t *length) {
    struct stat s;
    int fd = open(from, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &s) == 0, "%s", from);
    *length = (size_t)s.st_size;
    char *bytes = malloc(*length + 1);
    cr_assert_eq(syscall(SYS_pread64, fd, bytes, *length, 0), (long)*length);
    close(fd);
    return bytes;
}

static void write_all(const char *to, const char *bytes, size_t length) {
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_geq(fd, 0, "%s", to);
    cr_assert_eq(syscall(SYS_pwrite64, fd, bytes, length, 0), (long)length);
    close(fd);
}

static void set_keys(Metadata *m) {
    static const char *const tags[] = {"one", "", "three"};
    cr_assert_eq(metadata_set_string(m, "general.architecture", "other", NULL), 0);
    cr_assert_eq(metadata_set_string(m, "general.name", "a name", NULL), 0);
    cr_assert_eq(metadata_set_strings(m, "general.tags", tags, 3, NULL), 0);
    cr_assert_eq(metadata_set_u32(m, "other.context_length", 40960, NULL), 0);
    cr_assert_eq(metadata_set_f32(m, "other.rope.freq_base", 10000, NULL), 0);
    cr_assert_eq(metadata_set(m, "other.u16", (GgufValue){.type = GGUF_U16, .u = 7}, NULL), 0);
    cr_assert_eq(metadata_set_u32(m, "recast.derivation", 1, NULL), 0);
    cr_assert_eq(metadata_set_bool(m, "recast.edited", false, NULL), 0);
}

static void make_file(void) {
    Arena *arena;
    Metadata *m;
    GgufPlan *plan;
    Tensor tensor = {.name = "w", .type = DT_F32, .stored = DT_F32, .n_dims = 1, .dims = {8, 1, 1, 1}};
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_open(&m, arena, NULL), 0);
    set_keys(m);
    Model model = {.form = FORM_GGUF, .path = "a test", .n_tensors = 1, .tensors = &tensor, .metadata = m};
    cr_assert_eq(gguf_plan_open(&plan, &model, NULL, NULL, NULL), 0);
    size = (size_t)plan->file_size;
    old_bytes = malloc(size);
    memcpy(old_bytes, plan->header.data, plan->header.length);
    memset(old_bytes + plan->header.length, 0x55, size - plan->header.length);
    gguf_plan_close(plan);
    arena_close(arena);
    write_all(path, old_bytes, size);
}

static char *place_of(char *bytes, const char *key) {
    char *at = memmem(bytes, size, key, strlen(key));
    cr_assert_not_null(at);
    return at + strlen(key) + 4; /* behind the type */
}

/* What context_length=131072, freq_base=5e6, name="b value" of the same length and edited=true must give. */
static void make_new(void) {
    new_bytes = malloc(size);
    memcpy(new_bytes, old_bytes, size);
    memcpy(place_of(new_bytes, "other.context_length"), "\x00\x00\x02\x00", 4);
    memcpy(place_of(new_bytes, "other.rope.freq_base"), "\x80\x96\x98\x4A", 4);
    memcpy(place_of(new_bytes, "general.name") + 8, "B NAME", 6);
    *place_of(new_bytes, "recast.edited") = 1;
}

static void setup(void) {
    temp_dir_open(&dir);
    path = strdup(temp_path(&dir, "x.gguf"));
    make_file();
    make_new();
}

static void teardown(void) {
    faults_clear();
    free(old_bytes);
    free(new_bytes);
    free((char *)path);
    temp_dir_close(&dir);
}

TestSuite(convert_in_place, .init = setup, .fini = teardown);

/* ---- edits ---- */

typedef struct Edit {
    const char *sets[5], *unset;
} Edit;
static const Edit usual = {{"other.context_length=131072", "other.rope.freq_base=5e6", "general.name=B NAME"},
                           NULL};

static int edit(const char *file, const Edit *what, size_t *n, bool *restored, Error *err) {
    InPlace *e;
    Arena *arena;
    Metadata *m;
    TRY(in_place_open(&e, file, NULL, err));
    if (restored) *restored = in_place_restored(e);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_copy(&m, in_place_metadata(e), arena, NULL), 0);
    for (int i = 0; what->sets[i]; i++) cr_assert_eq(edit_set(m, what->sets[i], err), 0, "%s", err->message);
    if (what->unset) cr_assert_eq(edit_unset(m, what->unset, err), 0, "%s", err->message);
    cr_assert_eq(edit_finish(m, NULL), 0);
    int code = in_place_commit(e, m, n, err);
    arena_close(arena);
    in_place_close(e);
    return code;
}

static bool is(const char *bytes) {
    size_t length;
    char *now = read_all(path, &length);
    bool same = length == size && memcmp(now, bytes, size) == 0;
    free(now);
    return same;
}

static int look(bool *restored, Error *err) {
    InPlace *e;
    TRY(in_place_open(&e, path, NULL, err));
    *restored = in_place_restored(e);
    in_place_close(e);
    return 0;
}

Test(convert_in_place, changes_the_values_and_no_other_byte) {
    size_t n;
    bool restored, cut;
    Error err = {0};
    cr_assert_eq(edit(path, &usual, &n, &restored, &err), 0, "%s", err.message);
    cr_assert_eq(n, 4);
    cr_assert(is(new_bytes));
    cr_assert_not(restored);
    cr_assert_eq(count_entries(dir.path), 1);
    cr_assert_eq(in_place_interrupted(&cut, path, &err), 0);
    cr_assert_not(cut);
    /* Again: nothing is left to be done. */
    fault_set("pwrite", 0, EIO);
    cr_assert_eq(edit(path, &usual, &n, &restored, &err), 0, "%s", err.message);
    cr_assert_eq(n, 0);
}

Test(convert_in_place, keys_before_and_behind_arrays) {
    static const Edit one = {{"other.u16=65535"}, NULL};
    size_t n;
    Error err = {0};
    memcpy(new_bytes, old_bytes, size);
    memcpy(place_of(new_bytes, "other.u16"), "\xFF\xFF", 2);
    *place_of(new_bytes, "recast.edited") = 1;
    cr_assert_eq(edit(path, &one, &n, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(n, 2);
    cr_assert(is(new_bytes));
}

/* To a reader every bool byte but 0 is true. */
Test(convert_in_place, an_odd_bool_stays_or_becomes_a_proper_one) {
    static const Edit one = {{"other.u16=8"}, NULL};
    size_t n;
    Error err = {0};
    *place_of(old_bytes, "recast.edited") = 7;
    write_all(path, old_bytes, size);
    cr_assert_eq(edit(path, &one, &n, NULL, &err), 0, "%s", err.message);
    cr_assert_eq(n, 1);
    *place_of(old_bytes, "other.u16") = 8;
    cr_assert(is(old_bytes));
}

static void refused(const Edit *what, const char *part) {
    size_t n;
    Error err = {0};
    cr_assert_eq(edit(path, what, &n, NULL, &err), ERR_UNSUPPORTED, "%s", err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "-o OUT.gguf"), "%s", err.message);
    cr_assert(is(old_bytes));
    cr_assert_eq(count_entries(dir.path), 1);
}

Test(convert_in_place, what_would_move_the_data_is_refused) {
    refused(&(Edit){{"general.name=longer than that"}, NULL}, "string of 6 bytes and would get one of 16");
    refused(&(Edit){{"general.name="}, NULL}, "would get one of 0");
    refused(&(Edit){{"other.new=u32:5"}, NULL}, "other.new would be new");
    refused(&(Edit){{NULL}, "other.u16"}, "other.u16 would go");
    refused(&(Edit){{"other.u16=u32:5"}, NULL}, "other.u16 would get another type");
    refused(&(Edit){{"other.context_length=f32:5"}, NULL}, "would get another type");
}

/* ---- files that are not touched ---- */

static void not_this(const char *file, int code, const char *part) {
    size_t n;
    Error err = {0};
    cr_assert_eq(edit(file, &usual, &n, NULL, &err), code, "%s", err.message);
    cr_assert_not_null(strstr(err.message, part), "%s", err.message);
    cr_assert(is(old_bytes));
}

Test(convert_in_place, links_and_read_only_files_are_refused) {
    char *other = strdup(temp_path(&dir, "other.gguf"));
    cr_assert_eq(symlink("x.gguf", other), 0);
    not_this(other, ERR_IO, "symbolic link");
    unlink(other);
    cr_assert_eq(link(path, other), 0);
    not_this(path, ERR_IO, "other hard links");
    unlink(other);
    cr_assert_eq(chmod(path, 0444), 0);
    not_this(path, ERR_IO, geteuid() ? "can't be edited in place" : "read-only");
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(mkdir(other, 0700), 0);
    not_this(other, ERR_IO, "cannot open");
    rmdir(other);
    cr_assert_eq(mkfifo(other, 0600), 0);
    not_this(other, ERR_IO, "no regular file");
    unlink(other);
    not_this(other, ERR_IO, "cannot open");
    free(other);
}

Test(convert_in_place, another_editor_waits_outside) {
    InPlace *first;
    Error err = {0};
    cr_assert_eq(in_place_open(&first, path, NULL, &err), 0, "%s", err.message);
    not_this(path, ERR_IO, "another edit is at work");
    in_place_close(first);
    size_t n;
    cr_assert_eq(edit(path, &usual, &n, NULL, &err), 0, "%s", err.message);
}

static int change_between(void (*change)(void), Error *err) {
    InPlace *e;
    Arena *arena;
    Metadata *m;
    size_t n;
    cr_assert_eq(in_place_open(&e, path, NULL, err), 0, "%s", err->message);
    cr_assert_eq(arena_open(&arena, NULL, NULL), 0);
    cr_assert_eq(metadata_copy(&m, in_place_metadata(e), arena, NULL), 0);
    cr_assert_eq(edit_set(m, "other.u16=9", NULL), 0);
    usleep(20000); /* a file's times have the grain of the kernel's tick */
    change();
    int code = in_place_commit(e, m, &n, err);
    arena_close(arena);
    in_place_close(e);
    return code;
}

static void same_bytes_again(void) {
    write_all(path, old_bytes, size);
}
static void another_file(void) {
    const char *other = temp_path(&dir, "other.gguf");
    write_all(other, new_bytes, size);
    cr_assert_eq(rename(other, path), 0);
}
static void another_value(void) {
    struct stat s;
    cr_assert_eq(stat(path, &s), 0);
    *place_of(old_bytes, "other.u16") = 3;
    write_all(path, old_bytes, size);
    /* even if nobody can see it from the time */
    cr_assert_eq(utimensat(AT_FDCWD, path, (struct timespec[]){s.st_atim, s.st_mtim}, 0), 0);
}
static void linked(void) {
    cr_assert_eq(link(path, temp_path(&dir, "other.gguf")), 0);
}

Test(convert_in_place, a_file_that_changes_meanwhile_is_left_alone) {
    Error err = {0};
    cr_assert_eq(change_between(same_bytes_again, &err), ERR_CHECK, "%s", err.message);
    cr_assert(is(old_bytes));
    cr_assert_eq(change_between(another_value, &err), ERR_CHECK, "%s", err.message);
    cr_assert(is(old_bytes));
    cr_assert_eq(change_between(linked, &err), ERR_IO, "%s", err.message);
    cr_assert(is(old_bytes));
    unlink(temp_path(&dir, "other.gguf"));
    cr_assert_eq(change_between(another_file, &err), ERR_CHECK, "%s", err.message);
    cr_assert(is(new_bytes));
}

/* ---- failures ---- */

/* Whatever happened: the next look finds the old or the new file, and nothing else lies about. */
static void settle(const char *what, int nth, bool done) {
    bool restored, cut;
    Error err = {0};
    faults_clear();
    cr_assert_eq(in_place_interrupted(&cut, path, &err), 0, "%s", err.message);
    cr_assert_eq(look(&restored, &err), 0, "%s %d: %s", what, nth, err.message);
    cr_assert_eq(restored, cut, "%s %d", what, nth);
    cr_assert(is(old_bytes) || is(new_bytes), "%s %d: mixed", what, nth);
    cr_assert(!done || is(new_bytes), "%s %d: said to be done", what, nth);
    cr_assert_eq(in_place_interrupted(&cut, path, &err), 0);
    cr_assert_not(cut, "%s %d", what, nth);
    write_all(path, old_bytes, size);
}

static const char *const calls[] = {"pwrite", "fsync", "renameat", "unlinkat", "pread"};
enum { N_CALLS = sizeof calls / sizeof *calls };

/* How often an edit that goes well makes a call. */
static int count_calls(const char *call, bool pieces) {
    size_t n;
    Error err = {0};
    faults_clear();
    faults.pieces = pieces;
    fault_set(call, INT_MAX, EIO);
    cr_assert_eq(edit(path, &usual, &n, NULL, &err), 0, "%s", err.message);
    int seen = faults.one.seen;
    settle(call, 0, true);
    return seen;
}

/* The first call to try: in pieces, the long record is most of them, and the file itself comes last. */
static int first_call(int count, bool pieces) {
    return pieces && count > 32 ? count - 32 : 1;
}

/* Each call fails, one a time; `also` fails always, or NULL. */
static void fail_each(const char *call, const char *also, bool pieces) {
    int count = count_calls(call, pieces);
    for (int nth = first_call(count, pieces); nth <= count; nth++) {
        size_t n;
        Error err = {0};
        faults_clear();
        faults.pieces = pieces;
        fault_set(call, nth, EIO);
        if (also) faults.other = (Fault){also, 0, EROFS, 0};
        int code = edit(path, &usual, &n, NULL, &err);
        cr_assert_geq(faults.one.seen, nth);
        cr_assert(!code || err.message[0]);
        if (code && !also && !strcmp(call, "pwrite")) cr_assert(is(old_bytes), "%d: %s", nth, err.message);
        settle(call, nth, code == 0);
    }
}

Test(convert_in_place, every_call_may_fail) {
    for (int i = 0; i < N_CALLS; i++) fail_each(calls[i], NULL, false);
    fail_each("pwrite", NULL, true);
    fail_each("pwrite", "unlinkat", true);
}

/* From the n-th write on nothing can be written: the record must stay, and serve the next look. */
Test(convert_in_place, a_disk_that_fails_for_good) {
    for (int nth = 2; nth < 6; nth++) {
        size_t n;
        bool cut;
        Error err = {0};
        fault_set("pwrite", nth, EIO);
        faults.other = (Fault){"pwrite", nth + 1, EIO, 0};
        cr_assert_eq(edit(path, &usual, &n, NULL, &err), ERR_IO);
        faults_clear();
        cr_assert_not_null(strstr(err.message, "run recast edit --in-place"), "%s", err.message);
        cr_assert_eq(in_place_interrupted(&cut, path, NULL), 0);
        cr_assert(cut);
        settle("pwrite for good", nth, false);
        cr_assert(is(old_bytes));
    }
}

/* ---- deaths ---- */

static void die_each(const char *call, bool pieces) {
    int count = count_calls(call, pieces);
    for (int nth = first_call(count, pieces); nth <= count; nth++) {
        pid_t child = fork();
        if (child == 0) {
            size_t n;
            faults.pieces = pieces;
            fault_set(call, nth, FAULT_DIES);
            _exit(edit(path, &usual, &n, NULL, NULL) ? 1 : 0);
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == FAULT_STATUS, "%s %d", call, nth);
        settle(call, nth, false);
    }
}

Test(convert_in_place, every_call_may_be_the_last) {
    for (int i = 0; i < N_CALLS; i++) die_each(calls[i], false);
    die_each("pwrite", true);
}

/* The new bytes as a crash may leave them: any of them there, any not. */
Test(convert_in_place, whatever_a_power_cut_wrote_is_taken_back) {
    BytePatch patches[8];
    UndoRecord record = {.size = size, .patches = patches};
    uint64_t random = 88172645463325252u;
    struct stat s;
    cr_assert_eq(stat(path, &s), 0);
    record.inode = (uint64_t)s.st_ino;
    for (size_t i = 0; i < size; i++) {
        if (old_bytes[i] == new_bytes[i]) continue;
        cr_assert_lt(record.n_patches, 8);
        size_t length = 1;
        while (old_bytes[i + length] != new_bytes[i + length]) length++;
        patches[record.n_patches++] =
            (BytePatch){i, (uint32_t)length, (uint8_t *)old_bytes + i, (uint8_t *)new_bytes + i};
        i += length;
    }
    for (int round = 0; round < 50; round++) {
        bool restored = false;
        Error err = {0};
        char *mixed = malloc(size);
        for (size_t i = 0; i < size; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17; /* xorshift64 */
            mixed[i] = random & 1 ? old_bytes[i] : new_bytes[i];
        }
        write_all(path, mixed, size);
        cr_assert_eq(undo_write(path, &record, &err), 0, "%s", err.message);
        cr_assert_eq(look(&restored, &err), 0, "%s", err.message);
        cr_assert(restored && is(old_bytes));
        free(mixed);
    }
    cr_assert_eq(count_entries(dir.path), 1);
}

/* ---- records that are no use ---- */

static void useless(const char *what, int code, const char *part) {
    bool restored, cut;
    Error err = {0};
    cr_assert_eq(look(&restored, &err), code, "%s: %s", what, err.message);
    cr_assert_not_null(strstr(err.message, part), "%s: %s", what, err.message);
    cr_assert_not_null(strstr(err.message, "recast-undo"), "%s: %s", what, err.message);
    cr_assert(is(old_bytes));
    cr_assert_eq(in_place_interrupted(&cut, path, &err), 0);
    cr_assert(cut, "%s", what);
}

Test(convert_in_place, a_record_of_another_file_is_left_alone) {
    struct stat s;
    cr_assert_eq(stat(path, &s), 0);
    BytePatch patch = {40, 1, (uint8_t *)old_bytes + 40, (const uint8_t *)"\x99"};
    UndoRecord record = {(uint64_t)s.st_ino + 1, size, 1, &patch};
    cr_assert_eq(undo_write(path, &record, NULL), 0);
    useless("inode", ERR_CHECK, "inode");
    record = (UndoRecord){(uint64_t)s.st_ino, size + 1, 1, &patch};
    cr_assert_eq(undo_write(path, &record, NULL), 0);
    useless("size", ERR_CHECK, "size");
    record.size = size;
    patch.before = (const uint8_t *)"\x98";
    cr_assert_eq(undo_write(path, &record, NULL), 0);
    useless("bytes", ERR_CHECK, "neither the old nor the new");
}

/* Any byte of a record that is wrong, and any length. */
Test(convert_in_place, a_damaged_record_is_left_alone) {
    struct stat s;
    size_t length;
    char *name = strdup(temp_path(&dir, ".x.gguf.recast-undo"));
    cr_assert_eq(stat(path, &s), 0);
    BytePatch patch = {40, 1, (uint8_t *)old_bytes + 40, (const uint8_t *)"\x99"};
    UndoRecord record = {(uint64_t)s.st_ino, size, 1, &patch};
    cr_assert_eq(undo_write(path, &record, NULL), 0);
    char *bytes = read_all(name, &length);
    cr_assert_eq(length, 16 + 24 + 12 + 2 + 64);
    for (size_t i = 0; i < length; i++) {
        bytes[i] ^= 1;
        write_all(name, bytes, length);
        useless("a bit", ERR_FORMAT, "recast-undo is");
        bytes[i] ^= 1;
        write_all(name, bytes, i);
        useless("cut", ERR_FORMAT, "recast-undo is");
    }
    unlink(name);
    write_all(temp_path(&dir, "elsewhere"), bytes, length);
    cr_assert_eq(symlink("elsewhere", name), 0);
    useless("a link", ERR_FORMAT, "symbolic link");
    free(bytes);
    free(name);
}

/* A record whose hash is right, made by somebody who means harm. */
static void forged(uint64_t n, uint64_t offset, uint32_t length) {
    Buffer b;
    char hex[SHA256_HEX];
    struct stat s;
    cr_assert_eq(stat(path, &s), 0);
    buffer_init(&b, NULL);
    buffer_append(&b, "RECAST UNDO 1\r\n\x1A", 16);
    buffer_u64(&b, (uint64_t)s.st_ino);
    buffer_u64(&b, size);
    buffer_u64(&b, n);
    buffer_u64(&b, offset);
    buffer_u32(&b, length);
    buffer_append(&b, "abcdefgh", 8);
    cr_assert_eq(sha256_bytes(hex, b.data, b.length, NULL), 0);
    buffer_append(&b, hex, 64);
    write_all(temp_path(&dir, ".x.gguf.recast-undo"), b.data, b.length);
    buffer_free(&b);
    useless("forged", ERR_FORMAT, "is damaged");
}

Test(convert_in_place, a_forged_record_can_do_nothing) {
    forged(UINT64_MAX, 0, 4);
    forged(2, 0, 4);
    forged(0, 0, 4);
    forged(1, 0, 5);
    forged(1, 0, UINT32_MAX);
    forged(1, size - 3, 4);
    forged(1, UINT64_MAX - 1, 4);
}

Test(convert_in_place, a_name_may_be_too_long_for_a_record) {
    char name[250];
    size_t n;
    bool cut;
    Error err = {0};
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    char *longer = strdup(temp_path(&dir, name));
    write_all(longer, old_bytes, size);
    cr_assert_eq(edit(longer, &usual, &n, NULL, &err), ERR_IO);
    cr_assert_not_null(strstr(err.message, "too long"), "%s", err.message);
    cr_assert_eq(in_place_interrupted(&cut, longer, &err), 0);
    cr_assert_not(cut);
    free(longer);
}

Test(convert_in_place, memory_may_run_out) {
    for (size_t left = 0; left < 200; left++) {
        FailingAllocator f;
        InPlace *e;
        failing_init(&f, left);
        int code = in_place_open(&e, path, &f.allocator, NULL);
        cr_assert(code == (f.failed ? ERR_MEMORY : 0));
        in_place_close(e);
        cr_assert_eq(f.live, 0);
        if (!f.failed) return;
    }
    cr_assert_fail("it never had enough");
}
