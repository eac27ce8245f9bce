/* train_exact.c - ml_exact: log Z(x) - f(x, y_0) of a scalar target, and its gradient. Nothing is drawn.
 *
 *   pieces    f piecewise linear: in a piece the gradient of f in the parameters is linear in y, so its mean under
 *             exp f is its value at the piece's centroid:   grad log Z = sum_k m_k / Z grad f(x, c_k)
 *   panels    else: log Z is a sum over nodes, and so is its gradient, with w_k exp f(x, y_k) / Z
 *
 * The knots move with the parameters too, but f is continuous there, so nothing comes of it; the ends of the support
 * stand still. So the row is a list of weighted points, and the true target with -1. Points of less than NEGLIGIBLE are
 * left out. The list is worked off tile by tile: forward, backward, the next. */
#include <math.h>
#include <string.h>

#include "core/train_internal.h"

#define NEGLIGIBLE 1e-9

/* Points of one row, as they fill a tile. */
struct points {
    struct ebm_chunk *c;
    uint32_t b, n;
    struct ebm_row_gradient gradient;
    float y[EBM_TILE], weight[EBM_TILE];
    double f_last; /* f at the point last taken */
};

/* Forward and backward over the points gathered so far; there is at least one. */
static void run_tile(struct points *p)
{
    struct ebm_chunk *c = p->c;
    struct ebm_train_space *train = &c->ctx->train;
    struct ebm_backward_space space = {train->da.p, train->dz.p, train->dx.p};
    struct ebm_y_tile tile;
    ebm_y_tile_lay(&tile, c, 0, (uint32_t)ebm_round_up(p->n, EBM_LANES));
    for (uint32_t l = 0; l < tile.lanes; l++)
        tile.y[l] = p->y[l < p->n ? l : p->n - 1];
    p->f_last = (double)ebm_y_tile_run(c, p->b, &tile)[p->n - 1];
    for (uint32_t l = 0; l < tile.lanes; l++)
        space.da[l] = l < p->n ? p->weight[l] : 0.0f;
    ebm_energy_backward(c->plan, ebm_y_tile_g(c, &tile), tile.lanes, &tile.energy, c->grads, p->gradient.dhx,
                        p->gradient.dh, &space);
    ebm_net_backward(c->plan, &c->plan->net.target, 0, tile.y, tile.lanes, &tile.target, c->grads, false, &space);
    p->n = 0;
}

static void add_point(struct points *p, double y, double weight)
{
    if (p->n == EBM_TILE)
        run_tile(p);
    p->y[p->n] = (float)y;
    p->weight[p->n++] = (float)(weight * p->c->spec->scale);
}

/* Points of log Z. False: f is not finite, or cannot be normalised. */
static bool add_pieces(struct points *p, const struct ebm_pieces *pieces, double *ret_log_z)
{
    if (!isfinite(pieces->log_z))
        return false;
    for (uint32_t i = 0; i <= pieces->n; i++)
        if (pieces->mass[i] > NEGLIGIBLE * pieces->total)
            add_point(p, pieces->centroid[i], pieces->mass[i] / pieces->total);
    *ret_log_z = pieces->log_z;
    return true;
}

static bool add_panels(struct points *p, const struct ebm_panels *panels, double *ret_log_z)
{
    double nodes[EBM_PANEL_NODES], log_z = panels->peak + log(panels->total);
    if (!isfinite(log_z))
        return false;
    for (uint32_t i = 0; i < panels->n; i++) {
        const struct ebm_panel *panel = &panels->panel[i];
        ebm_panel_nodes(panel->lower, panel->upper, nodes);
        for (uint32_t k = 0; k < EBM_PANEL_NODES; k++) {
            double weight = ebm_panel_weight(panel, k) * exp(panel->f[k] - log_z);
            if (weight > NEGLIGIBLE)
                add_point(p, nodes[k], weight);
        }
    }
    *ret_log_z = log_z;
    return true;
}

static bool add_normaliser(struct points *p, double *ret_log_z)
{
    struct ebm_ctx *ctx = p->c->ctx;
    const struct ebm_plan *plan = p->c->plan;
    const struct ebm_exact_table *table = ebm_plan_exact(plan);
    enum ebm_status status = EBM_TOO_LARGE;
    struct ebm_pieces *pieces;
    if (table != NULL)
        status = ebm_exact_bind_pieces(table, ctx->hx.p + (size_t)p->b * plan->energy_out,
                                       ctx->h.p + (size_t)p->b * plan->net.H, ctx->exact, &pieces);
    if (status == EBM_OK)
        return add_pieces(p, pieces, ret_log_z);
    ctx->b = p->b;
    ctx->has_density = false;
    return status == EBM_TOO_LARGE && ebm_scalar_bind_quadrature(ctx) == EBM_OK &&
           add_panels(p, &ctx->panels, ret_log_z);
}

double ebm_exact_row(struct ebm_chunk *c, uint32_t b)
{
    struct points points = {.c = c, .b = b, .gradient = ebm_row_gradient_begin(c)};
    double log_z;
    if (!add_normaliser(&points, &log_z))
        return (double)NAN;
    add_point(&points, (double)c->rows->h_y[b], -1.0);
    run_tile(&points);
    ebm_row_gradient_end(c, b, &points.gradient);
    double value = log_z - points.f_last;
    return isfinite(value) ? value : (double)NAN;
}
