/* mailbox.h - from any thread to the loop: post a link, and the loop's callback gets everything that was posted. */
#ifndef EBM_SERVER_MAILBOX_H
#define EBM_SERVER_MAILBOX_H

#include <uv.h>

#include "core/list.h"
#include "core/status.h"

struct mailbox;

/* Loop thread, no lock held. `mail` holds at least one link, in the order of posting; take all of them out. */
typedef void mailbox_fn(void *user, struct ebm_list *mail);

/* New: mailbox_close. */
enum ebm_status mailbox_new(uv_loop_t *loop, mailbox_fn *on_mail, void *user, struct mailbox **ret_mailbox)
    EBM_MUST_USE;

/* Any thread. What holds the link is the loop's from now on. Never blocks for long, never fails. */
void mailbox_post(struct mailbox *mailbox, struct ebm_list *link);

/* Loop thread: calls back now with what was posted until now, if anything. */
void mailbox_drain(struct mailbox *mailbox);

/* Loop thread, after the last post; NULL is fine. The loop frees it in its next round. Returns NULL. */
struct mailbox *mailbox_close(struct mailbox *mailbox);

#endif
