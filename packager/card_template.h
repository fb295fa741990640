/* card_template.h -- the language of model card templates: Markdown with placeholders.
 *
 *   {{name}}              what the name stands for (blanks inside the braces are allowed)
 *   {{#name}}, {{/name}}  lines between them are left out if the name stands for nothing
 *   {{^name}}, {{/name}}  they are there only if it stands for nothing
 *   \{{                   two braces as they are
 *
 * A value may stand anywhere in a line. A section (whole lines), {{#name}}, {{^name}} and {{/name}} stand
 * alone on theirs. A line that stands for nothing goes; of the blank lines around it one stays. Any other {{
 * is an error, and so is a section inside an HTML block that a blank line doesn't end (<pre>, <script>, <!--
 * -->; CommonMark 0.31, section 4.6) or between fences of code (4.5), which the section's text could end:
 * what a model says must not become HTML. */
#ifndef RECAST_PACKAGER_CARD_TEMPLATE_H
#define RECAST_PACKAGER_CARD_TEMPLATE_H

#include "packager/package.h"

typedef struct Placeholder {
    const char *name;
    bool section;                                        /* whole lines; else a value within one */
    void (*write)(Buffer *out, const PackageInputs *in); /* appends nothing if there is nothing to say */
} Placeholder;

typedef struct PlaceholderList {
    size_t n;
    const Placeholder *items;
} PlaceholderList;

/* Where a template is read. */
typedef struct CardReader {
    const CardTemplate *source;
    size_t at;     /* offset of the next line */
    size_t number; /* of the line, from 1 */
    const char *line;
    size_t length; /* of it, without what ends it */
} CardReader;

bool card_next_line(CardReader *r); /* false at the end */
/* Is it this word, but for blanks behind it? Is it {{name}} alone, but for blanks around it? */
bool card_line_is(const CardReader *r, const char *word);
bool card_line_names(const CardReader *r, const char *name);
/* Puts "FILE:LINE: " before a message. */
int card_error_at(const CardReader *r, int code, Error *err);

/* Appends the rest of a template. in NULL: only checks names and lines. ERR_RECIPE naming the line,
 * ERR_LIMIT (a card of more than 10 MB, the most that the Hub takes of a plain file). */
int card_expand(Buffer *out, CardReader *r, PlaceholderList known, const PackageInputs *in,
                Error *err) MUST_CHECK;

#endif
