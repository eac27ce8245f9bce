/* model_keeper.c - a queue of orders, a clock, and the loader.
 *
 *   order -> queue -> the thread: load or unload -> its mailbox
 *   every poll_ms  -> the thread: look at everything
 *   while something that was taken out still has jobs: look every COLLECT_MS whether they are over
 *
 * Guarantees: the loader has one thread; every order comes back exactly once. Does not: know HTTP. */
#include "server/model_keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/clock.h"
#include "server/quiet.h"

#define COLLECT_MS 50u

struct model_keeper {
    struct model_loader *loader; /* fixed, as all down to thread; the loader is the thread's */
    struct model_store *store;
    uint64_t poll_us;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* under mutex */
    struct ebm_list orders;
    uint32_t n_orders;
    bool stopping;
};

static void wait_until(struct model_keeper *keeper, uint64_t until_us)
{
    struct timespec until = {.tv_sec = (time_t)(until_us / 1000000), .tv_nsec = (long)(until_us % 1000000 * 1000)};
    if (until_us == UINT64_MAX)
        (void)pthread_cond_wait(&keeper->work, &keeper->mutex);
    else
        (void)pthread_cond_timedwait(&keeper->work, &keeper->mutex, &until);
}

/* The next order; NULL: it is until_us, or the end. */
static struct model_keeper_order *take_order(struct model_keeper *keeper, uint64_t until_us, bool *ret_stopping)
{
    (void)pthread_mutex_lock(&keeper->mutex);
    while (!keeper->stopping && ebm_list_is_empty(&keeper->orders) && ebm_clock_us() < until_us)
        wait_until(keeper, until_us);
    struct ebm_list *link = keeper->stopping ? NULL : ebm_list_pop(&keeper->orders);
    keeper->n_orders -= link != NULL;
    *ret_stopping = keeper->stopping;
    (void)pthread_mutex_unlock(&keeper->mutex);
    return link ? EBM_CONTAINER_OF(link, struct model_keeper_order, link) : NULL;
}

static void carry_out(struct model_keeper *keeper, struct model_keeper_order *order)
{
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = order->loads ? model_loader_load(keeper->loader, order->name, &error)
                                          : model_loader_unload(keeper->loader, order->name, &error);
    order->error = error;
    order->error.status = status;
    mailbox_post(order->home, &order->link);
}

static void *run(void *argument)
{
    struct model_keeper *keeper = argument;
    uint64_t poll_us = keeper->poll_us ? ebm_clock_us() + keeper->poll_us : UINT64_MAX, collect_us = UINT64_MAX;
    bool stopping = false;
    while (!stopping) {
        struct model_keeper_order *order = take_order(keeper, poll_us < collect_us ? poll_us : collect_us, &stopping);
        if (order)
            carry_out(keeper, order);
        if (!stopping && ebm_clock_us() >= poll_us) {
            model_loader_poll(keeper->loader);
            poll_us = ebm_clock_us() + keeper->poll_us;
        }
        collect_us = model_store_collect(keeper->store) > 0 ? ebm_clock_us() + COLLECT_MS * 1000 : UINT64_MAX;
    }
    return NULL;
}

static void init(struct model_keeper *keeper)
{
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&keeper->mutex, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&keeper->work, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    ebm_list_init(&keeper->orders);
}

static void done(struct model_keeper *keeper)
{
    (void)pthread_cond_destroy(&keeper->work);
    (void)pthread_mutex_destroy(&keeper->mutex);
    free(keeper);
}

enum ebm_status model_keeper_new(struct model_loader *loader, struct model_store *store, uint64_t poll_ms,
                                 struct model_keeper **ret_keeper, struct ebm_error *reterr)
{
    struct model_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "model keeper", "no memory");
    keeper->loader = loader;
    keeper->store = store;
    keeper->poll_us = poll_ms * 1000;
    init(keeper);
    sigset_t before;
    quiet_begin(&before);
    int failed = pthread_create(&keeper->thread, NULL, run, keeper);
    quiet_end(&before);
    if (failed) {
        done(keeper);
        return ebm_error_set(reterr, EBM_NO_MEMORY, "model keeper", "no thread to load models");
    }
    *ret_keeper = keeper;
    return EBM_OK;
}

enum ebm_status model_keeper_order(struct model_keeper *keeper, struct model_keeper_order *order)
{
    (void)pthread_mutex_lock(&keeper->mutex);
    bool fits = keeper->n_orders < MODEL_KEEPER_ORDERS;
    if (fits) {
        ebm_list_append(&keeper->orders, &order->link);
        keeper->n_orders++;
        (void)pthread_cond_signal(&keeper->work);
    }
    (void)pthread_mutex_unlock(&keeper->mutex);
    return fits ? EBM_OK : EBM_BUSY;
}

struct model_keeper *model_keeper_free(struct model_keeper *keeper)
{
    if (!keeper)
        return NULL;
    (void)pthread_mutex_lock(&keeper->mutex);
    keeper->stopping = true;
    (void)pthread_cond_signal(&keeper->work);
    (void)pthread_mutex_unlock(&keeper->mutex);
    (void)pthread_join(keeper->thread, NULL);
    struct ebm_list *link;
    while ((link = ebm_list_pop(&keeper->orders)) != NULL) {
        struct model_keeper_order *order = EBM_CONTAINER_OF(link, struct model_keeper_order, link);
        (void)ebm_error_set(&order->error, EBM_CANCELLED, "", "the server is stopping");
        mailbox_post(order->home, &order->link);
    }
    done(keeper);
    return NULL;
}
