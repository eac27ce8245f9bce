/* inflate.c - zlib's inflate, a piece at a time into a buffer that knows its maximum.
 *
 * Guarantees: beyond zlib's own 50 KB no more memory than twice what came out, and that is at most max_bytes. */
#include "proto/inflate.h"

#define ZLIB_CONST /* it reads bytes that it does not change */
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#define PIECE_BYTES (16u << 10)

bool inflate_find(const char *word, enum inflate_coding *ret_coding)
{
    static const struct {
        const char *word;
        enum inflate_coding coding;
    } known[] = {
        {"identity", INFLATE_NONE}, {"gzip", INFLATE_GZIP}, {"x-gzip", INFLATE_GZIP}, {"deflate", INFLATE_DEFLATE}};
    for (size_t i = 0; i < EBM_COUNT_OF(known); i++)
        if (!word || strcasecmp(word, known[i].word) == 0) {
            *ret_coding = known[i].coding;
            return true;
        }
    return false;
}

/* Z_OK: a piece, and there may be more; Z_STREAM_END: it was the last. */
static int read_piece(z_stream *stream, struct ebm_buf *body)
{
    unsigned char piece[PIECE_BYTES];
    stream->next_out = piece;
    stream->avail_out = sizeof piece;
    int result = inflate(stream, Z_NO_FLUSH);
    size_t n = sizeof piece - stream->avail_out;
    if (result != Z_OK && result != Z_STREAM_END)
        return result;
    return ebm_buf_append(body, piece, n) == EBM_OK ? result : Z_BUF_ERROR;
}

static enum ebm_status verdict(const z_stream *stream, int result, size_t max_bytes, const struct ebm_buf *body,
                               struct ebm_error *reterr)
{
    if (body->status == EBM_TOO_LARGE)
        return ebm_error_set(reterr, EBM_TOO_LARGE, "body", "larger than %zu bytes when it is decompressed", max_bytes);
    if (body->status != EBM_OK || result == Z_MEM_ERROR)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "body", "no memory to decompress it");
    if (result == Z_STREAM_END && stream->avail_in == 0)
        return EBM_OK;
    if (result == Z_STREAM_END)
        return ebm_error_set(reterr, EBM_INVALID, "body", "%u bytes follow the compressed data", stream->avail_in);
    if (result == Z_OK || result == Z_BUF_ERROR)
        return ebm_error_set(reterr, EBM_INVALID, "body", "the compressed data are cut off");
    return ebm_error_set(reterr, EBM_INVALID, "body", "not what its Content-Encoding says: %s",
                         stream->msg ? stream->msg : "no such format");
}

enum ebm_status inflate_read(enum inflate_coding coding, const char *bytes, size_t size, size_t max_bytes,
                             struct ebm_buf *ret_body, struct ebm_error *reterr)
{
    const int window_bits = 15, gzip = 16;
    z_stream stream = {.next_in = (const Bytef *)bytes, .avail_in = (uInt)size};
    struct ebm_buf body;
    EBM_ASSERT(coding != INFLATE_NONE && size <= UINT_MAX);
    if (inflateInit2(&stream, coding == INFLATE_GZIP ? window_bits + gzip : window_bits) != Z_OK)
        return ebm_error_set(reterr, EBM_NO_MEMORY, "body", "no memory to decompress it");
    ebm_buf_init(&body, max_bytes);
    int result;
    do
        result = read_piece(&stream, &body);
    while (result == Z_OK);
    enum ebm_status status = verdict(&stream, result, max_bytes, &body, reterr);
    (void)inflateEnd(&stream);
    if (status == EBM_OK)
        *ret_body = body;
    else
        ebm_buf_done(&body);
    return status;
}
