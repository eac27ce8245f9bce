/* evaluate_tell.c - an evaluation of rows for a terminal: one table a target, then what to look at.
 *
 *   4573 rows, 16384 draws a row
 *   NLL   2.0123 +- 0.0151 nats a row, in the target's unit
 *
 *   rmsd            CRPS 2.012   RMSE 4.213   MAE of the mean 2.993
 *     intervals                     50 %      80 %      90 %      95 %
 *     hold                        50.3 %    80.9 %    90.1 %    94.8 %
 *     by chance                +-  0.7 %     0.6 %     0.4 %     0.3 %
 *     mean width                   4.012     9.332     12.54     14.43
 *     without x                    8.123     14.88     ...                the middle of these rows' own targets
 *     calibrated as far as these rows can tell: ...
 *
 * Beside each share stands what it should be, and by how much chance alone moves it on so many rows. */
#include <math.h>

#include "trainer/evaluate.h"
#include "trainer/html.h"

#define TOLD_TARGETS 8u /* that get their table */
#define TOLD_WORST 3u

/* Between both parts stands how much. */
static const struct {
    const char *before, *text;
} verdicts[] = {
    [FIGURES_CALIBRATED] = {"", "calibrated, as far as these rows can tell"},
    [FIGURES_NARROW] = {"", "too sure: its intervals hold fewer targets than they promise"},
    [FIGURES_WIDE] = {"", "too unsure: its intervals hold more targets than they promise"},
    [FIGURES_HIGH] = {"predicts ", "too high: targets lie low in its distributions"},
    [FIGURES_LOW] = {"predicts ", "too low: targets lie high in its distributions"},
    [FIGURES_SHAPE] = {"", "another shape than the targets have: look at the histogram of --report"},
};

static void put_numbers(struct ebm_buf *text, const char *word, const double *values)
{
    char space[HTML_NUMBER_BYTES];
    (void)ebm_buf_printf(text, "  %-14s", word);
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        (void)ebm_buf_printf(text, "%10s", html_format(values[i], space));
    (void)ebm_buf_text(text, "\n");
}

static void put_shares(struct ebm_buf *text, const char *word, const double *shares)
{
    (void)ebm_buf_printf(text, "  %-14s", word);
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        (void)ebm_buf_printf(text, "%8.1f %%", 100.0 * shares[i]);
    (void)ebm_buf_text(text, "\n");
}

static void put_target(const struct evaluation *e, uint32_t d, struct ebm_buf *text)
{
    const struct figures_target *t = &e->figures->targets[d];
    double chance[SCORE_LEVELS];
    char name[EVALUATION_NAME_BYTES], space[4][HTML_NUMBER_BYTES];
    for (uint32_t i = 0; i < SCORE_LEVELS; i++)
        chance[i] = figures_share_error(score_levels[i], e->figures->n);
    (void)ebm_buf_printf(text, "\n%s   CRPS %s   RMSE %s   MAE %s of the mean", evaluation_name(e, d, name),
                         html_format(t->crps, space[0]), html_format(t->rmse, space[1]), html_format(t->mae, space[2]));
    if (!isnan(t->mae_mode))
        (void)ebm_buf_printf(text, ", %s of the mode", html_format(t->mae_mode, space[3]));
    (void)ebm_buf_text(text, "\n");
    put_shares(text, "the middle", score_levels);
    put_shares(text, "holds", t->coverage);
    put_shares(text, "by chance +-", chance);
    put_numbers(text, "mean width", t->mean_width);
    put_numbers(text, "without x", t->own_width);
    (void)ebm_buf_printf(text, "  %s%s%s (PIT: KS %.3f, by chance below %.3f)\n", verdicts[t->verdict].before,
                         figures_is_slight(t) ? "slightly " : "", verdicts[t->verdict].text, t->ks,
                         figures_ks_usual(e->figures->n));
}

static void put_doubts(const struct evaluation *e, struct ebm_buf *text)
{
    const struct figures *f = e->figures;
    if (f->n_unreliable == 0)
        return;
    (void)ebm_buf_printf(text, "\nnot reliable: %u row%s (%.2g %%)", f->n_unreliable, f->n_unreliable == 1 ? "" : "s",
                         100.0 * f->n_unreliable / f->n);
    for (uint32_t i = 0; i < f->n_reasons; i++)
        (void)ebm_buf_printf(text, "%s %s %u", i == 0 ? ":" : ",", f->reasons[i].word, f->reasons[i].n_rows);
    (void)ebm_buf_printf(text, ". %s\n", evaluation_hint(e));
}

static void put_worst(const struct evaluation *e, struct ebm_buf *text)
{
    const struct figures *f = e->figures;
    (void)ebm_buf_text(text, "\nworst rows:");
    for (uint32_t i = 0; i < f->n_worst && i < TOLD_WORST; i++) {
        uint32_t row = f->worst[i];
        const struct score_target *first = &e->rows->targets[(size_t)row * f->D];
        char space[3][HTML_NUMBER_BYTES];
        (void)ebm_buf_printf(text, "%s row %u (NLL %.2f", i == 0 ? "" : ",", e->data->numbers[row] + 1,
                             e->rows->nll[row]);
        if (f->D == 1)
            (void)ebm_buf_printf(text, ": %s, 90 %% between %s and %s", html_format(e->data->y[row], space[0]),
                                 html_format(first->lower[2], space[1]), html_format(first->upper[2], space[2]));
        (void)ebm_buf_text(text, ")");
    }
    (void)ebm_buf_text(text, "\n");
}

enum ebm_status evaluate_tell(const struct evaluation *e, struct ebm_buf *text)
{
    const struct figures *f = e->figures;
    (void)ebm_buf_printf(text, "%u rows", f->n);
    if (evaluation_draws(e) > 0)
        (void)ebm_buf_printf(text, ", %u draws a row", evaluation_draws(e));
    (void)ebm_buf_printf(text, "\nNLL   %.4f +- %.4f nats a row, in the target's unit\n", f->nll, f->nll_error);
    for (uint32_t d = 0; d < f->D && d < TOLD_TARGETS; d++)
        put_target(e, d, text);
    if (f->D > TOLD_TARGETS)
        (void)ebm_buf_printf(text, "\n... %u targets in all; --output FILE.json has every one\n", f->D);
    put_doubts(e, text);
    put_worst(e, text);
    if (e->spec->jitter->step > 0.0)
        (void)ebm_buf_printf(text, "rounded targets are scored by the mean density of their bin of %g\n",
                             e->spec->jitter->step);
    return text->status;
}
