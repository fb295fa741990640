/* card_private.h -- what the files of the model card share. Not for other files. */
#ifndef RECAST_PACKAGER_CARD_PRIVATE_H
#define RECAST_PACKAGER_CARD_PRIVATE_H

#include "packager/card_markdown.h"
#include "packager/card_template.h"

/* ---- front matter (card_front.c) ---- */

/* Appends the front matter and takes what a template has of it from the reader: {{front_matter}} as its first
 * line, or a block between --- lines with {{front_matter}} in it, or nothing. in NULL: only checks. */
int card_front_matter(Buffer *out, CardReader *r, const PackageInputs *in, Error *err) MUST_CHECK;

/* ---- sections: whole lines (card_about.c, card_files.c, card_use.c) ---- */

void card_summary(Buffer *out, const PackageInputs *in);
void card_parameters(Buffer *out, const PackageInputs *in);
void card_changes(Buffer *out, const PackageInputs *in);
void card_unchanged(Buffer *out, const PackageInputs *in);
void card_sweep(Buffer *out, const PackageInputs *in);
void card_advice(Buffer *out, const PackageInputs *in);
void card_attribution(Buffer *out, const PackageInputs *in);

void card_outputs(Buffer *out, const PackageInputs *in);
void card_update(Buffer *out, const PackageInputs *in);
void card_files(Buffer *out, const PackageInputs *in);
void card_digests(Buffer *out, const PackageInputs *in);

void card_verify(Buffer *out, const PackageInputs *in);
void card_engines(Buffer *out, const PackageInputs *in);
void card_generations(Buffer *out, const PackageInputs *in);
void card_checks(Buffer *out, const PackageInputs *in);

/* ---- what several need (card_files.c) ---- */

bool card_has_format(const Manifest *m, const char *format);
const Artifact *card_first_of(const Manifest *m, const char *format); /* NULL: none */
bool card_is_split(const Artifact *a);                                /* a GGUF of several files */

#endif
