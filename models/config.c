/* config.c - JSON text -> struct ebm_config.
 *
 *   text -> jansson (duplicate keys refused) -> one reader a section: known keys only, types, bounds -> plain arrays
 *        -> config_net.c: do the layers connect, where do their numbers lie
 *
 * Every reader answers with the key where it failed; its caller puts the section before it, so the error's `where` is
 * the whole path. What a later version may serve (images, ensembles, other layers) is refused by name.
 * Guarantees: an accepted configuration is complete (statistics filled, sizes connected, all within limits.h); a
 * refused one leaves nothing behind. No I/O; any thread. */
#include "models/config.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/suggest.h"
#include "models/config_internal.h"

#define NOT_AVAILABLE "not available in this version"

struct reader {
    const struct ebm_config_defaults *defaults; /* NULL: nothing may be left out */
    struct ebm_config *config;
    struct ebm_error *reterr;
};

static void buf_donep(struct ebm_buf *buf)
{
    ebm_buf_done(buf);
}

/* Puts `prefix` before where the error is, if there is one. */
static enum ebm_status within(const struct reader *r, const char *prefix, enum ebm_status status)
{
    if (status != EBM_OK)
        (void)ebm_error_prefix(r->reterr, prefix);
    return status;
}

static enum ebm_status no_memory(const struct reader *r)
{
    return ebm_error_set(r->reterr, EBM_NO_MEMORY, "", "no memory for the configuration");
}

static const char *type_name(const json_t *json)
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

static enum ebm_status wrong_type(const struct reader *r, const char *key, const char *expected, const json_t *got)
{
    return ebm_error_set(r->reterr, EBM_INVALID, key, "expected %s, got %s", expected, type_name(got));
}

static enum ebm_status missing(const struct reader *r, const char *key)
{
    return ebm_error_set(r->reterr, EBM_INVALID, key, "is missing");
}

/* ---- fields: an absent one leaves *ret untouched ---- */

/* `keys` ends with NULL. */
static enum ebm_status check_keys(const struct reader *r, json_t *object, const char *const *keys)
{
    if (!json_is_object(object))
        return wrong_type(r, "", "an object", object);
    const char *key;
    json_t *value;
    json_object_foreach (object, key, value) {
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0)
            i++;
        if (!keys[i]) {
            const char *near = ebm_suggest(key, keys, i);
            return ebm_error_set(r->reterr, EBM_INVALID, key, "unknown key%s%s%s", near ? ", did you mean '" : "",
                                 near ? near : "", near ? "'?" : "");
        }
    }
    return EBM_OK;
}

static enum ebm_status read_unsigned(const struct reader *r, const json_t *object, const char *key, uint32_t max,
                                     uint32_t *ret_value)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_integer(json))
        return wrong_type(r, key, "an integer", json);
    json_int_t value = json_integer_value(json);
    if (value < 1 || value > (json_int_t)max)
        return ebm_error_set(r->reterr, value < 1 ? EBM_INVALID : EBM_TOO_LARGE, key,
                             "%" JSON_INTEGER_FORMAT ", expected 1 to %u", value, max);
    *ret_value = (uint32_t)value;
    return EBM_OK;
}

static enum ebm_status read_bool(const struct reader *r, const json_t *object, const char *key, bool *ret_value)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_boolean(json))
        return wrong_type(r, key, "true or false", json);
    *ret_value = json_is_true(json);
    return EBM_OK;
}

/* Borrow: valid while object lives. */
static enum ebm_status read_word(const struct reader *r, const json_t *object, const char *key, const char **ret_word)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_string(json))
        return wrong_type(r, key, "a string", json);
    *ret_word = json_string_value(json);
    return EBM_OK;
}

static enum ebm_status read_number_list(const struct reader *r, const json_t *json, uint32_t n, double *values)
{
    if (!json_is_array(json))
        return wrong_type(r, "", "an array of numbers", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, "", "has %zu numbers, expected %u", json_array_size(json), n);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number))
            return wrong_type(r, "", "numbers", number);
        values[i] = json_number_value(number);
    }
    return EBM_OK;
}

/* New: belongs to the config at once, also when reading fails. */
static enum ebm_status read_numbers(const struct reader *r, const json_t *object, const char *key, uint32_t n,
                                    double **ret_values)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    *ret_values = calloc(n, sizeof **ret_values);
    if (!*ret_values)
        return no_memory(r);
    return within(r, key, read_number_list(r, json, n, *ret_values));
}

/* A missing array is a copy of `fallback`, or `constant` n times. */
static enum ebm_status fill_numbers(const struct reader *r, double **values, uint32_t n, const double *fallback,
                                    double constant)
{
    if (*values)
        return EBM_OK;
    *values = calloc(n, sizeof **values);
    if (!*values)
        return no_memory(r);
    for (uint32_t i = 0; i < n; i++)
        (*values)[i] = fallback ? fallback[i] : constant;
    return EBM_OK;
}

static enum ebm_status copy_text(const struct reader *r, const char *text, char **ret_copy)
{
    *ret_copy = strdup(text);
    return *ret_copy ? EBM_OK : no_memory(r);
}

static enum ebm_status check_name(const struct reader *r, const char *key, const char *name)
{
    size_t length = strlen(name);
    if (length < 1 || length > LIMIT_NAME_BYTES)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "a name has 1 to %u bytes, this one %zu", LIMIT_NAME_BYTES,
                             length);
    return EBM_OK;
}

static enum ebm_status read_name_list(const struct reader *r, const json_t *json, uint32_t n, char **names)
{
    if (!json_is_array(json))
        return wrong_type(r, "", "an array of strings", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, "", "has %zu names, expected %u", json_array_size(json), n);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *name = json_array_get(json, i);
        if (!json_is_string(name))
            return wrong_type(r, "", "strings", name);
        enum ebm_status status = check_name(r, "", json_string_value(name));
        if (status == EBM_OK)
            status = copy_text(r, json_string_value(name), &names[i]);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

/* Missing names are copies of `fallback`; without one there are none. */
static enum ebm_status read_names(const struct reader *r, const json_t *object, uint32_t n, char *const *fallback,
                                  char ***ret_names)
{
    const json_t *json = json_object_get(object, "names");
    if (!json && !fallback)
        return EBM_OK;
    char **names = *ret_names = calloc(n, sizeof *names);
    if (!names)
        return no_memory(r);
    if (json)
        return within(r, "names", read_name_list(r, json, n, names));
    for (uint32_t i = 0; i < n; i++) {
        enum ebm_status status = copy_text(r, fallback[i], &names[i]);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

/* names, mean and std of an input or a target of n numbers */
static enum ebm_status read_statistics(const struct reader *r, const json_t *object, uint32_t n,
                                       const double *fallback_mean, const double *fallback_std, double **ret_mean,
                                       double **ret_std)
{
    enum ebm_status status = read_numbers(r, object, "mean", n, ret_mean);
    if (status == EBM_OK)
        status = read_numbers(r, object, "std", n, ret_std);
    if (status == EBM_OK)
        status = fill_numbers(r, ret_mean, n, fallback_mean, 0);
    if (status == EBM_OK)
        status = fill_numbers(r, ret_std, n, fallback_std, 1);
    if (status != EBM_OK)
        return status;
    for (uint32_t i = 0; i < n; i++)
        if (!((*ret_std)[i] > 0) || !isfinite((*ret_std)[i]))
            return ebm_error_set(r->reterr, EBM_INVALID, "std", "number %u is %g, expected more than 0", i,
                                 (*ret_std)[i]);
    return EBM_OK;
}

/* ---- input ---- */

static enum ebm_status read_kind(const struct reader *r, const json_t *object)
{
    const char *kind = r->defaults ? "vector" : NULL;
    enum ebm_status status = read_word(r, object, "kind", &kind);
    if (status != EBM_OK)
        return status;
    if (!kind)
        return missing(r, "kind");
    if (strcmp(kind, "image") == 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"image\" is " NOT_AVAILABLE);
    if (strcmp(kind, "vector") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"%.32s\", expected \"vector\"", kind);
    return EBM_OK;
}

/* A size that the text and the data may both give. */
static enum ebm_status settle_size(const struct reader *r, const char *key, uint32_t given, uint32_t *size)
{
    if (*size == 0)
        *size = given;
    if (*size == 0)
        return missing(r, key);
    if (given != 0 && *size != given)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "%u, but the data have %u columns", *size, given);
    return EBM_OK;
}

static enum ebm_status read_shape(const struct reader *r, const json_t *object, uint32_t *ret_size)
{
    const json_t *shape = json_object_get(object, "shape");
    if (shape) {
        if (!json_is_array(shape) || json_array_size(shape) != 1 || !json_is_integer(json_array_get(shape, 0)))
            return ebm_error_set(r->reterr, EBM_INVALID, "shape", "expected an array of one integer: [8]");
        json_int_t size = json_integer_value(json_array_get(shape, 0));
        if (size < 1 || size > (json_int_t)LIMIT_WIDTH)
            return ebm_error_set(r->reterr, size < 1 ? EBM_INVALID : EBM_TOO_LARGE, "shape",
                                 "%" JSON_INTEGER_FORMAT ", expected 1 to %u", size, LIMIT_WIDTH);
        *ret_size = (uint32_t)size;
    }
    return settle_size(r, "shape", r->defaults ? r->defaults->X : 0, ret_size);
}

/* scale and resize belong to images; their defaults may stand for a vector too. */
static enum ebm_status check_image_keys(const struct reader *r, const json_t *object)
{
    const json_t *scale = json_object_get(object, "scale"), *resize = json_object_get(object, "resize");
    if (scale && !(json_is_number(scale) && json_number_value(scale) == 1.0))
        return ebm_error_set(r->reterr, EBM_INVALID, "scale", "of a vector it can only be 1");
    if (resize && !(json_is_string(resize) && strcmp(json_string_value(resize), "bilinear") == 0))
        return ebm_error_set(r->reterr, EBM_INVALID, "resize", "of a vector it can only be \"bilinear\"");
    return EBM_OK;
}

static enum ebm_status read_input(const struct reader *r, json_t *object)
{
    static const char *const keys[] = {"kind", "shape", "names", "mean", "std", "scale", "resize", NULL};
    const struct ebm_config_defaults none = {0}, *defaults = r->defaults ? r->defaults : &none;
    struct ebm_input_config *input = &r->config->input;
    enum ebm_status status = check_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_kind(r, object);
    if (status == EBM_OK)
        status = check_image_keys(r, object);
    if (status == EBM_OK)
        status = read_shape(r, object, &input->size);
    if (status == EBM_OK)
        status = read_names(r, object, input->size, defaults->input_names, &input->names);
    if (status == EBM_OK)
        status = read_statistics(r, object, input->size, defaults->input_mean, defaults->input_std, &input->mean,
                                 &input->std);
    r->config->net.X = input->size;
    return status;
}

/* ---- target ---- */

static const char *const support_words[] = {
    [EBM_SUPPORT_REAL] = "real",
    [EBM_SUPPORT_BOUNDED] = "bounded",
    [EBM_SUPPORT_PERIODIC] = "periodic",
};

const char *ebm_support_word(enum ebm_support_kind kind)
{
    return support_words[kind];
}

static enum ebm_status read_support_word(const struct reader *r, const json_t *json, enum ebm_support_kind *ret_kind)
{
    if (!json_is_string(json))
        return wrong_type(r, "support", "a string", json);
    for (size_t i = 0; i < EBM_COUNT_OF(support_words); i++)
        if (strcmp(json_string_value(json), support_words[i]) == 0) {
            *ret_kind = (enum ebm_support_kind)i;
            return EBM_OK;
        }
    return ebm_error_set(r->reterr, EBM_INVALID, "support", "\"%.32s\", expected \"real\", \"bounded\" or \"periodic\"",
                         json_string_value(json));
}

/* A word for each dimension, or one for all. */
static enum ebm_status read_support(const struct reader *r, const json_t *object, struct ebm_target_config *target)
{
    const json_t *support = json_object_get(object, "support");
    target->support = calloc(target->dim, sizeof *target->support);
    if (!target->support)
        return no_memory(r);
    if (json_is_array(support) && json_array_size(support) != target->dim)
        return ebm_error_set(r->reterr, EBM_INVALID, "support", "has %zu entries, expected %u",
                             json_array_size(support), target->dim);
    enum ebm_status status = EBM_OK;
    for (uint32_t d = 0; support && d < target->dim && status == EBM_OK; d++)
        status = read_support_word(r, json_is_array(support) ? json_array_get(support, d) : support,
                                   &target->support[d]);
    return status;
}

/* Numbers, or null where a dimension has none: `none` stands for it. New: belongs to the config at once. */
static enum ebm_status read_ends(const struct reader *r, const json_t *object, const char *key, uint32_t n, double none,
                                 double **ret_values)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_array(json))
        return wrong_type(r, key, "an array of numbers", json);
    if (json_array_size(json) != n)
        return ebm_error_set(r->reterr, EBM_INVALID, key, "has %zu numbers, expected %u", json_array_size(json), n);
    *ret_values = calloc(n, sizeof **ret_values);
    if (!*ret_values)
        return no_memory(r);
    for (uint32_t i = 0; i < n; i++) {
        const json_t *number = json_array_get(json, i);
        if (!json_is_number(number) && !json_is_null(number))
            return wrong_type(r, key, "numbers, or null where there is none", number);
        (*ret_values)[i] = json_is_null(number) ? none : json_number_value(number);
    }
    return EBM_OK;
}

/* Dimension d alone. */
static enum ebm_status check_bounds(const struct reader *r, const struct ebm_target_config *target, uint32_t d)
{
    bool has_lower = target->lower && isfinite(target->lower[d]),
         has_upper = target->upper && isfinite(target->upper[d]);
    if (target->support[d] != EBM_SUPPORT_REAL && (!has_lower || !has_upper))
        return ebm_error_set(r->reterr, EBM_INVALID, has_lower ? "upper" : "lower",
                             "dimension %u is %s: it needs numbers in lower and upper", d,
                             support_words[target->support[d]]);
    if (has_lower != has_upper)
        return ebm_error_set(r->reterr, EBM_INVALID, has_lower ? "upper" : "lower",
                             "number %u is null: lower and upper stand together", d);
    if (has_lower && !(target->lower[d] < target->upper[d]))
        return ebm_error_set(r->reterr, EBM_INVALID, "lower", "number %u is %g, expected less than upper, %g", d,
                             target->lower[d], target->upper[d]);
    if (has_lower && !isfinite(target->upper[d] - target->lower[d]))
        return ebm_error_set(r->reterr, EBM_INVALID, "lower", "numbers %u of lower and upper are too far apart", d);
    return EBM_OK;
}

/* Those of the defaults, which are finite. */
static enum ebm_status default_bounds(const struct reader *r, const struct ebm_config_defaults *defaults,
                                      struct ebm_target_config *target)
{
    target->lower = calloc(target->dim, sizeof *target->lower);
    target->upper = calloc(target->dim, sizeof *target->upper);
    if (!target->lower || !target->upper)
        return no_memory(r);
    memcpy(target->lower, defaults->target_lower, target->dim * sizeof *target->lower);
    memcpy(target->upper, defaults->target_upper, target->dim * sizeof *target->upper);
    return EBM_OK;
}

static bool takes_default_bounds(const json_t *object, const struct ebm_config_defaults *defaults,
                                 const struct ebm_target_config *target)
{
    bool is_real = defaults->target_lower && defaults->target_upper && !json_object_get(object, "lower") &&
                   !json_object_get(object, "upper");
    for (uint32_t d = 0; is_real && d < target->dim; d++)
        is_real = target->support[d] == EBM_SUPPORT_REAL;
    return is_real;
}

static enum ebm_status read_bounds(const struct reader *r, const json_t *object,
                                   const struct ebm_config_defaults *defaults, struct ebm_target_config *target)
{
    if (takes_default_bounds(object, defaults, target))
        return default_bounds(r, defaults, target);
    enum ebm_status status = read_ends(r, object, "lower", target->dim, -INFINITY, &target->lower);
    if (status == EBM_OK)
        status = read_ends(r, object, "upper", target->dim, INFINITY, &target->upper);
    if (status == EBM_OK && !target->lower != !target->upper)
        return ebm_error_set(r->reterr, EBM_INVALID, target->lower ? "upper" : "lower",
                             "is missing: lower and upper stand together");
    for (uint32_t d = 0; status == EBM_OK && d < target->dim; d++)
        status = check_bounds(r, target, d);
    return status;
}

/* Statistics of angles depend on where the circle is cut: a periodic dimension whose statistics the data would give
 * gets the middle of its period and the standard deviation of a uniform angle instead. */
static enum ebm_status read_target_statistics(const struct reader *r, const json_t *object,
                                              const struct ebm_config_defaults *defaults,
                                              struct ebm_target_config *target)
{
    double means[LIMIT_TARGET_DIM], stds[LIMIT_TARGET_DIM];
    bool measured = defaults->target_mean && defaults->target_std;
    for (uint32_t d = 0; measured && d < target->dim; d++) {
        bool is_periodic = target->support[d] == EBM_SUPPORT_PERIODIC;
        means[d] = is_periodic ? 0.5 * target->lower[d] + 0.5 * target->upper[d] : defaults->target_mean[d];
        stds[d] = is_periodic ? (target->upper[d] - target->lower[d]) / sqrt(12.0) : defaults->target_std[d];
    }
    return read_statistics(r, object, target->dim, measured ? means : NULL, measured ? stds : NULL, &target->mean,
                           &target->std);
}

/* The support as devices read it: standardised, infinite where none is stated. */
static enum ebm_status settle_support(const struct reader *r, const struct ebm_target_config *target)
{
    struct ebm_support *support = calloc(target->dim, sizeof *support);
    if (!support)
        return no_memory(r);
    r->config->net.support = r->config->support = support;
    for (uint32_t d = 0; d < target->dim; d++) {
        support[d] = (struct ebm_support){target->support[d], -INFINITY, INFINITY};
        if (!target->lower || !isfinite(target->lower[d]))
            continue;
        support[d].lower = (target->lower[d] - target->mean[d]) / target->std[d];
        support[d].upper = (target->upper[d] - target->mean[d]) / target->std[d];
        if (!((float)support[d].lower < (float)support[d].upper) || !isfinite((float)support[d].lower) ||
            !isfinite((float)support[d].upper))
            return ebm_error_set(r->reterr, EBM_INVALID, "lower",
                                 "in units of mean and std number %u is %.9g and upper %.9g: as floats these cannot be "
                                 "told apart, or are no numbers. Other mean and std may help",
                                 d, support[d].lower, support[d].upper);
    }
    return EBM_OK;
}

static enum ebm_status read_target(const struct reader *r, json_t *object)
{
    static const char *const keys[] = {"dim", "names", "mean", "std", "support", "lower", "upper", NULL};
    const struct ebm_config_defaults none = {0}, *defaults = r->defaults ? r->defaults : &none;
    struct ebm_target_config *target = &r->config->target;
    enum ebm_status status = check_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_unsigned(r, object, "dim", LIMIT_TARGET_DIM, &target->dim);
    if (status == EBM_OK)
        status = settle_size(r, "dim", defaults->D, &target->dim);
    if (status == EBM_OK)
        status = read_support(r, object, target);
    if (status == EBM_OK)
        status = read_names(r, object, target->dim, defaults->target_names, &target->names);
    if (status == EBM_OK)
        status = read_bounds(r, object, defaults, target);
    if (status == EBM_OK)
        status = read_target_statistics(r, object, defaults, target);
    if (status == EBM_OK)
        status = settle_support(r, target);
    r->config->net.D = target->dim;
    return status;
}

/* ---- layers ---- */

static enum ebm_status read_layer_type(const struct reader *r, const json_t *object)
{
    if (!json_is_object(object))
        return wrong_type(r, "", "an object", object);
    const char *type = NULL;
    enum ebm_status status = read_word(r, object, "type", &type);
    if (status != EBM_OK)
        return status;
    if (!type)
        return missing(r, "type");
    if (strcmp(type, "resnet") == 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "type", "\"resnet\" is " NOT_AVAILABLE);
    if (strcmp(type, "linear") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "type", "unknown layer \"%.32s\", expected \"linear\"", type);
    return EBM_OK;
}

static enum ebm_status read_activation(const struct reader *r, const json_t *object,
                                       enum ebm_activation *ret_activation)
{
    static const char *const words[] = {
#define X(name, word) word,
        EBM_ACTIVATION_MAP(X)
#undef X
    };
    const char *word = NULL;
    enum ebm_status status = read_word(r, object, "activation", &word);
    if (status != EBM_OK || !word)
        return status;
    for (size_t i = 0; i < EBM_COUNT_OF(words); i++)
        if (strcmp(words[i], word) == 0) {
            *ret_activation = (enum ebm_activation)i;
            return EBM_OK;
        }
    return ebm_error_set(r->reterr, EBM_INVALID, "activation",
                         "unknown activation \"%.32s\", expected identity, relu, tanh, silu or softplus", word);
}

static enum ebm_status read_layer(const struct reader *r, json_t *object, struct ebm_layer *layer)
{
    static const char *const keys[] = {"type", "in", "out", "activation", "residual", NULL};
    enum ebm_status status = read_layer_type(r, object);
    if (status == EBM_OK)
        status = check_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_unsigned(r, object, "in", LIMIT_WIDTH, &layer->in);
    if (status == EBM_OK)
        status = read_unsigned(r, object, "out", LIMIT_WIDTH, &layer->out);
    if (status == EBM_OK)
        status = read_activation(r, object, &layer->activation);
    if (status == EBM_OK)
        status = read_bool(r, object, "residual", &layer->residual);
    return status;
}

/* `key` of `object`; absent or empty: no layers. */
static enum ebm_status read_net(const struct reader *r, const json_t *object, const char *key, enum ebm_net_index index)
{
    const json_t *json = json_object_get(object, key);
    if (!json)
        return EBM_OK;
    if (!json_is_array(json))
        return wrong_type(r, key, "an array of layers", json);
    size_t n = json_array_size(json);
    if (n > LIMIT_LAYERS)
        return ebm_error_set(r->reterr, EBM_TOO_LARGE, key, "%zu layers, the limit is %u", n, LIMIT_LAYERS);
    struct ebm_layer *layers = r->config->layers[index] = calloc(n + 1, sizeof *layers);
    if (!layers)
        return no_memory(r);
    for (size_t i = 0; i < n; i++) {
        enum ebm_status status = read_layer(r, json_array_get(json, i), &layers[i]);
        if (status != EBM_OK) {
            char where[64];
            (void)snprintf(where, sizeof where, "%s[%zu]", key, i);
            return within(r, where, status);
        }
    }
    ebm_net_of(&r->config->net, index)->n_layers = (uint32_t)n;
    return EBM_OK;
}

static enum ebm_status read_energy(const struct reader *r, const json_t *root)
{
    struct ebm_net_desc *net = &r->config->net;
    enum ebm_status status = read_net(r, root, "feature_net", EBM_NET_FEATURE);
    if (status == EBM_OK)
        status = read_net(r, root, "target_net", EBM_NET_TARGET);
    if (status == EBM_OK)
        status = read_net(r, root, "energy_net", EBM_NET_ENERGY);
    if (status != EBM_OK)
        return status;
    net->has_energy = net->energy.n_layers > 0;
    if (!net->has_energy && json_object_get(root, "energy_net"))
        return ebm_error_set(r->reterr, EBM_INVALID, "energy_net", "needs at least one layer");
    if (!net->has_energy && json_object_get(root, "target_net"))
        return ebm_error_set(r->reterr, EBM_INVALID, "target_net", "there is no energy_net to read it");
    return EBM_OK;
}

static enum ebm_status read_proposal_kind(const struct reader *r, const json_t *object)
{
    const char *kind = NULL;
    enum ebm_status status = read_word(r, object, "kind", &kind);
    if (status != EBM_OK)
        return status;
    if (!kind)
        return missing(r, "kind");
    if (strcmp(kind, "gaussian_mixture") != 0)
        return ebm_error_set(r->reterr, EBM_INVALID, "kind", "\"%.32s\", expected \"gaussian_mixture\"", kind);
    return EBM_OK;
}

static enum ebm_status read_proposal_nets(const struct reader *r, const json_t *object)
{
    static const struct {
        const char *key;
        enum ebm_net_index index;
    } nets[] = {{"mean_net", EBM_NET_MEAN}, {"log_variance_net", EBM_NET_LOG_VARIANCE}, {"weight_net", EBM_NET_WEIGHT}};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++) {
        enum ebm_status status = read_net(r, object, nets[i].key, nets[i].index);
        if (status != EBM_OK)
            return status;
        if (ebm_net_of(&r->config->net, nets[i].index)->n_layers == 0)
            return ebm_error_set(r->reterr, EBM_INVALID, nets[i].key, "needs at least one layer");
    }
    return EBM_OK;
}

static enum ebm_status read_proposal(const struct reader *r, json_t *object)
{
    static const char *const keys[] = {"kind",       "components",      "mean_net", "log_variance_net",
                                       "weight_net", "trains_features", NULL};
    struct ebm_net_desc *net = &r->config->net;
    enum ebm_status status = check_keys(r, object, keys);
    if (status == EBM_OK)
        status = read_proposal_kind(r, object);
    if (status == EBM_OK)
        status = read_unsigned(r, object, "components", LIMIT_COMPONENTS, &net->K);
    if (status == EBM_OK && net->K == 0)
        status = missing(r, "components");
    if (status == EBM_OK)
        status = read_bool(r, object, "trains_features", &net->trains_features);
    if (status == EBM_OK)
        status = read_proposal_nets(r, object);
    return status;
}

/* ---- what is only recorded ---- */

/* Recursion is as deep as jansson let the text be (2048). Failed appends stay in the buffer. */
static void print_json(struct ebm_buf *buf, const json_t *json)
{
    size_t i;
    json_t *value;
    const char *key;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        (void)ebm_buf_text(buf, "{");
        i = 0;
        json_object_foreach ((json_t *)json, key, value) {
            (void)ebm_buf_text(buf, i++ ? ", " : "");
            (void)ebm_buf_json_text(buf, key);
            (void)ebm_buf_text(buf, ": ");
            print_json(buf, value);
        }
        (void)ebm_buf_text(buf, "}");
        return;
    case JSON_ARRAY:
        (void)ebm_buf_text(buf, "[");
        json_array_foreach (json, i, value) {
            (void)ebm_buf_text(buf, i ? ", " : "");
            print_json(buf, value);
        }
        (void)ebm_buf_text(buf, "]");
        return;
    case JSON_STRING:
        (void)ebm_buf_json_text(buf, json_string_value(json));
        return;
    case JSON_INTEGER:
        (void)ebm_buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        return;
    case JSON_REAL:
        (void)ebm_buf_json_number(buf, json_real_value(json));
        return;
    case JSON_TRUE:
        (void)ebm_buf_text(buf, "true");
        return;
    case JSON_FALSE:
        (void)ebm_buf_text(buf, "false");
        return;
    case JSON_NULL:
        (void)ebm_buf_text(buf, "null");
        return;
    }
}

/* Replaces *text by the text of `json`, an object. */
static enum ebm_status record_object(const char *key, const json_t *json, char **text, struct ebm_error *reterr)
{
    if (!json_is_object(json))
        return ebm_error_set(reterr, EBM_INVALID, key, "expected an object, got %s", type_name(json));
    EBM_AUTO(buf_donep) struct ebm_buf buf;
    ebm_buf_init(&buf, LIMIT_CONFIG_BYTES);
    print_json(&buf, json);
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, key, "%s (at most %u bytes)", ebm_status_text(buf.status),
                             LIMIT_CONFIG_BYTES);
    free(*text);
    *text = EBM_TAKE_PTR(buf.bytes);
    return EBM_OK;
}

static enum ebm_status read_recorded(const struct reader *r, const json_t *root, const char *key, char **text)
{
    const json_t *json = json_object_get(root, key);
    return json ? record_object(key, json, text, r->reterr) : EBM_OK;
}

/* ---- the whole ---- */

static enum ebm_status read_version(const struct reader *r, const json_t *root)
{
    const json_t *version = json_object_get(root, "format_version");
    if (!version)
        return r->defaults ? EBM_OK : missing(r, "format_version");
    if (!json_is_integer(version))
        return wrong_type(r, "format_version", "the integer 1", version);
    if (json_integer_value(version) != 1)
        return ebm_error_set(r->reterr, EBM_INVALID, "format_version",
                             "%" JSON_INTEGER_FORMAT " is " NOT_AVAILABLE ", expected 1", json_integer_value(version));
    return EBM_OK;
}

static enum ebm_status read_about(const struct reader *r, const json_t *root)
{
    const char *name = r->defaults ? r->defaults->name : NULL, *description = NULL;
    enum ebm_status status = read_word(r, root, "name", &name);
    if (status == EBM_OK)
        status = read_word(r, root, "description", &description);
    if (status != EBM_OK)
        return status;
    if (!name)
        return missing(r, "name");
    if ((status = check_name(r, "name", name)) != EBM_OK)
        return status;
    if ((status = copy_text(r, name, &r->config->name)) != EBM_OK)
        return status;
    return description ? copy_text(r, description, &r->config->description) : EBM_OK;
}

static enum ebm_status read_members(const struct reader *r, const json_t *root)
{
    const json_t *members = json_object_get(root, "members");
    r->config->net.members = 1;
    if (!members)
        return EBM_OK;
    if (!json_is_integer(members) || json_integer_value(members) < 1 || json_integer_value(members) > LIMIT_MEMBERS)
        return ebm_error_set(r->reterr, EBM_INVALID, "members",
                             "expected a whole number from 1 to %u: how many networks of an ensemble", LIMIT_MEMBERS);
    r->config->net.members = (uint32_t)json_integer_value(members);
    return EBM_OK;
}

/* A section that is an object; absent it is an empty one where defaults may fill it. */
static enum ebm_status read_section(const struct reader *r, json_t *root, const char *key, json_t *empty,
                                    enum ebm_status (*read)(const struct reader *, json_t *))
{
    json_t *section = json_object_get(root, key);
    if (!section && r->defaults)
        section = empty;
    return section ? within(r, key, read(r, section)) : missing(r, key);
}

static enum ebm_status read_root(const struct reader *r, json_t *root, json_t *empty)
{
    static const char *const keys[] = {"format_version", "name",        "description", "input",      "target",
                                       "members",        "feature_net", "target_net",  "energy_net", "proposal",
                                       "training",       "extensions",  NULL};
    enum ebm_status status = check_keys(r, root, keys);
    if (status == EBM_OK)
        status = read_version(r, root);
    if (status == EBM_OK)
        status = read_about(r, root);
    if (status == EBM_OK)
        status = read_section(r, root, "input", empty, read_input);
    if (status == EBM_OK)
        status = read_section(r, root, "target", empty, read_target);
    if (status == EBM_OK)
        status = read_members(r, root);
    if (status == EBM_OK)
        status = read_energy(r, root);
    json_t *proposal = json_object_get(root, "proposal");
    if (status == EBM_OK && proposal)
        status = within(r, "proposal", read_proposal(r, proposal));
    if (status == EBM_OK && !proposal && !r->config->net.has_energy)
        status = ebm_error_set(r->reterr, EBM_INVALID, "energy_net", "a model needs energy_net, proposal or both");
    if (status == EBM_OK)
        status = read_recorded(r, root, "training", &r->config->training);
    if (status == EBM_OK)
        status = read_recorded(r, root, "extensions", &r->config->extensions);
    return status == EBM_OK ? ebm_config_connect(r->config, r->defaults != NULL, r->reterr) : status;
}

/* New: json_decref. */
static enum ebm_status load_json(const char *text, size_t length, json_t **ret_json, struct ebm_error *reterr)
{
    if (length > LIMIT_CONFIG_BYTES)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "", "%zu bytes of JSON, the limit is %u", length,
                             LIMIT_CONFIG_BYTES);
    json_error_t error;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!json && error.text[0] == 0) /* jansson finds no words only when it finds no memory */
        return ebm_error_set(reterr, EBM_NO_MEMORY, "", "no memory for %zu bytes of JSON", length);
    if (!json)
        return ebm_error_set(reterr, EBM_INVALID, "", "line %d, column %d: %s", error.line, error.column, error.text);
    *ret_json = json;
    return EBM_OK;
}

enum ebm_status ebm_config_parse(const char *text, size_t length, const struct ebm_config_defaults *defaults,
                                 struct ebm_config **ret_config, struct ebm_error *reterr)
{
    EBM_AUTO(json_decrefp) json_t *root = NULL;
    enum ebm_status status = load_json(text, length, &root, reterr);
    if (status != EBM_OK)
        return status;
    EBM_AUTO(json_decrefp) json_t *empty = json_object();
    EBM_AUTO(ebm_config_freep) struct ebm_config *config = calloc(1, sizeof *config);
    struct reader reader = {.defaults = defaults, .config = config, .reterr = reterr};
    if (!config || !empty)
        return no_memory(&reader);
    if ((status = read_root(&reader, root, empty)) != EBM_OK)
        return status;
    *ret_config = EBM_TAKE_PTR(config);
    return EBM_OK;
}

enum ebm_status ebm_config_set_training(struct ebm_config *config, const char *json, struct ebm_error *reterr)
{
    EBM_AUTO(json_decrefp) json_t *object = NULL;
    enum ebm_status status = load_json(json, strlen(json), &object, reterr);
    if (status != EBM_OK)
        return reterr ? ebm_error_prefix(reterr, "training") : status;
    return record_object("training", object, &config->training, reterr);
}

static void free_names(char **names, uint32_t n)
{
    for (uint32_t i = 0; names && i < n; i++)
        free(names[i]);
    free(names);
}

struct ebm_config *ebm_config_free(struct ebm_config *config)
{
    if (!config)
        return NULL;
    free(config->name);
    free(config->description);
    free_names(config->input.names, config->input.size);
    free(config->input.mean);
    free(config->input.std);
    free_names(config->target.names, config->target.dim);
    free(config->target.mean);
    free(config->target.std);
    free(config->target.support);
    free(config->target.lower);
    free(config->target.upper);
    free(config->training);
    free(config->extensions);
    for (int i = 0; i < EBM_NETS; i++)
        free(config->layers[i]);
    free(config->params);
    free(config->support);
    free(config);
    return NULL;
}

void ebm_config_freep(struct ebm_config **config)
{
    *config = ebm_config_free(*config);
}

bool ebm_name_is_valid(const char *name)
{
    size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return length >= 1 && length <= LIMIT_NAME_BYTES && name[length] == 0 && name[0] != '.';
}

uint64_t ebm_model_version_of(const char *name)
{
    size_t length = strlen(name);
    bool is_number = length > 0 && length <= EBM_MODEL_VERSION_DIGITS && name[0] != '0' &&
                     strspn(name, "0123456789") == length;
    return is_number ? strtoull(name, NULL, 10) : 0;
}
