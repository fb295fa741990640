/* parts.h -- one file made by several processes, each its own share, on one machine or on many that see the
 * same file system.
 *
 * Every part plans the whole file and writes only its range of bytes, into the same hidden file beside the
 * output; the plan is pure, so that all of them have the same one. A part that is done leaves a small record
 * (journal.h) with its range and the SHA-256 of it. Joining reads the file once: for its hash, and to compare
 * each range with its record; and the source once, to prove it. So what parts spread is the work of making
 * bytes, and what remains for one process runs at the speed of hashing. docs/parts.md. */
#ifndef RECAST_CONVERT_PARTS_H
#define RECAST_CONVERT_PARTS_H

#include "convert/execute.h"

enum { PARTS_MOST = 1024 };

typedef struct PartRange {
    uint64_t begin, end; /* bytes of the output */
} PartRange;

/* The share of part `index` (from 1) of `count`: equal by bytes, up to a row where rows are transformed. The
 * shares of all parts follow each other from 0 to the file's size; some may be empty. */
PartRange part_range(const GgufPlan *plan, uint32_t index, uint32_t count);

/* Writes that share. *done: there was a record of it already, so that nothing had to be written (never with
 * options.restart). options.no_hash and journal_seconds don't matter. Errors: those of convert_execute, and
 * ERR_USAGE (index, count). A part that failed can be written again. */
int part_write(bool *done, PartRange *range, const GgufPlan *plan, const char *path, uint32_t index,
               uint32_t count, ExecuteOptions options, Error *err) MUST_CHECK;

/* Checks that all parts are there and as they were written, proves the source as convert_execute does, checks
 * the file and gives it its name. c has one output, with a path. Errors: ERR_CHECK (a part is missing, was
 * made as one of another number of parts, or its bytes have changed: the message says which to write again),
 * else those of convert_execute. */
int parts_join(const Conversion *c, ExecuteOptions options, Error *err) MUST_CHECK;

#endif
