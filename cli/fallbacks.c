/* fallbacks.c -- see fallbacks.h. */
#include "cli/fallbacks.h"
#include "core/buffer.h"
#include "model/views.h"
#include <string.h>

enum { MOST_NAMES = 4 };

int fallbacks_say(const Model *retyped, void (*say)(const char *text), Error *err) {
    const char *const *names;
    size_t n = retype_fallbacks(retyped, &names);
    if (!n || !say) return 0;
    Buffer b;
    buffer_init(&b, NULL);
    buffer_printf(&b, "%zu of %zu tensors become F16, since their rows are no whole number of blocks: ", n,
                  retyped->n_tensors);
    for (size_t i = 0; i < n && i < MOST_NAMES; i++) {
        buffer_text(&b, i ? ", " : "");
        buffer_printable(&b, names[i], strlen(names[i]));
    }
    buffer_text(&b, n > MOST_NAMES ? ", ...\n" : "\n");
    int code = buffer_ok(&b, "a message", err);
    if (!code) say(buffer_string(&b));
    buffer_free(&b);
    return code;
}

void fallbacks_json(const Model *retyped, const char *type, cJSON **array) {
    const char *const *names;
    size_t n = retype_fallbacks(retyped, &names);
    if (!n) return;
    if (!*array) *array = cJSON_CreateArray();
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "output", type);
    cJSON *list = cJSON_AddArrayToObject(item, "tensors");
    for (size_t i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateString(names[i]));
    cJSON_AddItemToArray(*array, item);
}
