/* device_check_nets.h - the networks of the self-test: their shapes, and networks of random numbers out of them. */
#ifndef EBM_CORE_DEVICE_CHECK_NETS_H
#define EBM_CORE_DEVICE_CHECK_NETS_H

#include "core/device_check.h"
#include "core/device_check_images.h"

#define EBM_CHECK_MOST_LAYERS 4u

struct ebm_check_shape {
    const char *name;
    uint32_t X, D, K, feature[EBM_CHECK_MOST_LAYERS], target[EBM_CHECK_MOST_LAYERS], energy[EBM_CHECK_MOST_LAYERS];
    enum ebm_activation activation;
    uint32_t head; /* width of a hidden layer before each of the mixture's nets; 0: none */
    uint32_t seed; /* of the numbers */
    bool is_exact; /* answered exactly, else by importance */
    bool is_bounded;
    enum ebm_check_images images; /* then X is theirs, and errors of the trunk's products reach everything */
};

extern const struct ebm_check_shape ebm_check_shapes[EBM_DEVICE_CHECKS];
extern const struct ebm_check_shape ebm_check_timed[EBM_DEVICE_TIMED_NETS];
extern const struct ebm_check_shape ebm_check_trained[EBM_DEVICE_TRAININGS];

/* desc borrows the rest. */
struct ebm_check_net {
    struct ebm_net_desc desc;
    struct ebm_support support;
    struct ebm_layer layers[7 * EBM_CHECK_MOST_LAYERS];
    struct ebm_image_op ops[EBM_CHECK_IMAGE_OPS];
    uint32_t n_layers;
    float *params;
};

/* False: no memory. Done after either; what the net borrows lies in it, so that it must not be moved. */
bool ebm_check_net_init(struct ebm_check_net *net, const struct ebm_check_shape *shape);
void ebm_check_net_done(struct ebm_check_net *net);

/* A plan and a context of it; what was made is the caller's after a failure, too. */
enum ebm_status ebm_check_make_ready(const struct ebm_device_ops *ops, const struct ebm_check_net *net,
                                     const struct ebm_ctx_limits *limits, struct ebm_plan **ret_plan,
                                     struct ebm_ctx **ret_ctx, struct ebm_error *reterr);
/* With what the device itself says, if it does. */
enum ebm_status ebm_check_refused(const struct ebm_device_ops *ops, uint32_t device, enum ebm_status status,
                                  const char *what, struct ebm_error *reterr);
/* Normal numbers, the same for a seed. */
void ebm_check_fill(float *to, size_t n, uint64_t seed);

#endif
