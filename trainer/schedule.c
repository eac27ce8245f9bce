/* schedule.c - three shapes, each after the same warm-up of w steps; T steps in all, t from 0:
 *
 *   warm-up    (t + 1) / w                                                   for t < w
 *   constant   1
 *   cosine     final + (1 - final) (1 + cos(pi (t - w) / (T - 1 - w))) / 2   from 1 at t = w to final at t = T - 1
 *   step       factor ^ floor(epoch / every_epochs)                          in the warm-up as well */
#include "trainer/schedule.h"

#include <math.h>

const char *schedule_word(enum schedule_kind kind)
{
    static const char *const words[] = {
#define X(name, word) word,
        SCHEDULE_MAP(X)
#undef X
    };
    return words[kind];
}

static double cosine(const struct schedule *schedule, uint64_t step, uint64_t steps)
{
    uint64_t first = schedule->warmup_steps, last = steps - 1;
    if (step <= first || last <= first)
        return 1.0;
    double done = (double)(step - first) / (double)(last - first);
    return schedule->final_share + (1.0 - schedule->final_share) * 0.5 * (1.0 + cos(M_PI * fmin(done, 1.0)));
}

double schedule_factor(const struct schedule *schedule, uint64_t step, uint64_t steps_per_epoch, uint32_t epochs)
{
    double warm = step < schedule->warmup_steps ? (double)(step + 1) / schedule->warmup_steps : 1.0;
    switch (schedule->kind) {
    case SCHEDULE_COSINE:
        return warm * cosine(schedule, step, steps_per_epoch * epochs);
    case SCHEDULE_STEP:
        return warm * pow(schedule->factor, (double)(step / steps_per_epoch / schedule->every_epochs));
    case SCHEDULE_CONSTANT:
    case SCHEDULE_KINDS:
        break;
    }
    return warm;
}
