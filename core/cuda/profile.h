/* profile.h - how long each launch of a batch takes on the device, between engine.h's calls.
 *
 * From begin to end a space's launches come one at a time, without graphs, each between two events, when nothing else
 * of the space is on the device. The same calls in the same order are a run; all runs launch the same. */
#ifndef EBM_CORE_CUDA_PROFILE_H
#define EBM_CORE_CUDA_PROFILE_H

#include "core/cuda/engine.h"
#include "core/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* False, here and below: the space has failed. */
bool ebm_gpu_profile_begin(struct ebm_gpu_space *space);
bool ebm_gpu_profile_run(struct ebm_gpu_space *space); /* one begins */
/* It is done; its times count, or not. */
bool ebm_gpu_profile_ran(struct ebm_gpu_space *space, bool counts);
/* After begin, whatever failed since. Medians over all runs that count, as the table's `profile` gives them. */
enum ebm_status ebm_gpu_profile_end(struct ebm_gpu_space *space, struct ebm_launch_times *ret_times, uint32_t room,
                                    uint32_t *ret_n);

#ifdef __cplusplus
}
#endif

#endif
