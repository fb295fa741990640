/* structure.c -- is it a whole, well-formed model? Reading its header checked the container already (gguf.h,
 * checkpoint.h); here come what the family expects, keys, tokenizer, provenance and the weights' values. */
#include "model/family.h"
#include "model/vocab.h"
#include "validate/validation.h"
#include <string.h>

static int check_tensors(const Validation *v, const Model *m, Error *err) {
    Error found = {0};
    if (!m->family) {
        check_add(v, "structure", CHECK_NOT_RUN, "tensors",
                  "%zu tensors lie inside the file; which ones a %s has is not known (known: %s)",
                  m->n_tensors, m->params.architecture, family_known());
        return 0;
    }
    int code = m->family->check_params(&m->params, &found);
    if (!code) code = family_check_tensors(m, &found);
    /* to a known family, a tensor that it does not know is a defect */
    if (code == ERR_UNSUPPORTED) found.code = ERR_FORMAT;
    if (code) return check_error(v, "structure", "tensors", &found, err);
    check_add(v, "structure", CHECK_PASS, "tensors", "%zu tensors, with the names and shapes of a %s",
              m->n_tensors, m->family->name);
    return 0;
}

static int check_vocab(const Validation *v, const Model *m, Error *err) {
    if (!m->family) return 0;
    Vocab *vocab;
    Error found = {0};
    if (vocab_open(&vocab, m, v->options->allocator, &found))
        return check_error(v, "structure", "tokenizer", &found, err);
    uint32_t n = vocab->n_tokens;
    if (n == m->params.n_vocab)
        check_add(v, "structure", CHECK_PASS, "tokenizer", "%u tokens, %u merges", n, vocab->n_merges);
    else
        check_add(v, "structure", CHECK_FAIL, "tokenizer", "%u tokens, but the embedding has %u rows", n,
                  m->params.n_vocab);
    vocab_close(vocab);
    return 0;
}

int check_structure(const Validation *v, const Model *m, Error *err) {
    TRY(check_tensors(v, m, err));
    if (m->form == FORM_GGUF) check_keys(v, m);
    TRY(check_vocab(v, m, err));
    if (m->form == FORM_GGUF) TRY(check_provenance(v, m, err));
    return check_finite(v, m, err);
}
