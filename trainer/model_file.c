/* model_file.c - a person at a command line needs the file's name in every error; models/ says where inside it. */
#include "trainer/model_file.h"

#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "trainer/files.h"

void model_file_name(const char *path, struct ebm_error *reterr)
{
    if (strstr(reterr->where, files_base(path)) != NULL)
        return;
    char inside[sizeof reterr->where];
    (void)snprintf(inside, sizeof inside, "%s", reterr->where);
    (void)snprintf(reterr->where, sizeof reterr->where, "%.60s, %.30s", path, inside);
}

enum ebm_status model_file_load(const char *path, struct ebm_model **ret_model, struct ebm_error *reterr)
{
    enum ebm_status status = ebm_model_load(path, LIMIT_FILE_BYTES, ret_model, reterr);
    if (status != EBM_OK)
        model_file_name(path, reterr);
    return status;
}
