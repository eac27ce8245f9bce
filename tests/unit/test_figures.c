/* test_figures.c - figures of rows whose distributions are known in closed form. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/rng.h"
#include "models/target.h"
#include "trainer/figures.h"

enum { ROWS = 20000 };

static const double ends[SCORE_LEVELS] = {0.6744897502, 1.2815515655, 1.6448536270, 1.9599639845};

struct sample {
    struct dataset data;
    struct score_rows rows;
    double *y, *nll;
    struct score_target *targets;
    const char **doubts;
    uint32_t *numbers;
};

static enum ebm_support_kind real[] = {EBM_SUPPORT_REAL};
static const struct ebm_target_config line = {.dim = 1, .support = real};

/* Targets from N(shift, spread^2) that were predicted as N(0, 1): y = shift + spread Phi^-1((i + 1/2) / n), in a mixed
 * order. */
static void sample_open(struct sample *s, double spread, double shift)
{
    *s = (struct sample){.y = calloc(ROWS, sizeof *s->y),
                         .nll = calloc(ROWS, sizeof *s->nll),
                         .targets = calloc(ROWS, sizeof *s->targets),
                         .doubts = calloc(ROWS, sizeof *s->doubts),
                         .numbers = calloc(ROWS, sizeof *s->numbers)};
    ebm_shuffle(1, EBM_STREAM_GENERATE, s->numbers, ROWS);
    for (uint32_t i = 0; i < ROWS; i++) {
        double place = (s->numbers[i] + 0.5) / ROWS;
        double y = shift + spread * ebm_normal((uint32_t)(place * 4294967296.0));
        s->y[i] = y;
        s->nll[i] = 0.5 * y * y + 0.5 * log(2.0 * M_PI);
        s->targets[i] = (struct score_target){
            .mean = 0.0, .std = 1.0, .mode = 0.5, .crps = 2.0, .pit = 0.5 * erfc(-y / sqrt(2.0))};
        for (uint32_t k = 0; k < SCORE_LEVELS; k++) {
            s->targets[i].lower[k] = -ends[k];
            s->targets[i].upper[k] = ends[k];
        }
    }
    s->data = (struct dataset){.n_rows = ROWS, .X = 1, .D = 1, .y = s->y, .numbers = s->numbers};
    s->rows = (struct score_rows){.nll = s->nll, .targets = s->targets, .doubts = s->doubts};
}

static void sample_close(struct sample *s)
{
    free(s->y);
    free(s->nll);
    free(s->targets);
    free(s->doubts);
    free(s->numbers);
}

static double phi(double z)
{
    return 0.5 * erfc(-z / sqrt(2.0));
}

Test(figures, a_true_forecast_is_calibrated)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    const struct figures_target *t = &f->targets[0];
    cr_assert_float_eq(f->nll, 0.5 + 0.5 * log(2.0 * M_PI), 1e-3, "%.6f", f->nll);
    cr_assert_float_eq(t->rmse, 1.0, 1e-3, "%.6f", t->rmse);
    cr_assert_float_eq(t->mae, sqrt(2.0 / M_PI), 1e-3, "%.6f", t->mae);
    cr_assert_float_eq(t->crps, 2.0, 1e-9);
    for (uint32_t i = 0; i < FIGURES_BINS; i++)
        cr_assert_eq(t->bins[i], ROWS / FIGURES_BINS, "bin %u: %u", i, t->bins[i]);
    for (uint32_t i = 0; i < FIGURES_LEVELS; i++)
        cr_assert_float_eq(t->curve[i], (i + 1) / 20.0, 1e-3, "level %u: %.5f", i, t->curve[i]);
    for (uint32_t k = 0; k < SCORE_LEVELS; k++) {
        cr_assert_float_eq(t->coverage[k], score_levels[k], 1e-3, "%.5f", t->coverage[k]);
        cr_assert_float_eq(t->mean_width[k], 2.0 * ends[k], 1e-9);
        cr_assert_float_eq(t->own_width[k], 2.0 * ends[k], 1e-3, "%.5f", t->own_width[k]);
    }
    cr_assert_lt(t->ks, 1e-3, "%.6f", t->ks);
    cr_assert_gt(t->ks_p_value, 0.99);
    cr_assert_eq(t->verdict, FIGURES_CALIBRATED);
    free(f);
    sample_close(&s);
}

/* MAE of the mode 1/2: E|Z - 1/2| = 2 phi(1/2) + 1/2 (2 Phi(1/2) - 1) */
Test(figures, errors_of_the_mode)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    double expected = 2.0 * exp(-0.125) / sqrt(2.0 * M_PI) + 0.5 * (2.0 * phi(0.5) - 1.0);
    cr_assert_float_eq(f->targets[0].mae_mode, expected, 1e-3, "%.6f, expected %.6f", f->targets[0].mae_mode, expected);
    free(f);
    s.targets[7].mode = (double)NAN;
    f = figures_new(&s.data, &s.rows, &line);
    cr_assert(isnan(f->targets[0].mae_mode));
    free(f);
    sample_close(&s);
}

/* Coverage of z +- e under N(0, spread^2) is 2 Phi(e / spread) - 1. */
Test(figures, verdicts)
{
    static const struct {
        double spread, shift;
        enum figures_verdict verdict;
        bool is_slight;
    } cases[] = {{1.3, 0.0, FIGURES_NARROW, false}, {0.8, 0.0, FIGURES_WIDE, false}, {1.0, 0.3, FIGURES_LOW, false},
                 {1.0, -0.3, FIGURES_HIGH, false},  {1.0, 0.05, FIGURES_LOW, true},  {1.05, 0.0, FIGURES_NARROW, true}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct sample s;
        sample_open(&s, cases[c].spread, cases[c].shift);
        struct figures *f = figures_new(&s.data, &s.rows, &line);
        const struct figures_target *t = &f->targets[0];
        cr_assert_eq(t->verdict, cases[c].verdict, "case %zu: %d", c, (int)t->verdict);
        cr_assert_eq(figures_is_slight(t), cases[c].is_slight, "case %zu: KS %.4f", c, t->ks);
        for (uint32_t k = 0; cases[c].shift == 0.0 && k < SCORE_LEVELS; k++)
            cr_assert_float_eq(t->coverage[k], 2.0 * phi(ends[k] / cases[c].spread) - 1.0, 1e-3, "%.5f",
                               t->coverage[k]);
        free(f);
        sample_close(&s);
    }
}

Test(figures, kolmogorov_smirnov)
{
    /* distances by hand; p values of the series at (sqrt n + 0.12 + 0.11 / sqrt n) d, summed in Python */
    const double three[] = {0.1, 0.2, 0.9}, one[] = {0.5};
    double p;
    cr_assert_float_eq(figures_ks(three, 3, &p), 2.0 / 3.0 - 0.2, 1e-15);
    cr_assert_float_eq(p, 0.40117, 1e-4, "%.6f", p);
    cr_assert_float_eq(figures_ks(one, 1, &p), 0.5, 1e-15);
    cr_assert_float_eq(p, 0.84382, 1e-4, "%.6f", p);
    cr_assert_float_eq(figures_ks_usual(10000), 0.016256, 1e-5);
}

Test(figures, doubts_are_counted_and_sorted)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    for (uint32_t i = 0; i < 5; i++)
        s.doubts[100 * i] = i < 2 ? "low_ess" : "noisy_mean";
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    cr_assert_eq(f->n_unreliable, 5);
    cr_assert_eq(f->n_reasons, 2);
    cr_assert_str_eq(f->reasons[0].word, "noisy_mean");
    cr_assert_eq(f->reasons[0].n_rows, 3);
    cr_assert_eq(f->reasons[1].n_rows, 2);
    free(f);
    sample_close(&s);
}

Test(figures, the_worst_rows_come_first)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    s.nll[4711] = 99.0;
    s.nll[17] = 98.0;
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    cr_assert_eq(f->n_worst, FIGURES_WORST);
    cr_assert_eq(f->worst[0], 4711);
    cr_assert_eq(f->worst[1], 17);
    for (uint32_t i = 1; i < f->n_worst; i++)
        cr_assert_leq(s.nll[f->worst[i]], s.nll[f->worst[i - 1]]);
    free(f);
    sample_close(&s);
}

/* The first half of the order by std is N(0, 1) as predicted, the rest was predicted with 2 and came with 1. */
Test(figures, groups_by_predicted_std)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    for (uint32_t i = 0; i < ROWS; i++)
        s.targets[i].std = i % 2 == 0 ? 1.0 : 2.0;
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    cr_assert_eq(f->targets[0].n_groups, FIGURES_GROUPS);
    for (uint32_t g = 0; g < FIGURES_GROUPS; g++) {
        const struct figures_group *group = &f->targets[0].groups[g];
        cr_assert_eq(group->n_rows, ROWS / FIGURES_GROUPS);
        cr_assert_float_eq(group->std, g < FIGURES_GROUPS / 2 ? 1.0 : 2.0, 1e-12, "group %u: %.5f", g, group->std);
        cr_assert_float_eq(group->rmse, 1.0, 0.05, "group %u: %.5f", g, group->rmse);
    }
    free(f);
    sample_close(&s);
}

Test(figures, few_rows)
{
    struct sample s;
    sample_open(&s, 1.0, 0.0);
    s.data.n_rows = 1;
    struct figures *f = figures_new(&s.data, &s.rows, &line);
    cr_assert_eq(f->n_worst, 1);
    cr_assert_eq(f->targets[0].n_groups, 0);
    cr_assert_eq(f->targets[0].own_width[0], 0.0);
    cr_assert_float_eq(f->nll_error, 0.0, 1e-15);
    free(f);
    sample_close(&s);
}

/* The same targets on a circle, around its seam: nothing else is told of them. */
Test(figures, angles_around_the_seam_are_told_as_numbers_of_the_line)
{
    enum { PERIOD = 40 };
    static enum ebm_support_kind kinds[] = {EBM_SUPPORT_PERIODIC};
    static double lower[] = {0.0}, upper[] = {PERIOD};
    const struct ebm_target_config circle = {.dim = 1, .support = kinds, .lower = lower, .upper = upper};
    struct sample s;
    sample_open(&s, 1.2, 0.3);
    struct figures *want = figures_new(&s.data, &s.rows, &line);
    for (uint32_t i = 0; i < ROWS; i++) {
        struct score_target *row = &s.targets[i];
        s.y[i] = ebm_target_return(&circle, 0, s.y[i]);
        row->mean = ebm_target_return(&circle, 0, row->mean);
        row->mode = ebm_target_return(&circle, 0, row->mode - 2.0 * PERIOD);
        for (uint32_t k = 0; k < SCORE_LEVELS; k++) {
            row->lower[k] = ebm_target_return(&circle, 0, row->lower[k]);
            cr_assert_gt(row->lower[k], row->upper[k]);
        }
    }
    struct figures *got = figures_new(&s.data, &s.rows, &circle);
    const struct figures_target *t = &got->targets[0], *u = &want->targets[0];
    cr_assert_float_eq(t->rmse, u->rmse, 1e-9);
    cr_assert_float_eq(t->mae, u->mae, 1e-9);
    cr_assert_float_eq(t->mae_mode, u->mae_mode, 1e-9);
    for (uint32_t k = 0; k < SCORE_LEVELS; k++) {
        cr_assert_float_eq(t->mean_width[k], u->mean_width[k], 1e-9);
        cr_assert_float_eq(t->own_width[k], u->own_width[k], 1e-9);
    }
    for (uint32_t g = 0; g < t->n_groups; g++) { /* -2 log E cos is the variance of a normal, and about that here */
        cr_assert_float_eq(t->groups[g].std, u->groups[g].std, 1e-9);
        cr_assert_float_eq(t->groups[g].rmse, u->groups[g].rmse, 0.02 * u->groups[g].rmse);
    }
    free(got), free(want);
    sample_close(&s);
}
