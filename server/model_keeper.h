/* model_keeper.h - the thread that loads and unloads while the server serves: by request, and by looking again every so
 * often. Requests are done one after the other. */
#ifndef EBM_SERVER_MODEL_KEEPER_H
#define EBM_SERVER_MODEL_KEEPER_H

#include "server/mailbox.h"
#include "server/model_loader.h"

#define MODEL_KEEPER_ORDERS 64u /* that wait, at most */

/* What somebody wants done. Whoever makes it owns it, and has it back in its mailbox. */
struct model_keeper_order {
    struct ebm_list link; /* the keeper's, then the mailbox's */
    struct mailbox *home; /* where it comes back; borrow */
    bool loads;           /* or unloads */
    char name[LIMIT_NAME_BYTES + 1];
    struct ebm_error error; /* how it went; status OK: done */
};

struct model_keeper;

/* Starts the thread, which alone uses the loader from now on. poll_ms 0: only by request. Borrows. New: free. */
enum ebm_status model_keeper_new(struct model_loader *loader, struct model_store *store, uint64_t poll_ms,
                                 struct model_keeper **ret_keeper, struct ebm_error *reterr) EBM_MUST_USE;
/* Any thread. BUSY: too many wait; it is the caller's still. */
enum ebm_status model_keeper_order(struct model_keeper *keeper, struct model_keeper_order *order) EBM_MUST_USE;
/* Waits for the thread; orders that were not begun come back CANCELLED. Soon, when the loader's *stop is true. NULL is
 * fine; returns NULL. */
struct model_keeper *model_keeper_free(struct model_keeper *keeper);

#endif
