/* tails.h - what a trained energy does beyond the range that it was integrated over. */
#ifndef EBM_TRAINER_TAILS_H
#define EBM_TRAINER_TAILS_H

#include "models/model.h"
#include "trainer/dataset.h"

/* Of one real target, piecewise linear f, with a recorded range: the slope of f towards both infinities, which is that
 * of every x; `outside`, when f falls on both, the mean over rows of the mass beyond the range on the whole line. */
struct tails {
    double slope[2]; /* in 1 / the target's unit: towards -infinity and +infinity, df/dy */
    bool is_proper;  /* f falls on both sides */
    double outside;  /* NaN unless proper */
};

/* False: the model is no such model, there is nothing to say. Over at most 256 training rows, evenly spread. */
bool tails_apply(const struct ebm_config *config);
enum ebm_status tails_find(const struct ebm_config *config, const float *params, const struct dataset *data,
                           struct tails *ret_tails, struct ebm_error *reterr) EBM_MUST_USE;
/* One or two lines for people. */
void tails_print(const struct ebm_config *config, const struct tails *tails);

#endif
