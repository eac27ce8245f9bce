/* method_values.c - what "training.parameters" says, checked against a method's table, and read in the units that the
 * losses want.
 *
 * Widths are given in the target's unit and divided by its standard deviation. Published widths belong to targets whose
 * standard deviation is about 1 (the one-dimensional sets of arXiv 2005.01698: 0.6): for others they are refused with
 * a proposal to start from, since noise a hundredth or a hundred times as wide as the data trains nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/names.h"
#include "trainer/method.h"

#define LEAST_STD 0.1 /* of targets for which published widths serve */
#define MOST_STD 10.0

const struct method_value *method_said(const struct method_value *values, uint32_t n, const char *name)
{
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(values[i].name, name) == 0)
            return &values[i];
    return NULL;
}

const struct method_parameter *method_parameter_of(const struct method *method, const char *name)
{
    for (uint32_t i = 0; i < method->n_parameters; i++)
        if (strcmp(method->parameters[i].name, name) == 0)
            return &method->parameters[i];
    return NULL;
}

/* ---- checks ---- */

static enum ebm_status unknown_parameter(const struct method *method, const char *name, const char *where,
                                         struct ebm_error *reterr)
{
    const char *names[16], *near;
    EBM_ASSERT(method->n_parameters <= EBM_COUNT_OF(names));
    if (method->n_parameters == 0)
        return ebm_error_set(reterr, EBM_INVALID, where, "unknown parameter: %s has none", method->name);
    for (uint32_t i = 0; i < method->n_parameters; i++)
        names[i] = method->parameters[i].name;
    near = ebm_names_near(name, names, method->n_parameters);
    if (near != NULL)
        return ebm_error_set(reterr, EBM_INVALID, where, "unknown parameter of %s, did you mean '%s'?", method->name,
                             near);
    return ebm_error_set(reterr, EBM_INVALID, where, "unknown parameter: %s has '%s'%s", method->name, names[0],
                         method->n_parameters > 1 ? " and others (docs/MODEL_FORMAT.md)" : "");
}

static bool has_right_shape(const struct method_parameter *p, const struct method_value *v)
{
    switch (p->kind) {
    case METHOD_NUMBER:
    case METHOD_COUNT:
        return v->numbers != NULL && v->dims == 0;
    case METHOD_WIDTH:
        return v->numbers != NULL && v->dims <= 1;
    case METHOD_WIDTHS:
        return v->numbers != NULL && v->dims >= 1;
    case METHOD_NETS:
        return v->object != NULL;
    }
    return false;
}

static const char *expected_shape(enum method_kind kind)
{
    switch (kind) {
    case METHOD_NUMBER:
        return "a number";
    case METHOD_COUNT:
        return "a whole number";
    case METHOD_WIDTH:
        return "a number, or a list with one for each target";
    case METHOD_WIDTHS:
        return "a list with a number for each component of the noise, or a list of such lists with a number for each "
               "target";
    case METHOD_NETS:
        return "an object of networks";
    }
    return "";
}

static enum ebm_status check_value(const struct method *method, const struct method_value *v, struct ebm_error *reterr)
{
    char where[96];
    (void)snprintf(where, sizeof where, "training.parameters.%.64s", v->name);
    const struct method_parameter *p = method_parameter_of(method, v->name);
    if (p == NULL)
        return unknown_parameter(method, v->name, where, reterr);
    if (!has_right_shape(p, v))
        return ebm_error_set(reterr, EBM_INVALID, where, "expected %s", expected_shape(p->kind));
    if (p->kind == METHOD_WIDTHS && v->rows > METHOD_SIGMAS)
        return ebm_error_set(reterr, EBM_INVALID, where, "%u components, at most %u", v->rows, METHOD_SIGMAS);
    for (size_t i = 0; v->numbers != NULL && i < (size_t)v->rows * v->columns; i++) {
        double number = v->numbers[i];
        if (!(number >= p->least && number <= p->most) || (p->kind == METHOD_COUNT && number != floor(number)))
            return ebm_error_set(reterr, EBM_INVALID, where, "%g, expected %s from %g to %g", number,
                                 p->kind == METHOD_COUNT ? "a whole number" : "numbers", p->least, p->most);
    }
    return EBM_OK;
}

enum ebm_status method_check_values(const struct method *method, const struct method_value *values, uint32_t n,
                                    struct ebm_error *reterr)
{
    for (uint32_t i = 0; i < n; i++) {
        enum ebm_status status = check_value(method, &values[i], reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

/* ---- numbers ---- */

double method_number(const struct method *method, const struct method_settings *settings, const char *name)
{
    const struct method_parameter *p = method_parameter_of(method, name);
    const struct method_value *v = method_said(settings->values, settings->n_values, name);
    EBM_ASSERT(p != NULL);
    return v != NULL ? v->numbers[0] : p->published[0];
}

/* Published widths for targets of another spread. */
static enum ebm_status check_published(const struct method_parameter *p, const struct ebm_net_desc *net,
                                       const double *target_std, struct ebm_error *reterr)
{
    char where[96];
    (void)snprintf(where, sizeof where, "training.parameters.%s", p->name);
    for (uint32_t d = 0; target_std != NULL && d < net->D; d++) {
        if (target_std[d] >= LEAST_STD && target_std[d] <= MOST_STD)
            continue;
        if (p->n_published == 1)
            return ebm_error_set(reterr, EBM_INVALID, where,
                                 "the published %g is for targets whose std is about 1, and this one's is %.3g: say "
                                 "one in the target's unit, %.2g to begin with",
                                 p->published[0], target_std[d], p->published[0] * target_std[d]);
        return ebm_error_set(reterr, EBM_INVALID, where,
                             "the published %g, %g are for targets whose std is about 1, and this one's is %.3g: say "
                             "some in the target's unit, [%.2g, %.2g] to begin with",
                             p->published[0], p->published[1], target_std[d], p->published[0] * target_std[d],
                             p->published[1] * target_std[d]);
    }
    return EBM_OK;
}

/* Number of component k and target d. A list is of components; of METHOD_WIDTH it is of targets. */
static double width_at(const struct method_parameter *p, const struct method_value *v, uint32_t k, uint32_t d)
{
    if (v == NULL)
        return p->published[k];
    if (p->kind == METHOD_WIDTH)
        return v->numbers[v->dims == 1 ? d : 0];
    return v->numbers[(size_t)k * v->columns + (v->dims == 2 ? d : 0)];
}

enum ebm_status method_widths(const struct method *method, const struct ebm_net_desc *net,
                              const struct method_settings *settings, const char *name, struct method_plan *plan,
                              const float **ret_widths, uint32_t *ret_n, struct ebm_error *reterr)
{
    const struct method_parameter *p = method_parameter_of(method, name);
    const struct method_value *v = method_said(settings->values, settings->n_values, name);
    char where[96];
    EBM_ASSERT(p != NULL && plan->n_arrays < METHOD_ARRAYS);
    (void)snprintf(where, sizeof where, "training.parameters.%s", p->name);
    uint32_t n = p->kind == METHOD_WIDTH ? 1 : v != NULL ? v->rows : p->n_published;
    uint32_t targets = v == NULL                 ? net->D
                       : p->kind == METHOD_WIDTH ? (v->dims == 1 ? v->rows : net->D)
                                                 : (v->dims == 2 ? v->columns : net->D);
    if (targets != net->D)
        return ebm_error_set(reterr, EBM_INVALID, where, "%u numbers for the targets, and there are %u", targets,
                             net->D);
    enum ebm_status status = v == NULL || v->is_published ? check_published(p, net, settings->target_std, reterr)
                                                          : EBM_OK;
    if (status != EBM_OK)
        return status;
    float *widths = calloc((size_t)n * net->D, sizeof *widths);
    if (widths == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, where, "no memory");
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t d = 0; d < net->D; d++)
            widths[(size_t)k * net->D + d] = (float)(width_at(p, v, k, d) /
                                                     (settings->target_std != NULL ? settings->target_std[d] : 1.0));
    plan->arrays[plan->n_arrays++] = widths;
    *ret_widths = widths;
    *ret_n = n;
    return EBM_OK;
}
