#!/usr/bin/env python3
"""Machine instructions of fixed work beside those of instructions.json: a guard for speed that does not depend on the load.

  instructions.py PROGRAM COMPILER OPENBLAS [--update]

Callgrind counts what each case of PROGRAM (instructions.c) executes, by the AVX2 kernels (valgrind knows no AVX-512). More
than 5 % above the recorded count fails; less than 5 % below is told, to be recorded. Exit status 77, skipped, where
compiler or libraries are not those of the record. --update, which is `ninja -C build update-instructions`, records."""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RECORD = os.path.join(HERE, "instructions.json")
sys.path.insert(0, os.path.join(HERE, ".."))
import networks  # noqa: E402

TOLERANCE = 0.05
SKIPPED = 77
ADVICE = "`ninja -C build update-instructions` records the counts anew; say in the commit what the instructions are for."


def count(program, work):
    """-> {case: instructions}"""
    models = [os.path.join(work, name + ".safetensors") for name in ("T", "W")]
    for name, path in zip(("T", "W"), models):
        networks.write(name, path)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={work}/out", program, *models]
    environment = dict(os.environ, EBM_KERNELS="avx2", OPENBLAS_CORETYPE="Haswell", OPENBLAS_NUM_THREADS="1")
    environment.pop("MALLOC_PERTURB_", None)  # of `meson test`: would count the filling of freed memory
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{ran.stdout}{ran.stderr}")
    counts = {}
    for name in sorted(os.listdir(work)):
        if name.startswith("out."):
            with open(os.path.join(work, name), encoding="utf-8") as file:
                text = file.read()
            case = re.search(r"Trigger: Client Request: (\w+)", text)
            if case:
                counts[case.group(1)] = int(re.search(r"^totals: (\d+)", text, re.M).group(1))
    return counts


def compare(counts, recorded):
    """Prints a line a case -> is it all well?"""
    well = True
    for case in sorted(counts.keys() | recorded.keys()):
        if case not in counts or case not in recorded:
            print(f"{case:18} {'not recorded' if case in counts else 'recorded, but not counted'}")
            well = False
            continue
        change = counts[case] / recorded[case] - 1
        verdict = "TOO MANY" if change > TOLERANCE else "fewer: record it" if change < -TOLERANCE else ""
        print(f"{case:18} {counts[case]:12} {recorded[case]:12} {100 * change:+6.1f} % {verdict}")
        well = well and change <= TOLERANCE
    return well


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("compiler")
    parser.add_argument("openblas")
    parser.add_argument("--update", action="store_true")
    arguments = parser.parse_args()
    made_with = {"compiler": arguments.compiler, "openblas": arguments.openblas, "libc": " ".join(platform.libc_ver()),
                 "machine": platform.machine()}
    record = {"made_with": made_with, "counts": {}}
    if os.path.exists(RECORD):
        with open(RECORD, encoding="utf-8") as file:
            record = json.load(file)
    if record["made_with"] != made_with and not arguments.update:
        print(f"recorded with {record['made_with']}, this is {made_with}: not comparable")
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix="ebm-instructions-") as work:
        counts = count(os.path.abspath(arguments.program), work)
    well = compare(counts, record["counts"])
    if arguments.update:
        with open(RECORD, "w", encoding="utf-8") as file:
            json.dump({"made_with": made_with, "counts": counts}, file, indent=1, sort_keys=True)
            file.write("\n")
        return 0
    if not well:
        print(ADVICE)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
