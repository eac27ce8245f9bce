/* x_side.cu - x -> feature net -> h -> W_h h + bias of the first energy layer, the proposal's nets: rows of a batch all
 * at once, one graph for each power of two of rows, float whatever the precision. */
#include <string.h>

#include "core/cuda/profile_internal.h"
#include "core/cuda/program_internal.h"

#define X_ROWS 64u /* for which products are chosen */

bool gpu_x_enqueue(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, uint32_t rows)
{
    struct gpu_x_buffers *x = &own->x;
    gpu_rows reach = {x->x, net->X}, h = reach, reads, done;
    const uint32_t most = X_ROWS;
    float *const outs[] = {x->mean, x->log_variance, x->logits};
    bool ok = true;
    if (net->n_feature > 0)
        ok = gpu_run_layers(space, net->feature(), net->n_feature, reach, rows, most, true, x->a, x->b, x->h, &h);
    if (ok && net->n_energy > 0)
        ok = gpu_run_layers(space, net->of_h(), 1, h, rows, most, true, x->a, x->b, x->hx, &done);
    reads = h;
    if (ok && net->own_H > 0)
        ok = gpu_run_layers(space, net->own(), net->n_own, reach, rows, most, true, x->a, x->b, x->own, &reads);
    for (uint32_t i = 0; i < 3 && ok && net->K > 0; i++)
        ok = gpu_run_layers(space, net->head(i), net->n_head[i], reads, rows, most, true, x->a, x->b, outs[i], &done);
    return ok && gpu_fine(space, cudaGetLastError(), "the x side");
}

/* ---- memory ---- */

namespace
{

size_t x_out_floats(const ebm_gpu_net *net)
{
    return net->H + net->energy_out + (2 * (size_t)net->D + 1) * net->K;
}

} // namespace

bool gpu_x_make(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own)
{
    size_t rows = own->x_rows, DK = (size_t)net->D * net->K, widest = gpu_round_up(net->x_widest, 4);
    struct gpu_x_buffers *x = &own->x;
    const struct {
        float **to;
        size_t count;
    } wants[] = {{&x->x, net->X},           {&x->h, net->H}, {&x->own, net->own_H},
                 {&x->hx, net->energy_out}, {&x->mean, DK},  {&x->log_variance, DK},
                 {&x->logits, net->K},      {&x->a, widest}, {&x->b, widest}};
    bool ok = true;
    for (const auto &want : wants)
        ok = ok && gpu_device_floats(space, &own->memory, want.to, rows * want.count);
    return ok && gpu_pinned_floats(space, &own->memory, &x->host_x, net->trunk == NULL ? rows * net->X : 0) &&
           gpu_pinned_floats(space, &own->memory, &x->host_out, rows * x_out_floats(net));
}

/* ---- running ---- */

namespace
{

/* Rows of one array: out of the device into pinned memory, and from there, after a wait, to where they are wanted. */
struct way_out {
    const float *from;
    float *to;
    size_t n;
};

/* Into x: rows as they are, or what the trunk makes of images. */
bool put_rows(ebm_gpu_space *space, const ebm_gpu_net *net, gpu_program *own, const float *h_x, uint32_t B)
{
    struct gpu_x_buffers *x = &own->x;
    const size_t bytes = (size_t)B * net->X * sizeof(float);
    if (net->trunk != NULL)
        return gpu_images_enqueue(own->images, h_x, B, x->x);
    memcpy(x->host_x, h_x, bytes);
    return gpu_copy(space, space->compute, x->x, x->host_x, bytes, cudaMemcpyHostToDevice);
}

} // namespace

bool ebm_gpu_features(struct ebm_gpu_space *space, const struct ebm_gpu_net *net, const float *h_x, uint32_t B,
                      const struct ebm_gpu_x_side *out)
{
    gpu_program *own = gpu_program_of(space, net);
    size_t DK = (size_t)net->D * net->K;
    if (space->failed || own == NULL || B > own->x_rows)
        return gpu_fail(space, "the x side", "the context is not prepared for it");
    struct gpu_x_buffers *x = &own->x;
    const way_out ways[] = {{net->n_feature > 0 ? x->h : x->x, out->h, net->H},
                            {x->hx, out->hx, net->energy_out},
                            {x->mean, out->mean, DK},
                            {x->log_variance, out->log_variance, DK},
                            {x->logits, out->logits, net->K}};
    bool ok = gpu_enter(space) && put_rows(space, net, own, h_x, B) &&
              gpu_launch_graph(space, x->graphs[gpu_power_of(B)], "the x side",
                               [&] { return gpu_x_enqueue(space, net, own, gpu_next_power(B)); });
    float *pinned = x->host_out;
    for (const way_out &way : ways) {
        ok = ok && gpu_copy(space, space->compute, pinned, way.from, B * way.n * sizeof(float), cudaMemcpyDeviceToHost);
        pinned += B * way.n;
    }
    ok = ok && gpu_fine(space, cudaStreamSynchronize(space->compute), "the x side");
    pinned = x->host_out;
    for (const way_out &way : ways) {
        if (ok && way.n > 0)
            memcpy(way.to, pinned, B * way.n * sizeof(float));
        pinned += B * way.n;
    }
    return ok;
}
