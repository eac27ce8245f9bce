/* validate.c - everything that `train` checks before its first epoch, and nothing else: no folder, no file, no threads.
 */
#include "trainer/validate.h"

#include <stdio.h>

#include "trainer/data_args.h"
#include "trainer/forecast.h"
#include "trainer/initial.h"
#include "trainer/pool.h"
#include "trainer/report.h"

#define TEXT_BYTES (1u << 20)

enum ebm_status validate_command(const struct args *args, struct ebm_error *reterr)
{
    EBM_AUTO(setup_done) struct setup setup = {.options = NULL};
    EBM_AUTO(ebm_buf_done) struct ebm_buf buf;
    const char *path = args->positional[0];
    struct options_files files;
    uint32_t n_initial;
    ebm_buf_init(&buf, TEXT_BYTES);
    enum ebm_status status = data_args_read(args, &files, reterr);
    if (status == EBM_OK)
        status = options_load(path, args->repeats, args->n_repeats, &files, &setup.options, reterr);
    if (status == EBM_OK)
        status = setup_make(&setup, reterr);
    if (status == EBM_OK)
        status = initial_from_model(setup.options, setup.config, NULL, &n_initial, reterr);
    if (status != EBM_OK)
        return status;
    report_text(setup.data, &setup.options->data.jitter, &buf);
    forecast_text(&setup, pool_default_threads(), FORECAST_CPU, NULL, &buf);
    if (buf.status != EBM_OK)
        return ebm_error_set(reterr, buf.status, "validate", "no memory");
    (void)printf("%s is valid, and so are its data: %s\n%s", path, setup.options->data.file, buf.bytes);
    return EBM_OK;
}
