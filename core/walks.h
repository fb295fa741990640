/* walks.h -- several passes over bytes, each in its own strict order, advanced side by side by a team of
 * threads in bounded memory.
 *
 * A walk makes its bytes piece by piece: `fill` puts a piece into a buffer (any thread, any order) and `take`
 * gets the pieces one after the other, which is where hashing happens. Walks belong to groups: within a group
 * the first walk that can go on does, and groups keep step by their share of bytes, so that what one group
 * read from a file is still in the page cache when another wants it. No thread waits for a turn while any
 * other work is there.
 *
 * A walk that has stopped can go on: its state is `position` and what its kind keeps in `context`. */
#ifndef RECAST_CORE_WALKS_H
#define RECAST_CORE_WALKS_H

#include "core/memory.h"
#include "core/progress.h"

enum { WALK_PIECE = 1 << 20 }; /* bytes of a usual piece (docs/performance.md) */

typedef struct Piece {
    uint64_t begin;              /* position in the walk, bytes */
    size_t length;               /* bytes in the buffer, at least 1 */
    uint64_t item, first, count; /* the kind's own */
} Piece;

typedef struct Walk Walk;

typedef struct WalkKind {
    /* Sets *p, but for begin, to the piece that begins at p->begin. Called in order, and quick. */
    void (*cut)(const Walk *w, Piece *p);
    /* Makes the piece's bytes. Thread-safe. */
    int (*fill)(const Walk *w, const Piece *p, uint8_t *buffer, Error *err);
    /* Gets the pieces in order, one at a time. NULL: order does not matter. */
    int (*take)(Walk *w, const Piece *p, const uint8_t *buffer, Error *err);
    /* The same for two walks of the kind at once, where that is cheaper; it can't fail. May be NULL. */
    void (*take2)(Walk *a, const Piece *pa, const uint8_t *bytes_a, Walk *b, const Piece *pb,
                  const uint8_t *bytes_b);
    /* After the last piece; may be NULL. */
    int (*finish)(Walk *w, Error *err);
    /* What a piece is of, for the progress line; may be NULL. */
    const char *(*name)(const Walk *w, const Piece *p);
} WalkKind;

typedef struct Held Held;

struct Walk {
    const WalkKind *kind;
    void *context;
    unsigned group;
    uint64_t length;   /* bytes */
    uint64_t position; /* bytes taken so far: where it begins, and where it has come to */

    /* of walks_run */
    uint64_t cut;          /* bytes handed out to be filled */
    Held *oldest, *newest; /* pieces on their way, in order */
    size_t on_the_way;
    bool taking;
};

typedef struct WalkOptions {
    unsigned threads;   /* 0: one a processor */
    size_t buffer_size; /* of the largest piece */
    const char *phase;
    const Progress *progress;
    uint64_t progress_total; /* what to call the sum of all lengths in progress; 0: that sum */
    /* May be NULL. Called every checkpoint_seconds by one thread while no piece is being taken: all that
     * walks keep, and what they wrote up to their positions, is then consistent and can be put down for
     * later. */
    int (*checkpoint)(void *context, Error *err);
    void *checkpoint_context;
    double checkpoint_seconds;
    const Allocator *allocator;
} WalkOptions;

/* Runs all walks to their ends. walks are sorted by group, groups are 0, 1, ... Returns an error of the
 * lowest piece that failed in the first walk that failed. */
int walks_run(Walk *walks, size_t n, WalkOptions options, Error *err) MUST_CHECK;
/* Bytes of buffers that walks_run will use. */
uint64_t walks_memory(unsigned threads, unsigned groups, size_t buffer_size);

#endif
