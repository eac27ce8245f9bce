/* model_store.h - the models that answer now: one list at a time, replaced as a whole.
 *
 *   loader (one thread)   publish: a model's versions take the place of those before
 *                         collect: what nobody uses is freed
 *   any thread            find, list: a lock for the time of a pointer; what is handed out stays as it is
 *
 * A version that is taken out answers the jobs that have it, and is UNLOADING until the last of them is over. */
#ifndef EBM_SERVER_MODEL_STORE_H
#define EBM_SERVER_MODEL_STORE_H

#include "server/model_list.h"

struct model_store;

struct model_store *model_store_new(void); /* empty; NULL: no memory. New: model_store_free */
/* Entries that jobs still have outlive it. NULL is fine; returns NULL. */
struct model_store *model_store_free(struct model_store *store);

/* All that is known now. New: model_list_unref. */
struct model_list *model_store_list(struct model_store *store);

/* As model_list_find, of the list now. New: model_store_entry_unref. */
enum ebm_status model_store_find(struct model_store *store, const char *name, uint64_t version,
                                 struct model_store_entry **ret_entry, struct ebm_error *reterr) EBM_MUST_USE;

/* ---- the loader's thread ---- */

/* From now on these n entries (references are added) are the model `name`; n 0: it is gone. NO_MEMORY: nothing
 * changed. */
enum ebm_status model_store_publish(struct model_store *store, const char *name,
                                    struct model_store_entry *const *entries, size_t n) EBM_MUST_USE;
/* Frees what was taken out and has no job any more, on this thread; returns how many still have some. */
size_t model_store_collect(struct model_store *store);
/* What is being loaded; name NULL: nothing. */
void model_store_set_loading(struct model_store *store, const char *name, uint64_t version);

/* Versions on the disk that are not loaded, and why. */
struct model_store_idle {
    char name[LIMIT_NAME_BYTES + 1]; /* the store's */
    uint64_t version;
    const char *reason; /* static */
};
/* Takes the place of all such of the model `name`. Without memory for them they are not told. */
void model_store_set_idle(struct model_store *store, const char *name, const struct model_store_idle *idle, size_t n);

/* ---- what there is to tell; any thread ---- */

/* As the repository extension of the Open Inference Protocol has them. */
#define MODEL_STATE_MAP(X)                                                                                             \
    X(READY, "READY") X(LOADING, "LOADING") X(UNLOADING, "UNLOADING") X(UNAVAILABLE, "UNAVAILABLE")

enum model_state {
#define X(name, word) MODEL_##name,
    MODEL_STATE_MAP(X)
#undef X
};

struct model_store_row {
    char name[LIMIT_NAME_BYTES + 1];
    uint64_t version;
    enum model_state state;
    char reason[MODEL_STORE_REASON_BYTES]; /* of READY: why what is on the disk now is not what answers */
};

/* Every version, by name, ascending, and by version, descending. NO_MEMORY. New: free. */
enum ebm_status model_store_index(struct model_store *store, struct model_store_row **ret_rows, size_t *ret_n)
    EBM_MUST_USE;

/* Of all models together, since the start; the loader's thread adds to them. */
#define MODEL_EVENT_MAP(X) X(LOADED, "loaded") X(REFUSED, "refused") X(UNLOADED, "unloaded")

enum model_event {
#define X(name, word) MODEL_EVENT_##name,
    MODEL_EVENT_MAP(X)
#undef X
        MODEL_EVENTS
};

void model_store_count_event(struct model_store *store, enum model_event event);
uint64_t model_store_events(const struct model_store *store, enum model_event event);

#endif
