/* model_loader.h - brings what lies in a repository into the store, again and again.
 *
 * A version is read, made ready on every worker, and only then published; what answered before answers until then, and
 * goes on when it fails. One thread at a time; it reads files and waits, so never the loop's. */
#ifndef EBM_SERVER_MODEL_LOADER_H
#define EBM_SERVER_MODEL_LOADER_H

#include "server/model_store.h"

struct model_loader_config {
    const char *folder;
    const struct ebm_device_ops *ops;
    struct serving *standard;            /* of a model that says nothing else; a reference is taken */
    const struct request_limits *limits; /* of what serving.json may have as defaults; borrow */
    const _Atomic bool *stop;            /* set: give up */
    bool may_be_empty;                   /* no model at the start is fine: one may come */
};

struct model_loader;

/* NULL: no memory. Borrows the store. New: free. */
struct model_loader *model_loader_new(const struct model_loader_config *config, struct model_store *store);
struct model_loader *model_loader_free(struct model_loader *loader); /* NULL is fine; returns NULL */

/* Makes a model ready wherever it will be used, and waits for it. On the loader's thread. */
typedef enum ebm_status model_loader_prepare_fn(void *user, struct model_store_entry *entry, struct ebm_error *reterr);
/* From now on, for what is loaded later; without one it is published as it is. */
void model_loader_set_prepare(struct model_loader *loader, model_loader_prepare_fn *prepare, void *user);

/* Everything, for the first time. NOT_FOUND or INVALID when the folder cannot be read or no model could be loaded;
 * CANCELLED soon after *stop turned true. */
enum ebm_status model_loader_start(struct model_loader *loader, struct ebm_error *reterr) EBM_MUST_USE;

/* Looks at everything: what is new or was written, and has not changed since the poll before, is loaded; what is gone
 * is taken out. What was refused is tried again when its file changes. Says in the log what it did. */
void model_loader_poll(struct model_loader *loader);

/* Looks at one model now, and tries what was refused once more. NOT_FOUND: no such folder; INVALID: some of it was
 * refused, and `reterr` says what and why. */
enum ebm_status model_loader_load(struct model_loader *loader, const char *name, struct ebm_error *reterr) EBM_MUST_USE;
/* Takes all versions of one model out, and keeps polls from loading it. NOT_FOUND: it is not there. */
enum ebm_status model_loader_unload(struct model_loader *loader, const char *name, struct ebm_error *reterr)
    EBM_MUST_USE;

#endif
