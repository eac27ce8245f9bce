#!/usr/bin/env python3
"""What `meson setup` makes of a machine with nvcc and of one without: `configure.py MESON ROOT [NVCC]`.

-Dnvcc names it, or one that is not there."""
import os
import subprocess
import sys
import tempfile

PLUGIN = "build core/cuda/libebm-cuda.so"
SERVER = "build server/ebm-server"
CASES = (  # what, whether nvcc is there, options, exit status, whether the plug-in is built, what is said
    ("without nvcc", False, [], 0, False, "Program /nonexistent/nvcc found: NO"),
    ("insisting on it without nvcc", False, ["-Dgpu=enabled"], 1, False, "Program '/nonexistent/nvcc' not found"),
    ("with nvcc", True, [], 0, True, "nvcc found: YES"),
    ("with nvcc, and not wanted", True, ["-Dgpu=disabled"], 0, False, "nvcc skipped: feature gpu disabled"),
)


def configure(meson, root, nvcc, options):
    """Exit status, what it said, and the build file."""
    with tempfile.TemporaryDirectory(prefix="ebm-configure-") as folder:
        build = os.path.join(folder, "build")
        done = subprocess.run([meson, "setup", build, root, "-Dnvcc=" + nvcc, "-Dtests=disabled", "-Dgpu_sim=disabled", *options],
                              capture_output=True, text=True, check=False)
        text = ""
        if done.returncode == 0:
            with open(os.path.join(build, "build.ninja"), encoding="utf-8") as file:
                text = file.read()
        return done.returncode, done.stdout + done.stderr, text


def main():
    meson, root = sys.argv[1:3]
    nvcc = sys.argv[3] if len(sys.argv) > 3 else None
    faults = 0
    for what, is_there, options, expected, has_plugin, said in CASES:
        if is_there and not nvcc:
            print(f"skip  {what}: there is none here")
            continue
        status, log, text = configure(meson, root, nvcc if is_there else "/nonexistent/nvcc", options)
        is_right = (status == expected and said in log and (PLUGIN in text) == has_plugin
                    and (expected != 0 or SERVER in text))
        faults += not is_right
        print(f"{'ok  ' if is_right else 'FAIL'}  {what}: exit status {status}, plug-in {'built' if PLUGIN in text else 'not built'}, "
              + next((line for line in log.splitlines() if "nvcc" in line), "not a word of nvcc"))
        if not is_right:
            print(log)
    return 1 if faults else 0


sys.exit(main())
