/* forecast.h - what a training will do and take, said before it begins: `train --dry-run`, `validate`. */
#ifndef EBM_TRAINER_FORECAST_H
#define EBM_TRAINER_FORECAST_H

#include "core/buf.h"
#include "core/device.h"
#include "trainer/setup.h"

/* Bytes of memory, by what they are for. */
struct forecast_memory {
    uint64_t data, parameters, threads; /* threads: all of them together */
};

/* What every thread's device context must hold for this training. */
struct ebm_ctx_limits forecast_limits(const struct setup *setup);

/* An estimate from sizes alone; nothing is allocated. */
struct forecast_memory forecast_memory(const struct setup *setup, uint32_t n_threads);

/* Rows, steps and phases, memory, and the files that will be in `output` (NULL: says nothing of files). */
void forecast_text(const struct setup *setup, uint32_t n_threads, const char *output, struct ebm_buf *buf);

#endif
