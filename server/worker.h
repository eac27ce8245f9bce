/* worker.h - the threads that compute. Each has an engine of its own; they meet only in the batcher and the mailboxes
 * of the loops: a job goes back to its home, with its reference. */
#ifndef EBM_SERVER_WORKER_H
#define EBM_SERVER_WORKER_H

#include "server/compute.h"
#include "server/mailbox.h"

struct worker_config {
    uint32_t n_workers;
    struct compute_config compute;  /* of each, but for the device; its batcher is where batches come from */
    struct batcher_lane *read_lane; /* borrow: jobs whose bodies are still to be read, one row each */
};

struct worker_pool;

/* Starts the threads, which know no model, and waits until each has its memory. New: worker_pool_free. */
enum ebm_status worker_pool_new(const struct worker_config *config, struct worker_pool **ret_pool,
                                struct ebm_error *reterr) EBM_MUST_USE;
/* Makes one more model ready on every worker, each between two batches, as compute_prepare, and waits for that. One
 * thread at a time, none of the pool's; before batcher_stop. The first failure but those of devices that others go on
 * without; the workers serve all other models as before. */
enum ebm_status worker_pool_prepare(struct worker_pool *pool, const struct ebm_model *model,
                                    const struct ebm_plan *plan, struct ebm_error *reterr) EBM_MUST_USE;
/* After batcher_stop: waits for the threads. NULL is fine; returns NULL. */
struct worker_pool *worker_pool_free(struct worker_pool *pool);

#endif
