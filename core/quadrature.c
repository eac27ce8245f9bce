/* quadrature.c - where to integrate, where to split, and splitting until it is precise.
 *
 *   range    the ends' candidates and far points beside 64 coarse ones in one round; a wider range has its own coarse
 *   splits   8 equal parts, the caller's points (the proposal's means, an exact table's knots), coarse local maxima:
 *            a spike narrower than a panel is seen when a split lies in it, for nodes crowd at a panel's ends
 *   rounds   all open panels, 8 at a time (120 points): a panel with |K - G| <= TOLERANCE * total * max(width / range,
 *            0.02) is closed, another is halved. What rounding alone makes of |K - G| closes a panel too.
 *
 * Out of panels, the tolerance is raised so that the worst are halved with what is left. */
#include "core/quadrature.h"

#include <math.h>

#include "core/limits.h"

#define TOLERANCE 1e-6
#define LEAST_SHARE 0.02
#define COARSE 64
#define FIRST_PANELS 8
#define START 8.0 /* of the range, from 0 */
#define DOUBLINGS 6
#define FALL 40.0       /* nats below the largest f that end the range */
#define FAR 512.0       /* beyond the ends, and twice that: f must fall between */
#define CLOSEST 0x1p-20 /* splits nearer than this part of the range are one */
#define AT_ONCE (EBM_QUADRATURE_POINTS / EBM_PANEL_NODES)

/* A candidate for an end of the range, and how f falls beyond. */
struct side {
    double end[DOUBLINGS + 1], f[DOUBLINGS + 1]; /* [0] alone where the support has an end */
    double far[2], f_far[2];
    uint32_t n; /* candidates */
};

struct run {
    const struct ebm_quadrature *q;
    struct ebm_panels *panels;
    struct side side[2]; /* lower, upper */
    double lower, upper;
    double coarse[COARSE], f_coarse[COARSE];
    double split[EBM_QUADRATURE_SPLITS];
    uint32_t n_splits;
};

bool ebm_quadrature_is_bounded(const struct ebm_net_desc *net)
{
    const struct ebm_net *nets[] = {&net->target, &net->energy};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        for (uint32_t l = 0; l < nets[i]->n_layers; l++)
            if (nets[i]->layers[l].activation == EBM_ACT_TANH && !nets[i]->layers[l].residual)
                return true;
    return false;
}

/* f, fit for sums: -inf becomes a very low number. */
static enum ebm_status ask(const struct ebm_quadrature *q, const double *y, uint32_t n, double *ret_f)
{
    if (!q->f(q->user, y, n, ret_f))
        return EBM_CANCELLED;
    for (uint32_t i = 0; i < n; i++) {
        if (isnan(ret_f[i]) || ret_f[i] == INFINITY)
            return EBM_INVALID;
        ret_f[i] = fmax(ret_f[i], -1e30);
    }
    return EBM_OK;
}

/* ---- range ---- */

static void lay_side(struct side *side, double stated, double other, double outward)
{
    bool has_end = isfinite(stated);
    double from = isfinite(other) ? other + outward * START : 0.0, reach = isfinite(other) ? START : 0.0;
    side->n = has_end ? 1 : DOUBLINGS + 1;
    for (uint32_t k = 0; k < side->n; k++)
        side->end[k] = has_end ? stated
                               : from + outward * (START * (double)(1u << k) * (reach > 0.0 ? 2.0 : 1.0) - reach);
    for (uint32_t k = 0; k < 2; k++)
        side->far[k] = side->end[side->n - 1] + outward * FAR * (k + 1);
}

static void lay_coarse(struct run *run)
{
    for (uint32_t i = 0; i < COARSE; i++)
        run->coarse[i] = run->lower + (run->upper - run->lower) * ((i + 0.5) / COARSE);
}

/* Coarse points on the first range, the ends' candidates, far points, all in one. */
static enum ebm_status look_around(struct run *run, double *ret_max)
{
    double y[EBM_QUADRATURE_POINTS], f[EBM_QUADRATURE_POINTS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < COARSE; i++)
        y[n++] = run->coarse[i];
    for (int s = 0; s < 2; s++) {
        for (uint32_t k = 0; k < run->side[s].n; k++)
            y[n++] = run->side[s].end[k];
        for (uint32_t k = 0; k < 2; k++)
            y[n++] = run->side[s].far[k];
    }
    enum ebm_status status = ask(run->q, y, n, f);
    n = 0;
    *ret_max = -INFINITY;
    for (uint32_t i = 0; i < COARSE; i++)
        *ret_max = fmax(*ret_max, run->f_coarse[i] = f[n++]);
    for (int s = 0; s < 2; s++) {
        for (uint32_t k = 0; k < run->side[s].n; k++)
            run->side[s].f[k] = f[n++];
        for (uint32_t k = 0; k < 2; k++)
            run->side[s].f_far[k] = f[n++];
    }
    return status;
}

/* The nearest candidate beyond which f is low. False: there is none. */
static bool choose_end(const struct side *side, double max, double *ret_end)
{
    for (uint32_t k = 0; k < side->n; k++) {
        *ret_end = side->end[k];
        max = fmax(max, side->f[k]);
        if (side->n == 1 || side->f[k] < max - FALL)
            return true;
    }
    return false;
}

static enum ebm_status find_range(struct run *run)
{
    const struct ebm_support *support = &run->q->support;
    double max;
    bool proper = true;
    lay_side(&run->side[0], support->lower, support->upper, -1.0);
    lay_side(&run->side[1], support->upper, support->lower, 1.0);
    run->lower = run->side[0].end[0];
    run->upper = run->side[1].end[0];
    lay_coarse(run);
    enum ebm_status status = look_around(run, &max);
    for (int s = 0; s < 2; s++) {
        proper = choose_end(&run->side[s], max, s == 0 ? &run->lower : &run->upper) && proper;
        proper = proper && run->side[s].f_far[1] < run->side[s].f_far[0];
    }
    run->panels->proper = support->kind != EBM_SUPPORT_REAL || (proper && !run->q->is_bounded);
    if (status != EBM_OK || (run->lower == run->side[0].end[0] && run->upper == run->side[1].end[0]))
        return status;
    lay_coarse(run);
    return ask(run->q, run->coarse, COARSE, run->f_coarse);
}

/* ---- splits ---- */

/* Keeps them sorted; leaves out what is outside, or too near another. */
static void add_split(struct run *run, double y)
{
    double closest = CLOSEST * (run->upper - run->lower);
    uint32_t i = run->n_splits;
    while (i > 0 && run->split[i - 1] > y)
        i--;
    if (run->n_splits == EBM_QUADRATURE_SPLITS || !(y - run->lower > closest) || !(run->upper - y > closest) ||
        (i > 0 && y - run->split[i - 1] < closest) || (i < run->n_splits && run->split[i] - y < closest))
        return;
    for (uint32_t j = run->n_splits++; j > i; j--)
        run->split[j] = run->split[j - 1];
    run->split[i] = y;
}

static void choose_splits(struct run *run)
{
    double max = run->f_coarse[0];
    for (uint32_t i = 1; i < COARSE; i++)
        max = fmax(max, run->f_coarse[i]);
    for (uint32_t i = 1; i < FIRST_PANELS; i++)
        add_split(run, run->lower + (run->upper - run->lower) * i / FIRST_PANELS);
    for (uint32_t i = 1; i + 1 < COARSE; i++)
        if (run->f_coarse[i] > max - FALL && run->f_coarse[i] > run->f_coarse[i - 1] &&
            run->f_coarse[i] >= run->f_coarse[i + 1])
            add_split(run, run->coarse[i]);
    for (uint32_t i = 0; i < run->q->n_splits; i++)
        add_split(run, run->q->splits[i]);
}

static void lay_panels(struct run *run)
{
    struct ebm_panels *panels = run->panels;
    panels->first = 0;
    panels->n = run->n_splits + 1;
    for (uint32_t i = 0; i < panels->n; i++)
        panels->panel[i] = (struct ebm_panel){
            .lower = i == 0 ? run->lower : run->split[i - 1],
            .upper = i + 1 == panels->n ? run->upper : run->split[i],
            .next = i + 1 == panels->n ? EBM_PANEL_LAST : i + 1,
        };
}

/* ---- rounds ---- */

/* Evaluates panels that are open: those without mass yet. */
static enum ebm_status close_open(struct run *run)
{
    double y[EBM_QUADRATURE_POINTS], f[EBM_QUADRATURE_POINTS];
    struct ebm_panels *panels = run->panels;
    uint32_t open[AT_ONCE], n = 0;
    for (uint32_t i = 0; i < panels->n; i++) {
        if (panels->panel[i].mass == 0.0) {
            ebm_panel_nodes(panels->panel[i].lower, panels->panel[i].upper, y + (size_t)n * EBM_PANEL_NODES);
            open[n++] = i;
        }
        if (n == 0 || (n < AT_ONCE && i + 1 < panels->n))
            continue;
        enum ebm_status status = ask(run->q, y, n * EBM_PANEL_NODES, f);
        if (status != EBM_OK)
            return status;
        for (uint32_t j = 0; j < n; j++) {
            for (uint32_t node = 0; node < EBM_PANEL_NODES; node++)
                panels->panel[open[j]].f[node] = f[j * EBM_PANEL_NODES + node];
            ebm_panel_close(&panels->panel[open[j]]);
        }
        n = 0;
    }
    return EBM_OK;
}

/* The part of |K - G| that is rounding: f's own, and y's times the slope. */
static double rounding(const struct ebm_panel *panel, double epsilon)
{
    double low = panel->f[0], width = panel->upper - panel->lower;
    for (uint32_t i = 1; i < EBM_PANEL_NODES; i++)
        low = fmin(low, panel->f[i]);
    double slope = (panel->peak - low) / width, y = fmax(fabs(panel->lower), fabs(panel->upper));
    return epsilon * (2.0 * fmax(1.0, fabs(panel->peak)) + slope * y) * panel->mass;
}

static bool is_wanting(const struct run *run, const struct ebm_panel *panel, double tolerance)
{
    double width = panel->upper - panel->lower, range = run->upper - run->lower;
    double y = fmax(fabs(panel->lower), fabs(panel->upper));
    return panel->weight * panel->error > tolerance * run->panels->total * fmax(width / range, LEAST_SHARE) &&
           panel->error > rounding(panel, run->q->epsilon) && width > 64.0 * run->q->epsilon * y;
}

static uint32_t count_wanting(const struct run *run, double tolerance)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < run->panels->n; i++)
        n += is_wanting(run, &run->panels->panel[i], tolerance);
    return n;
}

static void halve(struct ebm_panels *panels, uint32_t i)
{
    struct ebm_panel *panel = &panels->panel[i];
    double middle = 0.5 * (panel->lower + panel->upper);
    panels->panel[panels->n] = (struct ebm_panel){.lower = middle, .upper = panel->upper, .next = panel->next};
    *panel = (struct ebm_panel){.lower = panel->lower, .upper = middle, .next = panels->n++};
}

/* False: precise, or nothing left to make it so. */
static bool refine(struct run *run)
{
    struct ebm_panels *panels = run->panels;
    uint32_t n = panels->n, room = LIMIT_PANELS - n, wanting;
    double tolerance = TOLERANCE;
    while ((wanting = count_wanting(run, tolerance)) > room)
        tolerance *= 2.0;
    for (uint32_t i = 0; i < n && wanting > 0; i++)
        if (is_wanting(run, &panels->panel[i], tolerance))
            halve(panels, i);
    return wanting > 0;
}

enum ebm_status ebm_quadrature_run(const struct ebm_quadrature *quadrature, struct ebm_panels *panels)
{
    struct run run = {.q = quadrature, .panels = panels};
    enum ebm_status status = find_range(&run);
    if (status != EBM_OK)
        return status;
    choose_splits(&run);
    lay_panels(&run);
    do {
        status = close_open(&run);
        if (status == EBM_OK)
            ebm_panels_sum(panels);
    } while (status == EBM_OK && refine(&run));
    return status;
}
