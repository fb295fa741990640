/* vocab_fixture.h -- a directory with tokenizer files as a Model without weights: what vocab_open needs of
 * one. */
#ifndef RECAST_TESTS_VOCAB_FIXTURE_H
#define RECAST_TESTS_VOCAB_FIXTURE_H

#include "core/json.h"
#include "model/vocab.h"
#include <stdio.h>
#include <string.h>

typedef struct VocabFiles {
    Model model;
    SourceFile files[6];
    cJSON *config; /* config.json */
} VocabFiles;

static inline void vocab_files_close(VocabFiles *f) {
    for (size_t i = 0; i < f->model.n_files; i++) input_close(f->files[i].input);
    cJSON_Delete(f->config);
}

/* Files that are missing are left out. n_vocab 0: as many rows as there are tokens. */
static inline int vocab_files_open(VocabFiles *f, const char *directory, uint32_t n_vocab, Error *err) {
    static const char *const names[] = {"chat_template.jinja", "chat_template.json", "tokenizer.json",
                                        "tokenizer_config.json"};
    char path[1024];
    *f = (VocabFiles){.model = {.form = FORM_HF, .path = directory}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Input *input;
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        if (input_open(&input, path, NULL, NULL) == 0) {
            f->files[f->model.n_files++] = (SourceFile){names[i], input, SOURCE_TOKENIZER};
        }
    }
    f->model.files = f->files;
    f->model.params.n_vocab = n_vocab;
    snprintf(path, sizeof path, "%s/config.json", directory);
    FILE *config = fopen(path, "r");
    if (!config) return 0;
    fclose(config);
    TRY(json_parse_file(&f->config, path, 1 << 20, err));
    f->model.config = f->config;
    return 0;
}

#endif
