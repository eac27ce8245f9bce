/* training.cu - a chunk of rows in training, there and back, as one graph.
 *
 *   x side, all rows   x -> features -> h; W_h h + bias of the first energy layer; the proposal's nets
 *                      of ml_exact a graph of its own, with exact_train.cu's lists of points behind it
 *   for pieces of the rows, which are as many as fit into EBM_GPU_PIECE bytes
 *     losses.cu        noise, candidates                         (of ml_exact: exact_train.cu, of ml_mcmc:
 *                      langevin_train.cu; the way of sm and dsm from here to the x side: score_train.cu)
 *     sample side      all candidates of the piece -> target net -> energy net -> f
 *     losses.cu        losses, df, gradient of the mixtures      (the same)
 *     backward         energy net, target net; sums over a row's candidates are what the x side gets
 *   x side backward    the proposal's nets, the first energy layer's x part, the feature net
 *
 * Layers are those of layers.cu, the parts of whose samples are the rows of a piece. A chunk's shape is run as it comes
 * the first time, recorded the second time. */
#include <stdint.h>
#include <string.h>

#include <new>

#include "core/cuda/training_internal.h"

#define SHAPES 48u         /* of chunks whose graphs are kept */
#define RECORDED_STEPS 64u /* of chains, most: chunks of more are launched as they come, every time */
#define STEP_POINTS 64u    /* candidates of a row in ml_exact are a multiple, so that there are few shapes */

/* ---- memory ---- */

namespace
{

bool keeps_z(const ebm_layer *l)
{
    return l->activation != EBM_ACT_IDENTITY && (l->activation != EBM_ACT_RELU || l->residual);
}

/* A buffer of `rows` rows of `width` numbers. */
bool make_rows(ebm_gpu_training *t, gpu_rows *ret, uint32_t width, size_t rows)
{
    ret->ld = gpu_ld_of(width);
    return gpu_device_floats(t->space, &t->memory, &ret->p, rows * ret->ld);
}

bool make_net(ebm_gpu_training *t, kept_net *to, const ebm_net *net, uint32_t skip, size_t rows)
{
    bool ok = true;
    for (uint32_t i = 0; ok && i < net->n_layers; i++) {
        const ebm_layer *l = &net->layers[i];
        kept_layer kept = {l, i == 0 ? l->in - skip : l->in, i == 0 ? skip : 0, {}, {}};
        ok = make_rows(t, &kept.a, l->out, rows);
        kept.z = kept.a;
        if (ok && keeps_z(l))
            ok = make_rows(t, &kept.z, l->out, rows);
        to->layers.push_back(kept);
    }
    return ok;
}

/* Numbers of the largest weights on the sample side. */
size_t heaviest_of(const ebm_net *net, size_t at_least)
{
    for (uint32_t i = 0; i < net->n_layers; i++) {
        size_t count = (size_t)net->layers[i].out * (net->layers[i].in + 1);
        at_least = count > at_least ? count : at_least;
    }
    return at_least;
}

/* Bytes of a candidate's activations. */
size_t bytes_of(const ebm_net *net)
{
    size_t n = 0;
    for (uint32_t i = 0; i < net->n_layers; i++)
        n += gpu_ld_of(net->layers[i].out) * (keeps_z(&net->layers[i]) ? 2u : 1u);
    return n * sizeof(float);
}

size_t at_least_one(size_t n)
{
    return n > 0 ? n : 1;
}

/* Orders of derivatives that are carried. */
uint32_t orders_of(uint32_t loss)
{
    return loss == EBM_LOSS_SM ? 2 : loss == EBM_LOSS_DSM ? 1 : 0;
}

/* Rows of a piece whose rows have n candidates: of the net, the loss and n alone, so that a chunk has the same sums
 * whatever chunks there were before it. */
uint32_t piece_of(const ebm_gpu_training *t, uint32_t loss, uint32_t n)
{
    size_t rows = at_least_one(t->most_candidates / (1 + orders_of(loss)) / n), parts = at_least_one(t->most_parts);
    rows = rows < parts ? rows : parts;
    return rows < t->max_rows ? (uint32_t)rows : t->max_rows;
}

/* Candidates of a piece are fewer, the more orders there are. */
bool make_carried(ebm_gpu_training *t, size_t candidates, uint32_t ld)
{
    const ebm_net_desc *net = t->net;
    const uint32_t family[] = {EBM_GPU_BY_SLOPES, EBM_GPU_BY_CURVES};
    bool ok = true;
    for (uint32_t k = 0; ok && k < 2 && (t->families & family[k]) != 0; k++) {
        carried_side *to = &t->carried[k];
        size_t most = t->most_candidates / (k + 2), n = most > t->max_candidates ? most : t->max_candidates;
        n = n < candidates ? n : candidates;
        ok = make_net(t, &to->target, &net->target, 0, n) &&
             make_net(t, &to->energy, &net->energy, net->has_energy ? net->H : 0, n) &&
             make_rows(t, &to->y, net->D, n) && gpu_device_floats(t->space, &t->memory, &to->da, n * ld) &&
             gpu_device_floats(t->space, &t->memory, &to->dz, n * ld);
    }
    return ok;
}

bool make_sample_side(ebm_gpu_training *t)
{
    const ebm_net_desc *net = t->net;
    uint32_t widest = gpu_widest(&net->energy, gpu_widest(&net->target, net->D)), x_widest = net->H;
    size_t heaviest = heaviest_of(&net->energy, heaviest_of(&net->target, 1));
    const ebm_net *nets[] = {&net->feature, &net->own, &net->mean, &net->log_variance, &net->weight};
    for (const ebm_net *one : nets)
        x_widest = gpu_widest(one, x_widest);
    x_widest = ebm_net_reach(net) > x_widest ? ebm_net_reach(net) : x_widest;
    size_t candidate = bytes_of(&net->target) + bytes_of(&net->energy) + 2 * gpu_ld_of(widest) * sizeof(float);
    t->most_candidates = EBM_GPU_PIECE / 4 * 3 / candidate;
    t->most_parts = EBM_GPU_PIECE / 4 / (heaviest * sizeof(float));
    size_t all = (size_t)t->max_rows * t->max_candidates, parts = at_least_one(t->most_parts);
    size_t candidates = t->most_candidates < all ? t->most_candidates : all;
    candidates = candidates > t->max_candidates ? candidates : t->max_candidates; /* a row at least */
    parts = parts < t->max_rows ? parts : t->max_rows;
    size_t wide = candidates * gpu_ld_of(widest);
    wide = (size_t)t->max_rows * gpu_ld_of(x_widest) > wide ? (size_t)t->max_rows * gpu_ld_of(x_widest) : wide;
    if (wide > UINT32_MAX) /* kernels count in words */
        return gpu_lack(t->space, EBM_TOO_LARGE, "training", "a layer has more than 2^32 numbers of one row");
    bool ok = make_net(t, &t->target, &net->target, 0, candidates) &&
              make_net(t, &t->energy, &net->energy, net->has_energy ? net->H : 0, candidates) &&
              make_rows(t, &t->y, net->D, candidates) && gpu_device_floats(t->space, &t->memory, &t->da.p, wide) &&
              gpu_device_floats(t->space, &t->memory, &t->dz.p, wide) &&
              gpu_device_floats(t->space, &t->memory, &t->parts, parts * heaviest) &&
              make_carried(t, candidates, gpu_ld_of(widest));
    for (float **buffer : {&t->log_q, &t->log_label, &t->df, &t->dlog_q})
        ok = ok && gpu_device_floats(t->space, &t->memory, buffer, candidates);
    return ok;
}

bool make_x_side(ebm_gpu_training *t)
{
    const ebm_net_desc *net = t->net;
    uint32_t E = net->has_energy ? net->energy.layers[0].out : 1, most_K = LIMIT_COMPONENTS;
    const ebm_net *heads[] = {&net->mean, &net->log_variance, &net->weight};
    size_t rows = t->max_rows;
    t->feature.is_exact = t->own.is_exact = true;
    bool ok = make_net(t, &t->feature, &net->feature, 0, rows) && make_net(t, &t->own, &net->own, 0, rows) &&
              make_rows(t, &t->hx, E, rows) && make_rows(t, &t->dhx, E, rows) && make_rows(t, &t->dh, net->H, rows) &&
              make_rows(t, &t->down, net->own_H, rows) &&
              gpu_device_floats(t->space, &t->memory, &t->gradient, gpu_slot_count(t->trained)) &&
              gpu_device_floats(t->space, &t->memory, &t->mixtures, rows * gpu_mixture_count(net->D, most_K));
    for (int i = 0; ok && i < 3 && net->K > 0; i++) {
        t->heads[i].is_exact = true;
        ok = make_net(t, &t->heads[i], heads[i], 0, rows) &&
             make_rows(t, &t->dheads[i], i < 2 ? net->D * net->K : net->K, rows);
    }
    return ok;
}

/* Both sides of one array of what goes up or comes down. */
struct array {
    float **host, **there;
    size_t count;
};

bool make_arrays(ebm_gpu_training *t)
{
    const size_t rows = t->max_rows, D = t->net->D, X = ebm_net_reach(t->net);
    const size_t n = (t->families & EBM_GPU_GIVEN) != 0 ? rows * t->max_candidates : 0;
    struct ebm_gpu_rows *h = &t->host, *d = &t->there;
    float *h_draws = NULL, *d_draws = NULL;
    const array arrays[] = {{&h->x, &d->x, rows * X},
                            {&h_draws, &d_draws, rows * sizeof(ebm_gpu_draw) / sizeof(float)},
                            {&h->y_0, &d->y_0, rows * D},
                            {&h->center, &d->center, rows * D},
                            {&h->noise, &d->noise, (2 * D + 2) * LIMIT_COMPONENTS},
                            {&h->label, &d->label, D + 1},
                            {&h->y, &d->y, n * D},
                            {&h->log_q, &d->log_q, n},
                            {&h->log_label, &d->log_label, n},
                            {&h->loss, &d->loss, rows},
                            {&h->beside, &d->beside, rows}};
    for (const array &a : arrays)
        if (!gpu_pinned_floats(t->space, &t->memory, a.host, a.count) ||
            !gpu_device_floats(t->space, &t->memory, a.there, a.count))
            return false;
    h->draws = reinterpret_cast<ebm_gpu_draw *>(h_draws);
    d->draws = reinterpret_cast<ebm_gpu_draw *>(d_draws);
    t->x = {d->x, (uint32_t)X};
    return gpu_device_floats(t->space, &t->memory, &t->dx, t->trained->h != NULL ? rows * X : 0);
}

/* ---- the x side ---- */

bool heads_forward(ebm_gpu_training *t, uint32_t B)
{
    const gpu_bias none = {NULL, 0, 1};
    t->reads = t->h;
    bool ok = t->net->own_H == 0 || gpu_net_run(t, &t->own, t->x, B, none, &t->reads);
    for (int i = 0; ok && i < 3; i++)
        ok = gpu_net_run(t, &t->heads[i], t->reads, B, none, &t->heads_out[i]);
    return ok;
}

bool x_forward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const gpu_bias none = {NULL, 0, 1};
    bool ok = gpu_net_run(t, &t->feature, t->x, c->B, none, &t->h);
    if (ok && t->net->has_energy) {
        const ebm_layer *l = &t->net->energy.layers[0];
        gpu_product p = {};
        p.a = {gpu_param(t, l->weight), t->net->H, l->out, l->in, true};
        p.b = {t->h.p, t->net->H, c->B, t->h.ld, false};
        p.d = t->hx.p;
        p.ld_d = t->hx.ld;
        p.is_exact = true;
        ok = gpu_multiply(t->space, &p);
        if (ok)
            gpu_bias_add(t, t->hx, {gpu_param(t, l->bias), 0, 1}, l->out, c->B);
    }
    return ok && (!c->reads_heads || heads_forward(t, c->B));
}

bool clear(ebm_gpu_training *t, float *p, size_t count)
{
    return count == 0 ||
           gpu_fine(t->space, cudaMemsetAsync(p, 0, count * sizeof(float), t->space->compute), "a gradient");
}

bool heads_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool has_own = t->net->own_H > 0;
    way_back way = {c->B, 1, c->by_proposal || has_own, NULL, NULL};
    gpu_rows to = has_own ? t->down : t->dh, da = {};
    for (int i = 0; i < 3; i++) {
        if (!gpu_net_back(t, &t->heads[i], t->reads, t->dheads[i], &way, &da))
            return false;
        if (way.wants_input)
            gpu_rows_add(t, to, da, has_own ? t->net->own_H : t->net->H, c->B);
    }
    way.wants_input = false;
    return !has_own || gpu_net_back(t, &t->own, t->x, t->down, &way, &da);
}

/* The first energy layer's part that reads h, from dhx. */
bool joint_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const kept_layer joint = {&t->net->energy.layers[0], t->net->H, 0, {}, {}};
    const way_back way = {c->B, 1, true, NULL,
                          t->energy.layers.size() == 1 && gpu_idle_bias(t, c->loss) != NULL ? &joint : NULL};
    gpu_rows da = {t->da.p, gpu_ld_of(t->net->H)};
    gpu_bias_back(t, &joint, &way, true, t->dhx);
    if (!gpu_weight_back(t, &joint, true, &way, t->h, t->dhx) || !gpu_input_back(t, &joint, true, c->B, t->dhx, da))
        return false;
    gpu_rows_add(t, t->dh, da, t->net->H, c->B);
    return true;
}

bool trains_energy(const ebm_gpu_chunk *c)
{
    return c->loss != EBM_LOSS_MDN_NLL && c->loss != EBM_LOSS_KL_PROPOSAL;
}

bool x_backward(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const way_back way = {c->B, 1, c->wants_dx != 0, NULL, NULL};
    const uint32_t X = ebm_net_reach(t->net);
    const gpu_rows dx = {t->dx, X};
    gpu_rows da = {};
    bool reaches = trains_energy(c) || (c->by_proposal && t->net->own_H == 0);
    bool ok = (!trains_energy(c) || joint_backward(t, c)) && (!c->reads_heads || heads_backward(t, c)) &&
              (!reaches || gpu_net_back(t, &t->feature, t->x, t->dh, &way, &da)) &&
              (!c->wants_dx || clear(t, dx.p, (size_t)c->B * X));
    if (ok && reaches && c->wants_dx)
        gpu_rows_add(t, dx, da, X, c->B);
    return ok;
}

/* ---- the sample side ---- */

bool sample_backward(ebm_gpu_training *t, const gpu_pass *pass, uint32_t first, gpu_rows g)
{
    gpu_rows row = {t->dhx.p + (size_t)first * t->dhx.ld, t->dhx.ld}, da = {t->df, 1};
    way_back way = {(size_t)pass->rows * pass->n, pass->rows, true, &row, gpu_idle_bias(t, pass->loss)};
    if (!gpu_net_back(t, &t->energy, g, da, &way, &da))
        return false;
    way.row = NULL;
    way.no = NULL;
    way.wants_input = false;
    return gpu_net_back(t, &t->target, t->y, da, &way, &da);
}

bool has_no_noise(uint32_t loss)
{
    return loss == EBM_LOSS_ML_EXACT || loss == EBM_LOSS_SM || loss == EBM_LOSS_ML_MCMC;
}

gpu_pass pass_of(const ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t loss, uint32_t first)
{
    const struct ebm_gpu_rows *there = &t->there;
    const uint32_t D = t->net->D, is_beside = loss != c->loss,
                   K = is_beside || (!has_no_noise(loss) && c->noise_K == 0) ? t->net->K : c->noise_K;
    const uint32_t n = is_beside ? c->beside : c->n;
    const size_t at = (size_t)first * n;
    bool has_label = loss == EBM_LOSS_KLD_IS;
    gpu_pass p = {};
    const uint32_t piece = piece_of(t, loss, n);
    p.loss = loss, p.rows = c->B - first < piece ? c->B - first : piece;
    p.D = D, p.K = K, p.M = is_beside ? c->beside_M : c->M, p.n = n, p.scale = c->scale;
    p.first_sample = is_beside ? c->beside : 0;
    p.draws = there->draws + first;
    p.mixtures = t->mixtures + first * gpu_mixture_count(D, K);
    p.y_0 = there->y_0 + (size_t)first * D;
    p.center = there->center + (size_t)first * D;
    p.label = has_label ? there->label : NULL;
    p.given_y = c->is_given ? there->y + at * D : NULL;
    p.given_log_q = c->has_density ? there->log_q + at : NULL;
    p.given_log_label = c->has_density && has_label ? there->log_label + at : NULL;
    p.y = t->y, p.log_q = t->log_q, p.log_label = t->log_label, p.df = t->df, p.dlog_q = t->dlog_q;
    p.value = (is_beside ? there->beside : there->loss) + first;
    return p;
}

void bind(ebm_gpu_training *t, const ebm_gpu_chunk *c, bool is_fixed)
{
    const uint32_t D = t->net->D;
    if (is_fixed)
        gpu_bind_noise(t->space->compute, t->mixtures, t->there.noise, t->there.center, D, c->noise_K, c->B);
    else
        gpu_bind_proposal(t->space->compute, t->mixtures, t->heads_out[0], t->heads_out[1], t->heads_out[2], D,
                          t->net->K, c->B);
}

/* Chains begin at the true target. */
bool place_chains(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, uint32_t steps)
{
    gpu_pass start = *pass;
    start.M = steps > 0 ? 0 : pass->M;
    gpu_candidates(t->space->compute, &start);
    return gpu_chains_walk(t, pass, first, steps);
}

/* Candidates, value and df of a pass, and f where df is taken of it. */
bool judge(ebm_gpu_training *t, const ebm_gpu_chunk *c, gpu_pass *pass, uint32_t first, gpu_rows *ret_g)
{
    cudaStream_t stream = t->space->compute;
    bool ok = true;
    if (pass->loss == EBM_LOSS_ML_EXACT)
        gpu_points_place(t, pass, first);
    else if (pass->loss == EBM_LOSS_ML_MCMC)
        ok = place_chains(t, pass, first, c->steps);
    else
        gpu_candidates(stream, pass);
    if (pass->loss != EBM_LOSS_MDN_NLL)
        ok = ok && gpu_sample_run(t, pass, first, ret_g);
    if (pass->loss == EBM_LOSS_ML_EXACT)
        gpu_points_judge(t, pass, first);
    else if (pass->loss == EBM_LOSS_ML_MCMC)
        gpu_chains_judge(t, pass);
    else
        gpu_losses(stream, pass);
    return ok;
}

bool run_pass(ebm_gpu_training *t, const ebm_gpu_chunk *c, gpu_pass *pass, uint32_t first, bool by_proposal)
{
    gpu_rows g = {}, heads[3];
    if (pass->loss == EBM_LOSS_SM || pass->loss == EBM_LOSS_DSM) {
        gpu_candidates(t->space->compute, pass);
        return gpu_score_run(t, pass, first);
    }
    bool ok = judge(t, c, pass, first, &g);
    for (int i = 0; i < 3; i++)
        heads[i] = {t->dheads[i].p + (size_t)first * t->dheads[i].ld, t->dheads[i].ld};
    if (by_proposal)
        gpu_mixture_gradient(t->space->compute, pass, heads[0], heads[1], heads[2]);
    bool back = pass->loss != EBM_LOSS_MDN_NLL && pass->loss != EBM_LOSS_KL_PROPOSAL;
    return ok && (!back || sample_backward(t, pass, first, g));
}

/* One loss of all rows, but for the x side. */
bool run_loss(ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t loss)
{
    bool is_fixed = loss == c->loss && c->noise_K > 0, has_noise = !has_no_noise(loss), ok = true;
    if (has_noise)
        bind(t, c, is_fixed);
    for (uint32_t first = 0, rows; ok && first < c->B; first += rows) {
        gpu_pass pass = pass_of(t, c, loss, first);
        rows = pass.rows;
        ok = run_pass(t, c, &pass, first, has_noise && !is_fixed);
    }
    return ok;
}

/* Of ml_exact, before its candidates are counted. */
bool is_first_part(const ebm_gpu_chunk *c)
{
    return c->loss == EBM_LOSS_ML_EXACT && c->n == 0;
}

bool enqueue_lists(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    bool ok = x_forward(t, c);
    gpu_points_list(t, c->B);
    return ok && gpu_fine(t->space, cudaGetLastError(), "training");
}

bool enqueue(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    if (is_first_part(c))
        return enqueue_lists(t, c);
    bool ok = clear(t, t->gradient, gpu_slot_count(t->trained)) && clear(t, t->dh.p, (size_t)c->B * t->dh.ld) &&
              clear(t, t->down.p, (size_t)c->B * t->down.ld) && (c->loss == EBM_LOSS_ML_EXACT || x_forward(t, c)) &&
              run_loss(t, c, c->loss) && (c->beside == 0 || run_loss(t, c, EBM_LOSS_KL_PROPOSAL)) && x_backward(t, c);
    return ok && gpu_fine(t->space, cudaGetLastError(), "training");
}

/* ---- a chunk ---- */

/* As it comes, or by its graph. Steps of chains lie one behind the other in it. */
bool launch(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t most = c->steps <= RECORDED_STEPS ? SHAPES : 0;
    return gpu_run_shape(t->space, &t->graphs, most, *c, "training", [&] { return enqueue(t, c); });
}

bool up(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyHostToDevice);
}

/* What a trunk made of a batch is there already. */
bool put_x(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t bytes = (size_t)c->B * t->x.ld * sizeof(float);
    if (!t->host.is_of_batch)
        return up(t, t->there.x, t->host.x, bytes);
    return gpu_copy(t->space, t->space->compute, t->there.x, t->trained->h + (size_t)t->host.first * t->x.ld, bytes,
                    cudaMemcpyDeviceToDevice);
}

/* Where the trunk looks for it; the host waits for the chunk before it goes on with the trunk. */
bool leave_dx(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t bytes = (size_t)c->B * t->x.ld * sizeof(float);
    return !c->wants_dx || gpu_copy(t->space, t->space->compute, t->trained->dh + (size_t)t->host.first * t->x.ld,
                                    t->dx, bytes, cudaMemcpyDeviceToDevice);
}

bool upload(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const struct ebm_gpu_rows *h = &t->host, *d = &t->there;
    const size_t one = sizeof(float), B = c->B, D = t->net->D, n = B * c->n;
    bool has_label = c->loss == EBM_LOSS_KLD_IS || c->steps > 0;
    return put_x(t, c) && up(t, d->draws, h->draws, B * sizeof *h->draws) && up(t, d->y_0, h->y_0, B * D * one) &&
           up(t, d->center, h->center, B * D * one) && up(t, d->noise, h->noise, (2 * D + 2) * c->noise_K * one) &&
           up(t, d->label, h->label, has_label ? (D + 1) * one : 0) &&
           up(t, d->y, h->y, c->is_given ? n * D * one : 0) &&
           up(t, d->log_q, h->log_q, c->has_density ? n * one : 0) &&
           up(t, d->log_label, h->log_label, c->has_density && has_label ? n * one : 0);
}

bool down(ebm_gpu_training *t, void *to, const void *from, size_t bytes)
{
    return gpu_copy(t->space, t->space->compute, to, from, bytes, cudaMemcpyDeviceToHost);
}

bool download(ebm_gpu_training *t, const ebm_gpu_chunk *c)
{
    const size_t rows = c->B * sizeof(float);
    return down(t, t->host.loss, t->there.loss, rows) &&
           down(t, t->host.beside, t->there.beside, c->beside > 0 ? rows : 0) && gpu_sleep(t->space, "training");
}

} // namespace

bool gpu_sample_run(ebm_gpu_training *t, gpu_pass *pass, uint32_t first, gpu_rows *ret_g)
{
    const gpu_bias none = {NULL, 0, 1}, row = {t->hx.p + (size_t)first * t->hx.ld, t->hx.ld, pass->n};
    size_t n = (size_t)pass->rows * pass->n;
    gpu_rows f;
    bool ok = gpu_net_run(t, &t->target, t->y, n, none, ret_g) && gpu_net_run(t, &t->energy, *ret_g, n, row, &f);
    pass->f = f.p;
    return ok;
}

const kept_layer *gpu_idle_bias(const ebm_gpu_training *t, uint32_t loss)
{
    const kept_layer *last = &t->energy.layers.back();
    return last->layer->activation == EBM_ACT_IDENTITY && loss != EBM_LOSS_KLD_IS ? last : NULL;
}

enum ebm_status ebm_gpu_training_new(struct ebm_gpu_space *space, struct ebm_gpu_trained *trained, uint32_t max_rows,
                                     uint32_t max_candidates, uint32_t families, struct ebm_gpu_training **ret_training,
                                     struct ebm_error *reterr)
{
    if (space->failed)
        return ebm_error_set(reterr, EBM_DEVICE, "cuda", "%s", space->failure);
    ebm_gpu_training *t = new (std::nothrow) ebm_gpu_training();
    if (t == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "cuda", "no memory to train");
    t->space = space;
    t->trained = trained;
    t->net = trained->net;
    t->max_rows = max_rows;
    t->families = families;
    bool by_points = (families & EBM_GPU_BY_POINTS) != 0;
    t->max_candidates = by_points && max_candidates < EBM_GPU_POINTS ? EBM_GPU_POINTS : max_candidates;
    bool ok;
    try {
        ok = gpu_enter(space) && make_sample_side(t) && make_x_side(t) && make_arrays(t) &&
             (!by_points || gpu_points_make(t));
    } catch (const std::bad_alloc &) {
        ok = gpu_fine(space, cudaErrorMemoryAllocation, "training");
    }
    if (!ok) {
        enum ebm_status status = gpu_end_making(space, reterr);
        if (status == EBM_NO_MEMORY)
            status = ebm_error_set(reterr, status, "training",
                                   "the device has no memory for chunks of %u rows of %u candidates: %zu MiB were not "
                                   "enough, and every thread takes as much",
                                   t->max_rows, t->max_candidates, t->memory.bytes >> 20);
        (void)ebm_gpu_training_free(t);
        return status;
    }
    *ret_training = t;
    return EBM_OK;
}

struct ebm_gpu_training *ebm_gpu_training_free(struct ebm_gpu_training *t)
{
    if (t == NULL)
        return NULL;
    (void)gpu_enter(t->space);
    (void)cudaStreamSynchronize(t->space->compute);
    gpu_shapes_free(t->graphs);
    gpu_memory_free(&t->memory);
    delete t;
    return NULL;
}

struct ebm_gpu_rows *ebm_gpu_training_rows(struct ebm_gpu_training *t)
{
    return &t->host;
}

bool ebm_gpu_training_run(struct ebm_gpu_training *t, const struct ebm_gpu_chunk *c, uint32_t slot)
{
    if (t->space->failed || !gpu_enter(t->space))
        return false;
    try {
        bool is_there = c->loss == EBM_LOSS_ML_EXACT; /* since its points were found */
        return gpu_trained_wait(t->trained, t->space) && (is_there || upload(t, c)) && launch(t, c) && leave_dx(t, c) &&
               gpu_trained_add(t->trained, t->space, slot, t->gradient) && download(t, c);
    } catch (const std::bad_alloc &) {
        return gpu_fine(t->space, cudaErrorMemoryAllocation, "training");
    }
}

/* The longest list of the chunk's rows. False: it failed. */
static bool find_points(ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t *ret_most)
{
    bool ok = gpu_trained_wait(t->trained, t->space) && upload(t, c) && launch(t, c) &&
              down(t, t->point_counts, t->points.count, c->B * sizeof *t->point_counts) &&
              gpu_sleep(t->space, "points");
    *ret_most = 0;
    for (uint32_t b = 0; ok && b < c->B; b++)
        *ret_most = t->point_counts[b] > *ret_most ? t->point_counts[b] : *ret_most;
    return ok;
}

enum ebm_status ebm_gpu_training_points(struct ebm_gpu_training *t, struct ebm_gpu_chunk *c)
{
    uint32_t most;
    c->M = c->n = 0;
    if (t->space->failed || !gpu_enter(t->space))
        return EBM_DEVICE;
    try {
        if (!find_points(t, c, &most))
            return EBM_DEVICE;
    } catch (const std::bad_alloc &) {
        (void)gpu_fine(t->space, cudaErrorMemoryAllocation, "training");
        return EBM_DEVICE;
    }
    if (most >= EBM_GPU_POINTS)
        return EBM_TOO_LARGE;
    c->n = gpu_round_up(most + 1, STEP_POINTS);
    c->n = c->n > EBM_GPU_POINTS ? EBM_GPU_POINTS : c->n;
    c->M = c->n - 1;
    return EBM_OK;
}

bool ebm_gpu_training_add(struct ebm_gpu_training *t, const float *h_gradient, uint32_t slot)
{
    return !t->space->failed && gpu_enter(t->space) && gpu_trained_wait(t->trained, t->space) &&
           up(t, t->gradient, h_gradient, gpu_slot_count(t->trained) * sizeof(float)) &&
           gpu_trained_add(t->trained, t->space, slot, t->gradient) && gpu_sleep(t->space, "a gradient");
}
