#!/usr/bin/env python3
"""Resident memory of a server over many requests, good and bad: soak.py [SERVER] [--count 500000]

Starts the server (build/server/ebm-server) with a golden model on a free port of 127.0.0.1. Client processes send the mix
below, pipelined where the connection survives, and compare every status. The work goes in rounds; after each, nothing is
on its way, and the resident memory is printed: at 10,000 requests, at each 50,000, at the end. Exit status 1 when a
status is wrong, the server ends, or memory grew by more than 1 MiB since the first round."""
import argparse
import collections
import json
import multiprocessing
import os
import random
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TOP, "tests", "e2e"))
from harness import Repository, Server, Wire, request_bytes, wait_until  # noqa: E402

FIRST_ROUND, ROUND = 10000, 50000
WINDOW = 12  # requests of one pipeline
GROWTH_KIB = 1024


def predict(rng, rows, samples=16, **more):
    inputs = [[round(rng.uniform(-1, 1), 3) for _ in range(3)] for _ in range(rows)]
    return request_bytes(json.dumps({"inputs": inputs, "num_samples": samples, **more}).encode())


def post(path, rng, rows, **more):
    body = json.dumps({"inputs": [[round(rng.uniform(-1, 1), 3) for _ in range(3)] for _ in range(rows)], **more}).encode()
    return request_bytes(body, first=f"POST {path} HTTP/1.1")


def density(rng, rows):
    return post("/density", rng, rows, num_samples=64, grid={"lower": -1, "upper": 1, "points": rng.randint(1, 200)})


def get(path, first=None):
    return request_bytes(b"", length=False, first=first or f"GET {path} HTTP/1.1")


def quantiles(rng, rows):
    return predict(rng, rows, quantiles=[rng.uniform(0.01, 0.99) for _ in range(64)], outputs=["mean", "median", "quantiles"])


def chunked(rng):
    body = json.dumps({"inputs": [[0.1, 0.2, 0.3]] * rng.randint(1, 9), "num_samples": 16}).encode()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(body[i:i + 20]), body[i:i + 20]) for i in range(0, len(body), 20))
    return request_bytes(pieces + b"0\r\n\r\n", "Transfer-Encoding: chunked", length=False)


def part_of(rng, request):
    return request[:rng.randint(1, len(request) - 1)]


# weight in 10,000; name; what makes the request's bytes; the statuses that fit; (), the client leaves without reading
MIX = [
    (2300, "predict, 1 row", lambda rng: predict(rng, 1), (200,)),
    (1000, "predict, 2 to 16 rows", lambda rng: predict(rng, rng.randint(2, 16), 64, seed=rng.randint(0, 99)), (200,)),
    (300, "predict, read by workers", lambda rng: predict(rng, rng.randint(65, 400), rng.choice((1, 16))), (200,)),
    (10, "predict, 4096 rows", lambda rng: predict(rng, 4096, 1), (200,)),
    (300, "64 quantiles", lambda rng: quantiles(rng, rng.randint(1, 8)), (200,)),
    (10, "64 quantiles, 1000 rows", lambda rng: quantiles(rng, 1000), (200,)),
    (200, "in chunks", chunked, (200,)),
    (40, "a deadline of 1 ms", lambda rng: predict(rng, 16, 65536, timeout_ms=1), (200, 429, 504)),
    (300, "samples", lambda rng: post("/sample", rng, rng.randint(1, 4), num_samples=rng.randint(1, 99)), (200,)),
    (200, "weighted samples", lambda rng: post("/sample", rng, 2, num_proposals=64, resample=False), (200,)),
    (10, "many samples", lambda rng: post("/sample", rng, 40, num_samples=5000, num_proposals=64), (200,)),
    (300, "densities on a grid", lambda rng: density(rng, rng.randint(1, 4)), (200,)),
    (190, "neither targets nor grid", lambda rng: post("/density", rng, 1), (400,)),
    (100, "the description", lambda rng: get("/openapi.json"), (200,)),
    (700, "JSON cut short", lambda rng: request_bytes(b'{"inputs":[[0.1,0.2,0.3]],"seed":1}'[:rng.randint(1, 34)]), (400,)),
    (500, "a wrong row", lambda rng: request_bytes(b'{"inputs":[[0.1,0.2]]}'), (400,)),
    (500, "an unknown field", lambda rng: request_bytes(b'{"inputs":[[1,2,3]],"k%d":1}' % rng.randint(0, 10 ** 9)), (400,)),
    (400, "an unknown model", lambda rng: predict(rng, 1, model=f"m{rng.randint(0, 10 ** 9)}"), (404,)),
    (100, "too deep", lambda rng: request_bytes(b"[" * rng.randint(101, 100000)), (400,)),
    (5, "too many values", lambda rng: request_bytes(b'{"inputs":[' + b"0," * 1500000 + b"0]}"), (400,)),
    (5, "4 MB of spaces", lambda rng: request_bytes(b'{"inputs":[[1,2,3]]}'.ljust(4 << 20)), (200,)),
    (500, "an unknown route", lambda rng: get(f"/r{rng.randint(0, 10 ** 9)}"), (404,)),
    (300, "a wrong method", lambda rng: get("/predict"), (405,)),
    (200, "a wrong type", lambda rng: request_bytes(b"x" * rng.randint(1, 9999), "Content-Type: image/gif"), (415,)),
    (200, "no image", lambda rng: request_bytes(b"x" * rng.randint(1, 9999), "Content-Type: image/png"), (400,)),
    (600, "a probe", lambda rng: get(rng.choice(("/healthz", "/livez", "/readyz"))), (200,)),
    (300, "what there is", lambda rng: get(rng.choice(("/", "/v2/models/relu_1d"))), (200,)),
    (100, "50 headers", lambda rng: request_bytes(b'{"inputs":[[1,2,3]],"num_samples":1}', *(f"X-{i}: {i}" for i in range(50))), (200,)),
    (20, "too large, announced", lambda rng: request_bytes(b"", length=rng.randint(6 << 20, 10 ** 12)), (413,)),
    (5, "too large, sent", lambda rng: request_bytes(b"x" * (4 << 20) + b"x", "Connection: close"), (413,)),
    (100, "two lengths", lambda rng: request_bytes(b"{}", "Content-Length: 3"), (400,)),
    (95, "no HTTP", lambda rng: get("", first="GET / x"), (400,)),
    (100, "headers too large", lambda rng: get("/" + "x" * 40000), (414,)),
    (60, "leaves in the middle", lambda rng: part_of(rng, predict(rng, 16)), ()),
    (60, "leaves before the answer", lambda rng: predict(rng, 16, 4096), ()),
    (60, "leaves a pipeline", lambda rng: predict(rng, 2) * 5, ()),
    (30, "leaves after a word", lambda rng: b"POST", ()),
]
# on a connection of their own: those that end it, and those so large that a pipeline would wait for its own reader
LONELY = {"too large, announced", "too large, sent", "two lengths", "no HTTP", "headers too large", "predict, 4096 rows",
          "64 quantiles, 1000 rows", "too many values", "4 MB of spaces"}


def is_lonely(kind):
    return not kind[3] or kind[1] in LONELY


def fits(kind, answer):
    """Its status, and where a kind has a fifth member, its body to the byte."""
    return answer[0] in kind[3] and (len(kind) == 4 or answer[2] == kind[4])


def read_answers(wire, kinds, wrong):
    for kind in kinds:
        answer = wire.answer()
        if not answer or not fits(kind, answer):
            wrong[f"{kind[1]}: {answer[0] if answer else 'closed'}"] += 1
        if not answer:
            return False
    return True


def send_alone(server, rng, kind, wrong):
    with Wire(server, 60) as wire:
        wire.send(kind[2](rng))
        if kind[3]:
            read_answers(wire, [kind], wrong)


def do_work(server, rng, kinds, wrong):
    """A request of each kind, on one pipelined connection and as many short ones as it takes."""
    wire = Wire(server, 60)
    while kinds:
        batch, kinds = kinds[:WINDOW], kinds[WINDOW:]
        for kind in filter(is_lonely, batch):
            send_alone(server, rng, kind, wrong)
        batch = [kind for kind in batch if not is_lonely(kind)]
        wire.send(b"".join(kind[2](rng) for kind in batch))
        if not read_answers(wire, batch, wrong):
            wire = Wire(server, 60)
    wire.link.close()


class Address:
    """What a Wire wants to know of a server."""

    def __init__(self, port):
        self.port = port


def client(port, seed, pipe):
    """A process: does as many requests as it is told, until it is told 0. First of all each kind a few times, at the same
    time in all processes, so that the first round has seen what memory the heaviest take."""
    rng, first = random.Random(seed), MIX * 4
    while n := pipe.recv():
        wrong = collections.Counter()
        kinds = first + rng.choices(MIX, [kind[0] for kind in MIX], k=max(0, n - len(first)))
        do_work(Address(port), rng, kinds, wrong)
        pipe.send(wrong)
        first = []


def start_clients(port, n, seed):
    pipes = []
    for i in range(n):
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=client, args=(port, seed * 1000 + i, theirs), daemon=True).start()
        pipes.append(ours)
    return pipes


def do_round(pipes, n):
    """-> statuses that did not fit"""
    for i, pipe in enumerate(pipes):
        pipe.send(n // len(pipes) + (i < n % len(pipes)))
    return sum((pipe.recv() for pipe in pipes), collections.Counter())


def open_files(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def soak(server, arguments):
    """-> (KiB that memory grew by since the first round, statuses that did not fit)"""
    pipes, files = start_clients(server.port, arguments.processes, arguments.seed), open_files(server)
    done, first, wrong, start = 0, None, collections.Counter(), time.monotonic()
    print(f"{'requests':>9} {'seconds':>8} {'resident KiB':>13}\n{done:9} {0:8} {server.rss_kib():13}", flush=True)
    while done < arguments.count:
        n = min(FIRST_ROUND if done == 0 else ROUND - done % ROUND, arguments.count - done)
        wrong += do_round(pipes, n)
        done += n
        assert server.process.poll() is None, "the server ended:\n" + "\n".join(server.lines[-20:])
        assert wait_until(lambda: open_files(server) <= files, 30), f"{open_files(server) - files} connections stay"
        rss = server.rss_kib()
        first = first or rss
        print(f"{done:9} {time.monotonic() - start:8.1f} {rss:13}", flush=True)
        del server.lines[:-100]
    for pipe in pipes:
        pipe.send(0)
    return rss - first, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", nargs="?", default=os.path.join(TOP, "build", "server", "ebm-server"))
    parser.add_argument("--count", type=int, default=500000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--options", default="--max-queue-rows 65536", help="of the server, in one text")
    arguments = parser.parse_args()
    repository = Repository().golden("relu_1d")
    server = Server(arguments.server, repository, *arguments.options.split())
    try:
        growth, wrong = soak(server, arguments)
        status = server.stop()
    finally:
        server.kill()
        repository.remove()
    for what, n in wrong.most_common(10):
        print(f"did not fit: {n} times {what}")
    print(f"grew by {growth} KiB since the first {FIRST_ROUND}, at most {GROWTH_KIB} are allowed; exit status {status}")
    return 1 if growth > GROWTH_KIB or wrong or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
