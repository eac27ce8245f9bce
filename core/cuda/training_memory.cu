/* training_memory.cu - what a thread has on the device to train chunks of rows: layers of both sides, what goes up and
 * comes down, and how many rows make a piece of the sample side. */
#include <stdint.h>

#include <new>

#include "core/cuda/training_internal.h"

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

} // namespace

uint32_t gpu_piece_of(const ebm_gpu_training *t, uint32_t loss, uint32_t n)
{
    size_t rows = at_least_one(t->most_candidates / (1 + orders_of(loss)) / n), parts = at_least_one(t->most_parts);
    rows = rows < parts ? rows : parts;
    return rows < t->max_rows ? (uint32_t)rows : t->max_rows;
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
    gpu_work_free(t->space, t->graphs, &t->memory);
    delete t;
    return NULL;
}

struct ebm_gpu_rows *ebm_gpu_training_rows(struct ebm_gpu_training *t)
{
    return &t->host;
}
