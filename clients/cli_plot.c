/* cli_plot.c - a column's height is the density in its middle, between targets interpolated:
 *
 *   row 0, highest p(y) 0.61 at 4.31
 *        ▂█▅              ▃▆█▇▄
 *     ▁▃▇███▇▃▁▁▁▁▁▁▁▁▁▂▄▇█████████▅▂
 *     └───────────────┴───────────────┘
 *     1              3.5              6
 *
 * A row whose numbers are not finite is drawn as nothing, and says so. */
#include "clients/cli_plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "clients/client_http.h"

#define COLUMNS 65u
#define LINES 8u
#define EIGHTHS 8u

/* p at y, between the two targets around it; `*from` is where the search starts and ends: y rises from call to call. */
static double density_at(const double *targets, const double *log_prob, size_t n, double y, size_t *from)
{
    while (*from + 2 < n && targets[*from + 1] < y)
        ++*from;
    double left = targets[*from], right = targets[*from + 1], share = (y - left) / (right - left);
    double p = (1.0 - share) * exp(log_prob[*from]) + share * exp(log_prob[*from + 1]);
    return isfinite(p) ? p : 0.0;
}

static void draw_blocks(const double *heights, double highest)
{
    static const char *const eighths[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    for (unsigned line = LINES; line-- > 0;) {
        (void)printf("  ");
        for (size_t i = 0; i < COLUMNS; i++) {
            double filled = round(heights[i] / highest * LINES * EIGHTHS) - line * EIGHTHS;
            (void)fputs(eighths[(size_t)fmin(fmax(filled, 0.0), EIGHTHS)], stdout);
        }
        (void)putchar('\n');
    }
}

static void draw_axis(double lower, double upper)
{
    char left[24], middle[24], right[24];
    const size_t half = COLUMNS / 2;
    (void)snprintf(left, sizeof left, "%.5g", lower);
    (void)snprintf(middle, sizeof middle, "%.5g", 0.5 * (lower + upper));
    (void)snprintf(right, sizeof right, "%.5g", upper);
    (void)printf("  ");
    for (size_t i = 0; i < COLUMNS; i++)
        (void)fputs(i == 0 ? "└" : i == half ? "┴" : i == COLUMNS - 1 ? "┘" : "─", stdout);
    (void)printf("\n  %-*s%-*s%*s\n", (int)(half - strlen(middle) / 2), left, (int)strlen(middle), middle,
                 (int)(COLUMNS - half + strlen(middle) / 2 - strlen(middle)), right);
}

static enum ebm_client_status check(const struct ebm_client_answer *answer, size_t row, struct ebm_client_error *reterr)
{
    const size_t T = answer->n_targets;
    if (!answer->log_prob || !answer->targets || answer->D != 1 || T < 2)
        return client_fail(reterr, EBM_CLIENT_INVALID, "plot",
                           "--plot needs a target of one dimension, at least two targets and the output log_prob");
    for (size_t t = 1; t < T; t++)
        if (!(answer->targets[row * T + t] > answer->targets[row * T + t - 1]))
            return client_fail(reterr, EBM_CLIENT_INVALID, "plot", "--plot needs targets in rising order");
    return EBM_CLIENT_OK;
}

enum ebm_client_status cli_plot(const struct ebm_client_answer *answer, size_t row, size_t number,
                                struct ebm_client_error *reterr)
{
    enum ebm_client_status status = check(answer, row, reterr);
    if (status != EBM_CLIENT_OK)
        return status;
    const size_t T = answer->n_targets;
    const double *targets = answer->targets + row * T, *log_prob = answer->log_prob + row * T;
    double heights[COLUMNS], highest = 0.0, peak = targets[0];
    size_t from = 0;
    for (size_t i = 0; i < COLUMNS; i++) {
        double y = targets[0] + ((double)i + 0.5) / COLUMNS * (targets[T - 1] - targets[0]);
        heights[i] = density_at(targets, log_prob, T, y, &from);
        peak = heights[i] > highest ? y : peak;
        highest = fmax(highest, heights[i]);
    }
    if (!(highest > 0.0)) {
        (void)printf("row %zu: nothing to draw, the density is 0 or not finite everywhere\n", number);
        return EBM_CLIENT_OK;
    }
    (void)printf("row %zu, highest p(y) %.4g at %.4g%s%s\n", number, highest, peak,
                 answer->reliable[row] ? "" : ", not reliable: ", answer->reason[row] ? answer->reason[row] : "");
    draw_blocks(heights, highest);
    draw_axis(targets[0], targets[T - 1]);
    return EBM_CLIENT_OK;
}
