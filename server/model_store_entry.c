/* model_store_entry.c - what a version of a model takes, and when it is given back.
 *
 *   new -> load, or share with the entry before it -> known to a list, fixed -> the last reference goes: freed
 *
 * Guarantees: what was loaded stays as it is whatever becomes of its file. Does not: know lists or folders. */
#include "server/model_store_entry.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_DIGITS 9
#define DOUBLE_DIGITS 17

struct model_store_entry *model_store_entry_new(const char *name, uint64_t version, const struct ebm_device_ops *ops,
                                                struct serving *serving, const struct model_store_entry *before)
{
    struct model_store_entry *entry = calloc(1, sizeof *entry);
    char *copy = strdup(name);
    struct metrics_model *counts = before ? metrics_model_ref(before->counts) : metrics_model_new();
    if (!entry || !copy || !counts) {
        free(entry);
        free(copy);
        (void)metrics_model_unref(counts);
        return NULL;
    }
    atomic_init(&entry->references, 1);
    entry->ops = ops;
    entry->name = copy;
    entry->version = version;
    entry->counts = counts;
    entry->serving = serving_ref(serving);
    cost_init(&entry->cost);
    batcher_lane_init(&entry->lane, &serving->lane);
    return entry;
}

struct model_store_entry *model_store_entry_ref(struct model_store_entry *entry)
{
    (void)atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    return entry;
}

struct model_store_entry *model_store_entry_unref(struct model_store_entry *entry)
{
    if (!entry || atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) != 1)
        return NULL;
    (void)entry->ops->plan_unref(entry->plan);
    (void)ebm_model_unref(entry->model);
    (void)metrics_model_unref(entry->counts);
    (void)serving_unref(entry->serving);
    free(entry->name);
    free(entry);
    return NULL;
}

bool model_store_entry_is_last(const struct model_store_entry *entry)
{
    return atomic_load_explicit(&entry->references, memory_order_acquire) == 1;
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

/* The file must be the same before and after it was read: one that is being written is some of the old and some of the
 * new. */
static enum ebm_status read_model(struct model_store_entry *entry, const char *path)
{
    struct file_mark before = file_mark_of(path);
    enum ebm_status status = ebm_model_load(path, LIMIT_FILE_BYTES, &entry->model, &entry->error);
    struct file_mark after = file_mark_of(path);
    entry->mark = before;
    if (status == EBM_OK && !file_mark_is_same(&before, &after))
        status = ebm_error_set(&entry->error, EBM_DAMAGED, "model.safetensors",
                               "changed while it was read: write another file and rename it");
    return status;
}

enum ebm_status model_store_entry_load(struct model_store_entry *entry, const char *path, const _Atomic bool *stop)
{
    struct ebm_error *error = &entry->error;
    enum ebm_status status = read_model(entry, path);
    if (status == EBM_OK && atomic_load(stop))
        status = ebm_error_set(error, EBM_CANCELLED, "", "told to stop");
    if (status == EBM_OK)
        status = entry->ops->plan_new(ebm_model_net(entry->model), ebm_model_params(entry->model), 0, &entry->plan,
                                      error);
    if (status != EBM_OK)
        model_store_entry_refuse(entry);
    else
        entry->digits = needed_digits(&ebm_model_config(entry->model)->target);
    return status;
}

void model_store_entry_share(struct model_store_entry *entry, const struct model_store_entry *from)
{
    if (!from->model)
        return;
    entry->model = ebm_model_ref(from->model);
    entry->plan = entry->ops->plan_ref(from->plan);
    entry->digits = from->digits;
    cost_copy(&entry->cost, &from->cost);
    model_store_entry_size_batches(entry);
}

void model_store_entry_size_batches(struct model_store_entry *entry)
{
    entry->lane.batch_ns += (uint64_t)entry->cost.batch_ns;
    entry->lane.group = entry->ops->plan_group(entry->plan);
}

void model_store_entry_refuse(struct model_store_entry *entry)
{
    entry->plan = entry->ops->plan_unref(entry->plan);
    entry->model = ebm_model_unref(entry->model);
}

const struct ebm_error *model_store_entry_fault(const struct model_store_entry *entry)
{
    if (entry->error.status != EBM_OK)
        return &entry->error;
    return entry->serving->error.status != EBM_OK ? &entry->serving->error : NULL;
}

void model_store_entry_reason(const struct model_store_entry *entry, char ret_text[MODEL_STORE_REASON_BYTES])
{
    const struct ebm_error *error = model_store_entry_fault(entry);
    ret_text[0] = 0;
    if (error)
        (void)snprintf(ret_text, MODEL_STORE_REASON_BYTES, "%s%s%s", error->where, error->where[0] ? ": " : "",
                       error->text);
}
