#!/usr/bin/env python3
"""What the compiler made of the kernels, beside what is recorded:

  gates.py --nvcc NVCC --root ROOT SOURCE.cu RECORD.json [COMPUTE_80.ptx COMPUTE_90.ptx]

The PTX is made of the source where it is not given.

For each kernel and architecture: no spilled register, no stack frame, and at most SLACK registers more than recorded;
in its PTX local memory (which ptxas may still put into registers) and arithmetic of doubles only where the record says
so, and as many loads and stores of four numbers as it promises. `--record` writes what there is now; whoever does so tells in the commit why it may be more."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ("80", "90")
SLACK = 8
DOUBLE = re.compile(r"\b(add|sub|mul|div|fma|mad|min|max|sqrt|rcp|neg|abs|rsqrt|atom|red)\.[\w.]*f64\b")
VECTOR = re.compile(r"\b(ld|st)\.[\w.:]*v4\.")


def short(mangled):
    """The kernel's own name, with its template arguments as they are mangled."""
    nested = mangled.startswith("_ZN")
    at, name = 3 if nested else 2, mangled
    while number := re.match(r"L?(\d+)", mangled[at:]):
        at += number.end()
        name, at = mangled[at:at + int(number[1])], at + int(number[1])
        if not nested:
            break
    arguments = re.match(r"I\w*?E(?=E|v)", mangled[at:])
    return name + (arguments[0] if arguments else "")


def nvcc(options, *arguments):
    done = subprocess.run([options.nvcc, "-std=c++17", "-O3", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout + done.stderr


def make_ptx(options, arch, folder):
    out = os.path.join(folder, arch + ".ptx")
    nvcc(options, "-I", options.root, "-arch=compute_" + arch, "-ptx", "-o", out, options.source)
    return out


def resources(options, arch, ptx, folder):
    """kernel -> (registers, bytes of stack, bytes spilled)"""
    text = nvcc(options, "-arch=sm_" + arch, "-Xptxas", "-v", "-cubin", "-o", os.path.join(folder, "k.cubin"), ptx)
    found = {}
    for block in re.split(r"Compiling entry function ", text)[1:]:
        name = short(re.match(r"'([^']+)'", block)[1])
        frame = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", block)
        used = re.search(r"Used (\d+) registers", block)
        found[name] = (int(used[1]), int(frame[1]), int(frame[2]) + int(frame[3]))
    return found


def instructions(ptx):
    """kernel -> (whether it has local memory, arithmetic of doubles, vector accesses)"""
    with open(ptx, encoding="utf-8") as file:
        text = file.read()
    return {short(m[1]): (".local" in m[2], len(DOUBLE.findall(m[2])), len(VECTOR.findall(m[2])))
            for m in re.finditer(r"\.entry\s+([\w$]+)[^{]*\{(.*?)^\}", text, re.S | re.M)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nvcc", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("source")
    parser.add_argument("table")
    parser.add_argument("ptx", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ptx = options.ptx or [make_ptx(options, arch, folder) for arch in ARCHITECTURES]
        seen = {arch: resources(options, arch, file, folder) for arch, file in zip(ARCHITECTURES, ptx)}
        code = instructions(ptx[0])
    now = {name: {"registers": [seen[a][name][0] for a in ARCHITECTURES], "local": code[name][0], "doubles": code[name][1] > 0,
                  "vectors": code[name][2]} for name in sorted(code)}
    if options.record:
        with open(options.table, "w", encoding="utf-8") as file:
            lines = [f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in now.items()]
            file.write("{\n" + ",\n".join(lines) + "\n}\n")
        return 0
    with open(options.table, encoding="utf-8") as file:
        recorded = json.load(file)
    faults = [f"{name}: recorded, and no kernel" for name in recorded if name not in now]
    for name, kernel in now.items():
        limits = recorded.get(name)
        print(f"{name}: registers {kernel['registers']}, {code[name][2]} vector accesses"
              f"{', doubles' if kernel['doubles'] else ''}")
        if not limits:
            faults.append(f"{name}: not recorded in {options.table}")
            continue
        for i, arch in enumerate(ARCHITECTURES):
            used, frame, spilled = seen[arch][name]
            if frame or spilled:
                faults.append(f"{name}, sm_{arch}: {frame} bytes of stack, {spilled} bytes spilled")
            if used > limits["registers"][i] + SLACK:
                faults.append(f"{name}, sm_{arch}: {used} registers, recorded {limits['registers'][i]}")
        if kernel["local"] and not limits["local"]:
            faults.append(f"{name}: local memory")
        if kernel["doubles"] and not limits["doubles"]:
            faults.append(f"{name}: {code[name][1]} instructions on doubles")
        if kernel["vectors"] < limits["vectors"]:
            faults.append(f"{name}: {kernel['vectors']} vector accesses, {limits['vectors']} promised")
    print("\n".join("FAIL " + fault for fault in faults) or f"{len(now)} kernels as recorded")
    return 1 if faults else 0


sys.exit(main())
