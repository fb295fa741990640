/* CPU features: against what the kernel says, and limited by RECAST_CPU. Each test is a process of its own,
 * so that the table is read anew. */
#include "core/cpu.h"
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = 0x70fff };

/* Does the first line of /proc/cpuinfo that begins with `key` hold the word? */
static int kernel_says(const char *key, const char *word) {
    static char line[1 << 16];
    char wanted[32];
    int found = -1;
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return -1;
    snprintf(wanted, sizeof wanted, " %s ", word);
    while (found < 0 && fgets(line, sizeof line - 1, f)) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        line[strcspn(line, "\n")] = ' ';
        found = strstr(line, wanted) != NULL;
    }
    fclose(f);
    return found;
}

Test(core_cpu, agrees_with_the_kernel) {
#if defined(__x86_64__)
    static const char key[] = "flags";
    static const struct {
        CpuFeatures flag;
        const char *word;
    } names[] = {
        {CPU_SSSE3, "ssse3"},       {CPU_SSE41, "sse4_1"},      {CPU_SHA, "sha_ni"},
        {CPU_BMI2, "bmi2"},         {CPU_AVX2, "avx2"},         {CPU_FMA, "fma"},
        {CPU_F16C, "f16c"},         {CPU_AVX512F, "avx512f"},   {CPU_AVX512BW, "avx512bw"},
        {CPU_AVX512DQ, "avx512dq"}, {CPU_AVX512VL, "avx512vl"}, {CPU_AVX512VNNI, "avx512_vnni"},
    };
#else
    static const char key[] = "Features";
    static const struct {
        CpuFeatures flag;
        const char *word;
    } names[] = {{CPU_ARM_SHA2, "sha2"}, {CPU_ARM_DOTPROD, "asimddp"}, {CPU_ARM_NEON, "asimd"}};
#endif
    CpuFeatures have = cpu_detect();
    cr_assert_eq(have & ~(CpuFeatures)ALL, 0u);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int kernel = kernel_says(key, names[i].word);
        if (kernel < 0) return; /* no such file, or a kernel that writes it differently */
        cr_assert_eq((have & names[i].flag) != 0, kernel, "%s", names[i].word);
    }
}

Test(core_cpu, a_list_limits) {
    const CpuFeatures sse4 = CPU_SSSE3 | CPU_SSE41, avx2 = sse4 | CPU_BMI2 | CPU_AVX2 | CPU_FMA | CPU_F16C;
    const CpuFeatures avx512 = avx2 | CPU_AVX512F | CPU_AVX512BW | CPU_AVX512DQ | CPU_AVX512VL;
    cr_assert_eq(cpu_limit(ALL, NULL), (CpuFeatures)ALL);
    cr_assert_eq(cpu_limit(ALL, ""), (CpuFeatures)ALL);
    cr_assert_eq(cpu_limit(ALL, "baseline"), 0u);
    cr_assert_eq(cpu_limit(ALL, "sse4"), sse4);
    cr_assert_eq(cpu_limit(ALL, "avx2"), avx2);
    cr_assert_eq(cpu_limit(ALL, "avx512"), avx512);
    cr_assert_eq(cpu_limit(ALL, "vnni"), avx512 | CPU_AVX512VNNI);
    cr_assert_eq(cpu_limit(ALL, "avx2,sha"), avx2 | CPU_SHA);
    cr_assert_eq(cpu_limit(ALL, "neon"), (CpuFeatures)CPU_ARM_NEON);
    cr_assert_eq(cpu_limit(ALL, "sha2,dotprod"),
                 (CpuFeatures)(CPU_ARM_SHA2 | CPU_ARM_NEON | CPU_ARM_DOTPROD));
    cr_assert_eq(cpu_limit(CPU_SHA | CPU_AVX2, "avx512"), (CpuFeatures)CPU_AVX2, "nothing is added");
    cr_assert_eq(cpu_limit(ALL, "avx,sha"), sse4 | CPU_SHA, "an unknown word allows nothing");
    cr_assert_eq(cpu_limit(ALL, ",sse4,"), sse4);
    cr_assert_eq(cpu_limit(ALL, "SSE4"), 0u);
}

Test(core_cpu, the_environment_limits_once) {
    cr_assert_eq(setenv("RECAST_CPU", "baseline", 1), 0);
    cr_assert_eq(cpu_features(), 0u);
    cr_assert_eq(unsetenv("RECAST_CPU"), 0);
    cr_assert_eq(cpu_features(), 0u, "it is read once");
}

Test(core_cpu, all_without_a_limit) {
    cr_assert_eq(unsetenv("RECAST_CPU"), 0);
    cr_assert_eq(cpu_features(), cpu_detect());
}
