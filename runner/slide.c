/* slide.c -- see slide.h. */
#include "runner/slide.h"

size_t slide_dropped(size_t n, uint32_t context) {
    size_t half = (context - SLIDE_KEPT + 1) / 2;
    return n <= context ? 0 : (n - context + half - 1) / half * half;
}
