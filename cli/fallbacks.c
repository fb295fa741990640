/* fallbacks.c -- see fallbacks.h. */
#include "cli/fallbacks.h"
#include "core/buffer.h"
#include "model/views.h"
#include <string.h>

enum { MOST_NAMES = 4 };

int fallbacks_say(const Model *retyped, void (*say)(const char *text), Error *err) {
    const MixtureFallback *list;
    size_t n = retype_fallbacks(retyped, &list);
    if (!n || !say) return 0;
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(&b,
                  "%zu of %zu tensors get another type, since their rows are no whole number of blocks: ", n,
                  retyped->n_tensors);
    for (size_t i = 0; i < n && i < MOST_NAMES; i++) {
        buffer_text(&b, i ? ", " : "");
        buffer_printable(&b, list[i].tensor, strlen(list[i].tensor));
        buffer_printf(&b, " %s -> %s", dtype_name(list[i].from), dtype_name(list[i].to));
    }
    buffer_text(&b, n > MOST_NAMES ? ", ...\n" : "\n");
    int code = buffer_ok(&b, "a message", err);
    if (!code) say(buffer_string(&b));
    buffer_free(&b);
    return code;
}

void fallbacks_json(const Model *retyped, const char *type, cJSON **array) {
    const MixtureFallback *list;
    size_t n = retype_fallbacks(retyped, &list);
    if (!n) return;
    if (!*array) *array = cJSON_CreateArray();
    for (size_t i = 0; i < n; i++) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "output", type);
        cJSON_AddStringToObject(item, "tensor", list[i].tensor);
        cJSON_AddStringToObject(item, "from", dtype_name(list[i].from));
        cJSON_AddStringToObject(item, "to", dtype_name(list[i].to));
        cJSON_AddItemToArray(*array, item);
    }
}
