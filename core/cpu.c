/* cpu.c -- asks the processor what it can do (x86-64: CPUID; Arm: what Linux says). Keeps nothing: the answer
 * is stored by process.c. */
#include "core/cpu.h"
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

enum { XMM = 1 << 1, YMM = 1 << 2, ZMM = 7 << 5 }; /* bits of XCR0: registers that the system saves */

/* By inline assembly, since the intrinsic would need the whole file built for XSAVE. */
static uint32_t saved_registers(void) {
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static CpuFeatures flag(uint32_t word, int bit, CpuFeatures feature) {
    return word >> bit & 1 ? feature : 0;
}

/* Bits as in Intel's manual, volume 2, CPUID. __builtin_cpu_supports doesn't know "sha" before GCC 14. */
CpuFeatures cpu_detect(void) {
    uint32_t a, b, c, d, b7 = 0, c7 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    uint32_t c1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) b7 = b, c7 = c;
    CpuFeatures f =
        flag(c1, 9, CPU_SSSE3) | flag(c1, 19, CPU_SSE41) | flag(b7, 29, CPU_SHA) | flag(b7, 8, CPU_BMI2);
    uint32_t saved = c1 >> 27 & 1 ? saved_registers() : 0;
    if ((saved & (XMM | YMM)) != (XMM | YMM) || !(c1 >> 28 & 1 /* AVX */)) return f;
    f |= flag(c1, 12, CPU_FMA) | flag(c1, 29, CPU_F16C) | flag(b7, 5, CPU_AVX2);
    if ((saved & ZMM) != ZMM || !(b7 >> 16 & 1 /* AVX512F */)) return f;
    return f | CPU_AVX512F | flag(b7, 17, CPU_AVX512DQ) | flag(b7, 30, CPU_AVX512BW) |
           flag(b7, 31, CPU_AVX512VL) | flag(c7, 11, CPU_AVX512VNNI);
}

#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

CpuFeatures cpu_detect(void) {
    unsigned long have = getauxval(AT_HWCAP);
    return (have & HWCAP_SHA2 ? CPU_ARM_SHA2 : 0) | (have & HWCAP_ASIMDDP ? CPU_ARM_DOTPROD : 0) |
           (have & HWCAP_ASIMD ? CPU_ARM_NEON : 0);
}

#else

/* Elsewhere only what the compiler was told to take for granted. */
CpuFeatures cpu_detect(void) {
    CpuFeatures f = 0;
#ifdef __ARM_FEATURE_SHA2
    f |= CPU_ARM_SHA2;
#endif
#ifdef __ARM_FEATURE_DOTPROD
    f |= CPU_ARM_DOTPROD;
#endif
#ifdef __aarch64__
    f |= CPU_ARM_NEON;
#endif
    return f;
}

#endif

enum {
    LEVEL_SSE4 = CPU_SSSE3 | CPU_SSE41,
    LEVEL_AVX2 = LEVEL_SSE4 | CPU_BMI2 | CPU_AVX2 | CPU_FMA | CPU_F16C,
    LEVEL_AVX512 = LEVEL_AVX2 | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL,
};

static CpuFeatures allowed_by(const char *word, size_t length) {
    static const struct {
        const char *word;
        CpuFeatures allows;
    } words[] = {
        {"sse4", LEVEL_SSE4},   {"sha", LEVEL_SSE4 | CPU_SHA},
        {"avx2", LEVEL_AVX2},   {"avx512", LEVEL_AVX512},
        {"sha2", CPU_ARM_SHA2}, {"vnni", LEVEL_AVX512 | CPU_AVX512VNNI},
        {"baseline", 0},        {"dotprod", CPU_ARM_NEON | CPU_ARM_DOTPROD},
        {"neon", CPU_ARM_NEON},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i].word) == length && memcmp(words[i].word, word, length) == 0)
            return words[i].allows;
    return 0;
}

CpuFeatures cpu_limit(CpuFeatures have, const char *list) {
    if (!list || !*list) return have;
    CpuFeatures allowed = 0;
    while (*list) {
        size_t length = strcspn(list, ",");
        allowed |= allowed_by(list, length);
        list += length + (list[length] == ',');
    }
    return have & allowed;
}
