/* init.c -- see init.h. */
#include "recipes/init.h"
#include "core/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the recipe will say. */
typedef struct Draft {
    const Release *base;
    const InitOptions *options;
    Buffer *notes;
    uint32_t experts; /* 0: no override */
    uint32_t context; /* max_position_embeddings; 0: no override */
    RopeType rope;    /* ROPE_DEFAULT: no override */
    double factor;
    uint32_t original;
    uint32_t reach; /* positions that the scaling is for */
    bool gguf;      /* the family is one that becomes a GGUF */
} Draft;

static const char *label(const Release *base) {
    return base->repo ? base->repo : "this checkpoint";
}

/* ---- experts ---- */

static void note_active(const Draft *d, uint32_t used) {
    ModelParams p = d->base->params;
    if (!d->gguf || !p.n_ff_expert || !p.n_vocab || !p.n_embd) return;
    uint64_t total = params_total(&p), before = params_active(&p);
    p.n_experts_used = used;
    bool large = total >= 1000000000;
    double unit = large ? 1e9 : 1e6;
    buffer_printf(d->notes,
                  "%u of %u experts a token: %.2f %s parameters work on a token (%.2f with %u), of %.2f that "
                  "must be stored and loaded as before\n",
                  used, p.n_experts, (double)params_active(&p) / unit, large ? "billion" : "million",
                  (double)before / unit, d->base->params.n_experts_used, (double)total / unit);
}

static int choose_experts(Draft *d, Error *err) {
    uint32_t n = d->options->experts;
    const ModelParams *p = &d->base->params;
    if (!n) return 0;
    if (!p->n_experts)
        return error_set(err, ERR_RECIPE, "--experts: %s is dense, it has no experts to raise or lower",
                         label(d->base));
    if (n > p->n_experts)
        return error_set(err, ERR_RECIPE, "--experts %u: %s has %u", n, label(d->base), p->n_experts);
    if (n == p->n_experts_used) {
        buffer_printf(d->notes, "%u experts a token is what %s has: no override\n", n, label(d->base));
        return 0;
    }
    d->experts = n;
    note_active(d, n);
    if (n == 16 && p->n_experts == 128)
        buffer_text(d->notes,
                    "published names such as A6B-16 mean this: 16 of 128 experts a token; they are no model "
                    "with 16 experts, and the weights are the base's\n");
    buffer_printf(
        d->notes,
        "it was trained with %u: quality usually falls with any other number, and time a token grows with "
        "it; recast sweep measures both on a text of yours\n",
        p->n_experts_used);
    if (!p->norm_topk_prob)
        buffer_text(
            d->notes,
            "its router weights are not renormalised (norm_topk_prob false): each further expert adds "
            "to the output instead of sharing in it\n");
    return 0;
}

/* ---- context ---- */

static RopeType wanted_rope(const Draft *d) {
    return d->options->rope ? rope_type_by_name(d->options->rope) : ROPE_YARN;
}

static int check_rope(const Draft *d, Error *err) {
    RopeType type = wanted_rope(d);
    if (type == ROPE_YARN || type == ROPE_LINEAR || type == ROPE_DYNAMIC || type == ROPE_DEFAULT) return 0;
    return error_set(err, ERR_USAGE, "--rope %s: yarn, linear, dynamic and default are offered",
                     d->options->rope);
}

/* The context is the model's own: nothing to scale. */
static void native_context(Draft *d, uint32_t wanted, uint32_t native) {
    const Release *b = d->base;
    if (b->native_long)
        buffer_printf(d->notes,
                      "%u positions are %s's own: no RoPE scaling is needed, and YaRN would cost quality for "
                      "nothing\n",
                      native, label(b));
    else
        buffer_printf(d->notes, "%s reaches %u positions by itself: no RoPE scaling is needed\n", label(b),
                      native);
    if (b->params.context && wanted != b->params.context) d->context = wanted;
}

static void note_yarn(const Draft *d) {
    const Release *b = d->base;
    if (d->rope == ROPE_YARN) {
        buffer_text(d->notes,
                    "YaRN in GGUF and transformers is static: the scaling is there for short texts too and "
                    "costs them some quality");
        if (b->claimed)
            buffer_printf(
                d->notes,
                "; the maker's advice is to use it only when texts are long, with a factor near length / %u",
                d->original);
        buffer_char(d->notes, '\n');
    }
    if (b->claimed && d->reach > b->claimed)
        buffer_printf(d->notes, "the maker speaks of %u positions; %u are beyond that\n", b->claimed,
                      d->reach);
    if (b->repo && !b->claimed)
        buffer_printf(d->notes, "the maker claims nothing above %u positions for %s\n", b->trained, b->repo);
    if (b->native_long)
        buffer_text(d->notes,
                    "it is native to a long context already; what lies beyond is for you to measure\n");
}

static int choose_dynamic(Draft *d) {
    buffer_printf(d->notes,
                  "dynamic scaling does nothing below max_position_embeddings, so that stays %u; engines cap "
                  "the context "
                  "there unless they are told otherwise\n",
                  d->base->params.context);
    if (d->gguf)
        buffer_printf(d->notes,
                      "GGUF knows no dynamic scaling: the frequencies for %u positions are written into it\n",
                      d->reach);
    return 0;
}

static int choose_scaling(Draft *d, uint32_t wanted, Error *err) {
    const Release *b = d->base;
    d->rope = wanted_rope(d);
    if (d->rope == ROPE_DEFAULT)
        return error_set(err, ERR_RECIPE, "--context %u: %s reaches %u positions without scaling", wanted,
                         label(b), b->params.context ? b->params.context : b->trained);
    d->original = d->rope == ROPE_YARN && b->trained ? b->trained : b->params.context;
    if (!d->original) d->original = b->trained;
    if (!d->original)
        return error_set(err, ERR_RECIPE,
                         "the native context of %s is not known; give a checkpoint directory", label(b));
    d->factor = d->options->factor > 0 ? d->options->factor : (double)wanted / d->original;
    d->reach = wanted;
    if (d->factor < 1 || wanted > d->factor * d->original)
        return error_set(err, ERR_RECIPE, "--context %u is more than factor %g x %u", wanted, d->factor,
                         d->original);
    note_yarn(d);
    if (d->rope == ROPE_DYNAMIC) return choose_dynamic(d);
    d->context = wanted;
    return 0;
}

static int choose_context(Draft *d, Error *err) {
    const Release *b = d->base;
    uint32_t wanted = d->options->context, native = b->params.context ? b->params.context : b->trained;
    TRY(check_rope(d, err));
    if (!wanted && d->options->factor > 0 && b->trained)
        wanted = (uint32_t)fmin(d->options->factor * b->trained, 4294967040.0);
    if (!wanted) return 0;
    if (native && wanted <= native) {
        native_context(d, wanted, native);
        return 0;
    }
    return choose_scaling(d, wanted, err);
}

/* ---- writing ---- */

/* "128k" for 131072, "100000" for 100000. */
static void write_length(Buffer *b, uint32_t n) {
    if (n % 1024 == 0)
        buffer_printf(b, "%uk", n / 1024);
    else
        buffer_printf(b, "%u", n);
}

/* The last part of a path or repository, of letters that a recipe's name may have. */
static void write_base_name(Buffer *b, const char *path) {
    size_t end = strlen(path);
    while (end && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin && path[begin - 1] != '/') begin--;
    for (size_t i = begin; i < end; i++) {
        bool fine =
            strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", path[i]) != NULL;
        buffer_char(b, fine ? path[i] : '-');
    }
    if (begin == end) buffer_text(b, "model");
}

static void write_name(Buffer *b, const Draft *d) {
    const InitOptions *o = d->options;
    if (o->name) {
        buffer_text(b, o->name);
        return;
    }
    write_base_name(b, o->base_path ? o->base_path : d->base->repo);
    if (d->experts) buffer_printf(b, "-x%u", d->experts);
    if (d->rope != ROPE_DEFAULT || d->context) buffer_char(b, '-');
    if (d->rope == ROPE_LINEAR || d->rope == ROPE_DYNAMIC) buffer_printf(b, "%s-", rope_type_name(d->rope));
    if (d->rope != ROPE_DEFAULT || d->context) write_length(b, d->reach ? d->reach : d->context);
}

static void write_base(Buffer *b, const Draft *d) {
    buffer_text(b, "  \"base\": { ");
    if (d->base->repo && !d->options->base_path) {
        buffer_text(b, "\"repo\": ");
        json_write_string(b, d->base->repo);
    } else {
        buffer_text(b, "\"path\": ");
        json_write_string(b, d->options->base_path);
    }
    buffer_text(b, " },\n");
}

static void write_overrides(Buffer *b, const Draft *d) {
    const char *comma = "";
    buffer_text(b, "  \"overrides\": {");
    if (d->experts) {
        buffer_printf(b, "\n    \"num_experts_per_tok\": %u", d->experts);
        comma = ",";
    }
    if (d->context) {
        buffer_printf(b, "%s\n    \"max_position_embeddings\": %u", comma, d->context);
        comma = ",";
    }
    if (d->rope != ROPE_DEFAULT) {
        cJSON *factor = cJSON_CreateNumber(d->factor);
        buffer_printf(b, "%s\n    \"rope_scaling\": { \"rope_type\": \"%s\", \"factor\": ", comma,
                      rope_type_name(d->rope));
        json_write_canonical(b, factor);
        if (d->factor == floor(d->factor)) buffer_text(b, ".0");
        if (d->rope == ROPE_YARN) buffer_printf(b, ", \"original_max_position_embeddings\": %u", d->original);
        buffer_text(b, " }");
        comma = ",";
        cJSON_Delete(factor);
    }
    buffer_text(b, *comma ? "\n  },\n" : "},\n");
}

static void write_outputs(Buffer *b, const Draft *d) {
    buffer_text(b, "  \"outputs\": [\n");
    if (d->gguf) {
        buffer_text(b, "    { \"format\": \"gguf\", \"type\": \"bf16\"");
        if (d->rope == ROPE_DYNAMIC) buffer_printf(b, ", \"gguf_dynamic\": { \"bake\": %u }", d->reach);
        buffer_text(b, " },\n");
    }
    buffer_text(b, "    { \"format\": \"hf\" }\n  ]");
}

static void write_recipe(Buffer *b, const Draft *d) {
    buffer_text(b, "{\n  \"recipe\": 1,\n  \"name\": ");
    Buffer name;
    buffer_init(&name, NULL);
    write_name(&name, d);
    json_write_string(b, buffer_string(&name));
    if (name.failed) b->failed = true;
    buffer_free(&name);
    buffer_text(b, ",\n");
    write_base(b, d);
    write_overrides(b, d);
    write_outputs(b, d);
    if (d->base->license) {
        buffer_text(b, ",\n  \"package\": { \"license\": ");
        json_write_string(b, d->base->license);
        buffer_text(b, " }");
    }
    buffer_text(b, "\n}\n");
}

int init_recipe(Buffer *recipe, Buffer *notes, const Release *base, const InitOptions *options, Error *err) {
    Draft d = {.base = base, .options = options, .notes = notes};
    d.gguf = !strcmp(base->params.architecture, "qwen3moe");
    if (base->hybrid)
        return error_set(
            err, ERR_UNSUPPORTED,
            "%s is a hybrid (most of its layers are linear attention): no recipe is offered for it; its "
            "own context is %u",
            label(base), base->params.context);
    TRY(choose_experts(&d, err));
    TRY(choose_context(&d, err));
    if (base->note) buffer_printf(notes, "%s\n", base->note);
    if (!d.gguf)
        buffer_text(notes, "only the Hugging Face form: this version makes no GGUF of that architecture\n");
    if (!d.experts && !d.context && d.rope == ROPE_DEFAULT)
        buffer_text(notes, "nothing is overridden: this recipe makes the base itself\n");
    write_recipe(recipe, &d);
    TRY(buffer_ok(notes, "notes", err));
    return buffer_ok(recipe, "a recipe", err);
}
