/* value.c -- see value.h. */
#include "cli/value.h"
#include "core/utf8.h"
#include <string.h>

enum { MAX_SHOWN_TEXT = 100, MAX_SHOWN_ITEMS = 6 };

static void string_text(Buffer *out, const GgufString *s) {
    size_t shown = utf8_cut(s->data, (size_t)s->length, MAX_SHOWN_TEXT);
    buffer_char(out, '"');
    buffer_printable(out, s->data, shown);
    if (shown < s->length)
        buffer_printf(out, "...\" (%llu bytes)", (unsigned long long)s->length);
    else
        buffer_char(out, '"');
}

/* Element i of an array, as a value of its own. */
static GgufValue array_item(const GgufArray *a, uint64_t i) {
    GgufValue v = {.type = a->type};
    if (a->type == GGUF_STRING) {
        v.string = a->strings[i];
        return v;
    }
    const unsigned char *p = (const unsigned char *)a->raw + i * gguf_type_bytes(a->type);
    switch (a->type) {
    case GGUF_U8:
    case GGUF_BOOL: v.u = p[0]; break;
    case GGUF_I8: v.i = (int8_t)p[0]; break;
    case GGUF_U16: v.u = load_u16(p); break;
    case GGUF_I16: v.i = (int16_t)load_u16(p); break;
    case GGUF_U32: v.u = load_u32(p); break;
    case GGUF_I32: v.i = (int32_t)load_u32(p); break;
    case GGUF_U64: v.u = load_u64(p); break;
    case GGUF_I64: v.i = (int64_t)load_u64(p); break;
    case GGUF_F32: memcpy(&v.f32, p, sizeof v.f32); break;
    case GGUF_F64: memcpy(&v.f64, p, sizeof v.f64); break;
    default: break;
    }
    return v;
}

static void array_text(Buffer *out, const GgufArray *a) {
    buffer_printf(out, "%llu x %s [", (unsigned long long)a->count, gguf_type_name(a->type));
    for (uint64_t i = 0; i < a->count && i < MAX_SHOWN_ITEMS; i++) {
        GgufValue v = array_item(a, i);
        if (i) buffer_text(out, ", ");
        value_text(out, &v);
    }
    buffer_text(out, a->count > MAX_SHOWN_ITEMS ? ", ...]" : "]");
}

void value_text(Buffer *out, const GgufValue *v) {
    switch (v->type) {
    case GGUF_STRING: string_text(out, &v->string); break;
    case GGUF_ARRAY: array_text(out, &v->array); break;
    case GGUF_F32: buffer_printf(out, "%.9g", (double)v->f32); break;
    case GGUF_F64: buffer_printf(out, "%.17g", v->f64); break;
    case GGUF_BOOL: buffer_text(out, v->u ? "true" : "false"); break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: buffer_printf(out, "%lld", (long long)v->i); break;
    default: buffer_printf(out, "%llu", (unsigned long long)v->u); break;
    }
}
