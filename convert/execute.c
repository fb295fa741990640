/* execute.c -- carries out the plan of a GGUF file.
 *
 * The data is cut into pieces of about 4 MiB. A thread takes the next piece, reads and transforms it into its
 * own buffer, writes it at its offset, waits for the piece's turn and hashes it. Turns go in the order of the
 * file, so the hash is that of the file and nothing but the hash is serial: with n threads the rate is that
 * of n cores until one core of SHA-256 (1.8 GB/s here) is the limit. A buffer a thread is enough for that,
 * and memory doesn't grow with the model.
 *
 * Not here: what the bytes are (model/), where they go (gguf_plan.c), reading them back (gguf_verify.c). */
#include "convert/execute.h"

#include "convert/gguf_verify.h"
#include "core/output.h"
#include "core/threads.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    PIECE_BYTES = 4 << 20,
    LARGEST_ROW = 32 << 20,   /* a row that has to be transformed is held whole */
    BUFFERS_BYTES = 60 << 20, /* of all threads */
};

typedef struct Job {
    const GgufPlan *plan;
    Output *output; /* NULL: hash only */
    Sha256 *hash;   /* NULL: no hash */
    const Progress *progress;
    const char *phase;
    size_t *first_piece; /* of each tensor, and the number of pieces at the end */
    uint8_t *buffers;    /* one a thread */
    size_t buffer_size;
    unsigned threads;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t moved; /* turn or failed_at changed */
    size_t turn;          /* the piece to be hashed next */
    size_t failed_at;     /* the lowest piece that failed, SIZE_MAX while none has */
} Job;

/* ---- pieces ---- */

typedef struct Piece {
    const Tensor *tensor;
    uint64_t first, count; /* stored bytes if the tensor has no transforms, else rows */
    uint64_t offset;       /* in the file */
    size_t bytes;          /* of data */
    size_t padding;        /* zeros behind it: the last piece of a tensor has some */
} Piece;

static bool is_plain(const Tensor *t) {
    return t->n_transforms == 0;
}

/* Bytes or rows (as in Piece) that one piece of a tensor has. */
static uint64_t piece_units(const Tensor *t) {
    if (is_plain(t)) return PIECE_BYTES;
    uint64_t row = tensor_row_bytes(t);
    return row && row < PIECE_BYTES ? PIECE_BYTES / row : 1;
}

static uint64_t tensor_units(const Tensor *t) {
    if (tensor_bytes(t) == 0) return 0;
    return is_plain(t) ? tensor_bytes(t) : tensor_rows(t);
}

static size_t find_tensor(const Job *job, size_t piece) {
    size_t low = 0, high = job->plan->model->n_tensors;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (job->first_piece[middle] <= piece) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static Piece get_piece(const Job *job, size_t index) {
    const GgufPlan *plan = job->plan;
    size_t i = find_tensor(job, index), n = plan->model->n_tensors;
    const Tensor *t = &plan->model->tensors[i];
    uint64_t units = tensor_units(t), step = piece_units(t),
             unit_bytes = is_plain(t) ? 1 : tensor_row_bytes(t);
    Piece p = {.tensor = t, .first = (index - job->first_piece[i]) * step};
    p.count = units - p.first < step ? units - p.first : step;
    p.bytes = (size_t)(p.count * unit_bytes);
    p.offset = plan->data_offset + plan->offsets[i] + p.first * unit_bytes;
    if (p.first + p.count == units) {
        uint64_t next = i + 1 < n ? plan->data_offset + plan->offsets[i + 1] : plan->file_size;
        p.padding = (size_t)(next - p.offset - p.bytes);
    }
    return p;
}

static int read_piece(const Piece *p, uint8_t *buffer, Error *err) {
    if (is_plain(p->tensor)) return tensor_read_stored(p->tensor, p->first, buffer, p->bytes, err);
    return model_read(p->tensor, p->first, p->count, buffer, err);
}

/* ---- turns ---- */

/* False if a lower piece failed, and the turn will never come. */
static bool wait_for_turn(Job *job, size_t index) {
    pthread_mutex_lock(&job->lock);
    while (job->turn != index && job->failed_at > index) pthread_cond_wait(&job->moved, &job->lock);
    bool mine = job->turn == index;
    pthread_mutex_unlock(&job->lock);
    return mine;
}

static void end_turn(Job *job, size_t index) {
    pthread_mutex_lock(&job->lock);
    job->turn = index + 1;
    pthread_cond_broadcast(&job->moved);
    pthread_mutex_unlock(&job->lock);
}

static int give_up(Job *job, size_t index, int code) {
    pthread_mutex_lock(&job->lock);
    if (index < job->failed_at) job->failed_at = index;
    pthread_cond_broadcast(&job->moved);
    pthread_mutex_unlock(&job->lock);
    return code;
}

static int do_piece(void *context, size_t index, unsigned thread, Error *err) {
    Job *job = context;
    uint8_t *buffer = job->buffers + thread * job->buffer_size;
    Piece p = get_piece(job, index);
    int code = read_piece(&p, buffer, err);
    if (code) return give_up(job, index, code);
    memset(buffer + p.bytes, 0, p.padding);
    size_t length = p.bytes + p.padding;
    if (job->output) code = output_write(job->output, p.offset, buffer, length, err);
    if (code) return give_up(job, index, code);
    /* The error of the lower piece is the one that threads_run returns. */
    if (!wait_for_turn(job, index)) return error_set(err, ERR_INTERRUPTED, "stopped after an error");
    if (job->hash) sha256_update(job->hash, buffer, length);
    code = progress_update(job->progress, job->phase, p.offset + length, job->plan->file_size, err);
    if (code) return give_up(job, index, code);
    end_turn(job, index);
    return 0;
}

/* ---- the whole file ---- */

/* Numbers the pieces, and finds the buffer that the widest needs. */
static int count_pieces(Job *job, const Allocator *allocator, Error *err) {
    const Model *m = job->plan->model;
    size_t size, pieces = 0;
    uint64_t widest = PIECE_BYTES;
    job->first_piece = size_mul(&size, m->n_tensors + 1, sizeof(size_t)) ? mem_alloc(allocator, size) : NULL;
    if (!job->first_piece) return error_memory(err, "the pieces of a GGUF file");
    for (size_t i = 0; i < m->n_tensors; i++) {
        const Tensor *t = &m->tensors[i];
        uint64_t units = tensor_units(t), step = piece_units(t), row = is_plain(t) ? 0 : tensor_row_bytes(t);
        if (row > LARGEST_ROW) {
            return error_set(err, ERR_LIMIT,
                             "tensor %s: a row of %llu bytes can't be converted, %d are the limit", t->name,
                             (unsigned long long)row, LARGEST_ROW);
        }
        if (row > widest) widest = row;
        job->first_piece[i] = pieces;
        pieces += (size_t)(units / step + (units % step != 0));
    }
    job->first_piece[m->n_tensors] = pieces;
    job->buffer_size = (size_t)widest + job->plan->alignment;
    return 0;
}

static int make_buffers(Job *job, unsigned threads, const Allocator *allocator, Error *err) {
    size_t most = BUFFERS_BYTES / job->buffer_size, pieces = job->first_piece[job->plan->model->n_tensors];
    if (threads == 0) threads = threads_available();
    if (threads > most) threads = (unsigned)most;
    if (threads > pieces) threads = pieces ? (unsigned)pieces : 1;
    job->threads = threads;
    job->buffers = mem_alloc(allocator, threads * job->buffer_size);
    return job->buffers ? 0 : error_memory(err, "the buffers of a conversion");
}

static int put_header(Job *job, Error *err) {
    const Buffer *h = &job->plan->header;
    if (job->output) TRY(output_write(job->output, 0, h->data, h->length, err));
    if (job->hash) sha256_update(job->hash, h->data, h->length);
    return progress_update(job->progress, job->phase, h->length, job->plan->file_size, err);
}

static int sources_unchanged(const Model *m, Error *err) {
    for (size_t i = 0; i < m->n_files; i++) TRY(input_unchanged(m->files[i].input, err));
    return 0;
}

static int make_bytes(Job *job, const ExecuteOptions *options, Error *err) {
    TRY(count_pieces(job, options->allocator, err));
    TRY(make_buffers(job, options->threads, options->allocator, err));
    if (!options->no_hash) TRY(sha256_open(&job->hash, err));
    if (job->output) TRY(output_reserve(job->output, job->plan->file_size, err));
    TRY(put_header(job, err));
    size_t pieces = job->first_piece[job->plan->model->n_tensors];
    TRY(threads_run(job->threads, pieces, (ThreadWork){do_piece, job}, err));
    TRY(sources_unchanged(job->plan->model, err));
    if (!job->output) return 0;
    return gguf_verify(job->plan, output_fd(job->output), output_path(job->output), options->allocator, err);
}

static const char *phase_name(char *buffer, size_t size, const char *path) {
    if (!path) return "hash what would be written";
    const char *slash = strrchr(path, '/');
    snprintf(buffer, size, "write %s", slash ? slash + 1 : path);
    return buffer;
}

int gguf_execute(FileResult *out, const GgufPlan *plan, const char *path, ExecuteOptions options,
                 Error *err) {
    *out = (FileResult){.size = plan->file_size};
    char phase[300];
    Job job = {.plan = plan,
               .progress = options.progress,
               .phase = phase_name(phase, sizeof phase, path),
               .failed_at = SIZE_MAX,
               .lock = PTHREAD_MUTEX_INITIALIZER,
               .moved = PTHREAD_COND_INITIALIZER};
    int code = path ? output_create(&job.output, path, options.allocator, err) : 0;
    if (!code) code = make_bytes(&job, &options, err);
    if (!code && job.hash) sha256_finish(job.hash, out->sha256);
    if (code) {
        output_discard(job.output);
    } else if (job.output) {
        code = output_commit(job.output, err);
    }
    sha256_close(job.hash);
    mem_free(options.allocator, job.buffers);
    mem_free(options.allocator, job.first_piece);
    return code;
}
