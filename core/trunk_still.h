/* trunk_still.h - a trunk in training that does not learn itself: a batch forward, norms by the batch's statistics.
 * Private to core.
 *
 * The same numbers as ebm_trunk_train_forward gives, but for rounding, and faster: nothing is kept for a backward
 * pass, and weights are made ready once. Any number of threads gives the same bytes. */
#ifndef EBM_CORE_TRUNK_STILL_H
#define EBM_CORE_TRUNK_STILL_H

#include "core/trunk_train.h"

struct ebm_trunk_still;

/* Memory for batches of at most max_rows. Copies the description; loaded before it runs. New: free. */
enum ebm_status ebm_trunk_still_new(const struct ebm_trunk *trunk, uint32_t max_rows,
                                    struct ebm_trunk_still **ret_still, struct ebm_error *reterr) EBM_MUST_USE;
struct ebm_trunk_still *ebm_trunk_still_free(struct ebm_trunk_still *still); /* NULL is fine; returns NULL */
size_t ebm_trunk_still_scratch(const struct ebm_trunk_still *still);         /* floats a thread */

/* Other weights. */
enum ebm_status ebm_trunk_still_load(struct ebm_trunk_still *still, const float *params,
                                     const struct ebm_trunk_threads *threads) EBM_MUST_USE;

/* h (B, trunk.out) of x (B, X) by the weights of the last load, which are still those of params (P); of these the
 * running statistics move by EBM_NORM_MOMENTUM. */
enum ebm_status ebm_trunk_still_forward(struct ebm_trunk_still *still, float *params,
                                        const struct ebm_trunk_threads *threads, const float *x, uint32_t B, float *h)
    EBM_MUST_USE;

#endif
