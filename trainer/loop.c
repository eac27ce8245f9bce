/* loop.c - epochs, steps, and what happens between them:
 *
 *   epoch:  order of the rows -> step, step, ... -> validation -> best kept -> proposal looked at -> one line -> log
 *   step:   rows, jitter, learning rate -> losses, gradient, update
 *   after any step:   a signal -> checkpoint, stop;   time -> checkpoint
 *
 * The order of an epoch's rows, their draws and their jitter are functions of (seed, epoch, row), so that a position
 * (epoch, step) with parameters and Adam's state is all that a checkpoint needs. Checkpoints, threads and time never
 * change a number. The best parameters are those of an epoch of the last phase: in a warm-up, nets that the last phase
 * trains are as random as they started, however good the validation looks. */
#include "trainer/loop.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "models/target.h"
#include "trainer/files.h"
#include "trainer/kept.h"
#include "trainer/loader.h"
#include "trainer/next.h"
#include "trainer/progress.h"
#include "trainer/score.h"

#define WATCHED_ROWS 256u   /* training rows whose mixtures are looked at after an epoch */
#define WATCHED_WEIGHT 0.01 /* components below this weight may do as they like */
#define RUNAWAY_LOG_VARIANCE 40.0
#define SETTLED_STEPS 100u /* running statistics of batch norms, which move by a tenth a step, say little before */
#define COMMAND_BYTES 16384u
#define IMAGE_THREADS 2u /* make the next batches of images: far faster than a network uses them */

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

void loop_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND | SA_RESTART};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* What one run holds besides struct loop. */
struct run {
    struct loop *loop;
    struct checkpoint_position *at;
    uint32_t *order;       /* (n_train) rows in the order of this epoch */
    struct loader *loader; /* of images; NULL: rows are numbers */
    float *x, *y;          /* (batch, X), (batch, D); images are the loader's */
    struct ebm_row *rows;  /* (batch) */
    double *losses;        /* (batch) */
    double *nll;           /* (n_validation) */
    float *space;          /* (P) of the step; NULL where it needs none */
    struct kept kept;      /* features of images, while only heads learn and that is asked for */
    float *reach;          /* (batch, trunk.out) of these */
    struct progress progress;
    uint64_t saved_ns; /* when the last checkpoint was written; 0: never */
    char path[4096];   /* of the checkpoint */
};

/* ---- rows ---- */

/* `y` (D) is known of the row, or of its image when that was mirrored. */
static void fill_target(const struct loop *loop, uint64_t epoch_seed, uint32_t row, const double *y, float *ret_y)
{
    const struct ebm_target_config *target = &loop->config->target;
    const struct dataset_jitter *jitter = &loop->options->data.jitter;
    if (!dataset_is_jittered(jitter, y[0])) {
        ebm_target_standardize(target, y, ret_y);
        return;
    }
    uint32_t words[4];
    ebm_philox(epoch_seed, loop->data->numbers[row], 0, EBM_STREAM_DEQUANTIZE, 0, words);
    double moved = y[0] + jitter->step * (ebm_uniform(words[0]) - 0.5);
    moved = ebm_target_return(target, 0, moved);
    ebm_target_standardize(target, &moved, ret_y);
}

/* The rows of step at->step: its targets and rows are run's, its inputs or features too, or the loader's. */
static void fill_batch(struct run *run, uint64_t epoch_seed, struct step_batch *ret_batch)
{
    const struct loop *loop = run->loop;
    const struct ebm_input_config *input = &loop->config->input;
    struct loader_batch images = {.B = 0};
    uint32_t size = loop->options->batch_size, first = (uint32_t)run->at->step * size, D = loop->data->D;
    uint32_t left = loop->data->n_train - first, B = left < size ? left : size;
    size_t T = loop->step.net->trunk.out;
    bool is_kept = run->kept.reach != NULL, is_loaded = run->loader != NULL && !is_kept;
    if (is_loaded)
        images = loader_next(run->loader);
    for (uint32_t b = 0; b < B; b++) {
        uint32_t row = run->order[first + b];
        if (is_kept)
            memcpy(run->reach + b * T, run->kept.reach + row * T, T * sizeof *run->reach);
        else if (!is_loaded)
            dataset_standardize(loop->data, row, input->mean, input->std, run->x + (size_t)b * input->size);
        const double *y = is_loaded ? images.y + (size_t)b * D : loop->data->y + (size_t)row * D;
        fill_target(loop, epoch_seed, row, y, run->y + (size_t)b * D);
        run->rows[b] = (struct ebm_row){
            .seed = epoch_seed, .row_in_request = loop->data->numbers[row], .samples = loop->options->samples};
    }
    ret_batch->B = B;
    ret_batch->x = is_loaded ? images.x : run->x;
    ret_batch->reach = is_kept ? run->reach : NULL;
}

static uint64_t steps_per_epoch(const struct loop *loop)
{
    return (loop->data->n_train + (uint64_t)loop->options->batch_size - 1) / loop->options->batch_size;
}

/* At a step of the current epoch. */
static double learning_rate(const struct run *run, uint64_t step)
{
    const struct options *o = run->loop->options;
    uint64_t steps = steps_per_epoch(run->loop);
    return o->learning_rate * schedule_factor(&o->schedule, run->at->epoch * steps + step, steps, o->epochs);
}

/* ---- checkpoints ---- */

static enum ebm_status read_parameters(struct loop *loop, struct ebm_error *reterr)
{
    const struct step *step = &loop->step;
    struct checkpoint *state = loop->state;
    if (step->ops->params_read(step->plan, EBM_TRAIN_PARAMS, state->params) != EBM_OK ||
        step->ops->params_read(step->plan, EBM_TRAIN_ADAM_M, state->adam_m) != EBM_OK ||
        step->ops->params_read(step->plan, EBM_TRAIN_ADAM_V, state->adam_v) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the parameters cannot be read");
    memcpy(state->position.taken, step->taken, sizeof step->taken);
    return EBM_OK;
}

static enum ebm_status not_finite(const struct run *run, struct ebm_error *reterr)
{
    run->loop->has_diverged = true;
    return ebm_error_set(reterr, EBM_INVALID, "training",
                         "the loss is not a number (epoch %u, step %u). Lower training.learning_rate (it is %g), raise "
                         "training.warmup_epochs, or set data.standardize to true",
                         (unsigned)run->at->epoch + 1, (unsigned)run->at->step + 1, run->loop->options->learning_rate);
}

static enum ebm_status save(struct run *run, struct ebm_error *reterr)
{
    struct checkpoint *state = run->loop->state;
    enum ebm_status status = read_parameters(run->loop, reterr);
    for (size_t i = 0; status == EBM_OK && i < state->n_params; i++)
        if (!isfinite(state->params[i]))
            status = not_finite(run, reterr);
    if (status == EBM_OK)
        status = checkpoint_write(state, run->path, reterr);
    if (status == EBM_OK)
        run->saved_ns = ebm_clock_ns();
    return status;
}

static bool is_time_to_save(const struct run *run)
{
    uint64_t period_ns = (uint64_t)run->loop->options->checkpoint_seconds * 1000000000u;
    return period_ns > 0 && run->saved_ns > 0 && ebm_clock_ns() - run->saved_ns >= period_ns;
}

/* After the first epoch there is always something to go back to. */
static bool epoch_needs_saving(const struct run *run)
{
    uint32_t every = run->loop->options->checkpoint_epochs;
    return run->saved_ns == 0 || (every > 0 && run->at->epoch % every == 0) || is_time_to_save(run);
}

static enum ebm_status stop(struct run *run, struct ebm_error *reterr)
{
    enum ebm_status status = save(run, reterr);
    if (status != EBM_OK)
        return status;
    EBM_AUTO(ebm_buf_done) struct ebm_buf command;
    ebm_buf_init(&command, COMMAND_BYTES);
    next_put_resume(&command, run->loop->output);
    return ebm_error_set(reterr, EBM_CANCELLED, "training", "stopped in epoch %u; to go on: %s",
                         (unsigned)run->at->epoch + 1,
                         command.status == EBM_OK ? command.bytes : "ebm-trainer train --resume DIR");
}

/* ---- the proposal ---- */

static enum ebm_status bad_component(const struct run *run, uint32_t row, double weight, double log_variance,
                                     double share, struct ebm_error *reterr)
{
    char where[sizeof reterr->where];
    run->loop->has_diverged = true;
    (void)snprintf(where, sizeof where, "training, epoch %u", (unsigned)run->at->epoch + 1);
    if (log_variance > RUNAWAY_LOG_VARIANCE)
        return ebm_error_set(
            reterr, EBM_INVALID, where,
            "the proposal runs away: log variance %.3g at data row %u. Lower training.learning_rate or "
            "set data.standardize to true",
            log_variance, run->loop->data->numbers[row] + 1);
    return ebm_error_set(reterr, EBM_INVALID, where,
                         "the proposal collapses: at data row %u a component of weight %.2g has a std of %.2g of the "
                         "target's. Do targets repeat exactly? Set data.dequantize; or lower training.learning_rate or "
                         "collapse_std (%g)",
                         run->loop->data->numbers[row] + 1, weight, share, run->loop->options->collapse_std);
}

/* Mixtures of B rows, just computed by features. */
static enum ebm_status watch_rows(const struct run *run, const uint32_t *rows, uint32_t B, float *log_variance,
                                  float *log_weight, struct ebm_error *reterr)
{
    const struct loop *loop = run->loop;
    const struct step *step = &loop->step;
    struct ebm_ctx *ctx = pool_ctx(step->pool);
    uint32_t D = step->net->D, K = step->net->K;
    for (uint32_t b = 0; b < B; b++) {
        if (step->ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_VARIANCE, b, log_variance) != EBM_OK ||
            step->ops->fetch(ctx, EBM_FETCH_MIXTURE_LOG_WEIGHT, b, log_weight) != EBM_OK)
            return ebm_error_set(reterr, EBM_DEVICE, "device", "the mixtures cannot be read");
        for (uint32_t i = 0; i < D * K; i++) {
            double weight = exp((double)log_weight[i % K]), value = (double)log_variance[i];
            double share = exp(0.5 * value) * loop->config->target.std[i / K] / loop->data->target_std[i / K];
            if (isnan(weight) || isnan(value))
                return not_finite(run, reterr);
            if (weight >= WATCHED_WEIGHT && (share < loop->options->collapse_std || value > RUNAWAY_LOG_VARIANCE))
                return bad_component(run, rows[b], weight, value, share, reterr);
        }
    }
    return EBM_OK;
}

/* Are features of training rows as they are served those that the proposal learns from? Not in the first steps of a
 * trunk with batch norms, whose running statistics still are those that it began with. */
static bool is_settled(const struct run *run)
{
    const struct ebm_trunk *trunk = &run->loop->step.net->trunk;
    uint64_t steps = run->at->epoch * steps_per_epoch(run->loop) + run->at->step;
    for (uint32_t i = 0; i < trunk->n_ops; i++)
        if (trunk->ops[i].has_norm)
            return steps >= SETTLED_STEPS;
    return true;
}

/* Looks at the mixtures of some training rows, evenly spread. */
static enum ebm_status watch_proposal(struct run *run, struct ebm_error *reterr)
{
    const struct loop *loop = run->loop;
    const struct step *step = &loop->step;
    const struct ebm_input_config *input = &loop->config->input;
    uint32_t n = loop->data->n_train < WATCHED_ROWS ? loop->data->n_train : WATCHED_ROWS, rows[SCORE_ROWS];
    size_t X = input->size, DK = (size_t)step->net->D * step->net->K;
    EBM_AUTO(ebm_freep) float *space = calloc(SCORE_ROWS * X + DK + step->net->K + 1, sizeof *space);
    if (space == NULL)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "training", "no memory");
    bool looks = step->net->K > 0 && is_settled(run);
    for (uint32_t first = 0; looks && first < n; first += SCORE_ROWS) {
        uint32_t B = n - first < SCORE_ROWS ? n - first : SCORE_ROWS;
        for (uint32_t b = 0; b < B; b++) {
            rows[b] = loop->data->train[(uint64_t)(first + b) * loop->data->n_train / n];
            dataset_standardize(loop->data, rows[b], input->mean, input->std, space + b * X);
        }
        if (step->ops->features(pool_ctx(step->pool), step->plan, space, B) != EBM_OK)
            return ebm_error_set(reterr, EBM_DEVICE, "device", "the features cannot be computed");
        float *log_variance = space + SCORE_ROWS * X;
        enum ebm_status status = watch_rows(run, rows, B, log_variance, log_variance + DK, reterr);
        if (status != EBM_OK)
            return status;
    }
    return EBM_OK;
}

/* ---- epochs ---- */

static enum ebm_status run_step(struct run *run, const struct method_phase *phase, uint64_t epoch_seed,
                                struct ebm_error *reterr)
{
    struct step_batch batch = {.y = run->y, .rows = run->rows, .losses = run->losses};
    fill_batch(run, epoch_seed, &batch);
    run->loop->step.learning_rate = learning_rate(run, run->at->step);
    if (step_run(&run->loop->step, phase, &batch) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses the step");
    for (uint32_t b = 0; b < batch.B; b++) {
        if (!isfinite(run->losses[b]))
            return not_finite(run, reterr);
        run->at->loss_sum += run->losses[b];
    }
    run->at->step++;
    if (stop_asked && run->loop->is_trial)
        return ebm_error_set(reterr, EBM_CANCELLED, "training", "stopped before the first epoch: nothing was written");
    if (run->loop->is_trial)
        return EBM_OK;
    progress_rows(&run->progress, batch.B);
    if (stop_asked)
        return stop(run, reterr);
    return is_time_to_save(run) ? save(run, reterr) : EBM_OK;
}

/* Keeps the parameters when they are the best ones so far of the last phase. */
static enum ebm_status keep_best(struct run *run, double nll, struct ebm_error *reterr)
{
    struct loop *loop = run->loop;
    struct checkpoint_position *at = run->at;
    uint32_t first = loop->method->phases[loop->method->n_phases - 1].first_epoch;
    if (at->best_epoch <= first)
        at->best_epoch = 0; /* of a warm-up: none */
    if (at->epoch < first || !isfinite(nll) || (at->best_epoch > 0 && nll >= at->best_nll))
        return EBM_OK;
    if (loop->step.ops->params_read(loop->step.plan, EBM_TRAIN_PARAMS, loop->state->best) != EBM_OK)
        return ebm_error_set(reterr, EBM_DEVICE, "device", "the parameters cannot be read");
    at->best_nll = nll;
    at->best_epoch = at->epoch + 1;
    return EBM_OK;
}

/* NLL of the validation rows, or NaN when there are none; keeps the best parameters. */
static enum ebm_status validate(struct run *run, double *ret_nll, struct ebm_error *reterr)
{
    struct loop *loop = run->loop;
    const struct dataset *data = loop->data;
    const struct score_spec spec = {.ops = loop->step.ops,
                                    .plan = loop->step.plan,
                                    .config = loop->config,
                                    .jitter = &loop->options->data.jitter,
                                    .samples = loop->options->validation_samples,
                                    .integrates_all = true,
                                    .seed = loop->options->seed};
    double nll = (double)NAN, error;
    if (data->n_validation > 0) {
        const struct score_rows out = {.nll = run->nll};
        if (loop->step.ops->refresh(loop->step.plan) != EBM_OK ||
            score_rows(loop->step.pool, &spec, data, data->validation, data->n_validation, &out) != EBM_OK)
            return ebm_error_set(reterr, EBM_DEVICE, "device", "the device refuses to score the validation rows");
        score_mean(run->nll, data->n_validation, &nll, &error);
    }
    *ret_nll = nll;
    return keep_best(run, nll, reterr);
}

static void next_epoch(struct run *run)
{
    run->at->epoch++;
    run->at->step = 0;
    run->at->loss_sum = 0.0;
}

static enum ebm_status end_epoch(struct run *run, const struct method_phase *phase, struct ebm_error *reterr)
{
    struct progress_epoch epoch = {.number = (uint32_t)run->at->epoch + 1,
                                   .epochs = run->loop->options->epochs,
                                   .phase = phase->word,
                                   .loss = run->at->loss_sum / run->loop->data->n_train};
    enum ebm_status status = watch_proposal(run, reterr);
    if (status == EBM_OK)
        status = validate(run, &epoch.validation_nll, reterr);
    if (status != EBM_OK)
        return status;
    epoch.learning_rate = learning_rate(run, run->at->step - 1);
    epoch.best_nll = run->at->best_nll;
    epoch.best_epoch = (uint32_t)run->at->best_epoch;
    status = progress_line(&run->progress, &epoch, &run->at->log_bytes, reterr);
    if (status != EBM_OK)
        return status;
    next_epoch(run);
    return epoch_needs_saving(run) ? save(run, reterr) : EBM_OK;
}

/* Features are kept from the first epoch in which they stand still to the last. */
static enum ebm_status keep_features(struct run *run, const struct method_phase *phase, struct ebm_error *reterr)
{
    const struct loop *loop = run->loop;
    bool keeps = loop->options->keep_features && !phase->trains[EBM_PART_FEATURE];
    bool is_new = run->at->epoch == 0 && run->at->step == 0;
    if (!keeps)
        kept_done(&run->kept);
    if (!keeps || run->kept.reach != NULL)
        return EBM_OK;
    return kept_make(&loop->step, loop->data, &loop->config->input, loop->options->batch_size, is_new, &run->kept,
                     reterr);
}

static enum ebm_status run_epoch(struct run *run, struct ebm_error *reterr)
{
    const struct loop *loop = run->loop;
    const struct method_phase *phase = method_phase_at(loop->method, (uint32_t)run->at->epoch);
    uint64_t seed = ebm_seed_derive(loop->options->seed, (uint32_t)run->at->epoch);
    enum ebm_status status = EBM_OK;
    ebm_shuffle(seed, EBM_STREAM_SHUFFLE, run->order, loop->data->n_train);
    for (uint32_t i = 0; i < loop->data->n_train; i++)
        run->order[i] = loop->data->train[run->order[i]];
    status = keep_features(run, phase, reterr);
    if (run->loader != NULL && run->kept.reach == NULL)
        loader_begin(run->loader, seed, run->order, loop->data->n_train, (uint32_t)run->at->step);
    if (!loop->is_trial)
        progress_begin(&run->progress);
    while (status == EBM_OK && run->at->step < steps_per_epoch(loop))
        status = run_step(run, phase, seed, reterr);
    if (status == EBM_OK && loop->is_trial) {
        run->loop->last_loss = run->at->loss_sum / loop->data->n_train;
        next_epoch(run);
        return EBM_OK;
    }
    return status == EBM_OK ? end_epoch(run, phase, reterr) : status;
}

/* ---- the whole ---- */

static void run_done(struct run *run)
{
    (void)loader_free(run->loader);
    free(run->order);
    free(run->x);
    free(run->y);
    free(run->rows);
    free(run->losses);
    free(run->nll);
    free(run->space);
    free(run->reach);
    kept_done(&run->kept);
    progress_done(&run->progress);
}

static enum ebm_status make_loader(struct run *run, struct ebm_error *reterr)
{
    const struct loop *loop = run->loop;
    const struct loader_options options = {.data = loop->data,
                                           .augment = &loop->options->data.augment,
                                           .mean = loop->config->input.mean,
                                           .std = loop->config->input.std,
                                           .batch_rows = loop->options->batch_size,
                                           .n_threads = IMAGE_THREADS};
    return loop->data->pixels != NULL ? loader_new(&options, &run->loader, reterr) : EBM_OK;
}

static enum ebm_status run_init(struct run *run, struct loop *loop, struct ebm_error *reterr)
{
    size_t B = loop->options->batch_size;
    *run = (struct run){.loop = loop, .at = &loop->state->position};
    run->order = calloc(loop->data->n_train, sizeof *run->order);
    run->x = calloc(loop->data->pixels != NULL ? 1 : B * loop->data->X, sizeof *run->x);
    run->y = calloc(B * loop->data->D, sizeof *run->y);
    run->rows = calloc(B, sizeof *run->rows);
    run->losses = calloc(B, sizeof *run->losses);
    run->nll = calloc((size_t)loop->data->n_validation + 1, sizeof *run->nll);
    bool needs_space = loop->options->weight_decay > 0.0 || loop->options->gradient_clip > 0.0;
    run->space = needs_space ? ebm_alloc_aligned(loop->step.net->n_params * sizeof *run->space) : NULL;
    run->reach = ebm_alloc_aligned(B * loop->step.net->trunk.out * sizeof *run->reach);
    loop->step.space = run->space;
    if (!run->order || !run->x || !run->y || !run->rows || !run->losses || !run->nll || !run->reach ||
        (needs_space && !run->space))
        return ebm_error_set(reterr, EBM_NO_MEMORY, "training", "no memory");
    enum ebm_status status = make_loader(run, reterr);
    if (status != EBM_OK || loop->is_trial)
        return status;
    int length = snprintf(run->path, sizeof run->path, "%s/" CHECKPOINT_FILE, loop->output);
    if (length < 0 || (size_t)length >= sizeof run->path)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "--output", "the path is too long");
    run->saved_ns = run->at->epoch > 0 || run->at->step > 0 ? ebm_clock_ns() : 0;
    return progress_init(&run->progress, loop->output, run->at->log_bytes, run->at->epoch, loop->options->epochs,
                         loop->data->n_train, reterr);
}

/* A function of the position alone: a run that is resumed here stops here as well. */
static bool patience_is_out(const struct run *run)
{
    uint32_t patience = run->loop->options->patience;
    return patience > 0 && run->at->best_epoch > 0 && run->at->epoch >= run->at->best_epoch + patience;
}

enum ebm_status loop_run(struct loop *loop, struct ebm_error *reterr)
{
    struct run run;
    enum ebm_status status = run_init(&run, loop, reterr);
    memcpy(loop->step.taken, loop->state->position.taken, sizeof loop->step.taken);
    uint32_t epochs = loop->is_trial ? loop->until : loop->options->epochs;
    while (status == EBM_OK && run.at->epoch < epochs && !(run.at->step == 0 && patience_is_out(&run)))
        status = run_epoch(&run, reterr);
    if (status == EBM_OK)
        status = read_parameters(loop, reterr);
    run_done(&run);
    return status;
}
