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
bool unicode_is_letter(uint32_t code_point); /* general category L* */
bool unicode_is_number(uint32_t code_point); /* general category N* */
bool unicode_is_space(uint32_t code_point);  /* White_Space: \s of Oniguruma (U+180E is not one) */
/* Appends the NFC form of valid UTF-8 text. Text below U+0300 is copied. Time is linear but for table
 * look-ups. */
void unicode_nfc(Buffer *out, const char *text, size_t length);

#endif
