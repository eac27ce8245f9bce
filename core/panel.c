/* panel.c - one Gauss-Kronrod panel: its nodes, its integral by both rules, f between its nodes.
 *
 * The seven Gauss nodes are every second of Kronrod's fifteen. Where the polynomial through those seven misses the
 * other eight by more than SMOOTH, there is a kink, or a fall of hundreds of nats: a polynomial through all fifteen
 * would swing between them, and f is taken as linear instead. */
#include <math.h>

#include "core/panels.h"

#define N EBM_PANEL_NODES
#define SMOOTH 0.1 /* nats */

static const double nodes[N] = {
    -0.99145537112081263921, -0.94910791234275852453, -0.86486442335976907279, -0.74153118559939443986,
    -0.58608723546769113029, -0.40584515137739716691, -0.20778495500789846760, 0.0,
    0.20778495500789846760,  0.40584515137739716691,  0.58608723546769113029,  0.74153118559939443986,
    0.86486442335976907279,  0.94910791234275852453,  0.99145537112081263921};

static const double kronrod[N] = {0.022935322010529224964, 0.063092092629978553291, 0.10479001032225018384,
                                  0.14065325971552591875,  0.16900472663926790283,  0.19035057806478540991,
                                  0.20443294007529889241,  0.20948214108472782801,  0.20443294007529889241,
                                  0.19035057806478540991,  0.16900472663926790283,  0.14065325971552591875,
                                  0.10479001032225018384,  0.063092092629978553291, 0.022935322010529224964};
static const double gauss[N] = {0.0, 0.12948496616886969327, 0.0, 0.27970539148927666790, 0.0, 0.38183005050511894495,
                                0.0, 0.41795918367346938776, 0.0, 0.38183005050511894495, 0.0, 0.27970539148927666790,
                                0.0, 0.12948496616886969327, 0.0};

/* Barycentric weights of all nodes, and of Gauss's. */
static const double barycentric[N] = {
    0.11001365774251350185, -0.31846611365196223143, 0.50264532557859833136, -0.66699013976352338086,
    0.81066348860608170044, -0.91846790448798342206, 0.98060168897627550069, -1.0,
    0.98060168897627550069, -0.91846790448798342206, 0.81066348860608170044, -0.66699013976352338086,
    0.50264532557859833136, -0.31846611365196223143, 0.11001365774251350185};
static const double barycentric_gauss[N] = {
    0.0, 0.17530157305027569012, 0.0, -0.54884939014708656514, 0.0, 0.87354781709681087502, 0.0, -1.0,
    0.0, 0.87354781709681087502, 0.0, -0.54884939014708656514, 0.0, 0.17530157305027569012, 0.0};

void ebm_panel_nodes(double lower, double upper, double ret_y[N])
{
    double middle = 0.5 * (lower + upper), half = 0.5 * (upper - lower);
    for (uint32_t i = 0; i < N; i++)
        ret_y[i] = middle + half * nodes[i];
}

double ebm_panel_weight(const struct ebm_panel *panel, uint32_t node)
{
    return 0.5 * (panel->upper - panel->lower) * kronrod[node];
}

/* Every `step`th node from the one at `step - 1` on; x in [-1, 1]. */
static double interpolate(const double *f, const double *weights, uint32_t step, double x)
{
    double above = 0.0, below = 0.0;
    for (uint32_t i = step - 1; i < N; i += step) {
        double off = x - nodes[i];
        if (fabs(off) < 1e-14)
            return f[i];
        double share = weights[i] / off;
        above += share * f[i];
        below += share;
    }
    return above / below;
}

static bool is_rough(const double *f)
{
    for (uint32_t i = 0; i < N; i += 2)
        if (!(fabs(interpolate(f, barycentric_gauss, 2, nodes[i]) - f[i]) <= SMOOTH))
            return true;
    return false;
}

void ebm_panel_close(struct ebm_panel *panel)
{
    double by_kronrod = 0.0, by_gauss = 0.0, half = 0.5 * (panel->upper - panel->lower);
    panel->peak = panel->f[0];
    for (uint32_t i = 1; i < N; i++)
        panel->peak = fmax(panel->peak, panel->f[i]);
    for (uint32_t i = 0; i < N; i++) {
        double value = exp(panel->f[i] - panel->peak);
        by_kronrod += kronrod[i] * value;
        by_gauss += gauss[i] * value;
    }
    panel->mass = half * by_kronrod;
    panel->error = half * fabs(by_kronrod - by_gauss);
    panel->is_rough = is_rough(panel->f);
}

/* On the straight line through the two nodes beside x; beyond the outermost, that through the last two. */
static double connect(const double *f, double x)
{
    uint32_t i = 1;
    while (i + 1 < N && x > nodes[i])
        i++;
    double share = (x - nodes[i - 1]) / (nodes[i] - nodes[i - 1]);
    return f[i - 1] + share * (f[i] - f[i - 1]);
}

double ebm_panel_f(const struct ebm_panel *panel, double y)
{
    double x = (y - 0.5 * (panel->lower + panel->upper)) / (0.5 * (panel->upper - panel->lower));
    return panel->is_rough ? connect(panel->f, x) : interpolate(panel->f, barycentric, 1, x);
}
