/* A recipe's prompts as texts: plain ones untouched, conversations as the base's chat template has them. */
#include "fixture.h"
#include "support.h"
#include "validate/prompts.h"

static const RecipeMessage messages[] = {{"system", "Be short."}, {"user", "Who made the heaven?"}};
static const char *const prompts[] = {"In the beginning", NULL};
static const RecipeChat chats[] = {{0, NULL}, {2, messages}};

Test(validate_prompts, texts) {
    const Recipe r = {.n_prompts = 2, .prompts = prompts, .chats = chats};
    const char *const *texts;
    Model *model;
    Arena *arena;
    OK(model_open(&model, FIXTURE_TINY, NULL, err));
    OK(arena_open(&arena, NULL, err));
    OK(prompt_texts(&texts, &r, model, arena, err));
    cr_assert_str_eq(texts[0], prompts[0]);
    cr_assert_str_eq(texts[1], "<|im_start|>system\nBe short.<|im_end|>\n"
                               "<|im_start|>user\nWho made the heaven?<|im_end|>\n"
                               "<|im_start|>assistant\n");
    arena_close(arena);
    model_close(model);
}

/* Plain prompts need no template, and so not even a tokenizer. */
Test(validate_prompts, plain_ones_ask_nothing) {
    const Recipe r = {.n_prompts = 1, .prompts = prompts};
    const char *const *texts;
    Arena *arena;
    OK(arena_open(&arena, NULL, err));
    OK(prompt_texts(&texts, &r, NULL, arena, err));
    cr_assert_eq(texts[0], prompts[0]);
    arena_close(arena);
}
