/* cmd_tokenize.c -- the ids of a text. */
#include "cli/cli.h"
#include "core/json.h"
#include "runner/tokenizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 30 };

static void print_ids(const Tokens *t) {
    for (size_t i = 0; i < t->count; i++) printf("%s%u", i ? "," : "", t->ids[i]);
}

static int tokenize_line(const Tokenizer *tokenizer, const char *line, size_t length, size_t number,
                         Error *err) {
    char name[48];
    snprintf(name, sizeof name, "line %zu", number);
    cJSON *text = NULL;
    Tokens ids;
    tokens_init(&ids, NULL);
    TRY(json_parse(&text, line, length, name, err));
    int code = cJSON_IsString(text)
                   ? tokenizer_encode(tokenizer, text->valuestring, strlen(text->valuestring), &ids, err)
                   : error_set(err, ERR_FORMAT, "%s is not a JSON string", name);
    if (!code) {
        putchar('[');
        print_ids(&ids);
        printf("]\n");
    }
    tokens_free(&ids);
    cJSON_Delete(text);
    return code;
}

static int tokenize_lines(const Tokenizer *tokenizer, Error *err) {
    char *line = NULL;
    size_t size = 0, number = 0;
    ssize_t n;
    int code = 0;
    while (!code && (n = getline(&line, &size, stdin)) >= 0) {
        number++;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) n--;
        if (n) code = tokenize_line(tokenizer, line, (size_t)n, number, err);
    }
    free(line);
    return code;
}

static int tokenize_text(const Cli *cli, const Tokenizer *tokenizer, const char *text, size_t length,
                         Error *err) {
    Tokens ids;
    tokens_init(&ids, NULL);
    int code = tokenizer_encode(tokenizer, text, length, &ids, err);
    if (!code) {
        printf(cli->json ? "{\"ids\": [" : "");
        print_ids(&ids);
        printf(cli->json ? "]}\n" : "\n");
        if (!cli->quiet && !cli->json) fprintf(stderr, "%zu tokens\n", ids.count);
    }
    tokens_free(&ids);
    return code;
}

static int tokenize(const Cli *cli, const Tokenizer *t, const char *text, const char *file, Error *err) {
    if (text) return tokenize_text(cli, t, text, strlen(text), err);
    if (!file) return tokenize_lines(t, err);
    Arena *arena;
    char *content;
    size_t length;
    TRY(arena_open(&arena, NULL, err));
    int code = input_read_file(&content, &length, file, MAX_TEXT, arena, err);
    if (!code) code = tokenize_text(cli, t, content, length, err);
    arena_close(arena);
    return code;
}

static int cmd_tokenize(Cli *cli, int argc, char **argv, Error *err) {
    const char *text = NULL, *file = NULL;
    bool lines = false;
    const OptionSpec specs[] = {
        {"--prompt", 'p', OPTION_STRING, "TEXT", "the text", &text},
        {"--file", 'f', OPTION_STRING, "FILE", "a file that holds it", &file},
        {"--jsonl", 0, OPTION_FLAG, NULL, "one JSON string a line on stdin, one JSON array a line on stdout",
         &lines},
    };
    TRY(cli_parse(cli, argc, argv, specs, sizeof specs / sizeof *specs, 1, 1, err));
    if (cli->done) return 0;
    if ((text != NULL) + (file != NULL) + lines != 1)
        return error_set(err, ERR_USAGE, "give one of -p, -f and --jsonl");
    Subject s;
    Vocab *vocab = NULL;
    Tokenizer *tokenizer = NULL;
    TRY(subject_open(&s, cli->args.items[0], NULL, 0, err));
    int code = vocab_open(&vocab, s.model, NULL, err);
    if (!code) code = tokenizer_open(&tokenizer, vocab, NULL, err);
    if (!code) code = tokenize(cli, tokenizer, text, file, err);
    tokenizer_close(tokenizer);
    vocab_close(vocab);
    subject_close(&s);
    return code;
}

const Command command_tokenize = {
    .name = "tokenize",
    .summary = "print the token ids of a text",
    .usage = "tokenize MODEL (-p TEXT | -f FILE | --jsonl)",
    .examples = "  recast tokenize model.gguf -p \"Hello world\"\n"
                "  echo '\"Hello\"' | recast tokenize checkpoint/ --jsonl\n",
    .run = cmd_tokenize,
};
