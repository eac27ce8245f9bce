/* compute.h - rows of jobs through an engine of one's own: what a worker does with a batch, and the loop with a request
 * that is too little to be handed over. One thread at a time. */
#ifndef EBM_SERVER_COMPUTE_H
#define EBM_SERVER_COMPUTE_H

#include "server/devices.h"
#include "server/operation.h"

struct compute;

struct compute_config {
    struct devices *devices; /* borrow, as all below */
    struct ebm_ctx_limits limits;
    const struct operation_service *service;
    struct batcher *batcher; /* whose batches these are, told when one is computed; NULL: nobody's */
    struct metrics *metrics;
};

/* New: compute_free. Not ready for any model yet. */
enum ebm_status compute_new(const struct compute_config *config, struct compute **ret_compute, struct ebm_error *reterr)
    EBM_MUST_USE;
struct compute *compute_free(struct compute *compute); /* NULL is fine; returns NULL */

/* Its device has failed, and others compute. Any thread. */
bool compute_is_over(const struct compute *compute);

/* Makes ready for one more model, and holds the engine to the parity values of its file: DAMAGED when it computes
 * others; DEVICE when its device has failed, which then is known. Any thread; waits for a batch that is being computed.
 */
enum ebm_status compute_prepare(struct compute *compute, const struct ebm_model *model, const struct ebm_plan *plan,
                                struct ebm_error *reterr) EBM_MUST_USE;
/* The same, and measures what the model's rows cost: before others know the entry. */
enum ebm_status compute_prepare_measured(struct compute *compute, struct model_store_entry *entry,
                                         struct ebm_error *reterr) EBM_MUST_USE;

/* The job has its answer or its error, or was abandoned meanwhile (is_wanted: false). Takes the travelling reference.
 */
typedef void compute_done_fn(void *user, struct job *job, bool is_wanted);

/* The parts of a batch, at most limits.max_rows rows, of one model that was prepared; `done` for every job whose last
 * rows these were. False: it is over, or came to be so meanwhile, and somebody else has to compute the batch; not when
 * a second device fails with one of the jobs, which may be what devices fail of. */
bool compute_batch(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
    EBM_MUST_USE;
/* Each of its jobs has the error that the device failed. */
void compute_fail_batch(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user);
/* compute_batch, and false when a model is being made ready. */
bool compute_batch_now(struct compute *compute, const struct batcher_batch *batch, compute_done_fn *done, void *user)
    EBM_MUST_USE;

#endif
