/* panels.c - the questions of scalar.h to a density in panels.
 *
 *   summary            sums over the nodes by Kronrod's weights
 *   the rest           cells: every panel with mass is cut into CELLS, and where f turns inside of one there too;
 *                      5-point Gauss-Legendre of exp(interpolated f) in a cell, scaled so that a panel's cells have the
 *                      panel's mass. F and its squares are summed up at the cells' ends once; a question then looks
 *                      into the one or two cells that it is about.
 *
 * A panel whose part of the whole is below NEGLIGIBLE is one cell, its mass spread evenly. */
#include "core/panels.h"

#include <math.h>
#include <stdlib.h>

#include "core/limits.h"
#include "core/region.h"

#define POINTS 5
#define NEGLIGIBLE 1e-13
#define CELLS 8     /* in a panel */
#define FEW_CELLS 2 /* where there are many panels, each narrow */
#define MANY_PANELS 256
#define MAX_CELLS (2 * CELLS * MANY_PANELS + 2 * FEW_CELLS * LIMIT_PANELS)
#define TURN_STEPS 48 /* of a golden section: 1e-10 of a cell */
#define ROOT_STEPS 60

/* Gauss-Legendre on [0, 1], and the integrals from 0 to each point of the polynomial through all. */
static const double at[POINTS] = {0.046910077030668003601, 0.23076534494715845448, 0.5, 0.76923465505284154552,
                                  0.95308992296933199640};
static const double share[POINTS] = {0.11846344252809454376, 0.23931433524968323402, 0.28444444444444444444,
                                     0.23931433524968323402, 0.11846344252809454376};
static const double up_to[POINTS][POINTS] = {{0.059231721264047271879, -0.019570364359076037493,
                                              0.011254400818642955553, -0.0055937936608121848768,
                                              0.0015881129678659985394},
                                             {0.12815100567004528350, 0.11965716762484161701, -0.024592114619642200389,
                                              0.010318280670683357409, -0.0027689943987696030443},
                                             {0.11377628800422460253, 0.26000465168064151859, 0.14222222222222222222,
                                              -0.020690316430958284572, 0.0046871545238699412284},
                                             {0.12123243692686414680, 0.22899605457899987661, 0.30903655906408664483,
                                              0.11965716762484161701, -0.0096875631419507397390},
                                             {0.11687532956022854522, 0.24490812891049541890, 0.27319004362580148889,
                                              0.25888469960875927151, 0.059231721264047271879}};

/* ---- memory ---- */

size_t ebm_panels_bytes(void)
{
    return LIMIT_PANELS * sizeof(struct ebm_panel) + (MAX_CELLS + 1) * sizeof(struct ebm_panel_cell);
}

enum ebm_status ebm_panels_init(struct ebm_panels *panels)
{
    *panels = (struct ebm_panels){.panel = calloc(LIMIT_PANELS, sizeof *panels->panel),
                                  .cells = calloc(MAX_CELLS + 1, sizeof *panels->cells)};
    if (panels->panel != NULL && panels->cells != NULL)
        return EBM_OK;
    ebm_panels_done(panels);
    return EBM_NO_MEMORY;
}

void ebm_panels_done(struct ebm_panels *panels)
{
    free(panels->panel);
    free(panels->cells);
    *panels = (struct ebm_panels){.n = 0};
}

/* ---- sums over nodes ---- */

void ebm_panels_sum(struct ebm_panels *panels)
{
    double error = 0.0;
    panels->n_cells = 0;
    panels->peak = -INFINITY;
    panels->total = 0.0;
    for (uint32_t i = 0; i < panels->n; i++)
        panels->peak = fmax(panels->peak, panels->panel[i].peak);
    for (uint32_t i = 0; i < panels->n; i++) {
        struct ebm_panel *panel = &panels->panel[i];
        panel->weight = exp(panel->peak - panels->peak);
        panels->total += panel->weight * panel->mass;
        error += panel->weight * panel->error;
    }
    panels->error = error / panels->total;
}

/* From the left, so that sums do not depend on the order in which panels were made. */
#define EBM_EACH_PANEL(i, panels)                                                                                      \
    uint32_t i = (panels)->first;                                                                                      \
    i != EBM_PANEL_LAST;                                                                                               \
    i = (panels)->panel[i].next

struct moments {
    double mean, variance, energy; /* of f - peak */
};

static struct moments moments_of(const struct ebm_panels *panels)
{
    struct moments m = {0.0, 0.0, 0.0};
    double y[EBM_PANEL_NODES];
    for (int pass = 0; pass < 2; pass++)
        for (EBM_EACH_PANEL(i, panels)) {
            const struct ebm_panel *panel = &panels->panel[i];
            ebm_panel_nodes(panel->lower, panel->upper, y);
            for (uint32_t node = 0; node < EBM_PANEL_NODES; node++) {
                double f = panel->f[node] - panels->peak;
                double mass = ebm_panel_weight(panel, node) * exp(f) / panels->total;
                if (pass == 0) {
                    m.mean += mass * y[node];
                    m.energy += mass * f;
                } else {
                    m.variance += mass * (y[node] - m.mean) * (y[node] - m.mean);
                }
            }
        }
    return m;
}

static void resultant(const void *density, double origin, double turn, double ret_resultant[2])
{
    const struct ebm_panels *panels = density;
    double y[EBM_PANEL_NODES], cosine = 0.0, sine = 0.0;
    for (EBM_EACH_PANEL(i, panels)) {
        const struct ebm_panel *panel = &panels->panel[i];
        ebm_panel_nodes(panel->lower, panel->upper, y);
        for (uint32_t node = 0; node < EBM_PANEL_NODES; node++) {
            double mass = ebm_panel_weight(panel, node) * exp(panel->f[node] - panels->peak) / panels->total;
            cosine += mass * cos(turn * (y[node] - origin));
            sine += mass * sin(turn * (y[node] - origin));
        }
    }
    ret_resultant[0] = cosine;
    ret_resultant[1] = sine;
}

/* The extremum of sign * f between two points that enclose one. */
static double turn(const struct ebm_panel *panel, double low, double high, double sign)
{
    const double golden = 0.61803398874989484820;
    double left = high - golden * (high - low), right = low + golden * (high - low);
    double f_left = sign * ebm_panel_f(panel, left), f_right = sign * ebm_panel_f(panel, right);
    for (int step = 0; step < TURN_STEPS; step++) {
        bool goes_left = f_left >= f_right;
        if (goes_left) {
            high = right;
            right = left;
            f_right = f_left;
            left = high - golden * (high - low);
            f_left = sign * ebm_panel_f(panel, left);
        } else {
            low = left;
            left = right;
            f_left = f_right;
            right = low + golden * (high - low);
            f_right = sign * ebm_panel_f(panel, right);
        }
    }
    return 0.5 * (low + high);
}

static double mode_of(const struct ebm_panels *panels)
{
    double y[EBM_PANEL_NODES], best_f = -INFINITY;
    uint32_t best = panels->first, best_node = 0;
    for (EBM_EACH_PANEL(i, panels))
        for (uint32_t node = 0; node < EBM_PANEL_NODES; node++)
            if (panels->panel[i].f[node] > best_f) {
                best_f = panels->panel[i].f[node];
                best = i;
                best_node = node;
            }
    const struct ebm_panel *panel = &panels->panel[best];
    ebm_panel_nodes(panel->lower, panel->upper, y);
    double low = best_node > 0 ? y[best_node - 1] : panel->lower;
    double high = best_node + 1 < EBM_PANEL_NODES ? y[best_node + 1] : panel->upper;
    const double candidates[] = {low, turn(panel, low, high, 1.0), high};
    double mode = y[best_node];
    for (size_t i = 0; i < EBM_COUNT_OF(candidates); i++)
        if (ebm_panel_f(panel, candidates[i]) > best_f) {
            best_f = ebm_panel_f(panel, candidates[i]);
            mode = candidates[i];
        }
    return mode;
}

static void ends_of(const struct ebm_panels *panels, double *ret_lower, double *ret_upper)
{
    uint32_t last = panels->first;
    while (panels->panel[last].next != EBM_PANEL_LAST)
        last = panels->panel[last].next;
    *ret_lower = panels->panel[panels->first].lower;
    *ret_upper = panels->panel[last].upper;
}

static void summary(const void *density, struct ebm_scalar_summary *ret_summary)
{
    const struct ebm_panels *panels = density;
    struct moments m = moments_of(panels);
    struct ebm_scalar_summary s = {
        .log_z = panels->peak + log(panels->total),
        .mean = m.mean,
        .variance = m.variance,
        .entropy = log(panels->total) - m.energy,
        .mode = mode_of(panels),
        .pieces = panels->n,
        .proper = panels->proper,
    };
    ends_of(panels, &s.lower, &s.upper);
    *ret_summary = s;
}

/* ---- cells ---- */

/* Integral of exp(f - peak) between two points of one panel; its values at the Gauss-Legendre points. */
static double integrate(const struct ebm_panels *panels, const struct ebm_panel *panel, double low, double high,
                        double ret_values[POINTS])
{
    double sum = 0.0;
    for (int i = 0; i < POINTS; i++) {
        ret_values[i] = exp(ebm_panel_f(panel, low + at[i] * (high - low)) - panels->peak);
        sum += share[i] * ret_values[i];
    }
    return sum * (high - low);
}

static void add_cell(struct ebm_panels *panels, uint32_t panel, double low, double high)
{
    const struct ebm_panel *p = &panels->panel[panel];
    EBM_ASSERT(panels->n_cells < MAX_CELLS);
    panels->cells[panels->n_cells++] = (struct ebm_panel_cell){
        .y = low, .f_lower = ebm_panel_f(p, low), .f_upper = ebm_panel_f(p, high), .panel = panel};
}

/* [low, high] as one cell, or as two when f turns inside. */
static void add_monotone(struct ebm_panels *panels, uint32_t panel, double low, double high)
{
    const struct ebm_panel *p = &panels->panel[panel];
    double ends[] = {ebm_panel_f(p, low), ebm_panel_f(p, high)}, most[] = {0.0, 0.0};
    double top = fmax(ends[0], ends[1]), bottom = fmin(ends[0], ends[1]);
    int where[] = {0, 0};
    for (int i = 0; i < POINTS; i++) {
        double f = ebm_panel_f(p, low + at[i] * (high - low)), over[] = {f - top, bottom - f};
        for (int side = 0; side < 2; side++)
            if (over[side] > most[side]) {
                most[side] = over[side];
                where[side] = i;
            }
    }
    int side = most[0] >= most[1] ? 0 : 1, i = where[side];
    if (most[side] <= 0.0) {
        add_cell(panels, panel, low, high);
        return;
    }
    double from = i > 0 ? low + at[i - 1] * (high - low) : low;
    double to = i + 1 < POINTS ? low + at[i + 1] * (high - low) : high;
    double middle = turn(p, from, to, side == 0 ? 1.0 : -1.0);
    add_cell(panels, panel, low, middle);
    add_cell(panels, panel, middle, high);
}

/* Cells of one panel, with masses so far unscaled in `below`. */
static void cut_panel(struct ebm_panels *panels, uint32_t panel, uint32_t n)
{
    const struct ebm_panel *p = &panels->panel[panel];
    double part = p->weight * p->mass / panels->total, values[POINTS], sum = 0.0;
    uint32_t first = panels->n_cells;
    bool is_cut = part > NEGLIGIBLE;
    if (!is_cut)
        add_cell(panels, panel, p->lower, p->upper);
    for (uint32_t i = 0; is_cut && i < n; i++)
        add_monotone(panels, panel, p->lower + i * ((p->upper - p->lower) / n),
                     i + 1 < n ? p->lower + (i + 1) * ((p->upper - p->lower) / n) : p->upper);
    panels->cells[panels->n_cells].y = p->upper;
    for (uint32_t i = first; is_cut && i < panels->n_cells; i++)
        sum += panels->cells[i].below = integrate(panels, p, panels->cells[i].y, panels->cells[i + 1].y, values);
    for (uint32_t i = first; i < panels->n_cells; i++) {
        panels->cells[i].scale = is_cut && sum > 0.0 ? part / sum : 0.0;
        panels->cells[i].below = panels->cells[i].scale > 0.0 ? panels->cells[i].below * panels->cells[i].scale
                                                              : part / (panels->n_cells - first);
    }
}

/* F at a cell's Gauss-Legendre points between low and high; `below` F at low. */
static void distribution(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double low, double high,
                         double below, double ret_f[POINTS])
{
    double values[POINTS], rise = cell[1].below - cell->below;
    if (cell->scale > 0.0)
        (void)integrate(panels, &panels->panel[cell->panel], low, high, values);
    for (int i = 0; i < POINTS; i++) {
        double sum = 0.0;
        for (int j = 0; cell->scale > 0.0 && j < POINTS; j++)
            sum += up_to[i][j] * values[j];
        ret_f[i] = below + (cell->scale > 0.0 ? cell->scale * (high - low) * sum
                                              : rise * at[i] * (high - low) / (cell[1].y - cell->y));
    }
}

/* Adds the integrals of F^2 and (1 - F)^2 over a part of a cell. */
static void add_squares(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double low, double high,
                        double below, double *squares, double *squares_of_rest)
{
    double f[POINTS];
    distribution(panels, cell, low, high, below, f);
    for (int i = 0; i < POINTS; i++) {
        *squares += (high - low) * share[i] * f[i] * f[i];
        *squares_of_rest += (high - low) * share[i] * (1.0 - f[i]) * (1.0 - f[i]);
    }
}

void ebm_panels_lay_cells(struct ebm_panels *panels)
{
    double below = 0.0, squares = 0.0, squares_of_rest = 0.0;
    panels->n_cells = 0;
    for (EBM_EACH_PANEL(i, panels))
        cut_panel(panels, i, panels->n > MANY_PANELS ? FEW_CELLS : CELLS);
    struct ebm_panel_cell *cells = panels->cells, *end = &cells[panels->n_cells];
    for (struct ebm_panel_cell *cell = cells; cell + 1 < end; cell++) /* one f where two panels meet */
        cell->f_upper = cell[1].f_lower = 0.5 * (cell->f_upper + cell[1].f_lower);
    for (struct ebm_panel_cell *cell = cells; cell < end; cell++) {
        double mass = cell->below;
        cell->below = below;
        below += mass;
    }
    end->below = 1.0;
    for (struct ebm_panel_cell *cell = cells; cell < end; cell++)
        cell->below = fmin(cell->below / below, 1.0);
    for (struct ebm_panel_cell *cell = cells; cell <= end; cell++) {
        cell->squares_below = squares;
        cell->squares_above_less = squares_of_rest;
        if (cell < end)
            add_squares(panels, cell, cell->y, cell[1].y, cell->below, &squares, &squares_of_rest);
    }
}

/* ---- questions to cells ---- */

static bool is_inside(const struct ebm_panels *panels, double y)
{
    return y > panels->cells[0].y && y < panels->cells[panels->n_cells].y;
}

/* The cell of y, which is inside. */
static const struct ebm_panel_cell *cell_at(const struct ebm_panels *panels, double y)
{
    uint32_t low = 0, high = panels->n_cells - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (panels->cells[middle + 1].y > y)
            high = middle;
        else
            low = middle + 1;
    }
    return &panels->cells[low];
}

static double cdf_in(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double y)
{
    double values[POINTS], rise;
    if (cell->scale > 0.0)
        rise = cell->scale * integrate(panels, &panels->panel[cell->panel], cell->y, y, values);
    else
        rise = (cell[1].below - cell->below) * (y - cell->y) / (cell[1].y - cell->y);
    return fmin(cell->below + rise, cell[1].below);
}

static double log_density(const void *density, double y)
{
    const struct ebm_panels *panels = density;
    for (EBM_EACH_PANEL(i, panels))
        if (y >= panels->panel[i].lower && y <= panels->panel[i].upper)
            return ebm_panel_f(&panels->panel[i], y) - panels->peak - log(panels->total);
    return -INFINITY;
}

static double cdf(const void *density, double y)
{
    const struct ebm_panels *panels = density;
    if (!is_inside(panels, y))
        return y <= panels->cells[0].y ? 0.0 : 1.0;
    return cdf_in(panels, cell_at(panels, y), y);
}

/* Newton's steps, halved where they leave the bracket. */
static double root_in(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double p)
{
    double low = cell->y, high = cell[1].y, y;
    if (cell->scale == 0.0) {
        double rise = cell[1].below - cell->below;
        return rise > 0.0 ? low + (high - low) * fmin((p - cell->below) / rise, 1.0) : high;
    }
    y = low + (high - low) * ((p - cell->below) / (cell[1].below - cell->below));
    for (int step = 0; step < ROOT_STEPS; step++) {
        double off = cdf_in(panels, cell, y) - p;
        if (off >= 0.0)
            high = y;
        else
            low = y;
        double slope = cell->scale * exp(ebm_panel_f(&panels->panel[cell->panel], y) - panels->peak);
        double next = y - off / slope;
        next = next >= low && next <= high ? next : 0.5 * (low + high);
        if (fabs(next - y) <= 1e-15 * (fabs(y) + (cell[1].y - cell->y)))
            return next;
        y = next;
    }
    return y;
}

static double quantile(const void *density, double p)
{
    const struct ebm_panels *panels = density;
    uint32_t low = 0, high = panels->n_cells - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (panels->cells[middle + 1].below >= p)
            high = middle;
        else
            low = middle + 1;
    }
    return root_in(panels, &panels->cells[low], p);
}

static double crps(const void *density, double y)
{
    const struct ebm_panels *panels = density;
    const struct ebm_panel_cell *first = panels->cells, *end = &first[panels->n_cells];
    if (y <= first->y)
        return first->y - y + end->squares_above_less;
    if (y >= end->y)
        return y - end->y + end->squares_below;
    const struct ebm_panel_cell *cell = cell_at(panels, y);
    double left = cell->squares_below, right = end->squares_above_less - cell[1].squares_above_less, other = 0.0;
    add_squares(panels, cell, cell->y, y, cell->below, &left, &other);
    add_squares(panels, cell, y, cell[1].y, cdf_in(panels, cell, y), &other, &right);
    return left + right;
}

/* ---- the highest-density region ---- */

/* Where f passes `height` in a cell in which it is monotone. */
static double crossing(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double height)
{
    const struct ebm_panel *panel = &panels->panel[cell->panel];
    double low = cell->y, high = cell[1].y;
    bool rises = cell->f_upper > cell->f_lower;
    for (int step = 0; step < ROOT_STEPS && high - low > 1e-15 * (fabs(low) + fabs(high)); step++) {
        double middle = 0.5 * (low + high);
        if ((ebm_panel_f(panel, middle) > height) == rises)
            high = middle;
        else
            low = middle;
    }
    return 0.5 * (low + high);
}

/* The part of a cell where f > height, and its mass. False: none. */
static bool above_in(const struct ebm_panels *panels, const struct ebm_panel_cell *cell, double height, double *ret_low,
                     double *ret_high, double *ret_mass)
{
    bool lower = cell->f_lower > height, upper = cell->f_upper > height;
    if (!lower && !upper)
        return false;
    double middle = lower == upper ? 0.0 : crossing(panels, cell, height);
    *ret_low = lower ? cell->y : middle;
    *ret_high = upper ? cell[1].y : middle;
    *ret_mass = (upper ? cell[1].below : cdf_in(panels, cell, middle)) -
                (lower ? cell->below : cdf_in(panels, cell, middle));
    return true;
}

static double mass_above(const struct ebm_panels *panels, double height)
{
    double sum = 0.0, low, high, mass;
    for (const struct ebm_panel_cell *cell = panels->cells; cell < &panels->cells[panels->n_cells]; cell++)
        if (above_in(panels, cell, height, &low, &high, &mass))
            sum += mass;
    return sum;
}

static uint32_t region(const void *density, double level, double *ret_ends, uint32_t max)
{
    const struct ebm_panels *panels = density;
    struct ebm_region region = {.ends = ret_ends, .max = max};
    double low = INFINITY, high = -INFINITY, from, to, mass;
    const struct ebm_panel_cell *end = &panels->cells[panels->n_cells];
    for (const struct ebm_panel_cell *cell = panels->cells; cell < end; cell++) {
        low = fmin(low, fmin(cell->f_lower, cell->f_upper));
        high = fmax(high, fmax(cell->f_lower, cell->f_upper));
    }
    low = fmax(low, high - 200.0) - 1.0; /* below: the mass of no level that a double can tell from 1 */
    for (int step = 0; step < ROOT_STEPS; step++) {
        double height = 0.5 * (low + high);
        if (mass_above(panels, height) >= level)
            low = height;
        else
            high = height;
    }
    for (const struct ebm_panel_cell *cell = panels->cells; cell < end; cell++)
        if (above_in(panels, cell, low, &from, &to, &mass))
            ebm_region_add(&region, from, to);
    return region.n;
}

const struct ebm_scalar_ops ebm_panels_ops = {
    .summary = summary,
    .log_density = log_density,
    .cdf = cdf,
    .quantile = quantile,
    .region = region,
    .crps = crps,
    .resultant = resultant,
};
