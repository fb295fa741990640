/* machine.c -- what this machine can do at most, for bench/run.sh: the rate at which THREADS threads read
 * memory together, and the float32 fused multiply-adds that they reach.
 *
 *   machine THREADS [MEGABYTES [FILE]]    prints: GB/s of anonymous memory, GB/s of FILE mapped (0 without
 * one), GFLOP/s Memory is read in streams of one run of rows each, as the runner reads weights, best of five
 * passes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef float Floats __attribute__((vector_size(64)));
typedef uint64_t Words __attribute__((vector_size(64), aligned(1)));

enum { PASSES = 5, CHAINS = 16 };

typedef struct Work {
    const uint8_t *data;
    size_t bytes;
    double begin, end;
    uint64_t sum;
    float out;
    pthread_barrier_t *start;
} Work;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

__attribute__((target_clones("avx512f", "avx2", "default"))) static uint64_t read_all(const uint8_t *p,
                                                                                      size_t n) {
    Words a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 256 <= n; i += 256) {
        a ^= *(const Words *)(p + i);
        b ^= *(const Words *)(p + i + 64);
        c ^= *(const Words *)(p + i + 128);
        d ^= *(const Words *)(p + i + 192);
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

static void *read_work(void *context) {
    Work *w = context;
    pthread_barrier_wait(w->start);
    w->begin = seconds();
    w->sum = read_all(w->data, w->bytes);
    w->end = seconds();
    return NULL;
}

enum { FMA_ROUNDS = 20000000 };

__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"),
               optimize("O3", "fp-contract=fast"))) static float
multiply_add(float seed) {
    Floats sum[CHAINS], factor, addend;
    for (int k = 0; k < 16; k++) factor[k] = 0.999999f, addend[k] = seed;
    for (int c = 0; c < CHAINS; c++) sum[c] = addend * (float)c;
    for (int i = 0; i < FMA_ROUNDS; i++) {
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) sum[c] = sum[c] * factor + addend;
    }
    Floats all = sum[0];
    for (int c = 1; c < CHAINS; c++) all += sum[c];
    return all[0] + all[7];
}

static void *fma_work(void *context) {
    Work *w = context;
    pthread_barrier_wait(w->start);
    w->begin = seconds();
    w->out = multiply_add(1e-3f);
    w->end = seconds();
    return NULL;
}

/* Seconds from the first thread's begin to the last one's end. */
static double together(unsigned threads, void *(*run)(void *), Work *work) {
    pthread_t id[256];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    for (unsigned t = 0; t < threads; t++) {
        work[t].start = &start;
        if (pthread_create(&id[t], NULL, run, &work[t])) abort();
    }
    double begin = 0, end = 0;
    for (unsigned t = 0; t < threads; t++) {
        pthread_join(id[t], NULL);
        if (t == 0 || work[t].begin < begin) begin = work[t].begin;
        if (work[t].end > end) end = work[t].end;
    }
    pthread_barrier_destroy(&start);
    return end - begin;
}

static double read_rate(unsigned threads, const uint8_t *data, size_t bytes) {
    static Work work[256];
    double best = 0;
    for (int pass = 0; pass < PASSES; pass++) {
        for (unsigned t = 0; t < threads; t++)
            work[t] = (Work){.data = data + bytes / threads * t, .bytes = bytes / threads};
        double rate = (double)bytes / together(threads, read_work, work) / 1e9;
        if (rate > best) best = rate;
    }
    return best;
}

int main(int argc, char **argv) {
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
    size_t bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 2048) << 20;
    if (threads < 1 || threads > 256 || bytes == 0) return 2;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 3;
    memset(memory, 1, bytes);
    printf("%.1f ", read_rate(threads, memory, bytes));
    munmap(memory, bytes);
    struct stat info;
    int file = argc > 3 ? open(argv[3], O_RDONLY) : -1;
    if (file >= 0 && fstat(file, &info) == 0 && (size_t)info.st_size < bytes) bytes = (size_t)info.st_size;
    uint8_t *mapped = file < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, file, 0);
    printf("%.1f ", mapped == MAP_FAILED ? 0 : read_rate(threads, mapped, bytes));
    static Work work[256];
    double best = 0;
    for (int pass = 0; pass < 3; pass++) {
        double rate = 1e-9 * 2 * 16 * CHAINS * FMA_ROUNDS * threads / together(threads, fma_work, work);
        if (rate > best) best = rate;
    }
    printf("%.0f\n", best);
    return work[0].out == 42; /* keeps the sums */
}
