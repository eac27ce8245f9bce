#!/usr/bin/env python3
"""The part of check-haproxy.sh that runs: check-haproxy.py SERVER KILLS

Two servers, HAProxy with haproxy.cfg on free ports, CLIENTS that ask over connections they keep. KILLS times one server, the
one then the other, ends by SIGKILL in the middle, and comes back. Every answer must be 200 and, for its seed, the same
bytes as before any kill. The last line has the figures."""
import collections
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path[:0] = [os.path.join(TOP, "tests", "e2e"), os.path.join(TOP, "bench")]
from harness import Repository, Wire, request_bytes, wait_until  # noqa: E402
from load import free_port  # noqa: E402

CLIENTS, DOWN_S, UP_S = 8, 1.0, 1.5
ROW = [0.1, 0.2, 0.3]  # of relu_1d
# some for the loop of a server, some of several milliseconds for its workers, which a kill meets in the middle
BODIES = [{"inputs": [ROW] * rows, "estimator": "importance", "num_samples": samples, "seed": 1}
          for rows, samples in ((1, 64), (16, 256), (16, 8192))]
REQUESTS = [request_bytes(json.dumps(body).encode()) for body in BODIES]
PROBE = request_bytes(b"", length=False, first="GET /readyz HTTP/1.1")


class Process:
    """A program with a port, as a Wire wants."""

    def __init__(self, port, *command):
        self.port, self.command = port, [*command]
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def is_ready(self):
        with contextlib.suppress(OSError, AssertionError), Wire(self, 2) as wire:
            wire.send(PROBE)
            answer = wire.answer()
            return answer is not None and answer[0] == 200
        return False


def configuration(front, ports):
    """haproxy.cfg with other ports."""
    with open(os.path.join(TOP, "deploy", "haproxy.cfg"), encoding="utf-8") as file:
        text = file.read()
    for old, new in zip((":8080", ":8081", ":8082"), (front, *ports)):
        assert text.count(old) == 1, old
        text = text.replace(old, f":{new}")
    return text.replace(f"bind :{front}", f"bind 127.0.0.1:{front}")


class Client(threading.Thread):
    def __init__(self, proxy, right, end):
        super().__init__(daemon=True)
        self.proxy, self.right, self.end = proxy, right, end
        self.failed, self.took = collections.Counter(), []

    def ask(self, wire, i):
        begin = time.monotonic()
        wire.send(REQUESTS[i])
        answer = wire.answer()
        self.took.append(time.monotonic() - begin)
        if not answer or answer[0] != 200:
            self.failed[answer[0] if answer else "closed"] += 1
        elif answer[2] != self.right[i]:
            self.failed["another answer"] += 1
        return answer is not None and answer[1].get("connection") != "close"

    def run(self):
        while not self.end.is_set():
            try:
                with Wire(self.proxy, 60) as wire:
                    i = 0
                    while not self.end.is_set() and self.ask(wire, i % len(REQUESTS)):
                        i += 1
            except (OSError, AssertionError) as error:
                self.failed[f"{type(error).__name__}: {error}"] += 1


def fetch(server):
    with Wire(server, 60) as wire:
        wire.send(b"".join(REQUESTS))
        answers = [wire.answer() for _ in REQUESTS]
    assert all(answer[0] == 200 for answer in answers), answers
    return [answer[2] for answer in answers]


def run_clients(proxy, right, servers, kills):
    end = threading.Event()
    clients = [Client(proxy, right, end) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for i in range(kills):
        time.sleep(UP_S)
        server = servers[i % len(servers)]
        server.kill()
        time.sleep(DOWN_S)
        server.start()
        assert wait_until(server.is_ready, 20), "a server did not come back"
    time.sleep(UP_S)
    end.set()
    for client in clients:
        client.join(60)
        assert not client.is_alive(), "a client hangs"
    return clients


def main():
    binary, kills = sys.argv[1], int(sys.argv[2])
    repository, front, ports = Repository().golden("relu_1d"), free_port(), (free_port(), free_port())
    running = []
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
            file.write(configuration(front, ports))
            file.flush()
            for port in ports:
                running.append(Process(port, binary, "--model-repository", repository.path, "--port", str(port)))
            servers = running[:]
            assert wait_until(lambda: all(server.is_ready() for server in servers), 20), "a server does not answer"
            running.append(Process(front, "haproxy", "-db", "-f", file.name))
            proxy = running[-1]
            assert wait_until(proxy.is_ready, 20), "HAProxy does not answer"
        begin = time.monotonic()
        clients = run_clients(proxy, fetch(servers[0]), servers, kills)
        seconds = time.monotonic() - begin
    finally:
        for process in running:
            process.kill()
        repository.remove()
    failed = sum((client.failed for client in clients), collections.Counter())
    took = sorted(second for client in clients for second in client.took)
    for what, n in failed.most_common():
        print(f"failed: {n} times {what}")
    print(f"{kills} kills in {seconds:.0f} s: {len(took)} requests, {sum(failed.values())} failed; "
          f"p50 {1e3 * took[len(took) // 2]:.1f} p99 {1e3 * took[int(0.99 * len(took))]:.1f} max {1e3 * took[-1]:.1f} ms")
    return 1 if failed or not took else 0


if __name__ == "__main__":
    sys.exit(main())
