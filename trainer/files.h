/* files.h - paths and small files. */
#ifndef EBM_TRAINER_FILES_H
#define EBM_TRAINER_FILES_H

#include "core/status.h"

/* The path behind its last slash. Borrow: of path. */
const char *files_base(const char *path);
/* folder/name, or name alone when it is absolute. New: free(). NULL: no memory. */
char *files_join(const char *folder, const char *name) EBM_MUST_USE;
/* What stands before the last slash, "." when there is none. New: free(). */
char *files_folder(const char *path) EBM_MUST_USE;
char *files_working_folder(void) EBM_MUST_USE; /* New: free() */

bool files_exists(const char *path);
/* Makes the folder and those above it; fine when they are there. */
enum ebm_status files_make_folder(const char *path, struct ebm_error *reterr) EBM_MUST_USE;
/* A whole regular file of 1 to max_bytes bytes. New: free(). */
enum ebm_status files_read(const char *path, uint64_t max_bytes, unsigned char **ret_bytes, size_t *ret_size,
                           struct ebm_error *reterr) EBM_MUST_USE;
/* A whole text file, without zero bytes. New: free(). */
enum ebm_status files_read_text(const char *path, size_t max_bytes, char **ret_text, struct ebm_error *reterr)
    EBM_MUST_USE;
/* Writes `text`, replacing what was there. */
enum ebm_status files_write_text(const char *path, const char *text, struct ebm_error *reterr) EBM_MUST_USE;

#endif
