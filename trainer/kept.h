/* kept.h - what a trunk that stands still makes of the training images, computed once.
 *
 * While only heads learn, the same images would go through the same trunk in every epoch. Norms by the statistics of
 * each batch, as the papers have it, still give an image other features in other company; by running statistics they do
 * not, and then features can be kept. Those statistics are measured first: of a trunk that was just begun they say
 * nothing. */
#ifndef EBM_TRAINER_KEPT_H
#define EBM_TRAINER_KEPT_H

#include "models/config.h"
#include "trainer/dataset.h"
#include "trainer/step.h"

/* Owns its array: kept_done. Zeroed is fine. */
struct kept {
    float *reach; /* (n_rows of the data set, trunk.out), of training rows; NULL: nothing is kept */
};

/* Of all training rows, by batches of batch_size, which step->plan was prepared for. measures: running statistics
 * first, by so many batches that nothing is left of what they were. The same for any number of threads. */
enum ebm_status kept_make(const struct step *step, const struct dataset *data, const struct ebm_input_config *input,
                          uint32_t batch_size, bool measures, struct kept *ret_kept, struct ebm_error *reterr)
    EBM_MUST_USE;
void kept_done(struct kept *kept);

#endif
