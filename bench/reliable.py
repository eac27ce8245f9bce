#!/usr/bin/env python3
"""Fits the rule of models/reliable.c on half of the targets of bench-reliable and judges it on the other half.

    build/bench/bench-reliable 100 >cases.csv; bench/reliable.py cases.csv [RULE]

An answer is bad when its mean is more than 0.25 standard deviations off, its std by more than 25 %, or log Z by more than
0.25. A rule is a list of limits, and an answer doubted when any is passed. Missed: bad and not doubted, of the bad ones;
false alarms: doubted and not bad, of the others. The fit minimises their sum over schemes, dimensions and numbers of
draws, by coordinate descent. RULE judges given limits instead: noise=0.2,log_z_error=0.15"""
import csv
import math
import sys

LIMITS = {  # name -> (what is compared, limits that are tried; infinity: not used)
    "low_ess": (lambda c: -c["ess_ratio"], [-x for x in (0.02, 0.03, 0.05, 0.08, 0.12, 0.16, 0.2, 0.3)]),
    "few_ess": (lambda c: -c["ess_ratio"] * c["M"], [-x for x in (5, 10, 15, 20, 30, 40, 60, 80)]),
    "max_weight": (lambda c: c["max_weight"], [0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3]),
    "noise": (lambda c: c["noise"], [0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.2, 0.25, 0.3]),
    "log_z_error": (lambda c: c["log_z_error"], [0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.15, 0.18, 0.2, 0.25, 0.3]),
    # above min(1 - 1/log10 M, 0.7) by so much
    "pareto_k": (lambda c: c["pareto_k"] - min(1 - 1 / math.log10(c["M"]), 0.7), [-0.1, 0.0, 0.1, 0.2, 0.3, 0.5]),
}


def read(path):
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file):
            case = {name: value if name in ("scheme", "kind") else float(value) for name, value in row.items()}
            case["bad"] = case["mean"] > 0.25 or case["std"] > 0.25 or case["log_z"] > 0.25
            case["values"] = {name: of(case) for name, (of, _) in LIMITS.items()}
            yield case


def doubted(case, rule):
    return any(case["values"][name] > limit for name, limit in rule.items())


def rates(cases, rule):
    bad = [c for c in cases if c["bad"]]
    good = [c for c in cases if not c["bad"]]
    missed = sum(not doubted(c, rule) for c in bad) / max(len(bad), 1)
    false = sum(doubted(c, rule) for c in good) / max(len(good), 1)
    return missed, false, len(bad), len(good)


def fit(cases, names):
    rule = {name: math.inf for name in names}
    best = sum(rates(cases, rule)[:2])
    for _ in range(4):
        before = best
        for name in names:
            for limit in [*LIMITS[name][1], math.inf]:
                tried = rule | {name: limit}
                score = sum(rates(cases, tried)[:2])
                if score < best - 1e-9:
                    best, rule = score, tried
        if best == before:
            break
    return {name: limit for name, limit in rule.items() if limit < math.inf}


def show(title, cases, rule):
    missed, false, bad, good = rates(cases, rule)
    print(f"{title:44s} bad {bad:5d} missed {100 * missed:5.1f} %   good {good:5d} false alarms {100 * false:5.1f} %")


def judge(title, cases, rule):
    print(title, ", ".join(f"{name} {limit:g}" for name, limit in rule.items()))
    for scheme in ("sobol", "independent"):
        for D in (1, 2, 3):
            for M in (128, 1024):
                show(f"  {scheme}, D {D}, M {M}", [c for c in cases if (c["scheme"], c["D"], c["M"]) == (scheme, D, M)], rule)
        show(f"  {scheme}, all", [c for c in cases if c["scheme"] == scheme], rule)
    for kind in dict.fromkeys(c["kind"] for c in cases):
        show(f"  {kind}", [c for c in cases if c["kind"] == kind and c["scheme"] == "sobol"], rule)


def main():
    cases = list(read(sys.argv[1]))
    half, other = ([c for c in cases if c["target"] % 2 == part] for part in (0, 1))
    if len(sys.argv) > 2:
        judge("given:", other, {name: float(limit) for name, _, limit in (word.partition("=") for word in sys.argv[2].split(","))})
        return
    for names in (["pareto_k"], ["low_ess"], ["max_weight"], ["noise"], ["log_z_error"]):
        rule = fit(half, names)
        show(f"{names[0]} alone: {rule}", other, rule)
    judge("fitted:", other, fit(half, list(LIMITS)))
    judge("before:", other, {"low_ess": -0.05, "max_weight": 0.1, "noise": 0.1})


if __name__ == "__main__":
    main()
