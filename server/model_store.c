/* model_store.c - scans a repository and loads it.
 *
 *   DIR -> folders with valid names -> highest version numbers each -> model file -> plan on the device -> entry
 *
 * Versions are loaded from the highest down until as many as are wanted are available: one that is broken is kept with
 * its error, and the next lower one is loaded in its place.
 *
 * Names and versions come from folder names, never from clients: a client's name is only compared. Hidden folders and
 * files are passed over in silence, names that no request could ask for with a warning.
 * Guarantees: entries stand in the order of their names and versions and never change; a broken model costs only
 * itself. Does not: watch the folder, compute. */
#include "server/model_store.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"

#define MAX_ENTRIES 4096u
#define MAX_VERSIONS 1024u /* of one model */
#define LISTED_VERSIONS 6u /* in an error */
#define LISTED_MODELS 5u
#define LISTED_NAME_BYTES 22 /* of a name, or 3 fewer and ...: an error has little room */
#define LIST_BYTES (LISTED_MODELS * (LISTED_NAME_BYTES + 2u) + 48u)
#define PATH_BYTES 4096u
#define FLOAT_DIGITS 9
#define DOUBLE_DIGITS 17

struct model_store {
    size_t n_entries;
    struct model_store_entry *entries[MAX_ENTRIES];
};

/* ---- entries ---- */

struct model_store_entry *model_store_entry_unref(struct model_store_entry *entry)
{
    if (!entry || atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) != 1)
        return NULL;
    (void)entry->ops->plan_unref(entry->plan);
    (void)ebm_model_unref(entry->model);
    free(entry->name);
    free(entry);
    return NULL;
}

/* A prediction is a float around a mean: when the mean is large beside the spread, 9 digits are too few. */
static int needed_digits(const struct ebm_target_config *target)
{
    double ratio = 1.0;
    for (uint32_t d = 0; d < target->dim; d++)
        ratio = fmax(ratio, fabs(target->mean[d]) / target->std[d]);
    int digits = FLOAT_DIGITS + (int)fmin(ceil(log10(ratio)), DOUBLE_DIGITS);
    return digits < DOUBLE_DIGITS ? digits : DOUBLE_DIGITS;
}

static enum ebm_status load(struct model_store_entry *entry, const char *path, const _Atomic bool *stop,
                            struct ebm_error *reterr)
{
    enum ebm_status status = ebm_model_load(path, LIMIT_FILE_BYTES, &entry->model, reterr);
    if (status != EBM_OK)
        return status;
    if (atomic_load(stop))
        status = ebm_error_set(reterr, EBM_CANCELLED, "", "told to stop");
    else
        status = entry->ops->plan_new(ebm_model_net(entry->model), ebm_model_params(entry->model), 0, &entry->plan,
                                      reterr);
    if (status != EBM_OK)
        entry->model = ebm_model_unref(entry->model);
    else
        entry->digits = needed_digits(&ebm_model_config(entry->model)->target);
    return status;
}

static struct model_store_entry *entry_new(const char *name, uint64_t version, const struct ebm_device_ops *ops,
                                           uint32_t max_batch_rows)
{
    struct model_store_entry *entry = calloc(1, sizeof *entry);
    char *copy = strdup(name);
    if (!entry || !copy) {
        free(entry);
        free(copy);
        return NULL;
    }
    atomic_init(&entry->references, 1);
    entry->ops = ops;
    entry->name = copy;
    entry->version = version;
    batcher_lane_init(&entry->lane, max_batch_rows);
    return entry;
}

/* ---- scanning ---- */

/* A folder's name as a version number; 0 when it is none. */
static uint64_t version_of(const char *name)
{
    size_t length = strlen(name);
    bool is_number = length > 0 && length <= 15 && name[0] != '0' && strspn(name, "0123456789") == length;
    return is_number ? strtoull(name, NULL, 10) : 0;
}

static bool is_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder)
        (void)closedir(folder);
    return folder != NULL;
}

/* Has the version folder a model file? */
static bool has_model(DIR *folder, const char *version)
{
    char path[64];
    int length = snprintf(path, sizeof path, "%s/model.safetensors", version);
    return length < (int)sizeof path && faccessat(dirfd(folder), path, F_OK, 0) == 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? 1 : left > right ? -1 : 0;
}

/* One more number of n, in any order; a full list keeps the highest. Returns how many there are then. */
static size_t keep_if_high(uint64_t versions[MAX_VERSIONS], size_t n, uint64_t version)
{
    size_t lowest = 0;
    if (n < MAX_VERSIONS) {
        versions[n] = version;
        return n + 1;
    }
    for (size_t i = 1; i < n; i++)
        lowest = versions[i] < versions[lowest] ? i : lowest;
    if (version > versions[lowest])
        versions[lowest] = version;
    return n;
}

/* The versions in a model's folder that have a model file, the highest first; when none has, the highest number, so
 * that loading it says what is missing. Returns how many. */
static size_t list_versions(const char *path, uint64_t ret_versions[MAX_VERSIONS])
{
    DIR *folder = opendir(path);
    uint64_t highest_number = 0;
    size_t n = 0;
    struct dirent *item;
    while (folder && (item = readdir(folder)) != NULL) {
        uint64_t version = version_of(item->d_name);
        highest_number = version > highest_number ? version : highest_number;
        if (version > 0 && has_model(folder, item->d_name))
            n = keep_if_high(ret_versions, n, version);
    }
    if (folder)
        (void)closedir(folder);
    qsort(ret_versions, n, sizeof *ret_versions, compare_numbers);
    if (n == 0 && highest_number > 0)
        ret_versions[n++] = highest_number;
    return n;
}

static void log_entry(const struct model_store_entry *entry)
{
    if (entry->model)
        ebm_log_info("model loaded: model=%s version=%" PRIu64 " parameters=%" PRIu64, entry->name, entry->version,
                     ebm_config_learned(ebm_model_config(entry->model)));
    else
        ebm_log_error("model not available: model=%s version=%" PRIu64 " status=%s at='%s' reason='%s'", entry->name,
                      entry->version, ebm_status_name(entry->error.status), entry->error.where, entry->error.text);
}

static enum ebm_status add_version(struct model_store *store, const struct model_store_config *config, const char *name,
                                   uint64_t version, bool *ret_is_available, struct ebm_error *reterr)
{
    char path[PATH_BYTES];
    if (store->n_entries == MAX_ENTRIES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, name, "more than %u versions of models in %s", MAX_ENTRIES,
                             config->folder);
    struct model_store_entry *entry = entry_new(name, version, config->ops, config->max_batch_rows);
    if (!entry)
        return ebm_error_set(reterr, EBM_NO_MEMORY, name, "no memory");
    store->entries[store->n_entries++] = entry;
    if (snprintf(path, sizeof path, "%s/%s/%" PRIu64 "/model.safetensors", config->folder, name, version) >=
        (int)sizeof path)
        return ebm_error_set(reterr, EBM_TOO_LARGE, name, "path is longer than %u bytes", PATH_BYTES);
    enum ebm_status status = load(entry, path, config->stop, &entry->error);
    if (status == EBM_CANCELLED)
        return ebm_error_set(reterr, status, "", "%s", entry->error.text);
    log_entry(entry);
    *ret_is_available = entry->model != NULL;
    return EBM_OK;
}

static enum ebm_status add_model(struct model_store *store, const struct model_store_config *config, const char *name,
                                 struct ebm_error *reterr)
{
    char path[PATH_BYTES];
    uint64_t versions[MAX_VERSIONS], n_available = 0;
    if (snprintf(path, sizeof path, "%s/%s", config->folder, name) >= (int)sizeof path || !is_folder(path))
        return EBM_OK;
    size_t n = list_versions(path, versions);
    if (n == 0)
        ebm_log_warning("model passed over: no folder with a version number: model=%s", name);
    for (size_t i = 0; i < n && (config->max_versions == 0 || n_available < config->max_versions); i++) {
        bool is_available = false;
        enum ebm_status status = add_version(store, config, name, versions[i], &is_available, reterr);
        if (status != EBM_OK)
            return status;
        n_available += is_available;
    }
    return EBM_OK;
}

static enum ebm_status scan(struct model_store *store, const struct model_store_config *config,
                            struct ebm_error *reterr)
{
    DIR *folder = opendir(config->folder);
    if (!folder)
        return ebm_error_set(reterr, EBM_NOT_FOUND, "--model-repository", "cannot read the folder '%.120s': %s",
                             config->folder, strerror(errno));
    enum ebm_status status = EBM_OK;
    struct dirent *item;
    while (status == EBM_OK && (item = readdir(folder)) != NULL) {
        if (atomic_load(config->stop))
            status = ebm_error_set(reterr, EBM_CANCELLED, "", "told to stop");
        else if (ebm_name_is_valid(item->d_name))
            status = add_model(store, config, item->d_name, reterr);
        else if (item->d_name[0] != '.')
            ebm_log_warning("model passed over: its name has other characters than A-Z a-z 0-9 . _ - : name='%s'",
                            item->d_name);
    }
    (void)closedir(folder);
    return status;
}

static int compare_entries(const void *a, const void *b)
{
    const struct model_store_entry *left = *(struct model_store_entry *const *)a,
                                   *right = *(struct model_store_entry *const *)b;
    int names = strcmp(left->name, right->name);
    return names ? names : compare_numbers(&left->version, &right->version);
}

static size_t count_available(const struct model_store *store)
{
    size_t n = 0;
    for (size_t i = 0; i < store->n_entries; i++)
        n += store->entries[i]->model != NULL;
    return n;
}

enum ebm_status model_store_open(const struct model_store_config *config, struct model_store **ret_store,
                                 struct ebm_error *reterr)
{
    struct model_store *store = calloc(1, sizeof *store);
    if (!store)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "model store", "no memory");
    enum ebm_status status = scan(store, config, reterr);
    if (status == EBM_OK && count_available(store) == 0)
        status = ebm_error_set(reterr, EBM_INVALID, "--model-repository",
                               "no model could be loaded from '%.120s' (%zu found), expected "
                               "<model>/<version number>/model.safetensors in it",
                               config->folder, store->n_entries);
    if (status != EBM_OK) {
        (void)model_store_free(store);
        return status;
    }
    qsort(store->entries, store->n_entries, sizeof *store->entries, compare_entries);
    *ret_store = store;
    return EBM_OK;
}

struct model_store *model_store_free(struct model_store *store)
{
    if (!store)
        return NULL;
    for (size_t i = 0; i < store->n_entries; i++)
        (void)model_store_entry_unref(store->entries[i]);
    free(store);
    return NULL;
}

/* ---- asking ---- */

size_t model_store_count(const struct model_store *store)
{
    return store->n_entries;
}

struct model_store_entry *model_store_at(const struct model_store *store, size_t index)
{
    EBM_ASSERT(index < store->n_entries);
    return store->entries[index];
}

/* The highest version that is available, or the one that is asked for; when there is none, the highest of all. */
static struct model_store_entry *find_by_name(const struct model_store *store, const char *name, uint64_t version)
{
    struct model_store_entry *first = NULL;
    for (size_t i = 0; i < store->n_entries; i++) {
        struct model_store_entry *entry = store->entries[i];
        if (strcmp(entry->name, name) != 0)
            continue;
        if (version ? entry->version == version : entry->model != NULL)
            return entry;
        first = first ? first : entry;
    }
    return first;
}

/* "a, b, c", and how many there are when those are not all. */
static void list_models(const struct model_store *store, char ret_text[LIST_BYTES])
{
    const char *last = NULL;
    size_t used = 0, n = 0;
    ret_text[0] = 0;
    for (size_t i = 0; i < store->n_entries; i++) {
        const char *name = store->entries[i]->name;
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

static enum ebm_status find_only(const struct model_store *store, const char **ret_name, struct ebm_error *reterr)
{
    const char *name = NULL;
    char known[LIST_BYTES];
    for (size_t i = 0; i < store->n_entries; i++) {
        const struct model_store_entry *entry = store->entries[i];
        if (!entry->model)
            continue;
        if (name && strcmp(name, entry->name) != 0) {
            list_models(store, known);
            return ebm_error_set(reterr, EBM_INVALID, "model", "missing: this server has more than one model: %s",
                                 known);
        }
        name = entry->name;
    }
    *ret_name = name; /* a store that opened has one */
    return EBM_OK;
}

static enum ebm_status fail_name(const struct model_store *store, const char *name, struct ebm_error *reterr)
{
    char known[LIST_BYTES];
    list_models(store, known);
    return ebm_error_set(reterr, EBM_NOT_FOUND, "model", "there is no model '%.40s' here, there is: %s", name, known);
}

static enum ebm_status fail_version(const struct model_store *store, const char *name, uint64_t version,
                                    struct ebm_error *reterr)
{
    char known[LISTED_VERSIONS * 20] = ""; /* a version has at most 15 digits */
    size_t used = 0, n = 0;
    for (size_t i = 0; i < store->n_entries; i++)
        if (strcmp(store->entries[i]->name, name) == 0 && n++ < LISTED_VERSIONS)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%" PRIu64, used ? ", " : "",
                                     store->entries[i]->version);
    return ebm_error_set(reterr, EBM_NOT_FOUND, "version",
                         "model '%.60s' has no version %" PRIu64 " here, it has: %s%s", name, version, known,
                         n > LISTED_VERSIONS ? ", ..." : "");
}

enum ebm_status model_store_find(const struct model_store *store, const char *name, uint64_t version,
                                 struct model_store_entry **ret_entry, struct ebm_error *reterr)
{
    enum ebm_status status = name ? EBM_OK : find_only(store, &name, reterr);
    if (status != EBM_OK)
        return status;
    struct model_store_entry *entry = find_by_name(store, name, version);
    if (!entry)
        return fail_name(store, name, reterr);
    if (version != 0 && version != entry->version)
        return fail_version(store, entry->name, version, reterr);
    if (!entry->model)
        return ebm_error_set(reterr, EBM_DAMAGED, "model", "'%s' version %" PRIu64 " is not available: %s%s%s",
                             entry->name, entry->version, entry->error.where, entry->error.where[0] ? ": " : "",
                             entry->error.text);
    (void)atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    *ret_entry = entry;
    return EBM_OK;
}
