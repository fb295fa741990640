/* progress_line.c -- see progress_line.h. */
#include "cli/progress_line.h"
#include "core/json.h"
#include "core/process.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct Report {
    double share;   /* 0 .. 1 */
    double rate;    /* bytes (or steps) a second */
    double left;    /* seconds */
    double elapsed; /* seconds */
    uint64_t done, total;
} Report;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool progress_line_init(ProgressLine *line, const char *form, bool quiet) {
    static const char *const forms[] = {"line", "json", "none"};
    memset(line, 0, sizeof *line);
    line->quiet = quiet;
    line->form = quiet || !isatty(STDERR_FILENO) ? PROGRESS_NONE : PROGRESS_LINE;
    if (!form || !strcmp(form, forms[0])) return true;
    line->form = !strcmp(form, forms[1]) ? PROGRESS_JSON : PROGRESS_NONE;
    return line->form == PROGRESS_JSON || !strcmp(form, forms[2]);
}

static void print_line(const ProgressLine *line, const Report *r) {
    fprintf(stderr, "%s  %3.0f %%  %.2f GB/s  %.0f s left%s%.40s", line->phase, 100 * r->share, r->rate / 1e9,
            r->left, line->item[0] ? "  " : "", line->item);
}

static void print_json(const ProgressLine *line, const Report *r) {
    Buffer text;
    buffer_init(&text, NULL);
    buffer_text(&text, "{\"phase\":");
    json_write_string(&text, line->phase);
    buffer_text(&text, ",\"item\":");
    json_write_string(&text, line->item);
    buffer_printf(&text, ",\"done\":%llu,\"total\":%llu,\"elapsed\":%.3f,\"rate\":%.0f,\"left\":%.1f}\n",
                  (unsigned long long)r->done, (unsigned long long)r->total, r->elapsed, r->rate, r->left);
    fputs(buffer_string(&text), stderr);
    buffer_free(&text);
}

static Report measure(ProgressLine *line, const char *phase, uint64_t done, uint64_t total, double t) {
    if (strcmp(line->phase, phase)) {
        snprintf(line->phase, sizeof line->phase, "%s", phase);
        line->item[0] = '\0';
        line->started = t;
        line->drawn = 0;
    }
    Report r = {.done = done, .total = total, .elapsed = t - line->started, .share = 1};
    if (total) r.share = (double)done / (double)total;
    if (r.elapsed > 0) r.rate = (double)done / r.elapsed;
    if (r.rate > 0) r.left = (double)(total - done) / r.rate;
    return r;
}

static int update(void *context, const char *phase, uint64_t done, uint64_t total) {
    ProgressLine *line = context;
    double t = now();
    Report r = measure(line, phase, done, total, t);
    if (process_asked() && !line->quiet) {
        progress_line_end(line);
        print_line(line, &r);
        fputc('\n', stderr);
    }
    if (line->form == PROGRESS_NONE || (t - line->drawn < 0.1 && done < total)) return 0;
    line->drawn = t;
    if (line->form == PROGRESS_JSON) {
        print_json(line, &r);
        return 0;
    }
    fputs("\r\033[K", stderr);
    print_line(line, &r);
    fflush(stderr);
    line->shown = true;
    return 0;
}

/* Names come from files: what would drive a terminal is made visible. */
static void item(void *context, const char *name) {
    ProgressLine *line = context;
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof line->item; n++) {
        unsigned char c = (unsigned char)name[n];
        line->item[n] = c < 0x20 || c >= 0x7f ? '?' : (char)c;
    }
    line->item[n] = '\0';
}

Progress progress_line_progress(ProgressLine *line) {
    return (Progress){.update = update, .context = line, .item = item};
}

void progress_line_end(ProgressLine *line) {
    if (line->shown) fprintf(stderr, "\r\033[K");
    line->shown = false;
}
