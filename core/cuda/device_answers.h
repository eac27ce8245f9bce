/* device_answers.h - between a task of importance and the device's questions and answers (answers.h). */
#ifndef EBM_CORE_CUDA_DEVICE_ANSWERS_H
#define EBM_CORE_CUDA_DEVICE_ANSWERS_H

#include "core/cuda/engine.h"
#include "core/device_internal.h"

/* Does all that the task asks for come out of the device's answers, and is that little enough to be worth it? Of a row
 * of `samples` draws. */
bool cuda_can_answer(const struct ebm_plan *plan, const struct ebm_task *task, uint32_t samples);

/* Puts the question about a row whose first tile of draws is first_tile into a slot with this load, which grows. */
void cuda_ask(struct ebm_gpu_slot *slot, struct ebm_gpu_load *load, uint32_t D, const struct ebm_task *task,
              uint32_t samples, uint32_t first_tile);

/* What the slot says to question number i. Borrow: of the slot. */
struct ebm_row_sums cuda_answer(const struct ebm_gpu_slot *slot, uint32_t i);

#endif
