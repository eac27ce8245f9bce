/* fuzz.h - what the fuzz targets share.
 *
 * A target is a file fuzz_<name>.c with LLVMFuzzerTestOneInput in it. libFuzzer calls it with inputs that it makes up,
 * replay.c with those of corpus/<name>. Besides what the sanitizers see, a target asserts what must hold of everything
 * that was accepted or refused. Nothing is left allocated, and no input changes what the next one does. */
#ifndef EBM_TESTS_FUZZ_H
#define EBM_TESTS_FUZZ_H

#include "core/status.h"

int LLVMFuzzerInitialize(int *argc, char ***argv); /* fuzz.c: the same for all targets */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A refusal has a status that is the error's own, and says what was wrong. */
void fuzz_check_error(enum ebm_status status, const struct ebm_error *error);

/* Is it one JSON value, as a strict reader sees it? */
void fuzz_check_json(const char *text, size_t size);

/* The bytes, then a 0. New: free(). */
char *fuzz_text(const uint8_t *bytes, size_t size);

/* ---- lines ---- */

#define FUZZ_LINES 64u

struct fuzz_lines {
    char *at[FUZZ_LINES + 1]; /* (n), then NULL */
    int n;
};

/* Cuts lines out of *text, in place, up to an empty one or the end; *text is what follows it. */
void fuzz_cut_lines(char **text, struct fuzz_lines *ret_lines);

/* ---- files ---- */

/* A file in memory with these bytes. Borrow: the path, until the next call. */
const char *fuzz_file(const void *bytes, size_t size);

/* A safetensors file whose header is what stands before the first 0 byte, and whose data follow it: the header's length
 * is right whatever becomes of its text. */
const char *fuzz_safetensors_file(const uint8_t *bytes, size_t size);

#endif
