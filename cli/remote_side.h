/* remote_side.h -- the files of a model, be it on the Hub or here: names, sizes, hashes, small contents. */
#ifndef RECAST_CLI_REMOTE_SIDE_H
#define RECAST_CLI_REMOTE_SIDE_H

#include "cli/cli.h"
#include "packager/hub_repo.h"

typedef struct Side {
    const char *name;      /* as given */
    const char *directory; /* of a local one; NULL: on the Hub */
    HubRepo repo;          /* files of both kinds; a local one has no hub */
    const char *prefix;    /* "hf/" if the checkpoint lies there (a package), else "" */
    uint64_t fetched;      /* bytes that were downloaded */
    Cli *cli;
} Side;

int side_open(Side *out, Cli *cli, Hub *hub, const char *name, Arena *arena, Error *err) MUST_CHECK;
HubFile *side_find(const Side *s, const char *path); /* behind the prefix; NULL if absent */
/* A small file's text, NUL-terminated, appended. */
int side_read(Side *s, const HubFile *f, Buffer *out, Error *err) MUST_CHECK;
int side_same(Side *a, HubFile *x, Side *b, HubFile *y, bool *same, Error *err) MUST_CHECK;
/* The SHA-256 of its content, found out if need be (a small file of the Hub is fetched, a local one is read).
 */
int side_hash(Side *s, HubFile *f, Error *err) MUST_CHECK;
/* Its header as a model (of a local file: the model). Caller closes. */
int side_gguf(Side *s, const HubFile *f, Model **out, Error *err) MUST_CHECK;

#endif
