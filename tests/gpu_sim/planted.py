#!/usr/bin/env python3
"""Bugs planted into kernels and their host code, one at a time: each must be caught by the runs that promise it.

  planted.py --cxx C++ --root ROOT --build FOLDER [--only WORD]

FOLDER has the simulator's libraries and the test programs, as meson built them. A checker that never fails proves
nothing: whoever changes a kernel changes the text that a bug replaces, and a text that is not found is a failure too.
Prints a table: how each run ended. `-` was not run."""
import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

RUNS = ("fwd", "rev", "random", "greedy", "asan", "tsan")
FLAGS = {"plain": [], "asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}
SAMPLE = "tests/gpu_sim/sample.cu"
PLAIN = ("fwd", "rev", "random", "greedy")

# name, file, what stands there, what is put there, runs that must catch it
BUGS = [
    ("barrier before a read is missing", SAMPLE, "    __syncthreads(); /* what is read next */\n", "", PLAIN + ("tsan",)),
    ("barrier before a write is missing", SAMPLE, "    __syncthreads(); /* what was read before */\n", "",
     ("greedy", "tsan")),
    ("shared memory read before it is written", SAMPLE, "    __syncthreads(); /* moments */\n", "", PLAIN + ("tsan",)),
    ("a loop goes one too far", SAMPLE, "    for (int i = threadIdx.x; i < M; i += THREADS) {",
     "    for (int i = threadIdx.x; i <= M; i += THREADS) {", PLAIN + ("asan",)),
    ("a read behind the last row", SAMPLE, "    for (int i = threadIdx.x; i < M; i += THREADS)\n        largest",
     "    for (int i = threadIdx.x; i <= M; i += THREADS)\n        largest", ("asan",)),
    ("a return before a barrier", SAMPLE, "    if (threadIdx.x == 0)\n        moments[0]",
     "    if (int(blockIdx.x * blockDim.x + threadIdx.x) >= M)\n        return;\n    if (threadIdx.x == 0)\n        moments[0]",
     PLAIN),
    ("half of the warp is not summed", SAMPLE, "for (int by = 16; by; by >>= 1)", "for (int by = 8; by; by >>= 1)", PLAIN),
    ("a mask without half of the lanes", SAMPLE, "__shfl_down_sync(ALL, sum, by)", "__shfl_down_sync(0xffffu, sum, by)",
     PLAIN),
    ("a sum that is not atomic", SAMPLE, "atomicAdd(total, double(sum));", "*total += double(sum);", ("tsan",)),
    ("too little dynamic shared memory", SAMPLE, "dim3(128), 2 * sizeof(float), r->stream",
     "dim3(128), sizeof(float), r->stream", ("asan",)),
    ("a wrong constant of Philox", SAMPLE, "0xbb67ae85u", "0xbb67ae8du", PLAIN),
    ("too many threads", SAMPLE, "dim3(THREADS), 0, r->stream", "dim3(2048), 0, r->stream", PLAIN),
    ("the host does not wait", SAMPLE, "    return int(cudaStreamSynchronize(r->stream));\n}\n\nint all", "    return 0;\n}\n\nint all",
     PLAIN),
    ("a stream does not wait for the other", SAMPLE, "    TRY(cudaStreamWaitEvent(r->stream, r->uploaded, 0));\n", "", PLAIN),
    ("memory is not cleared", SAMPLE, "    TRY(cudaMemsetAsync(r->total, 0, sizeof(double), r->stream));\n", "", PLAIN),
    ("the wrong kind of copy", SAMPLE, "n * sizeof(T), cudaMemcpyHostToDevice", "n * sizeof(T), cudaMemcpyDeviceToHost",
     PLAIN),
    ("a copy that is too long", SAMPLE, "s->B * sizeof(float), cudaMemcpyDeviceToHost, r->stream));\n    TRY(cudaMemcpyAsync(s->ess",
     "s->B * sizeof(double), cudaMemcpyDeviceToHost, r->stream));\n    TRY(cudaMemcpyAsync(s->ess", PLAIN),
    ("a bias that is not by batch", SAMPLE, "int64_t bias_stride = s->out;", "int64_t bias_stride = 0;", PLAIN),
    ("an error that is not looked at", SAMPLE, "    TRY(cudaGraphLaunch(r->exec, r->stream));",
     "    cudaGraphLaunch(r->exec, r->stream);", ("fwd",)),
    ("an event that is left behind", SAMPLE, "    if (r->uploaded)\n        cudaEventDestroy(r->uploaded);\n", "", ("fwd",)),
    ("allocation in a capture", SAMPLE, "    int error = enqueue(r), end",
     "    float *more;\n    TRY(cudaMalloc(&more, 4));\n    int error = enqueue(r), end", PLAIN),
]


def build(options, flavour, source, folder):
    """The plug-in of one flavour with the sources as they lie in `source`."""
    out = os.path.join(folder, flavour + ".so")
    command = [options.cxx, "-std=gnu++17", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-w", "-DEBM_GPU_SIM",
               "-I" + source, "-I" + options.root, *FLAGS[flavour], "-x", "c++", os.path.join(source, SAMPLE), "-x", "none",
               os.path.join(options.build, f"libgpu_sim_{flavour}.a"), "-o", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("a planted bug does not build\n" + done.stderr)
    return out


def ending(status, text):
    """How a run ended, in a word or two."""
    if status == 0:
        return "passes"
    if "ThreadSanitizer" in text:
        return "race"
    if "AddressSanitizer" in text or "runtime error" in text:
        return "sanitizer"
    if status < 0:
        return "stopped"
    return "numbers" if status == 1 else f"status {status}"


def run(options, which, plugin):
    flavour = which if which in FLAGS else "plain"
    order = {"asan": "fwd", "tsan": "random"}.get(which, which)
    environment = dict(os.environ, GPU_SIM_ORDER=order, ASAN_OPTIONS="detect_leaks=0:exitcode=66",
                       UBSAN_OPTIONS="halt_on_error=1", TSAN_OPTIONS="halt_on_error=1:exitcode=66")
    arguments = [] if which == "fwd" else ["--numbers"]
    done = subprocess.run([os.path.join(options.build, "test_sample_" + flavour), plugin, *arguments], env=environment,
                          capture_output=True, text=True, errors="replace", timeout=300, check=False)
    return ending(done.returncode, done.stdout + done.stderr)


def try_bug(options, bug):
    """Verdicts by run; the faultless program is the bug whose texts are the same."""
    name, path, old, new, must = bug
    runs = RUNS if not must else [r for r in RUNS if r in PLAIN or r in must]
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "source")
        os.makedirs(os.path.join(source, os.path.dirname(path)))
        with open(os.path.join(options.root, path), encoding="utf-8") as file:
            text = file.read()
        if text.count(old) != 1:
            sys.exit(f"{name}: the text to replace stands {text.count(old)} times in {path}")
        with open(os.path.join(source, path), "w", encoding="utf-8") as file:
            file.write(text.replace(old, new))
        plugins = {f: build(options, f, source, folder) for f in FLAGS if f == "plain" or f in runs}
        return {r: run(options, r, plugins.get(r, plugins["plain"])) for r in runs}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not shutil.which(options.cxx):
        sys.exit("no compiler " + options.cxx)
    bugs = [("no bug", SAMPLE, "#include", "#include", ())] + BUGS
    bugs[0] = ("no bug", SAMPLE, "/* sample.cu", "/* sample.cu", ())
    bugs = [b for b in bugs if options.only in b[0]]
    missed = 0
    print("| bug | " + " | ".join(RUNS) + " | |\n|" + " --- |" * (len(RUNS) + 2))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for bug, found in zip(bugs, pool.map(lambda b: try_bug(options, b), bugs)):
            if bug[4]:
                wrong = [r for r in bug[4] if found[r] == "passes"]
            else:
                wrong = [r for r in RUNS if found[r] != "passes"]
            missed += bool(wrong)
            print(f"| {bug[0]} | " + " | ".join(found.get(r, "-") for r in RUNS)
                  + f" | {'WRONG: ' + ', '.join(wrong) if wrong else 'ok'} |", flush=True)
    print(f"{len(bugs)} tried, {missed} not as they must be")
    sys.exit(1 if missed else 0)


main()
