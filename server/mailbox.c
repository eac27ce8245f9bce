/* mailbox.c - append under the lock, wake once, take all.
 *
 *   worker:  lock { append }  uv_async_send      (sends coalesce: a wake means "look", never "one")
 *   loop:    wake -> lock { move the whole list out } -> callback, unlocked
 *
 * Guarantees: what one thread posts arrives in its order; nothing is lost or delivered twice; the callback holds no
 * lock, so it may post again. Does not know what travels. */
#include "server/mailbox.h"

#include <pthread.h>
#include <stdlib.h>

struct mailbox {
    uv_async_t wake;
    mailbox_fn *on_mail; /* fixed */
    void *user;          /* fixed */
    pthread_mutex_t mutex;
    struct ebm_list mail; /* under mutex */
};

static void lock(struct mailbox *mailbox)
{
#ifndef EBM_PLANT_RACE /* a fault for the tests to find */
    (void)pthread_mutex_lock(&mailbox->mutex);
#else
    (void)mailbox;
#endif
}

static void unlock(struct mailbox *mailbox)
{
#ifndef EBM_PLANT_RACE
    (void)pthread_mutex_unlock(&mailbox->mutex);
#else
    (void)mailbox;
#endif
}

void mailbox_drain(struct mailbox *mailbox)
{
    struct ebm_list mine;
    ebm_list_init(&mine);
    lock(mailbox);
    ebm_list_move_all(&mine, &mailbox->mail);
    unlock(mailbox);
    if (!ebm_list_is_empty(&mine))
        mailbox->on_mail(mailbox->user, &mine);
}

static void on_wake(uv_async_t *wake)
{
    mailbox_drain(wake->data);
}

enum ebm_status mailbox_new(uv_loop_t *loop, mailbox_fn *on_mail, void *user, struct mailbox **ret_mailbox)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);
    if (!mailbox)
        return EBM_NO_MEMORY;
    if (uv_async_init(loop, &mailbox->wake, on_wake) != 0) {
        free(mailbox);
        return EBM_NO_MEMORY;
    }
    mailbox->wake.data = mailbox;
    mailbox->on_mail = on_mail;
    mailbox->user = user;
    (void)pthread_mutex_init(&mailbox->mutex, NULL);
    ebm_list_init(&mailbox->mail);
    *ret_mailbox = mailbox;
    return EBM_OK;
}

void mailbox_post(struct mailbox *mailbox, struct ebm_list *link)
{
    lock(mailbox);
    ebm_list_append(&mailbox->mail, link);
    unlock(mailbox);
    (void)uv_async_send(&mailbox->wake); /* fails only for a handle of another kind */
}

static void on_closed(uv_handle_t *handle)
{
    struct mailbox *mailbox = handle->data;
    (void)pthread_mutex_destroy(&mailbox->mutex);
    free(mailbox);
}

struct mailbox *mailbox_close(struct mailbox *mailbox)
{
    if (mailbox)
        uv_close((uv_handle_t *)&mailbox->wake, on_closed);
    return NULL;
}
