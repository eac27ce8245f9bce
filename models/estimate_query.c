/* estimate_query.c - the estimator of a query: what the user chose and the model allows, or of those that apply the
 * first of exact, quadrature, importance, mixture. What cannot be answered is refused with the way that can. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/sobol.h"
#include "models/estimate_internal.h"

/* ---- what applies ---- */

static const char *activation_word(enum ebm_activation activation)
{
#define X(name, word) word,
    static const char *const words[] = {EBM_ACTIVATION_MAP(X)};
#undef X
    return words[activation];
}

/* The first layer of y's way that is not piecewise linear: its name, "energy_net[1]"; NULL: there is none. */
static const struct ebm_layer *first_smooth(const struct ebm_net_desc *net, char *ret_name, size_t name_bytes)
{
    const struct ebm_net *nets[] = {&net->target, &net->energy};
    static const char *const names[] = {"target_net", "energy_net"};
    for (size_t i = 0; i < EBM_COUNT_OF(nets); i++)
        for (uint32_t l = 0; l < nets[i]->n_layers; l++) {
            enum ebm_activation activation = nets[i]->layers[l].activation;
            if (activation == EBM_ACT_IDENTITY || activation == EBM_ACT_RELU)
                continue;
            (void)snprintf(ret_name, name_bytes, "%s[%u]", names[i], l);
            return &nets[i]->layers[l];
        }
    return NULL;
}

static enum ebm_status check_scalar(const struct ebm_net_desc *net, const char *word, struct ebm_error *reterr)
{
    if (!net->has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "estimator",
                             "'%s' integrates an energy net, and this model has none: ask for 'mixture' or 'auto'",
                             word);
    if (net->D != 1)
        return ebm_error_set(reterr, EBM_INVALID, "estimator",
                             "'%s' needs a target of one number, this model's has %u: use 'importance'", word, net->D);
    return EBM_OK;
}

static enum ebm_status check_exact(const struct ebm_net_desc *net, struct ebm_error *reterr)
{
    char name[64];
    enum ebm_status status = check_scalar(net, "exact", reterr);
    const struct ebm_layer *layer = status == EBM_OK ? first_smooth(net, name, sizeof name) : NULL;
    if (layer == NULL)
        return status;
    return ebm_error_set(reterr, EBM_INVALID, "estimator",
                         "'exact' needs relu or identity layers in target_net and energy_net; this model's %s is %s: "
                         "use 'quadrature'",
                         name, activation_word(layer->activation));
}

static enum ebm_status check_importance(const struct ebm_net_desc *net, struct ebm_error *reterr)
{
    if (!net->has_energy)
        return ebm_error_set(reterr, EBM_INVALID, "estimator",
                             "this model has no energy net: ask for 'mixture' or 'auto' instead of 'importance'");
    if (net->K == 0)
        return ebm_error_set(reterr, EBM_INVALID, "estimator", "this model has no proposal to draw from%s",
                             net->D == 1 ? ": use 'exact', 'quadrature' or 'auto'"
                                         : ", and its target is not one number: it can only be climbed by /refine");
    return EBM_OK;
}

static enum ebm_status check_mixture(const struct ebm_net_desc *net, struct ebm_error *reterr)
{
    return net->K > 0 ? EBM_OK
                      : ebm_error_set(reterr, EBM_INVALID, "estimator",
                                      "'mixture' is the proposal itself, and this model has none: use 'auto'");
}

static enum ebm_estimator first_that_applies(const struct ebm_net_desc *net, bool weighted)
{
    char name[64];
    if (!net->has_energy)
        return EBM_ESTIMATE_MIXTURE;
    if (net->D != 1 || weighted)
        return EBM_ESTIMATE_IMPORTANCE;
    return first_smooth(net, name, sizeof name) == NULL ? EBM_ESTIMATE_EXACT : EBM_ESTIMATE_QUADRATURE;
}

enum ebm_estimator ebm_estimator_auto(const struct ebm_net_desc *net)
{
    return first_that_applies(net, false);
}

static enum ebm_status check_estimator(const struct ebm_net_desc *net, enum ebm_estimator estimator,
                                       struct ebm_error *reterr)
{
    switch (estimator) {
    case EBM_ESTIMATE_EXACT:
        return check_exact(net, reterr);
    case EBM_ESTIMATE_QUADRATURE:
        return check_scalar(net, "quadrature", reterr);
    case EBM_ESTIMATE_MIXTURE:
        return check_mixture(net, reterr);
    case EBM_ESTIMATE_IMPORTANCE:
        break;
    }
    return check_importance(net, reterr);
}

bool ebm_estimator_applies(const struct ebm_net_desc *net, enum ebm_estimator estimator)
{
    return check_estimator(net, estimator, NULL) == EBM_OK;
}

const char *ebm_estimator_word(enum ebm_estimator estimator)
{
    static const char *const words[] = {[EBM_ESTIMATE_IMPORTANCE] = "importance",
                                        [EBM_ESTIMATE_MIXTURE] = "mixture",
                                        [EBM_ESTIMATE_EXACT] = "exact",
                                        [EBM_ESTIMATE_QUADRATURE] = "quadrature"};
    return words[estimator];
}

static enum ebm_status choose_estimator(const struct ebm_query *query, const struct ebm_net_desc *net,
                                        enum ebm_estimator *ret_estimator, struct ebm_error *reterr)
{
    enum ebm_choice choice = query->choice;
    if (query->weighted && (!net->has_energy || (choice != EBM_CHOICE_AUTO && choice != EBM_CHOICE_IMPORTANCE)))
        return ebm_error_set(reterr, EBM_INVALID, "resample",
                             "false needs the estimator 'importance' and a model with an energy net: other draws have "
                             "no weights");
    switch (choice) {
    case EBM_CHOICE_AUTO:
        *ret_estimator = first_that_applies(net, query->weighted);
        break;
    case EBM_CHOICE_EXACT:
        *ret_estimator = EBM_ESTIMATE_EXACT;
        break;
    case EBM_CHOICE_QUADRATURE:
        *ret_estimator = EBM_ESTIMATE_QUADRATURE;
        break;
    case EBM_CHOICE_IMPORTANCE:
        *ret_estimator = EBM_ESTIMATE_IMPORTANCE;
        break;
    case EBM_CHOICE_MIXTURE:
        *ret_estimator = EBM_ESTIMATE_MIXTURE;
        break;
    }
    return check_estimator(net, *ret_estimator, reterr);
}

/* ---- what is asked for ---- */

static enum ebm_status check_outputs(const struct ebm_query *query, const struct ebm_net_desc *net,
                                     enum ebm_estimator estimator, struct ebm_error *reterr)
{
    const struct {
        bool asked;
        const char *where, *what;
    } of_scalars[] = {
        {query->n_cdf > 0, "cdf", "the cumulative probability"},
        {query->n_crps > 0, "crps_at", "the CRPS"},
        {query->outputs & EBM_OUTPUT(INTERVAL) && query->highest_density, "interval.kind",
         "the highest-density interval"},
        {query->outputs & EBM_OUTPUT(ENTROPY) && estimator == EBM_ESTIMATE_MIXTURE, "outputs",
         "the entropy of a mixture"},
    };
    for (size_t i = 0; net->D > 1 && i < EBM_COUNT_OF(of_scalars); i++)
        if (of_scalars[i].asked)
            return ebm_error_set(reterr, EBM_INVALID, of_scalars[i].where,
                                 "%s is that of a target of one number, this model's has %u", of_scalars[i].what,
                                 net->D);
    if (net->K == 0 && query->outputs & EBM_OUTPUT(PROPOSAL_LOG_PROB))
        return ebm_error_set(reterr, EBM_INVALID, "outputs",
                             "'proposal_log_prob' is the density of the proposal, and this model has none");
    return EBM_OK;
}

/* Quantiles, the median, the ends of the interval, in this order, as far as they are asked for. */
static bool lay_probabilities(const struct ebm_query *query, struct ebm_arena *arena,
                              struct ebm_resolved_query *resolved)
{
    uint32_t n = query->outputs & EBM_OUTPUT(QUANTILES) ? query->n_quantiles : 0;
    double *probabilities = EBM_ARENA_NEW(arena, double, n + 3);
    if (probabilities == NULL)
        return false;
    if (n > 0)
        memcpy(probabilities, query->quantiles, n * sizeof *probabilities);
    resolved->median_at = n;
    if (query->outputs & EBM_OUTPUT(MEDIAN))
        probabilities[n++] = 0.5;
    resolved->interval_at = n;
    if (query->outputs & EBM_OUTPUT(INTERVAL) && query->highest_density)
        resolved->spec.region_level = query->interval_level;
    else if (query->outputs & EBM_OUTPUT(INTERVAL)) {
        probabilities[n++] = 0.5 - 0.5 * query->interval_level;
        probabilities[n++] = fmin(0.5 + 0.5 * query->interval_level, 1.0 - 0x1p-53);
    }
    resolved->spec.probabilities = probabilities;
    resolved->spec.n_probabilities = n;
    return true;
}

static void choose_draws(const struct ebm_query *query, struct ebm_resolved_query *resolved)
{
    if (!(query->outputs & EBM_OUTPUT(SAMPLES)))
        return;
    uint32_t n_weighted = query->scheme == EBM_SCHEME_SOBOL ? ebm_sobol_count(query->num_samples) : query->num_samples;
    resolved->n_samples = query->weighted ? n_weighted : query->n_fair;
    resolved->spec.draws = query->weighted ? EBM_DRAWS_WEIGHTED : EBM_DRAWS_FAIR;
    resolved->spec.n_draws = resolved->n_samples;
}

static void choose_weights(const struct ebm_query *query, struct ebm_estimate_spec *spec)
{
    spec->scheme = query->scheme;
    spec->defensive = query->scheme == EBM_SCHEME_SOBOL ? EBM_DEFENSIVE_SHARE : 0.0;
    spec->target_ess = query->target_ess;
    spec->max_samples = query->max_samples;
    spec->smooth_weights = query->smooth_weights;
}

bool ebm_query_climbs(const struct ebm_query *query)
{
    return query->refine != NULL && query->refine->method == EBM_REFINE_ASCENT;
}

static enum ebm_status resolve_refine(const struct ebm_query *query, const struct ebm_model *model,
                                      struct ebm_arena *arena, struct ebm_resolved_query *resolved,
                                      struct ebm_error *reterr)
{
    if (query->refine == NULL)
        return EBM_OK;
    enum ebm_status status = ebm_refine_resolve(query->refine, query->num_samples, model, arena, &resolved->refine,
                                                reterr);
    if (status != EBM_OK || ebm_query_climbs(query))
        return status;
    if (query->weighted || resolved->spec.estimator == EBM_ESTIMATE_MIXTURE)
        return ebm_error_set(reterr, EBM_INVALID, "refine",
                             query->weighted
                                 ? "weights do not belong to samples that have moved: leave out 'resample' or 'refine'"
                                 : "moves samples of p(y given x), not of its proposal: leave out the estimator "
                                   "'mixture'");
    resolved->spec.langevin = &resolved->refine->moves;
    return EBM_OK;
}

enum ebm_status ebm_query_resolve(const struct ebm_query *query, const struct ebm_model *model, struct ebm_arena *arena,
                                  struct ebm_resolved_query *ret_resolved, struct ebm_error *reterr)
{
    struct ebm_resolved_query resolved = {.query = *query};
    enum ebm_status status = EBM_OK;
    EBM_ASSERT(!query->weighted || query->target_ess == 0.0); /* there is room for num_samples draws */
    if (!ebm_query_climbs(query))
        status = choose_estimator(query, ebm_model_net(model), &resolved.spec.estimator, reterr);
    if (status == EBM_OK)
        status = check_outputs(query, ebm_model_net(model), resolved.spec.estimator, reterr);
    if (status == EBM_OK)
        status = resolve_refine(query, model, arena, &resolved, reterr);
    if (status != EBM_OK)
        return status;
    resolved.spec.or_importance = query->choice == EBM_CHOICE_AUTO && ebm_model_net(model)->K > 0;
    choose_draws(query, &resolved);
    choose_weights(query, &resolved.spec);
    if (!lay_probabilities(query, arena, &resolved))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "quantiles", "no memory");
    *ret_resolved = resolved;
    return EBM_OK;
}
