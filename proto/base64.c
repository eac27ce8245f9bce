/* base64.c - four characters of 6 bits are three bytes; the last four may end with one or two '='.
 *
 * Guarantees: a text that is read is the only one for its bytes. */
#include "proto/base64.h"

#include <limits.h>

size_t base64_bytes(size_t characters)
{
    return characters / 4 * 3;
}

/* The value of a letter and 1; 0: it is none. */
static const uint8_t letters[UCHAR_MAX + 1] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64};

/* `n` characters, 2 to 4, to n - 1 bytes. Returns n, or the index of the first that is wrong. */
static size_t read_group(const char *text, size_t n, uint8_t *ret_bytes)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t letter = letters[(unsigned char)text[i]];
        if (letter == 0)
            return i;
        bits |= (letter - 1) << (18 - 6 * i);
    }
    if ((bits & (0xffffffu >> (8 * (n - 1)))) != 0)
        return n - 1; /* bits that no byte has */
    for (size_t i = 0; i + 1 < n; i++)
        ret_bytes[i] = (uint8_t)(bits >> (16 - 8 * i));
    return n;
}

/* Where a text that is no multiple of four goes wrong, from `at` on: at a character that is no letter, or at its end.
 */
static size_t find_end(const char *text, size_t at, size_t length)
{
    while (at < length && (letters[(unsigned char)text[at]] != 0 || text[at] == '='))
        at++;
    return at;
}

bool base64_read(const char *text, size_t length, uint8_t *ret_bytes, size_t *ret_size)
{
    size_t size = 0;
    for (size_t at = 0; at + 4 <= length; at += 4) {
        bool is_last = at + 4 == length;
        size_t padding = is_last && text[at + 3] == '=' ? 1u + (text[at + 2] == '=') : 0;
        size_t n = 4 - padding, good = read_group(text + at, n, ret_bytes + size);
        if (good < n) {
            *ret_size = at + good;
            return false;
        }
        size += n - 1;
    }
    *ret_size = length % 4 == 0 ? size : find_end(text, length - length % 4, length);
    return length % 4 == 0;
}
