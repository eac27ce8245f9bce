/* loop.h - the epochs of a training run. */
#ifndef EBM_TRAINER_LOOP_H
#define EBM_TRAINER_LOOP_H

#include "models/config.h"
#include "trainer/checkpoint.h"
#include "trainer/options.h"
#include "trainer/step.h"

/* All that a run is about; borrowed but for the checkpoint's content, which the loop keeps up to date. */
struct loop {
    const struct options *options;
    const struct dataset *data;
    const struct ebm_config *config;
    const struct method_plan *method;
    struct step step;
    struct checkpoint *state; /* where to go on from; afterwards where the run stands, parameters included */
    const char *output;       /* folder */
    bool is_trial;            /* tells and keeps nothing: no lines, no validation, no checkpoint, no file */
    uint32_t until;           /* a trial ends after so many epochs */
    double last_loss;         /* of a trial: the mean of its last epoch */
    bool has_diverged;        /* set when the loss is not a number or the proposal collapses: the same run will again */
};

/* From here on SIGINT and SIGTERM ask the loop to stop; a second one ends the program at once. */
void loop_catch_signals(void);

/* Trains until the last epoch, or until patience is out. Then state->params are the last parameters, state->best the
 * best ones. CANCELLED: a signal; the checkpoint is saved. INVALID with has_diverged: the loss is not a number, or the
 * proposal collapses; the last good checkpoint stays. */
enum ebm_status loop_run(struct loop *loop, struct ebm_error *reterr) EBM_MUST_USE;

#endif
