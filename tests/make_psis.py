#!/usr/bin/env python3
"""Writes tests/unit/psis_values.h: pareto_k and smoothed log weights by ArviZ for a few sets of weights.

    pip install arviz; tests/make_psis.py >tests/unit/psis_values.h
"""
import sys
import textwrap
import warnings

import numpy as np

warnings.simplefilter("ignore")
import arviz  # noqa: E402


def cases():
    random = np.random.default_rng(1)
    yield "light", random.normal(0.0, 0.5, 100)
    yield "flat", 1e-3 * random.random(128)
    yield "heavy", random.standard_exponential(200) * 0.9  # Pareto of shape 0.9
    yield "very_heavy", random.standard_cauchy(64).clip(-40, 40)
    yield "smallest", random.normal(0.0, 1.0, 25)
    yield "bounded", np.log(random.random(256))
    yield "long", random.normal(0.0, 1.5, 300)
    yield "ties", np.log(np.round(random.standard_exponential(96) * 4 + 1))
    yield "one_large", np.concatenate([[30.0], np.zeros(63)])
    yield "four_large", np.concatenate([[4.0, 3.0, 2.0, 1.0], np.zeros(60)])


def numbers(name, values):
    text = ", ".join(float(v).hex() for v in values)
    return f"static const double psis_{name}[] = {{\n{textwrap.fill(text, 118)}}};"


def main():
    print("/* psis_values.h - made by tests/make_psis.py: weights, and what arviz.psislw", arviz.__version__, "makes of them. */")
    print("/* clang-format off */")
    rows = []
    for name, log_weights in cases():
        w = np.exp(log_weights - log_weights.max()).astype(np.float32).astype(np.float64)
        smoothed, k = arviz.psislw(np.log(w), normalize=True)
        print(numbers(f"w_{name}", w))
        placed = f"psis_smoothed_{name}"
        if name == "ties":  # which of equal weights gets which quantile is not said
            placed = "NULL"
        else:
            print(numbers(f"smoothed_{name}", smoothed))
        shape = float(k).hex() if np.isfinite(k) else "INFINITY"
        rows.append(f'    {{"{name}", {len(w)}, psis_w_{name}, {placed}, (double){shape}}},')
    print("static const struct {\n    const char *name;\n    uint32_t n;\n    const double *w, *smoothed;\n    double k;\n} psis_cases[] = {")
    print("\n".join(rows) + "\n};\n/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
