/* config_reader.c - fields of a configuration: types, bounds, and errors that name the key. */
#include "models/config_reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/names.h"

enum ebm_status ebm_reader_within(const struct ebm_reader *r, const char *prefix, enum ebm_status status)
{
    if (status != EBM_OK)
        (void)ebm_error_prefix(r->reterr, prefix);
    return status;
}

enum ebm_status ebm_reader_no_memory(const struct ebm_reader *r)
{
    return ebm_error_set(r->reterr, EBM_NO_MEMORY, "", "no memory for the configuration");
}

const char *ebm_reader_type(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

enum ebm_status ebm_reader_wrong_type(const struct ebm_reader *r, const char *key, const char *expected,
                                      const json_t *got)
{
    return ebm_error_set(r->reterr, EBM_INVALID, key, "expected %s, got %s", expected, ebm_reader_type(got));
}

enum ebm_status ebm_reader_missing(const struct ebm_reader *r, const char *key)
{
    return ebm_error_set(r->reterr, EBM_INVALID, key, "is missing");
}

enum ebm_status ebm_reader_keys(const struct ebm_reader *r, json_t *object, const char *const *keys)
{
    if (!json_is_object(object))
        return ebm_reader_wrong_type(r, "", "an object", object);
    const char *key;
    json_t *value;
    char space[EBM_NAMES_HINT_BYTES];
    size_t n = 0;
    while (keys[n])
        n++;
    json_object_foreach (object, key, value)
        if (ebm_names_find(key, keys, n) == n)
            return ebm_error_set(r->reterr, EBM_INVALID, key, "unknown key%s", ebm_names_hint(key, keys, n, "", space));
    return EBM_OK;
}

enum ebm_status ebm_reader_unsigned(const struct ebm_reader *r, const json_t *object, const char *key, uint32_t least,
                                    uint32_t most, uint32_t *ret_value)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_integer(json))
        return ebm_reader_wrong_type(r, key, "an integer", json);
    json_int_t value = json_integer_value(json);
    if (value < (json_int_t)least || value > (json_int_t)most)
        return ebm_error_set(r->reterr, value < (json_int_t)least ? EBM_INVALID : EBM_TOO_LARGE, key,
                             "%" JSON_INTEGER_FORMAT ", expected %u to %u", value, least, most);
    *ret_value = (uint32_t)value;
    return EBM_OK;
}

enum ebm_status ebm_reader_bool(const struct ebm_reader *r, const json_t *object, const char *key, bool *ret_value)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_boolean(json))
        return ebm_reader_wrong_type(r, key, "true or false", json);
    *ret_value = json_is_true(json);
    return EBM_OK;
}

enum ebm_status ebm_reader_word(const struct ebm_reader *r, const json_t *object, const char *key,
                                const char **ret_word)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_string(json))
        return ebm_reader_wrong_type(r, key, "a string", json);
    *ret_word = json_string_value(json);
    return EBM_OK;
}

static enum ebm_status read_number_list(const struct ebm_reader *r, const json_t *json, uint32_t n, double *values)
{
    if (!json_is_array(json))
        return ebm_reader_wrong_type(r, "", "an array of numbers", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, "", "has %zu numbers, expected %u", json_array_size(json), n);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number))
            return ebm_reader_wrong_type(r, "", "numbers", number);
        values[i] = json_number_value(number);
    }
    return EBM_OK;
}

enum ebm_status ebm_reader_numbers(const struct ebm_reader *r, const json_t *object, const char *key, uint32_t n,
                                   double **ret_values)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    *ret_values = calloc(n, sizeof **ret_values);
    if (!*ret_values)
        return ebm_reader_no_memory(r);
    return ebm_reader_within(r, key, read_number_list(r, json, n, *ret_values));
}

enum ebm_status ebm_reader_fill(const struct ebm_reader *r, double **values, uint32_t n, const double *fallback,
                                double constant)
{
    if (*values)
        return EBM_OK;
    *values = calloc(n, sizeof **values);
    if (!*values)
        return ebm_reader_no_memory(r);
    for (uint32_t i = 0; i < n; i++)
        (*values)[i] = fallback ? fallback[i] : constant;
    return EBM_OK;
}

enum ebm_status ebm_reader_copy(const struct ebm_reader *r, const char *text, char **ret_copy)
{
    *ret_copy = strdup(text);
    return *ret_copy ? EBM_OK : ebm_reader_no_memory(r);
}

enum ebm_status ebm_reader_name(const struct ebm_reader *r, const char *key, const char *name)
{
    size_t length = strlen(name);
    if (length < 1 || length > LIMIT_NAME_BYTES)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "a name has 1 to %u bytes, this one %zu", LIMIT_NAME_BYTES,
                             length);
    return EBM_OK;
}

static enum ebm_status read_name_list(const struct ebm_reader *r, const json_t *json, uint32_t n, char **names)
{
    if (!json_is_array(json))
        return ebm_reader_wrong_type(r, "", "an array of strings", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, "", "has %zu names, expected %u", json_array_size(json), n);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(json, i);
        if (!json_is_string(name))
            return ebm_reader_wrong_type(r, "", "strings", name);
        enum ebm_status status = ebm_reader_name(r, "", json_string_value(name));
        if (status == EBM_OK)
            status = ebm_reader_copy(r, json_string_value(name), &names[i]);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

enum ebm_status ebm_reader_names(const struct ebm_reader *r, const json_t *object, uint32_t n, char *const *fallback,
                                 char ***ret_names)
{
    const json_t *json = json_object_get(object, "names");
    if (!json && !fallback)
        return EBM_OK;
    char **names = *ret_names = calloc(n, sizeof *names);
    if (!names)
        return ebm_reader_no_memory(r);
    if (json)
        return ebm_reader_within(r, "names", read_name_list(r, json, n, names));
    for (uint32_t i = 0; i < n; i++) {
        enum ebm_status status = ebm_reader_copy(r, fallback[i], &names[i]);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

enum ebm_status ebm_reader_statistics(const struct ebm_reader *r, const json_t *object, uint32_t n,
                                      const double *fallback_mean, const double *fallback_std, double **ret_mean,
                                      double **ret_std)
{
    enum ebm_status status = ebm_reader_numbers(r, object, "mean", n, ret_mean);
    if (status == EBM_OK)
        status = ebm_reader_numbers(r, object, "std", n, ret_std);
    if (status == EBM_OK)
        status = ebm_reader_fill(r, ret_mean, n, fallback_mean, 0);
    if (status == EBM_OK)
        status = ebm_reader_fill(r, ret_std, n, fallback_std, 1);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < n; i++)
        if (!((*ret_std)[i] > 0) || !isfinite((*ret_std)[i]))
            return ebm_error_set(r->reterr, EBM_INVALID, "std", "number %u is %g, expected more than 0", i,
                                 (*ret_std)[i]);
    return EBM_OK;
}
enum ebm_status ebm_reader_settle(const struct ebm_reader *r, const char *key, uint32_t given, uint32_t *size)
{
    if (*size == 0)
        *size = given;
    if (*size == 0)
        return ebm_reader_missing(r, key);
    if (given != 0 && *size != given)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "%u, but the data have %u columns", *size, given);
    return EBM_OK;
}
