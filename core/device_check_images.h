/* device_check_images.h - trunks of random numbers for networks of images that devices are compared on. Private to
 * device_check.c. */
#ifndef EBM_CORE_DEVICE_CHECK_IMAGES_H
#define EBM_CORE_DEVICE_CHECK_IMAGES_H

#include "core/net_desc.h"

#define EBM_CHECK_IMAGE_OPS 22u      /* most of a trunk */
#define EBM_CHECK_IMAGE_NUMBERS 360u /* most of an image that answers are compared on */

enum ebm_check_images {
    EBM_CHECK_VECTORS,
    EBM_CHECK_RESIDUAL, /* a small residual network: norms, strides, a pool, blocks with and without a convolution
                           beside them, a mean */
    EBM_CHECK_PLAIN,    /* biases, norms by themselves, channels that are no multiples of four, a value that is added to
                           itself */
    EBM_CHECK_RESNET18, /* as wide as the papers have it, on images of 3 x 64 x 64: to be timed */
};

/* Lays the trunk's tensors behind the net's, whose n_params grows, running statistics among what is learned (their
 * gradient is 0); ops (EBM_CHECK_IMAGE_OPS): where its operations lie,
 * which the net borrows. */
void ebm_check_trunk(struct ebm_net_desc *net, enum ebm_check_images which, struct ebm_image_op *ops);
/* Numbers of its tensors into params (P). */
void ebm_check_trunk_fill(const struct ebm_net_desc *net, uint64_t seed, float *params);

#endif
