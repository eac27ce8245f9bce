/* seeds.h - `train --seeds`: the same training with several seeds, each a process of its own. */
#ifndef EBM_TRAINER_SEEDS_H
#define EBM_TRAINER_SEEDS_H

#include "core/buf.h"
#include "trainer/children.h"

/* "0..9", "3", "1,5,20..22": at most CHILDREN_MAX seeds, none twice. New: free(). */
enum ebm_status seeds_parse(const char *text, uint64_t **ret_seeds, uint32_t *ret_n, struct ebm_error *reterr)
    EBM_MUST_USE;

/* A line a seed, mean and standard deviation of the validation NLL. Returns the best run's index, n when there is
 * none. */
uint32_t seeds_table(const struct child *runs, uint32_t n, struct ebm_buf *buf);

/* The command `train` with --seeds. */
enum ebm_status seeds_command(const struct args *args, struct ebm_error *reterr);

#endif
