/* small_file.h - a file of settings, keys or certificates, read whole. Any thread that may wait. */
#ifndef EBM_SERVER_SMALL_FILE_H
#define EBM_SERVER_SMALL_FILE_H

#include "core/status.h"

/* At most max_bytes, of whatever can be opened: a pipe too. NOT_FOUND: it cannot, errno says why; DAMAGED: it cannot be
 * read; TOO_LARGE, NO_MEMORY. No copy of the bytes stays elsewhere in memory, of a file that is refused none. New:
 * free. */
enum ebm_status small_file_read(const char *path, size_t max_bytes, char **ret_bytes, size_t *ret_size) EBM_MUST_USE;

#endif
