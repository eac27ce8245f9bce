/* forecast_device.h - what a training takes of a GPU's memory, from its networks and its method alone.
 *
 * Follows what core/cuda allocates: parameters once, a trunk's batch once, and what a thread's chunks need. CUDA itself
 * takes some hundred MiB more, and graphs and kernels a little. */
#ifndef EBM_TRAINER_FORECAST_DEVICE_H
#define EBM_TRAINER_FORECAST_DEVICE_H

#include "trainer/method.h"

/* Bytes. pinned: of the host, beside these, for what goes up and down; threads and pinned: of all threads. */
struct forecast_device {
    uint64_t parameters, trunk, threads, pinned;
};

/* Does a GPU train such a network at all? Else its threads do no more than open the device. */
bool forecast_trains_there(const struct ebm_net_desc *net);

/* Of batches of batch_size rows. Nothing is allocated. */
struct forecast_device forecast_device(const struct ebm_net_desc *net, const struct method_plan *method,
                                       uint32_t batch_size, uint32_t n_threads);

#endif
