/* model_loader_internal.h - what the files of the loader share. Private to them.
 *
 *   model_loader.c          all models: at the start, by polls, by request
 *   model_loader_change.c   one model: its settings and its versions
 */
#ifndef EBM_SERVER_MODEL_LOADER_INTERNAL_H
#define EBM_SERVER_MODEL_LOADER_INTERNAL_H

#include "core/list.h"
#include "server/model_loader.h"
#include "server/repository.h"

/* What polls must remember of a model. */
struct model_loader_known {
    struct ebm_list link;
    char name[LIMIT_NAME_BYTES + 1];
    bool unloaded;                 /* by request: stays so until it is loaded by request */
    struct serving *serving;       /* in force */
    struct file_mark serving_mark; /* of the file that was read for it, or refused */
};

struct model_loader {
    struct model_loader_config config; /* fixed */
    struct model_store *store;         /* fixed */
    model_loader_prepare_fn *prepare;
    void *prepare_user;
    struct ebm_list known;
    struct repository before; /* what the last poll saw */
    bool was_readable;        /* the folder, at the last poll */
};

enum model_loader_why { AT_START, BY_POLL, BY_REQUEST };

/* Brings up what was found of one model. INVALID: something of it was refused, in the log by now. */
enum ebm_status model_loader_change(struct model_loader *loader, struct model_loader_known *known,
                                    const struct repository_model *found, enum model_loader_why why,
                                    struct ebm_error *reterr) EBM_MUST_USE;

#endif
