/* cli_images.c - a file's size is found by reading on until nothing comes, so that pipes are files, too. */
#include "clients/cli_images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clients/client_http.h"

#define LEAST_BYTES 4096u
#define MOST_BYTES ((size_t)64 << 20)

/* The rest of the file. New: free(*ret_bytes). */
static enum ebm_client_status read_rest(FILE *file, const char *path, unsigned char **ret_bytes, size_t *ret_n,
                                        struct ebm_client_error *reterr)
{
    unsigned char *bytes = NULL, *larger;
    size_t n = 0, room = 0, got = 1;
    while (got > 0 && n <= MOST_BYTES) {
        if (n == room) {
            room = room == 0 ? LEAST_BYTES : 2 * room;
            larger = realloc(bytes, room);
            if (!larger) {
                free(bytes);
                return client_fail(reterr, EBM_CLIENT_NO_MEMORY, path, "no memory");
            }
            bytes = larger;
        }
        got = fread(bytes + n, 1, room - n, file);
        n += got;
    }
    if (!ferror(file) && n > 0 && n <= MOST_BYTES) {
        *ret_bytes = bytes;
        *ret_n = n;
        return EBM_CLIENT_OK;
    }
    free(bytes);
    return client_fail(reterr, EBM_CLIENT_INVALID, path, "%s",
                       ferror(file) ? strerror(errno)
                       : n == 0     ? "empty, expected a PNG or JPEG file"
                                    : "more than 64 MiB, expected a PNG or JPEG file");
}

static enum ebm_client_status read_file(const char *path, struct ebm_client_image *ret_image,
                                        struct ebm_client_error *reterr)
{
    unsigned char *bytes = NULL;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return client_fail(reterr, EBM_CLIENT_INVALID, path, "%s", strerror(errno));
    enum ebm_client_status status = read_rest(file, path, &bytes, &ret_image->n_bytes, reterr);
    ret_image->bytes = bytes;
    (void)fclose(file);
    return status;
}

enum ebm_client_status cli_images_read(const char *const *paths, size_t n, struct cli_images **ret_images,
                                       struct ebm_client_error *reterr)
{
    struct cli_images *images = calloc(1, sizeof *images + n * sizeof *images->images);
    enum ebm_client_status status = EBM_CLIENT_OK;
    if (!images)
        return client_fail(reterr, EBM_CLIENT_NO_MEMORY, "images", "no memory");
    for (; images->n < n && status == EBM_CLIENT_OK; images->n++)
        status = read_file(paths[images->n], &images->images[images->n], reterr);
    if (status == EBM_CLIENT_OK)
        *ret_images = images;
    else
        (void)cli_images_free(images);
    return status;
}

struct cli_images *cli_images_free(struct cli_images *images)
{
    for (size_t i = 0; images && i < images->n; i++)
        free((void *)images->images[i].bytes);
    free(images);
    return NULL;
}
