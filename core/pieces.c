/* pieces.c - masses and moments of a piecewise linear f, its distribution function and its quantiles.
 *
 *   integrate    one exp a knot; a piece's mass is that of its heavier end times length times phi(t), t = |difference|
 *   accumulate   masses summed up from both ends, so that small tails keep their digits on either side
 *   cdf          up to the piece that holds the median from the left, beyond it from the right
 *
 * A part of a piece is itself a piece: from a knot to a point between, never a difference of two masses.
 * The region, the CRPS and the resultant are in pieces_region.c, pieces_crps.c and pieces_resultant.c. */
#include "core/pieces_internal.h"

#include <math.h>

size_t ebm_pieces_count(uint32_t max_knots)
{
    return (size_t)max_knots * 3 + ((size_t)max_knots + 1) * 4 + ((size_t)max_knots + 2) * 2;
}

void ebm_pieces_init(struct ebm_pieces *pieces, uint32_t max_knots, double *space)
{
    *pieces = (struct ebm_pieces){.max_knots = max_knots};
    const struct {
        double **array;
        size_t count;
    } parts[] = {{&pieces->y, max_knots},
                 {&pieces->f, max_knots},
                 {&pieces->height, max_knots},
                 {&pieces->mass, (size_t)max_knots + 1},
                 {&pieces->centroid, (size_t)max_knots + 1},
                 {&pieces->below, (size_t)max_knots + 2},
                 {&pieces->above, (size_t)max_knots + 2},
                 {&pieces->growth[EBM_LEFT], (size_t)max_knots + 1},
                 {&pieces->growth[EBM_RIGHT], (size_t)max_knots + 1}};
    for (size_t i = 0; i < EBM_COUNT_OF(parts); i++) {
        *parts[i].array = space;
        space += parts[i].count;
    }
}

/* ---- integrals ---- */

double ebm_pieces_rate(const struct ebm_pieces *p, int side)
{
    return side == EBM_LEFT ? p->slope[EBM_LEFT] : -p->slope[EBM_RIGHT];
}

/* Mass and centroid of a ray. */
static void ray(struct ebm_pieces *p, int side)
{
    uint32_t knot = side == EBM_LEFT ? 0 : p->n - 1, piece = side == EBM_LEFT ? 0 : p->n;
    double rate = ebm_pieces_rate(p, side);
    p->mass[piece] = 0.0;
    p->centroid[piece] = p->y[knot];
    if (!p->is_open[side])
        return;
    if (!(rate > 0.0)) {
        p->mass[piece] = isnan(rate) ? (double)NAN : (double)INFINITY;
        return;
    }
    p->mass[piece] = p->height[knot] / rate;
    p->centroid[piece] += (side == EBM_LEFT ? -1.0 : 1.0) / rate;
}

struct piece ebm_pieces_piece(const struct ebm_pieces *p, uint32_t i)
{
    double d = p->f[i] - p->f[i - 1];
    struct piece piece = {.a = p->y[i - 1], .b = p->y[i], .d = d, .t = fabs(d)};
    double high = d > 0.0 ? p->height[i] : p->height[i - 1], low = d > 0.0 ? p->height[i - 1] : p->height[i];
    piece.height = high;
    piece.e = high > 0.0 ? low / high : 0.0;
    return piece;
}

void ebm_pieces_integrate(struct ebm_pieces *p)
{
    EBM_DASSERT(p->n >= 1 && p->n <= p->max_knots);
    double peak = -INFINITY, sum = 0.0;
    for (uint32_t i = 0; i < p->n; i++)
        peak = p->f[i] > peak ? p->f[i] : peak;
    for (uint32_t i = 0; i < p->n; i++)
        p->height[i] = exp(p->f[i] - peak);
    for (uint32_t i = 1; i < p->n; i++) {
        struct piece piece = ebm_pieces_piece(p, i);
        double length = piece.b - piece.a, inside = length * piece_psi(piece.t, piece.e);
        p->mass[i] = piece.height * length * piece_phi(piece.t, piece.e);
        p->centroid[i] = piece.d > 0.0 ? piece.b - inside : piece.a + inside;
    }
    ray(p, EBM_LEFT);
    ray(p, EBM_RIGHT);
    for (uint32_t i = 0; i <= p->n; i++)
        sum += p->mass[i];
    p->peak = peak;
    p->total = sum;
    p->log_z = peak + log(sum);
}

void ebm_pieces_accumulate(struct ebm_pieces *p)
{
    p->below[0] = p->above[p->n + 1] = 0.0;
    for (uint32_t i = 0; i <= p->n; i++)
        p->below[i + 1] = p->below[i] + p->mass[i];
    for (uint32_t i = p->n + 1; i-- > 0;)
        p->above[i] = p->above[i + 1] + p->mass[i];
    for (uint32_t i = 0; i <= p->n; i++)
        p->growth[EBM_LEFT][i] = p->growth[EBM_RIGHT][i] = 0.0;
}

static uint32_t mode_knot(const struct ebm_pieces *p)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->n; i++)
        best = p->f[i] > p->f[best] ? i : best;
    return best;
}

/* Variance inside piece i, and f - peak at its centroid. */
static void inside_of(const struct ebm_pieces *p, uint32_t i, double *ret_variance, double *ret_f)
{
    if (i == 0 || i == p->n) {
        double rate = ebm_pieces_rate(p, i == 0 ? EBM_LEFT : EBM_RIGHT);
        *ret_variance = 1.0 / (rate * rate);
        *ret_f = p->f[i == 0 ? 0 : p->n - 1] - p->peak - 1.0;
        return;
    }
    struct piece piece = ebm_pieces_piece(p, i);
    double length = piece.b - piece.a;
    *ret_variance = length * length * piece_variance(piece.t, piece.e);
    *ret_f = fmax(p->f[i - 1], p->f[i]) - p->peak - piece.t * piece_psi(piece.t, piece.e);
}

static void moments(const struct ebm_pieces *p, struct ebm_scalar_summary *ret)
{
    double mean = 0.0, variance = 0.0, f = 0.0;
    for (uint32_t i = 0; i <= p->n; i++)
        mean += p->mass[i] * p->centroid[i];
    mean /= p->total;
    for (uint32_t i = 0; i <= p->n; i++) {
        if (p->mass[i] <= 0.0)
            continue;
        double inside, f_mean, off = p->centroid[i] - mean;
        inside_of(p, i, &inside, &f_mean);
        variance += p->mass[i] * (inside + off * off);
        f += p->mass[i] * f_mean;
    }
    ret->mean = mean;
    ret->variance = variance / p->total;
    ret->entropy = log(p->total) - f / p->total;
    ret->mode = p->y[mode_knot(p)];
}

static void summary(const void *density, struct ebm_scalar_summary *ret)
{
    const struct ebm_pieces *p = density;
    *ret = (struct ebm_scalar_summary){
        .log_z = p->log_z,
        .pieces = p->n - 1 + p->is_open[EBM_LEFT] + p->is_open[EBM_RIGHT],
        .lower = p->is_open[EBM_LEFT] ? -(double)INFINITY : p->y[0],
        .upper = p->is_open[EBM_RIGHT] ? (double)INFINITY : p->y[p->n - 1],
        .proper = p->is_proper && isfinite(p->total),
    };
    if (isfinite(p->total))
        moments(p, ret);
    else
        ret->mean = ret->variance = ret->entropy = ret->mode = (double)NAN;
}

/* ---- points ---- */

/* The piece that y lies in: 0 left of the first knot, n right of the last, else that between two knots. */
static uint32_t find(const struct ebm_pieces *p, double y)
{
    uint32_t low = 0, high = p->n; /* knots below low are < y, from high on >= y */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (p->y[middle] < y)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* f at y of piece i, which holds it. */
static double f_at(const struct ebm_pieces *p, uint32_t i, double y)
{
    if (i == 0)
        return p->f[0] + p->slope[EBM_LEFT] * (y - p->y[0]);
    if (i == p->n)
        return p->f[i - 1] + p->slope[EBM_RIGHT] * (y - p->y[i - 1]);
    double a = p->y[i - 1], b = p->y[i], share = (y - a) / (b - a);
    return p->f[i - 1] * (1.0 - share) + p->f[i] * share;
}

/* Left of the first knot, or right of the last, without a ray there. */
static bool is_outside(const struct ebm_pieces *p, double y)
{
    return (y < p->y[0] && !p->is_open[EBM_LEFT]) || (y > p->y[p->n - 1] && !p->is_open[EBM_RIGHT]);
}

static double log_density(const void *density, double y)
{
    const struct ebm_pieces *p = density;
    if (!isfinite(p->total) || isnan(y))
        return (double)NAN;
    if (is_outside(p, y) || isinf(y))
        return -(double)INFINITY;
    uint32_t i = find(p, y);
    if (i < p->n && y == p->y[i])
        return p->f[i] - p->log_z;
    return f_at(p, i, y) - p->log_z;
}

/* Mass of exp(f - peak) over a stretch of one line, from its f at both ends. */
static double stretch(const struct ebm_pieces *p, double f_a, double f_b, double length)
{
    double t = fabs(f_b - f_a);
    return exp(fmax(f_a, f_b) - p->peak) * length * piece_phi(t, exp(-t));
}

double ebm_pieces_left_part(const struct ebm_pieces *p, uint32_t i, double y)
{
    double f = f_at(p, i, y), part;
    if (i == 0)
        part = exp(f - p->peak) / p->slope[EBM_LEFT];
    else
        part = stretch(p, p->f[i - 1], f, y - p->y[i - 1]);
    return fmin(part, p->mass[i]);
}

double ebm_pieces_right_part(const struct ebm_pieces *p, uint32_t i, double y)
{
    double f = f_at(p, i, y), part;
    if (i == p->n)
        part = exp(f - p->peak) / -p->slope[EBM_RIGHT];
    else
        part = stretch(p, f, p->f[i], p->y[i] - y);
    return fmin(part, p->mass[i]);
}

/* The first piece at whose end at least `mass` is reached, from the left. It has mass itself. Searched without
 * branches: where random numbers lead nobody can guess. */
static uint32_t first_with(const struct ebm_pieces *p, double mass)
{
    uint32_t low = 0;
    for (uint32_t n = p->n; n > 0;) { /* it is one of low .. low + n */
        uint32_t half = (n + 1) / 2;
        low += half & -(uint32_t)(p->below[low + half] < mass);
        n -= half;
    }
    return low;
}

/* The same from the right. */
static uint32_t last_with(const struct ebm_pieces *p, double mass)
{
    uint32_t high = p->n;
    for (uint32_t n = p->n; n > 0;) {
        uint32_t half = (n + 1) / 2;
        high -= half & -(uint32_t)(p->above[high - half + 1] < mass);
        n -= half;
    }
    return high;
}

static double cdf(const void *density, double y)
{
    const struct ebm_pieces *p = density;
    if (!isfinite(p->total) || isnan(y))
        return (double)NAN;
    if (is_outside(p, y) || isinf(y))
        return y <= p->y[0] ? 0.0 : 1.0;
    uint32_t i = find(p, y), middle = first_with(p, 0.5 * p->total);
    if (i <= middle)
        return fmin(1.0,
                    (p->below[i] + (i == p->n || y < p->y[i] ? ebm_pieces_left_part(p, i, y) : p->mass[i])) / p->total);
    double above = p->above[i + 1] + (i == p->n || y < p->y[i] ? ebm_pieces_right_part(p, i, y) : 0.0);
    return fmax(p->below[middle + 1] / p->total, 1.0 - above / p->total);
}

/* Of piece i, whose f rises by d from the end that is seen first. Draws ask for the same few pieces again and again. */
static double growth(const struct ebm_pieces *p, uint32_t i, double d, bool from_left)
{
    double *growth = &p->growth[from_left ? EBM_LEFT : EBM_RIGHT][i];
    if (*growth == 0.0)
        *growth = expm1(d);
    return *growth;
}

/* The point of piece i with a share u of its mass on its left, or 1 - u on its right: both are given, for digits. */
static double point(const struct ebm_pieces *p, uint32_t i, double u, bool from_left)
{
    u = u < 1.0 ? u : 1.0;
    if (i == 0) /* exponential: what lies outward of the point is u from the left, 1 - u from the right */
        return p->y[0] + (from_left ? log(u) : log1p(-u)) / p->slope[EBM_LEFT];
    if (i == p->n)
        return p->y[i - 1] + (from_left ? log1p(-u) : log(u)) / p->slope[EBM_RIGHT];
    double a = p->y[i - 1], b = p->y[i], d = from_left ? p->f[i] - p->f[i - 1] : p->f[i - 1] - p->f[i];
    double off = (b - a) * piece_point(d, growth(p, i, d, from_left), u);
    if (from_left)
        return a + off < b ? a + off : b;
    return b - off > a ? b - off : a;
}

static double quantile(const void *density, double probability)
{
    const struct ebm_pieces *p = density;
    if (!isfinite(p->total))
        return (double)NAN;
    bool from_left = probability <= 0.5;
    double mass = (from_left ? probability : 1.0 - probability) * p->total;
    uint32_t i = from_left ? first_with(p, mass) : last_with(p, mass);
    double before = from_left ? p->below[i] : p->above[i + 1];
    return point(p, i, (mass - before) / p->mass[i], from_left);
}

const struct ebm_scalar_ops ebm_pieces_ops = {
    .summary = summary,
    .log_density = log_density,
    .cdf = cdf,
    .quantile = quantile,
    .region = ebm_pieces_region,
    .crps = ebm_pieces_crps,
    .resultant = ebm_pieces_resultant,
};
