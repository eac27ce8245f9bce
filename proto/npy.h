/* npy.h - arrays in numpy's .npy format: rows that come in, one array that goes out. Any thread. */
#ifndef EBM_PROTO_NPY_H
#define EBM_PROTO_NPY_H

#include "proto/answer.h"

#define NPY_TYPE "application/x-npy"

/* Format 1.0 to 3.0, '|u1', '<f4' or '<f8', in C order, (n, X), or (n) for rows of one number, or (n, channels, height,
 * width) for images; exactly its bytes. INVALID or NO_MEMORY with where = "body" or "body[3][0]" (a number that is not
 * finite). The numbers, of '|u1' bytes, lie in the arena. */
enum ebm_status npy_read_rows(const char *bytes, size_t size, const struct request_limits *limits,
                              struct ebm_arena *arena, struct field_rows *ret_rows, struct ebm_error *reterr)
    EBM_MUST_USE;

/* The one output that the request asks for, when it is one array; NULL: none or several, or rows of different sizes. */
const struct answer_member *npy_member(const struct request *request);

/* '<f8' of shape (n_rows, a row's dims), rows in their order. A failure stays in buf->status. */
void npy_begin(struct ebm_buf *buf, const struct answer *answer, const struct answer_member *member, uint32_t n_rows);
void npy_add_row(struct ebm_buf *buf, const struct answer *answer, const struct answer_member *member,
                 const struct answer_row *row);

/* Its bytes. */
size_t npy_bytes(const struct answer *answer, const struct answer_member *member, uint32_t n_rows);

#endif
