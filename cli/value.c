/* value.c -- see value.h. */
#include "cli/value.h"
#include "core/utf8.h"
#include <stdio.h>
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

static cJSON *integer_json(const char *sign, uint64_t n) {
    char digits[24];
    if (n <= (uint64_t)1 << 53) return cJSON_CreateNumber(*sign ? -(double)n : (double)n);
    snprintf(digits, sizeof digits, "%s%llu", sign, (unsigned long long)n);
    return cJSON_CreateRaw(digits);
}

cJSON *unsigned_json(uint64_t n) {
    return integer_json("", n);
}

static cJSON *array_json(const GgufArray *a) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "of", gguf_type_name(a->type));
    cJSON_AddItemToObject(o, "count", unsigned_json(a->count));
    return o;
}

cJSON *value_json(const GgufValue *v) {
    switch (v->type) {
    case GGUF_STRING: return cJSON_CreateString(v->string.data);
    case GGUF_ARRAY: return array_json(&v->array);
    case GGUF_F32: return cJSON_CreateNumber((double)v->f32);
    case GGUF_F64: return cJSON_CreateNumber(v->f64);
    case GGUF_BOOL: return cJSON_CreateBool(v->u != 0);
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64: return v->i < 0 ? integer_json("-", 0 - (uint64_t)v->i) : unsigned_json((uint64_t)v->i);
    default: return unsigned_json(v->u);
    }
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
