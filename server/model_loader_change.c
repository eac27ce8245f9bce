/* model_loader_change.c - one model, from what it has to what it will have.
 *
 *   its settings -> its versions from the highest down, as the settings want them:
 *     same mark as the entry that there is        -> that entry, or one that shares its model, when settings changed
 *     another mark, and settled                   -> load, prepare -> a new entry; refused: what answered before shares
 *                                                    its model with an entry that says why
 *     another mark, still being written (polls)   -> as before, and looked at again
 *   -> all of them published at once
 *
 * A version that is broken is kept with its error, and the next lower one is loaded in its place. As long as a model's
 * folder is there and nothing in it can be loaded, what answered before goes on. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "server/model_loader_internal.h"

#define MAX_ENTRIES 4096u
#define PATH_BYTES 4096u

static const char not_there[] = "not there: " SERVING_FILE " names it in its version_policy",
                  not_wanted[] = "not loaded: the version policy has other versions",
                  not_settled[] = "not loaded yet: its file is still being written, or is new since the last look";

/* One model's way from what it has to what it will have. */
struct change {
    struct model_loader *loader;
    enum model_loader_why why;
    struct model_loader_known *known;
    const struct repository_model *found, *before; /* before: at the last poll, NULL: not there */
    const struct model_list *list;                 /* of now */
    struct model_store_entry **entries;            /* (n), a reference each */
    size_t n, n_available;
    struct model_store_idle *idle; /* (n_idle) */
    size_t n_idle;
    uint32_t n_refused; /* in this change */
    struct ebm_error refusal;
};

/* ---- one version ---- */

static void log_entry(const struct model_store_entry *entry)
{
    if (entry->model && entry->error.status == EBM_OK)
        ebm_log_info("model loaded: model=%s version=%" PRIu64 " parameters=%" PRIu64, entry->name, entry->version,
                     ebm_config_learned(ebm_model_config(entry->model)));
    else
        ebm_log_error("%s: model=%s version=%" PRIu64 " status=%s at='%s' reason='%s'",
                      entry->model ? "file refused, the model loaded before goes on answering" : "model not available",
                      entry->name, entry->version, ebm_status_name(entry->error.status), entry->error.where,
                      entry->error.text);
}

/* The first of a change, for who asked for it. */
static void note_refusal(struct change *change, const struct model_store_entry *entry)
{
    model_store_count_event(change->loader->store, MODEL_EVENT_REFUSED);
    if (change->n_refused++ == 0)
        (void)ebm_error_set(&change->refusal, EBM_INVALID, entry->name, "version %" PRIu64 " was refused: %s%s%s",
                            entry->version, entry->error.where, entry->error.where[0] ? ": " : "", entry->error.text);
}

static enum ebm_status load_file(const struct change *change, struct model_store_entry *entry)
{
    struct model_loader *loader = change->loader;
    char path[PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s/%" PRIu64 "/model.safetensors", loader->config.folder, entry->name,
                 entry->version) >= (int)sizeof path)
        return ebm_error_set(&entry->error, EBM_TOO_LARGE, "", "its path is longer than %u bytes", PATH_BYTES);
    enum ebm_status status = model_store_entry_load(entry, path, loader->config.stop);
    if (status == EBM_OK && loader->prepare) {
        status = loader->prepare(loader->prepare_user, entry, &entry->error);
        if (status != EBM_OK)
            model_store_entry_refuse(entry);
    }
    return status;
}

static struct model_store_entry *new_entry(const struct change *change, uint64_t version,
                                           const struct model_store_entry *old)
{
    return model_store_entry_new(change->found->name, version, change->loader->config.ops, change->known->serving, old);
}

/* Reads the file into a new entry. NULL: no memory, or told to stop, which `change->refusal` says. */
static struct model_store_entry *load(struct change *change, uint64_t version, const struct model_store_entry *old)
{
    struct model_store *store = change->loader->store;
    struct model_store_entry *entry = new_entry(change, version, old);
    if (!entry)
        return NULL;
    model_store_set_loading(store, entry->name, version);
    enum ebm_status status = load_file(change, entry);
    model_store_set_loading(store, NULL, 0);
    if (status == EBM_CANCELLED) {
        change->refusal = entry->error;
        return model_store_entry_unref(entry);
    }
    if (status != EBM_OK) {
        note_refusal(change, entry);
        if (old)
            model_store_entry_share(entry, old);
    } else {
        model_store_count_event(store, MODEL_EVENT_LOADED);
    }
    log_entry(entry);
    return entry;
}

/* The entry that there is, or its like under other settings. */
static struct model_store_entry *keep(struct change *change, struct model_store_entry *old)
{
    if (old->serving == change->known->serving)
        return model_store_entry_ref(old);
    struct model_store_entry *entry = new_entry(change, old->version, old);
    if (entry) {
        model_store_entry_share(entry, old);
        entry->mark = old->mark;
        entry->error = old->error;
    }
    return entry;
}

static bool is_settled(const struct change *change, const struct repository_version *version)
{
    const struct repository_version *before = change->before ? repository_find_version(change->before, version->version)
                                                             : NULL;
    return change->why != BY_POLL || (before && file_mark_is_same(&before->model, &version->model));
}

static bool must_load(const struct change *change, const struct repository_version *version,
                      const struct model_store_entry *old)
{
    if (!old || !file_mark_is_same(&old->mark, &version->model))
        return true;
    bool may_pass = old->error.status == EBM_NO_MEMORY;
    return old->error.status != EBM_OK && (may_pass || change->why == BY_REQUEST);
}

static void add_idle(struct change *change, uint64_t version, const char *reason)
{
    struct model_store_idle *idle = &change->idle[change->n_idle++];
    idle->version = version;
    idle->reason = reason;
}

/* A model whose settings were never good: one entry says so. */
static enum ebm_status take_nothing(struct change *change, struct ebm_error *reterr)
{
    uint64_t version = change->found->versions[0].version;
    struct model_store_entry *old = model_list_at(change->list, change->found->name, version), *entry;
    bool is_old = old && old->serving == change->known->serving;
    entry = is_old ? model_store_entry_ref(old) : new_entry(change, version, old);
    if (!entry)
        return ebm_error_set(reterr, EBM_NO_MEMORY, change->found->name, "no memory");
    change->entries[change->n++] = entry;
    return EBM_OK;
}

static enum ebm_status take_version(struct change *change, const struct repository_version *version,
                                    struct ebm_error *reterr)
{
    struct model_store_entry *old = model_list_at(change->list, change->found->name, version->version), *entry = NULL;
    bool loads = must_load(change, version, old);
    if (loads && !is_settled(change, version)) {
        loads = false;
        if (!old) {
            add_idle(change, version->version, not_settled);
            return EBM_OK;
        }
    }
    entry = loads ? load(change, version->version, old) : keep(change, old);
    if (!entry && change->refusal.status == EBM_CANCELLED)
        return ebm_error_set(reterr, EBM_CANCELLED, "", "%s", change->refusal.text);
    if (!entry)
        return ebm_error_set(reterr, EBM_NO_MEMORY, change->found->name, "no memory");
    change->entries[change->n++] = entry;
    change->n_available += entry->model != NULL;
    return EBM_OK;
}

/* ---- one model ---- */

static enum ebm_status take_versions(struct change *change, struct ebm_error *reterr)
{
    enum ebm_status status = EBM_OK;
    if (change->known->serving->is_unusable)
        return take_nothing(change, reterr);
    for (size_t i = 0; i < change->found->n_versions && status == EBM_OK; i++) {
        const struct repository_version *version = &change->found->versions[i];
        if (serving_wants(change->known->serving, version->version, change->n_available))
            status = take_version(change, version, reterr);
        else
            add_idle(change, version->version, not_wanted);
    }
    return status;
}

/* Nothing that is there now can be loaded: what answered before goes on. */
static void keep_what_answered(struct change *change)
{
    const char *name = change->found->name;
    const struct model_list *list = change->list;
    struct model_store_entry *const *before = &list->entries[model_list_first(list, name)];
    size_t n = model_list_count(list, name);
    for (size_t i = 0; i < n; i++)
        if (before[i]->model) {
            change->entries[change->n++] = model_store_entry_ref(before[i]);
            change->n_available++;
        }
}

/* Versions that the policy names and that are not there. */
static void tell_missing(struct change *change)
{
    const struct serving *serving = change->known->serving;
    for (uint32_t i = 0; serving->policy == SERVING_BY_NAME && i < serving->n_specific; i++)
        if (!repository_find_version(change->found, serving->specific[i]))
            add_idle(change, serving->specific[i], not_there);
}

static bool is_as_before(const struct change *change, size_t n_before)
{
    bool is_same = change->n == n_before;
    for (size_t i = 0; i < change->n && is_same; i++)
        is_same = model_list_at(change->list, change->found->name, change->entries[i]->version) == change->entries[i];
    return is_same;
}

static enum ebm_status publish(struct change *change, size_t n_before, struct ebm_error *reterr)
{
    const char *name = change->found->name;
    if (change->list->n - n_before + change->n > MAX_ENTRIES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, name, "more than %u versions of models", MAX_ENTRIES);
    if (!is_as_before(change, n_before) &&
        model_store_publish(change->loader->store, name, change->entries, change->n) != EBM_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, name, "no memory");
    model_store_set_idle(change->loader->store, name, change->idle, change->n_idle);
    return EBM_OK;
}

static enum ebm_status make_change(struct change *change, struct ebm_error *reterr)
{
    size_t n_before = model_list_count(change->list, change->found->name), n_found = change->found->n_versions;
    EBM_AUTO(ebm_freep) struct model_store_entry **entries = calloc(n_found + n_before + 1, sizeof(void *));
    EBM_AUTO(ebm_freep) struct model_store_idle *idle = calloc(n_found + SERVING_SPECIFIC, sizeof *idle);
    if (!entries || !idle)
        return ebm_error_set(reterr, EBM_NO_MEMORY, change->found->name, "no memory");
    change->entries = entries;
    change->idle = idle;
    enum ebm_status status = take_versions(change, reterr);
    tell_missing(change);
    if (status == EBM_OK && change->n_available == 0)
        keep_what_answered(change);
    if (status == EBM_OK)
        status = publish(change, n_before, reterr);
    for (size_t i = 0; i < change->n; i++)
        (void)model_store_entry_unref(entries[i]);
    return status;
}

/* ---- settings ---- */

/* The settings that the file has; with a refused one those before, or none that can be used, beside the error. NULL: no
 * memory. */
static struct serving *read_settings(const struct model_loader *loader, const struct model_loader_known *known,
                                     bool has_file)
{
    const struct serving *standard = loader->config.standard;
    char path[PATH_BYTES];
    struct serving *serving = NULL;
    struct ebm_error error = {.status = EBM_OK};
    if (!has_file)
        return serving_ref(loader->config.standard);
    bool fits = (size_t)snprintf(path, sizeof path, "%s/%s/" SERVING_FILE, loader->config.folder, known->name) <
                sizeof path;
    if (!fits)
        (void)ebm_error_set(&error, EBM_TOO_LARGE, SERVING_FILE, "its path is longer than %u bytes", PATH_BYTES);
    else if (serving_read(path, standard, loader->config.limits, &serving, &error) == EBM_OK)
        return serving;
    ebm_log_error("settings refused: model=%s at='%s' reason='%s'", known->name, error.where, error.text);
    return serving_with_error(known->serving ? known->serving : standard, &error,
                              !known->serving || known->serving->is_unusable);
}

/* Reads serving.json when it is another one than before. */
static enum ebm_status bring_settings(struct change *change, struct ebm_error *reterr)
{
    struct model_loader_known *known = change->known;
    const struct file_mark *now = &change->found->serving;
    bool is_same = known->serving && file_mark_is_same(now, &known->serving_mark),
         is_settled = change->why != BY_POLL || (change->before && file_mark_is_same(now, &change->before->serving)),
         is_retried = known->serving && known->serving->error.status != EBM_OK && change->why == BY_REQUEST;
    if ((is_same && !is_retried) || (known->serving && !is_settled))
        return EBM_OK;
    struct serving *serving = read_settings(change->loader, known, !file_mark_is_none(now));
    if (!serving)
        return ebm_error_set(reterr, EBM_NO_MEMORY, known->name, "no memory");
    if (serving->error.status != EBM_OK) {
        model_store_count_event(change->loader->store, MODEL_EVENT_REFUSED);
        change->refusal = serving->error;
        change->n_refused++;
    }
    (void)serving_unref(known->serving);
    known->serving = serving;
    known->serving_mark = *now;
    return EBM_OK;
}

enum ebm_status model_loader_change(struct model_loader *loader, struct model_loader_known *known,
                                    const struct repository_model *found, enum model_loader_why why,
                                    struct ebm_error *reterr)
{
    struct model_list *list = model_store_list(loader->store);
    struct change change = {
        .loader = loader,
        .why = why,
        .known = known,
        .found = found,
        .before = repository_find(&loader->before, found->name),
        .list = list,
    };
    enum ebm_status status = bring_settings(&change, reterr);
    if (status == EBM_OK)
        status = make_change(&change, reterr);
    (void)model_list_unref(list);
    if (status == EBM_OK && change.n_refused > 0) {
        *reterr = change.refusal;
        status = change.refusal.status;
    }
    return status;
}
