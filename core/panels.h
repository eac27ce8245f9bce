/* panels.h - a smooth density over an interval, as Gauss-Kronrod panels: f at 15 nodes each. Private to core.
 *
 * Between the nodes f is interpolated, so that after the network has been evaluated there every question of scalar.h is
 * answered without it. quadrature.h makes the panels. Everything is standardised, in double, of one thread.
 *
 *   panels   lower |-x--x---x----x----x---x--x-| ... |-x--x---x----x----x---x--x-| upper      x: a node
 *   cells    |   |   |   | : | ...    f is monotone in a cell, or nearly; what is below each is summed up once
 *
 * Gauss-Kronrod 7-15: QUADPACK (Piessens et al. 1983); barycentric interpolation: Berrut & Trefethen (2004). */
#ifndef EBM_CORE_PANELS_H
#define EBM_CORE_PANELS_H

#include "core/scalar.h"
#include "core/status.h"

#define EBM_PANEL_NODES 15u

struct ebm_panel {
    double lower, upper;
    double f[EBM_PANEL_NODES]; /* ascending in y */
    double peak;               /* the largest of them */
    double mass;               /* Kronrod's integral of exp(f - peak) */
    double error;              /* its distance from Gauss's */
    double weight;             /* exp(peak - panels' peak): mass * weight is the part of the whole */
    bool is_rough;             /* f is linear between the nodes: no polynomial goes through them sensibly */
    uint32_t next;             /* its right neighbour; EBM_PANEL_LAST: none */
};
#define EBM_PANEL_LAST UINT32_MAX

/* From y to the next cell's y. */
struct ebm_panel_cell {
    double y;
    double f_lower, f_upper;                  /* at its ends, as its panel has them */
    double below;                             /* mass below y, of 1 */
    double scale;                             /* integral of exp(f - peak) -> part of 1; 0: mass spread evenly */
    double squares_below, squares_above_less; /* integrals from the lowest y: of F^2, of (1 - F)^2 */
    uint32_t panel;
};

struct ebm_panels {
    uint32_t n, first;            /* panels; the leftmost */
    uint32_t n_cells;             /* 0: none laid yet */
    struct ebm_panel *panel;      /* (LIMIT_PANELS) */
    struct ebm_panel_cell *cells; /* (n_cells + 1): the last one only ends the one before */
    double peak;                  /* the largest f at a node */
    double total;                 /* integral of exp(f - peak) */
    double error;                 /* relative, a bound of it by what the panels' rules differ */
    bool proper;
};

/* Memory for the largest; NO_MEMORY. done: what init took; zeroed panels are fine. */
enum ebm_status ebm_panels_init(struct ebm_panels *panels) EBM_MUST_USE;
void ebm_panels_done(struct ebm_panels *panels);
size_t ebm_panels_bytes(void); /* that init takes */

/* The nodes of the panel [lower, upper], ascending. */
void ebm_panel_nodes(double lower, double upper, double ret_y[EBM_PANEL_NODES]);
/* After panel->f: integrals and smoothness. */
void ebm_panel_close(struct ebm_panel *panel);
/* Kronrod's weight of a node: the integral of g is sum_i weight(i) g(y_i). */
double ebm_panel_weight(const struct ebm_panel *panel, uint32_t node);
/* f between the nodes. */
double ebm_panel_f(const struct ebm_panel *panel, double y);

/* Peak, total, error and the panels' weights, after panels were added or replaced. */
void ebm_panels_sum(struct ebm_panels *panels);
/* Lays the cells: needed once before cdf, quantile, region and crps. */
void ebm_panels_lay_cells(struct ebm_panels *panels);

/* Over a struct ebm_panels. */
extern const struct ebm_scalar_ops ebm_panels_ops;

#endif
