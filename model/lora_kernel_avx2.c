/* lora_kernel_avx2.c -- merging with vectors of 8: 8 sums, 2 vectors of A and a broadcast B in 16 registers.
 */
#include "model/lora_kernel.h"

#if defined(__x86_64__)
#define LANES           8
#define TILE_VECTORS    2
#define KERNEL_TARGET   __attribute__((target("avx2,fma")))
#define LORA_PATH(name) name##_avx2
#include "model/lora_kernel_lanes.h"
#endif
