/* model_list.c - an array in order, and searches in it.
 *
 * Names and versions come from folders, never from clients: a client's name is only compared. */
#include "server/model_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_VERSIONS 6u /* in an error */
#define LISTED_MODELS 5u
#define LISTED_NAME_BYTES 22 /* of a name, or 3 fewer and ...: an error has little room */
#define LIST_BYTES (LISTED_MODELS * (LISTED_NAME_BYTES + 2u) + 48u)

/* ---- making ---- */

static int compare_entries(const void *a, const void *b)
{
    const struct model_store_entry *left = *(struct model_store_entry *const *)a,
                                   *right = *(struct model_store_entry *const *)b;
    int names = strcmp(left->name, right->name);
    return names ? names : left->version < right->version ? 1 : left->version > right->version ? -1 : 0;
}

static void add(struct model_list *list, struct model_store_entry *entry)
{
    list->entries[list->n++] = model_store_entry_ref(entry);
    list->n_available += entry->model != NULL;
}

struct model_list *model_list_new(const struct model_list *from, const char *name,
                                  struct model_store_entry *const *entries, size_t n)
{
    size_t n_before = from ? from->n : 0;
    struct model_list *list = malloc(sizeof *list + (n_before + n) * sizeof *list->entries);
    if (!list)
        return NULL;
    *list = (struct model_list){.n = 0};
    atomic_init(&list->references, 1);
    for (size_t i = 0; i < n_before; i++)
        if (strcmp(from->entries[i]->name, name) != 0)
            add(list, from->entries[i]);
    for (size_t i = 0; i < n; i++)
        add(list, entries[i]);
    qsort(list->entries, list->n, sizeof(struct model_store_entry *), compare_entries);
    return list;
}

struct model_list *model_list_ref(struct model_list *list)
{
    (void)atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
    return list;
}

struct model_list *model_list_unref(struct model_list *list)
{
    if (!list || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) != 1)
        return NULL;
    for (size_t i = 0; i < list->n; i++)
        (void)model_store_entry_unref(list->entries[i]);
    free(list);
    return NULL;
}

/* ---- searching ---- */

size_t model_list_first(const struct model_list *list, const char *name)
{
    size_t low = 0, high = list->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(list->entries[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_named(const struct model_list *list, size_t i, const char *name)
{
    return i < list->n && strcmp(list->entries[i]->name, name) == 0;
}

size_t model_list_count(const struct model_list *list, const char *name)
{
    size_t first = model_list_first(list, name), n = 0;
    while (is_named(list, first + n, name))
        n++;
    return n;
}

struct model_store_entry *model_list_at(const struct model_list *list, const char *name, uint64_t version)
{
    for (size_t i = model_list_first(list, name); is_named(list, i, name); i++)
        if (list->entries[i]->version == version)
            return list->entries[i];
    return NULL;
}

/* The highest version that is available, or the one that is asked for; when there is none, the highest of all. */
static struct model_store_entry *find_by_name(const struct model_list *list, const char *name, uint64_t version)
{
    size_t first = model_list_first(list, name);
    for (size_t i = first; is_named(list, i, name); i++) {
        struct model_store_entry *entry = list->entries[i];
        if (version ? entry->version == version : entry->model != NULL)
            return entry;
    }
    return is_named(list, first, name) ? list->entries[first] : NULL;
}

/* "a, b, c", and how many there are when those are not all. */
static void list_models(const struct model_list *list, char ret_text[LIST_BYTES])
{
    const char *last = NULL;
    size_t used = 0, n = 0;
    (void)snprintf(ret_text, LIST_BYTES, "none");
    for (size_t i = 0; i < list->n; i++) {
        const char *name = list->entries[i]->name;
        if (last && strcmp(name, last) == 0)
            continue;
        bool fits = strlen(name) <= LISTED_NAME_BYTES;
        if (n++ < LISTED_MODELS)
            used += (size_t)snprintf(ret_text + used, LIST_BYTES - used, "%s%.*s%s", used ? ", " : "",
                                     fits ? LISTED_NAME_BYTES : LISTED_NAME_BYTES - 3, name, fits ? "" : "...");
        last = name;
    }
    if (n > LISTED_MODELS)
        (void)snprintf(ret_text + used, LIST_BYTES - used, ", ... (%zu in all, GET / lists them)", n);
}

static enum ebm_status find_only(const struct model_list *list, const char **ret_name, struct ebm_error *reterr)
{
    const char *name = NULL;
    char known[LIST_BYTES];
    for (size_t i = 0; i < list->n; i++) {
        const struct model_store_entry *entry = list->entries[i];
        if (!entry->model)
            continue;
        if (name && strcmp(name, entry->name) != 0) {
            list_models(list, known);
            return ebm_error_set(reterr, EBM_INVALID, "model", "missing: this server has more than one model: %s",
                                 known);
        }
        name = entry->name;
    }
    if (!name)
        return ebm_error_set(reterr, EBM_DAMAGED, "model", "no model is loaded now");
    *ret_name = name;
    return EBM_OK;
}

static enum ebm_status fail_name(const struct model_list *list, const char *name, struct ebm_error *reterr)
{
    char known[LIST_BYTES];
    list_models(list, known);
    return ebm_error_set(reterr, EBM_NOT_FOUND, "model", "there is no model '%.40s' here, there is: %s", name, known);
}

static enum ebm_status fail_version(const struct model_list *list, const char *name, uint64_t version,
                                    struct ebm_error *reterr)
{
    char known[LISTED_VERSIONS * 20] = ""; /* a version has at most 15 digits */
    size_t used = 0, n = 0;
    for (size_t i = model_list_first(list, name); is_named(list, i, name); i++)
        if (n++ < LISTED_VERSIONS)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%" PRIu64, used ? ", " : "",
                                     list->entries[i]->version);
    return ebm_error_set(reterr, EBM_NOT_FOUND, "version",
                         "model '%.60s' has no version %" PRIu64 " here, it has: %s%s", name, version, known,
                         n > LISTED_VERSIONS ? ", ..." : "");
}

enum ebm_status model_list_find(const struct model_list *list, const char *name, uint64_t version,
                                struct model_store_entry **ret_entry, struct ebm_error *reterr)
{
    enum ebm_status status = name ? EBM_OK : find_only(list, &name, reterr);
    if (status != EBM_OK)
        return status;
    struct model_store_entry *entry = find_by_name(list, name, version);
    if (!entry)
        return fail_name(list, name, reterr);
    if (version != 0 && version != entry->version)
        return fail_version(list, entry->name, version, reterr);
    if (!entry->model) {
        char reason[MODEL_STORE_REASON_BYTES];
        model_store_entry_reason(entry, reason);
        return ebm_error_set(reterr, EBM_DAMAGED, "model", "'%s' version %" PRIu64 " is not available: %s", entry->name,
                             entry->version, reason);
    }
    *ret_entry = entry;
    return EBM_OK;
}
