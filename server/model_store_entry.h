/* model_store_entry.h - one version of one model as it is served: its model, its plan, its queue. Counted: a job that
 * uses it holds a reference, so that it may be taken out of service at any time and lives until its last job is over.
 *
 * Fixed once others know it, but for the lane, which is the batcher's, and the counts. Any thread. */
#ifndef EBM_SERVER_MODEL_STORE_ENTRY_H
#define EBM_SERVER_MODEL_STORE_ENTRY_H

#include <stdatomic.h>

#include "core/device.h"
#include "models/model.h"
#include "server/batcher.h"
#include "server/cost.h"
#include "server/metrics.h"
#include "server/repository.h"
#include "server/serving.h"

struct model_store_entry {
    _Atomic uint32_t references;
    const struct ebm_device_ops *ops;
    char *name; /* of its folder */
    uint64_t version;
    struct serving *serving; /* how it is served; a reference */
    struct file_mark mark;   /* of the file that was read for it, or refused */
    struct ebm_model *model; /* NULL: not available, see error */
    struct ebm_plan *plan;
    struct ebm_error error;       /* with a model: the disk's was refused, and the model is what was there before */
    int digits;                   /* significant digits that its numbers need in the target's unit */
    struct cost cost;             /* of its rows; measured before others know the entry */
    struct batcher_lane lane;     /* the batcher's */
    struct metrics_model *counts; /* a reference; one for all entries of this version, one after the other */
};

/* Without a model yet. `before`, an entry of the same version or NULL, leaves its counts to it. NULL: no memory.
 * New: unref. */
struct model_store_entry *model_store_entry_new(const char *name, uint64_t version, const struct ebm_device_ops *ops,
                                                struct serving *serving, const struct model_store_entry *before);
/* Reads the file into the entry's model and plan; their memory knows nothing of the file afterwards. A failure stands
 * in entry->error too, and leaves it without a model; CANCELLED soon after *stop turned true. */
enum ebm_status model_store_entry_load(struct model_store_entry *entry, const char *path, const _Atomic bool *stop)
    EBM_MUST_USE;
/* Takes over the model and the plan of another entry, which may have none. */
void model_store_entry_share(struct model_store_entry *entry, const struct model_store_entry *from);
/* By its cost, which was measured: how many rows its lane gives to a batch. Before others know it. */
void model_store_entry_size_batches(struct model_store_entry *entry);
/* Takes model and plan away again, for the reason in entry->error. */
void model_store_entry_refuse(struct model_store_entry *entry);

struct model_store_entry *model_store_entry_ref(struct model_store_entry *entry);
struct model_store_entry *model_store_entry_unref(struct model_store_entry *entry); /* NULL is fine; returns NULL */
/* Nobody else has a reference, and nobody can get one from a list. */
bool model_store_entry_is_last(const struct model_store_entry *entry);

/* What of its files was refused: the version's, else the settings'; NULL: nothing. Borrow. */
const struct ebm_error *model_store_entry_fault(const struct model_store_entry *entry);
/* That as "where: text"; empty: nothing. */
#define MODEL_STORE_REASON_BYTES (sizeof(struct ebm_error) + 4)
void model_store_entry_reason(const struct model_store_entry *entry, char ret_text[MODEL_STORE_REASON_BYTES]);

#endif
