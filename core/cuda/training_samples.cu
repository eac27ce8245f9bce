/* training_samples.cu - the sample side of a chunk in training: losses one after the other, of each the pieces of rows,
 * of a piece its candidates there and back. */
#include "core/cuda/training_internal.h"

namespace
{

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
    const uint32_t piece = gpu_piece_of(t, loss, n);
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

bool gpu_loss_run(ebm_gpu_training *t, const ebm_gpu_chunk *c, uint32_t loss)
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
