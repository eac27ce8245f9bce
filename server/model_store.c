/* model_store.c - a pointer to the list of now, and what was taken out of it and is still used.
 *
 *   publish: list + the model's new entries -> another list -> the pointer, under the mutex
 *            entries of before that are not among them -> retired: UNLOADING
 *   collect: retired, and the last reference is ours -> freed here, not on a thread that answers
 *
 * Who looks a model up holds the mutex for a pointer and a count; the loader and the index, which are few, for a copy
 * of what they tell. Nothing is loaded, searched for a client or freed under it. */
#include "server/model_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/counter.h"

#define MAX_IDLE 4096u /* that are told */

struct model_store {
    _Atomic uint64_t events[MODEL_EVENTS];
    pthread_mutex_t mutex;
    /* under mutex */
    struct model_list *list;
    struct model_store_entry **retired; /* (n_retired), a reference each; only the loader's thread changes these */
    size_t n_retired;
    char loading_name[LIMIT_NAME_BYTES + 1]; /* empty: nothing */
    uint64_t loading_version;
    struct model_store_idle *idle; /* (n_idle), likewise */
    size_t n_idle;
};

static void lock(struct model_store *store)
{
    (void)pthread_mutex_lock(&store->mutex);
}

static void unlock(struct model_store *store)
{
    (void)pthread_mutex_unlock(&store->mutex);
}

struct model_store *model_store_new(void)
{
    struct model_store *store = calloc(1, sizeof *store);
    struct model_list *empty = model_list_new(NULL, "", NULL, 0);
    if (!store || !empty) {
        free(store);
        (void)model_list_unref(empty);
        return NULL;
    }
    store->list = empty;
    (void)pthread_mutex_init(&store->mutex, NULL);
    return store;
}

struct model_store *model_store_free(struct model_store *store)
{
    if (!store)
        return NULL;
    (void)model_list_unref(store->list);
    for (size_t i = 0; i < store->n_retired; i++)
        (void)model_store_entry_unref(store->retired[i]);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store->retired);
    free(store->idle);
    free(store);
    return NULL;
}

struct model_list *model_store_list(struct model_store *store)
{
    lock(store);
    struct model_list *list = model_list_ref(store->list);
    unlock(store);
    return list;
}

enum ebm_status model_store_find(struct model_store *store, const char *name, uint64_t version,
                                 struct model_store_entry **ret_entry, struct ebm_error *reterr)
{
    struct model_list *list = model_store_list(store);
    struct model_store_entry *entry = NULL;
    enum ebm_status status = model_list_find(list, name, version, &entry, reterr);
    if (status == EBM_OK)
        *ret_entry = model_store_entry_ref(entry);
    (void)model_list_unref(list);
    return status;
}

/* ---- the loader's side ---- */

/* Entries of `name` in `before` that `after` has not, behind those that are retired already. */
static void retire(struct model_store *store, const struct model_list *before, const struct model_list *after,
                   const char *name)
{
    struct model_store_entry *const *entries = &before->entries[model_list_first(before, name)];
    size_t n = model_list_count(before, name);
    for (size_t i = 0; i < n; i++)
        if (model_list_at(after, name, entries[i]->version) != entries[i])
            store->retired[store->n_retired++] = model_store_entry_ref(entries[i]);
}

enum ebm_status model_store_publish(struct model_store *store, const char *name,
                                    struct model_store_entry *const *entries, size_t n)
{
    struct model_list *before = model_store_list(store), *after = model_list_new(before, name, entries, n);
    struct model_store_entry **room = calloc(store->n_retired + before->n + 1, sizeof *room), **left = room;
    bool is_done = room && after;
    if (is_done) {
        lock(store);
        if (store->n_retired > 0)
            memcpy(room, store->retired, store->n_retired * sizeof *room);
        left = store->retired;
        store->retired = room;
        retire(store, before, after, name);
        store->list = after;
        unlock(store);
        (void)model_list_unref(before); /* the store's reference */
    } else {
        (void)model_list_unref(after);
    }
    (void)model_list_unref(before);
    free(left);
    return is_done ? EBM_OK : EBM_NO_MEMORY;
}

/* One that nobody uses, taken out; NULL: none. */
static struct model_store_entry *take_unused(struct model_store *store, size_t *ret_left)
{
    struct model_store_entry *entry = NULL;
    lock(store);
    for (size_t i = 0; i < store->n_retired && !entry; i++)
        if (model_store_entry_is_last(store->retired[i])) {
            entry = store->retired[i];
            store->retired[i] = store->retired[--store->n_retired];
        }
    *ret_left = store->n_retired;
    unlock(store);
    return entry;
}

size_t model_store_collect(struct model_store *store)
{
    struct model_store_entry *entry;
    size_t left = 0;
    while ((entry = take_unused(store, &left)) != NULL)
        (void)model_store_entry_unref(entry);
    return left;
}

void model_store_set_loading(struct model_store *store, const char *name, uint64_t version)
{
    lock(store);
    (void)snprintf(store->loading_name, sizeof store->loading_name, "%s", name ? name : "");
    store->loading_version = version;
    unlock(store);
}

void model_store_set_idle(struct model_store *store, const char *name, const struct model_store_idle *idle, size_t n)
{
    struct model_store_idle *all = malloc((store->n_idle + n + 1) * sizeof *all), *before;
    size_t n_all = 0;
    lock(store);
    for (size_t i = 0; all && i < store->n_idle; i++)
        if (strcmp(store->idle[i].name, name) != 0)
            all[n_all++] = store->idle[i];
    for (size_t i = 0; all && i < n && n_all < MAX_IDLE; i++, n_all++) {
        all[n_all] = idle[i];
        (void)snprintf(all[n_all].name, sizeof all[n_all].name, "%s", name);
    }
    before = store->idle;
    store->idle = all;
    store->n_idle = n_all;
    unlock(store);
    free(before);
}

/* ---- telling ---- */

static void add_row(struct model_store_row *rows, size_t *n, const char *name, uint64_t version, enum model_state state)
{
    struct model_store_row *row = &rows[(*n)++];
    *row = (struct model_store_row){.version = version, .state = state};
    (void)snprintf(row->name, sizeof row->name, "%s", name);
}

/* What is so of each, a version in several ways maybe. */
static size_t write_rows(const struct model_store *store, struct model_store_row *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < store->list->n; i++) {
        const struct model_store_entry *entry = store->list->entries[i];
        add_row(rows, &n, entry->name, entry->version, entry->model ? MODEL_READY : MODEL_UNAVAILABLE);
        model_store_entry_reason(entry, rows[n - 1].reason);
    }
    if (store->loading_name[0])
        add_row(rows, &n, store->loading_name, store->loading_version, MODEL_LOADING);
    for (size_t i = 0; i < store->n_retired; i++)
        if (store->retired[i]->model)
            add_row(rows, &n, store->retired[i]->name, store->retired[i]->version, MODEL_UNLOADING);
    for (size_t i = 0; i < store->n_idle; i++) {
        add_row(rows, &n, store->idle[i].name, store->idle[i].version, MODEL_UNAVAILABLE);
        (void)snprintf(rows[n - 1].reason, sizeof rows->reason, "%s", store->idle[i].reason);
    }
    return n;
}

/* Of one version the state that tells most comes first: what answers is READY, whatever else happens to it. */
static int compare_rows(const void *a, const void *b)
{
    const struct model_store_row *left = a, *right = b;
    int names = strcmp(left->name, right->name);
    if (names != 0)
        return names;
    if (left->version != right->version)
        return left->version < right->version ? 1 : -1;
    return (int)left->state - (int)right->state;
}

static size_t keep_first_of_each(struct model_store_row *rows, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || rows[kept - 1].version != rows[i].version || strcmp(rows[kept - 1].name, rows[i].name) != 0)
            rows[kept++] = rows[i];
    return kept;
}

enum ebm_status model_store_index(struct model_store *store, struct model_store_row **ret_rows, size_t *ret_n)
{
    lock(store);
    size_t n = store->list->n + store->n_retired + store->n_idle + 1;
    struct model_store_row *rows = calloc(n, sizeof *rows);
    n = rows ? write_rows(store, rows) : 0;
    unlock(store);
    if (!rows)
        return EBM_NO_MEMORY;
    qsort(rows, n, sizeof *rows, compare_rows);
    *ret_rows = rows;
    *ret_n = keep_first_of_each(rows, n);
    return EBM_OK;
}

void model_store_count_event(struct model_store *store, enum model_event event)
{
    counter_add(&store->events[event], 1);
}

uint64_t model_store_events(const struct model_store *store, enum model_event event)
{
    return counter_get(&store->events[event]);
}
