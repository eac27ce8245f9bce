/* devices.c - says once of each device that it has failed. */
#include "server/devices.h"

#include "core/device_plugin.h"
#include "core/log.h"

_Static_assert(LIMIT_DEVICES < 32, "a bit for each");

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
