#!/usr/bin/env python3
"""What a server that runs has given up: capabilities, and with --seccomp on the system calls that it never makes, in every
thread of the process. serve_sandbox.py SERVER INSIDE_LIBRARY HAS_SECCOMP (1 or 0: the server was built with libseccomp)"""
import errno
import os
import re
import sys

from harness import SLOW, Repository, Server, run_all, serving
from inside import serving_inside

LIBRARY, HAS_SECCOMP = sys.argv[2], sys.argv[3] == "1"
ALLOWED = {"allowed_open": errno.ENOENT, "allowed_socket": 0}
OF_SANITIZERS = {"clone", "ptrace", "open_to_write", "open_to_make", "map_code", "make_code", "tgkill_others", "prctl"}
ROWS = {"inputs": [[0.1, 0.2, 0.3]], "seed": 1}
NO_CAPABILITY = {name: "0" * 16 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}


def one():
    return Repository().golden("relu_1d")


def threads(server):
    """-> the status of each, as {name: value}"""
    folder = f"/proc/{server.process.pid}/task"
    for thread in os.listdir(folder):
        with open(f"{folder}/{thread}/status", encoding="ascii") as file:
            yield dict(re.findall(r"^(\w+):\t(.*)$", file.read(), re.M))


def test_no_thread_has_a_capability(binary):
    with serving_inside(binary, LIBRARY, one(), "--io-threads", 2, "--workers", 2, "--poll-seconds", 1) as (server, _):
        seen = list(threads(server))
        assert len(seen) >= 6, "main, another loop, 2 workers, the keeper, and one that a library started"
        for status in seen:
            assert NO_CAPABILITY.items() <= status.items(), status
            assert status["NoNewPrivs"] == "1" and status["Seccomp"] in "02", status
        assert not any("capabilities" in line for line in server.lines), server.lines


def test_calls_are_filtered_in_all_threads_when_asked(binary):
    if not HAS_SECCOMP:
        return
    with serving(binary, one(), "--io-threads", 2, "--seccomp", "on") as server:
        assert {status["Seccomp"] for status in threads(server)} == {"2"}


def test_forbidden_calls_are_refused_and_requests_answered(binary):
    if not HAS_SECCOMP:
        return
    with serving_inside(binary, LIBRARY, one(), "--seccomp", "on") as (server, inside):
        before = server.predict(ROWS)
        assert before[0] == 200
        for name, number in inside.calls().items():
            if name in ALLOWED:
                assert number == ALLOWED[name], (name, number)
            elif SLOW == 1 or name not in OF_SANITIZERS:
                assert number == errno.ENOSYS, (name, os.strerror(number))
        assert server.predict(ROWS) == before


def test_nothing_is_filtered_unless_asked(binary):
    """What the test above asks for is there without a filter, so that it can tell."""
    with serving_inside(binary, LIBRARY, one(), "--seccomp", "off") as (_, inside):
        calls = inside.calls()
        assert len(calls) > 20 and errno.ENOSYS not in calls.values(), calls


def test_without_libseccomp_it_does_not_start(binary):
    if HAS_SECCOMP:
        return
    repository = one()
    server = Server(binary, repository, "--seccomp", "on", expect_start=False)
    assert server.process.wait(60 * SLOW) == 1
    server.reader.join(5)
    assert any("--seccomp: this program was built without libseccomp" in line for line in server.lines), server.lines
    repository.remove()


sys.exit(run_all(globals(), sys.argv[1]))
