/* trunk_train.h - a trunk in training: a whole batch forward, then backward. Private to core.
 *
 * A batch is cut into chunks of EBM_TRUNK_CHUNK images, the last one filled up with zeros, whatever the threads are.
 * Operations follow one another; the chunks of one are computed at once. Sums over the batch (statistics of norms,
 * gradients) are sums over chunks in their order, so that any number of threads gives the same bytes. */
#ifndef EBM_CORE_TRUNK_TRAIN_H
#define EBM_CORE_TRUNK_TRAIN_H

#include "core/conv.h"

#define EBM_TRUNK_CHUNK 8u
#define EBM_NORM_MOMENTUM 0.1 /* of running statistics, as in torch.nn.BatchNorm2d */

/* Part `part` of some work, on some thread; `scratch`: ebm_trunk_train_scratch floats of that thread. */
typedef void ebm_trunk_part_fn(void *user, uint32_t part, float *scratch);

/* Who does parts 0 .. n - 1 of work, in any order, and comes back when all are done. */
struct ebm_trunk_threads {
    void (*run)(void *who, ebm_trunk_part_fn *fn, void *user, uint32_t n);
    void *who;
    uint32_t n; /* how many there are, at least 1: work that may be cut anywhere is cut for so many */
};

struct ebm_trunk_train;

/* Memory for batches of at most max_rows. Copies the description. New: free. */
enum ebm_status ebm_trunk_train_new(const struct ebm_trunk *trunk, const struct ebm_conv_backend *backend,
                                    uint32_t max_rows, struct ebm_trunk_train **ret_train, struct ebm_error *reterr)
    EBM_MUST_USE;
struct ebm_trunk_train *ebm_trunk_train_free(struct ebm_trunk_train *train); /* NULL is fine; returns NULL */
size_t ebm_trunk_train_scratch(const struct ebm_trunk_train *train);

/* h (B, trunk.out) of x (B, X), norms by the batch's statistics; the running ones among params (P) move by
 * EBM_NORM_MOMENTUM. What backward needs is kept. */
enum ebm_status ebm_trunk_train_forward(struct ebm_trunk_train *train, float *params,
                                        const struct ebm_trunk_threads *threads, const float *x, uint32_t B, float *h)
    EBM_MUST_USE;
/* From dh (B, trunk.out) of the last forward, whose params are still the same: gradient of the trunk's tensors, = into
 * `gradient` (P). */
enum ebm_status ebm_trunk_train_backward(struct ebm_trunk_train *train, const struct ebm_trunk_threads *threads,
                                         const float *dh, float *gradient) EBM_MUST_USE;

#endif
