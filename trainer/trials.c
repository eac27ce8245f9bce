/* trials.c - some initial weights of a small network lie in a valley that training hardly leaves; a few epochs tell.
 *
 *   each of the initial weights 0 .. n - 1  ->  `trial_epochs` epochs, nothing kept  ->  mean loss of the last
 *   the lowest loss                         ->  the run begins with its initial weights, at epoch 0
 *
 * A run from those weights repeats its trial step by step: orders, draws and jitter are functions of (seed, epoch,
 * row). So the result is that of a run that was lucky with its seed. Threads change no number. */
#include "trainer/trials.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/initial.h"

/* Seeds of initial weights 1, 2, ...: apart from those of the epochs. */
#define FIRST_TRIAL 0x80000000u

static void initial_weights(const struct loop *loop, uint32_t trial, float *ret_params)
{
    uint64_t seed = loop->options->seed;
    initial_parameters(loop->step.net, trial == 0 ? seed : ebm_seed_derive(seed, FIRST_TRIAL + trial),
                       loop->options->target_scale, ret_params);
}

/* The plan as it is before the first step. */
static enum ebm_status begin_with(const struct loop *loop, const struct checkpoint *state, struct ebm_error *reterr)
{
    const struct step *step = &loop->step;
    if (step->ops->params_write(step->plan, EBM_TRAIN_PARAMS, state->params) != EBM_OK ||
        step->ops->params_write(step->plan, EBM_TRAIN_ADAM_M, state->adam_m) != EBM_OK ||
        step->ops->params_write(step->plan, EBM_TRAIN_ADAM_V, state->adam_v) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the parameters cannot be written");
    return EBM_OK;
}

/* A loss that is no number loses. */
static enum ebm_status try_one(const struct loop *loop, uint32_t trial, double *ret_loss, struct ebm_error *reterr)
{
    struct loop attempt = *loop;
    EBM_AUTO(checkpoint_done) struct checkpoint state = {.n_params = 0};
    enum ebm_status status = checkpoint_init(&state, loop->step.net->n_params, loop->options->run, reterr);
    if (status != EBM_OK)
        return status;
    initial_weights(loop, trial, state.params);
    attempt.state = &state;
    attempt.is_trial = true;
    attempt.until = loop->options->trial_epochs;
    status = begin_with(&attempt, &state, reterr);
    if (status == EBM_OK)
        status = loop_run(&attempt, reterr);
    *ret_loss = status == EBM_OK ? attempt.last_loss : INFINITY;
    return attempt.has_diverged ? EBM_OK : status;
}

enum ebm_status trials_run(const struct loop *loop, struct ebm_error *reterr)
{
    uint32_t n = loop->options->trials, best = 0;
    double lowest = INFINITY;
    enum ebm_status status = EBM_OK;
    if (n <= 1)
        return EBM_OK;
    (void)printf("initial weights, loss after %u epochs:", loop->options->trial_epochs);
    for (uint32_t trial = 0; trial < n && status == EBM_OK; trial++) {
        double loss;
        status = try_one(loop, trial, &loss, reterr);
        if (status == EBM_OK)
            (void)printf(" %.4f", loss);
        if (status == EBM_OK && loss < lowest) {
            lowest = loss;
            best = trial;
        }
        (void)fflush(stdout);
    }
    (void)printf("%s", status == EBM_OK ? "" : "\n");
    if (status != EBM_OK)
        return status;
    (void)printf("; the run begins with number %u\n", best + 1);
    initial_weights(loop, best, loop->state->params);
    return begin_with(loop, loop->state, reterr);
}
