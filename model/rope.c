/* rope.c -- inverse frequencies of rotary embeddings in the float32 steps that transformers takes.
 *
 * Every line that assigns a float is one rounding of docs/arithmetic.md, section 5: don't merge them. Angles
 * are not computed here; the runner takes cosines per position. */
#include "model/rope.h"
#include "core/strict_math.h"

/* x^y as torch has it for float32 tensors, except that this one is rounded correctly. */
static float pow32(float x, float y) {
    return (float)strict_pow(x, y);
}

double rope_yarn_mscale(double factor) {
    return factor > 1 ? 0.1 * strict_log(factor) + 1 : 1;
}

static double scaled_mscale(double factor, double mscale) {
    return factor > 1 ? 0.1 * mscale * strict_log(factor) + 1 : 1;
}

float rope_dynamic_theta(const ModelParams *p, uint32_t length) {
    uint32_t n = length > p->context ? length : p->context;
    float stretched = p->rope.factor * (float)n;
    float ratio = stretched / (float)p->context;
    float growth = ratio - (float)((double)p->rope.factor - 1);
    /* a Python number, so torch keeps this exponent in double; rounded to float32 it moves 47 of 64 entries
     */
    double exponent = p->head_dim / (p->head_dim - 2.0);
    float power = (float)strict_pow(growth, exponent);
    return p->rope.theta * power;
}

/* theta^(2i/h), the reciprocal of a frequency. */
static float period(const ModelParams *p, float theta, uint32_t i) {
    float exponent = (float)(2 * i) / (float)p->head_dim;
    return pow32(theta, exponent);
}

/* The dimension whose wavelength fits `turns` times into the original context. */
static double yarn_dimension(const ModelParams *p, double turns) {
    const double pi = 0x1.921fb54442d18p+1;
    double ratio = p->rope.original_context / (turns * 2 * pi);
    return p->head_dim * strict_log(ratio) / (2 * strict_log(p->rope.theta));
}

static void yarn_table(const ModelParams *p, float *inv_freq) {
    double low = yarn_dimension(p, p->rope.beta_fast), high = yarn_dimension(p, p->rope.beta_slow);
    if (p->rope.truncate) low = floor(low), high = ceil(high);
    if (low < 0) low = 0;
    if (high > p->head_dim - 1.0) high = p->head_dim - 1.0;
    if (low == high) high += 0.001;
    float start = (float)low, width = (float)(high - low);
    for (uint32_t i = 0; i < p->head_dim / 2; i++) {
        float base = period(p, p->rope.theta, i);
        float stretched = p->rope.factor * base;
        float interpolated = 1 / stretched, extrapolated = 1 / base;
        float offset = (float)i - start;
        float ramp = offset / width;
        ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
        float keep = 1 - ramp;
        float give = 1 - keep;
        float a = interpolated * give, b = extrapolated * keep;
        inv_freq[i] = a + b;
    }
}

static float yarn_attention(const RopeParams *r) {
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return (float)(scaled_mscale(r->factor, r->mscale) / scaled_mscale(r->factor, r->mscale_all_dim));
    return (float)rope_yarn_mscale(r->factor);
}

static int check(const ModelParams *p, Error *err) {
    const RopeParams *r = &p->rope;
    if (r->type == ROPE_LONGROPE || r->type == ROPE_LLAMA3 || r->type == ROPE_UNKNOWN)
        return error_set(err, ERR_UNSUPPORTED,
                         "rope type \"%s\" can't be run; default, linear, dynamic and yarn can",
                         rope_type_name(r->type));
    if (p->head_dim < 4 || p->head_dim % 2)
        return error_set(err, ERR_UNSUPPORTED, "head_dim is %u; rope needs an even number of at least 4",
                         p->head_dim);
    if (!(r->theta > 0) || isinf(r->theta))
        return error_set(err, ERR_FORMAT, "rope_theta is %g, expected a finite number above 0",
                         (double)r->theta);
    if (r->type == ROPE_DEFAULT) return 0;
    if (!(r->factor >= 1) || isinf(r->factor))
        return error_set(err, ERR_FORMAT, "the factor of rope type \"%s\" is %g, expected at least 1",
                         rope_type_name(r->type), (double)r->factor);
    if (r->type == ROPE_YARN &&
        (!r->original_context || !(r->theta > 1) || !(r->beta_fast > 0) || !(r->beta_slow > 0)))
        return error_set(err, ERR_FORMAT,
                         "yarn needs rope_theta above 1 (it is %g), original_max_position_embeddings (%u) "
                         "and beta_fast and beta_slow above 0 (%g, %g)",
                         (double)r->theta, r->original_context, (double)r->beta_fast, (double)r->beta_slow);
    return 0;
}

int rope_table(const ModelParams *p, uint32_t length, float *inv_freq, float *attention_factor, Error *err) {
    TRY(check(p, err));
    const RopeParams *r = &p->rope;
    *attention_factor = r->has_attention_factor ? r->attention_factor
                        : r->type == ROPE_YARN  ? yarn_attention(r)
                                                : 1;
    if (r->type == ROPE_YARN) {
        yarn_table(p, inv_freq);
        return 0;
    }
    float theta = r->type == ROPE_DYNAMIC ? rope_dynamic_theta(p, length) : r->theta;
    for (uint32_t i = 0; i < p->head_dim / 2; i++) {
        inv_freq[i] = 1 / period(p, theta, i);
        if (r->type == ROPE_LINEAR) inv_freq[i] /= r->factor;
    }
    return 0;
}
