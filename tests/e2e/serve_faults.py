#!/usr/bin/env python3
"""What a machine does to a server: no file descriptors, a log that cannot be written, a worker that does not come back,
signals, no memory. Others are answered meanwhile, and afterwards everybody. serve_faults.py SERVER FAIL_ALLOC_LIBRARY"""
import base64
import contextlib
import json
import mmap
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from harness import (HERE, HOLDABLE, ROW, SLOW, Hold, Repository, Server, Wire, listening_port, request_bytes, run_all, serving,
                     wait_until)
from model_files import publish_bytes, reader_of_images

RELU = {"model": "relu_1d", "seed": 1}
SMALL = request_bytes(json.dumps({**RELU, "inputs": [ROW], "num_samples": 64}).encode())
WORK = {**RELU, "inputs": [ROW] * 100}  # too many rows for the loop itself
PROBE = request_bytes(b"", length=False, first="GET /healthz HTTP/1.1")
FILES_LEFT = 40  # descriptors that a server may have beside those it has when it starts
PIPELINE, MOST_ALLOCATIONS = 20, 200
LINES = 7000  # of the log, more than 1 MiB
LIBRARY = sys.argv[2] if len(sys.argv) > 2 else None


def one():
    return Repository().golden("relu_1d")


def ask(wire, request=SMALL):
    wire.send(request)
    return wire.answer()


def is_served(server):
    with contextlib.suppress(OSError, AssertionError), Wire(server, 5) as wire:
        answer = ask(wire)
        return answer is not None and answer[0] == 200
    return False


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


# ---- file descriptors ----


def test_without_descriptors_who_is_connected_is_answered(binary):
    with serving(binary, one()) as server:
        pid = server.process.pid
        files = len(os.listdir(f"/proc/{pid}/fd")) + FILES_LEFT
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, before[1]))
        old = Wire(server)
        assert ask(old)[0] == 200
        crowd = [Wire(server) for _ in range(2 * FILES_LEFT)]  # the kernel takes more than the server can
        assert wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) >= files - 2), "the limit was not reached"
        cpu = cpu_seconds(pid)
        for _ in range(20):
            assert ask(old)[0] == 200 and ask(old, PROBE)[0] == 200
            time.sleep(0.05)
        assert cpu_seconds(pid) - cpu < 0.5 * SLOW, "it turns in vain"
        for wire in crowd:
            wire.link.close()
        assert wait_until(lambda: is_served(server)), "descriptors are free again, and nobody is let in"
        assert ask(old)[0] == 200
        old.link.close()


def test_a_full_crowd_is_let_in_one_by_one(binary):
    """Nobody who waits in the kernel's queue is forgotten when descriptors come back."""
    with serving(binary, one()) as server:
        pid = server.process.pid
        files = len(os.listdir(f"/proc/{pid}/fd")) + FILES_LEFT
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))
        crowd = [Wire(server) for _ in range(2 * FILES_LEFT)]
        for wire in crowd:
            wire.send(SMALL.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        statuses = [answer and answer[0] for answer in (wire.answer() for wire in crowd)]
        assert set(statuses) <= {200, None} and statuses.count(200) >= FILES_LEFT - 8, statuses
        assert wait_until(lambda: is_served(server))
        for wire in crowd:
            wire.link.close()


# ---- where the log goes ----


class Deaf:
    """A server whose log goes where nobody reads it: it has a port, as a Wire wants."""

    def __init__(self, binary, stderr, *options):
        self.repository, self.port = one(), None
        command = [binary, "--model-repository", self.repository.path, "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=stderr, stderr=stderr)

    def __enter__(self):
        assert wait_until(self._listens) and wait_until(lambda: is_served(self)), "it does not answer"
        return self

    def _listens(self):
        self.port = listening_port(self.process.pid)
        return self.port

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.repository.remove()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60 * SLOW)


def expect_answers(server, n):
    with Wire(server) as wire:
        for _ in range(0, n, PIPELINE):
            wire.send(SMALL * PIPELINE)
            assert [wire.answer()[0] for _ in range(PIPELINE)] == [200] * PIPELINE


def test_a_full_disk_under_the_log(binary):
    with open("/dev/full", "wb") as full, Deaf(binary, full) as server:
        expect_answers(server, 100)
        assert server.stop() == 0


def test_whoever_read_the_log_has_gone(binary):
    ours, theirs = os.pipe()
    with Deaf(binary, theirs) as server:
        os.close(theirs)
        os.close(ours)
        expect_answers(server, 100)
        assert server.stop() == 0


def test_a_log_that_nobody_reads(binary):
    """A pipe takes 1 MiB of lines; then they are lost, and whoever reads again is told how many."""
    ours, theirs = os.pipe()
    with Deaf(binary, theirs) as server:
        os.close(theirs)
        expect_answers(server, LINES)
        assert server.process.poll() is None
        read = os.read(ours, 1 << 20)
        expect_answers(server, PIPELINE)
        read += os.read(ours, 1 << 20)
        lost = re.search(rb"warning: stderr did not take lines of the log since the start: lost=(\d+)\n", read)
        assert lost and LINES < int(lost.group(1)) + read.count(b"info: request ") < LINES + 100, (lost, read[-300:])
        assert server.stop() == 0
    os.close(ours)


# ---- a worker that does not come back ----


def test_a_worker_that_is_busy_for_long(binary):
    """The only worker is at work for minutes: probes and what the loop computes itself are answered, a deadline holds."""
    with serving(binary, one().golden("smooth_2d"), *HOLDABLE) as server:
        with Hold(server), Wire(server) as wire:
            for _ in range(20):
                assert ask(wire, PROBE)[0] == 200
            assert ask(wire, post("/predict", {**WORK, "inputs": [ROW] * 50, "timeout_ms": 300}))[0] == 504
            assert ask(wire, post("/predict", {**WORK, "timeout_ms": 300}))[0] == 504, "a body that waits to be read"
        with Wire(server) as wire:
            assert ask(wire, post("/predict", WORK))[0] == 200, "the worker was not freed"


def test_a_server_that_stood_still_goes_on(binary):
    """SIGSTOP holds all threads, as a frozen container or a machine that sleeps does."""
    with serving(binary, one()) as server, Wire(server) as wire:
        assert ask(wire)[0] == 200
        server.process.send_signal(signal.SIGSTOP)
        wire.send(SMALL * 3)
        time.sleep(0.5)
        server.process.send_signal(signal.SIGCONT)
        assert [wire.answer()[0] for _ in range(3)] == [200] * 3


# ---- signals ----


def test_sigpipe_and_resets_do_not_end_it(binary):
    with serving(binary, one()) as server:
        for _ in range(5):
            server.process.send_signal(signal.SIGPIPE)
            with Wire(server) as wire:
                wire.send(SMALL * 50)
                wire.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() resets
        expect_answers(server, PIPELINE)


# ---- memory ----


class Plan:
    """What fail_alloc.c reads: the file in EBM_FAIL_ALLOC."""

    def __init__(self):
        self.file = tempfile.NamedTemporaryFile(prefix="ebm-fail-")
        self.file.write(struct.pack("qq", -1, 0))
        self.file.flush()
        self.shared = mmap.mmap(self.file.fileno(), 16)

    @property
    def failed(self):
        return struct.unpack_from("q", self.shared, 8)[0]

    def fail_after(self, n):
        struct.pack_into("qq", self.shared, 0, n, 0)


@contextlib.contextmanager
def without_memory(binary, **which):
    """-> (server, plan)"""
    plan, repository = Plan(), one()
    publish_bytes(repository, "images", reader_of_images(channels=3, side=4))
    names = {"EBM_FAIL_ALLOC": plan.file.name, "LD_PRELOAD": os.path.abspath(LIBRARY), **which}
    os.environ.update(names)
    try:
        server = Server(binary, repository)
    finally:
        for name in names:
            del os.environ[name]
    try:
        yield server, plan
        plan.fail_after(-1)
        assert server.stop() == 0, server.lines[-5:]
    finally:
        server.kill()
        repository.remove()


def post(path, body):
    return request_bytes(json.dumps(body).encode(), first=f"POST {path} HTTP/1.1")


def get(path):
    return request_bytes(b"", length=False, first=f"GET {path} HTTP/1.1")


TENSORS = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": ROW}], "parameters": {"seed": 1}}
GRID = {**RELU, "inputs": [ROW], "num_samples": 64, "grid": {"lower": -1, "upper": 1, "points": 999}}


def picture(name):
    with open(os.path.join(HERE, "..", "images", name), "rb") as stream:
        return stream.read()


def image(name, kind):
    return request_bytes(picture(name), f"Content-Type: image/{kind}", first="POST /predict?model=images&seed=1 HTTP/1.1")


PICTURE = picture("rgb.png")
PNG, JPEG = {"an image": image("rgb.png", "png")}, {"a JPEG": image("rgb.jpg", "jpeg"), "a progressive JPEG": image("progressive.jpg", "jpeg")}
HUNGRY = {
    "predict": SMALL,
    "predict, for a worker": post("/predict", {**RELU, "inputs": [ROW] * 100, "num_samples": 64}),
    "a large body": post("/predict", {**RELU, "inputs": [ROW] * 4096, "num_samples": 1}),
    "sample": post("/sample", {**RELU, "inputs": [ROW], "num_samples": 5000}),
    "density": post("/density", GRID),
    "tensors": post("/v2/models/relu_1d/infer", TENSORS),
    "the description": get("/openapi.json"),
    "metrics": get("/metrics"),
    "statistics": get("/stats"),
    "models": get("/v1/models"),
    "a refusal": post("/predict", {**RELU, "inputs": [[0.1]]}),
    **PNG,
    **JPEG,
    "images in JSON": post("/predict", {"model": "images", "inputs": [{"b64": base64.b64encode(PICTURE).decode()}] * 2, "seed": 1}),
}


REPEATABLE = {"predict", "predict, for a worker", "a large body", "sample", "density", "tensors", "images in JSON", *PNG, *JPEG}


def fail_one(server, plan, name, request, n, right):
    """Allocation n of this request fails -> whether it makes so many."""
    plan.fail_after(n)
    answer = None
    with contextlib.suppress(OSError), Wire(server) as wire:
        answer = ask(wire, request)  # None: closed, which nobody takes for an answer
    failed = plan.failed
    plan.fail_after(-1)
    where = f"{name}, allocation {n}: {answer}"
    assert server.process.poll() is None, f"ended: {where} {server.lines[-3:]}"
    assert answer is None or answer[0] in (right[0], 429, 500), where
    if answer and answer[0] != right[0] and answer[2]:
        assert json.loads(answer[2])["code"] in ("busy", "internal"), where
    if answer and answer[0] == right[0] == 200 and name in REPEATABLE:
        assert answer[2] == right[2], f"another answer: {where}"
    with Wire(server) as wire:
        assert ask(wire)[0] == 200, f"nobody is served afterwards: {where}"
    return failed > 0


def fail_each(server, plan, name, request):
    """The first, second, ... allocation that this request makes fails -> how many did."""
    with Wire(server) as wire:
        right = ask(wire, request)
    n = 0
    while n < MOST_ALLOCATIONS and fail_one(server, plan, name, request, n, right):
        n += 1
    return n


def fail_everywhere(binary, requests, **which):
    if not LIBRARY or SLOW > 1:
        print("      left out: sanitizers have an allocator of their own")
        return
    with without_memory(binary, **which) as (server, plan):
        told = {name: fail_each(server, plan, name, request) for name, request in requests.items()}
    print("      allocations that failed: " + ", ".join(f"{name} {n}" for name, n in told.items()))
    assert all(0 < n < MOST_ALLOCATIONS for n in told.values()), told


def test_every_allocation_of_a_request_fails_once(binary):
    fail_everywhere(binary, HUNGRY)


def test_every_allocation_of_the_http_library_fails_once(binary):
    fail_everywhere(binary, HUNGRY, EBM_FAIL_OBJECT="libmicrohttpd")


def test_every_allocation_of_the_decoders_fails_once(binary):
    """Which is nobody's fault who sent a whole image: no 400."""
    fail_everywhere(binary, PNG, EBM_FAIL_OBJECT="libspng")
    fail_everywhere(binary, JPEG, EBM_FAIL_OBJECT="libturbojpeg")


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
