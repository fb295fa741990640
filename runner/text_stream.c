/* text_stream.c -- see text_stream.h. */
#include "runner/text_stream.h"
#include "runner/tokenizer.h"
#include <string.h>

struct TextStream {
    const Allocator *allocator;
    const char *const *stops;
    size_t n_stops;
    Buffer held; /* not yet given out */
    bool stopped;
};

int text_stream_open(TextStream **out, const char *const *stops, size_t n_stops, const Allocator *allocator,
                     Error *err) {
    for (size_t i = 0; i < n_stops; i++)
        if (!stops[i][0]) return error_set(err, ERR_USAGE, "an empty stop string would stop everything");
    TextStream *s = mem_alloc(allocator, sizeof *s);
    if (!s) return error_memory(err, "a text");
    *s = (TextStream){.allocator = allocator, .stops = stops, .n_stops = n_stops};
    buffer_init(&s->held, allocator);
    *out = s;
    return 0;
}

void text_stream_close(TextStream *s) {
    if (!s) return;
    buffer_free(&s->held);
    mem_free(s->allocator, s);
}

bool text_stream_stopped(const TextStream *s) {
    return s->stopped;
}

/* Where the first stop string begins, or `length`. */
static size_t first_stop(const TextStream *s, const char *text, size_t length) {
    size_t first = length;
    for (size_t i = 0; i < s->n_stops; i++) {
        const char *at = memmem(text, length, s->stops[i], strlen(s->stops[i]));
        if (at && (size_t)(at - text) < first) first = (size_t)(at - text);
    }
    return first;
}

/* Bytes before the longest end of the text that is the beginning of a stop string. */
static size_t before_beginning(const TextStream *s, const char *text, size_t length) {
    size_t most = 0;
    for (size_t i = 0; i < s->n_stops; i++) {
        size_t n = strlen(s->stops[i]) - 1;
        if (n > length) n = length;
        while (n > most && memcmp(text + length - n, s->stops[i], n)) n--;
        if (n > most) most = n;
    }
    return length - most;
}

/* Gives out the first n bytes of what is held. */
static int give(TextStream *s, size_t n, Buffer *ready, Error *err) {
    size_t left = s->held.length - n;
    buffer_append(ready, s->held.data, n);
    if (left) memmove(s->held.data, s->held.data + n, left);
    s->held.length = left;
    if (s->held.data) s->held.data[left] = 0;
    return buffer_ok(ready, "the text", err);
}

int text_stream_add(TextStream *s, const char *bytes, size_t length, Buffer *ready, Error *err) {
    if (s->stopped) return 0;
    buffer_append(&s->held, bytes, length);
    TRY(buffer_ok(&s->held, "the text", err));
    const char *text = buffer_string(&s->held);
    size_t stop = first_stop(s, text, s->held.length);
    if (stop < s->held.length) {
        s->stopped = true;
        TRY(give(s, stop, ready, err));
        buffer_clear(&s->held);
        return 0;
    }
    size_t safe = before_beginning(s, text, s->held.length);
    return give(s, utf8_complete_prefix(text, safe), ready, err);
}

int text_stream_finish(TextStream *s, Buffer *ready, Error *err) {
    return s->stopped ? 0 : give(s, s->held.length, ready, err);
}
