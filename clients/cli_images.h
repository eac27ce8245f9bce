/* cli_images.h - files of images as rows of a request. Any thread. */
#ifndef EBM_CLIENTS_CLI_IMAGES_H
#define EBM_CLIENTS_CLI_IMAGES_H

#include "clients/ebm_client.h"

/* Files in memory. */
struct cli_images {
    size_t n;
    struct ebm_client_image images[]; /* (n) */
};

/* Reads n files whole, of 1 byte to 64 MiB each; what they hold is the server's to judge. INVALID names the file.
 * New: cli_images_free. */
enum ebm_client_status cli_images_read(const char *const *paths, size_t n, struct cli_images **ret_images,
                                       struct ebm_client_error *reterr);
struct cli_images *cli_images_free(struct cli_images *images); /* NULL is fine; returns NULL */

#endif
