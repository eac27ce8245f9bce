/* test_sample.c - sample.cu in a plug-in of any make, beside the same in double; then each of its calls fails once.
 *
 *   test_sample PLUGIN.so [--numbers]     exit status 0, 1, or 77: no GPU; --numbers: calls do not fail */
#include "core/rng.h"
#include "tests/gpu_sim/sample.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { B = 3, M = 150, IN = 5, OUT = 132 };

static float x[B * M * IN], weight[OUT * IN], bias[B * OUT], v[OUT], mean[B], deviation[B];
static float h[B * M * OUT], f[B * M], y[B * M], lse[B], ess[B];
static double total;
static int failures;

static void fill(float *to, int n, uint32_t stream)
{
    for (int i = 0; i < n; i++) {
        uint32_t words[4];
        ebm_philox(7, (uint32_t)i, 0, stream, 0, words);
        to[i] = (float)words[0] / 4294967296.0f * 2.0f - 1.0f;
    }
}

static void compare(const char *what, double error, double tolerance)
{
    bool fine = error <= tolerance; /* not NaN */
    printf("%s %-24s error %.2e, at most %.1e\n", fine ? "ok  " : "FAIL", what, error, tolerance);
    failures += !fine;
}

static double larger(double a, double b)
{
    return isnan(b) || b > a ? b : a;
}

static double hidden(int b, int m, int o)
{
    double sum = bias[b * OUT + o];
    for (int i = 0; i < IN; i++)
        sum += (double)weight[o * IN + i] * x[(b * M + m) * IN + i];
    return sum > 0.0 ? sum : 0.0;
}

static double drawn(int b, int m, uint64_t seed)
{
    uint32_t words[4];
    ebm_philox(seed, (uint32_t)b, (uint32_t)m, 0, 0, words);
    double u = ((words[0] >> 8) + 0.5) / 16777216.0, angle = (words[1] >> 8) / 8388608.0;
    return mean[b] + deviation[b] * sqrt(-2.0 * log(u)) * cos(3.14159265358979323846 * angle);
}

static void check_rows(uint64_t seed)
{
    double worst_h = 0.0, worst_f = 0.0, worst_y = 0.0, worst_lse = 0.0, worst_ess = 0.0, sum_f = 0.0;
    for (int b = 0; b < B; b++) {
        double sum = 0.0, squares = 0.0;
        for (int m = 0; m < M; m++) {
            double dot = 0.0;
            for (int o = 0; o < OUT; o++) {
                double right = hidden(b, m, o);
                worst_h = larger(worst_h, fabs(h[(b * M + m) * OUT + o] - right));
                dot += right * v[o];
            }
            double draw = drawn(b, m, seed), e = exp(dot - draw);
            worst_f = larger(worst_f, fabs(f[b * M + m] - dot));
            worst_y = larger(worst_y, fabs(y[b * M + m] - draw));
            sum += e;
            squares += e * e;
            sum_f += dot;
        }
        worst_lse = larger(worst_lse, fabs(lse[b] - log(sum)));
        worst_ess = larger(worst_ess, fabs(ess[b] / (sum * sum / squares) - 1.0));
    }
    compare("h", worst_h, 1e-6);
    compare("f", worst_f, 4e-6);
    compare("draws", worst_y, 4e-6);
    compare("log of the sum", worst_lse, 1e-5);
    compare("effective number", worst_ess, 4e-5);
    compare("total", fabs(total - sum_f), 1e-4);
}

static void check_failures(void *plugin, sample_run_fn *run, const struct sample *s)
{
    void (*fail_at)(long, int);
    long (*calls)(void), (*alive)(void);
    *(void **)&fail_at = dlsym(plugin, "gpu_sim_fail_at");
    *(void **)&calls = dlsym(plugin, "gpu_sim_calls");
    *(void **)&alive = dlsym(plugin, "gpu_sim_alive");
    if (!fail_at || !calls || !alive)
        return;
    fail_at(0, 0);
    int error = run(s);
    long n = calls();
    for (int sticky = 0; sticky < 2; sticky++)
        for (long i = 1; i <= n; i++) {
            fail_at(i, sticky);
            if (!run(s) || alive()) {
                printf("FAIL call %ld of %ld fails, %s: %ld left behind\n", i, n, sticky ? "and all after it" : "alone",
                       alive());
                failures++;
            }
        }
    fail_at(0, 0);
    printf("%s %ld calls, each failed once, alone and with all after it\n", error || n < 20 ? "FAIL" : "ok  ", n);
    failures += error || n < 20;
}

int main(int argc, char **argv)
{
    struct sample s = {B, M,   IN,  OUT,   0x123456789abcdefu, x, weight, bias, v, mean, deviation, h, f,
                       y, lse, ess, &total};
    void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!plugin) {
        printf("%s\n", argc > 1 ? dlerror() : "usage: test_sample PLUGIN.so [--numbers]");
        return 1;
    }
    sample_run_fn *run;
    *(void **)&run = dlsym(plugin, "sample_run");
    if (!run)
        return 1;
    fill(x, B * M * IN, 1);
    fill(weight, OUT * IN, 2);
    fill(bias, B * OUT, 3);
    fill(v, OUT, 4);
    fill(mean, B, 5);
    fill(deviation, B, 6);
    int error = run(&s);
    if (error == 35 || error == 100) { /* no driver, no device */
        printf("no GPU\n");
        return 77;
    }
    compare("the call", error, 0.0);
    check_rows(s.seed);
    if (argc < 3 || strcmp(argv[2], "--numbers") != 0)
        check_failures(plugin, run, &s);
    return failures ? 1 : 0;
}
