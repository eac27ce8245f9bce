/* options_text.c - a training configuration as JSON text: for a checkpoint, for a model's record, for people.
 *
 *   run        everything in force, files with absolute paths: goes into the checkpoint, reads back to itself
 *   recorded   "training" and "data" without folders: goes into the model file
 *   complete   run, with the model as the data completed it: what `train --print-config` prints
 *
 * The tables of options.c drive what is written, so no key can be forgotten. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "trainer/files.h"
#include "trainer/options_internal.h"

#define LINE_COLUMNS 110u /* shorter values stay on one line */
#define TEXT_BYTES (4u << 20)

static void json_freep(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

enum ebm_status options_no_memory(struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_NO_MEMORY, "configuration", "no memory");
}

/* ---- the effective configuration ---- */

static json_t *names_json(char *const *names, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++)
        if (json_array_append_new(array, json_string(names[i])) != 0)
            break;
    return array;
}

static json_t *numbers_json(const double *values, uint32_t n)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < n; i++)
        if (json_array_append_new(array, json_real(values[i])) != 0)
            break;
    return array;
}

static json_t *field_json(const struct field *field, const void *object)
{
    const void *at = (const char *)object + field->at;
    const char *count_at = (const char *)object + field->count_at;
    uint32_t n = field->kind == KIND_NAMES || field->kind == KIND_NUMBERS ? *(const uint32_t *)(const void *)count_at
                                                                          : 0;
    switch (field->kind) {
    case KIND_U32:
        return json_integer(*(const uint32_t *)at);
    case KIND_SEED:
        return json_integer((json_int_t) * (const uint64_t *)at);
    case KIND_NUMBER:
        return json_real(*(const double *)at);
    case KIND_BOOL:
        return json_boolean(*(const bool *)at);
    case KIND_TEXT:
        return *(char *const *)at != NULL ? json_string(*(char *const *)at) : NULL;
    case KIND_NAMES:
        return n > 0 ? names_json(*(char **const *)at, n) : NULL;
    case KIND_NUMBERS:
        return n > 0 ? numbers_json(*(double *const *)at, n) : NULL;
    case KIND_OTHER:
        return NULL;
    }
    return NULL;
}

/* What the fields hold as JSON; what was left out and has no default stays out. */
static json_t *object_json(const struct field_table *table, const void *object)
{
    json_t *json = json_object();
    for (size_t i = 0; json != NULL && i < table->n; i++) {
        json_t *value = field_json(&table->fields[i], object);
        if (value != NULL && json_object_set_new(json, table->fields[i].key, value) != 0)
            json_freep(&json);
    }
    return json;
}

static json_t *data_json(const struct options *options, bool whole_paths)
{
    const struct dataset_options *data = &options->data;
    json_t *json = object_json(&options_data_table, data);
    if (json == NULL)
        return NULL;
    int failed = json_object_set_new(json, "missing", json_string(data->drop_missing ? "drop" : "error"));
    if (!whole_paths)
        failed |= json_object_set_new(json, "file", json_string(files_base(data->file)));
    if (!whole_paths && data->targets_file != NULL)
        failed |= json_object_set_new(json, "targets_file", json_string(files_base(data->targets_file)));
    if (!whole_paths && data->split_file != NULL)
        failed |= json_object_set_new(json, "split_file", json_string(files_base(data->split_file)));
    if (data->jitter.step > 0.0)
        failed |= json_object_set_new(json, "dequantize", object_json(&options_jitter_table, &data->jitter));
    if (augment_is_on(&data->augment))
        failed |= json_object_set_new(json, "augment", object_json(&options_augment_table, &data->augment));
    if (data->images == NULL)
        (void)json_object_del(json, "max_bad_files");
    if (failed != 0)
        json_freep(&json);
    return json;
}

static json_t *training_json(const struct options *options)
{
    json_t *json = object_json(&options_training_table, options);
    json_t *parameters = options_parameters_json(options);
    json_t *schedule = object_json(&options_schedule_table, &options->schedule);
    int failed = json_object_set_new(json, "optimizer", json_string("adam"));
    failed |= json_object_set_new(schedule, "kind", json_string(schedule_word(options->schedule.kind)));
    failed |= json_object_set_new(json, "schedule", schedule);
    failed |= parameters == NULL;
    if (options->n_values > 0)
        failed |= json_object_set(json, "parameters", parameters);
    json_decref(parameters);
    if (failed != 0)
        json_freep(&json);
    return json;
}

enum ebm_status options_write_effective(struct options *options, struct ebm_error *reterr)
{
    EBM_AUTO(json_freep) json_t *recorded = training_json(options);
    EBM_AUTO(json_freep) json_t *run = json_object();
    int failed = 0;
    if (options->initial != NULL)
        failed |= json_object_set_new(recorded, "initial", json_string(files_base(options->initial)));
    failed |= json_object_set_new(run, "data", data_json(options, true));
    failed |= json_object_set_new(run, "model", json_loads(options->model, 0, NULL));
    failed |= json_object_set_new(run, "training", training_json(options));
    failed |= json_object_set_new(recorded, "data", data_json(options, false));
    (void)json_object_del(recorded, "checkpoint_epochs"); /* changes no number of the model */
    (void)json_object_del(recorded, "checkpoint_seconds");
    options->run = failed == 0 ? json_dumps(run, JSON_COMPACT) : NULL;
    options->recorded = failed == 0 ? json_dumps(recorded, JSON_COMPACT) : NULL;
    return options->run != NULL && options->recorded != NULL ? EBM_OK : options_no_memory(reterr);
}

/* ---- for people ---- */

static void put_inline(struct ebm_buf *buf, const json_t *json)
{
    const char *key, *between = "";
    size_t i;
    json_t *value;
    if (json_is_object(json)) {
        (void)ebm_buf_text(buf, "{");
        json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
            (void)ebm_buf_text(buf, between);
            (void)ebm_buf_json_text(buf, key);
            (void)ebm_buf_text(buf, ": ");
            put_inline(buf, value);
            between = ", ";
        }
        (void)ebm_buf_text(buf, "}");
    } else if (json_is_array(json)) {
        (void)ebm_buf_text(buf, "[");
        json_array_foreach (json, i, value) {
            (void)ebm_buf_text(buf, i > 0 ? ", " : "");
            put_inline(buf, value);
        }
        (void)ebm_buf_text(buf, "]");
    } else if (json_is_string(json)) {
        (void)ebm_buf_json_text(buf, json_string_value(json));
    } else if (json_is_real(json)) {
        (void)ebm_buf_json_number(buf, json_real_value(json));
    } else if (json_is_integer(json)) {
        (void)ebm_buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    } else {
        (void)ebm_buf_text(buf, json_is_true(json) ? "true" : json_is_false(json) ? "false" : "null");
    }
}

/* Does it fit on what is left of a line? */
static bool is_short(const json_t *json, uint32_t column)
{
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    ebm_buf_init(&buf, LINE_COLUMNS > column ? LINE_COLUMNS - column : 1);
    put_inline(&buf, json);
    return buf.status == EBM_OK;
}

static void put_pretty(struct ebm_buf *buf, const json_t *json, uint32_t indent)
{
    const char *key, *between = "";
    size_t i;
    json_t *value;
    if ((!json_is_object(json) && !json_is_array(json)) || (indent > 0 && is_short(json, indent))) {
        put_inline(buf, json);
        return;
    }
    (void)ebm_buf_text(buf, json_is_object(json) ? "{" : "[");
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        (void)ebm_buf_printf(buf, "%s\n%*s", between, (int)indent + 2, "");
        (void)ebm_buf_json_text(buf, key);
        (void)ebm_buf_text(buf, ": ");
        put_pretty(buf, value, indent + 2);
        between = ",";
    }
    json_array_foreach (json, i, value) {
        (void)ebm_buf_printf(buf, "%s\n%*s", i > 0 ? "," : "", (int)indent + 2, "");
        put_pretty(buf, value, indent + 2);
    }
    (void)ebm_buf_printf(buf, "\n%*s%s", (int)indent, "", json_is_object(json) ? "}" : "]");
}

static enum ebm_status pretty(const json_t *json, char **ret_text, struct ebm_error *reterr)
{
    struct ebm_buf buf;
    ebm_buf_init(&buf, TEXT_BYTES);
    put_pretty(&buf, json, 0);
    (void)ebm_buf_text(&buf, "\n");
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, "configuration", "%s (at most %u bytes)", ebm_status_text(buf.status),
                             TEXT_BYTES);
    *ret_text = buf.bytes;
    return EBM_OK;
}

enum ebm_status options_pretty(const char *text, char **ret_text, struct ebm_error *reterr)
{
    EBM_AUTO(json_freep) json_t *json = json_loads(text, 0, NULL);
    return json != NULL ? pretty(json, ret_text, reterr) : options_no_memory(reterr);
}

/* Statistics that the training rows gave are left out again: written down, they would no longer follow the data. */
static void drop_measured(json_t *model, const json_t *given, const char *section)
{
    static const char *const keys[] = {"mean", "std"};
    for (size_t i = 0; i < EBM_COUNT_OF(keys); i++)
        if (json_object_get(json_object_get(given, section), keys[i]) == NULL)
            (void)json_object_del(json_object_get(model, section), keys[i]);
}

enum ebm_status options_complete(const struct options *options, const char *model, char **ret_text,
                                 struct ebm_error *reterr)
{
    static const char *const optional[] = {"targets_file", "split_file",   "dequantize",
                                           "images",       "image_column", "augment"};
    EBM_AUTO(json_freep) json_t *run = json_loads(options->run, 0, NULL);
    json_t *whole = json_loads(model, 0, NULL), *data = json_object_get(run, "data");
    const json_t *given = json_object_get(run, "model");
    (void)json_object_del(whole, "training");
    drop_measured(whole, given, "input");
    drop_measured(whole, given, "target");
    int failed = json_object_set_new(run, "model", whole);
    for (size_t i = 0; i < EBM_COUNT_OF(optional); i++)
        if (json_object_get(data, optional[i]) == NULL)
            failed |= json_object_set_new(data, optional[i], json_null());
    return failed == 0 ? pretty(run, ret_text, reterr) : options_no_memory(reterr);
}
