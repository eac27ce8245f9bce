/* model_loader.c - from marks on the disk to entries in the store, a model at a time.
 *
 *   start, poll   -> look at the folder -> each model in it -> model_loader_change.c
 *   poll          -> models whose folders are gone -> taken out
 *   load, unload  -> look at that model -> the same, or taken out and not loaded by polls
 *
 * Guarantees: a broken model costs only itself. Does not: compute, know who asks. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "server/model_loader_internal.h"

static const char not_asked[] = "unloaded";

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

static void forget(struct model_loader_known *known)
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
        forget(EBM_CONTAINER_OF(loader->known.next, struct model_loader_known, link));
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

static struct model_loader_known *find_known(struct model_loader *loader, const char *name)
{
    for (struct ebm_list *link = loader->known.next; link != &loader->known; link = link->next) {
        struct model_loader_known *known = EBM_CONTAINER_OF(link, struct model_loader_known, link);
        if (strcmp(known->name, name) == 0)
            return known;
    }
    return NULL;
}

/* The model's, made when it is new; NULL: no memory. */
static struct model_loader_known *get_known(struct model_loader *loader, const char *name)
{
    struct model_loader_known *known = find_known(loader, name);
    if (known)
        return known;
    known = calloc(1, sizeof *known);
    if (!known)
        return NULL;
    (void)snprintf(known->name, sizeof known->name, "%s", name);
    ebm_list_append(&loader->known, &known->link);
    return known;
}

/* INVALID: something of it was refused, in the log by now. */
static enum ebm_status bring_up(struct model_loader *loader, const struct repository_model *found,
                                enum model_loader_why why, struct ebm_error *reterr)
{
    struct model_loader_known *known = get_known(loader, found->name);
    if (!known)
        return ebm_error_set(reterr, EBM_NO_MEMORY, found->name, "no memory");
    if (why == BY_REQUEST)
        known->unloaded = false;
    if (known->unloaded)
        return EBM_OK;
    return model_loader_change(loader, known, found, why, reterr);
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
        struct model_loader_known *known = EBM_CONTAINER_OF(link, struct model_loader_known, link);
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
    size_t first = model_list_first(list, name), n = model_list_count(list, name);
    EBM_AUTO(ebm_freep) struct model_store_idle *idle = calloc(n + 1, sizeof *idle);
    for (size_t i = 0; idle && i < n; i++) {
        idle[i].version = list->entries[first + i]->version;
        idle[i].reason = not_asked;
    }
    if (idle)
        model_store_set_idle(loader->store, name, idle, n);
}

enum ebm_status model_loader_unload(struct model_loader *loader, const char *name, struct ebm_error *reterr)
{
    struct model_loader_known *known = find_known(loader, name);
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
