/* model_store.h - a repository's models: DIR/<model>/<version number>/model.safetensors, the highest versions of each.
 *
 * Opened once, then read by any thread. A model whose file is refused is kept with its error: it answers 503. */
#ifndef EBM_SERVER_MODEL_STORE_H
#define EBM_SERVER_MODEL_STORE_H

#include <stdatomic.h>

#include "core/device.h"
#include "models/model.h"
#include "server/batcher.h"
#include "server/metrics.h"

/* One version of one model, counted: a job that uses it holds a reference. */
struct model_store_entry {
    _Atomic uint32_t references;
    const struct ebm_device_ops *ops;
    char *name; /* of its folder; as all below fixed once the store is open */
    uint64_t version;
    struct ebm_model *model; /* NULL: not available, see error */
    struct ebm_plan *plan;
    struct ebm_error error;
    int digits;               /* significant digits that its numbers need in the target's unit */
    struct batcher_lane lane; /* the batcher's */
    struct metrics_model counts;
};

struct model_store_config {
    const char *folder;
    const struct ebm_device_ops *ops;
    uint32_t max_batch_rows;
    uint64_t max_versions;    /* of a model; 0: all */
    const _Atomic bool *stop; /* set: give up */
};

struct model_store;

/* Loads everything; logs a line a model. NOT_FOUND or INVALID when the folder cannot be read or no model could be
 * loaded; CANCELLED soon after *stop turned true. New: model_store_free. */
enum ebm_status model_store_open(const struct model_store_config *config, struct model_store **ret_store,
                                 struct ebm_error *reterr) EBM_MUST_USE;
struct model_store *model_store_free(struct model_store *store); /* NULL is fine; returns NULL */

size_t model_store_count(const struct model_store *store);
/* Borrow; by name, ascending, and by version, descending. */
struct model_store_entry *model_store_at(const struct model_store *store, size_t index);

/* name NULL: the only available one; version 0: the highest that is available. NOT_FOUND, INVALID (a name is needed),
 * or DAMAGED (its file was refused), with where = "model" or "version". New: model_store_entry_unref. */
enum ebm_status model_store_find(const struct model_store *store, const char *name, uint64_t version,
                                 struct model_store_entry **ret_entry, struct ebm_error *reterr) EBM_MUST_USE;
struct model_store_entry *model_store_entry_unref(struct model_store_entry *entry); /* NULL is fine; returns NULL */

#endif
