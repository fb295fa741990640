/* A mapped file that is cut under several threads: one line that names it, and the status of an I/O error. */
#include "cli/cut_file.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 8, PAGE = 4096, RUNS = 20, ROOM = 1 << 16 };

typedef struct Reader {
    const volatile char *page;
    atomic_bool *go;
    pthread_t thread;
} Reader;

static void *read_page(void *context) {
    Reader *r = context;
    while (!atomic_load(r->go)) {
    }
    (void)*r->page;
    return NULL;
}

/* Does not come back. */
static void read_cut(const char *path) {
    atomic_bool go = false;
    Reader readers[READERS];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, READERS * PAGE)) _exit(10);
    const char *map = mmap(NULL, READERS * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) _exit(11);
    catch_cut_files();
    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (Reader){.page = map + i * PAGE, .go = &go};
        if (pthread_create(&readers[i].thread, NULL, read_page, &readers[i])) _exit(12);
    }
    if (ftruncate(fd, 0)) _exit(13);
    atomic_store(&go, true);
    for (size_t i = 0; i < READERS; i++) pthread_join(readers[i].thread, NULL);
    _exit(14);
}

/* What a process that reads such a file says; the exit status. */
static int listen_to(char *said, size_t size, const char *path) {
    int ends[2], status;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (!child) {
        dup2(ends[1], STDERR_FILENO);
        read_cut(path);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < size && (got = read(ends[0], said + n, size - 1 - n)) > 0;) n += (size_t)got;
    said[n] = 0;
    close(ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(cli_cut_file, one_line_of_many_threads) {
    char path[] = "/tmp/recast-cut-XXXXXX", said[ROOM], expected[256];
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    snprintf(expected, sizeof expected,
             "recast: %s was cut while it was read, or its disk failed: nothing was made from it\n", path);
    for (int i = 0; i < RUNS; i++) {
        cr_assert_eq(listen_to(said, sizeof said, path), 3);
        cr_expect_str_eq(said, expected);
    }
    unlink(path);
}

/* Letters beyond ASCII are letters; what would drive a terminal is not shown. */
Test(cli_cut_file, names) {
    char directory[] = "/tmp/recast-cut-XXXXXX", path[128], said[ROOM];
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/\303\244\033[1m\302\233\346\250\241", directory);
    cr_assert_eq(listen_to(said, sizeof said, path), 3);
    cr_expect_not_null(strstr(said, "/\303\244?[1m?\346\250\241 was cut"), "%s", said);
    unlink(path);
    rmdir(directory);
}
