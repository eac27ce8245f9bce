/* rng.c - Philox 4x32-10 from Random123, and what is made of its words.
 *
 *   key     = (low half of the seed, high half)
 *   counter = (sample, row, stream, block)
 *
 * Guarantees: every function but ebm_seed_random is pure, so results do not depend on the order of calls, the thread or
 * the batch; two different counters under one seed never share a word. The integer part is bit-exact everywhere;
 * normals are as exact as the platform's log and sqrt. */
#include "core/rng.h"

#include <Random123/philox.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

void ebm_philox(uint64_t seed, uint32_t row, uint32_t sample, uint32_t stream, uint32_t block, uint32_t ret_words[4])
{
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t counter = {{sample, row, stream, block}};
    philox4x32_ctr_t words = philox4x32_R(10, counter, key);
    for (int i = 0; i < 4; i++)
        ret_words[i] = words.v[i];
}

/* c[0] + c[1] r + ... + c[7] r^7 */
static double polynomial(const double c[8], double r)
{
    double sum = c[7];
    for (int i = 6; i >= 0; i--)
        sum = sum * r + c[i];
    return sum;
}

/* The z with P(Z > z) = p for p in [2^-33, 1/2], relative error 1e-15. Wichura (1988), algorithm AS 241 (PPND16);
 * its third range, p < exp(-25), is out of reach here. */
static double normal_tail_quantile(double p)
{
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    double q = 0.5 - p;
    if (q <= 0.425) {
        double r = 0.180625 - q * q;
        return q * polynomial(a, r) / polynomial(b, r);
    }
    double r = sqrt(-log(p)) - 1.6;
    return polynomial(c, r) / polynomial(d, r);
}

double ebm_normal(uint32_t word)
{
    double magnitude = normal_tail_quantile(((double)(word & 0x7fffffffu) + 0.5) * 0x1p-32);
    return word & 0x80000000u ? magnitude : -magnitude;
}

uint64_t ebm_seed_derive(uint64_t seed, uint32_t index)
{
    uint32_t words[4];
    ebm_philox(seed, index, 0, EBM_STREAM_SEED, 0, words);
    return (uint64_t)words[1] << 32 | words[0];
}

/* A number in 0 .. n - 1 from 64 random bits: the high part of their product. n < 2^32. */
static uint32_t scale(uint32_t high, uint32_t low, uint64_t n)
{
    return (uint32_t)((high * n + (low * n >> 32)) >> 32);
}

void ebm_shuffle(uint64_t seed, uint32_t stream, uint32_t *ret_order, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) { /* i joins at its own place or takes the place of an earlier one */
        uint32_t words[4];
        ebm_philox(seed, i, 0, stream, 0, words);
        uint32_t at = scale(words[0], words[1], (uint64_t)i + 1);
        if (at != i)
            ret_order[i] = ret_order[at];
        ret_order[at] = i;
    }
}

/* An old kernel or a sandbox: time is better than a fixed seed. */
static uint64_t seed_by_time(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return ebm_seed_derive((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec, (uint32_t)getpid());
}

uint64_t ebm_seed_random(void)
{
    static _Thread_local uint64_t seeds[32]; /* as many as one call gives at most */
    static _Thread_local size_t n_left;
    if (n_left == 0) {
        if (getentropy(seeds, sizeof seeds) != 0)
            return seed_by_time() >> 11;
        n_left = EBM_COUNT_OF(seeds);
    }
    return seeds[--n_left] >> 11;
}
