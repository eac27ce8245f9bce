/* temperature.h - one number that makes a trained density as wide as held-out rows say it should be:
 *
 *   p(y|x) proportional to exp(f(x, y) / T)      T above 1 widens, below 1 narrows; what is likeliest stays likeliest
 *
 * (temperature scaling, Guo et al. 2017, arXiv 1706.04599, of a density). It becomes part of the parameters: the last
 * layer of the energy net divided by T. A mixture's variances are multiplied by T, as exp(./T) does to one Gaussian;
 * those of an energy's proposal too, so that it goes on to cover the density. All members of an ensemble have one T. */
#ifndef EBM_TRAINER_TEMPERATURE_H
#define EBM_TRAINER_TEMPERATURE_H

#include "models/model.h"
#include "trainer/score.h"

#define TEMPERATURE_LEAST (1.0 / 64.0)
#define TEMPERATURE_MOST 64.0

struct temperature {
    double value;                 /* T */
    double nll_before, nll_after; /* of the rows, nats a row in the target's unit; after <= before */
    uint32_t rows;
};

/* Can parameters express it? INVALID: the last layer that it would change has an activation, or is residual. */
enum ebm_status temperature_check(const struct ebm_net_desc *net, struct ebm_error *reterr) EBM_MUST_USE;

/* Parameters of all members at temperature T > 0, in place. */
void temperature_apply(const struct ebm_net_desc *net, double T, float *params);

/* What densities are scored with, and on which rows. */
struct temperature_rows {
    const struct ebm_device_ops *ops;
    uint32_t n_threads;
    const struct dataset *data;
    const uint32_t *rows; /* (n) of data */
    uint32_t n;
    const struct dataset_jitter *jitter; /* as struct score_spec */
    uint32_t samples;
    uint64_t seed;
};

/* The T within its bounds that makes the NLL of the rows least: downhill from 1, then by golden section, to a
 * thousandth. 1 where nothing is better. The same rows give the same T whatever the number of threads.
 * INVALID: as temperature_check; the network gives no finite density at a row; rows are none. */
enum ebm_status temperature_find(const struct ebm_model *model, const struct temperature_rows *rows,
                                 struct temperature *ret_temperature, struct ebm_error *reterr) EBM_MUST_USE;

/* The model at that temperature, which its record of the training tells of. New: unref. Parity values of the other
 * parameters are left out. */
enum ebm_status temperature_model(const struct ebm_model *model, const struct temperature *temperature,
                                  struct ebm_model **ret_model, struct ebm_error *reterr) EBM_MUST_USE;

/* A line for people. `which` rows: "validation". */
void temperature_print(const struct temperature *temperature, const char *which);

#endif
