/* card.c -- README.md of a package: the model card that Hugging Face shows. A template says what stands
 * where, the one that the program carries (card.md) or the user's; the pieces are those of card_*.c. */
#include "core/input.h"
#include "core/utf8.h"
#include "packager/card_private.h"
#include <string.h>

enum { LARGEST_TEMPLATE = 1 << 20 };

/* card.md, which the build turns into an array. */
extern const unsigned char packager_card_md[];
extern const unsigned long packager_card_md_size;

/* ---- values ---- */

/* Names of repositories, hashes and the like stand as they are, in code too; anything else is escaped. */
static void plain(Buffer *out, const char *text) {
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+/-";
    if (!text) return;
    if (text[strspn(text, safe)] == '\0')
        buffer_text(out, text);
    else
        markdown_text(out, text);
}

static void number(Buffer *out, uint32_t n) {
    if (n) buffer_printf(out, "%u", n);
}

static void value_name(Buffer *out, const PackageInputs *in) {
    plain(out, in->manifest.name);
}
static void value_base_model(Buffer *out, const PackageInputs *in) {
    plain(out, in->manifest.repo);
}
static void value_base_commit(Buffer *out, const PackageInputs *in) {
    plain(out, in->manifest.commit);
}
static void value_license(Buffer *out, const PackageInputs *in) {
    plain(out, in->manifest.license);
}
static void value_author(Buffer *out, const PackageInputs *in) {
    if (in->manifest.author) markdown_text(out, in->manifest.author);
}
static void value_weights_sha256(Buffer *out, const PackageInputs *in) {
    plain(out, in->manifest.weights_sha256);
}
static void value_experts(Buffer *out, const PackageInputs *in) {
    number(out, in->derived->params.n_experts);
}
static void value_experts_used(Buffer *out, const PackageInputs *in) {
    number(out, in->derived->params.n_experts_used);
}
static void value_base_experts_used(Buffer *out, const PackageInputs *in) {
    number(out, in->source->params.n_experts_used);
}
static void value_context(Buffer *out, const PackageInputs *in) {
    number(out, in->derived->params.context);
}
static void value_base_context(Buffer *out, const PackageInputs *in) {
    number(out, in->source->params.context);
}
static void value_all(Buffer *out, const PackageInputs *in) {
    if (in->derived->family) markdown_count(out, params_total(&in->derived->params));
}
static void value_active(Buffer *out, const PackageInputs *in) {
    if (in->derived->family) markdown_count(out, params_active(&in->derived->params));
}
static void value_base_active(Buffer *out, const PackageInputs *in) {
    if (in->derived->family) markdown_count(out, params_active(&in->source->params));
}

/* docs/packaging.md lists them, with what each says. */
static const Placeholder placeholders[] = {
    {"summary", true, card_summary},
    {"parameters", true, card_parameters},
    {"changes", true, card_changes},
    {"unchanged", true, card_unchanged},
    {"outputs", true, card_outputs},
    {"update", true, card_update},
    {"sweep", true, card_sweep},
    {"advice", true, card_advice},
    {"engines", true, card_engines},
    {"verify", true, card_verify},
    {"digests", true, card_digests},
    {"files", true, card_files},
    {"generations", true, card_generations},
    {"checks", true, card_checks},
    {"attribution", true, card_attribution},
    {"name", false, value_name},
    {"base_model", false, value_base_model},
    {"base_commit", false, value_base_commit},
    {"license", false, value_license},
    {"author", false, value_author},
    {"weights_sha256", false, value_weights_sha256},
    {"experts", false, value_experts},
    {"experts_used", false, value_experts_used},
    {"base_experts_used", false, value_base_experts_used},
    {"context", false, value_context},
    {"base_context", false, value_base_context},
    {"all_parameters", false, value_all},
    {"active_parameters", false, value_active},
    {"base_active_parameters", false, value_base_active},
};

/* ---- templates ---- */

/* Two rounds of the same: in NULL only checks. */
static int expand(Buffer *out, const CardTemplate *t, const PackageInputs *in, Error *err) {
    static const PlaceholderList known = {sizeof placeholders / sizeof *placeholders, placeholders};
    CardReader r = {.source = t};
    TRY(card_front_matter(out, &r, in, err));
    return card_expand(out, &r, known, in, err);
}

static int check_bytes(const CardTemplate *t, Error *err) {
    CardReader r = {.source = t};
    while (card_next_line(&r)) {
        int code = 0;
        if (utf8_invalid_at(r.line, r.length) < r.length) code = error_set(err, ERR_RECIPE, "not UTF-8");
        for (size_t i = 0; !code && i < r.length; i++)
            if (((unsigned char)r.line[i] < 0x20 && r.line[i] != '\t') || r.line[i] == 0x7F)
                code = error_set(err, ERR_RECIPE, "a control character");
        if (code) return card_error_at(&r, code, err);
    }
    return 0;
}

int card_template_check(const CardTemplate *t, Error *err) {
    Buffer nowhere;
    TRY(check_bytes(t, err));
    buffer_init(&nowhere, NULL);
    int code = expand(&nowhere, t, NULL, err);
    buffer_free(&nowhere);
    return code;
}

int card_template_read(CardTemplate *out, const char *path, Arena *arena, Error *err) {
    static const char mark[] = "\xEF\xBB\xBF"; /* that some editors put before UTF-8 */
    char *text;
    size_t length;
    int code = input_read_file(&text, &length, path, LARGEST_TEMPLATE, arena, err);
    if (!code) {
        bool marked = length >= 3 && memcmp(text, mark, 3) == 0;
        *out = (CardTemplate){.name = path,
                              .text = marked ? text + 3 : text,
                              .length = marked ? length - 3 : length,
                              .file = text,
                              .file_length = length};
        code = card_template_check(out, err);
    }
    return code ? error_wrap(err, code, "package.card") : 0;
}

int card_write(Buffer *out, const PackageInputs *in, const CardTemplate *own, Error *err) {
    CardTemplate t = {
        .name = "card.md", .text = (const char *)packager_card_md, .length = packager_card_md_size};
    TRY(expand(out, own ? own : &t, in, err));
    return buffer_ok(out, "README.md", err);
}
