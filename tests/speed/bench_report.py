#!/usr/bin/env python3
"""The table of bench/report.py from numbers that are made up: medians of clean rounds, void ones left out, verdicts."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "bench"))
import report  # noqa: E402


def rounds(foreign, **fields):
    """One sample a number of each field; `foreign` of all."""
    return [{"foreign": foreign, **dict(zip(fields, values))} for values in zip(*fields.values())]


SAMPLES = {
    "ours T importance 64": rounds(0.02, rps=[900, 1000, 1100], server_us=[61, 60, 59]) + rounds(0.5, rps=[1], server_us=[500])
                            + [{"void": "bad status", "foreign": 0.0}],
    "ours T importance 1": rounds(0.02, rps=[300, 310, 320], server_us=[120, 110, 100]),
    "peer T 16": rounds(0.02, rps=[90, 100, 110], server_us=[400, 400, 400]),
    "peer T 64": rounds(0.02, rps=[50, 60, 70], server_us=[300, 300, 300]),
    "ours toy": rounds(0.3, wall_s=[1.0, 2.0]),
    "peer toy": rounds(0.02, wall_s=[100.0]),
    "start": rounds(0.0, ready_ms=[10, 20, 60], resident_mib=[50, 50, 50]),
}
ABOUT = {"date": "2026-01-31", "command": "bench/run.sh", "minutes": 1, "commit": "abc", "machine": "m", "kernels": "k",
         "system": "s", "torch": "t", "quick": False}
EXPECTED = {
    "T, importance, 1024 draws: requests/s": ("1000 /s at 64 connections [900..1100]", "100 /s at 16 [90.0..110]",
                                              "| 10.0 times | at least 10 times | reached | 3/5 |"),
    "T, importance, 1024 draws: server CPU a request, 64 connections": ("| 60.0 us | at most 62 us | reached |", "PyTorch 300 us"),
    "start to ready, T": ("| 20.0 ms | at most 50 ms | reached | 3/3 |",),
    "resident memory with T, at its most": ("| at most 40 MiB | **not reached** |",),
    "toy 1, 75 epochs: `ml_exact` beside the published recipe": ("| 66.7 times | at least 100 times | **not reached** | 0/2 noisy |",),
    "V2, scorer": ("| not measured |",),
}


def main():
    text = report.Report({"about": ABOUT, "samples": SAMPLES}).text()
    lines = {line.split(" | ")[0].lstrip("| "): line for line in text.splitlines() if line.startswith("| ")}
    failed = 0
    for what, fragments in EXPECTED.items():
        for fragment in fragments:
            if fragment not in lines.get(what, ""):
                print(f"no '{fragment}' in: {lines.get(what, 'no line ' + what)}")
                failed += 1
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as page:
        page.write(f"before\n{report.BEGIN}\nold\n{report.END}\nbehind\n")
        page.flush()
        for _ in range(2):
            report.write("new", page.name)
        with open(page.name, encoding="utf-8") as file:
            got = file.read()
    if got != f"before\n{report.BEGIN}\n\nnew\n{report.END}\nbehind\n":
        print(f"the page became {got!r}")
        failed += 1
    return 1 if failed else 0


sys.exit(main())
