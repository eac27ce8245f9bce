/* model_loader.c - from marks on the disk to entries in the store, a model at a time.
 *
 *   look at the folder -> for each model: its settings -> its versions from the highest down, as the settings want
 * them: same mark as the entry that there is        -> that entry, or one that shares its model, when settings changed
 *     another mark, and settled                   -> load, prepare -> a new entry; refused: what answered before shares
 *                                                    its model with an entry that says why
 *     another mark, still being written (polls)   -> as before, and looked at again
 *   -> all of them published at once
 *
 * A version that is broken is kept with its error, and the next lower one is loaded in its place. As long as a model's
 * folder is there and nothing in it can be loaded, what answered before goes on.
 * Guarantees: a broken model costs only itself. Does not: compute, know who asks. */
#include "server/model_loader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

#define MAX_ENTRIES 4096u
#define PATH_BYTES 4096u

static const char not_there[] = "not there: " SERVING_FILE " names it in its version_policy",
                  not_wanted[] = "not loaded: the version policy has other versions",
                  not_settled[] = "not loaded yet: its file is still being written, or is new since the last look",
                  not_asked[] = "unloaded";

/* What polls must remember of a model. */
struct known {
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

enum why { AT_START, BY_POLL, BY_REQUEST };

/* One model's way from what it has to what it will have. */
struct change {
    struct model_loader *loader;
    enum why why;
    const struct known *known;
    const struct repository_model *found, *before; /* before: at the last poll, NULL: not there */
    const struct model_list *list;                 /* of now */
    struct model_store_entry **entries;            /* (n), a reference each */
    size_t n, n_available;
    struct model_store_idle *idle; /* (n_idle) */
    size_t n_idle;
    uint32_t n_refused; /* in this change */
    struct ebm_error refusal;
};

/* ---- life ---- */

struct model_loader *model_loader_new(const struct model_loader_config *config, struct model_store *store)
{
    struct model_loader *loader = calloc(1, sizeof *loader);
    if (!loader)
        return NULL;
    loader->config = *config;
    loader->store = store;
    loader->was_readable = true;
    (void)serving_ref(config->standard);
    ebm_list_init(&loader->known);
    return loader;
}

static void forget(struct known *known)
{
    ebm_list_remove(&known->link);
    (void)serving_unref(known->serving);
    free(known);
}

struct model_loader *model_loader_free(struct model_loader *loader)
{
    if (!loader)
        return NULL;
    while (!ebm_list_is_empty(&loader->known))
        forget(EBM_CONTAINER_OF(loader->known.next, struct known, link));
    repository_done(&loader->before);
    (void)serving_unref(loader->config.standard);
    free(loader);
    return NULL;
}

void model_loader_set_prepare(struct model_loader *loader, model_loader_prepare_fn *prepare, void *user)
{
    loader->prepare = prepare;
    loader->prepare_user = user;
}

static struct known *find_known(struct model_loader *loader, const char *name)
{
    for (struct ebm_list *link = loader->known.next; link != &loader->known; link = link->next) {
        struct known *known = EBM_CONTAINER_OF(link, struct known, link);
        if (strcmp(known->name, name) == 0)
            return known;
    }
    return NULL;
}

/* The model's, made when it is new; NULL: no memory. */
static struct known *get_known(struct model_loader *loader, const char *name)
{
    struct known *known = find_known(loader, name);
    if (known)
        return known;
    known = calloc(1, sizeof *known);
    if (!known)
        return NULL;
    (void)snprintf(known->name, sizeof known->name, "%s", name);
    ebm_list_append(&loader->known, &known->link);
    return known;
}

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
    (void)snprintf(idle->name, sizeof idle->name, "%s", change->found->name);
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
    for (size_t i = model_list_first(list, name); i < list->n && strcmp(list->entries[i]->name, name) == 0; i++)
        if (list->entries[i]->model) {
            change->entries[change->n++] = model_store_entry_ref(list->entries[i]);
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

static size_t count_named(const struct model_list *list, const char *name)
{
    size_t n = 0;
    for (size_t i = model_list_first(list, name); i < list->n && strcmp(list->entries[i]->name, name) == 0; i++)
        n++;
    return n;
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
    size_t n_before = count_named(change->list, change->found->name), n_found = change->found->n_versions;
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
static struct serving *read_settings(const struct model_loader *loader, const struct known *known, bool has_file)
{
    const struct serving *standard = loader->config.standard;
    char path[PATH_BYTES];
    struct serving *serving = NULL;
    struct ebm_error error = {.status = EBM_OK};
    if (!has_file)
        return serving_ref(loader->config.standard);
    (void)snprintf(path, sizeof path, "%s/%s/" SERVING_FILE, loader->config.folder, known->name);
    if (serving_read(path, standard, loader->config.limits, &serving, &error) == EBM_OK)
        return serving;
    ebm_log_error("settings refused: model=%s at='%s' reason='%s'", known->name, error.where, error.text);
    return serving_with_error(known->serving ? known->serving : standard, &error,
                              !known->serving || known->serving->is_unusable);
}

/* Reads serving.json when it is another one than before. */
static enum ebm_status bring_settings(struct change *change, struct known *known, struct ebm_error *reterr)
{
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

/* INVALID: something of it was refused, in the log by now. */
static enum ebm_status bring_up(struct model_loader *loader, const struct repository_model *found, enum why why,
                                struct ebm_error *reterr)
{
    struct known *known = get_known(loader, found->name);
    if (!known)
        return ebm_error_set(reterr, EBM_NO_MEMORY, found->name, "no memory");
    if (why == BY_REQUEST)
        known->unloaded = false;
    if (known->unloaded)
        return EBM_OK;
    struct model_list *list = model_store_list(loader->store);
    struct change change = {
        .loader = loader,
        .why = why,
        .known = known,
        .found = found,
        .before = repository_find(&loader->before, found->name),
        .list = list,
    };
    enum ebm_status status = bring_settings(&change, known, reterr);
    if (status == EBM_OK)
        status = make_change(&change, reterr);
    (void)model_list_unref(list);
    if (status == EBM_OK && change.n_refused > 0) {
        *reterr = change.refusal;
        status = change.refusal.status;
    }
    return status;
}

/* ---- everything ---- */

enum ebm_status model_loader_start(struct model_loader *loader, struct ebm_error *reterr)
{
    struct repository *found = &loader->before;
    struct ebm_error error = {.status = EBM_OK};
    enum ebm_status status = repository_look(loader->config.folder, NULL, true, found, reterr);
    for (size_t i = 0; i < found->n && status == EBM_OK; i++) {
        if (atomic_load(loader->config.stop))
            status = ebm_error_set(&error, EBM_CANCELLED, "", "told to stop");
        else if (found->models[i].n_versions > 0)
            status = bring_up(loader, &found->models[i], AT_START, &error);
        status = status == EBM_INVALID ? EBM_OK : status;
        if (status != EBM_OK && reterr)
            *reterr = error;
    }
    struct model_list *list = model_store_list(loader->store);
    if (status == EBM_OK && list->n_available == 0 && !loader->config.may_be_empty)
        status = ebm_error_set(reterr, EBM_INVALID, "--model-repository",
                               "no model could be loaded from '%.120s' (%zu found), expected "
                               "<model>/<version number>/model.safetensors in it",
                               loader->config.folder, list->n);
    (void)model_list_unref(list);
    return status;
}

static enum ebm_status take_out(struct model_loader *loader, const char *name, const char *why)
{
    enum ebm_status status = model_store_publish(loader->store, name, NULL, 0);
    if (status != EBM_OK)
        return status;
    model_store_count_event(loader->store, MODEL_EVENT_UNLOADED);
    ebm_log_info("model unloaded: model=%s reason='%s'", name, why);
    return EBM_OK;
}

/* Models whose folders are no longer there. */
static void drop_missing(struct model_loader *loader, const struct repository *found)
{
    struct model_list *list = model_store_list(loader->store);
    for (size_t i = 0; i < list->n; i++) {
        const char *name = list->entries[i]->name;
        bool is_first = i == 0 || strcmp(list->entries[i - 1]->name, name) != 0;
        const struct repository_model *model = repository_find(found, name);
        if (is_first && (!model || model->n_versions == 0))
            (void)take_out(loader, name, "it is no longer in the repository"); /* or at the next poll */
    }
    (void)model_list_unref(list);
    struct ebm_list *next;
    for (struct ebm_list *link = loader->known.next; link != &loader->known; link = next) {
        struct known *known = EBM_CONTAINER_OF(link, struct known, link);
        next = link->next;
        if (repository_find(found, known->name))
            continue;
        model_store_set_idle(loader->store, known->name, NULL, 0);
        forget(known);
    }
}

/* A folder that cannot be read, or has nothing left in it, is more likely a disk that went away than a wish. */
static bool is_readable(struct model_loader *loader, struct repository *ret_found)
{
    struct ebm_error error = {.status = EBM_OK};
    bool is_good = repository_look(loader->config.folder, NULL, false, ret_found, &error) == EBM_OK;
    struct model_list *list = model_store_list(loader->store);
    if (is_good && ret_found->n == 0 && list->n > 0) {
        (void)ebm_error_set(&error, EBM_NOT_FOUND, "--model-repository", "there is no model in it any more");
        repository_done(ret_found);
        is_good = false;
    }
    (void)model_list_unref(list);
    if (!is_good && loader->was_readable)
        ebm_log_warning("repository not read, what is loaded goes on answering: reason='%s'", error.text);
    loader->was_readable = is_good;
    return is_good;
}

void model_loader_poll(struct model_loader *loader)
{
    struct repository found;
    if (!is_readable(loader, &found))
        return;
    for (size_t i = 0; i < found.n && !atomic_load(loader->config.stop); i++) {
        struct ebm_error error = {.status = EBM_OK};
        if (found.models[i].n_versions == 0)
            continue;
        enum ebm_status status = bring_up(loader, &found.models[i], BY_POLL, &error);
        if (status != EBM_OK && status != EBM_INVALID && status != EBM_CANCELLED)
            ebm_log_error("model not looked at: model=%s at='%s' reason='%s'", found.models[i].name, error.where,
                          error.text);
    }
    drop_missing(loader, &found);
    repository_done(&loader->before);
    loader->before = found;
}

/* ---- by request ---- */

enum ebm_status model_loader_load(struct model_loader *loader, const char *name, struct ebm_error *reterr)
{
    struct repository found;
    if (atomic_load(loader->config.stop))
        return ebm_error_set(reterr, EBM_CANCELLED, "", "the server is stopping");
    enum ebm_status status = repository_look(loader->config.folder, name, true, &found, reterr);
    if (status != EBM_OK)
        return status;
    if (found.n == 0 || found.models[0].n_versions == 0)
        status = ebm_error_set(reterr, EBM_NOT_FOUND, "model",
                               "the repository has no '%.40s' with a version's folder in it", name);
    else
        status = bring_up(loader, &found.models[0], BY_REQUEST, reterr);
    repository_done(&found);
    return status;
}

/* All its versions are told as unloaded. */
static void tell_unloaded(struct model_loader *loader, const struct model_list *list, const char *name)
{
    size_t first = model_list_first(list, name), n = count_named(list, name);
    EBM_AUTO(ebm_freep) struct model_store_idle *idle = calloc(n + 1, sizeof *idle);
    for (size_t i = 0; idle && i < n; i++) {
        idle[i].version = list->entries[first + i]->version;
        idle[i].reason = not_asked;
        (void)snprintf(idle[i].name, sizeof idle[i].name, "%s", name);
    }
    if (idle)
        model_store_set_idle(loader->store, name, idle, n);
}

enum ebm_status model_loader_unload(struct model_loader *loader, const char *name, struct ebm_error *reterr)
{
    struct known *known = find_known(loader, name);
    if (!known)
        return ebm_error_set(reterr, EBM_NOT_FOUND, "model", "there is no model '%.40s' here", name);
    if (known->unloaded)
        return EBM_OK;
    struct model_list *list = model_store_list(loader->store);
    enum ebm_status status = take_out(loader, known->name, "asked to");
    if (status == EBM_OK) {
        known->unloaded = true;
        tell_unloaded(loader, list, known->name);
    } else {
        (void)ebm_error_set(reterr, status, "model", "no memory");
    }
    (void)model_list_unref(list);
    return status;
}
