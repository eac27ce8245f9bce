/* data_args.c - three options that several commands have. */
#include "trainer/data_args.h"

enum ebm_status data_args_read(const struct args *args, struct options_files *ret_files, struct ebm_error *reterr)
{
    uint64_t bad_files = 0;
    enum ebm_status status = args_number(args, "max-bad-files", 0, LIMIT_DATA_ROWS, &bad_files, reterr);
    if (status == EBM_OK)
        *ret_files = (struct options_files){.data = args_get(args, "data"),
                                            .targets = args_get(args, "targets"),
                                            .says_bad_files = args_get(args, "max-bad-files") != NULL,
                                            .max_bad_files = (uint32_t)bad_files};
    return status;
}
