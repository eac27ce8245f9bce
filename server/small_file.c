/* small_file.c - fopen to fclose. */
#include "server/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum ebm_status small_file_read(const char *path, size_t max_bytes, char **ret_bytes, size_t *ret_size)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return EBM_NOT_FOUND;
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy of a key stays in a buffer */
    char *bytes = malloc(max_bytes + 1);
    size_t size = bytes ? fread(bytes, 1, max_bytes + 1, file) : 0;
    bool failed = ferror(file) != 0;
    (void)fclose(file);
    if (!bytes)
        return EBM_NO_MEMORY;
    if (!failed && size <= max_bytes) {
        *ret_bytes = bytes;
        *ret_size = size;
        return EBM_OK;
    }
    explicit_bzero(bytes, size);
    free(bytes);
    return failed ? EBM_DAMAGED : EBM_TOO_LARGE;
}
