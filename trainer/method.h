/* method.h - what a training method is: what it needs of the model, its parameters, and which loss trains which parts
 * in which epoch.
 *
 * One file a method, one row in the table of method.c. The network's mathematics is core's (enum ebm_loss). */
#ifndef EBM_TRAINER_METHOD_H
#define EBM_TRAINER_METHOD_H

#include "core/device.h"

#define METHOD_SIGMAS 16u                                 /* most components of fixed noise */
#define METHOD_NUMBERS (METHOD_SIGMAS * LIMIT_TARGET_DIM) /* most numbers of one parameter */

/* What the configuration says under "training.parameters": a number (dims 0), a list (dims 1), a list of lists of equal
 * length (dims 2), or an object, kept as text. */
struct method_value {
    char *name;
    uint32_t dims, rows, columns; /* 1, 1 of a number; n, 1 of a list */
    double *numbers;              /* (rows, columns); NULL: an object */
    char *object;                 /* JSON text */
    bool is_published;            /* nobody said it: it is the method's own */
};

enum method_kind {
    METHOD_NUMBER, /* a number without a unit */
    METHOD_COUNT,  /* a whole number */
    METHOD_WIDTH,  /* in the target's unit: a number, or a list with one for each target */
    METHOD_WIDTHS, /* the same of each component of the noise: a list, or a list of lists (components, targets) */
    METHOD_NETS,   /* an object of networks */
};

/* A parameter that a method has. Values that are left out are `published`, those of the papers' one-dimensional sets.
 */
struct method_parameter {
    const char *name;
    enum method_kind kind;
    double least, most; /* inclusive; of every number */
    double published[2];
    uint32_t n_published; /* numbers of it: 1, or of METHOD_WIDTHS 1 or 2 */
    const char *nets;     /* of METHOD_NETS, in place of published */
    const char *help;
};

/* What methods read of the training configuration, and of the data. */
struct method_settings {
    uint32_t epochs, warmup_epochs, samples;
    uint32_t heads_only_epochs; /* the first ones, in which features do not learn */
    const struct method_value *values;
    uint32_t n_values;
    const double *target_std; /* (D): widths are divided by it; NULL: 1 */
};

/* One stretch of epochs. */
struct method_phase {
    const char *word;          /* for the progress line: "warm-up"; "" for the method's own loss */
    uint32_t first_epoch;      /* from 0; the phase ends where the next one starts */
    struct ebm_loss_spec loss; /* without `scale`, which belongs to a batch; its arrays belong to the plan */
    bool trains[EBM_PARTS];
};

#define METHOD_PHASES 3u
#define METHOD_ARRAYS 2u

struct method_plan {
    struct method_phase phases[METHOD_PHASES];
    uint32_t n_phases;
    float *arrays[METHOD_ARRAYS]; /* what the losses borrow */
    uint32_t n_arrays;
};

struct method {
    const char *name;
    const char *summary;
    const struct method_parameter *parameters;
    uint32_t n_parameters;
    bool has_teacher; /* the model that is trained has a teacher beside it: trainer/teacher.h */
    /* Checks model and settings and lays out the phases; INVALID with a sentence when they do not fit. */
    enum ebm_status (*plan)(const struct method *method, const struct ebm_net_desc *net,
                            const struct method_settings *settings, struct method_plan *plan, struct ebm_error *reterr);
};

extern const struct method method_ml_is, method_kld_is, method_nce, method_nce_plus, method_ml_mcmc, method_sm,
    method_dsm, method_ml_exact, method_joint, method_nce_kl, method_mdn_nll, method_mdn_kl_teacher;

/* The method of that name; INVALID when there is none, or not in this version. Borrow: static. */
enum ebm_status method_find(const char *name, const struct method **ret_method, struct ebm_error *reterr) EBM_MUST_USE;
/* All methods. Borrow: static. */
size_t method_all(const struct method *const **ret_methods);

/* The phases of `method` for a network: the whole one that is trained. INVALID when settings or network do not fit.
 * New: method_plan_done. */
enum ebm_status method_lay(const struct method *method, const struct ebm_net_desc *net,
                           const struct method_settings *settings, struct method_plan *ret_plan,
                           struct ebm_error *reterr) EBM_MUST_USE;
void method_plan_done(struct method_plan *plan); /* zeroed is fine */

/* The phase that epoch (from 0) belongs to. Borrow: of plan. */
const struct method_phase *method_phase_at(const struct method_plan *plan, uint32_t epoch);

/* ---- values (method_values.c) ---- */

/* Unknown names, values of another kind, and numbers out of bounds are INVALID. */
enum ebm_status method_check_values(const struct method *method, const struct method_value *values, uint32_t n,
                                    struct ebm_error *reterr) EBM_MUST_USE;
/* What is said of a parameter, NULL when nothing is. Borrow. */
const struct method_value *method_said(const struct method_value *values, uint32_t n, const char *name);
const struct method_parameter *method_parameter_of(const struct method *method, const char *name);

/* ---- for the methods' files ---- */

/* A number that is said, or published. */
double method_number(const struct method *method, const struct method_settings *settings, const char *name);
/* Widths of every component, standardised: new array (n, D) of the plan. INVALID when lists do not fit D, or when
 * published widths cannot suit targets of this spread. */
enum ebm_status method_widths(const struct method *method, const struct ebm_net_desc *net,
                              const struct method_settings *settings, const char *name, struct method_plan *plan,
                              const float **ret_widths, uint32_t *ret_n, struct ebm_error *reterr) EBM_MUST_USE;

enum ebm_status method_needs_energy(const struct method *method, const struct ebm_net_desc *net,
                                    struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status method_needs_proposal(const struct method *method, const struct ebm_net_desc *net,
                                      struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status method_needs_line(const struct method *method, const struct ebm_net_desc *net, const char *why,
                                  struct ebm_error *reterr) EBM_MUST_USE;
/* Adds a phase; where heads learn alone at first it becomes two: until then on detached features. Where they do to the
 * end it is theirs. */
void method_add_phase(struct method_plan *plan, const struct method_settings *settings, struct method_phase phase);
/* Phases of a loss that trains an energy: all epochs; or, where there is a proposal, first a warm-up of it alone by
 * mdn_nll, then both, the proposal by the loss itself or beside it. */
enum ebm_status method_energy_phases(const struct ebm_net_desc *net, const struct method_settings *settings,
                                     struct ebm_loss_spec loss, struct method_plan *plan, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Rows of the tables that several methods share. */
#define METHOD_PARAMETER_SIGMAS(first, second)                                                                         \
    {                                                                                                                  \
        .name = "sigmas", .kind = METHOD_WIDTHS, .least = 1e-12, .most = 1e12, .published = {first, second},           \
        .n_published = 2, .help = "standard deviations of the noise around the true target, one a component"           \
    }

#endif
