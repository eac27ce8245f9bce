/* trunk_layout.h - what ways through a trunk share: where the values of one that serves lie, and gradients in training,
 * their order, and norms as factors. For core, and for the trainer, which foresees what memory they take. */
#ifndef EBM_CORE_TRUNK_LAYOUT_H
#define EBM_CORE_TRUNK_LAYOUT_H

#include "core/net_desc.h"
#include "core/status.h"

/* Where an operation reads and writes. add == out: what is added lies there already, or nothing is. */
struct ebm_trunk_slots {
    uint32_t in, add, out;
};

/* ret_slots (n_ops); ret_image: where the images lie; ret_n: slots in all. A slot is free again after the last
 * operation that reads its value. NO_MEMORY. */
enum ebm_status ebm_trunk_lay_slots(const struct ebm_trunk *trunk, struct ebm_trunk_slots *ret_slots,
                                    uint32_t *ret_image, uint32_t *ret_n) EBM_MUST_USE;

/* On the way back, from the last operation to the first and what is added before what is read: is operation i the first
 * that says a word on the gradient of what it reads, of what it adds? */
void ebm_trunk_first_words(const struct ebm_trunk *trunk, uint32_t i, bool *ret_in, bool *ret_add);

/* ret_of (n_ops + 1): the slot of each value's gradient; images have none: EBM_IMAGE_NONE. ret_counts (n_ops + 1), of
 * which the first ret_n are written: numbers of an image that a slot holds. A slot is free again once the operation
 * that gave its value has gone back. NO_MEMORY. */
enum ebm_status ebm_trunk_lay_gradients(const struct ebm_trunk *trunk, uint32_t *ret_of, size_t *ret_counts,
                                        uint32_t *ret_n) EBM_MUST_USE;

/* Numbers of an image in all these slots; 0 where there is no memory to find that out. */
size_t ebm_trunk_gradient_numbers(const struct ebm_trunk *trunk);

/* factor, offset (to.channels): norm(z + bias) = factor z + offset by the running statistics among params; without a
 * norm 1 and the bias, or 0. */
void ebm_trunk_fold(const struct ebm_image_op *op, const float *params, float *factor, float *offset);

#endif
