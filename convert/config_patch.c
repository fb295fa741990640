/* config_patch.c -- writes overrides into a config.json at the values' own bytes.
 *
 * A config.json spells RoPE in one of two ways: rope_scaling beside rope_theta (up to transformers 4, and on
 * the Hub), or both inside rope_parameters (transformers 5). transformers 5 reads either, but when
 * rope_scaling is filled it forgets rope_parameters, theta included; so the source's spelling is kept and
 * never mixed with the other one. */
#include "convert/config_patch.h"

#include <string.h>

enum { INDENT_LIMIT = 64 };

static const char *const plain_keys[] = {"num_experts_per_tok", "max_position_embeddings"};
enum { N_PLAIN = sizeof plain_keys / sizeof *plain_keys };

/* ---- spelling of values ---- */

/* transformers 4 warns about (and 4.4x refused) a factor that is an int, so what is a float there gets a
 * point. */
static void write_float(Buffer *b, const cJSON *item) {
    size_t start = b->length;
    json_write_canonical(b, item);
    if (!strpbrk(buffer_string(b) + start, ".e")) buffer_text(b, ".0");
}

static void write_value(Buffer *b, const cJSON *item, bool is_float) {
    if (cJSON_IsArray(item)) {
        buffer_char(b, '[');
        for (const cJSON *e = item->child; e; e = e->next) {
            write_value(b, e, is_float);
            if (e->next) buffer_text(b, ", ");
        }
        buffer_char(b, ']');
    } else if (cJSON_IsNumber(item) && is_float) {
        write_float(b, item);
    } else {
        json_write_canonical(b, item);
    }
}

/* How the text lays out members of an object inside its root: each on a line, or all on one. */
typedef struct Layout {
    bool lines;
    char unit[INDENT_LIMIT + 1]; /* the indentation of the root's members */
} Layout;

static Layout find_layout(const Buffer *text) {
    Layout l = {.lines = false};
    const char *open = strchr(buffer_string(text), '{');
    const char *space = open ? open + 1 : "";
    size_t length = strspn(space, " \t\r\n");
    const char *line = space + length;
    while (line > space && line[-1] != '\n') line--;
    size_t unit = (size_t)(space + length - line);
    if (line == space || unit > INDENT_LIMIT) return l;
    l.lines = true;
    memcpy(l.unit, line, unit);
    return l;
}

/* An object under construction, as text. */
typedef struct Members {
    Buffer *out;
    const Layout *layout;
    bool any;
} Members;

static void begin_member(Members *m, const char *key) {
    buffer_char(m->out, m->any ? ',' : '{');
    if (m->layout->lines) {
        buffer_printf(m->out, "\n%s%s", m->layout->unit, m->layout->unit);
    } else if (m->any) {
        buffer_char(m->out, ' ');
    }
    m->any = true;
    json_write_string(m->out, key);
    buffer_text(m->out, ": ");
}

static void end_members(Members *m) {
    if (!m->any) {
        buffer_text(m->out, "{}");
        return;
    }
    if (m->layout->lines) buffer_printf(m->out, "\n%s", m->layout->unit);
    buffer_char(m->out, '}');
}

/* ---- rope objects ---- */

/* Keys with a place of their own; the others follow in byte order, so that the text doesn't depend on a
 * recipe's order. */
static const char *const placed[] = {"rope_theta", "partial_rotary_factor",           "rope_type", "type",
                                     "factor",     "original_max_position_embeddings"};
enum { N_CARRIED = 2, N_PLACED = sizeof placed / sizeof *placed };

static bool is_placed(const char *key) {
    for (int i = 0; i < N_PLACED; i++) {
        if (strcmp(key, placed[i]) == 0) return true;
    }
    return false;
}

/* The first key after `previous` in byte order that has no place of its own. */
static const cJSON *next_other(const cJSON *object, const char *previous) {
    const cJSON *best = NULL;
    for (const cJSON *e = object ? object->child : NULL; e; e = e->next) {
        if (is_placed(e->string) || (previous && strcmp(e->string, previous) <= 0)) continue;
        if (!best || strcmp(e->string, best->string) < 0) best = e;
    }
    return best;
}

/* Copies a member of the object that is replaced, as the source spells it. */
static void carry(Members *m, const Buffer *text, const char *parent, const char *key) {
    const char *path[] = {parent, key};
    JsonSpan span;
    if (!json_text_find(text->data, text->length, path, 2, &span)) return;
    begin_member(m, key);
    buffer_append(m->out, text->data + span.begin, span.end - span.begin);
}

/* The text of what `parent` becomes: the wanted object, with theta and the old spelling of rope_type where
 * the object that stands there now has them. wanted NULL: no scaling. */
static void write_rope(Buffer *out, const Buffer *text, const cJSON *config, const char *parent,
                       const cJSON *wanted) {
    const cJSON *now = json_get(config, parent);
    const cJSON *type = json_present(wanted, "rope_type");
    Layout layout = find_layout(text);
    Members m = {out, &layout, false};
    if (!type) type = json_present(wanted, "type");
    for (int i = 0; i < N_CARRIED; i++) carry(&m, text, parent, placed[i]);
    begin_member(&m, "rope_type");
    json_write_string(out, type ? type->valuestring : "default");
    if (json_present(now, "type")) {
        begin_member(&m, "type");
        json_write_string(out, type ? type->valuestring : "default");
    }
    if (json_get(wanted, "factor")) {
        begin_member(&m, "factor");
        write_value(out, json_get(wanted, "factor"), true);
    }
    if (json_get(wanted, "original_max_position_embeddings")) {
        begin_member(&m, "original_max_position_embeddings");
        write_value(out, json_get(wanted, "original_max_position_embeddings"), false);
    }
    for (const cJSON *e = next_other(wanted, NULL); e; e = next_other(wanted, e->string)) {
        begin_member(&m, e->string);
        write_value(out, e, true);
    }
    end_members(&m);
}

static bool is_filled(const cJSON *object) {
    return cJSON_IsObject(object) && object->child;
}

static int set_rope(Buffer *text, const cJSON *config, const char *key, const cJSON *wanted, Error *err) {
    Buffer value;
    buffer_init(&value, text->allocator);
    /* A theta that stands only in there must not go. */
    bool remove =
        !wanted && strcmp(key, "rope_scaling") == 0 && !json_present(json_get(config, key), "rope_theta");
    if (remove) {
        buffer_text(&value, "null");
    } else {
        write_rope(&value, text, config, key, wanted);
    }
    int code = buffer_ok(&value, "config.json", err);
    if (!code && !(remove && !json_get(config, key))) code = json_text_set(text, &key, 1, value.data, err);
    buffer_free(&value);
    return code;
}

static int patch_scaling(Buffer *text, const cJSON *config, const cJSON *wanted, Error *err) {
    if (cJSON_IsNull(wanted)) wanted = NULL;
    const cJSON *type = json_present(wanted, "rope_type");
    if (!type) type = json_present(wanted, "type");
    if (wanted && !cJSON_IsString(type)) {
        return error_set(err, ERR_RECIPE, "overrides.rope_scaling: an object with a rope_type is expected");
    }
    bool new_spelling = is_filled(json_get(config, "rope_parameters"));
    if (new_spelling) TRY(set_rope(text, config, "rope_parameters", wanted, err));
    if (new_spelling && !is_filled(json_get(config, "rope_scaling"))) return 0;
    return set_rope(text, config, "rope_scaling", wanted, err);
}

/* ---- numbers ---- */

/* Sets a number unless it has the value already: then its spelling stays. */
static int set_number(Buffer *text, const char *const *path, size_t depth, const cJSON *now,
                      const cJSON *wanted, bool is_float, Error *err) {
    if (cJSON_IsNumber(now) && now->valuedouble == wanted->valuedouble) return 0;
    Buffer value;
    buffer_init(&value, text->allocator);
    write_value(&value, wanted, is_float);
    int code = buffer_ok(&value, "config.json", err);
    if (!code) code = json_text_set(text, path, depth, value.data, err);
    buffer_free(&value);
    return code;
}

/* Wherever the source has theta; if nowhere, where its spelling has it. */
static int patch_theta(Buffer *text, const cJSON *config, const cJSON *wanted, Error *err) {
    static const char *const parents[] = {"rope_parameters", "rope_scaling"};
    static const char *const top[] = {"rope_theta"};
    bool set = false;
    for (int i = 0; i < 2; i++) {
        const char *path[] = {parents[i], "rope_theta"};
        const cJSON *now = json_present(json_get(config, parents[i]), "rope_theta");
        JsonSpan span;
        if (!now || !json_text_find(text->data, text->length, path, 2, &span)) continue;
        TRY(set_number(text, path, 2, now, wanted, true, err));
        set = true;
    }
    const cJSON *now = json_present(config, "rope_theta");
    if (now || (!set && !is_filled(json_get(config, "rope_parameters")))) {
        return set_number(text, top, 1, now, wanted, true, err);
    }
    const char *path[] = {"rope_parameters", "rope_theta"};
    return set ? 0 : set_number(text, path, 2, NULL, wanted, true, err);
}

static const cJSON *wanted_theta(const cJSON *overrides) {
    const cJSON *theta = json_present(overrides, "rope_theta");
    return theta ? theta : json_present(json_present(overrides, "rope_scaling"), "rope_theta");
}

static int check_keys(const cJSON *overrides, Error *err) {
    for (const cJSON *e = overrides->child; e; e = e->next) {
        bool known = strcmp(e->string, "rope_scaling") == 0 || strcmp(e->string, "rope_theta") == 0;
        for (int i = 0; i < N_PLAIN; i++) known = known || strcmp(e->string, plain_keys[i]) == 0;
        if (!known) {
            return error_set(err, ERR_UNSUPPORTED, "overrides.%s can't be written into a config.json",
                             e->string);
        }
    }
    return 0;
}

int config_patch(Buffer *text, const cJSON *config, const cJSON *overrides, Error *err) {
    TRY(check_keys(overrides, err));
    for (int i = 0; i < N_PLAIN; i++) {
        const cJSON *wanted = json_present(overrides, plain_keys[i]);
        if (wanted)
            TRY(set_number(text, &plain_keys[i], 1, json_get(config, plain_keys[i]), wanted, false, err));
    }
    const cJSON *scaling = json_get(overrides, "rope_scaling");
    if (scaling) TRY(patch_scaling(text, config, scaling, err));
    const cJSON *theta = wanted_theta(overrides);
    return theta ? patch_theta(text, config, theta, err) : 0;
}
