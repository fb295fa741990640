/* gpus.c -- see gpus.h. */
#include "packager/gpus.h"
#include <ctype.h>
#include <string.h>
#include <strings.h>

extern const unsigned char packager_gpus_json[]; /* made from the file by the Makefile */
extern const unsigned long packager_gpus_json_size;

enum { TABLE_LIMIT = 1 << 20, MOST_NAMES = 500, KEY_SIZE = 128 };

int gpus_load(cJSON **out, const char *path, Error *err) {
    if (path) return json_parse_file(out, path, TABLE_LIMIT, err);
    return json_parse(out, (const char *)packager_gpus_json, packager_gpus_json_size, "gpus.json", err);
}

/* "NVIDIA GeForce RTX 4090" and "rtx-4090" both become "rtx4090". */
static void key_of(const char *name, char key[KEY_SIZE]) {
    static const char *const fillers[] = {"nvidia", "geforce", "amd", "radeon"};
    size_t n = 0;
    for (const char *p = name; *p && n + 1 < KEY_SIZE;) {
        size_t skip = 0;
        for (size_t i = 0; i < 4; i++)
            if (!strncasecmp(p, fillers[i], strlen(fillers[i]))) skip = strlen(fillers[i]);
        if (skip || *p == ' ' || *p == '-' || *p == '_') {
            p += skip ? skip : 1;
            continue;
        }
        key[n++] = (char)tolower((unsigned char)*p++);
    }
    key[n] = '\0';
}

int gpu_find(const cJSON *table, const char *name, uint64_t *bytes, const char **spelling, Error *err) {
    const char *names[MOST_NAMES + 1];
    char wanted[KEY_SIZE], key[KEY_SIZE];
    size_t n = 0;
    const cJSON *gpu;
    key_of(name, wanted);
    cJSON_ArrayForEach(gpu, json_get(table, "gpus")) {
        const char *known = cJSON_GetStringValue(json_get(gpu, "name"));
        uint64_t gib = 0;
        if (!known || !json_u64(json_get(gpu, "gib"), &gib) || gib > 65536) continue;
        if (n < MOST_NAMES) names[n++] = known;
        key_of(known, key);
        if (strcmp(key, wanted) != 0) continue;
        *bytes = gib << 30;
        *spelling = known;
        return 0;
    }
    names[n] = NULL;
    const char *near = nearest_word(name, names);
    return error_set(err, ERR_USAGE, "--gpu %s is not in the table%s%s%s; --vram 48G says it without a name",
                     name, near ? ": did you mean \"" : "", near ? near : "", near ? "\"" : "");
}
