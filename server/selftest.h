/* selftest.h - ebm-server --gpu-selftest: for the first time on a machine with a GPU, and for reports about it. */
#ifndef EBM_SERVER_SELFTEST_H
#define EBM_SERVER_SELFTEST_H

#include "core/device_plugin.h"

/* Prints to stdout what the device is called, how far its numbers are from the CPU's, how long it takes beside it, and
 * its launches one by one. DEVICE when numbers differ too much, or whatever kept it from being opened. */
enum ebm_status selftest_run(const struct ebm_device_choice *choice, struct ebm_error *reterr) EBM_MUST_USE;

/* Nothing but the times of one network (EBM_DEVICE_TIMED_MAP), by its word, at so many rows. INVALID: there is none. */
enum ebm_status selftest_time(const struct ebm_device_choice *choice, const char *net, const char *rows,
                              struct ebm_error *reterr) EBM_MUST_USE;

#endif
