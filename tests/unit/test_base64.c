/* test_base64.c - the vectors of RFC 4648, section 10; every byte there and back; where a text goes wrong. */
#include <criterion/criterion.h>
#include <string.h>

#include "proto/base64.h"

Test(base64, vectors_of_the_standard)
{
    static const struct {
        const char *text, *bytes;
    } cases[] = {{"", ""},
                 {"Zg==", "f"},
                 {"Zm8=", "fo"},
                 {"Zm9v", "foo"},
                 {"Zm9vYg==", "foob"},
                 {"Zm9vYmE=", "fooba"},
                 {"Zm9vYmFy", "foobar"},
                 {"+/+/", "\xfb\xff\xbf"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint8_t bytes[16];
        size_t size = 99;
        cr_assert(base64_read(cases[i].text, strlen(cases[i].text), bytes, &size), "%s", cases[i].text);
        cr_expect_eq(size, strlen(cases[i].bytes), "%s: %zu bytes", cases[i].text, size);
        cr_expect(memcmp(bytes, cases[i].bytes, size) == 0, "%s", cases[i].text);
        cr_expect_leq(size, base64_bytes(strlen(cases[i].text)));
    }
}

Test(base64, every_byte_in_every_place)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (uint32_t v = 0; v < 256; v++) {
        const uint32_t bits = v << 16 | (255 - v) << 8 | (v ^ 0x5a);
        const char text[] = {letters[bits >> 18], letters[bits >> 12 & 63], letters[bits >> 6 & 63],
                             letters[bits & 63]};
        uint8_t bytes[3];
        size_t size;
        cr_assert(base64_read(text, 4, bytes, &size) && size == 3);
        cr_assert(bytes[0] == v && bytes[1] == 255 - v && bytes[2] == (v ^ 0x5a), "%u", v);
    }
}

Test(base64, what_is_wrong_and_where)
{
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        {"Z", 1},    {"Zg", 2},      {"Zg=", 3},  {"Zg==Z", 2},  {"Zg==Zg==", 2}, {"Z===", 1},
        {"====", 0}, {"Zh==", 1},    {"Zm9=", 2}, {"Zm9v\n", 4}, {"Zm\n9v", 2},   {"Zm 9vYm==", 2},
        {"-_-_", 0}, {"Zm9\x80", 3}, {"=m9v", 0}, {"Z=9v", 1},   {"Zm=v", 2},     {"data:image/png;base64,Zm9v", 4}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        uint8_t bytes[64];
        size_t at = 99;
        cr_expect_not(base64_read(cases[i].text, strlen(cases[i].text), bytes, &at), "%s", cases[i].text);
        cr_expect_eq(at, cases[i].at, "%s: %zu, expected %zu", cases[i].text, at, cases[i].at);
    }
}
