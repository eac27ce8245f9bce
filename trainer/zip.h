/* zip.h - one file out of a zip archive: stored or deflated, as NumPy writes them. No encryption, no parts, at most
 * 2^16 files, the archive itself below 4 GiB but for stored lengths in its own 64-bit form. */
#ifndef EBM_TRAINER_ZIP_H
#define EBM_TRAINER_ZIP_H

#include "core/status.h"

/* The content of the file `name` in the archive, at most max_bytes. NOT_FOUND: no archive, or no such file in it.
 * DAMAGED: not a whole archive, or its checksum is another. New: free(). */
enum ebm_status zip_read(const char *path, const char *name, uint64_t max_bytes, unsigned char **ret_bytes,
                         size_t *ret_size, struct ebm_error *reterr) EBM_MUST_USE;

#endif
