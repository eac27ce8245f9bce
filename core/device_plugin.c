/* device_plugin.c - finds, opens and tries a device's plug-in.
 *
 * The driver is looked for first: the libraries that a plug-in needs take hundreds of megabytes and most of a second to
 * open, which a machine without the hardware should not pay. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device_check.h"
#include "core/device_plugin.h"
#include "core/names.h"

#define PATH_BYTES 4096
#define MOST_NUMBER 255u /* of a device */

#ifndef EBM_PLUGIN_FILE
#define EBM_PLUGIN_FILE "../lib/ebm/libebm-cuda.so" /* seen from the program's folder */
#endif

/* ---- what is asked for ---- */

/* One of them at *text, which then stands behind it. False: there is none, or it came before. */
static bool read_number(const char **text, struct ebm_device_choice *choice)
{
    char *end = NULL;
    unsigned long number = **text >= '0' && **text <= '9' ? strtoul(*text, &end, 10) : 0;
    if (end == NULL || number > MOST_NUMBER || choice->n_devices == LIMIT_DEVICES)
        return false;
    for (uint32_t i = 0; i < choice->n_devices; i++)
        if (choice->devices[i] == number)
            return false;
    choice->devices[choice->n_devices++] = (uint32_t)number;
    *text = end;
    return true;
}

/* What stands behind "cuda:". */
static bool read_devices(const char *text, struct ebm_device_choice *choice)
{
    choice->n_devices = 0;
    if (strcmp(text, "all") == 0)
        return true;
    while (read_number(&text, choice)) {
        if (*text == 0)
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

static enum ebm_status read_precision(const char *word, struct ebm_device_choice *choice, struct ebm_error *reterr)
{
#define X(name, text) text,
    static const char *const words[] = {EBM_PRECISION_MAP(X)};
#undef X
    size_t at = ebm_names_find(word, words, EBM_COUNT_OF(words));
    if (at == EBM_COUNT_OF(words))
        return ebm_error_set(reterr, EBM_INVALID, "precision", "expected one of fp32|tf32|bf16, got '%.40s'", word);
    choice->precision = (enum ebm_precision)at;
    return EBM_OK;
}

enum ebm_status ebm_device_choose(const char *device, const char *precision, struct ebm_device_choice *ret_choice,
                                  struct ebm_error *reterr)
{
    *ret_choice = (struct ebm_device_choice){.by_plugin = strcmp(device, "cpu") != 0, .n_devices = 1};
    ret_choice->may_fail = strcmp(device, "auto") == 0;
    enum ebm_status status = read_precision(precision, ret_choice, reterr);
    if (status != EBM_OK || !ret_choice->by_plugin || ret_choice->may_fail || strcmp(device, "cuda") == 0)
        return status;
    if (strncmp(device, "cuda:", 5) != 0)
        return ebm_error_set(reterr, EBM_INVALID, "device",
                             "expected cpu, auto, cuda, cuda:N, cuda:N,N,... or cuda:all, got '%.40s'", device);
    if (read_devices(device + 5, ret_choice))
        return EBM_OK;
    return ebm_error_set(reterr, EBM_INVALID, "device",
                         "expected cuda:all or cuda:N,N,... with up to %u different N from 0 to %u, got '%.40s'",
                         LIMIT_DEVICES, MOST_NUMBER, device);
}

/* ---- the file ---- */

/* Where it is installed, seen from the program. */
static bool beside_program(char ret_path[PATH_BYTES])
{
    char program[PATH_BYTES];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = 0;
    const char *slash = strrchr(program, '/');
    int folder = slash != NULL ? (int)(slash - program) : 0;
    if (EBM_PLUGIN_FILE[0] == '/')
        return snprintf(ret_path, PATH_BYTES, "%s", EBM_PLUGIN_FILE) < PATH_BYTES;
    return folder > 0 && snprintf(ret_path, PATH_BYTES, "%.*s/%s", folder, program, EBM_PLUGIN_FILE) < PATH_BYTES;
}

static enum ebm_status find_file(const char *wanted, char ret_path[PATH_BYTES], struct ebm_error *reterr)
{
    bool is_named = wanted != NULL && wanted[0] != 0;
    if (is_named ? snprintf(ret_path, PATH_BYTES, "%s", wanted) >= PATH_BYTES : !beside_program(ret_path))
        return ebm_error_set(reterr, EBM_NOT_FOUND, "device", "the plug-in's path is too long");
    if (access(ret_path, R_OK) == 0)
        return EBM_OK;
    return ebm_error_set(reterr, EBM_NOT_FOUND, "device", "no plug-in %s: %s", ret_path, strerror(errno));
}

static enum ebm_status find_driver(const char *driver, struct ebm_error *reterr)
{
    if (driver == NULL || dlopen(driver, RTLD_LAZY | RTLD_LOCAL) != NULL)
        return EBM_OK;
    const char *why = dlerror();
    return ebm_error_set(reterr, EBM_NOT_FOUND, "device", "no driver: %s", why != NULL ? why : driver);
}

static ebm_device_failure_fn *tell_failure; /* of the plug-in that was opened */

static enum ebm_status open_file(const char *path, const struct ebm_device_plugin **ret_plugin,
                                 struct ebm_error *reterr)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        const char *why = dlerror();
        return ebm_error_set(reterr, EBM_DAMAGED, "device", "the plug-in does not open: %s", why != NULL ? why : path);
    }
    void *symbol = dlsym(library, EBM_DEVICE_PLUGIN_SYMBOL);
    ebm_device_plugin_fn *get = NULL;
    memcpy(&get, &symbol, sizeof get);
    const struct ebm_device_plugin *plugin = get != NULL ? get() : NULL;
    enum ebm_status status = EBM_OK;
    if (plugin == NULL)
        status = ebm_error_set(reterr, EBM_INVALID, "device", "%s is no plug-in of ours", path);
    else if (plugin->abi != EBM_DEVICE_ABI || plugin->bytes != sizeof(struct ebm_device_ops))
        status = ebm_error_set(reterr, EBM_INVALID, "device",
                               "%s is of another version: table %u of %u bytes, expected %u of %zu", path, plugin->abi,
                               plugin->bytes, EBM_DEVICE_ABI, sizeof(struct ebm_device_ops));
    symbol = status == EBM_OK ? dlsym(library, EBM_DEVICE_FAILURE_SYMBOL) : NULL;
    memcpy(&tell_failure, &symbol, sizeof tell_failure);
    if (status != EBM_OK)
        (void)dlclose(library);
    *ret_plugin = plugin;
    return status;
}

enum ebm_status ebm_device_open_unchecked(const struct ebm_device_choice *choice, const char *driver,
                                          const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                          struct ebm_error *reterr)
{
    char path[PATH_BYTES];
    const struct ebm_device_plugin *plugin = NULL;
    enum ebm_status status = find_file(choice->file, path, reterr);
    if (status == EBM_OK)
        status = find_driver(driver, reterr);
    if (status == EBM_OK)
        status = open_file(path, &plugin, reterr);
    return status == EBM_OK
               ? plugin->open(choice->devices, choice->n_devices, choice->precision, ret_ops, ret_name, reterr)
               : status;
}

enum ebm_status ebm_device_open(const struct ebm_device_choice *choice, const char *driver,
                                const struct ebm_device_ops **ret_ops, char ret_name[EBM_DEVICE_NAME_BYTES],
                                struct ebm_error *reterr)
{
    enum ebm_status status = ebm_device_open_unchecked(choice, driver, ret_ops, ret_name, reterr);
    return status == EBM_OK ? ebm_device_check(*ret_ops, NULL, reterr) : status;
}

void ebm_device_failure(uint32_t device, char *ret_text, size_t bytes)
{
    ret_text[0] = 0;
    if (tell_failure != NULL)
        tell_failure(device, ret_text, bytes);
}
