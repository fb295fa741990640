/* card_markdown.h -- text from anywhere as Markdown that is nothing but that text: no markup, no HTML. */
#ifndef RECAST_PACKAGER_CARD_MARKDOWN_H
#define RECAST_PACKAGER_CARD_MARKDOWN_H

#include "core/buffer.h"

/* In running text: markup behind backslashes, what HTML reads as entities, so that it is safe within an HTML
 * element or attribute too; control characters become U+FFFD. */
void markdown_text(Buffer *out, const char *text);
/* A code span: backticks in it are text. The same within a table, where | would end its cell. */
void markdown_code(Buffer *out, const char *text);
void markdown_cell(Buffer *out, const char *text);
/* A fenced block of its own: no run of backticks inside can end it. A blank line follows. */
void markdown_fenced(Buffer *out, const char *text);

/* "30.53 billion" and "61.06 GB", in integer arithmetic: no locale, no rounding of the machine's own. */
void markdown_count(Buffer *out, uint64_t n);
void markdown_bytes(Buffer *out, uint64_t n);

#endif
