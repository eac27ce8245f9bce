/* buf.c - the growing buffer.
 *
 *   empty --append--> holding (capacity doubles, never past max_bytes + 1) --clear--> empty
 *     any --failed append--> failed: no memory held, every append answers the same status --clear--> empty
 *
 * Guarantees: size <= max_bytes; bytes[size] is 0 whenever bytes is not NULL; a failed append leaves no partial content
 * behind, so nobody can send half a document. Appending a part of the buffer to itself is not allowed. */
#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"

#define FIRST_BYTES 128u

void ebm_buf_init(struct ebm_buf *buf, size_t max_bytes)
{
    EBM_ASSERT(max_bytes < SIZE_MAX); /* a real maximum */
    *buf = (struct ebm_buf){.max_bytes = max_bytes};
}

void ebm_buf_done(struct ebm_buf *buf)
{
    free(buf->bytes);
    *buf = (struct ebm_buf){.max_bytes = buf->max_bytes};
}

void ebm_buf_clear(struct ebm_buf *buf)
{
    buf->size = 0;
    buf->status = EBM_OK;
    if (buf->bytes)
        buf->bytes[0] = 0;
}

static enum ebm_status fail(struct ebm_buf *buf, enum ebm_status status)
{
    ebm_buf_done(buf);
    buf->status = status;
    return status;
}

/* Room for `size` more bytes and the final 0. */
static enum ebm_status reserve(struct ebm_buf *buf, size_t size)
{
    if (buf->status != EBM_OK)
        return buf->status;
    if (size > buf->max_bytes - buf->size)
        return fail(buf, EBM_TOO_LARGE);
    size_t needed = buf->size + size + 1;
    if (needed <= buf->capacity)
        return EBM_OK;
    size_t capacity = buf->capacity > SIZE_MAX / 2 ? needed : buf->capacity * 2;
    if (capacity < FIRST_BYTES)
        capacity = FIRST_BYTES;
    if (capacity > buf->max_bytes + 1)
        capacity = buf->max_bytes + 1;
    if (capacity < needed)
        capacity = needed;
    char *bytes = realloc(buf->bytes, capacity);
    if (!bytes)
        return fail(buf, EBM_NO_MEMORY);
    buf->bytes = bytes;
    buf->capacity = capacity;
    return EBM_OK;
}

enum ebm_status ebm_buf_append(struct ebm_buf *buf, const void *bytes, size_t size)
{
    enum ebm_status status = reserve(buf, size);
    if (status != EBM_OK)
        return status;
    if (size > 0)
        memcpy(buf->bytes + buf->size, bytes, size);
    buf->size += size;
    buf->bytes[buf->size] = 0;
    return EBM_OK;
}

char *ebm_buf_room(struct ebm_buf *buf, size_t size)
{
    bool fits = buf->status == EBM_OK && size <= buf->max_bytes - buf->size;
    return fits && reserve(buf, size) == EBM_OK ? buf->bytes + buf->size : NULL;
}

void ebm_buf_extend(struct ebm_buf *buf, size_t size)
{
    EBM_DASSERT(size < buf->capacity - buf->size);
    buf->size += size;
    buf->bytes[buf->size] = 0;
}

enum ebm_status ebm_buf_text(struct ebm_buf *buf, const char *text)
{
    return ebm_buf_append(buf, text, strlen(text));
}

/* Once into what is free, and again when that was too little. */
enum ebm_status ebm_buf_printf(struct ebm_buf *buf, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = buf->bytes ? buf->capacity - buf->size : 0;
    int length = vsnprintf(room > 0 ? buf->bytes + buf->size : NULL, room, format, arguments);
    va_end(arguments);
    enum ebm_status status = length < 0 ? fail(buf, EBM_TOO_LARGE) : reserve(buf, (size_t)length);
    if (status == EBM_OK && (size_t)length >= room)
        (void)vsnprintf(buf->bytes + buf->size, (size_t)length + 1, format, again);
    if (status == EBM_OK)
        buf->size += (size_t)length;
    va_end(again);
    return status;
}

enum ebm_status ebm_buf_whole(struct ebm_buf *buf, uint64_t value)
{
    char digits[20]; /* of the largest */
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    return ebm_buf_append(buf, digits + at, sizeof digits - at);
}

/* Bytes that stand in a string as they are. */
static size_t plain_bytes(const char *text)
{
    size_t n = 0;
    while ((unsigned char)text[n] >= 0x20 && text[n] != '"' && text[n] != '\\')
        n++;
    return n;
}

enum ebm_status ebm_buf_json_text(struct ebm_buf *buf, const char *text)
{
    (void)ebm_buf_append(buf, "\"", 1); /* a failure stays in buf->status, which the last append returns */
    for (;;) {
        size_t n = plain_bytes(text);
        (void)ebm_buf_append(buf, text, n);
        text += n;
        if (*text == 0)
            break;
        if (*text == '"' || *text == '\\')
            (void)ebm_buf_append(buf, (const char[]){'\\', *text}, 2);
        else
            (void)ebm_buf_printf(buf, "\\u%04x", (unsigned)*text);
        text++;
    }
    return ebm_buf_append(buf, "\"", 1);
}

enum ebm_status ebm_buf_json_number(struct ebm_buf *buf, double value)
{
    char text[EBM_DECIMAL_BYTES];
    return ebm_buf_append(buf, text, ebm_decimal_write_whole(text, value));
}
