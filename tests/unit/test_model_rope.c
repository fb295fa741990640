/* rope: frequency tables against torch's (tests/golden/make_rope.py made rope.json), in every scaling type.
 */
#include "core/floats.h"
#include "core/json.h"
#include "model/rope.h"
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 256 };

static float number(const cJSON *object, const char *key, float otherwise) {
    const cJSON *item = json_get(object, key);
    return item ? (float)item->valuedouble : otherwise;
}

static ModelParams params_of(const cJSON *item) {
    const cJSON *rope = json_get(item, "rope");
    ModelParams p = {.head_dim = (uint32_t)json_get(item, "head_dim")->valueint,
                     .context = (uint32_t)json_get(item, "context")->valueint};
    p.rope = (RopeParams){.type = rope_type_by_name(json_get(rope, "rope_type")->valuestring),
                          .theta = number(item, "theta", 0),
                          .factor = number(rope, "factor", 0),
                          .original_context = (uint32_t)number(rope, "original_max_position_embeddings", 0),
                          .has_attention_factor = json_get(rope, "attention_factor") != NULL,
                          .attention_factor = number(rope, "attention_factor", 0),
                          .beta_fast = number(rope, "beta_fast", 32),
                          .beta_slow = number(rope, "beta_slow", 1),
                          .mscale = number(rope, "mscale", 0),
                          .mscale_all_dim = number(rope, "mscale_all_dim", 0),
                          .truncate = !cJSON_IsFalse(json_get(rope, "truncate"))};
    return p;
}

/* torch's pow may be off by one ulp where ours is rounded correctly: one entry of a table, by one ulp. */
static void compare(const cJSON *item) {
    ModelParams p = params_of(item);
    char *name = cJSON_PrintUnformatted(json_get(item, "rope"));
    float table[MOST], attention;
    Error err = {0};
    cr_assert_eq(rope_table(&p, (uint32_t)json_get(item, "length")->valueint, table, &attention, &err), 0,
                 "%s", err.message);
    cr_assert_eq(f32_bits(attention), (uint32_t)json_get(item, "attention")->valuedouble, "%s: %.9g", name,
                 (double)attention);
    uint32_t i = 0, different = 0;
    for (const cJSON *bits = json_get(item, "bits")->child; bits; bits = bits->next, i++) {
        int64_t distance = (int64_t)f32_bits(table[i]) - (int64_t)bits->valuedouble;
        cr_assert(distance >= -1 && distance <= 1, "%s: entry %u is %.9g, %d ulp from torch", name, i,
                  (double)table[i], (int)distance);
        different += distance != 0;
    }
    cr_assert_eq(i, p.head_dim / 2);
    cr_assert_leq(different, 1, "%s, theta %g: %u entries differ from torch", name, (double)p.rope.theta,
                  different);
    free(name);
}

Test(model_rope, equals_torch) {
    Error err = {0};
    cJSON *cases;
    cr_assert_eq(json_parse_file(&cases, "tests/golden/rope.json", 1 << 20, &err), 0, "%s", err.message);
    cr_assert_eq(cJSON_GetArraySize(cases), 18);
    for (const cJSON *item = cases->child; item; item = item->next) compare(item);
    cJSON_Delete(cases);
}

static ModelParams qwen3(RopeType type) {
    ModelParams p = {.head_dim = 128, .context = 40960};
    p.rope = (RopeParams){.type = type,
                          .theta = 1e6f,
                          .factor = 4,
                          .original_context = 32768,
                          .beta_fast = 32,
                          .beta_slow = 1,
                          .truncate = true};
    return p;
}

/* Stretch of each frequency for h = 128, theta = 1e6, s = 4, L0 = 32768, from the closed form. */
Test(model_rope, yarn_ramp) {
    ModelParams plain = qwen3(ROPE_DEFAULT), yarn = qwen3(ROPE_YARN);
    float base[64], table[64], a;
    cr_assert_eq(rope_table(&plain, 0, base, &a, NULL), 0);
    cr_assert_eq(a, 1);
    cr_assert_eq(rope_table(&yarn, 0, table, &a, NULL), 0);
    cr_assert_eq(a, 1.138629436f);
    for (int i = 0; i < 64; i++) {
        double ramp = i <= 23 ? 0 : i >= 40 ? 1 : (i - 23) / 17.0, stretch = 1 / (1 - ramp * 0.75);
        cr_assert_float_eq((double)base[i] / (double)table[i], stretch, 1e-6 * stretch, "entry %d", i);
    }
}

Test(model_rope, dynamic_theta) {
    ModelParams p = qwen3(ROPE_DYNAMIC);
    cr_assert_eq(rope_dynamic_theta(&p, 0), 1e6f);
    cr_assert_eq(rope_dynamic_theta(&p, 40960), 1e6f);
    cr_assert_eq(rope_dynamic_theta(&p, 131072), 10161547.0f); /* 10161546.829 in exact arithmetic */
    p.context = 32768;
    cr_assert_eq(rope_dynamic_theta(&p, 131072), 13540197.0f); /* 13540197.304 */
    float native[64], within[64], beyond[64], a;
    cr_assert_eq(rope_table(&p, 0, native, &a, NULL), 0);
    cr_assert_eq(rope_table(&p, 1000, within, &a, NULL), 0);
    cr_assert_eq(rope_table(&p, 131072, beyond, &a, NULL), 0);
    cr_assert_arr_eq(native, within, sizeof native);
    cr_assert_float_eq((double)native[63] / (double)beyond[63], 13, 1e-5); /* s n / M - (s - 1) */
}

Test(model_rope, mscale) {
    cr_assert_float_eq(rope_yarn_mscale(4), 1.1386294361119891, 1e-15);
    cr_assert_eq(rope_yarn_mscale(1), 1);
    cr_assert_eq(rope_yarn_mscale(0.5), 1);
}

static void refuse(ModelParams p, ErrorCode code, const char *word) {
    float table[64], a;
    Error err = {0};
    cr_assert_eq(rope_table(&p, 0, table, &a, &err), (int)code, "%s", word);
    cr_assert_not_null(strstr(err.message, word), "\"%s\" does not say \"%s\"", err.message, word);
}

Test(model_rope, refusals) {
    ModelParams p = qwen3(ROPE_LONGROPE);
    refuse(p, ERR_UNSUPPORTED, "longrope");
    refuse(qwen3(ROPE_LLAMA3), ERR_UNSUPPORTED, "llama3");
    refuse(qwen3(ROPE_UNKNOWN), ERR_UNSUPPORTED, "default, linear, dynamic and yarn");
    p = qwen3(ROPE_DEFAULT), p.head_dim = 127;
    refuse(p, ERR_UNSUPPORTED, "127");
    p = qwen3(ROPE_DEFAULT), p.rope.theta = 0;
    refuse(p, ERR_FORMAT, "rope_theta");
    p = qwen3(ROPE_LINEAR), p.rope.factor = 0.5f;
    refuse(p, ERR_FORMAT, "0.5");
    p = qwen3(ROPE_DYNAMIC), p.rope.factor = -1;
    refuse(p, ERR_FORMAT, "factor");
    p = qwen3(ROPE_YARN), p.rope.original_context = 0;
    refuse(p, ERR_FORMAT, "original_max_position_embeddings");
}
