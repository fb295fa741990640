/* preset.c -- llama-quantize's presets, those that rest on types that Recast makes. */
#include "model/mixture.h"

#include <string.h>

#define PRESET(name, key, alias, type) \
    { #name, #key, alias, FILE_##name, DT_##type }

static const Preset presets[] = {
    PRESET(F32, f32, NULL, F32),          PRESET(F16, f16, NULL, F16),
    PRESET(BF16, bf16, NULL, BF16),       PRESET(Q4_0, q4_0, NULL, Q4_0),
    PRESET(Q4_1, q4_1, NULL, Q4_1),       PRESET(Q5_0, q5_0, NULL, Q5_0),
    PRESET(Q5_1, q5_1, NULL, Q5_1),       PRESET(Q8_0, q8_0, NULL, Q8_0),
    PRESET(Q2_K, q2_k, NULL, Q2_K),       PRESET(Q2_K_S, q2_k_s, NULL, Q2_K),
    PRESET(Q3_K_S, q3_k_s, NULL, Q3_K),   PRESET(Q3_K_M, q3_k_m, "Q3_K", Q3_K),
    PRESET(Q3_K_L, q3_k_l, NULL, Q3_K),   PRESET(Q4_K_S, q4_k_s, NULL, Q4_K),
    PRESET(Q4_K_M, q4_k_m, "Q4_K", Q4_K), PRESET(Q5_K_S, q5_k_s, NULL, Q5_K),
    PRESET(Q5_K_M, q5_k_m, "Q5_K", Q5_K), PRESET(Q6_K, q6_k, NULL, Q6_K),
    PRESET(IQ4_NL, iq4_nl, NULL, IQ4_NL), PRESET(IQ4_XS, iq4_xs, NULL, IQ4_XS),
};

enum { N_PRESETS = sizeof presets / sizeof presets[0] };

size_t preset_count(void) {
    return N_PRESETS;
}

const Preset *preset_at(size_t i) {
    return i < N_PRESETS ? &presets[i] : NULL;
}

const Preset *preset_by_file_type(uint32_t file_type) {
    for (size_t i = 0; i < N_PRESETS; i++)
        if ((uint32_t)presets[i].file_type == file_type) return &presets[i];
    return NULL;
}

static char ascii_upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool same_name(const char *name, const char *preset) {
    if (!preset) return false;
    while (*name && ascii_upper(*name) == *preset) name++, preset++;
    return !*name && !*preset;
}

static const Preset *by_number(const char *digits) {
    uint32_t number = 0;
    size_t n = strspn(digits, "0123456789");
    if (!n || n > 4 || digits[n]) return NULL;
    for (size_t i = 0; i < n; i++) number = number * 10 + (uint32_t)(digits[i] - '0');
    return preset_by_file_type(number);
}

const Preset *preset_by_name(const char *name) {
    if (!name) return NULL;
    for (size_t i = 0; i < N_PRESETS; i++)
        if (same_name(name, presets[i].name) || same_name(name, presets[i].alias)) return &presets[i];
    return by_number(name);
}
