#!/usr/bin/env python3
"""More work than a server can do: the capacity is measured first, closed loop; then requests come at twice that rate,
whether answers come or not. Every answer is 200, 429 with Retry-After, or 504; what waits is bounded; memory does not grow;
probes are answered; refusals cost little beside answers; and when the load ends nothing is left of it. Requests are so
large that this program can send more of them than the server can answer. serve_overload.py SERVER"""
import collections
import json
import os
import selectors
import socket
import sys
import threading
import time

from harness import SLOW, Repository, Wire, expect_error, queue_rows, request_bytes, run_all, serving, wait_until

QUEUE_ROWS = 256
CLOSED_S, OPEN_S = (1.0, 5.0) if SLOW == 1 else (1.0, 2.0)
TIMES = (2, 4, 8, 16)  # the capacity; more than 2 when the machine was busy with something else while it was measured
MOST_OPEN = 300  # more than may wait
MOST_A_SECOND = 400  # that this program sends twice of, and more
GROWTH_KIB = 8 << 10
DEADLINE_MS = 300
PATIENCE_S = 20  # of what is not told by counts


def small(samples, **fields):
    body = {"inputs": [[0.1, 0.2, 0.3]] * 16, "estimator": "importance", "num_samples": samples, "seed": 1, **fields}
    return request_bytes(json.dumps(body).encode())


def large(samples):
    body = {"inputs": [[0.1, 0.2, 0.3]] * 100, "estimator": "importance", "num_samples": samples, "seed": 1}
    return request_bytes(json.dumps(body).encode() + b" " * 40000)


class Connection:
    """One connection of the open loop: at most one request at a time."""

    def __init__(self, server):
        self.link = socket.create_connection(("127.0.0.1", server.port), timeout=60 * SLOW)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0.0
        self.got = b""

    def send(self, request):
        self.sent = time.monotonic()
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


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def closed_loop(server, request, seconds, n):
    """n clients wait for their answers. -> (requests a second, CPU seconds of each)"""
    done, end = [], time.monotonic() + seconds

    def client():
        with Wire(server) as wire:
            while time.monotonic() < end:
                wire.send(request)
                done.append(wire.answer()[0])

    threads = [threading.Thread(target=client) for _ in range(n)]
    start, cpu = time.monotonic(), cpu_seconds(server)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(done) == {200}, collections.Counter(done)
    return len(done) / (time.monotonic() - start), (cpu_seconds(server) - cpu) / len(done)


def measure(server, request_of, n):
    """Requests of so many draws that few enough of them are answered a second. -> (request, closed_loop's)"""
    samples = 2048
    while True:
        request = request_of(samples)
        rate, cpu = closed_loop(server, request, CLOSED_S, n)
        if rate < MOST_A_SECOND or samples == 65536:
            return request, rate, cpu
        samples *= 2


def take(connections, selector, server):
    if connections:
        return connections.pop()
    connection = Connection(server)
    selector.register(connection.link, selectors.EVENT_READ, connection)
    return connection


def open_loop(server, request, rate, seconds):
    """Sends at this rate whatever comes back, up to MOST_OPEN. -> [(status, seconds since it was sent, headers, body)], most
    open at once"""
    selector, idle, answers = selectors.DefaultSelector(), [], []
    start, n, sent, most = time.monotonic(), int(rate * seconds), 0, 0
    while len(answers) < n:
        now = time.monotonic()
        while sent < n and start + sent / rate <= now and sent - len(answers) < MOST_OPEN:
            take(idle, selector, server).send(request)
            sent += 1
        most = max(most, sent - len(answers))
        wait = start + sent / rate - now if sent < n and sent - len(answers) < MOST_OPEN else PATIENCE_S * SLOW
        for key, _ in selector.select(max(0.0, wait)):
            answer = key.data.receive()
            if answer:
                answers.append((answer[0], time.monotonic() - key.data.sent, *answer[1:]))
                idle.append(key.data)
    for connection in idle:
        connection.link.close()
    selector.close()
    return answers, most


class Prober:
    """Asks /healthz and for the queue's length all the time, and remembers the slowest answer and the longest queue."""

    def __init__(self, server):
        self.server, self.stopping, self.times, self.most_rows, self.failure = server, threading.Event(), [], 0, None
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            with Wire(self.server) as wire:
                while not self.stopping.wait(0.02):
                    start = time.monotonic()
                    wire.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert wire.answer()[0] == 200
                    self.times.append(time.monotonic() - start)
                    self.most_rows = max(self.most_rows, queue_rows(self.server))
        except Exception as error:  # pylint: disable=broad-except
            self.failure = repr(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        assert self.times and not self.failure, (len(self.times), self.failure)


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
    bound = PATIENCE_S * SLOW + 4 * in_queue
    print(f"      {dict(counts)}; ms: accepted median {accepted[len(accepted) // 2] * 1e3:.0f}, max {accepted[-1] * 1e3:.0f}; "
          f"refused median {refused[len(refused) // 2] * 1e3:.1f}, max {refused[-1] * 1e3:.0f}; a full queue is {in_queue * 1e3:.0f}")
    assert accepted[-1] < bound, f"accepted, and answered after {accepted[-1]:.1f} s, at most {bound:.1f} were expected"
    return counts


def overload(binary, request_of, may_wait, clients):
    with serving(binary, Repository().golden("relu_1d"), "--max-queue-rows", QUEUE_ROWS) as server:
        request, capacity, cpu_alone = measure(server, request_of, clients)
        with Prober(server) as prober:
            for times in TIMES:
                halves, rss, cpu = [], [], cpu_seconds(server)
                for _ in range(2):
                    answers, most = open_loop(server, request, times * capacity, OPEN_S / 2)
                    halves.append(answers)
                    rss.append(server.rss_kib())
                cpu = cpu_seconds(server) - cpu
                if all(any(answer[0] == 429 for answer in half) for half in halves):
                    break
        assert wait_until(lambda: queue_rows(server) == 0), "the load is over, and rows wait"
        with Wire(server) as wire:
            wire.send(request)
            assert wire.answer()[0] == 200
        counts = check_answers(halves[0] + halves[1], may_wait, capacity)
        print(f"      capacity {capacity:.0f}/s, offered {times * capacity:.0f}/s, up to {most} open, {prober.most_rows} rows waited; "
              f"resident {rss} KiB; probes max {max(prober.times) * 1e3:.0f} ms; CPU of an answer {cpu_alone * 1e3:.1f} ms alone, "
              f"{cpu / counts[200] * 1e3:.1f} with its share of refusals")
        assert cpu / counts[200] < 3 * cpu_alone + 0.001, f"{counts[429]} refusals cost too much"
        assert prober.most_rows <= QUEUE_ROWS, prober.most_rows
        assert SLOW > 1 or rss[1] <= rss[0] + GROWTH_KIB, rss
        assert max(prober.times) < PATIENCE_S * SLOW, max(prober.times)


def test_twice_the_capacity_in_small_requests(binary):
    overload(binary, small, QUEUE_ROWS // 16, 4)


def test_twice_the_capacity_in_bodies_that_workers_read(binary):
    overload(binary, large, QUEUE_ROWS, 2)  # a body that waits to be read counts as one row


def test_deadlines_under_overload(binary):
    """With a deadline shorter than the queue, who cannot make it is refused, or gets 504 at its time."""
    with serving(binary, Repository().golden("relu_1d"), "--max-queue-rows", 4096) as server:
        samples = json.loads(measure(server, small, 4)[0].partition(b"\r\n\r\n")[2])["num_samples"]
        capacity, _ = closed_loop(server, small(samples), CLOSED_S, 4)
        deadline_ms = max(DEADLINE_MS, int(1e4 / capacity))
        for times in TIMES:
            answers, _ = open_loop(server, small(samples, timeout_ms=deadline_ms), times * capacity, OPEN_S / 2)
            counts = collections.Counter(answer[0] for answer in answers)
            if counts[200] and counts[429] + counts[504]:
                break
        slowest = max(answer[1] for answer in answers)
        print(f"      {dict(counts)}, slowest {slowest * 1e3:.0f} ms of {deadline_ms}")
        assert set(counts) <= {200, 429, 504} and counts[200] and counts[429] + counts[504], counts
        assert slowest < deadline_ms / 1e3 + PATIENCE_S * SLOW, f"{slowest:.2f} s with a deadline of {deadline_ms} ms"
        assert wait_until(lambda: queue_rows(server) == 0)


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
