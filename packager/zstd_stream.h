/* zstd_stream.h -- a stream of bytes as zstd frames with a seek table behind them (zstd's seekable format,
 * contrib/ seekable_format): any zstd decoder reads it through, and one that knows the table can begin in the
 * middle. */
#ifndef RECAST_PACKAGER_ZSTD_STREAM_H
#define RECAST_PACKAGER_ZSTD_STREAM_H

#include "core/input.h"
#include "core/output.h"

enum {
    ZSTD_FRAME_BYTES = 256 << 20,
    ZSTD_WINDOW_LOG = 27,          /* what decoders take without being asked */
    ZSTD_TABLE_MAGIC = 0x184D2A5E, /* of the skippable frame that the table is */
    ZSTD_SEEK_MAGIC = (int)0x8F92EAB1
};

typedef struct ZstdWriter ZstdWriter;
/* total: bytes that will be written, exactly. threads: 0 is one a processor. level: 0 is 3. */
int zstd_writer_open(ZstdWriter **out, Output *file, uint64_t total, unsigned threads, int level,
                     Error *err) MUST_CHECK;
int zstd_write(ZstdWriter *w, const void *bytes, size_t length, Error *err) MUST_CHECK;
/* Ends it with the table. *size: bytes of the file. */
int zstd_writer_finish(ZstdWriter *w, uint64_t *size, Error *err) MUST_CHECK;
void zstd_writer_close(ZstdWriter *w); /* NULL-safe */

typedef struct ZstdReader ZstdReader;
/* threads: more than one decode ahead of the reader, where there is a seek table (zstd_frames.h); 0: one a
 * processor. What is read, and how it fails, is the same with any number. Borrows `in`. */
int zstd_reader_open(ZstdReader **out, const Input *in, unsigned threads, Error *err) MUST_CHECK;
/* Exactly `length` bytes, else ERR_FORMAT. */
int zstd_read(ZstdReader *r, void *buffer, size_t length, Error *err) MUST_CHECK;
/* ERR_FORMAT unless all has been read. */
int zstd_read_end(ZstdReader *r, Error *err) MUST_CHECK;
void zstd_reader_close(ZstdReader *r); /* NULL-safe */

#endif
