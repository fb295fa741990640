/* lora_kernel_avx512.c -- merging with vectors of 16: 16 sums, 4 vectors of A and a broadcast B in 32
 * registers.
 */
#include "model/lora_kernel.h"

#if defined(__x86_64__)
#define LANES           16
#define TILE_VECTORS    4
#define KERNEL_TARGET   __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define LORA_PATH(name) name##_avx512
#include "model/lora_kernel_lanes.h"
#endif
