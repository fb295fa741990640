/* logits_hash.c -- see logits_hash.h. */
#include "runner/logits_hash.h"
#include <pthread.h>
#include <string.h>

struct LogitsHash {
    const Allocator *allocator;
    Sha256 *hash;
    float *row; /* the thread's while `full` */
    size_t n_vocab;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool threaded, full, ending;
};

/* This machine is little-endian: floats.c. */
static void hash_row(LogitsHash *h) {
    sha256_update(h->hash, h->row, h->n_vocab * sizeof *h->row);
}

static void *work(void *context) {
    LogitsHash *h = context;
    pthread_mutex_lock(&h->lock);
    for (;;) {
        while (!h->full && !h->ending) pthread_cond_wait(&h->changed, &h->lock);
        if (!h->full) break;
        pthread_mutex_unlock(&h->lock);
        hash_row(h);
        pthread_mutex_lock(&h->lock);
        h->full = false;
        pthread_cond_signal(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* With the lock held: until the thread has nothing to do. */
static void wait_for_thread(LogitsHash *h) {
    while (h->full) pthread_cond_wait(&h->changed, &h->lock);
}

int logits_hash_open(LogitsHash **out, size_t n_vocab, const Allocator *allocator, Error *err) {
    size_t bytes;
    LogitsHash *h = mem_alloc(allocator, sizeof *h);
    if (!h) return error_memory(err, "the hash of the logits");
    *h = (LogitsHash){.allocator = allocator, .n_vocab = n_vocab};
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    h->row = size_mul(&bytes, n_vocab, sizeof *h->row) ? mem_alloc(allocator, bytes) : NULL;
    int code = h->row ? sha256_open(&h->hash, err) : error_memory(err, "the hash of the logits");
    if (code) {
        logits_hash_close(h);
        return code;
    }
    h->threaded = pthread_create(&h->thread, NULL, work, h) == 0;
    *out = h;
    return 0;
}

void logits_hash_close(LogitsHash *h) {
    if (!h) return;
    if (h->threaded) {
        pthread_mutex_lock(&h->lock);
        h->ending = true;
        pthread_cond_signal(&h->changed);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    sha256_close(h->hash);
    mem_free(h->allocator, h->row);
    mem_free(h->allocator, h);
}

void logits_hash_add(LogitsHash *h, const float *logits) {
    pthread_mutex_lock(&h->lock);
    wait_for_thread(h);
    memcpy(h->row, logits, h->n_vocab * sizeof *h->row);
    h->full = h->threaded;
    pthread_cond_signal(&h->changed);
    pthread_mutex_unlock(&h->lock);
    if (!h->threaded) hash_row(h);
}

void logits_hash_finish(LogitsHash *h, char hex[SHA256_HEX]) {
    pthread_mutex_lock(&h->lock);
    wait_for_thread(h);
    pthread_mutex_unlock(&h->lock);
    sha256_finish(h->hash, hex);
}
