/* options_parameters.c - "training.parameters": read as numbers, lists, lists of lists or an object; completed by what
 * the method publishes; written back in the shape in which it was given.
 *
 * Which names there are and what they may hold is the method's business (method_values.c): this file knows shapes. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/options_internal.h"

#define PARAMETERS_MAX 64u

static enum ebm_status wants_numbers(const char *path, struct ebm_error *reterr)
{
    return ebm_error_set(reterr, EBM_INVALID, path,
                         "expected a number, a list of numbers, a list of such lists of one length, or an object");
}

/* Takes the numbers of a list, which has to have `columns` of them. */
static bool take_list(const json_t *list, uint32_t columns, double *to)
{
    if (json_array_size(list) != columns)
        return false;
    for (uint32_t i = 0; i < columns; i++) {
        const json_t *number = json_array_get(list, i);
        if (!json_is_number(number))
            return false;
        to[i] = json_number_value(number);
    }
    return true;
}

static enum ebm_status read_numbers(const json_t *json, const char *path, struct method_value *value,
                                    struct ebm_error *reterr)
{
    const json_t *first = json_array_get(json, 0);
    size_t rows = json_is_array(json) ? json_array_size(json) : 1;
    size_t columns = json_is_array(first) ? json_array_size(first) : 1;
    if (rows == 0 || columns == 0)
        return wants_numbers(path, reterr);
    if (rows > METHOD_NUMBERS || columns > METHOD_NUMBERS || rows * columns > METHOD_NUMBERS)
        return ebm_error_set(reterr, EBM_INVALID, path, "more than %u numbers", METHOD_NUMBERS);
    value->dims = !json_is_array(json) ? 0 : json_is_array(first) ? 2 : 1;
    value->rows = (uint32_t)rows;
    value->columns = (uint32_t)columns;
    value->numbers = calloc(rows * columns, sizeof *value->numbers);
    if (value->numbers == NULL)
        return options_no_memory(reterr);
    bool ok = true;
    if (value->dims == 0) {
        ok = json_is_number(json);
        value->numbers[0] = json_number_value(json);
    } else if (value->dims == 1) {
        ok = take_list(json, value->rows, value->numbers);
    }
    for (uint32_t i = 0; ok && value->dims == 2 && i < value->rows; i++)
        ok = json_is_array(json_array_get(json, i)) &&
             take_list(json_array_get(json, i), value->columns, value->numbers + (size_t)i * columns);
    return ok ? EBM_OK : wants_numbers(path, reterr);
}

static enum ebm_status read_value(const char *key, const json_t *json, struct method_value *value,
                                  struct ebm_error *reterr)
{
    char path[96];
    (void)snprintf(path, sizeof path, "training.parameters.%.64s", key);
    value->name = strdup(key);
    if (value->name == NULL)
        return options_no_memory(reterr);
    if (!json_is_object(json))
        return read_numbers(json, path, value, reterr);
    value->object = json_dumps(json, JSON_COMPACT);
    return value->object != NULL ? EBM_OK : options_no_memory(reterr);
}

/* What the method has and nobody said. */
static enum ebm_status complete(const struct method *method, struct options *options, struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < method->n_parameters; i++) {
        const struct method_parameter *p = &method->parameters[i];
        if (method_said(options->values, options->n_values, p->name) != NULL)
            continue;
        json_t *json = p->nets != NULL ? json_loads(p->nets, 0, NULL) : NULL;
        if (p->kind == METHOD_WIDTHS) {
            json = json_array();
            for (uint32_t k = 0; k < p->n_published; k++)
                (void)json_array_append_new(json, json_real(p->published[k]));
        } else if (p->nets == NULL) {
            json = json_real(p->published[0]);
        }
        struct method_value *value = &options->values[options->n_values++];
        value->is_published = true;
        enum ebm_status status = json != NULL ? read_value(p->name, json, value, reterr) : options_no_memory(reterr);
        json_decref(json);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

enum ebm_status options_read_parameters(const json_t *json, struct options *options, struct ebm_error *reterr)
{
    const char *key;
    json_t *value;
    const struct method *method = NULL;
    if (json != NULL && (!json_is_object(json) || json_object_size(json) > PARAMETERS_MAX))
        return ebm_error_set(reterr, EBM_INVALID, "training.parameters", "expected an object of at most %u parameters",
                             PARAMETERS_MAX);
    enum ebm_status status = method_find(options->method, &method, reterr);
    if (status != EBM_OK)
        return status;
    options->values = calloc(json_object_size(json) + method->n_parameters + 1, sizeof *options->values);
    if (options->values == NULL)
        return options_no_memory(reterr);
    json_object_foreach ((json_t *)(uintptr_t)json, key, value) {
        status = read_value(key, value, &options->values[options->n_values++], reterr);
        if (status != EBM_OK)
            return status;
    }
    status = method_check_values(method, options->values, options->n_values, reterr);
    return status == EBM_OK ? complete(method, options, reterr) : status;
}

static json_t *list_json(const double *numbers, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++)
        if (json_array_append_new(list, json_real(numbers[i])) != 0)
            break;
    return list;
}

static json_t *value_json(const struct method_value *value)
{
    if (value->object != NULL)
        return json_loads(value->object, 0, NULL);
    if (value->dims == 0 && value->numbers[0] == floor(value->numbers[0]) && fabs(value->numbers[0]) < 1e15)
        return json_integer((json_int_t)value->numbers[0]);
    if (value->dims == 0)
        return json_real(value->numbers[0]);
    if (value->dims == 1)
        return list_json(value->numbers, value->rows);
    json_t *list = json_array();
    for (uint32_t i = 0; i < value->rows; i++)
        if (json_array_append_new(list, list_json(value->numbers + (size_t)i * value->columns, value->columns)) != 0)
            break;
    return list;
}

json_t *options_parameters_json(const struct options *options)
{
    json_t *json = json_object();
    for (uint32_t i = 0; json != NULL && i < options->n_values; i++) {
        if (json_object_set_new(json, options->values[i].name, value_json(&options->values[i])) == 0)
            continue;
        json_decref(json);
        return NULL;
    }
    return json;
}

void options_free_parameters(struct options *options)
{
    for (uint32_t i = 0; i < options->n_values; i++) {
        free(options->values[i].name);
        free(options->values[i].numbers);
        free(options->values[i].object);
    }
    free(options->values);
}
