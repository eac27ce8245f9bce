/* base64.h - bytes as text: RFC 4648, section 4, as strict as it lets one be. Pure; any thread. */
#ifndef EBM_PROTO_BASE64_H
#define EBM_PROTO_BASE64_H

#include "core/base.h"

/* Most bytes that so many characters stand for. */
size_t base64_bytes(size_t characters);

/* Bytes of text[0 .. length - 1]: the letters A-Z a-z 0-9 + /, filled up with = to a multiple of four, nothing between
 * them, no bit left over. ret_bytes (base64_bytes(length)) may be written to on failure. False: *ret_size is the index
 * of the first character that is wrong; length: the text ends too soon. */
bool base64_read(const char *text, size_t length, uint8_t *ret_bytes, size_t *ret_size) EBM_MUST_USE;

#endif
