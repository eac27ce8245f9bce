/* teacher.h - a mixture and its energy-based teacher as one network, so that one plan, one optimiser and one checkpoint
 * train both.
 *
 *   teacher's params   feature, target, energy       (P of the teacher's own description)
 *   mixture's params   own features, mixture nets    the part "proposal"; with features of its own (core/net_desc.h) */
#ifndef EBM_TRAINER_TEACHER_H
#define EBM_TRAINER_TEACHER_H

#include "models/config.h"

/* Owns what it points to: teacher_done. Zeroed is fine. */
struct teacher {
    struct ebm_config *config; /* of the teacher alone */
    struct ebm_layer *mixture_layers;
    struct ebm_net_desc net;  /* both; borrows layers of config, and of `mixture` its support */
    struct ebm_range mixture; /* where the mixture's params lie in those of both, in their own order */
};

/* The teacher that `nets` (a JSON object of feature_net, target_net, energy_net) describes, beside `mixture`, which
 * must have a proposal and no energy net. Errors: where = "training.parameters.teacher...", "training.method". */
enum ebm_status teacher_make(const struct ebm_config *mixture, const char *nets, struct teacher *ret_teacher,
                             struct ebm_error *reterr) EBM_MUST_USE;
void teacher_done(struct teacher *teacher);

#endif
