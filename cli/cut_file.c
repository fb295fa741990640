/* cut_file.c -- see cut_file.h. Only what POSIX allows in a handler is called: open, read, write, pause,
 * _exit. To go on with zeros in the page's place would be possible, and wrong: a hash of them might be
 * recorded. */
#include "cli/cut_file.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
    STATUS = 3,          /* bad input or I/O, as main returns it */
    LONGEST = 4096 + 128 /* a line of /proc/self/maps */
};

typedef struct Line {
    char text[LONGEST + 128];
    size_t length;
} Line;

/* Bytes of the control character that text begins with; 0 if it begins with none. Those of C1 are C2 80 to
 * C2 9F in UTF-8. */
static size_t control_length(const char *text) {
    unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    if (first < ' ' || first == 0x7F) return 1;
    return first == 0xC2 && second >= 0x80 && second <= 0x9F ? 2 : 0;
}

/* Control characters of a name must not drive the terminal. */
static void append(Line *to, const char *text) {
    while (*text && to->length < sizeof to->text) {
        size_t control = control_length(text);
        to->text[to->length++] = control ? '?' : *text;
        text += control ? control : 1;
    }
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint64_t read_hex(const char **text) {
    uint64_t n = 0;
    for (int digit; (digit = hex_digit(**text)) >= 0; (*text)++) n = n << 4 | (uint64_t)digit;
    return n;
}

/* The path in "begin-end rw-p offset device inode   /path" if that mapping holds the address. */
static const char *path_at(const char *line, uint64_t address) {
    const char *at = line, *path = strchr(line, '/');
    uint64_t begin = read_hex(&at);
    return path && *at++ == '-' && address >= begin && address < read_hex(&at) ? path : NULL;
}

static void append_path(Line *to, uint64_t address) {
    char line[LONGEST];
    size_t n = 0;
    const char *path = NULL;
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (char c; fd >= 0 && !path && read(fd, &c, 1) == 1;) {
        if (c != '\n' && n + 1 < sizeof line) line[n++] = c;
        if (c != '\n') continue;
        line[n] = 0;
        path = path_at(line, address);
        n = 0;
    }
    append(to, path ? path : "a mapped file");
}

static void on_fault(int number, siginfo_t *info, void *context) {
    static atomic_flag said = ATOMIC_FLAG_INIT;
    Line line = {.length = 0};
    (void)number;
    (void)context;
    while (atomic_flag_test_and_set(&said)) pause(); /* several threads read: the first tells, and ends all */
    append(&line, "recast: ");
    append_path(&line, (uint64_t)(uintptr_t)info->si_addr);
    append(&line, " was cut while it was read, or its disk failed: nothing was made from it");
    if (line.length == sizeof line.text) line.length--;
    line.text[line.length++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line.text, line.length);
    (void)ignored;
    _exit(STATUS);
}

void catch_cut_files(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}
