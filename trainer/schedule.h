/* schedule.h - the learning rate of every step: a function of the step's number alone, so a resumed run repeats it. */
#ifndef EBM_TRAINER_SCHEDULE_H
#define EBM_TRAINER_SCHEDULE_H

#include "core/base.h"

#define SCHEDULE_MAP(X) X(CONSTANT, "constant") X(COSINE, "cosine") X(STEP, "step")

enum schedule_kind {
#define X(name, word) SCHEDULE_##name,
    SCHEDULE_MAP(X)
#undef X
        SCHEDULE_KINDS
};

/* What the training configuration says under "schedule". */
struct schedule {
    enum schedule_kind kind;
    uint32_t warmup_steps; /* the rate rises in a line to its full value over so many steps; 0: at once */
    double final_share;    /* cosine: of learning_rate, at the last step */
    uint32_t every_epochs; /* step: after so many epochs, again and again, ... */
    double factor;         /* ... the rate is multiplied by this */
};

/* "cosine". Borrow: static. */
const char *schedule_word(enum schedule_kind kind);

/* The factor on learning_rate at `step` (from 0, over the whole run). */
double schedule_factor(const struct schedule *schedule, uint64_t step, uint64_t steps_per_epoch, uint32_t epochs);

#endif
