/* card_front.c -- the card's front matter: YAML between two lines of ---, which the Hub reads (hub-docs,
 * model-cards.md). What follows from recipe and files is always written here, every string quoted as JSON,
 * which is YAML too. A template may add keys of its own beside it; they can't contradict it. */
#include "core/json.h"
#include "model/family.h"
#include "packager/card_private.h"
#include <string.h>

enum { MOST_KEYS = 64 };

/* ---- the program's own ---- */

static void yaml_pair(Buffer *out, const char *key, const char *value) {
    buffer_printf(out, "%s: ", key);
    json_write_string(out, value);
    buffer_char(out, '\n');
}

/* The i-th tag of the card, or NULL behind the last: what the files are first, then the recipe's. "" is none.
 */
static const char *tag_at(const PackageInputs *in, size_t i) {
    const Manifest *m = &in->manifest;
    const Family *family = in->derived->family;
    switch (i) {
    case 0: return card_has_format(m, "gguf") ? "gguf" : "";
    case 1: return card_has_format(m, "gguf") ? "llama-cpp" : "";
    case 2: return card_has_format(m, "hf") ? "safetensors" : "";
    case 3: return family ? family->hf_model_type : "";
    case 4: return in->derived->params.n_experts ? "moe" : "";
    case 5: return "recast";
    default: return i - 6 < in->recipe->n_tags ? in->recipe->tags[i - 6] : NULL;
    }
}

static bool tag_is_new(const PackageInputs *in, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (strcmp(tag_at(in, j), tag_at(in, i)) == 0) return false;
    return tag_at(in, i)[0] != '\0';
}

static const char *const own_keys[] = {"license",      "base_model",   "base_model_relation",
                                       "pipeline_tag", "library_name", "tags"};

static void write_own(Buffer *out, const PackageInputs *in) {
    const Manifest *m = &in->manifest;
    bool hf = card_has_format(m, "hf");
    if (m->license) yaml_pair(out, "license", m->license);
    if (m->repo) {
        /* The Hub has no word for "same weights, other parameters"; finetune is the closest for safetensors.
         */
        yaml_pair(out, "base_model", m->repo);
        yaml_pair(out, "base_model_relation", hf || m->lora ? "finetune" : "quantized");
    }
    yaml_pair(out, "pipeline_tag", "text-generation");
    yaml_pair(out, "library_name", hf ? "transformers" : "gguf");
    buffer_text(out, "tags:\n");
    for (size_t i = 0; tag_at(in, i); i++) {
        if (!tag_is_new(in, i)) continue;
        buffer_text(out, "- ");
        json_write_string(out, tag_at(in, i));
        buffer_char(out, '\n');
    }
}

/* ---- a template's ---- */

typedef struct Keys {
    const char *at[MOST_KEYS];
    size_t length[MOST_KEYS], n;
    bool own, just_own; /* was {{front_matter}} there; is it the last but for comments */
} Keys;

/* "key:" at the beginning of a line, or 0: its length without the colon. */
static size_t key_length(const CardReader *r) {
    size_t n = 0;
    for (; n < r->length; n++) {
        char c = r->line[n];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
                    (n && ((c >= '0' && c <= '9') || c == '-'));
        if (!word) break;
    }
    bool colon = n < r->length && r->line[n] == ':' && (n + 1 == r->length || r->line[n + 1] == ' ');
    return colon ? n : 0;
}

static bool is_key(const char *key, size_t n, const char *word) {
    return strlen(word) == n && !memcmp(key, word, n);
}

static int note_key(Keys *k, const CardReader *r, size_t n, Error *err) {
    const char *key = r->line;
    for (size_t i = 0; i < sizeof own_keys / sizeof *own_keys; i++)
        if (is_key(key, n, own_keys[i]))
            return error_set(err, ERR_RECIPE,
                             "%s is written by {{front_matter}}, from the recipe and the files%s",
                             own_keys[i],
                             i == 0                                        ? ": package.license"
                             : i + 1 == sizeof own_keys / sizeof *own_keys ? ": package.tags adds to them"
                                                                           : "");
    for (size_t i = 0; i < k->n; i++)
        if (k->length[i] == n && !memcmp(k->at[i], key, n))
            return error_set(err, ERR_RECIPE, "the key %.*s is there twice", (int)n, key);
    if (k->n == MOST_KEYS) return error_set(err, ERR_LIMIT, "more than %d keys", MOST_KEYS);
    k->at[k->n] = key;
    k->length[k->n++] = n;
    k->just_own = false;
    return 0;
}

/* NEL, LS and PS end a line of YAML 1.1, CR of any; here none does. */
static bool breaks_line(const CardReader *r) {
    for (size_t i = 0; i < r->length; i++) {
        const unsigned char *c = (const unsigned char *)r->line + i;
        if (*c == '\r' || (r->length - i > 1 && c[0] == 0xC2 && c[1] == 0x85)) return true;
        if (r->length - i > 2 && c[0] == 0xE2 && c[1] == 0x80 && (c[2] & 0xFE) == 0xA8) return true;
    }
    return false;
}

/* Behind the quote that ends a string, or the line's end + 1 if none does. */
static size_t skip_quoted(const CardReader *r, size_t at) {
    char quote = r->line[at++];
    for (; at < r->length && r->line[at] != quote; at++)
        if (quote == '"' && r->line[at] == '\\') at++;
    return at + 1; /* '' within '...' are two strings here */
}

/* Does a quote or a bracket stay open at the line's end? Then YAML takes lines that look like keys for text.
 * A quote means something only where a value begins. */
static bool stays_open(const CardReader *r) {
    size_t depth = 0;
    bool begins = true;
    for (size_t i = 0; i < r->length; i++) {
        char c = r->line[i], next = i + 1 < r->length ? r->line[i + 1] : ' ';
        if (begins && (c == '\'' || c == '"')) {
            i = skip_quoted(r, i) - 1;
            if (i >= r->length) return true;
            begins = i + 1 < r->length && r->line[i + 1] == '\'';
        } else if (begins && (c == '!' || c == '&')) {
            while (i + 1 < r->length && r->line[i + 1] != ' ') i++;
        } else if ((begins || depth) && (c == '[' || c == '{')) {
            depth++, begins = true;
        } else if (depth && (c == ']' || c == '}')) {
            depth--;
        } else if (c == '#' && (!i || r->line[i - 1] == ' ')) {
            break;
        } else if (c != ' ' && !(begins && (c == '-' || c == '?') && next == ' ')) {
            begins = (c == ':' && (next == ' ' || depth)) || (depth && c == ',');
        }
    }
    return depth > 0;
}

/* What makes a line another one for YAML than it is here. */
static int check_plain(const CardReader *r, ErrorCode code, Error *err) {
    if (breaks_line(r)) return error_set(err, code, "a line break that only YAML takes for one");
    if (stays_open(r)) return error_set(err, code, "a quote or a bracket that the line does not close");
    return 0;
}

/* A line that is not {{front_matter}}: a key, what belongs to the key before it, a comment or nothing. */
static int check_line(Keys *k, const CardReader *r, Error *err) {
    if (memchr(r->line, '\t', r->length)) return error_set(err, ERR_RECIPE, "YAML takes no tab");
    TRY(check_plain(r, ERR_RECIPE, err));
    for (size_t i = 1; i < r->length; i++)
        if (r->line[i] == '{' && r->line[i - 1] == '{')
            return error_set(err, ERR_RECIPE,
                             "in the front matter only {{front_matter}} stands for something, alone on its "
                             "line");
    if (card_line_is(r, "") || r->line[0] == '#') return 0;
    if (r->line[0] == ' ' || r->line[0] == '-') {
        if (k->n && !k->just_own && !card_line_is(r, "---")) return 0;
        return error_set(err, ERR_RECIPE, "this line continues no key of the template");
    }
    size_t n = key_length(r);
    if (!n) return error_set(err, ERR_RECIPE, "expected a line of front matter: \"key: value\"");
    return note_key(k, r, n, err);
}

static int block_line(Buffer *out, Keys *k, const CardReader *r, const PackageInputs *in, Error *err) {
    if (!card_line_names(r, "front_matter")) {
        TRY(check_line(k, r, err));
        buffer_append(out, r->line, r->length);
        buffer_char(out, '\n');
        return 0;
    }
    if (k->own) return error_set(err, ERR_RECIPE, "{{front_matter}} is there twice");
    k->own = k->just_own = true;
    if (in) write_own(out, in);
    return 0;
}

/* The reader stands at the first line, which is ---. */
static int copy_block(Buffer *out, CardReader *r, const PackageInputs *in, Error *err) {
    Keys keys = {.n = 0};
    CardReader first = *r;
    while (card_next_line(r)) {
        if (card_line_is(r, "---")) {
            if (keys.own) return 0;
            int code =
                error_set(err, ERR_RECIPE,
                          "{{front_matter}} is missing before this line: base model, licence and tags, "
                          "which the Hub needs");
            return card_error_at(r, code, err);
        }
        int code = block_line(out, &keys, r, in, err);
        if (code) return card_error_at(r, code, err);
    }
    return card_error_at(&first, error_set(err, ERR_RECIPE, "nothing ends the front matter: --- is missing"),
                         err);
}

int card_front_matter(Buffer *out, CardReader *r, const PackageInputs *in, Error *err) {
    CardReader before = *r;
    bool any = card_next_line(r);
    buffer_text(out, "---\n");
    if (any && card_line_is(r, "---"))
        TRY(copy_block(out, r, in, err));
    else {
        if (in) write_own(out, in);
        if (!any || !card_line_names(r, "front_matter")) *r = before;
    }
    buffer_text(out, "---\n\n");
    return 0;
}

/* ---- a card from anywhere ---- */

/* The value that a key must have, if the line is that key's: NULL is none. */
static int check_value(const CardReader *r, const char *key, const char *value, size_t *seen, Error *err) {
    size_t n = key_length(r);
    if (!is_key(r->line, n, key)) return 0;
    Buffer wanted;
    buffer_init(&wanted, NULL);
    if (value) yaml_pair(&wanted, key, value);
    bool same = value && !*seen && wanted.length == r->length + 1 && !memcmp(wanted.data, r->line, r->length);
    ++*seen;
    int code = buffer_ok(&wanted, "README.md", err);
    buffer_free(&wanted);
    if (code || same) return code;
    return error_set(err, ERR_CHECK, "%s is not what the manifest says: %s", key, value ? value : "none");
}

int card_check(const char *text, size_t length, const Manifest *m, Error *err) {
    CardTemplate card = {.name = "README.md", .text = text, .length = length};
    CardReader r = {.source = &card};
    size_t licences = 0, bases = 0, keys = 0;
    if (!card_next_line(&r) || !card_line_is(&r, "---"))
        return error_set(err, ERR_CHECK, "README.md: it has no front matter");
    while (card_next_line(&r) && !card_line_is(&r, "---")) {
        bool key = key_length(&r) > 0,
             plain = key || card_line_is(&r, "") || r.line[0] == '#' || (keys && strchr(" -", r.line[0]));
        keys += key;
        int code = plain ? check_value(&r, "license", m->license, &licences, err)
                         : error_set(err, ERR_CHECK, "a line of front matter that begins with no plain key");
        if (!code) code = check_value(&r, "base_model", m->repo, &bases, err);
        if (!code) code = check_plain(&r, ERR_CHECK, err);
        if (code) return card_error_at(&r, code, err);
    }
    if (licences == (m->license != NULL) && bases == (m->repo != NULL)) return 0;
    return error_set(err, ERR_CHECK,
                     "README.md: its front matter does not name the manifest's licence and base model");
}
