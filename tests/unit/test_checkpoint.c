/* test_checkpoint.c - a run goes into a file and comes back bit by bit; what is no checkpoint is refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trainer/checkpoint.h"

static char path[64];

static void make_path(void)
{
    (void)snprintf(path, sizeof path, "/tmp/ebm-test-checkpoint-%ld", (long)getpid());
}

static void remove_path(void)
{
    (void)unlink(path);
}

TestSuite(checkpoint, .init = make_path, .fini = remove_path);

static void fill(struct checkpoint *c)
{
    struct ebm_error error;
    cr_assert_eq(checkpoint_init(c, 48, "{\"training\": \"\\u00e4\"}", &error), EBM_OK);
    for (size_t i = 0; i < c->n_params; i++) {
        c->params[i] = (float)i / 3.0f;
        c->adam_m[i] = -1e-38f * (float)i;
        c->adam_v[i] = 1e-30f / (float)(i + 1);
        c->best[i] = (float)i;
    }
    c->position = (struct checkpoint_position){.fingerprint = UINT64_MAX,
                                               .epoch = 3,
                                               .step = 4,
                                               .taken = {5, 6, 7, 8},
                                               .best_epoch = 2,
                                               .log_bytes = 1u << 20,
                                               .loss_sum = 1.0 / 3.0,
                                               .best_nll = -0.1};
}

Test(checkpoint, comes_back_bit_by_bit)
{
    struct checkpoint c, back;
    struct ebm_error error;
    fill(&c);
    cr_assert_eq(checkpoint_write(&c, path, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(checkpoint_read(path, &back, &error), EBM_OK, "%s: %s", error.where, error.text);
    cr_assert_eq(memcmp(&c.position, &back.position, sizeof c.position), 0, "loss_sum %a, read %a", c.position.loss_sum,
                 back.position.loss_sum);
    cr_assert_str_eq(c.run, back.run);
    cr_assert_eq(back.n_params, c.n_params);
    size_t bytes = c.n_params * sizeof(float);
    cr_assert_eq(memcmp(c.params, back.params, bytes), 0);
    cr_assert_eq(memcmp(c.adam_m, back.adam_m, bytes), 0);
    cr_assert_eq(memcmp(c.adam_v, back.adam_v, bytes), 0);
    cr_assert_eq(memcmp(c.best, back.best, bytes), 0);
    checkpoint_done(&c);
    checkpoint_done(&back);
}

Test(checkpoint, a_cut_file_is_refused)
{
    struct checkpoint c, back = {.n_params = 77};
    struct ebm_error error;
    fill(&c);
    cr_assert_eq(checkpoint_write(&c, path, &error), EBM_OK);
    checkpoint_done(&c);
    cr_assert_eq(truncate(path, 300), 0);
    cr_assert_eq(checkpoint_read(path, &back, &error), EBM_DAMAGED, "%s", error.text);
    cr_assert_eq(back.n_params, 77, "untouched on failure");
    (void)unlink(path);
    cr_assert_eq(checkpoint_read(path, &back, &error), EBM_NOT_FOUND, "%s", error.text);
}

Test(checkpoint, another_kind_of_file_is_refused)
{
    struct checkpoint back;
    struct ebm_error error;
    static const char header[] = "{\"params\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    FILE *file = fopen(path, "w");
    uint64_t length = sizeof header - 1;
    cr_assert_not_null(file);
    (void)fwrite(&length, 8, 1, file);
    (void)fwrite(header, 1, length, file);
    (void)fwrite("\0\0\0", 1, 4, file);
    (void)fclose(file);
    cr_assert_eq(checkpoint_read(path, &back, &error), EBM_DAMAGED);
    cr_assert(strstr(error.text, "no checkpoint") != NULL, "%s", error.text);
}
