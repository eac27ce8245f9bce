#!/usr/bin/env python3
"""Style as a test: include arrows, third-party headers in their one place, banned calls, lengths of functions, opening
comments, tabs, long lines, words that mark unfinished work. `lint.py ROOT`; exit status 1 and one line a finding."""
import os
import re
import statistics
import sys

ROOT = sys.argv[1] if len(sys.argv) > 1 else "."
ROOMS = ("core", "models", "proto", "images", "server", "trainer", "clients", "tests", "bench")
MAY_INCLUDE = {
    "core": {"core"},
    "models": {"core", "models"},
    "proto": {"core", "proto"},
    "images": {"core", "images"},
    "server": {"core", "models", "proto", "images", "server"},
    "trainer": {"core", "models", "images", "trainer"},
    "clients": {"proto", "clients"},
}
# header -> files that may include it
THIRD_PARTY = {
    "cblas.h": {"core/blas.c"},
    "cublasLt.h": {"core/cuda/compat.h"},
    "cuda_bf16.h": {"core/cuda/compat.h"},
    "cuda_runtime.h": {"core/cuda/compat.h"},
    "curl/curl.h": {"clients/client_http.c"},
    "oneapi/dnnl/dnnl.h": {"core/conv_onednn.c"},
    "gnutls/crypto.h": {"server/api_keys.c"},
    "gnutls/abstract.h": {"server/tls.h"},
    "gnutls/gnutls.h": {"server/api_keys.c"},
    "gnutls/x509.h": {"server/tls.c"},
    "immintrin.h": {"core/lanes.h"},
    "Random123/philox.h": {"core/rng.c"},
    "microhttpd.h": {"server/http_internal.h"},
    "seccomp.h": {"server/sandbox_filter.c"},
    "spng.h": {"images/png.c"},
    "turbojpeg.h": {"images/jpeg.c"},
    "hdf5.h": {"trainer/hdf5.c"},
    "zlib.h": {"images/png_plain.c", "proto/inflate.c", "trainer/zip.c"},
}
# beside the arrows: kernels run on a CPU by what a test gives them in place of CUDA
APART = {"core/cuda/compat.h": {"tests/gpu_sim/cuda_sim.h"}}
JANSSON = re.compile(r"^(proto/.*|clients/client_[a-z]+\.c|models/config[a-z_]*\.(c|h)|trainer/options[a-z_]*\.c|server/(options_file|model_store)\.c)$")
UV = re.compile(r"^server/.*$")
BANNED = re.compile(r"(?<![\w.>])(strcpy|strcat|sprintf|vsprintf|atoi|atol|atof|strtok|gets|alloca|bzero|tmpnam|mktemp)\s*\(")
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
LONGEST_FUNCTION, LONGEST_LINE = 80, 120

findings, lengths = [], []


def say(path, line, text):
    findings.append(f"{path}:{line}: {text}")


def sources():
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(ROOT, room)):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".cpp", ".cu")):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def check_include(path, number, line):
    match = re.match(r'\s*#\s*include\s+(<|")([^>"]+)[>"]', line)
    if not match:
        return
    header, room = match.group(2), path.split("/")[0]
    if match.group(1) == '"' and "/" not in header:
        say(path, number, f'include from the root of the tree: "{room}/{header}"')
    if match.group(1) == '"' and room in MAY_INCLUDE:
        target = header.split("/")[0]
        if target not in MAY_INCLUDE[room] and header != "core/status.h" and header not in APART.get(path, ()):
            say(path, number, f"{room} may not include {header}")
    if room in ("tests", "bench"):
        return
    if header in THIRD_PARTY and path not in THIRD_PARTY[header]:
        say(path, number, f"<{header}> belongs into {', '.join(sorted(THIRD_PARTY[header]))}")
    if header == "jansson.h" and not JANSSON.match(path):
        say(path, number, "<jansson.h> belongs into proto, clients/client_*.c, models/config, the options files and server/model_store.c")
    if header == "uv.h" and not UV.match(path):
        say(path, number, "<uv.h> belongs into server")


def check_functions(path, lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            length = number - start - 1
            if not path.startswith(("tests/", "bench/")):
                lengths.append(length)
            if length > LONGEST_FUNCTION and not os.path.basename(path).startswith("kernels"):
                say(path, start, f"a function of {length} lines, at most {LONGEST_FUNCTION}")
            start = None


def strip_strings(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line)


def check_file(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        lines = file.read().split("\n")
    if not lines[0].startswith("/*"):
        say(path, 1, "begin with a comment that says what the file is")
    for number, line in enumerate(lines, 1):
        check_include(path, number, line)
        code = strip_strings(line)
        match = BANNED.search(code)
        if match and not code.lstrip().startswith(("*", "/*")):
            say(path, number, f"{match.group(1)} is banned")
        if UNFINISHED.search(line):
            say(path, number, "finish it, or open an issue")
        if "\t" in line:
            say(path, number, "a tab")
        if line != line.rstrip():
            say(path, number, "space at the end of the line")
        if len(line) > LONGEST_LINE:
            say(path, number, f"{len(line)} columns, at most {LONGEST_LINE}")
        if re.match(r"\s*typedef\s+struct\b", code):
            say(path, number, "no struct typedefs")
        if path.endswith("/main.c") is False and re.search(r"(?<![\w.>])exit\s*\(", code) and \
                not path.startswith(("tests/", "bench/")) and not code.lstrip().startswith(("*", "/*")):
            say(path, number, "exit() only in main.c")
    check_functions(path, lines)


def check_image():
    """The image is built of what .dockerignore lets through."""
    path = os.path.join(ROOT, ".dockerignore")
    if not os.path.exists(path):
        return  # a copy of the sources that builds no image
    with open(path, encoding="utf-8") as file:
        let_in = set(file.read().split("\n"))
    for room in ROOMS:
        if "!" + room not in let_in:
            say(".dockerignore", 1, f"'!{room}' is missing: no image can be built")


def main():
    count = 0
    check_image()
    for path in sources():
        check_file(path)
        count += 1
    for finding in findings:
        print(finding)
    if lengths:
        lengths.sort()
        print(f"{count} files, {len(lengths)} functions: median {statistics.median(lengths):.0f} lines, "
              f"p90 {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}")
        if statistics.median(lengths) > 15:
            findings.append("median")
            print("the median function is longer than 15 lines")
    return 1 if findings or count == 0 else 0


sys.exit(main())
