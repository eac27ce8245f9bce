#!/usr/bin/env python3
"""A server at saturation for a long time: endure.py SERVER [--minutes 30] [--reports DIR]

Client processes send the mix of soak.py without a pause, pipelined: good requests, bad ones, and clients that leave. Every
third request is one of KNOWN, whose answer was fetched before the load: the same seed, the same bytes. Another process
asks /healthz every 20 ms. Resident memory is read five times a second.

Fails when an answer is not the one expected, the server ends, its exit status is not 0, a sanitizer wrote into DIR, or
resident memory grew: the median of its last tenth over that of the tenth after the first minute, by more than --grow-kib.
/healthz beyond --probe-ms fails the run where others used less than a tenth of a core; elsewhere it is told. Clients share
the cores with the server: for how long the prober and the server's loop were ready and had none is not held against it.
The last line has the figures."""
import argparse
import collections
import json
import multiprocessing
import os
import random
import statistics
import sys
import time

from load import NOISE, TICKS, Others, own_cpu
from soak import MIX, Address, do_work, get, post, predict
from harness import Repository, Server, Wire, request_bytes  # found by soak's path

BATCH = 48  # requests between two looks at the clock
WARM_S, PROBE_EVERY_S = 60, 0.02
PROBE = get("/healthz")


def infer(rng):
    tensors = [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [round(rng.uniform(-1, 1), 3) for _ in range(6)]}]
    body = {"inputs": tensors, "parameters": {"seed": 5, "num_samples": 64}}
    return request_bytes(json.dumps(body).encode(), first="POST /v2/models/relu_1d/infer HTTP/1.1")


def grid(rng):
    return post("/density", rng, 3, num_samples=64, seed=4, grid={"lower": -1, "upper": 1, "points": 99})


KNOWN = {
    "known: 1 row": lambda rng: predict(rng, 1, seed=1),
    "known: 1 row of many samples": lambda rng: predict(rng, 1, 8192, seed=2),
    "known: 16 rows": lambda rng: predict(rng, 16, 64, seed=3),
    "known: 200 rows, read by a worker": lambda rng: predict(rng, 200, 16, seed=3),
    "known: samples": lambda rng: post("/sample", rng, 2, num_samples=20, seed=6),
    "known: weighted samples": lambda rng: post("/sample", rng, 2, num_proposals=64, resample=False, seed=7),
    "known: densities": grid,
    "known: tensors": infer,
}


def learn(server):
    """-> kinds as MIX has them, with the answer each must have from now on"""
    rng, kinds = random.Random(1), []
    for name, make in KNOWN.items():
        request = make(rng)
        with Wire(server, 60) as wire:
            wire.send(request * 2)
            first, second = wire.answer(), wire.answer()
        assert first[0] == 200 and first[2] == second[2], (name, first, second)
        kinds.append((1, name, lambda _, request=request: request, (200,), first[2]))
    return kinds


def client(port, seed, known, end, results):
    """A process: works until the clock (CLOCK_MONOTONIC, one for all processes) says `end`."""
    rng, wrong, done = random.Random(seed), collections.Counter(), 0
    weights = [kind[0] for kind in MIX]
    while time.monotonic() < end:
        kinds = rng.choices(MIX, weights, k=BATCH * 2 // 3) + rng.choices(known, k=BATCH // 3)
        rng.shuffle(kinds)
        do_work(Address(port), rng, kinds, wrong)
        done += len(kinds)
    results.put((done, wrong))


def waited_ms(pid):
    """For how long its first thread was ready and had no CPU."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e6


def prober(port, pid, end, results):
    """Probes over one connection, as a load balancer has it -> (milliseconds, of these without a CPU) each, and how late a
    sleep of our own ended."""
    took, late = [], []
    with Wire(Address(port), 60) as wire:
        while time.monotonic() < end:
            begin, waited = time.monotonic(), waited_ms(pid) + waited_ms("self")
            wire.send(PROBE)
            answer = wire.answer()
            answered = time.monotonic()
            assert answer and answer[0] == 200, answer
            took.append((1e3 * (answered - begin), waited_ms(pid) + waited_ms("self") - waited))
            time.sleep(PROBE_EVERY_S)
            late.append(1e3 * (time.monotonic() - answered - PROBE_EVERY_S))
    results.put((took, late))


def watch(server, end):
    """-> [(seconds since the start, KiB)]"""
    start, samples = time.monotonic(), []
    while time.monotonic() < end:
        time.sleep(0.2)
        assert server.process.poll() is None, "the server ended:\n" + "\n".join(server.lines[-20:])
        samples.append((time.monotonic() - start, server.rss_kib()))
        del server.lines[:-100]
    return samples


def server_cpu(server):
    """Seconds that it has worked."""
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / TICKS


def growth(samples):
    """-> (KiB at first, KiB at last): medians of a tenth of the time after the first minute, or after its first third"""
    total = samples[-1][0]
    begin = min(WARM_S, total / 3)
    tenth = (total - begin) / 10
    first = [kib for at, kib in samples if begin <= at <= begin + tenth] or [samples[len(samples) // 3][1]]
    last = [kib for at, kib in samples if at >= total - tenth]
    return statistics.median(first), statistics.median(last)


def load(server, arguments):
    """-> what clients, prober and the memory said"""
    known, seconds = learn(server), 60 * arguments.minutes
    end, results, probes = time.monotonic() + seconds, multiprocessing.Queue(), multiprocessing.Queue()
    work = [multiprocessing.Process(target=client, args=(server.port, arguments.seed * 1000 + i, known, end, results))
            for i in range(arguments.processes)]
    work.append(multiprocessing.Process(target=prober, args=(server.port, server.process.pid, end, probes)))
    for process in work:
        process.start()
    samples = watch(server, end)
    told, (took, late) = [results.get(timeout=120) for _ in work[1:]], probes.get(timeout=120)
    for process in work:
        process.join()
    return {
        "requests": sum(done for done, _ in told), "wrong": sum((wrong for _, wrong in told), collections.Counter()),
        "took": took, "late": late, "memory": growth(samples), "seconds": seconds,
    }


def report_files(folder):
    return sorted(os.listdir(folder)) if folder and os.path.isdir(folder) else []


def judge(seen, foreign, status, arguments):
    """-> findings, and the last line"""
    took, first, last = sorted(ms for ms, _ in seen["took"]), *seen["memory"]
    slow, p99 = sum(ms - waited > arguments.probe_ms for ms, waited in seen["took"]), took[int(0.99 * len(took))]
    findings = [f"{n} times {what}" for what, n in seen["wrong"].most_common(10)]
    findings += [f"a sanitizer wrote {name}" for name in report_files(arguments.reports)]
    if status != 0:
        findings.append(f"exit status {status}")
    if last - first > arguments.grow_kib:
        findings.append(f"resident memory grew from {first:.0f} to {last:.0f} KiB")
    if slow and foreign < NOISE:
        findings.append(f"{slow} of {len(took)} probes took more than {arguments.probe_ms} ms")
    line = (f"{seen['requests']} requests in {seen['seconds']:.0f} s, {sum(seen['wrong'].values())} wrong; resident "
            f"{first / 1024:.1f} MiB, then {last / 1024:.1f}; /healthz p50 {took[len(took) // 2]:.1f} p99 {p99:.1f} max {took[-1]:.1f} ms, "
            f"{slow} of {len(took)} over {arguments.probe_ms} ms, while a sleep of the prober ended up to {max(seen['late']):.1f} ms late; "
            f"others used {foreign:.1f} cores; sanitizer reports: {len(report_files(arguments.reports))}")
    return findings, line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grow-kib", type=int, default=8 << 10)
    parser.add_argument("--probe-ms", type=float, default=50)
    parser.add_argument("--reports", help="where ASAN_OPTIONS and UBSAN_OPTIONS let sanitizers write")
    parser.add_argument("--options", default="--max-queue-rows 65536 --timeout-ms 120000", help="of the server, in one text")
    arguments = parser.parse_args()
    repository = Repository().golden("relu_1d")
    server = Server(arguments.server, repository, *arguments.options.split())
    try:
        others = Others(lambda: own_cpu() + server_cpu(server))
        seen = load(server, arguments)
        foreign = others.foreign()
        status = server.stop()
    finally:
        server.kill()
        repository.remove()
    findings, line = judge(seen, foreign, status, arguments)
    for finding in findings:
        print(f"did not hold: {finding}")
    print(line, flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
