/* figures.h - from rows that were scored to what a person wants to know of a model: how far off, how sure, and whether
 * it is as sure as it may be. Sums alone: no device, no files. Everything in the target's unit. */
#ifndef EBM_TRAINER_FIGURES_H
#define EBM_TRAINER_FIGURES_H

#include "models/config.h"
#include "trainer/dataset.h"
#include "trainer/score.h"

#define FIGURES_BINS 20u    /* of the PIT */
#define FIGURES_LEVELS 19u  /* of the calibration curve: 5 %, 10 %, ..., 95 % */
#define FIGURES_GROUPS 10u  /* of rows with about the same predicted std */
#define FIGURES_WORST 10u   /* rows that are named */
#define FIGURES_REASONS 16u /* words of doubt */

/* What the PIT says of a target, from plain to subtle. */
enum figures_verdict {
    FIGURES_CALIBRATED, /* as far as these rows can tell */
    FIGURES_NARROW,     /* intervals hold too few targets */
    FIGURES_WIDE,       /* too many */
    FIGURES_HIGH,       /* targets lie low in what was predicted */
    FIGURES_LOW,
    FIGURES_SHAPE, /* something else */
};

/* Rows of one group: what was predicted, and what came. */
struct figures_group {
    uint32_t n_rows;
    double std;  /* root of the mean predicted variance; of angles by the mean of their resultant lengths */
    double rmse; /* of the mean, on these rows; of angles by the mean cosine of the errors, which that announces */
};

struct figures_target {
    double rmse, mae, crps;
    double mae_mode; /* NaN: no modes */
    double mean_std;
    double coverage[SCORE_LEVELS];   /* share of the rows whose PIT lies in the middle share `level` of [0, 1] */
    double mean_width[SCORE_LEVELS]; /* of the intervals */
    double own_width[SCORE_LEVELS];  /* of the interval that holds as much of these rows' targets, whatever x is */
    double curve[FIGURES_LEVELS];    /* coverage at 5 (i + 1) % */
    uint32_t bins[FIGURES_BINS];     /* rows whose PIT lies in each twentieth */
    double pit_mean;
    double ks;         /* Kolmogorov-Smirnov: largest distance of the PIT's distribution function from the diagonal */
    double ks_p_value; /* how often chance alone gives as much to a calibrated model */
    enum figures_verdict verdict;
    struct figures_group groups[FIGURES_GROUPS]; /* ascending std */
    uint32_t n_groups;
};

struct figures_reason {
    const char *word; /* static */
    uint32_t n_rows;
};

struct figures {
    uint32_t n, D;
    double nll, nll_error; /* mean, and its standard error */
    uint32_t n_unreliable, n_reasons, n_worst;
    struct figures_reason reasons[FIGURES_REASONS]; /* by their number of rows */
    uint32_t worst[FIGURES_WORST];                  /* indices of rows, the highest NLL first */
    struct figures_target targets[];                /* (D) */
};

/* Of all n rows of data, n >= 1, whose targets live as `target` says. New: free(). NULL: no memory. */
struct figures *figures_new(const struct dataset *data, const struct score_rows *rows,
                            const struct ebm_target_config *target) EBM_MUST_USE;

/* More than chance, and yet small: many rows make anything more than chance. */
bool figures_is_slight(const struct figures_target *target);

/* By how much chance alone moves a share of n rows: one standard error. */
double figures_share_error(double share, uint32_t n);

/* The Kolmogorov-Smirnov distance of n ascending numbers in [0, 1] from the uniform distribution, and how often chance
 * gives at least as much (Stephens 1970's correction of Kolmogorov's series). */
double figures_ks(const double *ascending, uint32_t n, double *ret_p_value);

/* The distance that 1 in 100 calibrated models exceeds by chance, as the verdict has it. */
double figures_ks_usual(uint32_t n);

#endif
