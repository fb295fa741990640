/* unicode.h -- what the tokenizer needs to know of Unicode: \p{L}, \p{N}, \s and NFC, from generated tables.
 *
 * The tables are made by runner/make_unicode.py, which asks Hugging Face tokenizers about every code point:
 * its letters are Unicode 16's, its NFC is older (docs/tokenizer.md). Code points as such are core/utf8.h's
 * business. */
#ifndef RECAST_RUNNER_UNICODE_H
#define RECAST_RUNNER_UNICODE_H

#include "core/buffer.h"

typedef enum UnicodeKind { KIND_OTHER, KIND_LETTER, KIND_NUMBER, KIND_SPACE } UnicodeKind;

UnicodeKind unicode_kind(uint32_t code_point);
/* The same for code points below 0x80, which are most of most texts. */
static inline UnicodeKind unicode_ascii_kind(unsigned char c) {
    static const uint64_t letters[2] = {0, 0x07FFFFFE07FFFFFE}, digits[2] = {0x03FF000000000000, 0},
                          spaces[2] = {0x100003E00, 0};
    unsigned half = c / 64, bit = c % 64;
    if (letters[half] >> bit & 1) return KIND_LETTER;
    if (spaces[half] >> bit & 1) return KIND_SPACE;
    return digits[half] >> bit & 1 ? KIND_NUMBER : KIND_OTHER;
}
bool unicode_is_letter(uint32_t code_point); /* general category L* */
bool unicode_is_number(uint32_t code_point); /* general category N* */
bool unicode_is_space(uint32_t code_point);  /* White_Space: \s of Oniguruma (U+180E is not one) */
/* Appends the NFC form of valid UTF-8 text. What cannot change is copied. Time is linear but for table
 * look-ups. */
void unicode_nfc(Buffer *out, const char *text, size_t length);
/* How many bytes at the start of valid UTF-8 text are in NFC for sure, whatever follows them: `length` for
 * all text without combining marks and without characters that NFC replaces. */
size_t unicode_nfc_prefix(const char *text, size_t length);

#endif
