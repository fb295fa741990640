/* card_template.c -- see card_template.h. A template is gone through line by line; nothing that a placeholder
 * stands for is read as template again. */
#include "packager/card_template.h"
#include "core/json.h"
#include <string.h>
#include <strings.h>

enum { LARGEST_CARD = 10000000, MOST_OPEN = 16, LONGEST_NAME = 40 };

/* ---- lines ---- */

bool card_next_line(CardReader *r) {
    const CardTemplate *t = r->source;
    if (r->at >= t->length) return false;
    const char *begin = t->text + r->at, *end = memchr(begin, '\n', t->length - r->at);
    r->line = begin;
    r->length = end ? (size_t)(end - begin) : t->length - r->at;
    r->at += r->length + (end != NULL);
    r->number++;
    if (r->length && r->line[r->length - 1] == '\r') r->length--;
    return true;
}

/* Without blanks at its ends. */
static CardReader trimmed(const CardReader *r) {
    CardReader l = *r;
    while (l.length && (l.line[0] == ' ' || l.line[0] == '\t')) l.line++, l.length--;
    while (l.length && (l.line[l.length - 1] == ' ' || l.line[l.length - 1] == '\t')) l.length--;
    return l;
}

bool card_line_is(const CardReader *r, const char *word) {
    CardReader l = trimmed(r);
    return l.line == r->line && l.length == strlen(word) && !memcmp(l.line, word, l.length);
}

int card_error_at(const CardReader *r, int code, Error *err) {
    return error_wrap(err, code, "%s:%zu", r->source->name, r->number);
}

/* ---- tags ---- */

typedef struct Tag {
    char kind; /* '#', '^', '/', or 0: the text itself */
    char name[LONGEST_NAME + 1];
    const char *end; /* behind the braces */
} Tag;

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* at: behind the opening braces. */
static int read_tag(Tag *out, const char *at, const char *end, Error *err) {
    size_t n = 0;
    while (at < end && *at == ' ') at++;
    out->kind = at < end && strchr("#^/", *at) && *at ? *at++ : 0;
    while (at < end && *at == ' ') at++;
    while (at < end && is_name(*at) && n < LONGEST_NAME) out->name[n++] = *at++;
    out->name[n] = '\0';
    while (at < end && *at == ' ') at++;
    if (!n || end - at < 2 || memcmp(at, "}}", 2))
        return error_set(err, ERR_RECIPE,
                         "between {{ and }} stands a name of a-z, 0-9 and _, alone or behind #, ^ or /; two "
                         "braces as they are: \\{{");
    out->end = at + 2;
    return 0;
}

static const char *find_braces(const char *at, const char *end) {
    for (; end - at >= 2; at++)
        if (at[0] == '{' && at[1] == '{') return at;
    return NULL;
}

static bool lone_tag(Tag *out, const CardReader *r) {
    CardReader l = trimmed(r);
    if (l.length < 4 || memcmp(l.line, "{{", 2)) return false;
    return !read_tag(out, l.line + 2, l.line + l.length, NULL) && out->end == l.line + l.length;
}

bool card_line_names(const CardReader *r, const char *name) {
    Tag tag;
    return lone_tag(&tag, r) && !tag.kind && !strcmp(tag.name, name);
}

/* ---- HTML blocks that go on over blank lines ---- */

typedef struct HtmlBlock {
    const char *begin, *end;
} HtmlBlock;

static const HtmlBlock html_blocks[] = {{"<pre", "</pre>"},
                                        {"<script", "</script>"},
                                        {"<style", "</style>"},
                                        {"<textarea", "</textarea>"},
                                        {"<!--", "-->"},
                                        {"<![CDATA[", "]]>"},
                                        {"<!", ">"},
                                        {"<?", "?>"}};

static bool contains(const char *text, size_t n, const char *word) {
    size_t length = strlen(word);
    for (; n >= length; text++, n--)
        if (!strncasecmp(text, word, length)) return true;
    return false;
}

static const HtmlBlock *block_begins(const CardReader *r) {
    CardReader l = trimmed(r);
    for (size_t i = 0; i < sizeof html_blocks / sizeof *html_blocks; i++) {
        size_t n = strlen(html_blocks[i].begin);
        if (l.length >= n && !strncasecmp(l.line, html_blocks[i].begin, n)) return &html_blocks[i];
    }
    return NULL;
}

/* ---- code blocks between fences ---- */

typedef struct Fence {
    char mark; /* '`' or '~'; 0: none is open */
    size_t n, indent;
} Fence;

/* The marks that a line begins with, and what stands behind them. */
static Fence marks_of(const CardReader *r, CardReader *rest) {
    *rest = trimmed(r);
    Fence f = {.indent = (size_t)(rest->line - r->line)};
    char c = rest->length ? rest->line[0] : 0;
    while ((c == '`' || c == '~') && rest->length && rest->line[0] == c) f.n++, rest->line++, rest->length--;
    if (f.n >= 3) f.mark = c;
    return f;
}

/* What is open behind the line. One that is indented further than the fence does not end it. */
static Fence fence_behind(const CardReader *r, Fence open) {
    CardReader rest;
    Fence f = marks_of(r, &rest);
    if (!open.mark) return f.mark == '`' && memchr(rest.line, '`', rest.length) ? (Fence){.n = 0} : f;
    bool ends = f.mark == open.mark && f.n >= open.n && !rest.length && f.indent < open.indent + 4;
    return ends ? (Fence){.n = 0} : open;
}

/* ---- expansion ---- */

typedef struct Open {
    const Placeholder *what;
    size_t line;
    bool shown;
} Open;

typedef struct Expansion {
    Buffer *out;
    CardReader *r;
    PlaceholderList known;
    const PackageInputs *in; /* NULL: checked only */
    Open open[MOST_OPEN];
    size_t n_open, begin;  /* begin: bytes that were there before */
    const HtmlBlock *html; /* that the line stands in; NULL: none */
    Fence fence;           /* that is open before the line */
    bool gone;             /* the line before went, and stood behind a blank one */
} Expansion;

static bool is_shown(const Expansion *e) {
    bool shown = e->in != NULL;
    for (size_t i = 0; i < e->n_open; i++) shown = shown && e->open[i].shown;
    return shown;
}

static int find(const Placeholder **out, const Expansion *e, const char *name, Error *err) {
    const char *names[64];
    Buffer list;
    size_t n = e->known.n < 63 ? e->known.n : 63;
    for (size_t i = 0; i < n; i++) {
        *out = &e->known.items[i];
        if (!strcmp((*out)->name, name)) return 0;
        names[i] = (*out)->name;
    }
    names[n] = NULL;
    const char *near = nearest_word(name, names);
    buffer_init(&list, NULL);
    for (size_t i = 0; i < n; i++) buffer_printf(&list, "%s%s", i ? ", " : "", names[i]);
    int code = !strcmp(name, "front_matter")
                   ? error_set(err, ERR_RECIPE,
                               "{{front_matter}} belongs at the top: the first line, or a line of the front "
                               "matter that begins there")
                   : error_set(err, ERR_RECIPE, "{{%s}} is no placeholder%s%s%s; there are front_matter, %s",
                               name, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "",
                               buffer_string(&list));
    buffer_free(&list);
    return code;
}

static bool ends_blank(const Buffer *b) {
    return !b->length || (b->length > 1 && !memcmp(b->data + b->length - 2, "\n\n", 2));
}

static void line_went(Expansion *e) {
    e->gone = ends_blank(e->out);
}

static bool says_something(const Expansion *e, const Placeholder *p) {
    Buffer text;
    buffer_init(&text, NULL);
    if (e->in) p->write(&text, e->in);
    bool something = text.length > 0 || text.failed;
    buffer_free(&text);
    return something;
}

static int open_or_close(Expansion *e, const Tag *tag, const Placeholder *p, Error *err) {
    if (tag->kind == '/') {
        if (!e->n_open || e->open[e->n_open - 1].what != p)
            return error_set(err, ERR_RECIPE, "{{/%s}} ends nothing that is open here", tag->name);
        e->n_open--;
    } else {
        if (e->n_open == MOST_OPEN)
            return error_set(err, ERR_LIMIT, "more than %d conditions inside each other", MOST_OPEN);
        e->open[e->n_open++] = (Open){p, e->r->number, says_something(e, p) == (tag->kind == '#')};
    }
    line_went(e);
    return 0;
}

static int put_section(Expansion *e, const Placeholder *p, Error *err) {
    Buffer text;
    if (!is_shown(e)) return 0;
    buffer_init(&text, NULL);
    p->write(&text, e->in);
    while (text.length && text.data[text.length - 1] == '\n') text.length--;
    if (text.length) {
        if (!ends_blank(e->out)) buffer_char(e->out, '\n');
        buffer_append(e->out, text.data, text.length);
        buffer_char(e->out, '\n');
        e->gone = false;
    } else {
        line_went(e);
    }
    int code = buffer_ok(&text, "the model card", err);
    buffer_free(&text);
    return code;
}

/* What stands alone on its line; *done false: it is a value. */
static int put_lone(Expansion *e, const Tag *tag, bool *done, Error *err) {
    const Placeholder *p;
    TRY(find(&p, e, tag->name, err));
    *done = true;
    if ((tag->kind || p->section) && e->html)
        return error_set(
            err, ERR_RECIPE,
            "{{%.1s%s}} may not stand inside HTML that only %s ends: text of a model would be HTML "
            "there",
            tag->kind ? &tag->kind : "", p->name, e->html->end);
    if ((tag->kind || p->section) && e->fence.mark)
        return error_set(err, ERR_RECIPE,
                         "{{%.1s%s}} may not stand between fences of code (%.3s): text of a model could end "
                         "it and would be HTML behind that",
                         tag->kind ? &tag->kind : "", p->name, e->fence.mark == '`' ? "```" : "~~~");
    if (tag->kind) return open_or_close(e, tag, p, err);
    if (p->section) return put_section(e, p, err);
    *done = is_shown(e) && !says_something(e, p);
    if (*done) line_went(e);
    return 0;
}

static int put_value(Expansion *e, const Tag *tag, Error *err) {
    const Placeholder *p;
    TRY(find(&p, e, tag->name, err));
    if (tag->kind || p->section)
        return error_set(err, ERR_RECIPE, "{{%.1s%s}} must stand alone on its line",
                         tag->kind ? &tag->kind : "", tag->name);
    if (is_shown(e)) p->write(e->out, e->in);
    return 0;
}

static void put_text(const Expansion *e, const char *text, const char *end) {
    if (is_shown(e)) buffer_append(e->out, text, (size_t)(end - text));
}

static int put_line(Expansion *e, Error *err) {
    const char *at = e->r->line, *end = at + e->r->length;
    for (const char *braces; (braces = find_braces(at, end));) {
        bool literal = braces > at && braces[-1] == '\\';
        put_text(e, at, braces - literal);
        at = braces + 2;
        if (literal) {
            put_text(e, braces, at);
            continue;
        }
        Tag tag;
        TRY(read_tag(&tag, at, end, err));
        TRY(put_value(e, &tag, err));
        at = tag.end;
    }
    put_text(e, at, end);
    put_text(e, "\n", "\n" + 1);
    return 0;
}

static int put_any(Expansion *e, Error *err) {
    Tag tag;
    bool done = false;
    if (!e->html) e->html = block_begins(e->r);
    if (lone_tag(&tag, e->r)) TRY(put_lone(e, &tag, &done, err));
    if (done) return 0;
    e->fence = fence_behind(e->r, e->fence);
    if (e->html && contains(e->r->line, e->r->length, e->html->end)) e->html = NULL;
    bool blank = !trimmed(e->r).length;
    if (blank && (e->gone || e->out->length == e->begin)) { /* none at the top, either */
        e->gone = false;
        return 0;
    }
    if (is_shown(e)) e->gone = false;
    return put_line(e, err);
}

int card_expand(Buffer *out, CardReader *r, PlaceholderList known, const PackageInputs *in, Error *err) {
    Expansion e = {.out = out, .r = r, .known = known, .in = in, .begin = out->length};
    while (card_next_line(r)) {
        int code = put_any(&e, err);
        if (!code && out->length > LARGEST_CARD)
            code = error_set(err, ERR_LIMIT, "the card is larger than 10 MB, the most that the Hub takes");
        if (code) return card_error_at(r, code, err);
    }
    if (e.n_open) {
        const Open *o = &e.open[e.n_open - 1];
        return error_set(err, ERR_RECIPE, "%s:%zu: nothing ends {{#%s}}: {{/%s}} is missing", r->source->name,
                         o->line, o->what->name, o->what->name);
    }
    while (out->length && ends_blank(out)) out->data[--out->length] = '\0';
    return 0;
}
