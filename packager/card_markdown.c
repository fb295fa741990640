/* card_markdown.c -- see card_markdown.h. CommonMark 0.31 (2.4, 6.1) and GitHub's tables. */
#include "packager/card_markdown.h"
#include <inttypes.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD";

static bool is_control(char c) {
    return (unsigned char)c < 0x20 || c == 0x7F;
}

static const char *entity(char c) {
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

void markdown_text(Buffer *out, const char *text) {
    for (; *text; text++) {
        if (entity(*text))
            buffer_text(out, entity(*text));
        else if (is_control(*text))
            buffer_text(out, replacement);
        else {
            if (strchr("\\`*_{}[]()#+-.!|~$", *text)) buffer_char(out, '\\');
            buffer_char(out, *text);
        }
    }
}

static size_t longest_ticks(const char *text) {
    size_t longest = 0, run = 0;
    for (; *text; text++) {
        run = *text == '`' ? run + 1 : 0;
        if (run > longest) longest = run;
    }
    return longest;
}

static void ticks(Buffer *out, size_t n) {
    for (size_t i = 0; i < n; i++) buffer_char(out, '`');
}

/* A blank beside a backtick at the ends is taken off again by whoever reads it. */
static void code_span(Buffer *out, const char *text, bool in_table) {
    size_t n = longest_ticks(text) + 1, length = strlen(text);
    bool pad = length && (text[0] == '`' || text[length - 1] == '`');
    ticks(out, n);
    if (pad || !length) buffer_char(out, ' ');
    for (; *text; text++) {
        if (is_control(*text)) {
            buffer_text(out, replacement);
            continue;
        }
        if (*text == '|' && in_table) buffer_char(out, '\\');
        buffer_char(out, *text);
    }
    if (pad) buffer_char(out, ' ');
    ticks(out, n);
}

void markdown_code(Buffer *out, const char *text) {
    code_span(out, text, false);
}

void markdown_cell(Buffer *out, const char *text) {
    code_span(out, text, true);
}

void markdown_fenced(Buffer *out, const char *text) {
    size_t n = longest_ticks(text) < 3 ? 3 : longest_ticks(text) + 1, length = strlen(text);
    ticks(out, n);
    buffer_text(out, "text\n");
    for (const char *p = text; *p; p++) {
        if (is_control(*p) && *p != '\n' && *p != '\t')
            buffer_text(out, replacement);
        else
            buffer_char(out, *p);
    }
    if (length && text[length - 1] != '\n') buffer_char(out, '\n');
    ticks(out, n);
    buffer_text(out, "\n\n");
}

static void hundredths(Buffer *out, uint64_t n, uint64_t unit, const char *name) {
    uint64_t h = n / unit * 100 + (n % unit + unit / 200) / (unit / 100);
    buffer_printf(out, "%" PRIu64 ".%02" PRIu64 " %s", h / 100, h % 100, name);
}

void markdown_count(Buffer *out, uint64_t n) {
    if (n < 1000000)
        buffer_printf(out, "%" PRIu64, n);
    else
        hundredths(out, n, n >= 1000000000 ? 1000000000 : 1000000, n >= 1000000000 ? "billion" : "million");
}

void markdown_bytes(Buffer *out, uint64_t n) {
    if (n < 1000)
        buffer_printf(out, "%" PRIu64 " bytes", n);
    else
        hundredths(out, n,
                   n >= 1000000000 ? 1000000000
                   : n >= 1000000  ? 1000000
                                   : 1000,
                   n >= 1000000000 ? "GB"
                   : n >= 1000000  ? "MB"
                                   : "kB");
}
