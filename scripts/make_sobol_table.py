#!/usr/bin/env python3
"""Writes core/sobol_table.c: direction numbers of the Sobol sequence for as many dimensions as targets can have, plus one.

Source: S. Joe and F. Y. Kuo, "Constructing Sobol sequences with better two-dimensional projections", SIAM J. Sci. Comput.
30 (2008), 2635-2654, file new-joe-kuo-6.21201, as SciPy ships it (scipy/stats/_sobol_direction_numbers.npz; SciPy's BSD
licence is written along). SciPy's own points are the check. With --points it writes tests/unit/sobol_points.h instead:
a few of SciPy's unscrambled points for the tests.

    pip install scipy; scripts/make_sobol_table.py >core/sobol_table.c
"""
import importlib.metadata
import os
import sys
import textwrap

import numpy as np
import scipy.stats

DIMS, BITS = 65, 16  # LIMIT_TARGET_DIM + 1; points of one scramble: at most 2^BITS
INDICES = [1, 2, 3, 7, 12, 100, 1023, 5461, 8191]


def directions():
    """(DIMS, BITS): v[d, j] holds j + 1 bits, the first digit of the point in the highest of BITS."""
    path = os.path.join(os.path.dirname(scipy.__file__), "stats", "_sobol_direction_numbers.npz")
    table = np.load(path)
    v = np.zeros((DIMS, BITS), dtype=np.int64)
    for d in range(DIMS):
        polynomial, m = int(table["poly"][d]), [int(i) for i in table["vinit"][d]]
        degree = polynomial.bit_length() - 1
        if d == 0:
            m = [1] * BITS
        for j in range(degree if d else BITS, BITS):
            value = m[j - degree] ^ (m[j - degree] << degree)
            for k in range(1, degree):
                if polynomial >> (degree - k) & 1:
                    value ^= m[j - k] << k
            m[j : j + 1] = [value]
        v[d] = [m[j] << (BITS - 1 - j) for j in range(BITS)]
    return v


def point(v, index):
    """(DIMS) of the point `index` in natural order, as numbers of BITS bits."""
    x = np.zeros(DIMS, dtype=np.int64)
    for j in range(BITS):
        if index >> j & 1:
            x ^= v[:, j]
    return x


def scipy_points(n):
    """SciPy runs in Gray code order: its point i is ours of i ^ i >> 1."""
    return (scipy.stats.qmc.Sobol(DIMS, scramble=False, bits=BITS).random(n) * 2**BITS).astype(np.int64)


def reverse(value):
    return int(format(int(value), f"0{BITS}b")[::-1], 2)


def write_table(v):
    print("/* sobol_table.c - made by scripts/make_sobol_table.py: direction numbers of S. Joe and F. Y. Kuo (2008),")
    print(" * new-joe-kuo-6.21201, bits reversed: the point's first binary digit is bit 0.")
    print(" *")
    print(" * The numbers are taken from SciPy, whose licence is:\n *")
    for line in importlib.metadata.distribution("scipy").read_text("LICENSE.txt").splitlines():
        if line.startswith("----"):
            break
        print((" * " + line).rstrip())
    print(' */\n#include "core/sobol.h"\n')
    print("/* clang-format off */")
    print("const uint16_t ebm_sobol_directions[EBM_SOBOL_DIMS][EBM_SOBOL_BITS] = {")
    for row in v:
        print(textwrap.fill("{" + ", ".join(str(reverse(i)) for i in row) + "},", 116, initial_indent="    ", subsequent_indent="     "))
    print("};\n/* clang-format on */")


def write_points(expected):
    print("/* sobol_points.h - made by scripts/make_sobol_table.py --points: unscrambled points of scipy.stats.qmc.Sobol, as")
    print(f" * numbers of {BITS} bits. Index in natural order; scipy's is in Gray code order. */")
    print("/* clang-format off */")
    print(f"static const uint32_t sobol_indices[] = {{{', '.join(map(str, INDICES))}}};")
    print(f"static const uint16_t sobol_points[][{DIMS}] = {{")
    for row in expected:
        print(textwrap.fill("{" + ", ".join(map(str, row)) + "},", 116, initial_indent="    ", subsequent_indent="     "))
    print("};\n/* clang-format on */")


def main():
    v, theirs = directions(), scipy_points(2**14)
    gray = [i ^ i >> 1 for i in range(2**14)]
    assert all((point(v, gray[i]) == theirs[i]).all() for i in range(0, 2**14, 7)), "not scipy's points"
    if "--points" in sys.argv:
        write_points([theirs[gray.index(i)] for i in INDICES])
    else:
        write_table(v)


if __name__ == "__main__":
    main()
