/* pool.c - threads that wait for a call, take its tasks one by one, and report when they find no more.
 *
 *   caller:  set the call, round++ , wake all -> take tasks too -> wait until every helper has reported
 *   helper:  wait for a new round -> take tasks -> report
 *
 * Who runs which task is left to chance; what a task computes must not depend on it. A round starts only when all
 * helpers have reported the one before, so that a task number is never taken for another call. One mutex, two
 * conditions; task numbers are an atomic counter. */
#include "trainer/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/cores.h"

#define USEFUL_THREADS 8

struct helper {
    struct pool *pool;
    pthread_t thread;
    struct ebm_ctx *ctx;
    bool started;
};

struct pool {
    const struct ebm_device_ops *ops; /* fixed after pool_new */
    uint32_t n_threads;
    struct helper *helpers; /* (n_threads); the first is the caller, without a thread */

    pool_task_fn *run; /* set before a round, under the mutex */
    void *user;
    uint32_t n_tasks;
    _Atomic uint32_t next; /* task to take */

    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
    uint64_t round;   /* under the mutex, like all below */
    uint32_t working; /* helpers that have not reported this round */
    bool stops;
};

uint32_t pool_default_threads(void)
{
    uint32_t cores = ebm_cores();
    return cores > USEFUL_THREADS ? USEFUL_THREADS : cores;
}

static void take_tasks(struct pool *pool, struct ebm_ctx *ctx)
{
    for (;;) {
        uint32_t task = atomic_fetch_add(&pool->next, 1);
        if (task >= pool->n_tasks)
            return;
        pool->run(pool->user, task, ctx);
    }
}

static void *help(void *user)
{
    struct helper *helper = user;
    struct pool *pool = helper->pool;
    uint64_t seen = 0;
    ebm_device_thread_init();
    (void)pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->round == seen && !pool->stops)
            (void)pthread_cond_wait(&pool->begin, &pool->mutex);
        if (pool->stops)
            break;
        seen = pool->round;
        (void)pthread_mutex_unlock(&pool->mutex);
        take_tasks(pool, helper->ctx);
        (void)pthread_mutex_lock(&pool->mutex);
        if (--pool->working == 0)
            (void)pthread_cond_signal(&pool->end);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static enum ebm_status start(struct pool *pool, const struct ebm_ctx_limits *limits, const struct ebm_plan *plan,
                             uint32_t i, struct ebm_error *reterr)
{
    struct helper *helper = &pool->helpers[i];
    helper->pool = pool;
    enum ebm_status status = pool->ops->ctx_new(limits, &helper->ctx, reterr);
    if (status == EBM_OK)
        status = pool->ops->ctx_prepare(helper->ctx, plan, reterr);
    if (status != EBM_OK || i == 0)
        return status;
    if (pthread_create(&helper->thread, NULL, help, helper) != 0)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--threads", "cannot start thread %u", i + 1);
    helper->started = true;
    return EBM_OK;
}

enum ebm_status pool_new(const struct ebm_device_ops *ops, const struct ebm_ctx_limits *limits,
                         const struct ebm_plan *plan, uint32_t n_threads, struct pool **ret_pool,
                         struct ebm_error *reterr)
{
    EBM_ASSERT(n_threads >= 1 && n_threads <= POOL_THREADS);
    struct pool *pool = calloc(1, sizeof *pool);
    struct helper *helpers = calloc(n_threads, sizeof *helpers);
    if (pool == NULL || helpers == NULL) {
        free(pool);
        free(helpers);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "--threads", "no memory for %u threads", n_threads);
    }
    *pool = (struct pool){.ops = ops, .n_threads = n_threads, .helpers = helpers};
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->begin, NULL);
    (void)pthread_cond_init(&pool->end, NULL);
    ebm_device_thread_init();
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < n_threads; i++)
        status = start(pool, limits, plan, i, reterr);
    if (status != EBM_OK) {
        (void)pool_free(pool);
        return status;
    }
    *ret_pool = pool;
    return EBM_OK;
}

struct pool *pool_free(struct pool *pool)
{
    if (pool == NULL)
        return NULL;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->stops = true;
    (void)pthread_cond_broadcast(&pool->begin);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->n_threads; i++) {
        if (pool->helpers[i].started)
            (void)pthread_join(pool->helpers[i].thread, NULL);
        (void)pool->ops->ctx_free(pool->helpers[i].ctx);
    }
    (void)pthread_cond_destroy(&pool->begin);
    (void)pthread_cond_destroy(&pool->end);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->helpers);
    free(pool);
    return NULL;
}

void pool_freep(struct pool **pool)
{
    *pool = pool_free(*pool);
}

enum ebm_status pool_train_prepare(struct pool *pool, const struct ebm_plan *plan, const struct ebm_loss_spec *loss,
                                   uint32_t max_rows, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    for (uint32_t i = 0; status == EBM_OK && i < pool->n_threads; i++)
        status = pool->ops->train_prepare(pool->helpers[i].ctx, plan, loss, max_rows, reterr);
    return status;
}

void pool_run(struct pool *pool, pool_task_fn *run, void *user, uint32_t n_tasks)
{
    bool alone = pool->n_threads == 1 || n_tasks <= 1;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->run = run;
    pool->user = user;
    pool->n_tasks = n_tasks;
    atomic_store(&pool->next, 0);
    if (!alone) {
        pool->working = pool->n_threads - 1;
        pool->round++;
        (void)pthread_cond_broadcast(&pool->begin);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    take_tasks(pool, pool->helpers[0].ctx);
    (void)pthread_mutex_lock(&pool->mutex);
    while (pool->working > 0)
        (void)pthread_cond_wait(&pool->end, &pool->mutex);
    (void)pthread_mutex_unlock(&pool->mutex);
}

struct ebm_ctx *pool_ctx(struct pool *pool)
{
    return pool->helpers[0].ctx;
}

static void run_tasks(void *pool, void (*task)(void *user, uint32_t i, struct ebm_ctx *ctx), void *user, uint32_t n)
{
    pool_run(pool, task, user, n);
}

struct ebm_threads pool_threads(struct pool *pool)
{
    return (struct ebm_threads){run_tasks, pool, pool->n_threads};
}
