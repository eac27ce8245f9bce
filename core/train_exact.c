/* train_exact.c - ml_exact: log Z(x) - f(x, y_0) of a scalar target, and its gradient. Nothing is drawn.
 *
 *   pieces    f piecewise linear: in a piece the gradient of f in the parameters is linear in y, so its mean under
 *             exp f is its value at the piece's centroid:   grad log Z = sum_k m_k / Z grad f(x, c_k)
 *   panels    else: log Z is a sum over nodes, and so is its gradient, with w_k exp f(x, y_k) / Z
 *
 * The knots move with the parameters too, but f is continuous there, so nothing comes of it; the ends of the support
 * stand still. So a row is a list of weighted points, and the true target with -1. Points of less than PIECE_NEGLIGIBLE
 * are left out. The lists of all rows, one behind the other, are worked off tile by tile: forward, backward, the next.
 */
#include <math.h>
#include <string.h>

#include "core/piece_forms.h"
#include "core/train_internal.h"

/* Points of neighbouring rows, as they fill a tile; of each row's last one, its true target, f goes into the loss. */
struct points {
    struct ebm_chunk *c;
    double *h_loss;
    uint32_t n, b; /* points; the row that is added */
    struct ebm_spans spans;
    float y[EBM_TRAIN_TILE_MOST], weight[EBM_TRAIN_TILE_MOST];
    bool is_true[EBM_TRAIN_TILE_MOST]; /* of the last point of each span */
};

/* Forward and backward over the points gathered so far; there is at least one. What fills the tile up is the last
 * row's, without weight. */
static void run_tile(struct points *p)
{
    struct ebm_chunk *c = p->c;
    struct ebm_spans *spans = &p->spans;
    struct ebm_y_tile tile;
    uint32_t lanes = (uint32_t)ebm_round_up(p->n, EBM_LANES);
    float *df = c->ctx->train.da.p;
    ebm_y_tile_lay(&tile, c, 0, lanes);
    for (uint32_t l = 0; l < lanes; l++)
        tile.y[l] = p->y[l < p->n ? l : p->n - 1];
    for (uint32_t i = 0; i < spans->n; i++)
        spans->span[i].lanes = (i + 1 < spans->n ? spans->span[i + 1].first : lanes) - spans->span[i].first;
    const float *f = ebm_spans_run(c, spans, &tile);
    for (uint32_t i = 0; i < spans->n; i++)
        if (p->is_true[i])
            p->h_loss[spans->span[i].row] -= (double)f[(i + 1 < spans->n ? spans->span[i + 1].first : p->n) - 1];
    for (uint32_t l = 0; l < lanes; l++)
        df[l] = l < p->n ? p->weight[l] : 0.0f;
    ebm_spans_backward(c, spans, &tile);
    p->n = spans->n = 0;
}

static void add_point(struct points *p, double y, double weight)
{
    struct ebm_spans *spans = &p->spans;
    if (p->n == ebm_train_tile(p->c->plan))
        run_tile(p);
    if (spans->n == 0 || spans->span[spans->n - 1].row != p->b) {
        p->is_true[spans->n] = false;
        spans->span[spans->n++] = (struct ebm_span){.row = p->b, .first = p->n};
    }
    p->y[p->n] = (float)y;
    p->weight[p->n++] = (float)(weight * p->c->spec->scale);
}

/* Points of log Z. False: f is not finite, or cannot be normalised. */
static bool add_pieces(struct points *p, const struct ebm_pieces *pieces, double *ret_log_z)
{
    if (!isfinite(pieces->log_z))
        return false;
    for (uint32_t i = 0; i <= pieces->n; i++)
        if (pieces->mass[i] > PIECE_NEGLIGIBLE * pieces->total)
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
            if (weight > PIECE_NEGLIGIBLE)
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

static void add_row(struct points *p, uint32_t b)
{
    p->b = b;
    if (!add_normaliser(p, &p->h_loss[b])) {
        p->h_loss[b] = (double)NAN;
        return;
    }
    add_point(p, (double)p->c->rows->h_y[b], -1.0);
    p->is_true[p->spans.n - 1] = true;
}

void ebm_exact_rows(struct ebm_chunk *c, uint32_t first, uint32_t count, double *h_loss)
{
    struct points points;
    points.c = c;
    points.h_loss = h_loss;
    points.n = points.spans.n = 0;
    for (uint32_t b = first; b < first + count; b++)
        add_row(&points, b);
    if (points.n > 0)
        run_tile(&points);
    for (uint32_t b = first; b < first + count; b++)
        h_loss[b] = isfinite(h_loss[b]) ? h_loss[b] : (double)NAN;
}
