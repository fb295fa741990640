/* sweep.c -- looking at every byte of many tensors or files, on several threads, in pieces of 1 MiB. */
#include "core/threads.h"
#include "validate/validation.h"

int sweep_run(Sweep *s, const ValidateOptions *options, size_t count, ThreadWork work, Error *err) {
    s->progress = options->progress;
    s->threads = options->threads ? options->threads : threads_available();
    if (s->threads > SWEEP_THREADS) s->threads = SWEEP_THREADS;
    if (pthread_mutex_init(&s->lock, NULL)) return error_memory(err, "a lock");
    int code = threads_run(s->threads, count, work, err);
    pthread_mutex_destroy(&s->lock);
    for (size_t i = 0; i < SWEEP_THREADS; i++)
        for (int k = 0; k < 2; k++) mem_free(NULL, s->buffers[i][k].bytes);
    return code;
}

int sweep_buffer(Sweep *s, unsigned thread, int which, size_t size, uint8_t **out, Error *err) {
    uint8_t **bytes = &s->buffers[thread][which].bytes;
    if (s->buffers[thread][which].size < size) {
        uint8_t *more = mem_resize(NULL, *bytes, size);
        if (!more) return error_memory(err, "a piece of a tensor");
        *bytes = more;
        s->buffers[thread][which].size = size;
    }
    *out = *bytes;
    return 0;
}

int sweep_advance(Sweep *s, uint64_t bytes, Error *err) {
    pthread_mutex_lock(&s->lock);
    s->done += bytes;
    int code = progress_update(s->progress, s->phase, s->done, s->total, err);
    pthread_mutex_unlock(&s->lock);
    return code;
}

TensorPieces tensor_pieces(const Tensor *t, bool by_rows) {
    uint64_t row = tensor_row_bytes(t);
    if (!by_rows) return (TensorPieces){.total = tensor_bytes(t), .step = SWEEP_PIECE, .unit = 1};
    return (TensorPieces){.total = row ? tensor_rows(t) : 0,
                          .step = row && row < SWEEP_PIECE ? SWEEP_PIECE / row : 1,
                          .unit = (size_t)row};
}

int tensor_piece(const Tensor *t, const TensorPieces *p, uint64_t at, uint64_t count, void *buffer,
                 Error *err) {
    if (t->n_transforms || p->unit != 1) return model_read(t, at, count, buffer, err);
    return tensor_read_stored(t, at, buffer, (size_t)count, err);
}
