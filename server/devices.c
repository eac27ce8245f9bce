/* devices.c - which device is next, and what is said once of each that failed. */
#include "server/devices.h"

#include "core/device_plugin.h"
#include "core/log.h"

_Static_assert(LIMIT_DEVICES < 32, "a bit for each");

uint32_t devices_next_fit(const struct devices *devices, uint32_t device)
{
    const uint32_t n = devices->ops->n_devices;
    for (uint32_t i = 0; i < n; i++)
        if (devices_is_fit(devices, (device + i) % n))
            return (device + i) % n;
    return device;
}

void devices_fail(struct devices *devices, uint32_t device)
{
    char why[EBM_DEVICE_FAILURE_BYTES];
    const uint32_t own = 1u << device, n = devices->ops->n_devices;
    if (devices->ops == ebm_device_cpu() || (atomic_fetch_or(&devices->failed, own) & own) != 0)
        return;
    ebm_device_failure(device, why, sizeof why);
    ebm_log_error("the device failed: device=%s (%s); %u of %u are left%s", devices->ops->name,
                  why[0] != 0 ? why : "it does not say why", n - devices_count_failed(devices), n,
                  devices_any_fit(devices) ? ", which go on" : ": nothing is answered until a restart");
}
