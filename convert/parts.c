/* parts.c -- see parts.h. */
#include "convert/parts.h"

#include "convert/gguf_verify.h"
#include "convert/journal.h"
#include "convert/output_walk.h"
#include "convert/resume.h"
#include "model/proof_walk.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- shares ---- */

static uint64_t unit_bytes(const Tensor *t) {
    return t->n_transforms ? tensor_row_bytes(t) : 1;
}

/* The last place at or before x where a piece can begin. */
static uint64_t boundary(const GgufPlan *plan, uint64_t x) {
    const Model *m = plan->model;
    if (x >= plan->file_size) return plan->file_size;
    if (x < plan->data_offset || m->n_tensors == 0) return 0;
    size_t low = 0, high = m->n_tensors;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (plan->data_offset + plan->offsets[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    const Tensor *t = &m->tensors[low];
    uint64_t start = plan->data_offset + plan->offsets[low], within = x - start, unit = unit_bytes(t);
    uint64_t units = tensor_bytes(t) / unit;
    if (units == 0) return start;
    /* the zeros behind a tensor belong to its last unit */
    return start + (within / unit < units ? within / unit : units - 1) * unit;
}

/* size * index / count without overflow. */
static uint64_t share(uint64_t size, uint32_t index, uint32_t count) {
    return size / count * index + size % count * index / count;
}

PartRange part_range(const GgufPlan *plan, uint32_t index, uint32_t count) {
    return (PartRange){boundary(plan, share(plan->file_size, index - 1, count)),
                       boundary(plan, share(plan->file_size, index, count))};
}

/* ---- keys and records ---- */

/* Of what decides the bytes, and nothing of the machine: parts may be written on several. */
static int parts_key(char key[SHA256_HEX], const GgufPlan *plan, Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_append(&b, plan->header.data, plan->header.length);
    for (size_t i = 0; i < plan->model->n_files; i++) {
        buffer_text(&b, plan->model->files[i].name);
        buffer_u64(&b, input_size(plan->model->files[i].input));
    }
    int code = buffer_ok(&b, "the key of a part", err);
    if (!code) code = sha256_bytes(key, b.data, b.length, err);
    buffer_free(&b);
    return code;
}

/* "OUT.part-3": what the record's name is made of (journal.h). */
static int record_path(char out[PATH_MAX], const char *path, uint32_t index, Error *err) {
    int n = snprintf(out, PATH_MAX, "%s.part-%u", path, index);
    return n > 0 && n < PATH_MAX ? 0 : error_sys(err, ERR_IO, ENAMETOOLONG, "%s", path);
}

typedef struct PartRecord {
    uint32_t count;
    PartRange range;
    char sha256[SHA256_HEX];
} PartRecord;

static int put_record(const char *path, const char *key, uint32_t index, const PartRecord *r, Error *err) {
    char name[PATH_MAX];
    Buffer b;
    TRY(record_path(name, path, index, err));
    buffer_init(&b, NULL);
    buffer_u32(&b, r->count);
    buffer_u64(&b, r->range.begin);
    buffer_u64(&b, r->range.end);
    buffer_append(&b, r->sha256, SHA256_HEX);
    int code = buffer_ok(&b, "the record of a part", err);
    if (!code) code = journal_write(name, key, &b, err);
    buffer_free(&b);
    return code;
}

static int get_record(bool *found, PartRecord *r, const char *path, const char *key, uint32_t index,
                      Error *err) {
    char name[PATH_MAX];
    Buffer b;
    *found = false;
    TRY(record_path(name, path, index, err));
    buffer_init(&b, NULL);
    int code = journal_read(found, &b, name, key, err);
    if (!code && *found) {
        BufferReader in = {.at = buffer_string(&b), .end = buffer_string(&b) + b.length};
        r->count = reader_u32(&in);
        r->range.begin = reader_u64(&in);
        r->range.end = reader_u64(&in);
        reader_bytes(&in, r->sha256, SHA256_HEX);
        *found = !in.failed && in.at == in.end && r->sha256[SHA256_HEX - 1] == 0;
    }
    buffer_free(&b);
    return code;
}

static void remove_record(const char *path, const char *key, uint32_t index) {
    char name[PATH_MAX];
    if (record_path(name, path, index, NULL) == 0) journal_remove(name, key);
}

/* ---- one part ---- */

typedef struct PartWalk {
    OutputWalk output; /* first: it is the walk's context */
    const WalkKind *whole;
} PartWalk;

/* As for the whole file, but for where the part ends. */
static void cut_part(const Walk *w, Piece *p) {
    const PartWalk *part = w->context;
    const GgufPlan *plan = part->output.plan;
    part->whole->cut(w, p);
    if (p->begin + p->length <= w->length) return;
    p->length = (size_t)(w->length - p->begin);
    if (p->begin >= plan->data_offset) p->count = p->length / unit_bytes(&plan->model->tensors[p->item]);
}

static int make_part(PartRecord *r, Output *o, const GgufPlan *plan, uint32_t index, ExecuteOptions options,
                     Error *err) {
    PartWalk part = {.output = {.plan = plan, .output = o}};
    char phase[40];
    size_t buffer;
    TRY(output_walk_buffer(plan, &buffer, err));
    TRY(sha256_open(&part.output.hash, err));
    Walk walk = output_walk(&part.output, 0);
    WalkKind kind = *walk.kind;
    part.whole = walk.kind;
    kind.cut = cut_part;
    walk.kind = &kind;
    walk.position = r->range.begin;
    walk.length = r->range.end;
    snprintf(phase, sizeof phase, "write part %u of %u", index, r->count);
    WalkOptions w = {.threads = options.threads,
                     .buffer_size = buffer,
                     .phase = phase,
                     .progress = options.progress,
                     .allocator = options.allocator};
    int code = walks_run(&walk, 1, w, err);
    memcpy(r->sha256, part.output.sha256, SHA256_HEX);
    sha256_close(part.output.hash);
    return code;
}

static int not_a_source(const Model *m, const char *path, Error *err) {
    for (size_t i = 0; i < m->n_files; i++)
        if (input_is(m->files[i].input, path))
            return error_set(err, ERR_IO, "%s is the source itself: give the output another name", path);
    return 0;
}

/* The file that all parts write to. */
static int open_shared(Output **out, uint64_t *size, const char *path, const char *key, bool shared,
                       const Allocator *allocator, Error *err) {
    char digits[RESUME_DIGITS + 1] = {0};
    memcpy(digits, key, RESUME_DIGITS);
    return output_resume(out, path, digits, shared, size, allocator, err);
}

int part_write(bool *done, PartRange *range, const GgufPlan *plan, const char *path, uint32_t index,
               uint32_t count, ExecuteOptions options, Error *err) {
    char key[SHA256_HEX];
    PartRecord r;
    Output *o;
    uint64_t size;
    *done = false;
    if (count < 1 || count > PARTS_MOST || index < 1 || index > count)
        return error_set(err, ERR_USAGE, "part %u of %u: parts are counted from 1, %d are the most", index,
                         count, PARTS_MOST);
    *range = part_range(plan, index, count);
    TRY(not_a_source(plan->model, path, err));
    TRY(parts_key(key, plan, err));
    TRY(open_shared(&o, &size, path, key, true, options.allocator, err));
    int code = get_record(done, &r, path, key, index, err);
    *done = *done && size && !options.restart && r.count == count;
    if (!code && !*done) {
        remove_record(path, key, index);
        r = (PartRecord){.count = count, .range = *range};
        code = output_reserve(o, plan->file_size, err);
        if (!code) code = make_part(&r, o, plan, index, options, err);
        for (size_t i = 0; i < plan->model->n_files && !code; i++)
            code = input_unchanged(plan->model->files[i].input, err);
        if (!code) code = output_flush(o, err);
        if (!code) code = put_record(path, key, index, &r, err);
    }
    output_keep(o);
    return code;
}

/* ---- joining ---- */

typedef struct JoinWalk {
    const char *path;
    int fd;
    uint32_t n;
    const PartRecord *records;
    uint32_t part; /* whose bytes are taken now, from 0 */
    Sha256 *whole, *of_part;
    char sha256[SHA256_HEX];
} JoinWalk;

/* Pieces end where parts do. */
static void cut_join(const Walk *w, Piece *p) {
    const JoinWalk *j = w->context;
    uint32_t i = 0;
    while (j->records[i].range.end <= p->begin) i++;
    uint64_t left = j->records[i].range.end - p->begin;
    p->item = i;
    p->length = left < WALK_PIECE ? (size_t)left : WALK_PIECE;
}

static int fill_join(const Walk *w, const Piece *p, uint8_t *buffer, Error *err) {
    const JoinWalk *j = w->context;
    for (size_t done = 0; done < p->length;) {
        ssize_t n = pread(j->fd, buffer + done, p->length - done, (off_t)(p->begin + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_sys(err, ERR_IO, errno, "the parts of %s", j->path);
        if (n == 0)
            return error_set(err, ERR_CHECK,
                             "the parts of %s: write part %u again with --restart: its bytes are missing",
                             j->path, (unsigned)p->item + 1);
        done += (size_t)n;
    }
    return 0;
}

static int take_join(Walk *w, const Piece *p, const uint8_t *buffer, Error *err) {
    JoinWalk *j = w->context;
    const PartRecord *r = &j->records[p->item];
    char found[SHA256_HEX];
    sha256_update2(j->whole, buffer, p->length, j->of_part, buffer, p->length);
    if (p->begin + p->length < r->range.end) return 0;
    sha256_finish(j->of_part, found);
    sha256_close(j->of_part);
    j->of_part = NULL;
    if (strcmp(found, r->sha256))
        return error_set(
            err, ERR_CHECK,
            "the parts of %s: write part %u again with --restart: its bytes have SHA-256 %s, they were "
            "written with %s",
            j->path, (unsigned)p->item + 1, found, r->sha256);
    return sha256_open(&j->of_part, err);
}

static int finish_join(Walk *w, Error *err) {
    JoinWalk *j = w->context;
    (void)err;
    sha256_finish(j->whole, j->sha256);
    return 0;
}

static const char *name_join(const Walk *w, const Piece *p) {
    (void)w;
    (void)p;
    return "parts";
}

static int missing(const char *path, uint32_t index, uint32_t count, Error *err) {
    if (!count)
        return error_set(err, ERR_CHECK, "%s: no part 1 of these settings is here: write it by --part 1/N",
                         path);
    return error_set(err, ERR_CHECK, "%s: part %u of %u is not done: write it by --part %u/%u", path, index,
                     count, index, count);
}

static int get_records(PartRecord **out, uint32_t *count, const GgufPlan *plan, const char *path,
                       const char *key, Arena *arena, Error *err) {
    PartRecord first;
    bool found;
    TRY(get_record(&found, &first, path, key, 1, err));
    if (!found) return missing(path, 1, 0, err);
    if (first.count < 1 || first.count > PARTS_MOST)
        return error_set(err, ERR_FORMAT, "%s: part 1 is damaged", path);
    PartRecord *list = arena_alloc(arena, first.count, sizeof *list);
    if (!list) return error_memory(err, "the parts");
    for (uint32_t i = 0; i < first.count; i++) {
        TRY(get_record(&found, &list[i], path, key, i + 1, err));
        if (!found) return missing(path, i + 1, first.count, err);
        PartRange want = part_range(plan, i + 1, first.count);
        if (list[i].count != first.count || list[i].range.begin != want.begin ||
            list[i].range.end != want.end)
            return error_set(err, ERR_CHECK, "%s: part %u was written as one of %u, part 1 as one of %u",
                             path, i + 1, list[i].count, first.count);
    }
    *out = list;
    *count = first.count;
    return 0;
}

static int run_join(JoinWalk *j, const Conversion *c, SourceProof **proof, ExecuteOptions options,
                    Arena *arena, Error *err) {
    static const WalkKind kind = {cut_join, fill_join, take_join, NULL, finish_join, name_join};
    ProofWalks *proofs = NULL;
    WalkOptions w = {.threads = options.threads,
                     .buffer_size = WALK_PIECE,
                     .phase = "join parts",
                     .progress = options.progress,
                     .allocator = options.allocator};
    TRY(sha256_open(&j->whole, err));
    TRY(sha256_open(&j->of_part, err));
    if (c->source) TRY(proof_walks_open(&proofs, c->source, c->promised, options.allocator, err));
    size_t n = proofs ? proof_walks_count(proofs) : 0;
    Walk *walks = arena_alloc(arena, n + 1, sizeof *walks);
    int code = walks ? 0 : error_memory(err, "the parts");
    if (!code) {
        if (proofs) proof_walks_put(proofs, walks, 0);
        walks[n] = (Walk){
            .kind = &kind, .context = j, .group = proofs != NULL, .length = c->outputs[0].plan->file_size};
        code = walks_run(walks, n + 1, w, err);
    }
    if (!code && proofs) code = proof_walks_finish(proofs, proof, err);
    proof_walks_close(proofs);
    return code;
}

static int join(const Conversion *c, Output *o, const char *key, SourceProof **proof, ExecuteOptions options,
                Arena *arena, Error *err) {
    ConversionOutput *out = &c->outputs[0];
    JoinWalk j = {.path = out->path, .fd = output_fd(o)};
    PartRecord *records = NULL;
    TRY(get_records(&records, &j.n, out->plan, out->path, key, arena, err));
    j.records = records;
    int code = run_join(&j, c, proof, options, arena, err);
    sha256_close(j.whole);
    sha256_close(j.of_part);
    if (!code) code = gguf_verify(out->plan, output_fd(o), out->path, options.allocator, err);
    if (code) return code;
    out->result.size = out->plan->file_size;
    memcpy(out->result.sha256, j.sha256, SHA256_HEX);
    return 0;
}

int parts_join(const Conversion *c, ExecuteOptions options, Error *err) {
    ConversionOutput *out = &c->outputs[0];
    char key[SHA256_HEX];
    SourceProof *proof = NULL;
    Arena *arena;
    Output *o;
    uint64_t size;
    if (c->proof) *c->proof = NULL;
    TRY(parts_key(key, out->plan, err));
    PartRecord first;
    bool found;
    TRY(get_record(&found, &first, out->path, key, 1, err));
    if (!found) return missing(out->path, 1, 0, err);
    TRY(open_shared(&o, &size, out->path, key, false, options.allocator, err));
    int code = arena_open(&arena, options.allocator, err);
    if (code) {
        output_keep(o);
        return code;
    }
    code = join(c, o, key, &proof, options, arena, err);
    arena_close(arena);
    if (code)
        output_keep(o); /* the parts stay: only what is wrong has to be made again */
    else
        code = output_commit(o, err);
    for (uint32_t i = 1; !code && i <= first.count; i++) remove_record(out->path, key, i);
    if (!code && c->proof)
        *c->proof = proof;
    else
        source_proof_close(proof);
    return code;
}
