/* json_write.c - numbers and doubtful texts into JSON.
 *
 *   number -> its digits (core/decimal.h), null when it is not finite -> buffer
 *   text   -> well-formed UTF-8 sequences kept, every other byte '?' -> ebm_buf_json_text
 *
 * Guarantees: whatever goes in, what comes out is valid JSON; 9 digits read back to the same float. No state. */
#include "proto/json_write.h"

#include <math.h>
#include <string.h>

#include "core/decimal.h"

#define TEXT_BYTES 512

#define BEFORE_BYTES 4u /* of what stands before a number */

/* A number behind up to BEFORE_BYTES bytes: straight into the buffer, but at its very end. */
static void write_behind(struct ebm_buf *buf, const char before[BEFORE_BYTES], size_t n_before, double value,
                         int digits)
{
    char text[BEFORE_BYTES + EBM_DECIMAL_BYTES], *room = ebm_buf_room(buf, sizeof text), *to = room ? room : text;
    size_t bytes = 4;
    memcpy(to, before, BEFORE_BYTES);
    if (isfinite(value))
        bytes = ebm_decimal_write(to + n_before, value, digits);
    else
        memcpy(to + n_before, "null", 4);
    if (room)
        ebm_buf_extend(buf, n_before + bytes);
    else
        (void)ebm_buf_append(buf, text, n_before + bytes);
}

void json_write_number(struct ebm_buf *buf, double value, int digits)
{
    static const char nothing[BEFORE_BYTES];
    write_behind(buf, nothing, 0, value, digits);
}

void json_write_numbers(struct ebm_buf *buf, const double *values, uint32_t n, int digits)
{
    static const char comma[BEFORE_BYTES] = ",";
    (void)ebm_buf_append(buf, "[", 1);
    for (uint32_t i = 0; i < n; i++)
        write_behind(buf, comma, i > 0, values[i], digits);
    (void)ebm_buf_append(buf, "]", 1);
}

void json_write_vectors(struct ebm_buf *buf, const double *values, uint32_t n, uint32_t D, int digits)
{
    static const char comma[BEFORE_BYTES] = ",", next[BEFORE_BYTES] = "],[";
    (void)ebm_buf_text(buf, n > 0 ? "[[" : "[");
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t d = 0; d < D; d++, values++)
            write_behind(buf, d > 0 ? comma : next, d > 0 ? 1 : i > 0 ? 3 : 0, *values, digits);
    (void)ebm_buf_text(buf, n > 0 ? "]]" : "]");
}

/* Bytes of the well-formed UTF-8 sequence at text, 0 when there is none. */
static size_t sequence_bytes(const unsigned char *text)
{
    if (text[0] < 0x80)
        return 1;
    size_t bytes = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool surrogate = text[0] == 0xed && text[1] > 0x9f;
    bool beyond = text[0] == 0xf4 && text[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : bytes;
}

void json_write_text(struct ebm_buf *buf, const char *text)
{
    char clean[TEXT_BYTES];
    size_t used = 0, length = strlen(text);
    for (size_t at = 0; at < length && used + 4 < sizeof clean;) {
        size_t bytes = sequence_bytes((const unsigned char *)text + at);
        if (bytes == 0)
            clean[used++] = '?';
        else
            memcpy(clean + used, text + at, bytes);
        used += bytes;
        at += bytes ? bytes : 1;
    }
    clean[used] = 0;
    (void)ebm_buf_json_text(buf, clean);
}
