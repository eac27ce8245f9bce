/* inflate.h - bodies that were sent compressed. zlib stays behind this page. Any thread. */
#ifndef EBM_PROTO_INFLATE_H
#define EBM_PROTO_INFLATE_H

#include "core/buf.h"

enum inflate_coding {
    INFLATE_NONE,
    INFLATE_GZIP,    /* RFC 1952, one member */
    INFLATE_DEFLATE, /* RFC 1950, as HTTP means by this word */
};

/* The coding of a Content-Encoding header; NULL is none. False: one that is not known. */
bool inflate_find(const char *word, enum inflate_coding *ret_coding) EBM_MUST_USE;

/* At most max_bytes of what `bytes` were made of, checked while they come out. TOO_LARGE, INVALID (not of this coding,
 * cut off, or followed by something), NO_MEMORY; with where = "body". New: ebm_buf_done. */
enum ebm_status inflate_read(enum inflate_coding coding, const char *bytes, size_t size, size_t max_bytes,
                             struct ebm_buf *ret_body, struct ebm_error *reterr) EBM_MUST_USE;

#endif
