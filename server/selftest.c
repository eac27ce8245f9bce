/* selftest.c - the comparison that every start with a GPU makes, with its numbers shown, and beside it steps of
 * training, many rows, times, and launches. */
#include "server/selftest.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/device_check.h"
#include "core/names.h"

#define REPEATS 21u
#define REPEATS_OF_IMAGES 5u /* which take a CPU so much longer, and of 256 at once a minute */
#define MANY 96u             /* rows, which take a slot twice */
#define FEW 7u

/* Of the prediction, what is not the x side. */
static void show_bounds(const struct ebm_device_times *t)
{
    double draws = t->prediction - t->x_side;
    (void)printf("          x side %8.1f us (bound %6.1f)   draws, f, answers %8.1f us (bound %6.1f)\n",
                 t->x_side * 1e6, t->x_side_bound * 1e6, draws * 1e6, t->draws_bound * 1e6);
}

static enum ebm_status show_time(const struct ebm_device_ops *ops, enum ebm_device_timed net, const char *name,
                                 uint32_t B, uint32_t repeats, struct ebm_error *reterr)
{
    struct ebm_device_times there, here;
    enum ebm_status status = ebm_device_time(ops, net, B, repeats, &there, reterr);
    if (status == EBM_OK)
        status = ebm_device_time(ebm_device_cpu(), net, B, 3, &here, reterr);
    if (status != EBM_OK)
        return status;
    (void)printf("%s  B %3u  %10.1f us  %10.0f rows/s  (one CPU thread: %10.0f rows/s)\n", name, B,
                 there.prediction * 1e6, B / there.prediction, B / here.prediction);
    show_bounds(&there);
    return EBM_OK;
}

static enum ebm_status show_launches(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                     uint32_t runs, struct ebm_error *reterr)
{
    struct ebm_device_profile profile;
    if (ops->profile == NULL)
        return EBM_OK;
    enum ebm_status status = ebm_device_profile(ops, net, B, runs, &profile, reterr);
    if (status == EBM_OK)
        ebm_device_profile_print(&profile);
    return status;
}

#define X(name) #name,
static const char *const names[] = {EBM_DEVICE_TIMED_MAP(X)};
#undef X

static enum ebm_status show_batch(const struct ebm_device_ops *ops, enum ebm_device_timed net, uint32_t B,
                                  bool by_launches, struct ebm_error *reterr)
{
    const uint32_t repeats = net == EBM_DEVICE_TIMED_C ? REPEATS_OF_IMAGES : REPEATS;
    enum ebm_status status = show_time(ops, net, names[net], B, repeats, reterr);
    return status == EBM_OK && by_launches ? show_launches(ops, net, B, repeats, reterr) : status;
}

static void show_heading(void)
{
    (void)printf("a prediction with 1024 draws a row, median of %u (C: %u); bounds: what an H100's data sheet allows\n",
                 REPEATS, REPEATS_OF_IMAGES);
}

/* One row alone, and the largest batch of all networks, by their launches, too. */
static enum ebm_status show_times(const struct ebm_device_ops *ops, struct ebm_error *reterr)
{
    static const uint32_t batches[] = {1, 8, 64, 256};
    enum ebm_status status = EBM_OK;
    show_heading();
    for (size_t net = 0; net < EBM_COUNT_OF(names); net++) {
        bool of_images = net == EBM_DEVICE_TIMED_C;
        for (size_t i = 0; status == EBM_OK && i < EBM_COUNT_OF(batches) - of_images; i++)
            status = show_batch(ops, (enum ebm_device_timed)net, batches[i], batches[i] == 1 || batches[i] == 64,
                                reterr);
    }
    return status;
}

static enum ebm_status check_training(const struct ebm_device_ops *ops, struct ebm_error *reterr)
{
    struct ebm_device_training_errors errors[EBM_DEVICE_TRAININGS] = {{0}};
    enum ebm_status status = ebm_device_check_training(ops, errors, reterr);
    for (uint32_t i = 0; i < EBM_DEVICE_TRAININGS && errors[i].name != NULL; i++)
        ebm_device_training_print(&errors[i]);
    return status;
}

static enum ebm_status check_many(const struct ebm_device_ops *ops, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_device_check_many(ops, EBM_DEVICE_TIMED_T, MANY, FEW, reterr);
    if (status == EBM_OK)
        status = ebm_device_check_many(ops, EBM_DEVICE_TIMED_V, MANY, FEW, reterr);
    if (status == EBM_OK)
        (void)printf("%-16s  each of %u rows has the same bytes among all as among %u\n", "many rows", MANY, FEW);
    return status;
}

static enum ebm_status open_device(const struct ebm_device_choice *choice, const struct ebm_device_ops **ret_ops,
                                   struct ebm_error *reterr)
{
    char name[EBM_DEVICE_NAME_BYTES];
    enum ebm_status status = ebm_device_open_unchecked(choice, EBM_CUDA_DRIVER, ret_ops, name, reterr);
    if (status == EBM_OK)
        (void)printf("%s: %s\n", (*ret_ops)->name, name);
    return status;
}

enum ebm_status selftest_time(const struct ebm_device_choice *choice, const char *net, const char *rows,
                              struct ebm_error *reterr)
{
    const struct ebm_device_ops *ops = NULL;
    size_t which = ebm_names_find(net, names, EBM_COUNT_OF(names));
    char *end;
    unsigned long B = strtoul(rows, &end, 10);
    if (which == EBM_COUNT_OF(names) || *end != 0 || B < 1 || B > LIMIT_BATCH_ROWS)
        return ebm_error_set(reterr, EBM_INVALID, "--gpu-selftest",
                             "expected T, V or C and 1 to %u rows, got '%s' '%s'", LIMIT_BATCH_ROWS, net, rows);
    enum ebm_status status = open_device(choice, &ops, reterr);
    if (status != EBM_OK)
        return status;
    show_heading();
    return show_batch(ops, (enum ebm_device_timed)which, (uint32_t)B, true, reterr);
}

enum ebm_status selftest_run(const struct ebm_device_choice *choice, struct ebm_error *reterr)
{
    struct ebm_device_errors errors[EBM_DEVICE_CHECKS] = {{0}};
    const struct ebm_device_ops *ops = NULL;
    enum ebm_status status = open_device(choice, &ops, reterr);
    if (status != EBM_OK)
        return status;
    status = ebm_device_check(ops, errors, reterr);
    for (uint32_t i = 0; i < EBM_DEVICE_CHECKS && errors[i].name != NULL; i++)
        ebm_device_errors_print(&errors[i]);
    if (status == EBM_OK)
        status = check_training(ops, reterr);
    if (status == EBM_OK)
        status = check_many(ops, reterr);
    return status == EBM_OK ? show_times(ops, reterr) : status;
}
