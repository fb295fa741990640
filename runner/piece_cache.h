/* piece_cache.h -- pieces of text and their ids, so that a word that comes again is not merged again.
 *
 * Most of a text is words that it has had before. One cache belongs to one call of encode: no locks, and its
 * size follows the text. Only short pieces are kept; a new one takes the place of the one in its slot. */
#ifndef RECAST_RUNNER_PIECE_CACHE_H
#define RECAST_RUNNER_PIECE_CACHE_H

#include "core/memory.h"
#include <stdbool.h>
#include <stdint.h>

enum { PIECE_BYTES = 32, PIECE_IDS = 7 }; /* what fits a line of a processor's cache */

typedef struct CachedPiece {
    char text[PIECE_BYTES]; /* the bytes behind the piece are 0 */
    uint32_t ids[PIECE_IDS];
    uint8_t length; /* 0: the slot is free */
    uint8_t count;
} CachedPiece;

typedef struct PieceCache {
    CachedPiece *slots; /* NULL: nothing is kept */
    size_t mask;
    const Allocator *allocator;
} PieceCache;

/* A cache for a text of so many bytes: at most 1 MiB, none for a short text. */
int piece_cache_open(PieceCache *cache, size_t length, const Allocator *allocator, Error *err) MUST_CHECK;
void piece_cache_close(PieceCache *cache);
/* The slot of a piece, whose text and length are set; NULL if the piece is not for the cache. *found: the ids
 * are there. Else the caller stores them and their count, at once, or sets length to 0. */
CachedPiece *piece_cache_slot(PieceCache *cache, const char *text, size_t length, bool *found);

#endif
