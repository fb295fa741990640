/* table.h -- a hash table from byte strings to integers (names to tensor indices, tokens to ids).
 * Open addressing, FNV-1a with a random seed and a finaliser; keys are borrowed, not copied. Not thread-safe
 * while it is written to. */
#ifndef RECAST_CORE_TABLE_H
#define RECAST_CORE_TABLE_H

#include "core/memory.h"

typedef struct Table Table;

/* expected: how many keys will come (a hint). The table lives in the arena. */
int table_open(Table **out, Arena *arena, size_t expected, Error *err) MUST_CHECK;
/* 0; -1 if the key is there already (value unchanged); ERR_MEMORY. Key bytes must outlive the table. */
int table_put(Table *t, const char *key, size_t length, uint64_t value);
/* true and *value if found; value may be NULL. */
bool table_get(const Table *t, const char *key, size_t length, uint64_t *value);
size_t table_count(const Table *t);

#endif
