/* resume.c -- see resume.h. */
#include "convert/resume.h"
#include "convert/journal.h"
#include "convert/output_walk.h"
#include "model/proof_walk.h"
#include <string.h>

static void put_text(Buffer *b, const char *text) {
    buffer_u64(b, strlen(text));
    buffer_text(b, text);
}

static void put_files(Buffer *b, const Model *m) {
    buffer_u64(b, m->n_files);
    for (size_t i = 0; i < m->n_files; i++) {
        put_text(b, m->files[i].name);
        input_identity(m->files[i].input, b);
    }
}

int resume_key(char key[SHA256_HEX], const Conversion *c, Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_u64(&b, c->n_outputs);
    for (size_t i = 0; i < c->n_outputs; i++) {
        const ConversionOutput *o = &c->outputs[i];
        put_text(&b, o->path ? o->path : "");
        buffer_u64(&b, o->plan->header.length);
        buffer_append(&b, o->plan->header.data, o->plan->header.length);
        put_files(&b, o->plan->model);
    }
    buffer_u32(&b, c->source != NULL);
    if (c->source) put_files(&b, c->source);
    int code = buffer_ok(&b, "the key of a journal", err);
    if (!code) code = sha256_bytes(key, b.data, b.length, err);
    buffer_free(&b);
    return code;
}

int resume_save(const char *path, const char key[SHA256_HEX], const Walk *walks, size_t n, size_t n_proofs,
                Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    buffer_u64(&b, n);
    for (size_t i = 0; i < n; i++) {
        if (i < n_proofs)
            proof_walk_save(&walks[i], &b);
        else
            output_walk_save(&walks[i], &b);
    }
    int code = buffer_ok(&b, "a journal", err);
    if (!code) code = journal_write(path, key, &b, err);
    buffer_free(&b);
    return code;
}

static bool load_all(BufferReader *in, Walk *walks, size_t n, size_t n_proofs) {
    if (reader_u64(in) != n) return false;
    for (size_t i = 0; i < n; i++)
        if (!(i < n_proofs ? proof_walk_load(&walks[i], in) : output_walk_load(&walks[i], in))) return false;
    return !in->failed && in->at == in->end;
}

int resume_load(bool *found, const char *path, const char key[SHA256_HEX], Walk *walks, size_t n,
                size_t n_proofs, Error *err) {
    Buffer b;
    buffer_init(&b, NULL);
    int code = journal_read(found, &b, path, key, err);
    if (!code && *found) {
        BufferReader in = {.at = buffer_string(&b), .end = buffer_string(&b) + b.length};
        if (!load_all(&in, walks, n, n_proofs))
            code = error_set(err, ERR_FORMAT, "the journal of %s does not fit its work: use --restart", path);
    }
    buffer_free(&b);
    return code;
}
