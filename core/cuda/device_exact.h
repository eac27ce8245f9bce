/* device_exact.h - between tasks that are answered exactly and the device (exact.h). */
#ifndef EBM_CORE_CUDA_DEVICE_EXACT_H
#define EBM_CORE_CUDA_DEVICE_EXACT_H

#include "core/cuda/engine.h"
#include "core/device_internal.h"

/* The plan's table of kinks as it is now. Borrow: of the plan, until its weights change. False: there is none that the
 * device takes. */
bool cuda_exact_table(const struct ebm_plan *plan, struct ebm_gpu_exact_table *ret_table);
/* Copies the plan's table of kinks to its net, where there is one that the device takes. */
enum ebm_status cuda_exact_load(const struct ebm_plan *plan, struct ebm_gpu_net *net, struct ebm_error *reterr)
    EBM_MUST_USE;

/* Rows that were asked: number of the first question about row b, and 1, or 0. */
struct cuda_exact {
    const struct ebm_task *tasks; /* NULL: none were */
    bool is_there;                /* waited for */
    uint32_t question[LIMIT_BATCH_ROWS];
};

/* Asks about all rows of these tasks (B) that the device can answer. False: it failed. */
bool cuda_exact_ask(struct cuda_exact *exact, struct ebm_gpu_space *space, const struct ebm_gpu_net *net,
                    const struct ebm_task *tasks, uint32_t B);

/* The answer about ctx->task, row b. Borrow: until the next question. NOT_FOUND: it was not asked; TOO_LARGE: the CPU
 * has to answer; DEVICE: it failed. */
enum ebm_status cuda_exact_answer(struct cuda_exact *exact, struct ebm_ctx *ctx, struct ebm_gpu_space *space,
                                  const struct ebm_gpu_net *net, struct ebm_exact_answer *ret_answer) EBM_MUST_USE;

#endif
