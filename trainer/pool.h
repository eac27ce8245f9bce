/* pool.h - a few threads that do the tasks 0 .. n - 1 of one call together, each with a device context of its own. */
#ifndef EBM_TRAINER_POOL_H
#define EBM_TRAINER_POOL_H

#include "core/device.h"

#define POOL_THREADS 256u

struct pool;

/* The machine's cores, at most 8: more do not help a batch in 8 chunks. */
uint32_t pool_default_threads(void);

/* On some thread of the pool; ctx is that thread's own. Tasks of one call run at once, in any order. */
typedef void pool_task_fn(void *user, uint32_t task, struct ebm_ctx *ctx);

/* n_threads (1 .. POOL_THREADS) in all, the caller's among them. Contexts are made by `ops` within `limits` and made
 * ready for `plan`. New: pool_free. */
enum ebm_status pool_new(const struct ebm_device_ops *ops, const struct ebm_ctx_limits *limits,
                         const struct ebm_plan *plan, uint32_t n_threads, struct pool **ret_pool,
                         struct ebm_error *reterr) EBM_MUST_USE;
struct pool *pool_free(struct pool *pool); /* NULL is fine; returns NULL */
void pool_freep(struct pool **pool);

/* Every thread's context is made ready for chunks of at most max_rows rows by such a loss: train_prepare of the device.
 */
enum ebm_status pool_train_prepare(struct pool *pool, const struct ebm_plan *plan, const struct ebm_loss_spec *loss,
                                   uint32_t max_rows, struct ebm_error *reterr) EBM_MUST_USE;

/* Runs all tasks and returns when the last has ended. The thread that made the pool. */
void pool_run(struct pool *pool, pool_task_fn *run, void *user, uint32_t n_tasks);

/* The same for a device. Borrows the pool. */
struct ebm_threads pool_threads(struct pool *pool);

/* The caller's own context, between calls of pool_run. Borrow: as long as the pool. */
struct ebm_ctx *pool_ctx(struct pool *pool);

#endif
