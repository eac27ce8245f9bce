/* decimal.c - decimal digits by one multiplication with a power of ten.
 *
 *   write: value = m 2^e -> m 10^s in 192 bits, s such that its whole part has the digits wanted -> rounded -> text
 *   read:  text -> w 10^q -> w 10^q in 192 bits -> 53 bits, rounded
 *
 * The table's powers are rounded down in the 128th bit, and m and w have 64 bits at most: a product is too small by
 * less than 2^64 of its last place, so that one unit of the middle word covers it. That decides every rounding but
 * those within a hair of one half. Those, and what lies beyond the table, go to the C library, or back to the caller.
 * (The reading side is the idea of D. Lemire, "Number parsing at a gigabyte per second", 2021; short numbers go by W.
 * D. Clinger's way of 1990: two exact doubles, one operation.)
 *
 * Guarantees: the same text as printf, the same double as strtod. Does not know: locales, but for taking theirs out. */
#include "core/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal_table.h"

__extension__ typedef unsigned __int128 uint128;

#define MANTISSA_BITS 53
#define EXPONENT_BIAS 1075 /* of a whole 53-bit mantissa */
#define EXACT_POWER 22     /* 10^22 is the last that a double holds exactly */
#define READ_DIGITS 19     /* of a 64-bit whole number */

static const uint64_t powers[] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
};

/* The upper two words of m 10^q, of three, m's highest bit being set; 10^q = (its 128 bits) 2^power_exponent(q). */
static uint128 multiply(uint64_t m, int q)
{
    const uint64_t *power = ebm_decimal_powers[q + EBM_DECIMAL_LAST_POWER];
    return (uint128)m * power[0] + ((uint128)m * power[1] >> 64);
}

/* floor(q log2 10) - 127, right for |q| < 340. */
static int power_exponent(int q)
{
    return (q * 217706 >> 16) - 127;
}

/* ---- writing ---- */

/* value = digits 10^(exponent - n + 1): n digits, of which the first stands for 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* The fraction's first 64 bits may be too small by one: is it known on which side of one half it is? */
static bool is_clear_of_half(uint64_t fraction)
{
    const uint64_t half = 1ull << 63;
    return fraction < half - 2 || fraction > half;
}

/* A positive normal value to n digits; false: not decided here. */
static bool round_to(double value, int n, struct decimal *ret_decimal)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    int e = (int)(bits >> (MANTISSA_BITS - 1)) - EXPONENT_BIAS;
    uint64_t m = (bits & ((1ull << (MANTISSA_BITS - 1)) - 1)) | 1ull << (MANTISSA_BITS - 1);
    int exponent = (e + MANTISSA_BITS - 1) * 78913 >> 18; /* floor(log10 2^(e + 52)): right, or one too small */
    for (;; exponent++) {
        int s = n - 1 - exponent;
        if (s < -EBM_DECIMAL_LAST_POWER || s > EBM_DECIMAL_LAST_POWER)
            return false;
        uint128 product = multiply(m << 11, s);
        int shift = -(e - 11 + power_exponent(s)) - 64; /* of the upper two words */
        uint64_t whole = (uint64_t)(product >> shift);
        if (whole >= powers[n])
            continue;
        uint64_t fraction = (uint64_t)(product >> (shift - 64));
        whole += fraction >> 63;
        bool carries = whole == powers[n];
        *ret_decimal = (struct decimal){carries ? powers[n - 1] : whole, exponent + carries};
        return is_clear_of_half(fraction);
    }
}

/* The 8 digits of a number below 10^8, the first in the lowest byte: split in two halves, those in two, and again. A
 * division by 100 and one by 10 are multiplications, exact up to 9999 and up to 99. */
static uint64_t eight_digits(uint32_t number)
{
    uint64_t halves = number / 10000 | (uint64_t)(number % 10000) << 32;
    uint64_t pairs = (halves * 10486 >> 20) & 0x0000007f0000007f;
    pairs |= (halves - 100 * pairs) << 16;
    uint64_t digits = (pairs * 103 >> 10) & 0x000f000f000f000f;
    return (digits | (pairs - 10 * digits) << 8) | 0x3030303030303030;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the lowest byte is the first");

#define ROOM_DIGITS 24u /* three eights: of the longest number, and zeros before it */
#define ROOM_BYTES (2 * ROOM_DIGITS)

/* All n digits, at the end of the first ROOM_DIGITS bytes, zeros before them, bytes of no meaning behind; returns where
 * they begin. */
static const char *write_digits(char room[ROOM_BYTES], uint64_t whole, int n)
{
    memset(room, '0', ROOM_DIGITS);
    memset(room + ROOM_DIGITS, 0, ROOM_DIGITS);
    for (int at = (int)ROOM_DIGITS - 8; at > (int)ROOM_DIGITS - 8 - n; at -= 8, whole /= 100000000) {
        uint64_t digits = eight_digits((uint32_t)(whole % 100000000));
        memcpy(room + at, &digits, sizeof digits);
    }
    return room + ROOM_DIGITS - n;
}

static size_t write_exponent(char *text, int exponent)
{
    uint32_t size = (uint32_t)(exponent < 0 ? -exponent : exponent);
    size_t n = size < 100 ? 2 : 3;
    uint64_t digits = eight_digits(size);
    text[0] = 'e';
    text[1] = exponent < 0 ? '-' : '+';
    memcpy(text + 2, (const char *)&digits + sizeof digits - n, n);
    return 2 + n;
}

/* As %g lays digits out: fixed from 1e-4 up to 10^precision, without zeros at the end. Copies are of one size, whatever
 * the number, and numbers below 1 are digits with zeros before: no branch to be guessed wrong. */
static size_t lay_out(char *text, struct decimal decimal, int precision)
{
    char room[ROOM_BYTES];
    const char *digits = write_digits(room, decimal.digits, precision);
    int exponent = decimal.exponent;
    bool is_fixed = exponent >= -4 && exponent < precision;
    size_t n = (size_t)precision, zeros = is_fixed && exponent < 0 ? (size_t)-exponent : 0;
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits -= zeros;
    n += zeros;
    size_t before = is_fixed && exponent > 0 ? (size_t)exponent + 1
                                             : 1; /* digits, of which zeros may have been taken */
    n = n < before ? before : n;
    memcpy(text, digits, ROOM_DIGITS);
    if (n > before) {
        text[before] = '.';
        memcpy(text + before + 1, digits + before, ROOM_DIGITS);
        n++;
    }
    return is_fixed ? n : n + write_exponent(text + n, exponent);
}

/* The C library's, with its locale's point (any bytes) made a '.': all else that %g writes is ASCII of this alphabet.
 */
static size_t write_by_printf(char *ret_text, double value, int digits)
{
    char text[48];
    (void)snprintf(text, sizeof text, "%.*g", digits, value);
    size_t plain = strspn(text, "0123456789-+e"), length = strlen(text);
    memcpy(ret_text, text, plain);
    if (plain == length)
        return length;
    size_t point = strcspn(text + plain, "0123456789");
    ret_text[plain] = '.';
    memcpy(ret_text + plain + 1, text + plain + point, length - plain - point);
    return length - point + 1;
}

size_t ebm_decimal_write(char ret_text[EBM_DECIMAL_BYTES], double value, int digits)
{
    struct decimal decimal;
    EBM_ASSERT(digits >= 1 && digits <= EBM_DECIMAL_MAX_DIGITS && isfinite(value));
    size_t sign = signbit(value) ? 1 : 0;
    double size = fabs(value);
    ret_text[0] = '-';
    if (size == 0.0) {
        ret_text[sign] = '0';
        return sign + 1;
    }
    if (isnormal(size) && round_to(size, digits, &decimal))
        return sign + lay_out(ret_text + sign, decimal, digits);
    return write_by_printf(ret_text, value, digits);
}

static bool reads_back(const char *text, size_t bytes, double value)
{
    double back = 0.0;
    if (ebm_decimal_read(text, text + bytes, &back) == bytes)
        return back == value;
    char copy[EBM_DECIMAL_BYTES + 1];
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return strtod(copy, NULL) == value;
}

size_t ebm_decimal_write_whole(char ret_text[EBM_DECIMAL_BYTES], double value)
{
    for (int digits = 15; digits < EBM_DECIMAL_MAX_DIGITS; digits++) {
        size_t bytes = ebm_decimal_write(ret_text, value, digits);
        if (reads_back(ret_text, bytes, value))
            return bytes;
    }
    return ebm_decimal_write(ret_text, value, EBM_DECIMAL_MAX_DIGITS);
}

/* ---- reading ---- */

/* w 10^q, w not 0, to the nearest double; false: not decided here. */
static bool nearest(uint64_t w, int q, double *ret_value)
{
    static const double exact[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (w <= 1ull << MANTISSA_BITS && q >= -EXACT_POWER && q <= EXACT_POWER) {
        *ret_value = q < 0 ? (double)w / exact[-q] : (double)w * exact[q];
        return true;
    }
    if (q < -EBM_DECIMAL_LAST_POWER || q > EBM_DECIMAL_LAST_POWER)
        return false;
    int zeros = __builtin_clzll(w);
    uint128 product = multiply(w << zeros, q);
    int lead = product >> 127 ? 0 : 1;
    product <<= lead;
    uint64_t m = (uint64_t)(product >> (128 - MANTISSA_BITS));
    uint64_t fraction = (uint64_t)(product >> (64 - MANTISSA_BITS));
    m += fraction >> 63;
    /* m 2^e; an m that was rounded up to 2^53 carries into the exponent */
    int e = power_exponent(q) + 64 - zeros - lead + 128 - MANTISSA_BITS;
    uint64_t bits = ((uint64_t)(e + EXPONENT_BIAS) << (MANTISSA_BITS - 1)) + (m - (1ull << (MANTISSA_BITS - 1)));
    memcpy(ret_value, &bits, sizeof bits);
    return is_clear_of_half(fraction);
}

/* What has been read of a number. */
struct scanning {
    const char *at, *end;
    uint64_t w;
    int n_digits; /* in w, without zeros before */
};

/* True: there was a digit. */
static bool scan_digits(struct scanning *s)
{
    const char *first = s->at;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        if (s->n_digits < READ_DIGITS) /* beyond, only their number counts */
            s->w = s->w * 10 + (uint64_t)(*s->at - '0');
        s->n_digits += s->w != 0 || s->n_digits > 0;
    }
    return s->at > first;
}

/* "e-12", or nothing. */
static bool scan_exponent(struct scanning *s, int *ret_exponent)
{
    int exponent = 0;
    if (s->at == s->end || (*s->at != 'e' && *s->at != 'E'))
        return true;
    s->at++;
    bool is_negative = s->at < s->end && *s->at == '-';
    s->at += is_negative || (s->at < s->end && *s->at == '+');
    const char *first = s->at;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++)
        exponent = exponent < 10000 ? exponent * 10 + (*s->at - '0') : exponent;
    *ret_exponent = is_negative ? -exponent : exponent;
    return s->at > first;
}

size_t ebm_decimal_read(const char *text, const char *end, double *ret_value)
{
    struct scanning s = {.at = text, .end = end};
    bool is_negative = text < end && *text == '-';
    int exponent = 0;
    double value = 0.0;
    s.at += is_negative;
    const char *whole = s.at;
    if (!scan_digits(&s) || (*whole == '0' && s.at - whole > 1))
        return 0;
    if (s.at < end && *s.at == '.') {
        const char *fraction = ++s.at;
        if (!scan_digits(&s))
            return 0;
        exponent = (int)(fraction - s.at);
    }
    int given = 0;
    if (!scan_exponent(&s, &given) || s.n_digits > READ_DIGITS)
        return 0;
    if (s.w != 0 && !nearest(s.w, exponent + given, &value))
        return 0;
    *ret_value = is_negative ? -value : value;
    return (size_t)(s.at - text);
}
