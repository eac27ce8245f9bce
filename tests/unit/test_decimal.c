/* test_decimal.c - the same text as printf, the same double as strtod, on millions of numbers of all kinds; what is no
 * number of JSON is not read. EBM_FUZZ=N does N times as many. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/decimal.h"
#include "core/decimal_table.h"
#include "core/rng.h"
#include "tests/unit/comma_locale.h"

#define NUMBERS 400000u
#define KINDS 6u

static uint64_t n_numbers(void)
{
    const char *times = getenv("EBM_FUZZ");
    return NUMBERS * (times ? strtoull(times, NULL, 10) : 1);
}

static uint64_t word_of(uint64_t i, uint32_t stream)
{
    uint32_t words[4];
    ebm_philox(i, (uint32_t)(i >> 32), 0, stream, 0, words);
    return (uint64_t)words[0] << 32 | words[1];
}

/* Doubles of any bits, floats of any bits, short decimals, near halves of a digit, whole numbers, and common sizes. */
static double number_of(uint64_t i)
{
    uint64_t word = word_of(i, 0);
    uint32_t low = (uint32_t)word;
    double value;
    float single;
    switch (i % KINDS) {
    case 0:
        memcpy(&value, &word, sizeof value);
        return value;
    case 1:
        memcpy(&single, &low, sizeof single);
        return (double)single;
    case 2:
        return (double)(int32_t)low / pow(10, (double)(word >> 60));
    case 3:
        return nextafter(((double)(low >> word % 32) + 0.5) / pow(10, (double)(word >> 60)), (double)(word & 1) * 1e9);
    case 4:
        return (double)(word >> word % 64);
    default:
        return ldexp((double)(int64_t)word, -70 + (int)(word % 16));
    }
}

static const char *write_text(double value, int digits)
{
    static char text[EBM_DECIMAL_BYTES + 1];
    text[ebm_decimal_write(text, value, digits)] = 0;
    return text;
}

Test(decimal, known_numbers_are_written)
{
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {
        {0, 9, "0"},
        {-0.0, 9, "-0"},
        {1, 9, "1"},
        {0.1, 9, "0.1"},
        {0.1, 17, "0.10000000000000001"},
        {100, 9, "100"},
        {100, 2, "1e+02"},
        {123456789.5, 9, "123456790"}, /* exactly half: to even */
        {123456788.5, 9, "123456788"},
        {999999999.9, 9, "1e+09"},
        {99999.99999, 9, "100000"},
        {0.0001, 9, "0.0001"},
        {0.00001, 9, "1e-05"},
        {-1.25e-7, 3, "-1.25e-07"},
        {1e300, 17, "1.0000000000000001e+300"},
        {5e-324, 15, "4.94065645841247e-324"},
        {1.7976931348623157e308, 17, "1.7976931348623157e+308"},
        {9.5, 1, "1e+01"},
        {2.5, 1, "2"},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++)
        cr_expect_str_eq(write_text(cases[i].value, cases[i].digits), cases[i].text, "%a to %d digits: %s",
                         cases[i].value, cases[i].digits, write_text(cases[i].value, cases[i].digits));
}

Test(decimal, writes_what_printf_writes)
{
    for (uint64_t i = 0; i < n_numbers(); i++) {
        double value = number_of(i);
        int digits = 1 + (int)(word_of(i, 1) % EBM_DECIMAL_MAX_DIGITS);
        char text[64];
        if (!isfinite(value))
            continue;
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strcmp(text, write_text(value, digits)) != 0)
            cr_assert_fail("%a to %d digits: %s is not %s", value, digits, write_text(value, digits), text);
    }
}

Test(decimal, reads_what_strtod_reads)
{
    uint64_t n_read = 0, n = n_numbers();
    for (uint64_t i = 0; i < n; i++) {
        double value = number_of(i), back = 0.0;
        char text[64];
        if (!isfinite(value))
            continue;
        (void)snprintf(text, sizeof text, i & 8 ? "%.*g" : "%.*e", 1 + (int)(word_of(i, 1) % 19), value);
        size_t length = strlen(text), bytes = ebm_decimal_read(text, text + length, &back);
        double expected = strtod(text, NULL);
        n_read += bytes > 0;
        if (bytes > 0 && (bytes != length || memcmp(&back, &expected, sizeof back) != 0))
            cr_assert_fail("%s: %a is not %a", text, back, expected);
    }
    cr_expect_gt(n_read, n / 10 * 8, "only %lu of %lu are read here", n_read, n);
}

/* Texts whose value lies halfway between two doubles, and a hair beside. */
Test(decimal, halves_between_doubles_are_right_or_left_to_others)
{
    for (uint64_t i = 0; i < n_numbers() / 8; i++) {
        uint64_t odd = (word_of(i, 0) >> 10) | 1ull << 53 | 1; /* 54 bits: one more than a double has */
        static const char *const after[] = {"", ".0", "e0", "0e-1", "000e-3", ".00000"};
        char text[64];
        (void)snprintf(text, sizeof text, "%llu%s", (unsigned long long)(odd + i % 3 - 1),
                       after[i % EBM_COUNT_OF(after)]);
        double back = 0.0, expected = strtod(text, NULL);
        if (ebm_decimal_read(text, text + strlen(text), &back) > 0 && back != expected)
            cr_assert_fail("%s: %a is not %a", text, back, expected);
    }
}

Test(decimal, only_numbers_of_json_are_read)
{
    static const struct {
        const char *text;
        size_t bytes; /* that are read */
        double value;
    } cases[] = {
        {"7", 1, 7},
        {"-7", 2, -7},
        {"-0", 2, -0.0},
        {"0", 1, 0},
        {"0.5", 3, 0.5},
        {"1e3", 3, 1000},
        {"1E+03", 5, 1000},
        {"12.50e-1,", 8, 1.25},
        {"0.000", 5, 0},
        {"1 2", 1, 1},
        {"1]", 1, 1},
        {"0e999999999999", 14, 0},
        {"", 0, 0},
        {"-", 0, 0},
        {"+1", 0, 0},
        {".5", 0, 0},
        {"1.", 0, 0},
        {"1.e3", 0, 0},
        {"1e", 0, 0},
        {"1e+", 0, 0},
        {"01", 0, 0},
        {"-01", 0, 0},
        {"00", 0, 0},
        {"NaN", 0, 0},
        {"Infinity", 0, 0},
        {"0x10", 1, 0},
        {"1e999", 0, 0},
        {"-1e-999", 0, 0},
        {"12345678901234567890", 0, 0},
    };
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        double value = 0.0;
        size_t bytes = ebm_decimal_read(cases[i].text, cases[i].text + strlen(cases[i].text), &value);
        cr_expect_eq(bytes, cases[i].bytes, "'%s': %zu bytes", cases[i].text, bytes);
        cr_expect(memcmp(&value, &cases[i].value, sizeof value) == 0, "'%s': %a", cases[i].text, value);
    }
}

/* Each is less than its power by less than one in the 128th bit: q and -q multiply to a little less than 1. */
Test(decimal, powers_and_their_inverses_make_one)
{
    __extension__ typedef unsigned __int128 uint128;
    for (int q = 1; q <= EBM_DECIMAL_LAST_POWER; q++) {
        const uint64_t *power = ebm_decimal_powers[EBM_DECIMAL_LAST_POWER + q],
                       *inverse = ebm_decimal_powers[EBM_DECIMAL_LAST_POWER - q];
        uint128 cross = (uint128)power[0] * inverse[1], other = (uint128)power[1] * inverse[0];
        uint128 low = ((uint128)power[1] * inverse[1] >> 64) + (uint64_t)cross + (uint64_t)other;
        uint128 high = (uint128)power[0] * inverse[0] + (cross >> 64) + (other >> 64) + (low >> 64);
        uint128 to_one = (uint128)0 - (high << 1); /* 2^127, but for what rounding took */
        cr_expect_lt((uint64_t)to_one, 6u, "10^%d", q);
        cr_expect_eq((uint64_t)(to_one >> 64), 0u, "10^%d", q);
    }
}

Test(decimal, as_few_digits_as_read_back)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0.1, "0.1"},      {1.0 / 3, "0.3333333333333333"},   {0.1 + 0.2, "0.30000000000000004"},
                 {1e300, "1e+300"}, {5e-324, "4.94065645841247e-324"}, {-2.5, "-2.5"}};
    for (size_t i = 0; i < EBM_COUNT_OF(cases); i++) {
        char text[EBM_DECIMAL_BYTES + 1];
        text[ebm_decimal_write_whole(text, cases[i].value)] = 0;
        cr_expect_str_eq(text, cases[i].text);
    }
}

Test(decimal, a_locale_with_a_comma_changes_nothing)
{
    set_comma_locale();
    cr_expect_str_eq(write_text(1234.5, 9), "1234.5");
    cr_expect_str_eq(write_text(1.5e-200, 9), "1.5e-200");
    cr_expect_str_eq(write_text(2.5, 1), "2");
}
