/* trunk.h - what the operations of an image trunk make of images, ready to serve. Private to core.
 *
 * Norms are folded into the convolutions before them, and so are relu and what a block adds. Images go through some at
 * once, which is for speed alone: by our own convolutions and the plain ones an image's features do not depend on its
 * neighbours, nor on how many of a plan's tile there are. */
#ifndef EBM_CORE_TRUNK_H
#define EBM_CORE_TRUNK_H

#include "core/conv.h"
#include "core/kernels.h"
#include "core/trunk_layout.h"

#define EBM_TRUNK_TILE 16u /* images at once: docs/PERFORMANCE.md */

struct ebm_trunk_plan;

/* Copies the description; `params` (of the whole network) as ebm_trunk_plan_load. tile: images at once, at most. New:
 * free. */
enum ebm_status ebm_trunk_plan_new(const struct ebm_trunk *trunk, const float *params,
                                   const struct ebm_conv_backend *backend, uint32_t tile,
                                   struct ebm_trunk_plan **ret_plan, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_trunk_plan *ebm_trunk_plan_free(struct ebm_trunk_plan *plan); /* NULL is fine; returns NULL */

/* Other parameters; nobody runs the plan meanwhile. */
enum ebm_status ebm_trunk_plan_load(struct ebm_trunk_plan *plan, const float *params) EBM_MUST_USE;

/* Images at once, at most; floats of memory that a run takes. */
uint32_t ebm_trunk_plan_tile(const struct ebm_trunk_plan *plan);
size_t ebm_trunk_plan_space(const struct ebm_trunk_plan *plan);

/* h (B, trunk.out) of x (B, X), standardised. Any number of threads, each with `space` of its own, 64-byte aligned.
 * Fails when the backend does: without memory, as a rule. */
enum ebm_status ebm_trunk_run(const struct ebm_trunk_plan *plan, const float *x, uint32_t B, float *h, float *space)
    EBM_MUST_USE;

/* ---- what training shares ---- */

/* (channels, height, width) -> (height, width, channels), as activations lie; and back. */
void ebm_trunk_to_inner(float *to, const float *from, const struct ebm_shape *shape);
void ebm_trunk_to_outer(float *to, const float *from, const struct ebm_shape *shape);
/* Plain kernels beside plain convolutions. */
static inline const struct ebm_kernels *ebm_trunk_kernels(const struct ebm_conv_backend *backend)
{
    return backend == ebm_conv_ref() ? ebm_kernels_ref() : ebm_kernels_cpu();
}
/* ret_last (n_ops + 1): the last operation that reads each value, that which makes it when none does; the last value is
 * read by who asked for it, after all of them. */
void ebm_trunk_last_reads(const struct ebm_trunk *trunk, uint32_t *ret_last);
/* The mean of one image. */
void ebm_trunk_mean(const struct ebm_image_op *op, float *to, const float *from);

#endif
