/* json_write.h - what core/buf.h's JSON lacks: numbers of a given precision, null for what is not finite, texts of
 * unknown origin. As with every append, a failure stays in buf->status. */
#ifndef EBM_PROTO_JSON_WRITE_H
#define EBM_PROTO_JSON_WRITE_H

#include "core/buf.h"

#define JSON_WRITE_FLOAT_DIGITS 9 /* significant digits that give a float back */
#define JSON_WRITE_DOUBLE_DIGITS 17

/* `value` with at most `digits` significant digits and a '.', whatever the locale; null when it is not finite. */
void json_write_number(struct ebm_buf *buf, double value, int digits);
/* [1,2,null] */
void json_write_numbers(struct ebm_buf *buf, const double *values, uint32_t n, int digits);
/* [[1,2],[3,null]], values (n, D), D at least 1 */
void json_write_vectors(struct ebm_buf *buf, const double *values, uint32_t n, uint32_t D, int digits);
/* A string of bytes that may not be UTF-8: what is not becomes '?'. */
void json_write_text(struct ebm_buf *buf, const char *text);

#endif
