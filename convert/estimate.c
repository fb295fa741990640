/* estimate.c -- see estimate.h.
 *
 * Walks keep step by their share of bytes (core/walks.h). So when an output has come to a tensor, the proof
 * has come to the same share of the source; the distance from there to where the tensor lies is what the page
 * cache must hold for one read to serve both. */
#include "convert/estimate.h"

#include "convert/output_walk.h"
#include "core/threads.h"
#include "core/walks.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COPIED 2e9 /* bytes a second and core, read and written */

/* Bytes of source files before this one, in the order in which they are proved. */
static bool bytes_before(const Model *source, const Input *in, uint64_t *out) {
    *out = 0;
    for (size_t i = 0; i < source->n_files; i++) {
        if (source->files[i].input == in) return true;
        *out += input_size(source->files[i].input);
    }
    return false;
}

static uint64_t distance(uint64_t a, uint64_t b) {
    return a > b ? a - b : b - a;
}

/* Looks at one output, which makes the bytes `begin` to `begin + file_size` of `total`. The tensor at the
 * head of a GGUF may lie at the end of the source (output.weight), so bytes are counted and not only the
 * greatest distance kept. */
static void look_at_output(ConversionEstimate *est, const Model *source, const GgufPlan *plan, uint64_t begin,
                           uint64_t total) {
    for (size_t i = 0; i < plan->model->n_tensors; i++) {
        const Tensor *t = &plan->model->tensors[i];
        uint64_t stored = tensor_stored_bytes(t), done = 0, before;
        double place = (double)(begin + plan->data_offset + plan->offsets[i]);
        for (uint32_t e = 0; e < t->n_extents; e++) {
            const Extent *x = &t->extents[e];
            double at = place + (double)done / (double)(stored ? stored : 1) * (double)tensor_bytes(t);
            done += x->length;
            if (!bytes_before(source, x->file, &before)) continue;
            uint64_t proved = (uint64_t)(at / (double)total * (double)est->source_bytes);
            uint64_t d = distance(before + x->offset, proved);
            if (d > est->disorder) est->disorder = d;
            if (d > est->cache) est->read_again += x->length;
        }
    }
}

/* All outputs of a set count as one file, one behind the other. */
static void look_at_order(ConversionEstimate *est, const Conversion *c) {
    for (size_t i = 0; i < c->n_outputs;) {
        size_t end = i + 1;
        uint64_t total = c->outputs[i].plan->file_size, begin = 0;
        for (; end < c->n_outputs && c->outputs[end].continues; end++)
            total += c->outputs[end].plan->file_size;
        for (; i < end; i++) {
            look_at_output(est, c->source, c->outputs[i].plan, begin, total);
            begin += c->outputs[i].plan->file_size;
        }
    }
}

/* MemAvailable counts the pages that the cache would give up for others; "free" alone is next to nothing on a
 * machine that has been up for a while. Half of it: pages that are written want room too. */
static uint64_t cache_bytes(void) {
    static const char key[] = "\nMemAvailable:";
    char text[2048];
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f) return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *found = strstr(text, key);
    return found ? (uint64_t)strtoull(found + sizeof key - 1, NULL, 10) * 1024 / 2 : 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Bytes of SHA-256 a second on one core, one stream. */
static int measure_hash(double *rate, const Allocator *allocator, Error *err) {
    enum { BYTES = 8 << 20 };
    char hex[SHA256_HEX];
    uint8_t *bytes = mem_alloc(allocator, BYTES);
    if (!bytes) return error_memory(err, "an estimate");
    memset(bytes, 1, BYTES);
    double begin = now();
    int code = sha256_bytes(hex, bytes, BYTES, err);
    *rate = BYTES / (now() - begin + 1e-9);
    mem_free(allocator, bytes);
    return code;
}

/* Work is shared by all threads, but each hash is a chain that one thread at a time can make longer. The
 * proof's two chains advance together (core/sha256.h). Copying through the page cache: docs/performance.md.
 */
static int estimate_time(ConversionEstimate *e, const Conversion *c, int passes, ExecuteOptions options,
                         Error *err) {
    double rate = 1, chain = 0, longest = 0, hashed = 0;
    unsigned threads = options.threads ? options.threads : threads_available();
    TRY(measure_hash(&rate, options.allocator, err));
    for (size_t i = 0; i < c->n_outputs; i++) {
        double bytes = (double)c->outputs[i].plan->file_size;
        if (options.no_hash) continue;
        hashed += bytes;
        if (bytes > longest) longest = bytes;
    }
    chain = longest / rate;
    double proof = (double)e->source_bytes * 1.05 / rate,
           write = hashed / rate + (double)e->output_bytes / COPIED;
    if (passes == 2)
        e->seconds = proof + (write / threads > chain ? write / threads : chain);
    else
        e->seconds = (proof + write) / threads > chain ? (proof + write) / threads : chain;
    if (passes == 1 && proof > e->seconds) e->seconds = proof;
    e->hash_rate = rate;
    return 0;
}

int convert_estimate(ConversionEstimate *out, const Conversion *c, int passes, ExecuteOptions options,
                     Error *err) {
    size_t buffer = WALK_PIECE;
    unsigned groups = c->source != NULL;
    *out = (ConversionEstimate){.cache = cache_bytes()};
    for (size_t i = 0; i < c->n_outputs; i++) {
        const ConversionOutput *o = &c->outputs[i];
        size_t wanted;
        TRY(output_walk_buffer(o->plan, &wanted, err));
        if (wanted > buffer) buffer = wanted;
        if (o->path) out->output_bytes += o->plan->file_size;
        groups += !i || !o->continues;
    }
    for (size_t i = 0; c->source && i < c->source->n_files; i++)
        out->source_bytes += input_size(c->source->files[i].input);
    out->buffers = walks_memory(options.threads, groups, buffer);
    if (c->source) look_at_order(out, c);
    return estimate_time(out, c, passes, options, err);
}

void convert_estimate_files(ConversionEstimate *e, uint64_t written, uint64_t hashed, unsigned threads) {
    uint64_t buffers = walks_memory(threads, 1 + (e->source_bytes != 0), WALK_PIECE);
    if (!threads) threads = threads_available();
    if (buffers > e->buffers) e->buffers = buffers;
    e->output_bytes += written;
    e->seconds += ((double)written / COPIED + (double)hashed / e->hash_rate) / threads;
}
