/* json_text.c -- editing JSON text at a value's own bytes.
 *
 * A config.json that is patched keeps its key order, its spacing and the spelling of every number that was
 * not touched, so the difference to the original shows the change and nothing else. Nothing here parses into
 * a tree or prints one. */
#include "core/json.h"
#include "core/json_scan.h"
#include "core/utf8.h"
#include <string.h>

/* One member of an object, as byte offsets into the text. */
typedef struct Member {
    size_t key_begin, key_end; /* quotes included */
    JsonSpan value;
    size_t previous_end; /* the end of the value before it, or just behind '{' */
} Member;

typedef struct Object {
    size_t open, close; /* of '{' and '}' */
    size_t count;
    Member first, last, match; /* match: the member with the key that was looked for */
    bool has_match;
    size_t after_match; /* the key behind it, 0 if it is the last */
} Object;

static unsigned hex4(const char *s) {
    unsigned v = 0;
    for (int i = 0; i < 4; i++) v = v * 16 + (unsigned)(s[i] <= '9' ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
    return v;
}

/* Decodes the escape at *p (a scanned string, so it is well formed) to UTF-8, moves *p behind it. */
static size_t decode_escape(const char **p, char out[4]) {
    char c = (*p)[1];
    *p += 2;
    switch (c) {
    case 'b': return utf8_encode(out, '\b');
    case 'f': return utf8_encode(out, '\f');
    case 'n': return utf8_encode(out, '\n');
    case 'r': return utf8_encode(out, '\r');
    case 't': return utf8_encode(out, '\t');
    case 'u': break;
    default: return utf8_encode(out, (unsigned char)c);
    }
    uint32_t unit = hex4(*p);
    *p += 4;
    if (unit >= 0xD800 && unit < 0xDC00) {
        unit = 0x10000 + ((unit - 0xD800) << 10) + (hex4(*p + 2) - 0xDC00);
        *p += 6;
    }
    return utf8_encode(out, unit);
}

/* Does the quoted, escaped string text[begin .. end) mean `key`? */
static bool spells(const char *text, size_t begin, size_t end, const char *key) {
    const char *p = text + begin + 1, *stop = text + end - 1;
    while (p < stop) {
        char bytes[4];
        size_t n = 1;
        if (*p == '\\')
            n = decode_escape(&p, bytes);
        else
            bytes[0] = *p++;
        if (strncmp(key, bytes, n) != 0) return false;
        key += n;
    }
    return *key == '\0';
}

/* Walks the object at `open`; key may be NULL. False if it is not a well-formed object. */
static bool read_object(Object *o, const char *text, size_t length, size_t open, const char *key) {
    *o = (Object){.open = open};
    JsonScan s = {.text = text, .length = length, .at = open};
    if (!json_scan_object_begin(&s)) return false;
    size_t previous_end = open + 1;
    while (json_scan_object_next(&s, o->count == 0)) {
        Member m = {.key_begin = s.key_at[0], .key_end = s.key_at[1], .value.begin = s.at};
        if (!json_scan_value(&s)) return false;
        m.value.end = s.at;
        m.previous_end = previous_end;
        previous_end = s.at;
        if (o->has_match && o->after_match == 0) o->after_match = m.key_begin;
        if (key && !o->has_match && spells(text, m.key_begin, m.key_end, key)) {
            o->has_match = true;
            o->match = m;
        }
        if (o->count++ == 0) o->first = m;
        o->last = m;
    }
    o->close = s.at - 1;
    return s.problem == NULL;
}

/* The first byte of the text's root value, or false if the text is not JSON. */
static bool find_root(const char *text, size_t length, JsonSpan *out) {
    JsonScan s = {.text = text, .length = length};
    json_scan_space(&s);
    out->begin = s.at;
    if (!json_scan_value(&s)) return false;
    out->end = s.at;
    return true;
}

bool json_text_find(const char *text, size_t length, const char *const *path, size_t depth, JsonSpan *out) {
    JsonSpan at;
    if (!find_root(text, length, &at)) return false;
    for (size_t i = 0; i < depth; i++) {
        Object o;
        if (!read_object(&o, text, length, at.begin, path[i]) || !o.has_match) return false;
        at = o.match.value;
    }
    *out = at;
    return true;
}

/* Replaces text[begin .. end) by the buffer `with`, which it frees. */
static int splice(Buffer *text, size_t begin, size_t end, Buffer *with, Error *err) {
    Buffer b;
    buffer_init(&b, text->allocator);
    buffer_append(&b, text->data, begin);
    buffer_append(&b, with->data, with->length);
    buffer_append(&b, text->data + end, text->length - end);
    b.failed = b.failed || with->failed;
    buffer_free(with);
    int code = buffer_ok(&b, "the edited JSON text", err);
    if (code) {
        buffer_free(&b);
        return code;
    }
    buffer_free(text);
    *text = b;
    return 0;
}

static bool has_newline(const char *s, size_t length) {
    return memchr(s, '\n', length) != NULL;
}

/* What stands between a key and its value: ": " in most files. */
static void append_colon(Buffer *b, const char *text, const Member *m) {
    buffer_append(b, text + m->key_end, m->value.begin - m->key_end);
}

/* A new member behind the last one of an object that has some, in their style: with two or more, what
 * separates the last two is repeated; with one, the space before its key is (a single space when that holds
 * no line break). */
static void append_neighbour(Buffer *b, const char *text, const Object *o, const char *key,
                             const char *value) {
    const Member *last = &o->last;
    const char *before = text + last->previous_end;
    size_t space = last->key_begin - last->previous_end, colon = last->value.begin - last->key_end;
    if (o->count > 1) {
        buffer_append(b, before, space);
    } else {
        buffer_char(b, ',');
        if (has_newline(before, space))
            buffer_append(b, before, space);
        else if (space > 0 || colon > 1)
            buffer_char(b, ' ');
    }
    json_write_string(b, key);
    append_colon(b, text, last);
    buffer_text(b, value);
}

/* Where the line that holds `at` begins, and how many bytes of indentation it has. */
static size_t line_start(const char *text, size_t at, size_t *indent) {
    size_t begin = at;
    while (begin > 0 && text[begin - 1] != '\n') begin--;
    size_t i = begin;
    while (i < at && (text[i] == ' ' || text[i] == '\t')) i++;
    *indent = i - begin;
    return begin;
}

/* The inside of an object that was empty, in the style of the document: one level deeper than the line that
 * it opens on when the root's members stand on lines of their own, else on one line. */
static void append_only_member(Buffer *b, const char *text, const Object *o, const Object *root,
                               const char *key, const char *value) {
    const char *space = text + root->open + 1;
    size_t length = (root->count ? root->first.key_begin : root->close) - root->open - 1;
    bool lines = has_newline(space, length);
    size_t indent, start = line_start(text, o->open, &indent);
    const char *newline = lines && memchr(space, '\r', length) ? "\r\n" : "\n";
    if (lines) {
        buffer_text(b, newline);
        buffer_append(b, text + start, indent);
        size_t unit = 0;
        while (unit < length && space[length - 1 - unit] != '\n') unit++;
        if (root->count)
            buffer_append(b, space + length - unit, unit);
        else
            buffer_text(b, "  ");
    }
    json_write_string(b, key);
    if (root->count)
        append_colon(b, text, &root->first);
    else
        buffer_text(b, ": ");
    buffer_text(b, value);
    if (lines) {
        buffer_text(b, newline);
        buffer_append(b, text + start, indent);
    }
}

/* "a.b.c" for a message. */
static void append_path(Buffer *b, const char *const *path, size_t depth) {
    for (size_t i = 0; i < depth; i++) {
        if (i) buffer_char(b, '.');
        buffer_text(b, path[i]);
    }
}

static int no_parent(Allocator const *allocator, const char *const *path, size_t depth, Error *err) {
    Buffer b;
    buffer_init(&b, allocator);
    append_path(&b, path, depth);
    int code = error_set(err, ERR_FORMAT, "can't set %s: %s is not an object in this text", buffer_string(&b),
                         depth > 1 ? path[depth - 2] : "the root");
    buffer_free(&b);
    return code;
}

static int check_value(const char *value, Error *err) {
    JsonScan s = {.text = value, .length = strlen(value)};
    if (json_scan_document(&s)) return 0;
    return error_set(err, ERR_FORMAT, "the value to set is not JSON: %s", s.problem);
}

int json_text_set(Buffer *text, const char *const *path, size_t depth, const char *value, Error *err) {
    TRY(check_value(value, err));
    const char *t = buffer_string(text);
    Buffer b;
    buffer_init(&b, text->allocator);
    JsonSpan span;
    if (json_text_find(t, text->length, path, depth, &span)) {
        buffer_text(&b, value);
        return splice(text, span.begin, span.end, &b, err);
    }
    JsonSpan root_span;
    if (!find_root(t, text->length, &root_span))
        return error_set(err, ERR_FORMAT, "the text to edit is not valid JSON");
    Object root, parent;
    if (depth == 0 || !json_text_find(t, text->length, path, depth - 1, &span) || t[span.begin] != '{' ||
        !read_object(&root, t, text->length, root_span.begin, NULL) ||
        !read_object(&parent, t, text->length, span.begin, NULL))
        return no_parent(text->allocator, path, depth, err);
    if (parent.count) {
        append_neighbour(&b, t, &parent, path[depth - 1], value);
        return splice(text, parent.last.value.end, parent.last.value.end, &b, err);
    }
    append_only_member(&b, t, &parent, &root, path[depth - 1], value);
    return splice(text, parent.open + 1, parent.close, &b, err);
}

int json_text_remove(Buffer *text, const char *const *path, size_t depth, Error *err) {
    if (depth == 0) return error_set(err, ERR_FORMAT, "the root of a JSON text can't be removed");
    const char *t = buffer_string(text);
    JsonSpan span;
    Object o;
    if (!json_text_find(t, text->length, path, depth - 1, &span) ||
        !read_object(&o, t, text->length, span.begin, path[depth - 1]) || !o.has_match)
        return 0;
    Buffer nothing;
    buffer_init(&nothing, text->allocator);
    size_t begin, end;
    if (o.count == 1) {
        begin = o.open + 1;
        end = o.close;
    } else if (o.after_match && o.match.key_begin == o.first.key_begin) {
        begin = o.match.key_begin;
        end = o.after_match;
    } else {
        begin = o.match.previous_end;
        end = o.match.value.end;
    }
    return splice(text, begin, end, &nothing, err);
}
