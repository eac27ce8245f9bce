/* setup.h - a training configuration and its data, checked against each other: all that a run needs to begin. */
#ifndef EBM_TRAINER_SETUP_H
#define EBM_TRAINER_SETUP_H

#include "models/config.h"
#include "trainer/options.h"
#include "trainer/teacher.h"

/* Owns what it points to: setup_done. Zeroed is fine. */
struct setup {
    struct options *options;
    struct dataset *data;
    struct ebm_config *config; /* complete: sizes, names and statistics from the data */
    struct method_plan method;
    struct teacher teacher; /* of a method that has one */
};

/* The network that is trained: the model's, or with a teacher both. Borrow: of setup. */
const struct ebm_net_desc *setup_net(const struct setup *setup);
/* Where the model's own parameters lie in those of setup_net. */
size_t setup_model_first(const struct setup *setup);

/* From setup->options: reads the data, completes the model, lays out the phases. */
enum ebm_status setup_make(struct setup *setup, struct ebm_error *reterr) EBM_MUST_USE;
void setup_done(struct setup *setup);

#endif
