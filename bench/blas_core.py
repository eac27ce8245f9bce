#!/usr/bin/env python3
"""blas_core.py - prints what OPENBLAS_CORETYPE should be on this machine; nothing where OpenBLAS chooses well by itself.

An OpenBLAS knows no processor that is newer than itself: 0.3.21 takes its kernels of SSE3 on Sapphire Rapids, a quarter of
the speed. PyTorch of Debian computes with it, so to measure beside that would flatter us."""
import ctypes
import ctypes.util


def chosen():
    """The kernels that OpenBLAS takes by itself; "" where it isn't installed."""
    name = ctypes.util.find_library("openblas")
    if not name:
        return ""
    library = ctypes.CDLL(name)
    library.openblas_get_corename.restype = ctypes.c_char_p
    return library.openblas_get_corename().decode()


def better(core, flags):
    if core.lower() not in ("prescott", "core2", "generic"):
        return ""
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= flags:
        return "SKYLAKEX"
    return "HASWELL" if {"avx2", "fma"} <= flags else ""


def processor_flags():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    return set()


if __name__ == "__main__":
    print(better(chosen(), processor_flags()))
