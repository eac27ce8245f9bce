#!/usr/bin/env python3
"""More work than a server can do: the capacity is measured first, closed loop; then requests come at twice that rate,
whether answers come or not. Every answer is 200, 429 with Retry-After, or 504; what is accepted is answered in bounded
time; memory does not grow; probes are answered; and when the load ends the server is as fast as before.
serve_overload.py SERVER"""
import collections
import json
import selectors
import socket
import sys
import threading
import time

from harness import SLOW, Repository, Wire, expect_error, request_bytes, run_all, serving

QUEUE_ROWS = 256
CLOSED_S, OPEN_S = (1.0, 5.0) if SLOW == 1 else (1.0, 2.0)
TIMES = (2, 4, 8)  # the capacity; more than 2 when the machine was busy with something else while it was measured
GROWTH_KIB = 8 << 10
DEADLINE_MS = 300
SAMPLES = 8192 if SLOW == 1 else 2048
SMALL_BODY = {"inputs": [[0.1, 0.2, 0.3]] * 16, "estimator": "importance", "num_samples": SAMPLES, "seed": 1}
SMALL = request_bytes(json.dumps(SMALL_BODY).encode())
HURRIED = request_bytes(json.dumps({**SMALL_BODY, "timeout_ms": DEADLINE_MS}).encode())
LARGE = request_bytes(json.dumps({"inputs": [[0.1, 0.2, 0.3]] * 100, "estimator": "importance", "num_samples": SAMPLES, "seed": 1}).encode() + b" " * 40000)


class Connection:
    """One connection of the open loop: at most one request at a time."""

    def __init__(self, server):
        self.link = socket.create_connection(("127.0.0.1", server.port), timeout=30 * SLOW)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.got = b""

    def send(self, request, due):
        self.due = due
        self.link.sendall(request)

    def receive(self):
        """-> (status, headers, body), or None while it is not whole"""
        piece = self.link.recv(1 << 18)
        assert piece, "closed without an answer"
        self.got += piece
        head, separator, body = self.got.partition(b"\r\n\r\n")
        if not separator:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        if len(body) < int(headers["content-length"]):
            return None
        self.got = b""
        return int(first.split()[1]), headers, body


def closed_loop(server, request, seconds, n):
    """Requests a second when n clients wait for their answers."""
    done, end = [], time.monotonic() + seconds

    def client():
        with Wire(server) as wire:
            while time.monotonic() < end:
                wire.send(request)
                done.append(wire.answer()[0])

    threads = [threading.Thread(target=client) for _ in range(n)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(done) == {200}, collections.Counter(done)
    return len(done) / (time.monotonic() - start)


def take(connections, selector, server):
    if connections:
        return connections.pop()
    connection = Connection(server)
    selector.register(connection.link, selectors.EVENT_READ, connection)
    return connection


def open_loop(server, request, rate, seconds):
    """Sends at this rate whatever comes back. -> [(status, seconds since it was due, headers, body)], most open at once"""
    selector, idle, answers = selectors.DefaultSelector(), [], []
    start, n, sent, most = time.monotonic(), int(rate * seconds), 0, 0
    while len(answers) < n:
        now = time.monotonic()
        while sent < n and start + sent / rate <= now:
            take(idle, selector, server).send(request, start + sent / rate)
            sent += 1
        most = max(most, sent - len(answers))
        wait = start + sent / rate - now if sent < n else 30 * SLOW
        for key, _ in selector.select(max(0.0, wait)):
            answer = key.data.receive()
            if answer:
                answers.append((answer[0], time.monotonic() - key.data.due, *answer[1:]))
                idle.append(key.data)
    for connection in idle:
        connection.link.close()
    selector.close()
    return answers, most


class Prober:
    """Asks /healthz all the time, and remembers the slowest answer."""

    def __init__(self, server):
        self.server, self.stopping, self.times = server, threading.Event(), []
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with Wire(self.server) as wire:
            while not self.stopping.wait(0.02):
                start = time.monotonic()
                wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = wire.answer()
                assert answer and answer[0] == 200, answer
                self.times.append(time.monotonic() - start)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


def check_answers(answers, may_wait, capacity):
    """Every answer is one of three; what was accepted came in time."""
    counts = collections.Counter(answer[0] for answer in answers)
    assert set(counts) <= {200, 429, 504} and counts[200] and counts[429], counts
    for status, _, headers, body in answers:
        if status == 429:
            assert int(expect_error((status, headers, body), 429, "queue_full")["retry-after"]) >= 1
    assert len({body for status, _, _, body in answers if status == 200}) == 1, "one seed, several answers"
    accepted = sorted(seconds for status, seconds, _, _ in answers if status == 200)
    refused = sorted(seconds for status, seconds, _, _ in answers if status == 429)
    in_queue = may_wait / capacity  # how long a full queue takes
    bound = 1.0 * SLOW + 4 * in_queue
    print(f"      {dict(counts)}; ms: accepted median {accepted[len(accepted) // 2] * 1e3:.0f}, max {accepted[-1] * 1e3:.0f}; "
          f"refused median {refused[len(refused) // 2] * 1e3:.1f}, max {refused[-1] * 1e3:.0f}; a full queue is {in_queue * 1e3:.0f}")
    assert accepted[-1] < bound, f"accepted, and answered after {accepted[-1]:.1f} s, at most {bound:.1f} were expected"
    return counts


def overload(binary, request, may_wait, clients):
    with serving(binary, Repository().golden("relu_1d"), "--max-queue-rows", QUEUE_ROWS) as server:
        capacity = closed_loop(server, request, CLOSED_S, clients)
        alone = 1.0 / closed_loop(server, request, 0.3, 1)
        with Prober(server) as prober:
            for times in TIMES:
                halves, rss = [], []
                for _ in range(2):
                    answers, most = open_loop(server, request, times * capacity, OPEN_S / 2)
                    halves.append(answers)
                    rss.append(server.rss_kib())
                if any(answer[0] == 429 for answer in halves[0] + halves[1]):
                    break
        start = time.monotonic()
        with Wire(server) as wire:
            wire.send(request)
            assert wire.answer()[0] == 200
        after = time.monotonic() - start
        print(f"      capacity {capacity:.0f}/s, offered {times * capacity:.0f}/s, up to {most} open; resident {rss} KiB; "
              f"probes max {max(prober.times) * 1e3:.0f} ms; alone {alone * 1e3:.0f} ms, afterwards {after * 1e3:.0f} ms")
        counts = check_answers(halves[0] + halves[1], may_wait, capacity)
        assert counts[200] > 0.3 * capacity * OPEN_S, f"only {counts[200]} were served while {counts[429]} were refused"
        assert SLOW > 1 or rss[1] <= rss[0] + GROWTH_KIB, rss
        assert len(prober.times) > 10 and max(prober.times) < 1.0 * SLOW, f"{len(prober.times)} probes, {max(prober.times)} s"
        assert after < 0.5 * SLOW + 5 * alone, f"{after:.2f} s after the load, {alone:.2f} s before"


def test_twice_the_capacity_in_small_requests(binary):
    overload(binary, SMALL, QUEUE_ROWS // 16, 4)


def test_twice_the_capacity_in_bodies_that_workers_read(binary):
    overload(binary, LARGE, QUEUE_ROWS, 2)  # a body that waits to be read counts as one row


def test_deadlines_under_overload(binary):
    """With a deadline shorter than the queue, the late ones get 504 at their time, and nobody computes them."""
    with serving(binary, Repository().golden("relu_1d"), "--max-queue-rows", 4096) as server:
        capacity = closed_loop(server, SMALL, CLOSED_S, 4)
        for times in TIMES:
            answers, _ = open_loop(server, HURRIED, times * capacity, OPEN_S / 2)
            counts = collections.Counter(answer[0] for answer in answers)
            if counts[504]:
                break
        slowest = max(answer[1] for answer in answers)
        print(f"      {dict(counts)}, slowest {slowest * 1e3:.0f} ms")
        assert set(counts) <= {200, 429, 504} and counts[200] and counts[504], counts
        assert slowest * 1e3 < DEADLINE_MS + 800 * SLOW, f"{slowest:.2f} s with a deadline of {DEADLINE_MS} ms"


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
