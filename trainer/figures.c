/* figures.c - one pass over the rows a target, and three sorts: by PIT (Kolmogorov-Smirnov), by target (the spread of
 * the rows themselves), by predicted std (does a large spread announce a large error?).
 *
 * Coverage at level a is the share of rows with PIT in [(1 - a) / 2, (1 + a) / 2]: whether the equal-tailed interval
 * holds the target; of a rounded target by the randomised PIT, which is right at any level. */
#include "trainer/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/order.h"
#include "models/target.h"

#define SURE 2.6    /* standard errors: 1 in 100 by chance */
#define SLIGHT 0.05 /* Kolmogorov-Smirnov distance */

/* A number and the row that it belongs to. */
struct entry {
    double value;
    uint32_t row;
};

static int ascending(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->value != right->value)
        return left->value < right->value ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

bool figures_is_slight(const struct figures_target *t)
{
    return t->verdict != FIGURES_CALIBRATED && t->ks < SLIGHT;
}

double figures_share_error(double share, uint32_t n)
{
    return sqrt(share * (1.0 - share) / n);
}

/* ---- the PIT ---- */

/* P(Kolmogorov's statistic > lambda) */
static double kolmogorov(double lambda)
{
    double sum = 0.0;
    if (lambda < 0.2)
        return 1.0; /* the series does not converge there; the truth is 1 to 12 digits */
    for (int k = 1; k <= 100; k++)
        sum += (k % 2 == 1 ? 2.0 : -2.0) * exp(-2.0 * k * k * lambda * lambda);
    return fmin(fmax(sum, 0.0), 1.0);
}

static double ks_scale(uint32_t n)
{
    return sqrt(n) + 0.12 + 0.11 / sqrt(n);
}

double figures_ks_usual(uint32_t n)
{
    return 1.6276 / ks_scale(n);
}

double figures_ks(const double *sorted, uint32_t n, double *ret_p_value)
{
    double most = 0.0;
    for (uint32_t i = 0; i < n; i++)
        most = fmax(most, fmax((i + 1.0) / n - sorted[i], sorted[i] - (double)i / n));
    *ret_p_value = kolmogorov(ks_scale(n) * most);
    return most;
}

static double share_inside(const double *pits, uint32_t n, double level)
{
    uint32_t inside = 0;
    for (uint32_t i = 0; i < n; i++)
        inside += fabs(pits[i] - 0.5) <= 0.5 * level + 1e-12;
    return (double)inside / n;
}

/* The first thing that is more than chance. */
static enum figures_verdict judge(const struct figures_target *t, uint32_t n)
{
    double half = (t->curve[9] - 0.5) / figures_share_error(0.5, n); /* at 50 % and at 90 % */
    double most = (t->curve[17] - 0.9) / figures_share_error(0.9, n), mean = (t->pit_mean - 0.5) * sqrt(12.0 * n);
    if (t->ks_p_value > 0.01 && fabs(half) < SURE && fabs(most) < SURE && fabs(mean) < SURE)
        return FIGURES_CALIBRATED;
    if (fabs(mean) > fmax(fmax(fabs(half), fabs(most)), SURE))
        return mean < 0.0 ? FIGURES_HIGH : FIGURES_LOW;
    if (fmin(half, most) < -SURE && fmax(half, most) < SURE)
        return FIGURES_NARROW;
    if (fmax(half, most) > SURE && fmin(half, most) > -SURE)
        return FIGURES_WIDE;
    return FIGURES_SHAPE;
}

static void measure_pit(struct figures_target *t, double *pits, uint32_t n)
{
    qsort(pits, n, sizeof *pits, ebm_order_doubles);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bin = (uint32_t)(pits[i] * FIGURES_BINS);
        t->bins[bin < FIGURES_BINS ? bin : FIGURES_BINS - 1]++;
        t->pit_mean += pits[i] / n;
    }
    t->ks = figures_ks(pits, n, &t->ks_p_value);
    for (uint32_t i = 0; i < FIGURES_LEVELS; i++)
        t->curve[i] = share_inside(pits, n, (i + 1.0) / (FIGURES_LEVELS + 1.0));
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        t->coverage[i] = share_inside(pits, n, score_levels[i]);
    t->verdict = judge(t, n);
}

/* ---- errors and spread ---- */

static void measure_errors(struct figures_target *t, const struct dataset *data, const struct score_target *rows,
                           const struct ebm_target_config *target, uint32_t d)
{
    uint32_t n = data->n_rows;
    double squares = 0.0, sum = 0.0, mode = 0.0;
    for (size_t i = 0; i < n; i++) {
        const struct score_target *row = &rows[i * data->D + d];
        double y = data->y[i * data->D + d], off = ebm_target_way(target, d, y, row->mean);
        squares += off * off;
        sum += fabs(off);
        mode += fabs(ebm_target_way(target, d, y, row->mode));
        t->crps += row->crps / n;
        t->mean_std += row->std / n;
        for (uint32_t level = 0; level < SCORE_LEVELS; level++)
            t->mean_width[level] += ebm_target_rise(target, d, row->lower[level], row->upper[level]) / n;
    }
    t->rmse = sqrt(squares / n);
    t->mae = sum / n;
    t->mae_mode = mode / n;
}

/* Of the ascending targets: as wide as the middle `level` of them. */
static double middle_width(const double *sorted, uint32_t n, double level)
{
    double low = 0.5 * (1.0 - level) * (n - 1.0), high = (n - 1.0) - low;
    uint32_t l = (uint32_t)low, h = (uint32_t)high;
    double lower = sorted[l] + (low - l) * (sorted[l + 1 < n ? l + 1 : l] - sorted[l]);
    double upper = sorted[h] + (high - h) * (sorted[h + 1 < n ? h + 1 : h] - sorted[h]);
    return upper - lower;
}

/* Where targets with a period are cut to lie on a line: opposite their mean. */
static double cut_of(const struct dataset *data, const struct ebm_target_config *target, uint32_t d)
{
    double turn = 2.0 * M_PI / ebm_target_period(target, d), cosine = 0.0, sine = 0.0;
    for (size_t i = 0; i < data->n_rows; i++) {
        cosine += cos(turn * data->y[i * data->D + d]);
        sine += sin(turn * data->y[i * data->D + d]);
    }
    return ebm_target_return(target, d, (atan2(sine, cosine) + M_PI) / turn);
}

static void measure_own(struct figures_target *t, const struct dataset *data, const struct ebm_target_config *target,
                        double *space, uint32_t d)
{
    bool is_periodic = ebm_target_period(target, d) > 0.0;
    double from = is_periodic ? cut_of(data, target, d) : 0.0;
    for (size_t i = 0; i < data->n_rows; i++)
        space[i] = ebm_target_rise(target, d, from, data->y[i * data->D + d]);
    qsort(space, data->n_rows, sizeof *space, ebm_order_doubles);
    for (uint32_t level = 0; level < SCORE_LEVELS; level++)
        t->own_width[level] = middle_width(space, data->n_rows, score_levels[level]);
}

/* The spread of an angle whose resultant has this length: circle.h. */
static double spread_of(double length, double period)
{
    return sqrt(-2.0 * log(fmin(fmax(length, 0x1p-53), 1.0))) * period / (2.0 * M_PI);
}

/* Of n rows. Lengths of resultants average as mean cosines of errors do, as squares do on the line. */
static struct figures_group group_of(const struct dataset *data, const struct score_target *rows,
                                     const struct ebm_target_config *target, const struct entry *order, uint32_t n,
                                     uint32_t d)
{
    double predicted = 0.0, found = 0.0, period = ebm_target_period(target, d), turn = 2.0 * M_PI / period;
    for (uint32_t i = 0; i < n; i++) {
        size_t at = (size_t)order[i].row * data->D + d;
        double off = rows[at].mean - data->y[at], std = rows[at].std;
        predicted += period > 0.0 ? exp(-0.5 * pow(turn * std, 2.0)) : std * std;
        found += period > 0.0 ? cos(turn * off) : off * off;
    }
    if (period > 0.0)
        return (struct figures_group){n, spread_of(predicted / n, period), spread_of(found / n, period)};
    return (struct figures_group){n, sqrt(predicted / n), sqrt(found / n)};
}

/* Rows in order of their predicted std, in groups of about the same size. */
static void measure_groups(struct figures_target *t, const struct dataset *data, const struct score_target *rows,
                           const struct ebm_target_config *target, struct entry *order, uint32_t d)
{
    uint32_t n = data->n_rows;
    for (uint32_t i = 0; i < n; i++)
        order[i] = (struct entry){rows[(size_t)i * data->D + d].std, i};
    qsort(order, n, sizeof *order, ascending);
    t->n_groups = n < FIGURES_GROUPS ? 0 : FIGURES_GROUPS;
    for (uint32_t g = 0; g < t->n_groups; g++) {
        uint32_t first = (uint32_t)((uint64_t)g * n / FIGURES_GROUPS),
                 end = (uint32_t)((uint64_t)(g + 1) * n / FIGURES_GROUPS);
        t->groups[g] = group_of(data, rows, target, order + first, end - first, d);
    }
}

/* ---- all rows ---- */

static void count_doubts(struct figures *f, const char *const *doubts)
{
    for (uint32_t i = 0; i < f->n; i++) {
        uint32_t r = 0;
        if (doubts[i] == NULL)
            continue;
        f->n_unreliable++;
        while (r < f->n_reasons && strcmp(f->reasons[r].word, doubts[i]) != 0)
            r++;
        if (r == FIGURES_REASONS)
            continue; /* still among n_unreliable */
        if (r == f->n_reasons)
            f->reasons[f->n_reasons++] = (struct figures_reason){doubts[i], 0};
        f->reasons[r].n_rows++;
    }
    for (uint32_t i = 1; i < f->n_reasons; i++)
        for (uint32_t r = i; r > 0 && f->reasons[r].n_rows > f->reasons[r - 1].n_rows; r--) {
            struct figures_reason other = f->reasons[r];
            f->reasons[r] = f->reasons[r - 1];
            f->reasons[r - 1] = other;
        }
}

static void find_worst(struct figures *f, const double *nll, struct entry *order)
{
    for (uint32_t i = 0; i < f->n; i++)
        order[i] = (struct entry){-nll[i], i};
    qsort(order, f->n, sizeof *order, ascending);
    f->n_worst = f->n < FIGURES_WORST ? f->n : FIGURES_WORST;
    for (uint32_t i = 0; i < f->n_worst; i++)
        f->worst[i] = order[i].row;
}

static void measure_target(struct figures_target *t, const struct dataset *data, const struct score_rows *rows,
                           const struct ebm_target_config *target, uint32_t d, double *space, struct entry *order)
{
    measure_errors(t, data, rows->targets, target, d);
    measure_own(t, data, target, space, d);
    for (size_t i = 0; i < data->n_rows; i++)
        space[i] = rows->targets[i * data->D + d].pit;
    measure_pit(t, space, data->n_rows);
    measure_groups(t, data, rows->targets, target, order, d);
}

struct figures *figures_new(const struct dataset *data, const struct score_rows *rows,
                            const struct ebm_target_config *target)
{
    EBM_ASSERT(data->n_rows > 0);
    struct figures *f = calloc(1, sizeof *f + data->D * sizeof f->targets[0]);
    EBM_AUTO(ebm_freep) double *space = calloc(data->n_rows, sizeof *space);
    EBM_AUTO(ebm_freep) struct entry *order = calloc(data->n_rows, sizeof *order);
    if (f == NULL || space == NULL || order == NULL) {
        free(f);
        return NULL;
    }
    f->n = data->n_rows;
    f->D = data->D;
    score_mean(rows->nll, f->n, &f->nll, &f->nll_error);
    count_doubts(f, rows->doubts);
    find_worst(f, rows->nll, order);
    for (uint32_t d = 0; d < f->D; d++)
        measure_target(&f->targets[d], data, rows, target, d, space, order);
    return f;
}
