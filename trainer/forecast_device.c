/* forecast_device.c - the memory of adam.cu, trunk_train.cu, training_memory.cu and exact_train.cu (core/cuda),
 * foreseen; a test on the simulator holds the two beside each other. */
#include "trainer/forecast_device.h"

#include "core/cuda/exact.h"
#include "core/cuda/sizes.h"
#include "core/exact.h"
#include "core/loss.h"
#include "core/support.h"
#include "core/trunk_layout.h"
#include "trainer/step.h"

#define SUM_PARTS 256u          /* of a norm's sums */
#define KINKS_BYTES (64u << 20) /* most of ml_exact's kinks, of all rows that run at once */
#define KINKS_ROWS 64u          /* of those */
#define KINKS_OF_ROW 120u       /* bytes a knot, and 16 more for each unit of width behind the first hidden layer */
#define KINKS_OF_UNIT 16u
#define DRAW_WORDS 4u /* a row's seed and numbers */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Numbers from one row to the next: rows are aligned. */
static uint64_t apart(uint64_t width)
{
    return width == 1 ? 1 : ebm_round_up(width, 4);
}

/* ---- nets ---- */

/* Numbers of a sample that a way back keeps. */
static uint64_t kept(const struct ebm_net *net)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < net->n_layers; i++) {
        const struct ebm_layer *l = &net->layers[i];
        bool both = l->activation != EBM_ACT_IDENTITY && (l->activation != EBM_ACT_RELU || l->residual);
        count += apart(l->out) * (both ? 2 : 1);
    }
    return count;
}

static uint64_t widest(const struct ebm_net *net, uint64_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        at_least = larger(net->layers[i].out, at_least);
    return at_least;
}

/* Numbers of the layer with the most weights. */
static uint64_t heaviest(const struct ebm_net *net, uint64_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++)
        at_least = larger((uint64_t)net->layers[i].out * (net->layers[i].in + 1), at_least);
    return at_least;
}

/* ---- chunks ---- */

/* The largest that a method has; rows 0: the CPU computes them all. */
struct chunk {
    uint64_t rows, candidates; /* candidates: of a row */
    uint32_t orders;           /* of derivatives in y */
    bool by_points, is_given;  /* of ml_exact; candidates are drawn on the host */
};

/* Of a table of kinks that the device takes. */
static bool exact_is_there(const struct ebm_net_desc *net)
{
    return ebm_exact_applies(net) && ebm_gpu_exact_takes(net->energy.n_layers, net->energy.layers[0].residual);
}

static void add_phase(struct chunk *chunk, const struct ebm_net_desc *net, const struct ebm_loss_spec *loss,
                      uint32_t batch_size)
{
    bool is_confined = ebm_support_is_confined(net->support, net->D);
    enum ebm_noise noise = ebm_loss_noise(loss->loss);
    uint64_t M = ebm_loss_draws(loss->loss) ? loss->samples : 0, n = ebm_round_up(M + 1, 16);
    if (is_confined && (noise == EBM_NOISE_PROPOSAL || loss->proposal_beside || loss->loss == EBM_LOSS_ML_MCMC))
        return;
    if (loss->loss == EBM_LOSS_ML_EXACT && !exact_is_there(net))
        return;
    n = loss->loss == EBM_LOSS_SM ? net->D : loss->loss == EBM_LOSS_ML_EXACT ? larger(n, EBM_GPU_POINTS) : n;
    chunk->rows = larger(chunk->rows, step_chunk_rows(loss, batch_size));
    chunk->candidates = larger(chunk->candidates, n);
    if (loss->proposal_beside)
        chunk->candidates = larger(chunk->candidates, ebm_round_up(loss->samples + 1ull, 16));
    uint32_t orders = loss->loss == EBM_LOSS_SM ? 2 : loss->loss == EBM_LOSS_DSM ? 1 : 0;
    chunk->orders = orders > chunk->orders ? orders : chunk->orders;
    chunk->by_points = chunk->by_points || loss->loss == EBM_LOSS_ML_EXACT;
    chunk->is_given = chunk->is_given || (is_confined && noise == EBM_NOISE_FIXED);
}

static uint64_t sample_side(const struct ebm_net_desc *net, const struct chunk *c)
{
    uint64_t wide = apart(widest(&net->energy, widest(&net->target, net->D)));
    uint64_t each = kept(&net->target) + kept(&net->energy) + 2 * wide;
    uint64_t weights = heaviest(&net->energy, heaviest(&net->target, 1)), x_widest = larger(net->H, ebm_net_reach(net));
    const struct ebm_net *nets[] = {&net->feature, &net->own, &net->mean, &net->log_variance, &net->weight};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        x_widest = widest(nets[i], x_widest);
    uint64_t fit = EBM_GPU_PIECE / 4 * 3 / (each * sizeof(float));
    uint64_t parts = larger(EBM_GPU_PIECE / 4 / (weights * sizeof(float)), 1);
    uint64_t candidates = larger(smaller(fit, c->rows * c->candidates), c->candidates);
    uint64_t count = candidates * (each + apart(net->D) + 4) + smaller(parts, c->rows) * weights;
    if (c->rows * apart(x_widest) > candidates * wide)
        count += 2 * (c->rows * apart(x_widest) - candidates * wide);
    for (uint32_t k = 0; k < c->orders; k++)
        count += smaller(larger(fit / (k + 2), c->candidates), candidates) * (each + apart(net->D));
    return count;
}

static uint64_t x_side(const struct ebm_net_desc *net, uint64_t rows)
{
    uint64_t first = net->has_energy ? net->energy.layers[0].out : 1, DK = (uint64_t)net->D * net->K;
    uint64_t each = kept(&net->feature) + kept(&net->own) + 2 * apart(first) + apart(net->H) + apart(net->own_H) +
                    (3 * (uint64_t)net->D + 3) * LIMIT_COMPONENTS;
    if (net->K > 0)
        each += kept(&net->mean) + kept(&net->log_variance) + kept(&net->weight) + 2 * apart(DK) + apart(net->K);
    return rows * each + net->n_params - net->trunk.learned.count;
}

/* What goes up and comes down: as much of the host. */
static uint64_t arrays(const struct ebm_net_desc *net, const struct chunk *c)
{
    uint64_t D = net->D, given = c->is_given ? c->rows * c->candidates * (D + 2) : 0;
    return c->rows * (ebm_net_reach(net) + DRAW_WORDS + 2 * D + 2) + (2 * D + 2) * LIMIT_COMPONENTS + D + 1 + given;
}

/* Of ml_exact, with its lists of points. */
static uint64_t points_bytes(const struct ebm_net_desc *net, uint64_t rows)
{
    uint64_t deep = net->energy.n_layers > 2 ? KINKS_OF_UNIT * ebm_round_up(widest(&net->energy, 1), 16) : 0;
    uint64_t scratch = smaller(rows, KINKS_ROWS) * EBM_GPU_EXACT_KNOTS * (KINKS_OF_ROW + deep);
    return smaller(scratch, KINKS_BYTES) + rows * (2 * EBM_GPU_POINTS + 3) * sizeof(float);
}

/* The table of kinks, once. */
static uint64_t kinks_bytes(const struct ebm_net_desc *net)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < net->energy.n_layers; i++) {
        const struct ebm_layer *l = &net->energy.layers[i];
        count += ebm_round_up(l->out, 16) * (i > 0 ? l->in + 1ull : EBM_GPU_EXACT_KNOTS);
    }
    return sizeof(float) * count + EBM_GPU_EXACT_KNOTS * sizeof(double);
}

/* ---- trunks ---- */

/* Windows of a convolution's piece on the way back, and the parts of its weights' gradient. */
static void convolution(const struct ebm_image_op *op, uint64_t rows, uint64_t *windows, uint64_t *parts)
{
    uint64_t ld = ebm_round_up((uint64_t)op->from.channels * op->kernel * op->kernel, 4), C = op->to.channels;
    uint64_t plane = (uint64_t)op->to.height * op->to.width, tile = EBM_GPU_WEIGHT_TILE;
    uint64_t tiles = ((C + tile - 1) / tile) * ((ld + tile - 1) / tile);
    uint64_t wanted = (EBM_GPU_WEIGHT_TILES + tiles - 1) / tiles;
    bool is_pointwise = op->kernel == 1 && op->stride == 1 && op->padding == 0;
    uint64_t back = larger(EBM_GPU_WINDOWS_BACK / (plane * ld * sizeof(float)), 1);
    uint64_t places = (is_pointwise ? rows : smaller(back, rows)) * plane, part = (places + wanted - 1) / wanted;
    uint64_t forward = smaller(EBM_GPU_WINDOWS / (ld * sizeof(float)), rows * plane);
    *windows = is_pointwise ? 0 : larger(places, forward) * ld;
    *parts = (places + part - 1) / part * C * ld;
}

static uint64_t trunk_bytes(const struct ebm_trunk *trunk, uint64_t rows)
{
    uint64_t values = 2 * (ebm_shape_count(&trunk->in) + trunk->out) + ebm_trunk_gradient_numbers(trunk), others = 0,
             windows = 0, parts = 0, channels = 0;
    for (uint32_t i = 0; i < trunk->n_ops; i++) {
        const struct ebm_image_op *op = &trunk->ops[i];
        uint64_t C = op->to.channels, w = 0, p = 0;
        bool is_conv = op->kind == EBM_IMAGE_CONV;
        values += ebm_shape_count(&op->to) * (is_conv && op->has_norm ? 2 : 1);
        if (is_conv) {
            others += C * ebm_round_up((uint64_t)op->from.channels * op->kernel * op->kernel, 4);
            convolution(op, rows, &w, &p);
        }
        others += op->has_norm ? 6 * C : 0;
        windows = larger(windows, w), parts = larger(parts, p), channels = larger(channels, C);
    }
    return trunk->n_ops > 0
               ? sizeof(float) * (values * rows + others + windows + parts + (3 + 4 * SUM_PARTS) * channels)
               : 0;
}

/* ---- all ---- */

bool forecast_trains_there(const struct ebm_net_desc *net)
{
    return !net->has_energy || !net->energy.layers[0].residual;
}

struct forecast_device forecast_device(const struct ebm_net_desc *net, const struct method_plan *method,
                                       uint32_t batch_size, uint32_t n_threads)
{
    struct chunk chunk = {0};
    uint64_t P = net->n_params, learned = net->trunk.learned.count, each = GPU_WORKSPACE, pinned = 0;
    for (uint32_t i = 0; forecast_trains_there(net) && i < method->n_phases; i++)
        add_phase(&chunk, net, &method->phases[i].loss, batch_size);
    if (!forecast_trains_there(net))
        return (struct forecast_device){.threads = n_threads * each};
    if (chunk.rows > 0) {
        pinned = sizeof(float) * arrays(net, &chunk);
        uint64_t dx = net->trunk.n_ops > 0 ? chunk.rows * net->trunk.out : 0;
        each += pinned + sizeof(float) * (sample_side(net, &chunk) + x_side(net, chunk.rows) + dx);
        each += chunk.by_points ? points_bytes(net, chunk.rows) : 0;
    }
    return (struct forecast_device){
        .parameters = GPU_WORKSPACE + sizeof(float) * (4 * P + STEP_CHUNKS * (P - learned)) +
                      (chunk.by_points ? kinks_bytes(net) : 0),
        .trunk = trunk_bytes(&net->trunk, batch_size),
        .threads = n_threads * each,
        .pinned = n_threads * pinned,
    };
}
