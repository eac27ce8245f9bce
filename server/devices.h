/* devices.h - which of the devices behind the table compute. One that has failed does so until the process ends: what
 * CUDA says after an error is about the error, whatever is asked of it. Any thread. */
#ifndef EBM_SERVER_DEVICES_H
#define EBM_SERVER_DEVICES_H

#include <stdatomic.h>

#include "core/device.h"

struct devices {
    const struct ebm_device_ops *ops; /* fixed before other threads are there; borrow */
    _Atomic uint32_t failed;          /* a bit for each */
};

static inline bool devices_is_fit(const struct devices *devices, uint32_t device)
{
    return (atomic_load(&devices->failed) >> device & 1) == 0;
}

static inline bool devices_any_fit(const struct devices *devices)
{
    return atomic_load(&devices->failed) != (1u << devices->ops->n_devices) - 1;
}

static inline uint32_t devices_count_failed(const struct devices *devices)
{
    return (uint32_t)__builtin_popcount(atomic_load(&devices->failed));
}

/* One that is fit, from `device` on; `device` itself where none is. */
uint32_t devices_next_fit(const struct devices *devices, uint32_t device);
/* It has failed, which is logged the first time. A CPU does not fail. */
void devices_fail(struct devices *devices, uint32_t device);

#endif
