/* model_list.h - the versions of models that are known at one moment, in order: made once, never changed, counted.
 * Who holds a reference may read it on any thread, whatever is loaded meanwhile. */
#ifndef EBM_SERVER_MODEL_LIST_H
#define EBM_SERVER_MODEL_LIST_H

#include "server/model_store_entry.h"

struct model_list {
    _Atomic uint32_t references;
    size_t n;
    size_t n_available;                  /* of them with a model */
    struct model_store_entry *entries[]; /* (n), a reference each; by name, ascending, and by version, descending */
};

/* All entries of `from` (NULL: none) but those of the model `name`, and the n of `entries`, all of that name; adds
 * references. NULL: no memory. New: unref. */
struct model_list *model_list_new(const struct model_list *from, const char *name,
                                  struct model_store_entry *const *entries, size_t n);
struct model_list *model_list_ref(struct model_list *list);
struct model_list *model_list_unref(struct model_list *list); /* NULL is fine; returns NULL */

/* Index of the first entry of this name; where it would stand, when there is none. */
size_t model_list_first(const struct model_list *list, const char *name);
/* How many entries have this name; they follow the first. */
size_t model_list_count(const struct model_list *list, const char *name);
/* The entry of this version; NULL: none. Borrow. */
struct model_store_entry *model_list_at(const struct model_list *list, const char *name, uint64_t version);

/* name NULL: the only available one; version 0: the highest that is available. NOT_FOUND, INVALID (a name is needed),
 * or DAMAGED (its file was refused), with where = "model" or "version". Borrow: from the list. */
enum ebm_status model_list_find(const struct model_list *list, const char *name, uint64_t version,
                                struct model_store_entry **ret_entry, struct ebm_error *reterr) EBM_MUST_USE;

#endif
