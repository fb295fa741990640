/* proof_walk.c -- see proof_walk.h.
 *
 * A file is read once. Its hash and that of the tensor at hand are taken from the same buffer, two streams at
 * a time (core/sha256.h says why that is cheaper). F32 and F16 are hashed as the narrowest type that has not
 * failed yet; when an element does not fit, the tensor's bytes up to there are read again for the next type
 * (in practice that happens within the first bytes, at worst twice). */
#include "model/proof_walk.h"

#include "model/digest.h"
#include "model/narrow.h"
#include <stdlib.h>
#include <string.h>

enum {
    NARROW_BYTES = 32 << 10, /* a step of narrowing: fits the first-level cache with its result */
    AHEAD = 8 << 20, /* bytes asked for ahead: two walks that share a descriptor hide from the kernel that
                        each of them is sequential (cold: 3.4 s without, 2.8 s with it) */
};

/* A tensor's bytes in its file. */
typedef struct Span {
    uint64_t offset, length;
    DigestEntry *entry;
} Span;

/* The walk over one file. What follows `spans` is the state that a walk can be taken up from, together with
 * its position. */
typedef struct FileWalk {
    const SourceFile *file;
    const FileProof *promised; /* NULL: nothing */
    FileProof *proof;
    Span *spans; /* by offset */
    size_t n_spans;

    size_t span; /* the tensor at hand, or the next */
    DType as;    /* what it is hashed as; DT_NONE before its first byte */
    Sha256 *file_hash, *tensor_hash;
    uint8_t *wide, *narrow; /* scratch of NARROW_BYTES each, once needed */
} FileWalk;

struct ProofWalks {
    const Model *source;
    const SourceProof *promised;
    const Allocator *allocator;
    DigestList digest;
    bool has_digest;
    FileWalk *files;
    SourceProof *proof;
    Arena *arena;
};

/* ---- one tensor ---- */

static size_t width_of(DType type) {
    return type == DT_F32 ? 4 : 2;
}

static DType next_type(DType stored, DType as) {
    return as == DT_BF16 && stored != DT_BF16 ? DT_F16 : stored;
}

static int need_scratch(FileWalk *f, Error *err) {
    if (!f->wide) f->wide = mem_alloc(NULL, NARROW_BYTES);
    if (!f->narrow) f->narrow = mem_alloc(NULL, NARROW_BYTES);
    return f->wide && f->narrow ? 0 : error_memory(err, "hashing tensors");
}

/* Adds whole elements to the tensor's hash; false if one has no exact form. */
static bool add_as(FileWalk *f, DType stored, const uint8_t *bytes, size_t length) {
    if (f->as == stored) {
        sha256_update(f->tensor_hash, bytes, length);
        return true;
    }
    for (size_t at = 0; at < length; at += NARROW_BYTES) {
        size_t n = length - at < NARROW_BYTES ? length - at : NARROW_BYTES;
        size_t elements = n / width_of(stored);
        if (!narrow_exact(f->as, f->narrow, stored, bytes + at, elements)) return false;
        sha256_update(f->tensor_hash, f->narrow, 2 * elements);
    }
    return true;
}

/* The tensor from its beginning to `end`, read again as another type. */
static int add_again(FileWalk *f, const Span *s, uint64_t end, bool *exact, Error *err) {
    char unused[SHA256_HEX];
    sha256_finish(f->tensor_hash, unused); /* begins anew */
    *exact = true;
    for (uint64_t at = s->offset; at < end && *exact; at += NARROW_BYTES) {
        size_t n = end - at < NARROW_BYTES ? (size_t)(end - at) : NARROW_BYTES;
        TRY(input_read(f->file->input, at, f->wide, n, err));
        *exact = add_as(f, s->entry->tensor->stored, f->wide, n);
    }
    return 0;
}

static int add_narrowed(FileWalk *f, const Span *s, uint64_t at, const uint8_t *bytes, size_t length,
                        Error *err) {
    DType stored = s->entry->tensor->stored;
    if (f->as != stored) TRY(need_scratch(f, err));
    bool exact = add_as(f, stored, bytes, length);
    while (!exact) {
        f->as = next_type(stored, f->as);
        TRY(add_again(f, s, at + length, &exact, err));
    }
    return 0;
}

static void end_span(FileWalk *f) {
    DigestEntry *e = f->spans[f->span].entry;
    e->as = f->as == DT_NONE ? DT_BF16 : f->as;
    f->as = DT_NONE;
    f->span++;
    sha256_finish(f->tensor_hash, e->sha256);
}

/* ---- one file ---- */

/* The last span that begins before `at`; NULL if there is none. */
static const Span *span_before(const FileWalk *f, uint64_t at) {
    size_t low = 0, high = f->n_spans;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->spans[middle].offset < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &f->spans[low - 1] : NULL;
}

/* A piece does not end inside an element: tensors need not be aligned in a file. */
static void cut_file(const Walk *w, Piece *p) {
    const FileWalk *f = w->context;
    uint64_t end = w->length - p->begin <= WALK_PIECE ? w->length : p->begin + WALK_PIECE;
    const Span *s = span_before(f, end);
    if (s && end < s->offset + s->length) end -= (end - s->offset) % width_of(s->entry->tensor->stored);
    p->length = (size_t)(end - p->begin);
}

static int fill_file(const Walk *w, const Piece *p, uint8_t *buffer, Error *err) {
    const FileWalk *f = w->context;
    if (p->begin / AHEAD != (p->begin + p->length) / AHEAD)
        input_prefetch(f->file->input, (p->begin + p->length) / AHEAD * AHEAD + AHEAD, AHEAD);
    return input_read(f->file->input, p->begin, buffer, p->length, err);
}

/* Bytes at..at+length of the file, which all lie in the span at hand. */
static int take_tensor(FileWalk *f, uint64_t at, const uint8_t *bytes, size_t length, Error *err) {
    const Span *s = &f->spans[f->span];
    DType stored = s->entry->tensor->stored;
    if (f->as == DT_NONE) f->as = DT_BF16;
    if (f->as == stored) {
        sha256_update2(f->file_hash, bytes, length, f->tensor_hash, bytes, length);
        return 0;
    }
    sha256_update(f->file_hash, bytes, length);
    return add_narrowed(f, s, at, bytes, length, err);
}

static int take_file(Walk *w, const Piece *p, const uint8_t *buffer, Error *err) {
    FileWalk *f = w->context;
    uint64_t end = p->begin + p->length;
    for (uint64_t at = p->begin; at < end;) {
        const Span *s = f->span < f->n_spans ? &f->spans[f->span] : NULL;
        const uint8_t *bytes = buffer + (at - p->begin);
        if (s && s->offset + s->length <= at) {
            end_span(f);
            continue;
        }
        bool inside = s && s->offset <= at;
        uint64_t until = !s ? end : inside ? s->offset + s->length : s->offset;
        if (until > end) until = end;
        if (inside)
            TRY(take_tensor(f, at, bytes, (size_t)(until - at), err));
        else
            sha256_update(f->file_hash, bytes, (size_t)(until - at));
        at = until;
    }
    return 0;
}

static int check_file(const FileWalk *f, Error *err) {
    if (!f->promised || strcmp(f->promised->sha256, f->proof->sha256) == 0) return 0;
    return error_set(err, ERR_CHECK,
                     "%s: SHA-256 is %s, but %s is pinned; the source is damaged or not the one that is "
                     "meant: fetch it again, or run `recast pin` if it is",
                     f->proof->name, f->proof->sha256, f->promised->sha256);
}

static int finish_file(Walk *w, Error *err) {
    FileWalk *f = w->context;
    while (f->span < f->n_spans) end_span(f);
    if (!f->proof->sha256[0])
        sha256_finish(f->file_hash, f->proof->sha256); /* else it was taken up, ended already */
    TRY(input_unchanged(f->file->input, err));
    return check_file(f, err);
}

static const char *name_file(const Walk *w, const Piece *p) {
    const FileWalk *f = w->context;
    const Span *s = span_before(f, p->begin + p->length);
    return s ? s->entry->hf_name : f->file->name;
}

static const WalkKind file_kind = {cut_file, fill_file, take_file, NULL, finish_file, name_file};

/* ---- the source ---- */

static FileWalk *find_input(ProofWalks *p, const Input *in) {
    for (size_t i = 0; i < p->source->n_files; i++)
        if (p->source->files[i].input == in) return &p->files[i];
    return NULL;
}

/* Where an entry's rows lie. In a source they are one piece of one file. */
static int place_entry(ProofWalks *p, DigestEntry *e, FileWalk **file, Span *span, Error *err) {
    const Tensor *t = e->tensor;
    uint64_t rows = tensor_rows(t), row = rows ? tensor_stored_bytes(t) / rows : 0, at = e->first_row * row;
    *span = (Span){.length = e->n_rows * row, .entry = e};
    *file = NULL;
    for (uint32_t i = 0; i < t->n_extents && !*file; i++) {
        const Extent *x = &t->extents[i];
        if (at < x->length || (span->length == 0 && at == x->length)) {
            if (span->length > x->length - at) break;
            *file = find_input(p, x->file);
            span->offset = x->offset + at;
        }
        at -= x->length;
    }
    if (!*file && span->length == 0 && p->source->n_files) *file = &p->files[0]; /* nothing, anywhere */
    if (*file && t->n_transforms == 0) return 0;
    return error_set(err, ERR_UNSUPPORTED, "%s: tensor %s does not lie in one piece of the source's files",
                     p->source->path, e->hf_name);
}

static int compare_spans(const void *a, const void *b) {
    const Span *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return (x->length > y->length) - (x->length < y->length); /* empty ones first */
}

static int check_spans(const ProofWalks *p, const FileWalk *f, Error *err) {
    for (size_t i = 1; i < f->n_spans; i++) {
        const Span *a = &f->spans[i - 1], *b = &f->spans[i];
        if (b->offset - a->offset < a->length)
            return error_set(err, ERR_FORMAT, "%s: tensors %s and %s overlap in %s", p->source->path,
                             a->entry->hf_name, b->entry->hf_name, f->file->name);
    }
    return 0;
}

/* Deals the entries to their files: counted first, then put. */
static int place_entries(ProofWalks *p, Error *err) {
    FileWalk *file;
    Span span;
    for (size_t i = 0; i < p->digest.n; i++) {
        TRY(place_entry(p, &p->digest.entries[i], &file, &span, err));
        file->n_spans++;
    }
    for (size_t i = 0; i < p->source->n_files; i++) {
        FileWalk *f = &p->files[i];
        if (!(f->spans = arena_alloc(p->arena, f->n_spans, sizeof(Span))))
            return error_memory(err, "the weights digest");
        f->n_spans = 0;
    }
    for (size_t i = 0; i < p->digest.n; i++) {
        TRY(place_entry(p, &p->digest.entries[i], &file, &span, err));
        file->spans[file->n_spans++] = span;
    }
    for (size_t i = 0; i < p->source->n_files; i++) {
        FileWalk *f = &p->files[i];
        if (f->n_spans) qsort(f->spans, f->n_spans, sizeof(Span), compare_spans);
        TRY(check_spans(p, f, err));
    }
    return 0;
}

static const FileProof *find_promise(const SourceProof *promised, const char *name) {
    for (size_t i = 0; promised && i < promised->n_files; i++)
        if (strcmp(promised->files[i].name, name) == 0) return &promised->files[i];
    return NULL;
}

static int open_file(ProofWalks *p, size_t i, Error *err) {
    FileWalk *f = &p->files[i];
    f->file = &p->source->files[i];
    f->as = DT_NONE;
    f->proof = &p->proof->files[i];
    f->promised = find_promise(p->promised, f->file->name);
    f->proof->size = input_size(f->file->input);
    f->proof->name = arena_string(p->proof->arena, f->file->name); /* outlives the model */
    if (!f->proof->name) return error_memory(err, "the hashes of the source");
    TRY(sha256_open(&f->file_hash, err));
    return sha256_open(&f->tensor_hash, err);
}

static int list_digest(ProofWalks *p, Error *err) {
    Error why = {0};
    int code = digest_list(&p->digest, p->source, p->arena, &why);
    p->has_digest = !code;
    if (code == ERR_UNSUPPORTED) { /* such a source has no digest, and files all the same */
        p->digest.n = 0;
        return 0;
    }
    if (code && err) *err = why;
    return code;
}

static int open_all(ProofWalks *p, Error *err) {
    size_t n = p->source->n_files;
    TRY(source_proof_open(&p->proof, n, p->allocator, err));
    p->files = arena_alloc(p->arena, n, sizeof *p->files);
    if (!p->files) return error_memory(err, "the hashes of the source");
    memset(p->files, 0, n * sizeof *p->files);
    for (size_t i = 0; i < n; i++) TRY(open_file(p, i, err));
    TRY(list_digest(p, err));
    return place_entries(p, err);
}

int proof_walks_open(ProofWalks **out, const Model *source, const SourceProof *promised,
                     const Allocator *allocator, Error *err) {
    *out = NULL;
    Arena *arena;
    TRY(arena_open(&arena, allocator, err));
    ProofWalks *p = arena_alloc(arena, 1, sizeof *p);
    if (!p) {
        arena_close(arena);
        return error_memory(err, "the hashes of the source");
    }
    *p = (ProofWalks){.source = source, .promised = promised, .allocator = allocator, .arena = arena};
    int code = open_all(p, err);
    if (code)
        proof_walks_close(p);
    else
        *out = p;
    return code;
}

void proof_walks_close(ProofWalks *p) {
    if (!p) return;
    for (size_t i = 0; p->files && i < p->source->n_files; i++) {
        sha256_close(p->files[i].file_hash);
        sha256_close(p->files[i].tensor_hash);
        mem_free(NULL, p->files[i].wide);
        mem_free(NULL, p->files[i].narrow);
    }
    source_proof_close(p->proof);
    arena_close(p->arena);
}

size_t proof_walks_count(const ProofWalks *p) {
    return p->source->n_files;
}

uint64_t proof_walks_bytes(const ProofWalks *p) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < p->source->n_files; i++) bytes += p->proof->files[i].size;
    return bytes;
}

void proof_walks_put(ProofWalks *p, Walk *walks, unsigned group) {
    for (size_t i = 0; i < p->source->n_files; i++)
        walks[i] = (Walk){
            .kind = &file_kind, .context = &p->files[i], .group = group, .length = p->proof->files[i].size};
}

/* Position, both hashes, and the tensors that are done. */
void proof_walk_save(const Walk *w, Buffer *out) {
    const FileWalk *f = w->context;
    buffer_u64(out, w->position);
    buffer_u64(out, f->span);
    buffer_u32(out, (uint32_t)f->as);
    buffer_append(out, f->proof->sha256, SHA256_HEX); /* empty before the end */
    sha256_save(f->file_hash, out);
    sha256_save(f->tensor_hash, out);
    for (size_t i = 0; i < f->span; i++) {
        buffer_u32(out, (uint32_t)f->spans[i].entry->as);
        buffer_append(out, f->spans[i].entry->sha256, SHA256_HEX);
    }
}

bool proof_walk_load(Walk *w, BufferReader *in) {
    FileWalk *f = w->context;
    uint64_t position = reader_u64(in), span = reader_u64(in);
    f->as = (DType)reader_u32(in);
    reader_bytes(in, f->proof->sha256, SHA256_HEX);
    sha256_load(f->file_hash, in);
    sha256_load(f->tensor_hash, in);
    if (in->failed || position > w->length || span > f->n_spans) return false;
    for (f->span = 0; f->span < span; f->span++) {
        DigestEntry *e = f->spans[f->span].entry;
        e->as = (DType)reader_u32(in);
        reader_bytes(in, e->sha256, SHA256_HEX);
    }
    w->position = position;
    return !in->failed;
}

static int check_weights(const ProofWalks *p, Error *err) {
    const char *found = p->proof->weights_sha256,
               *promised = p->promised ? p->promised->weights_sha256 : found;
    if (strcmp(found, promised) == 0) return 0;
    return error_set(err, ERR_CHECK,
                     "%s: the weights digest is %s, but %s is pinned; these are other weights",
                     p->source->path, found[0] ? found : "absent", promised[0] ? promised : "none");
}

int proof_walks_finish(ProofWalks *p, SourceProof **out, Error *err) {
    *out = NULL;
    if (p->has_digest) TRY(digest_lines(&p->digest, p->proof->weights_sha256, err));
    TRY(check_weights(p, err));
    *out = p->proof;
    p->proof = NULL;
    return 0;
}
