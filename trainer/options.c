/* options.c - reads the training configuration; with options_text.c and options_parameters.c the only trainer files
 * that know jansson.
 *
 *   file or checkpoint text -> JSON tree -> "--set" edits -> each object by its table of fields -> struct options
 *                                                        \-> options_text.c: effective JSON
 *
 * A row of a table is a key: its type, where it goes, its bounds; its value before parsing is the default. Tables drive
 * reading, the errors and the effective configuration, so that none of them can forget a key. The "model" object is
 * copied as text and read by models/config.c.
 * Guarantees: unknown keys, wrong types and numbers out of bounds are errors with the path of the key. */
#include "trainer/options_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "trainer/files.h"
#include "trainer/temperature.h"

#define NAMES_MAX 65536u
#define VALUES_MAX 4096u
#define SEED_MAX 9007199254740991.0 /* 2^53 - 1: exact in JSON */
#define SPLIT_BY_SEED UINT64_MAX    /* no split_seed was said */

#define DATA(member) offsetof(struct dataset_options, member)
static const struct field data_fields[] = {
    {"file", KIND_TEXT, DATA(file), 0, 0, 0, false},
    {"targets_file", KIND_TEXT, DATA(targets_file), 0, 0, 0, true},
    {"targets", KIND_NAMES, DATA(targets), DATA(n_targets), 0, 0, false},
    {"inputs", KIND_NAMES, DATA(inputs), DATA(n_inputs), 0, 0, false},
    {"validation", KIND_NUMBER, DATA(validation), 0, 0.0, 0.99, false},
    {"split_seed", KIND_SEED, DATA(split_seed), 0, 0, SEED_MAX, true},
    {"split_file", KIND_TEXT, DATA(split_file), 0, 0, 0, true},
    {"split_index", KIND_U32, DATA(split_index), 0, 0, 1e6, false},
    {"standardize", KIND_BOOL, DATA(standardize), 0, 0, 0, false},
    {"missing", KIND_OTHER, 0, 0, 0, 0, false},
    {"dequantize", KIND_OTHER, 0, 0, 0, 0, true},
    {"images", KIND_TEXT, DATA(images), 0, 0, 0, true},
    {"image_column", KIND_TEXT, DATA(image_column), 0, 0, 0, true},
    {"max_bad_files", KIND_U32, DATA(max_bad_files), 0, 0, LIMIT_DATA_ROWS, false},
    {"augment", KIND_OTHER, 0, 0, 0, 0, true},
};

#define JITTER(member) offsetof(struct dataset_jitter, member)
static const struct field jitter_fields[] = {
    {"step", KIND_NUMBER, JITTER(step), 0, 1e-300, 1e300, false},
    {"values", KIND_NUMBERS, JITTER(values), JITTER(n_values), 0, 0, false},
};

#define AUGMENT(member) offsetof(struct augment_options, member)
static const struct field augment_fields[] = {
    {"flip", KIND_BOOL, AUGMENT(flip), 0, 0, 0, false},
    {"flip_vertical", KIND_BOOL, AUGMENT(flip_vertical), 0, 0, 0, false},
    {"negate", KIND_NAMES, AUGMENT(negate), AUGMENT(n_negate), 0, 0, false},
    {"scales", KIND_NUMBERS, AUGMENT(scales), AUGMENT(n_scales), 0, 0, false},
    {"brightness", KIND_NUMBER, AUGMENT(brightness), 0, 0.0, 1.0, false},
};

#define SCHEDULE(member) offsetof(struct schedule, member)
static const struct field schedule_fields[] = {
    {"kind", KIND_OTHER, 0, 0, 0, 0, false},
    {"warmup_steps", KIND_U32, SCHEDULE(warmup_steps), 0, 0, 1e9, false},
    {"final_share", KIND_NUMBER, SCHEDULE(final_share), 0, 0.0, 1.0, false},
    {"every_epochs", KIND_U32, SCHEDULE(every_epochs), 0, 1, 1e6, false},
    {"factor", KIND_NUMBER, SCHEDULE(factor), 0, 1e-6, 1.0, false},
};

#define TRAINING(member) offsetof(struct options, member)
static const struct field training_fields[] = {
    {"method", KIND_TEXT, TRAINING(method), 0, 0, 0, false},
    {"epochs", KIND_U32, TRAINING(epochs), 0, 1, 1e6, false},
    {"batch_size", KIND_U32, TRAINING(batch_size), 0, 1, 8192, false},
    {"samples", KIND_U32, TRAINING(samples), 0, 1, LIMIT_SAMPLES - 1, false},
    {"optimizer", KIND_OTHER, 0, 0, 0, 0, false},
    {"learning_rate", KIND_NUMBER, TRAINING(learning_rate), 0, 1e-12, 10.0, false},
    {"schedule", KIND_OTHER, 0, 0, 0, 0, true},
    {"weight_decay", KIND_NUMBER, TRAINING(weight_decay), 0, 0.0, 1.0, false},
    {"gradient_clip", KIND_NUMBER, TRAINING(gradient_clip), 0, 0.0, 1e9, false},
    {"target_scale", KIND_NUMBER, TRAINING(target_scale), 0, 1e-3, 1e3, false},
    {"initial", KIND_TEXT, TRAINING(initial), 0, 0, 0, true},
    {"trials", KIND_U32, TRAINING(trials), 0, 1, 64, false},
    {"trial_epochs", KIND_U32, TRAINING(trial_epochs), 0, 1, 1e6, false},
    {"calibrate", KIND_BOOL, TRAINING(calibrate), 0, 0, 0, false},
    {"patience", KIND_U32, TRAINING(patience), 0, 0, 1e6, false},
    {"warmup_epochs", KIND_U32, TRAINING(warmup_epochs), 0, 0, 1e6, false},
    {"heads_only_epochs", KIND_U32, TRAINING(heads_only_epochs), 0, 0, 1e6, false},
    {"keep_features", KIND_BOOL, TRAINING(keep_features), 0, 0, 0, false},
    {"support", KIND_NUMBERS, TRAINING(support), TRAINING(n_support), 0, 0, true},
    {"seed", KIND_SEED, TRAINING(seed), 0, 0, SEED_MAX, false},
    {"validation_samples", KIND_U32, TRAINING(validation_samples), 0, 1, LIMIT_SAMPLES - 1, false},
    {"checkpoint_epochs", KIND_U32, TRAINING(checkpoint_epochs), 0, 0, 1e6, false},
    {"checkpoint_seconds", KIND_U32, TRAINING(checkpoint_seconds), 0, 0, 1e6, false},
    {"collapse_std", KIND_NUMBER, TRAINING(collapse_std), 0, 0.0, 0.1, false},
    {"parameters", KIND_OTHER, 0, 0, 0, 0, false},
};

static const struct field top_fields[] = {
    {"data", KIND_OTHER, 0, 0, 0, 0, false},
    {"model", KIND_OTHER, 0, 0, 0, 0, false},
    {"training", KIND_OTHER, 0, 0, 0, 0, false},
};

const struct field_table options_data_table = {data_fields, EBM_COUNT_OF(data_fields)};
const struct field_table options_jitter_table = {jitter_fields, EBM_COUNT_OF(jitter_fields)};
const struct field_table options_augment_table = {augment_fields, EBM_COUNT_OF(augment_fields)};
const struct field_table options_schedule_table = {schedule_fields, EBM_COUNT_OF(schedule_fields)};
const struct field_table options_training_table = {training_fields, EBM_COUNT_OF(training_fields)};
static const struct field_table top_table = {top_fields, EBM_COUNT_OF(top_fields)};

/* ---- one field ---- */

static void json_freep(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

static enum ebm_status wants(const char *path, const char *expected, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, path, "expected %s", expected);
}

static enum ebm_status read_number(const json_t *value, const struct field *field, const char *path, double *ret_number,
                                   struct ebm_error *reterr)
{
    bool whole = field->kind != KIND_NUMBER;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= field->least && number <= field->most) ||
        (whole && number != floor(number)))
        return ebm_error_set(reterr, EBM_INVALID, path, "expected a %snumber from %g to %.16g", whole ? "whole " : "",
                             field->least, field->most);
    *ret_number = number;
    return EBM_OK;
}

static void free_names(char **names, uint32_t n)
{
    for (uint32_t i = 0; names != NULL && i < n; i++)
        free(names[i]);
    free(names);
}

static enum ebm_status read_names(const json_t *value, const char *path, char ***ret_names, uint32_t *ret_n,
                                  struct ebm_error *reterr)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n == 0 || n > NAMES_MAX)
        return wants(path, "an array of column names", reterr);
    char **names = calloc(n, sizeof *names);
    for (uint32_t i = 0; names != NULL && i < n; i++) {
        const char *name = json_string_value(json_array_get(value, i));
        names[i] = name != NULL ? strdup(name) : NULL;
        if (names[i] == NULL) {
            free_names(names, i);
            return name != NULL ? options_no_memory(reterr) : wants(path, "an array of column names", reterr);
        }
    }
    if (names == NULL)
        return options_no_memory(reterr);
    *ret_names = names;
    *ret_n = (uint32_t)n;
    return EBM_OK;
}

static enum ebm_status read_numbers(const json_t *value, const char *path, double **ret_values, uint32_t *ret_n,
                                    struct ebm_error *reterr)
{
    size_t n = json_array_size(value);
    if (!json_is_array(value) || n > VALUES_MAX)
        return wants(path, "an array of at most 4096 numbers", reterr);
    double *values = calloc(n + 1, sizeof *values);
    if (values == NULL)
        return options_no_memory(reterr);
    for (size_t i = 0; i < n; i++) {
        values[i] = json_number_value(json_array_get(value, i));
        if (!json_is_number(json_array_get(value, i))) {
            free(values);
            return wants(path, "an array of numbers", reterr);
        }
    }
    *ret_values = values;
    *ret_n = (uint32_t)n;
    return EBM_OK;
}

static enum ebm_status read_text(const json_t *value, const char *path, char **to, struct ebm_error *reterr)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return wants(path, "a text", reterr);
    char *text = strdup(json_string_value(value));
    if (text == NULL)
        return options_no_memory(reterr);
    free(*to);
    *to = text;
    return EBM_OK;
}

static enum ebm_status read_field(const json_t *value, const struct field *field, const char *path, void *object,
                                  struct ebm_error *reterr)
{
    void *to = (char *)object + field->at;
    double number = 0.0;
    enum ebm_status status = EBM_OK;
    if (json_is_null(value) && field->may_be_null)
        return EBM_OK;
    switch (field->kind) {
    case KIND_U32:
    case KIND_SEED:
    case KIND_NUMBER:
        status = read_number(value, field, path, &number, reterr);
        if (status == EBM_OK && field->kind == KIND_U32)
            *(uint32_t *)to = (uint32_t)number;
        else if (status == EBM_OK && field->kind == KIND_SEED)
            *(uint64_t *)to = (uint64_t)number;
        else if (status == EBM_OK)
            *(double *)to = number;
        return status;
    case KIND_BOOL:
        if (!json_is_boolean(value))
            return wants(path, "true or false", reterr);
        *(bool *)to = json_is_true(value);
        return EBM_OK;
    case KIND_TEXT:
        return read_text(value, path, to, reterr);
    case KIND_NAMES:
        return read_names(value, path, to, (uint32_t *)(void *)((char *)object + field->count_at), reterr);
    case KIND_NUMBERS:
        return read_numbers(value, path, to, (uint32_t *)(void *)((char *)object + field->count_at), reterr);
    case KIND_OTHER: /* read by its own function */
        return EBM_OK;
    }
    return EBM_OK;
}

/* ---- one object ---- */

static const struct field *find_field(const struct field_table *table, const char *key)
{
    for (size_t i = 0; i < table->n; i++)
        if (strcmp(table->fields[i].key, key) == 0)
            return &table->fields[i];
    return NULL;
}

static enum ebm_status unknown_key(const struct field_table *table, const char *key, const char *path,
                                   struct ebm_error *reterr)
{
    const char *names[EBM_COUNT_OF(training_fields)];
    char space[EBM_NAMES_HINT_BYTES];
    EBM_ASSERT(table->n <= EBM_COUNT_OF(names));
    for (size_t i = 0; i < table->n; i++)
        names[i] = table->fields[i].key;
    return ebm_error_set(reterr, EBM_INVALID, path, "unknown key%s", ebm_names_hint(key, names, table->n, "", space));
}

static void join_path(char *to, size_t bytes, const char *prefix, const char *key)
{
    (void)snprintf(to, bytes, "%s%s%.64s", prefix, prefix[0] != '\0' ? "." : "", key);
}

static enum ebm_status read_object(const json_t *json, const char *prefix, const struct field_table *table,
                                   void *object, struct ebm_error *reterr)
{
    const char *key;
    json_t *value;
    char path[96];
    if (!json_is_object(json))
        return wants(prefix[0] != '\0' ? prefix : "configuration", "an object", reterr);
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        join_path(path, sizeof path, prefix, key);
        const struct field *field = find_field(table, key);
        enum ebm_status status = field != NULL ? read_field(value, field, path, object, reterr)
                                               : unknown_key(table, key, path, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

static enum ebm_status read_data(const json_t *json, struct options *options, struct ebm_error *reterr)
{
    struct dataset_options *data = &options->data;
    enum ebm_status status = read_object(json, "data", &options_data_table, data, reterr);
    const json_t *missing = json_object_get(json, "missing"), *jitter = json_object_get(json, "dequantize");
    if (status == EBM_OK && missing != NULL) {
        const char *word = json_is_string(missing) ? json_string_value(missing) : "";
        data->drop_missing = strcmp(word, "drop") == 0;
        if (!data->drop_missing && strcmp(word, "error") != 0)
            status = wants("data.missing", "\"error\" or \"drop\"", reterr);
    }
    if (status == EBM_OK && jitter != NULL && !json_is_null(jitter)) {
        status = read_object(jitter, "data.dequantize", &options_jitter_table, &data->jitter, reterr);
        if (status == EBM_OK && data->jitter.step <= 0.0)
            status = wants("data.dequantize.step", "the width of the jitter", reterr);
    }
    const json_t *augment = json_object_get(json, "augment");
    if (status == EBM_OK && augment != NULL && !json_is_null(augment))
        status = read_object(augment, "data.augment", &options_augment_table, &data->augment, reterr);
    return status;
}

static enum ebm_status read_schedule(const json_t *json, struct schedule *schedule, struct ebm_error *reterr)
{
    const char *words[SCHEDULE_KINDS], *word = json_string_value(json_object_get(json, "kind"));
    char space[EBM_NAMES_HINT_BYTES];
    enum ebm_status status = read_object(json, "training.schedule", &options_schedule_table, schedule, reterr);
    if (status != EBM_OK || json_object_get(json, "kind") == NULL)
        return status;
    for (uint32_t i = 0; i < SCHEDULE_KINDS; i++)
        words[i] = schedule_word((enum schedule_kind)i);
    size_t kind = ebm_names_find(word, words, SCHEDULE_KINDS);
    if (kind == SCHEDULE_KINDS)
        return ebm_error_set(reterr, EBM_INVALID, "training.schedule.kind",
                             "expected \"constant\", \"cosine\" or \"step\"%s",
                             word != NULL ? ebm_names_hint(word, words, SCHEDULE_KINDS, "", space) : "");
    schedule->kind = (enum schedule_kind)kind;
    return EBM_OK;
}

static enum ebm_status read_training(const json_t *json, struct options *options, struct ebm_error *reterr)
{
    enum ebm_status status = read_object(json, "training", &options_training_table, options, reterr);
    const json_t *optimizer = json_object_get(json, "optimizer");
    const json_t *schedule = json_object_get(json, "schedule");
    if (status == EBM_OK && schedule != NULL && !json_is_null(schedule))
        status = read_schedule(schedule, &options->schedule, reterr);
    if (status == EBM_OK && optimizer != NULL &&
        (!json_is_string(optimizer) || strcmp(json_string_value(optimizer), "adam") != 0))
        status = wants("training.optimizer", "\"adam\": no other optimizer is available in this version", reterr);
    if (status == EBM_OK && options->n_support > 0 &&
        (options->n_support != 2 || !(options->support[0] < options->support[1])))
        status = wants("training.support", "[lower, upper] in the target's unit, or null", reterr);
    return status;
}

/* ---- edits ---- */

static enum ebm_status apply_set(json_t *root, const char *set, struct ebm_error *reterr)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL || equals == set)
        return ebm_error_set(reterr, EBM_INVALID, "--set", "'%.64s': expected key=value, as in training.epochs=10",
                             set);
    EBM_AUTO(ebm_freep) char *path = strndup(set, (size_t)(equals - set));
    json_t *value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (value == NULL)
        value = json_string(equals + 1);
    if (path == NULL || value == NULL) {
        json_decref(value);
        return ebm_error_set(reterr, EBM_INVALID, "--set", "the value of '%.64s' is not valid UTF-8", set);
    }
    json_t *at = root;
    char *rest = NULL, *key = strtok_r(path, ".", &rest);
    for (char *next = strtok_r(NULL, ".", &rest); key != NULL && next != NULL; next = strtok_r(NULL, ".", &rest)) {
        if (json_object_get(at, key) == NULL)
            (void)json_object_set_new(at, key, json_object());
        at = json_object_get(at, key);
        key = next;
    }
    int failed = key == NULL || !json_is_object(at) ? -1 : json_object_set(at, key, value);
    json_decref(value);
    if (failed != 0)
        return ebm_error_set(reterr, EBM_INVALID, "--set",
                             "'%.64s': the path leads through something that is no object", set);
    return EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status make_absolute(char **path, const char *folder, struct ebm_error *reterr)
{
    if (*path == NULL || (*path)[0] == '/')
        return EBM_OK;
    char *joined = files_join(folder, *path);
    if (joined == NULL)
        return options_no_memory(reterr);
    free(*path);
    *path = joined;
    return EBM_OK;
}

/* Replaces *path by what the command line says, relative to `here`. */
static enum ebm_status take_path(char **path, const char *said, const char *here, struct ebm_error *reterr)
{
    if (said == NULL)
        return EBM_OK;
    free(*path);
    *path = strdup(said);
    return *path != NULL ? make_absolute(path, here, reterr) : options_no_memory(reterr);
}

static enum ebm_status set_paths(struct options *options, const char *folder, const struct options_files *files,
                                 struct ebm_error *reterr)
{
    const struct options_files none = {.data = NULL}, *said = files != NULL ? files : &none;
    struct dataset_options *data = &options->data;
    EBM_AUTO(ebm_freep) char *here = files_working_folder();
    EBM_AUTO(ebm_freep) char *base = here != NULL ? files_join(here, folder) : NULL;
    if (base == NULL)
        return options_no_memory(reterr);
    if (said->data != NULL) {
        free(data->targets_file);
        data->targets_file = NULL;
    }
    enum ebm_status status = take_path(&data->file, said->data, here, reterr);
    if (status == EBM_OK)
        status = take_path(&data->targets_file, said->targets, here, reterr);
    if (status == EBM_OK && data->file == NULL)
        return ebm_error_set(reterr, EBM_INVALID, "data.file",
                             "no data: name a CSV, an .npy or images here, or with --data FILE");
    if (status == EBM_OK && said->says_bad_files)
        data->max_bad_files = said->max_bad_files;
    if (status == EBM_OK)
        status = make_absolute(&data->file, base, reterr);
    if (status == EBM_OK)
        status = make_absolute(&data->targets_file, base, reterr);
    if (status == EBM_OK)
        status = make_absolute(&data->split_file, base, reterr);
    return status == EBM_OK ? make_absolute(&options->initial, base, reterr) : status;
}

static struct options *defaults(void)
{
    struct options *options = calloc(1, sizeof *options);
    if (options == NULL)
        return NULL;
    options->data.standardize = true;
    options->data.image_scale = DATASET_IMAGE_SCALE;
    options->data.split_seed = SPLIT_BY_SEED;
    options->method = strdup("nce_kl");
    options->epochs = 75;
    options->batch_size = 32;
    options->samples = 1024;
    options->warmup_epochs = 1;
    options->target_scale = 1.0;
    options->trials = 1;
    options->trial_epochs = 8;
    options->learning_rate = 1e-3;
    options->schedule = (struct schedule){.kind = SCHEDULE_CONSTANT, .every_epochs = 30, .factor = 0.1};
    options->validation_samples = 1024;
    options->checkpoint_seconds = 30;
    options->collapse_std = 1e-4;
    return options;
}

/* What images are brought to, and what pixels are multiplied by, stands with the model. What is wrong there
 * ebm_config_parse will say. */
static void read_image_input(const json_t *model, struct dataset_options *data)
{
    const json_t *input = json_object_get(model, "input"), *shape = json_object_get(input, "shape");
    uint32_t sides[3];
    if (json_is_number(json_object_get(input, "scale")))
        data->image_scale = json_number_value(json_object_get(input, "scale"));
    for (size_t i = 0; i < EBM_COUNT_OF(sides); i++) {
        json_int_t side = json_integer_value(json_array_get(shape, i));
        if (side < 1 || side > LIMIT_DECODED_SIDE)
            return;
        sides[i] = (uint32_t)side;
    }
    if (sides[0] == 1 || sides[0] == 3)
        data->image_shape = (struct image_shape){sides[0], sides[1], sides[2]};
}

static enum ebm_status read_root(const json_t *root, struct options *options, struct ebm_error *reterr)
{
    const json_t *data = json_object_get(root, "data"), *training = json_object_get(root, "training");
    const json_t *model = json_object_get(root, "model");
    enum ebm_status status = read_object(root, "", &top_table, options, reterr);
    if (status == EBM_OK && !json_is_object(model))
        status = ebm_error_set(reterr, EBM_INVALID, "model", "missing, or no object: it describes the nets");
    if (status == EBM_OK && data != NULL)
        status = read_data(data, options, reterr);
    if (status == EBM_OK && training != NULL)
        status = read_training(training, options, reterr);
    if (status == EBM_OK)
        status = options_read_parameters(json_object_get(training, "parameters"), options, reterr);
    if (options->data.split_seed == SPLIT_BY_SEED)
        options->data.split_seed = options->seed;
    if (status == EBM_OK) {
        read_image_input(model, &options->data);
        options->model = json_dumps(model, JSON_COMPACT);
        if (options->model == NULL)
            status = options_no_memory(reterr);
    }
    return status;
}

enum ebm_status options_parse(const char *text, const char *where, const char *folder, const char *const *sets,
                              uint32_t n_sets, const struct options_files *files, struct options **ret_options,
                              struct ebm_error *reterr)
{
    json_error_t json_error;
    EBM_AUTO(options_freep) struct options *options = defaults();
    EBM_AUTO(json_freep) json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &json_error);
    if (root == NULL)
        return ebm_error_set(reterr, EBM_INVALID, where, "not valid JSON, line %d, column %d: %s", json_error.line,
                             json_error.column, json_error.text);
    if (options == NULL || options->method == NULL)
        return options_no_memory(reterr);
    enum ebm_status status = json_is_object(root) ? EBM_OK : wants(where, "a JSON object", reterr);
    for (uint32_t i = 0; status == EBM_OK && i < n_sets; i++)
        status = apply_set(root, sets[i], reterr);
    if (status == EBM_OK)
        status = read_root(root, options, reterr);
    if (status == EBM_OK)
        status = set_paths(options, folder, files, reterr);
    if (status == EBM_OK)
        status = options_write_effective(options, reterr);
    if (status == EBM_OK)
        *ret_options = EBM_TAKE_PTR(options);
    return status;
}

enum ebm_status options_load(const char *path, const char *const *sets, uint32_t n_sets,
                             const struct options_files *files, struct options **ret_options, struct ebm_error *reterr)
{
    EBM_AUTO(ebm_freep) char *text = NULL;
    EBM_AUTO(ebm_freep) char *folder = files_folder(path);
    if (folder == NULL)
        return options_no_memory(reterr);
    enum ebm_status status = files_read_text(path, LIMIT_CONFIG_BYTES, &text, reterr);
    if (status != EBM_OK)
        return status;
    return options_parse(text, path, folder, sets, n_sets, files, ret_options, reterr);
}

struct options *options_free(struct options *options)
{
    if (options == NULL)
        return NULL;
    free_names(options->data.targets, options->data.n_targets);
    free_names(options->data.inputs, options->data.n_inputs);
    free(options->data.file);
    free(options->data.targets_file);
    free(options->data.split_file);
    free(options->data.jitter.values);
    free(options->data.images);
    free(options->data.image_column);
    free_names(options->data.augment.negate, options->data.augment.n_negate);
    free(options->data.augment.scales);
    free(options->support);
    options_free_parameters(options);
    free(options->model);
    free(options->method);
    free(options->initial);
    free(options->recorded);
    free(options->run);
    free(options);
    return NULL;
}

void options_freep(struct options **options)
{
    *options = options_free(*options);
}

enum ebm_status options_recorded_images(const char *training, char **ret_images, char **ret_column,
                                        struct ebm_error *reterr)
{
    EBM_AUTO(json_freep) json_t *root = training != NULL ? json_loads(training, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *data = json_object_get(root, "data");
    const char *images = json_string_value(json_object_get(data, "images"));
    const char *column = json_string_value(json_object_get(data, "image_column"));
    EBM_AUTO(ebm_freep) char *copy = images != NULL ? strdup(images) : NULL;
    char *column_copy = column != NULL ? strdup(column) : NULL;
    if ((images != NULL && copy == NULL) || (column != NULL && column_copy == NULL)) {
        free(column_copy);
        return options_no_memory(reterr);
    }
    *ret_images = EBM_TAKE_PTR(copy);
    *ret_column = column_copy;
    return EBM_OK;
}

/* `root`, new: what a model's record holds; {} where there is none. */
static enum ebm_status read_record(const char *training, json_t **ret_root, struct ebm_error *reterr)
{
    json_t *root = training != NULL ? json_loads(training, JSON_REJECT_DUPLICATES, NULL) : json_object();
    if (root == NULL)
        return options_no_memory(reterr);
    *ret_root = root;
    return EBM_OK;
}

enum ebm_status options_recorded_split(const char *training, double *ret_validation, uint64_t *ret_seed,
                                       bool *ret_has_test_rows, struct ebm_error *reterr)
{
    EBM_AUTO(json_freep) json_t *root = NULL;
    enum ebm_status status = read_record(training, &root, reterr);
    if (status != EBM_OK)
        return status;
    const json_t *data = json_object_get(root, "data"), *seed = json_object_get(data, "split_seed");
    double share = json_number_value(json_object_get(data, "validation"));
    *ret_validation = share > 0.0 && share < 1.0 ? share : 0.0;
    *ret_seed = json_is_integer(seed) ? (uint64_t)json_integer_value(seed) : 0;
    *ret_has_test_rows = json_is_string(json_object_get(data, "split_file"));
    return EBM_OK;
}

enum ebm_status options_record_temperature(const char *training, const struct temperature *temperature, char **ret_text,
                                           struct ebm_error *reterr)
{
    EBM_AUTO(json_freep) json_t *root = NULL;
    enum ebm_status status = read_record(training, &root, reterr);
    if (status != EBM_OK)
        return status;
    json_t *record = json_pack("{s:f, s:I, s:f, s:f}", "temperature", temperature->value, "rows",
                               (json_int_t)temperature->rows, "nll_before", temperature->nll_before, "nll_after",
                               temperature->nll_after);
    char *text = json_object_set_new(root, "calibration", record) == 0 ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text == NULL)
        return options_no_memory(reterr);
    *ret_text = text;
    return EBM_OK;
}

enum ebm_status options_recorded_jitter(const char *training, struct dataset_jitter *ret_jitter,
                                        struct ebm_error *reterr)
{
    struct dataset_jitter jitter = {.step = 0.0};
    EBM_AUTO(json_freep) json_t *root = training != NULL ? json_loads(training, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *recorded = json_object_get(json_object_get(root, "data"), "dequantize");
    if (json_is_object(recorded)) {
        enum ebm_status status = read_object(recorded, "training.data.dequantize", &options_jitter_table, &jitter,
                                             reterr);
        if (status != EBM_OK) {
            free(jitter.values);
            return status;
        }
    }
    *ret_jitter = jitter;
    return EBM_OK;
}
