/* walks.c -- see walks.h. One lock guards all bookkeeping; it is held for a few hundred nanoseconds a piece.
 */
#include "core/walks.h"

#include "core/threads.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

enum {
    LARGEST_TEAM = 256,
    BUFFERS_BYTES = 128 << 20, /* of all threads, unless one piece alone is larger */
    LARGEST_LEAD = 256 << 20,  /* bytes that a group may be ahead of the last one */
};

struct Held {
    Piece piece;
    uint8_t *bytes;
    bool filled;
    Held *next; /* younger in its walk, or in the list of free ones */
};

typedef struct Team {
    Walk *walks;
    size_t n_walks;
    unsigned n_groups;
    uint64_t *group_cut, *group_length; /* bytes */
    WalkOptions options;
    size_t n_buffers, most_a_walk;
    Held *buffers;

    pthread_mutex_t lock; /* guards what follows, and the walks' bookkeeping */
    pthread_cond_t moved;
    Held *free;
    size_t first_open; /* walks before it are all handed out */
    uint64_t done, total;
    bool stop;
    size_t taking;  /* pieces being taken now */
    bool holding;   /* a checkpoint is due: no further piece is taken before it */
    double next;    /* checkpoint, seconds */
    uint64_t noted; /* `done` at the last one */
    size_t failed_walk;
    uint64_t failed_at;
    int code;
    Error error;
} Team;

/* ---- failures ---- */

static bool is_earlier(const Team *t, size_t walk, uint64_t at) {
    if (!t->code) return true;
    return walk != t->failed_walk ? walk < t->failed_walk : at < t->failed_at;
}

/* Pieces are handed out in order and a thread finishes what it has begun, so the lowest piece that fails is
 * found whatever the threads do. */
static void fail(Team *t, size_t walk, uint64_t at, int code, const Error *error) {
    if (is_earlier(t, walk, at)) {
        t->failed_walk = walk;
        t->failed_at = at;
        t->code = code;
        t->error = *error;
    }
    t->stop = true;
}

/* ---- what to do next ---- */

static double group_share(const Team *t, unsigned group) {
    return t->group_length[group] ? (double)t->group_cut[group] / (double)t->group_length[group] : 1;
}

/* The first walk of a group that has pieces left and not too many on their way. */
static Walk *open_walk(const Team *t, unsigned group) {
    for (size_t i = t->first_open; i < t->n_walks; i++) {
        Walk *w = &t->walks[i];
        if (w->group == group && w->cut < w->length && w->on_the_way < t->most_a_walk) return w;
    }
    return NULL;
}

/* The walk to be filled next: of the group that has come least far, if it can go on; a group that is much
 * further than the last must wait for it. */
static Walk *walk_to_fill(const Team *t) {
    Walk *best = NULL;
    double best_share = 2, least = 2;
    for (unsigned g = 0; g < t->n_groups; g++) {
        if (t->group_cut[g] == t->group_length[g]) continue;
        double share = group_share(t, g);
        if (share < least) least = share;
        if (share >= best_share) continue;
        Walk *w = open_walk(t, g);
        if (w) {
            best = w;
            best_share = share;
        }
    }
    if (best && (best_share - least) * (double)t->group_length[best->group] > LARGEST_LEAD) return NULL;
    return best;
}

/* Has its next piece come, and does nobody take it? */
static bool is_ready(const Walk *w) {
    return !w->taking && w->oldest && w->oldest->filled;
}

static Walk *walk_to_take(const Team *t) {
    if (t->holding) return NULL;
    for (size_t i = 0; i < t->n_walks; i++)
        if (is_ready(&t->walks[i])) return &t->walks[i];
    return NULL;
}

/* ---- doing it; each is called with the lock and returns with it ---- */

static void report(Team *t, const Walk *w, const Piece *p) {
    const Progress *progress = t->options.progress;
    uint64_t shown = t->done, total = t->options.progress_total;
    if (!total) total = t->total;
    if (total != t->total)
        shown = t->done == t->total ? total : (uint64_t)((double)t->done / (double)t->total * (double)total);
    if (progress && progress->item && w->kind->name) progress->item(progress->context, w->kind->name(w, p));
    Error error = {0};
    int code = progress_update(progress, t->options.phase, shown, total, &error);
    if (code) fail(t, (size_t)(w - t->walks), p->begin, code, &error);
}

static void release(Team *t, Held *h) {
    h->next = t->free;
    t->free = h;
    pthread_cond_broadcast(&t->moved);
}

/* A piece has gone all its way. */
static void pass(Team *t, Walk *w, const Piece *p, int code, Error *error) {
    size_t number = (size_t)(w - t->walks);
    w->on_the_way--;
    if (code) {
        fail(t, number, p->begin, code, error);
        return;
    }
    t->done += p->length;
    report(t, w, p);
}

static int finish(Walk *w, Error *err) {
    return w->kind->finish ? w->kind->finish(w, err) : 0;
}

/* Another walk of the kind that is ready, so that one thread takes the pieces of both at once. */
static Walk *partner_of(const Team *t, const Walk *w) {
    for (const Walk *p = w + 1; w->kind->take2 && p < t->walks + t->n_walks; p++)
        if (p->kind == w->kind && is_ready(p)) return &t->walks[p - t->walks];
    return NULL;
}

static void begin_take(Team *t, Walk *w) {
    w->taking = true;
    t->taking++;
}

/* Without the lock: what is left of taking a piece. */
static int taken(Walk *w, int code, Error *err) {
    if (code) return code;
    w->position += w->oldest->piece.length;
    return w->position == w->length ? finish(w, err) : 0;
}

static void end_take(Team *t, Walk *w, int code, Error *error) {
    Held *h = w->oldest;
    w->taking = false;
    t->taking--;
    w->oldest = h->next;
    if (!w->oldest) w->newest = NULL;
    pass(t, w, &h->piece, code, error);
    release(t, h);
}

static void take(Team *t, Walk *w) {
    Walk *other = partner_of(t, w);
    Held *h = w->oldest, *o = other ? other->oldest : NULL;
    Error error = {0}, other_error = {0};
    int code, other_code = 0;
    begin_take(t, w);
    if (other) begin_take(t, other);
    pthread_mutex_unlock(&t->lock);
    if (other) {
        w->kind->take2(w, &h->piece, h->bytes, other, &o->piece, o->bytes);
        code = taken(w, 0, &error);
        other_code = taken(other, 0, &other_error);
    } else {
        code = taken(w, w->kind->take(w, &h->piece, h->bytes, &error), &error);
    }
    pthread_mutex_lock(&t->lock);
    end_take(t, w, code, &error);
    if (other) end_take(t, other, other_code, &other_error);
}

/* For walks whose pieces may come in any order. */
static void pass_filled(Team *t, Walk *w, Held *h) {
    Error error = {0};
    w->position += h->piece.length;
    int code = w->position == w->length ? finish(w, &error) : 0;
    pass(t, w, &h->piece, code, &error);
    release(t, h);
}

static void hand_out(Team *t, Walk *w, Held *h) {
    h->piece = (Piece){.begin = w->cut};
    w->kind->cut(w, &h->piece);
    h->filled = false;
    h->next = NULL;
    w->cut += h->piece.length;
    w->on_the_way++;
    t->group_cut[w->group] += h->piece.length;
    while (t->first_open < t->n_walks && t->walks[t->first_open].cut == t->walks[t->first_open].length)
        t->first_open++;
    if (!w->kind->take) return;
    if (w->newest)
        w->newest->next = h;
    else
        w->oldest = h;
    w->newest = h;
}

static void fill(Team *t, Walk *w) {
    Held *h = t->free;
    Error error = {0};
    t->free = h->next;
    hand_out(t, w, h);
    pthread_mutex_unlock(&t->lock);
    int code = w->kind->fill(w, &h->piece, h->bytes, &error);
    pthread_mutex_lock(&t->lock);
    if (code) { /* its buffer stays away: nothing more is to be done */
        fail(t, (size_t)(w - t->walks), h->piece.begin, code, &error);
        pthread_cond_broadcast(&t->moved);
        return;
    }
    h->filled = true;
    if (!w->kind->take)
        pass_filled(t, w, h);
    else
        pthread_cond_broadcast(&t->moved);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* True if this thread made the checkpoint. The lock is kept: others would only fill buffers meanwhile, and
 * those are few. */
static bool checkpoint(Team *t) {
    const WalkOptions *o = &t->options;
    if (!o->checkpoint || (!t->holding && (t->done == t->noted || now() < t->next))) return false;
    t->holding = true;
    if (t->taking) return false;
    Error error = {0};
    int code = o->checkpoint(o->checkpoint_context, &error);
    if (code) fail(t, 0, 0, code, &error);
    t->next = now() + o->checkpoint_seconds;
    t->noted = t->done;
    t->holding = false;
    pthread_cond_broadcast(&t->moved);
    return true;
}

static int work(void *context, size_t index, unsigned thread, Error *err) {
    Team *t = context;
    (void)index;
    (void)thread;
    (void)err;
    pthread_mutex_lock(&t->lock);
    while (!t->stop && t->done < t->total) {
        if (checkpoint(t)) continue;
        Walk *w = walk_to_take(t);
        if (w) {
            take(t, w);
            continue;
        }
        w = t->free ? walk_to_fill(t) : NULL;
        if (w)
            fill(t, w);
        else
            pthread_cond_wait(&t->moved, &t->lock);
    }
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
    return 0; /* failures are in the team */
}

/* ---- the team ---- */

static unsigned team_size(unsigned threads) {
    if (threads == 0) threads = threads_available();
    return threads > LARGEST_TEAM ? LARGEST_TEAM : threads;
}

/* Each thread fills one while others wait for their turn. */
static size_t count_buffers(unsigned threads, unsigned groups, size_t buffer_size) {
    size_t wanted = 2 * ((size_t)team_size(threads) + groups), most = BUFFERS_BYTES / buffer_size;
    if (wanted > most) wanted = most;
    return wanted ? wanted : 1;
}

uint64_t walks_memory(unsigned threads, unsigned groups, size_t buffer_size) {
    return (uint64_t)count_buffers(threads, groups, buffer_size) * buffer_size;
}

static int make_buffers(Team *t, Error *err) {
    const WalkOptions *o = &t->options;
    t->n_buffers = count_buffers(o->threads, t->n_groups, o->buffer_size);
    uint64_t pieces = t->total / WALK_PIECE + t->n_walks + 1; /* small work needs few */
    if (t->n_buffers > pieces) t->n_buffers = (size_t)pieces;
    t->most_a_walk = t->n_buffers / (t->n_groups + 1);
    if (t->most_a_walk < 2) t->most_a_walk = 2;
    size_t share = 2 * (size_t)t->n_groups * sizeof(uint64_t);
    t->buffers = mem_alloc(o->allocator, t->n_buffers * sizeof(Held));
    t->group_cut = mem_alloc(o->allocator, share + 1);
    if (t->buffers) memset(t->buffers, 0, t->n_buffers * sizeof(Held));
    if (!t->buffers || !t->group_cut) return error_memory(err, "the buffers of a conversion");
    memset(t->group_cut, 0, share);
    t->group_length = t->group_cut + t->n_groups;
    for (size_t i = 0; i < t->n_buffers; i++) {
        Held *h = &t->buffers[i];
        if (!(h->bytes = mem_alloc(o->allocator, o->buffer_size)))
            return error_memory(err, "the buffers of a conversion");
        h->next = t->free;
        t->free = h;
    }
    return 0;
}

static void free_buffers(Team *t) {
    for (size_t i = 0; t->buffers && i < t->n_buffers; i++)
        mem_free(t->options.allocator, t->buffers[i].bytes);
    mem_free(t->options.allocator, t->buffers);
    mem_free(t->options.allocator, t->group_cut);
}

/* Walks that have nothing to do are finished at once. */
static int start(Team *t, Error *err) {
    for (size_t i = 0; i < t->n_walks; i++) {
        Walk *w = &t->walks[i];
        w->cut = w->position;
        w->oldest = w->newest = NULL;
        w->on_the_way = 0;
        w->taking = false;
        t->group_length[w->group] += w->length;
        t->group_cut[w->group] += w->position;
        t->done += w->position;
        if (w->position == w->length) TRY(finish(w, err));
    }
    return progress_update(t->options.progress, t->options.phase, 0,
                           t->options.progress_total ? t->options.progress_total : t->total, err);
}

int walks_run(Walk *walks, size_t n, WalkOptions options, Error *err) {
    Team t = {.walks = walks,
              .n_walks = n,
              .options = options,
              .lock = PTHREAD_MUTEX_INITIALIZER,
              .moved = PTHREAD_COND_INITIALIZER};
    for (size_t i = 0; i < n; i++) {
        t.total += walks[i].length;
        if (walks[i].group >= t.n_groups) t.n_groups = walks[i].group + 1;
    }
    t.next = now() + options.checkpoint_seconds;
    int code = make_buffers(&t, err);
    if (!code) code = start(&t, err);
    unsigned threads = team_size(options.threads);
    if (!code && threads > t.n_buffers) threads = (unsigned)t.n_buffers;
    if (!code) code = threads_run(threads, threads, (ThreadWork){work, &t}, err);
    if (!code && t.code) {
        code = t.code;
        if (err) *err = t.error;
    }
    free_buffers(&t);
    pthread_cond_destroy(&t.moved);
    pthread_mutex_destroy(&t.lock);
    return code;
}
