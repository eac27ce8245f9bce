/* array.h - numbers of up to four dimensions in memory, as they lay in a file: C order, little-endian. */
#ifndef EBM_TRAINER_ARRAY_H
#define EBM_TRAINER_ARRAY_H

#include "core/limits.h"
#include "core/status.h"

#define ARRAY_DIMS 4u
#define ARRAY_BYTES (16ull << 30) /* most of one array */

/* Owns its bytes: array_done. Zeroed is fine. */
struct array {
    char kind; /* 'f', 'i', 'u' or 'b' */
    uint32_t number_bytes, n_dims;
    uint64_t shape[ARRAY_DIMS]; /* 1 behind n_dims */
    unsigned char *bytes;
};

void array_done(struct array *array);

/* Numbers in all; 0 when there are none, or when their bytes would be more than ARRAY_BYTES. */
uint64_t array_count(const struct array *array);

/* One number of `kind` at `at`; NaN and infinities as they stand. */
double array_number(const unsigned char *at, char kind, uint32_t number_bytes);

/* A whole .npy file. New: array_done. */
enum ebm_status array_read_npy(const char *path, struct array *ret_array, struct ebm_error *reterr) EBM_MUST_USE;
/* The array `name` of a file of numpy.savez or savez_compressed. NOT_FOUND: no such file, or no such array in it. New:
 * array_done. */
enum ebm_status array_read_npz(const char *path, const char *name, struct array *ret_array, struct ebm_error *reterr)
    EBM_MUST_USE;

/* The first of `names` (ending with NULL) that an HDF5 file has as a data set. NOT_FOUND as above; INVALID also when
 * this program was built without libhdf5. One thread at a time. New: array_done. */
enum ebm_status array_read_hdf5(const char *path, const char *const *names, struct array *ret_array,
                                struct ebm_error *reterr) EBM_MUST_USE;

#endif
