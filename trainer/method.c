/* method.c - the table of methods, and what they share.
 *
 * A method is looked up by the name in the configuration. The names of the literature that this version does not train
 * are known, so that they are refused as that and not as a slip of the keyboard. */
#include "trainer/method.h"

#include <string.h>

#include "core/suggest.h"

static const struct method *const methods[] = {&method_nce_kl, &method_mdn_nll};

static const char *const later[] = {"ml_is", "kld_is", "nce",   "nce_plus", "ml_mcmc",
                                    "sm",    "dsm",    "joint", "ml_exact", "mdn_kl_teacher"};

enum ebm_status method_find(const char *name, const struct method **ret_method, struct ebm_error *reterr)
{
    const char *names[EBM_COUNT_OF(methods)];
    for (size_t i = 0; i < EBM_COUNT_OF(methods); i++) {
        names[i] = methods[i]->name;
        if (strcmp(methods[i]->name, name) == 0) {
            *ret_method = methods[i];
            return EBM_OK;
        }
    }
    for (size_t i = 0; i < EBM_COUNT_OF(later); i++)
        if (strcmp(later[i], name) == 0)
            return ebm_error_set(reterr, EBM_INVALID, "training.method",
                                 "'%s' is not available in this version; there are nce_kl and mdn_nll", name);
    const char *near = ebm_suggest(name, names, EBM_COUNT_OF(names));
    return ebm_error_set(reterr, EBM_INVALID, "training.method", "unknown method '%.40s'%s%s%s", name,
                         near != NULL ? ", did you mean '" : "; there are nce_kl and mdn_nll", near != NULL ? near : "",
                         near != NULL ? "'?" : "");
}

enum ebm_status method_no_parameters(const char *method, const struct method_settings *settings,
                                     struct ebm_error *reterr)
{
    if (settings->n_parameters == 0)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "training.parameters", "unknown parameter '%.64s': %s has none",
                         settings->parameters[0].name, method);
}

const struct method_phase *method_phase_at(const struct method_plan *plan, uint32_t epoch)
{
    uint32_t at = plan->n_phases - 1;
    while (at > 0 && plan->phases[at].first_epoch > epoch)
        at--;
    return &plan->phases[at];
}
