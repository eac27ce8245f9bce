#!/usr/bin/env python3
"""Writes core/decimal_table.c: powers of ten as 128 binary digits, rounded down: scripts/make_decimal_table.py >core/decimal_table.c

10^q = m 2^e with 2^127 <= m < 2^128, for the q that core/decimal.c asks for. Whole numbers throughout.
"""
LAST = 80


def mantissa(q):
    if q >= 0:
        power = 10**q
        bits = power.bit_length()
        return power << (128 - bits) if bits <= 128 else power >> (bits - 128)
    shift = 127 + (10**-q).bit_length()
    quotient = (1 << shift) // 10**-q
    return quotient >> (quotient.bit_length() - 128)


print("/* decimal_table.c - made by scripts/make_decimal_table.py: the first 128 binary digits of 10^-80 .. 10^80, rounded")
print(" * down; 10^0 .. 10^55 are exact. */")
print('#include "core/decimal_table.h"')
print()
print("/* clang-format off */")
print("const uint64_t ebm_decimal_powers[2 * EBM_DECIMAL_LAST_POWER + 1][2] = {")
for q in range(-LAST, LAST + 1):
    m = mantissa(q)
    print(f"    {{0x{m >> 64:016x}, 0x{m & (1 << 64) - 1:016x}}}, /* 10^{q} */")
print("};")
print("/* clang-format on */")
