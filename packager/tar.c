/* tar.c -- see tar.h. */
#include "packager/tar.h"
#include <stdio.h>
#include <string.h>

enum {
    NAME = 0,
    MODE = 100,
    UID = 108,
    GID = 116,
    SIZE = 124,
    MTIME = 136,
    SUM = 148,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345
};
enum { LARGEST_SIZE_DIGITS = 11, NAME_ROOM = 100 };

/* ---- writing ---- */

uint64_t tar_padding(uint64_t size) {
    return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

static unsigned checksum(const uint8_t block[TAR_BLOCK]) {
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++) sum += i >= SUM && i < SUM + 8 ? ' ' : block[i];
    return sum;
}

static void put_block(Buffer *out, const char *name, uint64_t size, char type) {
    char block[TAR_BLOCK] = {0};
    size_t length = strlen(name);
    memcpy(block + NAME, name, length < NAME_ROOM ? length : NAME_ROOM);
    memcpy(block + MODE, "0000644", 8);
    memcpy(block + UID, "0000000", 8);
    memcpy(block + GID, "0000000", 8);
    snprintf(block + SIZE, 12, "%011llo", (unsigned long long)(size >> 33 ? 0 : size));
    memcpy(block + MTIME, "00000000000", 12);
    block[TYPE] = type;
    memcpy(block + MAGIC, "ustar\00000", 8);
    snprintf(block + SUM, 7, "%06o", checksum((const uint8_t *)block));
    block[SUM + 7] = ' ';
    buffer_append(out, block, sizeof block);
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void put_record(Buffer *out, const char *key, const char *value) {
    size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", length) + rest != length) length++;
    buffer_printf(out, "%zu %s=%s\n", length, key, value);
}

void tar_header(Buffer *out, const char *name, uint64_t size) {
    bool long_name = strlen(name) > NAME_ROOM, large = size >> 33 != 0;
    if (long_name || large) {
        Buffer pax;
        char digits[24];
        buffer_init(&pax, out->allocator);
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
        if (long_name) put_record(&pax, "path", name);
        if (large) put_record(&pax, "size", digits);
        put_block(out, "pax", pax.length, 'x');
        buffer_append(out, pax.data, pax.length);
        buffer_zeros(out, (size_t)tar_padding(pax.length));
        out->failed |= pax.failed;
        buffer_free(&pax);
    }
    put_block(out, name, size, '0');
}

/* ---- reading ---- */

/* Octal digits up to a NUL or space. */
static bool number(uint64_t *out, const uint8_t *field, size_t length) {
    size_t i = 0;
    *out = 0;
    while (i < length && field[i] >= '0' && field[i] <= '7') *out = *out << 3 | (uint64_t)(field[i++] - '0');
    return i > 0 && i <= 20 && (i == length || field[i] == 0 || field[i] == ' ');
}

static bool is_zero(const uint8_t block[TAR_BLOCK]) {
    for (size_t i = 0; i < TAR_BLOCK; i++)
        if (block[i]) return false;
    return true;
}

static const char *kind(uint8_t type) {
    switch (type) {
    case '1': return "a hard link";
    case '2': return "a symbolic link";
    case '3':
    case '4': return "a device";
    case '5': return "a directory";
    case '6': return "a pipe";
    default: return "of a kind that packages have none of";
    }
}

int tar_parse(TarHeader *out, const uint8_t block[TAR_BLOCK], Error *err) {
    uint64_t sum;
    *out = (TarHeader){0};
    if (is_zero(block)) return 0;
    if (!number(&sum, block + SUM, 8) || sum != checksum(block) || memcmp(block + MAGIC, "ustar", 5))
        return error_set(err, ERR_FORMAT, "not a tar header, or a damaged one");
    const char *prefix = (const char *)block + PREFIX;
    size_t n = strnlen(prefix, 155), m = strnlen((const char *)block + NAME, NAME_ROOM);
    snprintf(out->name, sizeof out->name, "%.*s%s%.*s", (int)n, prefix, n ? "/" : "", (int)m,
             (const char *)block + NAME);
    if (!number(&out->size, block + SIZE, 12))
        return error_set(err, ERR_FORMAT, "%s: its size is no number", out->name);
    out->type = block[TYPE] ? (char)block[TYPE] : '0';
    if (out->type == '0' || out->type == 'x') return 0;
    return error_set(err, ERR_FORMAT, "%s is %s; a package holds regular files and nothing else", out->name,
                     kind(block[TYPE]));
}

static bool decimal(uint64_t *out, const char *text, size_t length) {
    *out = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9' || i == 18) return false;
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return length > 0;
}

int tar_parse_pax(Buffer *name, uint64_t *size, bool *has_size, const char *text, size_t length, Error *err) {
    while (length) {
        const char *space = memchr(text, ' ', length);
        uint64_t record = 0;
        if (!space || !decimal(&record, text, (size_t)(space - text)) || record > length ||
            text + record <= space + 1 || text[record - 1] != '\n')
            return error_set(err, ERR_FORMAT, "a pax header is damaged");
        const char *key = space + 1, *end = text + record - 1,
                   *equals = memchr(key, '=', (size_t)(end - key));
        size_t n = equals ? (size_t)(equals - key) : 0;
        bool path = n == 4 && !memcmp(key, "path", 4);
        if (path && name->length) return error_set(err, ERR_FORMAT, "a pax header gives two paths");
        if (path && !memchr(equals, 0, (size_t)(end - equals)))
            buffer_append(name, equals + 1, (size_t)(end - equals - 1));
        else if (n == 4 && !memcmp(key, "size", 4) && decimal(size, equals + 1, (size_t)(end - equals - 1)))
            *has_size = true;
        else
            return error_set(err, ERR_FORMAT, "a pax header says something other than path and size");
        text += record;
        length -= (size_t)record;
    }
    return buffer_ok(name, "a pax header", err);
}
