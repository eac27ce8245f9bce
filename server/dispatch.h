/* dispatch.h - the loop's side of jobs: from an exchange into the batcher, back from the mailbox, or given up at a
 * deadline or when the client is gone. Loop thread only. */
#ifndef EBM_SERVER_DISPATCH_H
#define EBM_SERVER_DISPATCH_H

#include "server/compute.h"
#include "server/mailbox.h"

#define DISPATCH_HERE_ROWS 16u /* at most, of a request that the loop answers by itself */

struct http;
struct dispatch;

struct dispatch_config {
    const struct operation_service *service; /* borrow, as all below */
    struct batcher *batcher;
    struct batcher_lane *read_lane;
    size_t max_arena_bytes; /* of one job */
    uint64_t timeout_ms;    /* of a job that names none */
    uint64_t max_queue_ms;  /* for which one may have to wait, by estimate */
};

/* New: dispatch_close. */
enum ebm_status dispatch_new(uv_loop_t *loop, const struct dispatch_config *config, struct dispatch **ret_dispatch)
    EBM_MUST_USE;
/* Where answers go; before the first exchange. Borrow. */
void dispatch_set_http(struct dispatch *dispatch, struct http *http);
/* Where workers send jobs, which is to call dispatch_on_mail; likewise. Borrow. */
void dispatch_set_home(struct dispatch *dispatch, struct mailbox *mailbox);
/* By which small requests are answered at once; from when the models are there. Borrow. */
void dispatch_set_compute(struct dispatch *dispatch, struct compute *compute);
/* After the last exchange ended. NULL is fine; the loop frees it in its next round. Returns NULL. */
struct dispatch *dispatch_close(struct dispatch *dispatch);

/* Takes the exchange's body, a request of this kind and form, to its answer, now or later. http_user is the job from
 * now on. */
void dispatch_request(struct dispatch *dispatch, struct http_exchange *exchange, enum request_kind kind,
                      const struct job_form *form);
/* The exchange is over. */
void dispatch_end(struct dispatch *dispatch, struct http_exchange *exchange);
/* The mailbox's callback; user is the dispatch. */
void dispatch_on_mail(void *user, struct ebm_list *mail);

#endif
