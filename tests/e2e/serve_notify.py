#!/usr/bin/env python3
"""What a service manager hears of a server: ready, alive, stopping and for how long. serve_notify.py SERVER INSIDE_LIBRARY"""
import contextlib
import os
import shutil
import socket
import sys
import tempfile

from harness import SLOW, Repository, Server, run_all, serving, wait_until
from inside import serving_inside

NAMES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@contextlib.contextmanager
def manager(abstract=False, **environment):
    """A socket as systemd has it, and the variables that name it to the server."""
    folder = tempfile.mkdtemp(prefix="ebm-notify-")
    path = os.path.join(folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind("\0" + path if abstract else path)
        ears.settimeout(60 * SLOW)
        os.environ.update({"NOTIFY_SOCKET": "@" + path if abstract else path, **environment})
        try:
            yield ears
        finally:
            for name in NAMES:
                os.environ.pop(name, None)
            shutil.rmtree(folder)


def hear(ears):
    return ears.recv(4096).decode().split("\n")


def is_silent(ears, seconds):
    ears.settimeout(seconds)
    try:
        return not ears.recv(4096)
    except socket.timeout:
        return True


def one():
    return Repository().golden("relu_1d")


def test_ready_and_stopping_with_the_longest_time_it_takes(binary):
    for abstract in (False, True):
        with manager(abstract) as ears, serving(binary, one(), "--timeout-ms", 7000) as server:
            assert hear(ears) == ["READY=1"]
            assert server.ask("GET", "/readyz")[0] == 200
            assert server.stop() == 0
            assert hear(ears) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=14000000"]
            assert is_silent(ears, 0.2)


def test_the_time_before_a_stop_is_told_apart(binary):
    with manager() as ears, serving(binary, one(), "--timeout-ms", 7000, "--pre-stop-ms", 300) as server:
        assert hear(ears) == ["READY=1"]
        assert server.stop() == 0
        assert hear(ears) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=2300000"]
        assert hear(ears) == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=14000000"]


def test_never_ready_without_a_model(binary):
    repository = Repository()
    with manager() as ears:
        server = Server(binary, repository, expect_start=False)
        assert server.process.wait(60 * SLOW) == 1
        heard = [hear(ears)]
        assert heard[0][0] == "STOPPING=1" and is_silent(ears, 0.1), heard
    repository.remove()


def test_alive_at_twice_the_watchdogs_pace(binary):
    with manager(WATCHDOG_USEC="200000") as ears, serving(binary, one()):
        assert hear(ears) == ["READY=1"]
        for _ in range(3):
            assert hear(ears) == ["WATCHDOG=1"]


def test_a_second_loop_that_stands_still_is_heard_of(binary):
    with manager(WATCHDOG_USEC="200000") as ears, serving_inside(binary, sys.argv[2], one(), "--io-threads", 2) as (server, inside):
        assert hear(ears) == ["READY=1"]
        assert hear(ears) == ["WATCHDOG=1"]
        inside.do(b"h")
        assert wait_until(lambda: is_silent(ears, 1)), "the first loop turns, and speaks for the second"
        inside.do(b"r")
        ears.settimeout(60 * SLOW)
        for _ in range(3):
            assert hear(ears) == ["WATCHDOG=1"]
        assert server.ask("GET", "/readyz")[0] == 200


def test_a_watchdog_of_another_process_or_without_sense_is_not_ours(binary):
    for environment in ({"WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}):
        with manager(**environment) as ears, serving(binary, one()):
            assert hear(ears) == ["READY=1"]
            assert is_silent(ears, 0.4), environment


def test_it_serves_when_nobody_hears(binary):
    for name, fragment in (("/nowhere/notify", "No such file"), ("relative", "expected '/path' or '@name'"), ("@" + "x" * 200, "of at most")):
        os.environ["NOTIFY_SOCKET"] = name
        try:
            with serving(binary, one()) as server:
                assert server.ask("GET", "/readyz")[0] == 200
                assert any("warning: NOTIFY_SOCKET" in line and fragment in line for line in server.lines), server.lines
        finally:
            del os.environ["NOTIFY_SOCKET"]


sys.exit(run_all(globals(), sys.argv[1]))
