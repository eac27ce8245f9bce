/* npy.h - numbers out of a NumPy .npy file, a row at a time; and the header of one in memory.
 *
 * A file has one or two dimensions, C order, little-endian: float32, float64, integers of 1 to 8 bytes, or bools.
 * Anything else is refused with the call that makes a file that is taken. One thread at a time. */
#ifndef EBM_TRAINER_NPY_H
#define EBM_TRAINER_NPY_H

#include <stdio.h>

#include "core/limits.h"
#include "core/status.h"

#define NPY_MAGIC "\x93NUMPY"

#define NPY_DIMS 8u

struct npy_header {
    char kind; /* 'f', 'i', 'u' or 'b' */
    uint32_t number_bytes, n_dims;
    uint64_t shape[NPY_DIMS];
    size_t bytes; /* where the numbers begin */
};

/* The header that `bytes` begin with. `path` names the file in errors. Any thread. */
enum ebm_status npy_read_header(const unsigned char *bytes, size_t size, const char *path,
                                struct npy_header *ret_header, struct ebm_error *reterr) EBM_MUST_USE;

/* Owns what it points to: npy_done. Zeroed is fine. */
struct npy {
    char *path;
    FILE *file;
    uint32_t rows, columns; /* columns 1 for one dimension */
    char kind;              /* 'f', 'i', 'u' or 'b' */
    uint32_t number_bytes;
    unsigned char *row; /* the last row that was read, as it lies in the file */
    uint32_t next;      /* number of the next row */
};

/* Does the file begin like an .npy? False also when it cannot be read. */
bool npy_is_one(const char *path);

/* Reads and checks the header, and the file's length against it. */
enum ebm_status npy_open(const char *path, struct npy *ret_npy, struct ebm_error *reterr) EBM_MUST_USE;
void npy_done(struct npy *npy);

/* Reads the next of `rows` rows. */
enum ebm_status npy_next(struct npy *npy, struct ebm_error *reterr) EBM_MUST_USE;
/* A number of the row that was read last; NaN and infinities as they stand. */
double npy_number(const struct npy *npy, uint32_t column);

#endif
