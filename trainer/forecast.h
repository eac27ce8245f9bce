/* forecast.h - what a training will do and take, said before it begins: `train --dry-run`, `validate`. */
#ifndef EBM_TRAINER_FORECAST_H
#define EBM_TRAINER_FORECAST_H

#include "core/buf.h"
#include "core/device.h"
#include "trainer/forecast_device.h"
#include "trainer/setup.h"

/* Bytes of memory, by what they are for. Of a GPU: without one nothing. */
struct forecast_memory {
    uint64_t data, parameters, threads; /* of the host; threads: all of them together */
    struct forecast_device device;
};

/* Where a training computes; EITHER: nobody knows yet. */
enum forecast_where { FORECAST_CPU, FORECAST_GPU, FORECAST_EITHER };

/* What every thread's device context must hold for this training. */
struct ebm_ctx_limits forecast_limits(const struct setup *setup);

/* An estimate from sizes alone; nothing is allocated. */
struct forecast_memory forecast_memory(const struct setup *setup, uint32_t n_threads, bool on_gpu);

/* Rows, steps and phases, memory, of EITHER both ways, and the files that will be in `output` (NULL: says nothing of
 * files). */
void forecast_text(const struct setup *setup, uint32_t n_threads, enum forecast_where where, const char *output,
                   struct ebm_buf *buf);

#endif
