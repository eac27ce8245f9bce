/* match.h - the tensors of a file against those that a model wants, by the names of a layout. */
#ifndef EBM_TRAINER_MATCH_H
#define EBM_TRAINER_MATCH_H

#include "core/buf.h"
#include "core/safetensors.h"
#include "trainer/layout.h"

struct match_counts {
    uint32_t n_taken, n_ignored;
    uint32_t n_left; /* tensors of the model for which the layout has no name: their numbers stayed as they were */
};

/* Copies the numbers of `file`, as F32, into params, which has room for all members of `config` (layout_check has let
 * it pass). One "module." before a name is stripped; what layout_ignores tells of and parity.* are left aside. INVALID:
 * tensors are missing, there are others, or some are of another shape or type: `list` then has a line for each, and the
 * error their numbers. DAMAGED: numbers that are not finite. Then params may have changed. */
enum ebm_status match_tensors(const struct ebm_safetensors *file, enum layout layout, const struct ebm_config *config,
                              float *params, struct match_counts *ret_counts, struct ebm_buf *list,
                              struct ebm_error *reterr) EBM_MUST_USE;

#endif
