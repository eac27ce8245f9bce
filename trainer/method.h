/* method.h - what a training method is: what it needs of the model, and which loss trains which parts in which epoch.
 *
 * One file a method, one row in the table of method.c. The network's mathematics is core's (enum ebm_loss). */
#ifndef EBM_TRAINER_METHOD_H
#define EBM_TRAINER_METHOD_H

#include "core/device.h"

/* A number under "training.parameters". */
struct method_parameter {
    char *name;
    double value;
};

/* What methods read of the training configuration. */
struct method_settings {
    uint32_t epochs, warmup_epochs, samples;
    const struct method_parameter *parameters;
    uint32_t n_parameters;
};

/* One stretch of epochs. */
struct method_phase {
    const char *word;          /* for the progress line: "warm-up"; "" for the method's own loss */
    uint32_t first_epoch;      /* from 0; the phase ends where the next one starts */
    struct ebm_loss_spec loss; /* without `scale`, which belongs to a batch */
    bool trains[EBM_PARTS];
};

#define METHOD_PHASES 2u

struct method_plan {
    struct method_phase phases[METHOD_PHASES];
    uint32_t n_phases;
};

struct method {
    const char *name;
    const char *summary;
    /* Checks model and settings and lays out the phases; INVALID with a sentence when they do not fit. */
    enum ebm_status (*plan)(const struct ebm_net_desc *net, const struct method_settings *settings,
                            struct method_plan *ret_plan, struct ebm_error *reterr);
};

extern const struct method method_nce_kl, method_mdn_nll;

/* The method of that name; INVALID when there is none, or not in this version. Borrow: static. */
enum ebm_status method_find(const char *name, const struct method **ret_method, struct ebm_error *reterr) EBM_MUST_USE;

/* Refuses parameters: for methods that have none. */
enum ebm_status method_no_parameters(const char *method, const struct method_settings *settings,
                                     struct ebm_error *reterr) EBM_MUST_USE;

/* The phase that epoch (from 0) belongs to. Borrow: of plan. */
const struct method_phase *method_phase_at(const struct method_plan *plan, uint32_t epoch);

#endif
