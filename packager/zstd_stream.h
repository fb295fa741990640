/* zstd_stream.h -- a stream of bytes as zstd frames with a seek table behind them (zstd's seekable format,
 * contrib/ seekable_format): any zstd decoder reads it through, and one that knows the table can begin in the
 * middle. */
#ifndef RECAST_PACKAGER_ZSTD_STREAM_H
#define RECAST_PACKAGER_ZSTD_STREAM_H

#include "core/input.h"
#include "core/output.h"

enum { ZSTD_FRAME_BYTES = 256 << 20, ZSTD_WINDOW_LOG = 27 /* what decoders take without being asked */ };

typedef struct ZstdWriter ZstdWriter;
/* total: bytes that will be written, exactly. threads: 0 is one a processor. level: 0 is 3. */
int zstd_writer_open(ZstdWriter **out, Output *file, uint64_t total, unsigned threads, int level,
                     Error *err) MUST_CHECK;
int zstd_write(ZstdWriter *w, const void *bytes, size_t length, Error *err) MUST_CHECK;
/* Ends it with the table. *size: bytes of the file. */
int zstd_writer_finish(ZstdWriter *w, uint64_t *size, Error *err) MUST_CHECK;
void zstd_writer_close(ZstdWriter *w); /* NULL-safe */

typedef struct ZstdReader ZstdReader;
int zstd_reader_open(ZstdReader **out, const Input *in, Error *err) MUST_CHECK; /* borrows `in` */
/* Exactly `length` bytes, else ERR_FORMAT. */
int zstd_read(ZstdReader *r, void *buffer, size_t length, Error *err) MUST_CHECK;
/* ERR_FORMAT unless all has been read. */
int zstd_read_end(ZstdReader *r, Error *err) MUST_CHECK;
void zstd_reader_close(ZstdReader *r); /* NULL-safe */

#endif
