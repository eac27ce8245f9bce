/* test_inflate.c - known compressed bytes, what is not such, and a small body that would become a large one. */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/inflate.h"

/* "hello hello" by Python's gzip (mtime 0) and zlib. */
static const char gzipped[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57"
                              "\xc8\x00\x91\x00\x40\xa6\x2d\x01\x0b\x00\x00\x00";
static const char deflated[] = "\x78\x9c\xcb\x48\xcd\xc9\xc9\x57\xc8\x00\x91\x00\x19\x91\x04\x49";

static enum ebm_status read(enum inflate_coding coding, const char *bytes, size_t size, size_t max_bytes,
                            struct ebm_buf *ret_body, struct ebm_error *reterr)
{
    return inflate_read(coding, bytes, size, max_bytes, ret_body, reterr);
}

Test(inflate, words)
{
    enum inflate_coding coding;
    cr_assert(inflate_find(NULL, &coding) && coding == INFLATE_NONE);
    cr_assert(inflate_find("identity", &coding) && coding == INFLATE_NONE);
    cr_assert(inflate_find("GZip", &coding) && coding == INFLATE_GZIP);
    cr_assert(inflate_find("x-gzip", &coding) && coding == INFLATE_GZIP);
    cr_assert(inflate_find("deflate", &coding) && coding == INFLATE_DEFLATE);
    static const char *const unknown[] = {"", "br", "zstd", "gzip, gzip", "gzip ", "compress"};
    for (size_t i = 0; i < EBM_COUNT_OF(unknown); i++)
        cr_assert_not(inflate_find(unknown[i], &coding), "'%s'", unknown[i]);
}

Test(inflate, known_bytes)
{
    static const struct {
        enum inflate_coding coding;
        const char *bytes;
        size_t size;
    } cases[] = {{INFLATE_GZIP, gzipped, sizeof gzipped - 1}, {INFLATE_DEFLATE, deflated, sizeof deflated - 1}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        struct ebm_buf body;
        struct ebm_error error;
        cr_assert_eq(read(cases[i].coding, cases[i].bytes, cases[i].size, 11, &body, &error), EBM_OK, "case %zu: %s", i,
                     error.text);
        cr_assert_eq(body.size, 11);
        cr_assert_arr_eq(body.bytes, "hello hello", 11);
        ebm_buf_done(&body);
        cr_assert_eq(read(cases[i].coding, cases[i].bytes, cases[i].size, 10, &body, &error), EBM_TOO_LARGE);
        cr_assert(strstr(error.text, "larger than 10 bytes"), "%s", error.text);
        for (size_t size = 0; size < cases[i].size; size++) {
            cr_assert_eq(read(cases[i].coding, cases[i].bytes, size, 11, &body, &error), EBM_INVALID, "%zu bytes",
                         size);
            cr_assert(strstr(error.text, "cut off"), "%zu bytes: %s", size, error.text);
        }
    }
}

Test(inflate, what_is_no_such_body)
{
    char more[sizeof gzipped], wrong[sizeof gzipped];
    struct ebm_buf body;
    struct ebm_error error;
    memcpy(more, gzipped, sizeof more); /* a 0 follows */
    cr_assert_eq(read(INFLATE_GZIP, more, sizeof more, 100, &body, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "1 bytes follow"), "%s", error.text);
    memcpy(wrong, gzipped, sizeof wrong);
    wrong[sizeof gzipped - 9] ^= 1; /* in its checksum */
    cr_assert_eq(read(INFLATE_GZIP, wrong, sizeof gzipped - 1, 100, &body, &error), EBM_INVALID);
    cr_assert(strstr(error.text, "not what its Content-Encoding says"), "%s", error.text);
    cr_assert_eq(read(INFLATE_DEFLATE, gzipped, sizeof gzipped - 1, 100, &body, &error), EBM_INVALID);
    cr_assert_eq(read(INFLATE_GZIP, "{\"inputs\":[[1]]}", 16, 100, &body, &error), EBM_INVALID);
    cr_assert_str_eq(error.where, "body");
}

Test(inflate, zeros_stop_at_the_limit)
{
    /* 1 MiB of zeros by zlib: after these bytes zeros too, each of them many. */
    static const char head[] = "\x78\xda\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d\x08\x5f\xa0";
    char bytes[1040];
    struct ebm_buf body;
    struct ebm_error error;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, head, sizeof head - 1);
    cr_assert_eq(read(INFLATE_DEFLATE, bytes, sizeof bytes, 65536, &body, &error), EBM_TOO_LARGE, "%s", error.text);
}
