/* device_plugin.h - devices that come as a file of their own, opened when somebody asks for them.
 *
 * A plug-in is a shared library that exports EBM_DEVICE_PLUGIN_SYMBOL, a function that gives a struct
 * ebm_device_plugin. It is refused when it was built for another table. It may export EBM_DEVICE_FAILURE_SYMBOL, too,
 * which tells what its device failed of. The programs link nothing of what it needs.
 *
 * Each step can fail, and says why in one line: no plug-in file, no driver, a file that is none or of another version,
 * no such device or one that is too old, numbers that differ from the CPU's. What then happens is the program's
 * decision. */
#ifndef EBM_CORE_DEVICE_PLUGIN_H
#define EBM_CORE_DEVICE_PLUGIN_H

#include "core/device.h"

#define EBM_DEVICE_PLUGIN_SYMBOL "ebm_device_plugin"
#define EBM_DEVICE_FAILURE_SYMBOL "ebm_device_plugin_failure"
#define EBM_DEVICE_NAME_BYTES 160u
#define EBM_DEVICE_FAILURE_BYTES 256u

/* What products on the sample side are made of. Sums, and all that is exponentiated, are float anyway. */
#define EBM_PRECISION_MAP(X) X(FP32, "fp32") X(TF32, "tf32") X(BF16, "bf16")

enum ebm_precision {
#define X(name, word) EBM_PRECISION_##name,
    EBM_PRECISION_MAP(X)
#undef X
};

struct ebm_device_plugin {
    uint32_t abi, bytes; /* EBM_DEVICE_ABI and sizeof(struct ebm_device_ops) */
    /* The devices of these numbers (n), or all that there are when n is 0, at most LIMIT_DEVICES; once, before the
     * table is used. ret_name: what they are called. INVALID: they are not alike. */
    enum ebm_status (*open)(const uint32_t *numbers, uint32_t n, enum ebm_precision precision,
                            const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                            struct ebm_error *reterr);
};
typedef const struct ebm_device_plugin *ebm_device_plugin_fn(void);
typedef void ebm_device_failure_fn(uint32_t device, char *ret_text, size_t bytes); /* as ebm_device_failure */

/* What a user asked for. */
struct ebm_device_choice {
    bool by_plugin;     /* else the CPU */
    bool may_fail;      /* "auto": then the CPU */
    uint32_t n_devices; /* of the plug-in; 0: all that there are */
    uint32_t devices[LIMIT_DEVICES];
    enum ebm_precision precision;
    const char *file; /* of the plug-in; NULL or "": where it is installed beside the program */
};

/* "cpu", "auto", "cuda", "cuda:N", "cuda:N,N,...", "cuda:all"; "fp32", "tf32", "bf16". INVALID with what was expected.
 */
enum ebm_status ebm_device_choose(const char *device, const char *precision, struct ebm_device_choice *ret_choice,
                                  struct ebm_error *reterr) EBM_MUST_USE;

/* Opens the plug-in and its devices, and compares each with the CPU, unless unchecked. `driver`: a library that must be
 * there before the plug-in is touched, or NULL. Stays open until the process ends. */
#define EBM_CUDA_DRIVER "libcuda.so.1"
enum ebm_status ebm_device_open(const struct ebm_device_choice *choice, const char *driver,
                                const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                struct ebm_error *reterr) EBM_MUST_USE;
enum ebm_status ebm_device_open_unchecked(const struct ebm_device_choice *choice, const char *driver,
                                          const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                          struct ebm_error *reterr) EBM_MUST_USE;

/* What a device of the opened plug-in, below n_devices, failed of, the latest time: which call, and the driver's words.
 * "": it did not, does not say, or there is none. Any thread, after it was opened. */
void ebm_device_failure(uint32_t device, char *ret_text, size_t bytes);

#endif
