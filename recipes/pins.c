/* pins.c -- what a source must be: comparing a proof with the pins of the recipe and of the cache, and
 * writing pins into a recipe's text. */
#include "recipes/recipe_private.h"
#include <string.h>

static const FileProof *find_file(const SourceProof *proof, const char *name) {
    for (size_t i = 0; i < proof->n_files; i++)
        if (strcmp(proof->files[i].name, name) == 0) return &proof->files[i];
    return NULL;
}

static int check_commit(const Recipe *r, const char *commit, Error *err) {
    if (!r->commit || !commit || strcmp(r->commit, commit) == 0) return 0;
    return error_set(err, ERR_CHECK,
                     "%s: base.commit pins %s, but the source is commit %s; fetch the pinned one with hf "
                     "download --revision, or run `recast pin` if the new one is meant",
                     r->path, r->commit, commit);
}

static int check_file(const Recipe *r, const char *name, const char *pinned, const SourceProof *proof,
                      Error *err) {
    const FileProof *file = find_file(proof, name);
    if (!file)
        return error_set(err, ERR_CHECK, "%s: base.sha256 pins %s, but the source has no such file", r->path,
                         name);
    if (strcmp(file->sha256, pinned) == 0) return 0;
    return error_set(err, ERR_CHECK,
                     "%s: SHA-256 is %s, but base.sha256 in %s pins %s; the source is damaged or not the one "
                     "that is meant: fetch it again, or run `recast pin` if it is",
                     name, file->sha256, r->path, pinned);
}

/* The blob's name is what the Hub said the file should hash to. */
static int check_blob(const SourceFile *file, const SourceProof *proof, bool *covered, Error *err) {
    char promised[SHA256_HEX];
    const FileProof *found = find_file(proof, file->name);
    *covered = found && hub_blob_sha256(input_path(file->input), promised);
    if (!*covered || strcmp(found->sha256, promised) == 0) return 0;
    return error_set(err, ERR_CHECK,
                     "%s: SHA-256 is %s, but the Hugging Face cache names its blob %s; the file is damaged: "
                     "delete the blob and run hf download again",
                     file->name, found->sha256, promised);
}

static int check_weights(const Recipe *r, const SourceProof *proof, Error *err) {
    if (strcmp(r->weights_sha256, proof->weights_sha256) == 0) return 0;
    if (!proof->weights_sha256[0])
        return error_set(err, ERR_CHECK,
                         "%s: base.weights_sha256 pins %s, but this source has no weights digest (unknown "
                         "architecture or quantized tensors)",
                         r->path, r->weights_sha256);
    return error_set(err, ERR_CHECK,
                     "%s: base.weights_sha256 pins %s, but the weights digest of the source is %s; these are "
                     "other weights",
                     r->path, r->weights_sha256, proof->weights_sha256);
}

int recipe_check_pins(const Recipe *r, const Model *source, const SourceProof *proof, const char *commit,
                      size_t *pinned, Error *err) {
    size_t covered = 0;
    *pinned = 0;
    TRY(check_commit(r, commit, err));
    for (const cJSON *m = r->sha256 ? r->sha256->child : NULL; m; m = m->next) {
        TRY(check_file(r, m->string, m->valuestring, proof, err));
        covered++;
    }
    for (size_t i = 0; i < source->n_files; i++) {
        bool promised;
        TRY(check_blob(&source->files[i], proof, &promised, err));
        covered += promised && !json_get(r->sha256, source->files[i].name); /* each file once */
    }
    if (r->weights_sha256) {
        TRY(check_weights(r, proof, err));
        covered++;
    }
    *pinned = covered;
    return 0;
}

/* ---- writing pins ---- */

/* Indentation as bytes of the text. */
typedef struct Indent {
    const char *bytes;
    size_t length;
} Indent;

static Indent indent_at(const char *text, size_t at) {
    size_t begin = at, end;
    while (begin > 0 && text[begin - 1] != '\n') begin--;
    for (end = begin; text[end] == ' ' || text[end] == '\t'; end++) {
    }
    return (Indent){text + begin, end - begin};
}

/* The object of hashes as JSON text, a line a file, indented like the members of "base". */
static void write_hashes(Buffer *out, const SourceProof *proof, Indent outer, Indent inner) {
    buffer_char(out, '{');
    for (size_t i = 0; i < proof->n_files; i++) {
        buffer_text(out, i ? ",\n" : "\n");
        buffer_append(out, inner.bytes, inner.length);
        if (inner.length > outer.length)
            buffer_append(out, inner.bytes + outer.length, inner.length - outer.length);
        else
            buffer_text(out, "  ");
        json_write_string(out, proof->files[i].name);
        buffer_printf(out, ": \"%s\"", proof->files[i].sha256);
    }
    if (proof->n_files) {
        buffer_char(out, '\n');
        buffer_append(out, inner.bytes, inner.length);
    }
    buffer_char(out, '}');
}

static int set_quoted(Buffer *text, const char *key, const char *hex, Error *err) {
    char quoted[SHA256_HEX + 2] = "\"";
    const char *path[] = {"base", key};
    strncat(quoted, hex, sizeof quoted - 3);
    strcat(quoted, "\"");
    return json_text_set(text, path, 2, quoted, err);
}

static int set_hashes(Buffer *text, const SourceProof *proof, Error *err) {
    const char *path[] = {"base", "sha256"};
    JsonSpan base;
    const char *t = buffer_string(text);
    if (!json_text_find(t, text->length, path, 1, &base))
        return error_set(err, ERR_RECIPE, "base is missing: nothing to pin");
    Indent outer = indent_at(t, base.begin), inner = outer;
    const char *line = memchr(t + base.begin, '\n', base.end - base.begin);
    if (line) inner = indent_at(t, (size_t)(line - t) + 1);
    Buffer value;
    buffer_init(&value, text->allocator);
    write_hashes(&value, proof, outer, inner);
    int code = buffer_ok(&value, "the pins", err);
    if (!code) code = json_text_set(text, path, 2, buffer_string(&value), err);
    buffer_free(&value);
    return code;
}

int recipe_pinned_text(const Recipe *r, const SourceProof *proof, const char *commit, Buffer *text,
                       Error *err) {
    buffer_clear(text);
    if (r->edited)
        json_write_pretty(text, r->json);
    else
        buffer_append(text, r->text, r->text_length);
    TRY(buffer_ok(text, "the text of a recipe", err));
    if (commit) TRY(set_quoted(text, "commit", commit, err));
    TRY(set_hashes(text, proof, err));
    TRY(recipe_set_lora_text(r, RECIPE_PATHS_KEPT, text, err));
    if (!proof->weights_sha256[0]) return 0;
    return set_quoted(text, "weights_sha256", proof->weights_sha256, err);
}
