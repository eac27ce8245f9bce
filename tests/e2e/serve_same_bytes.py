#!/usr/bin/env python3
"""Same seed, same bytes: a request asked alone, at 64 connections among other requests (at least 4 rows a batch), on 1 and
on 4 workers gives the same body. serve_same_bytes.py SERVER"""
import json
import re
import sys
import threading

from harness import Repository, run_all, serving

REQUESTS = [{"model": "relu_1d", "inputs": [[0.1 * i, -0.2 * i, 0.05 * i] for i in range(rows)], "num_samples": samples,
             "seed": 100 + rows, "outputs": ["mean", "std", "quantiles", "log_normalizer"]}
            for rows, samples in ((1, 1024), (3, 500), (17, 128), (70, 64), (1, 4096))]
REQUESTS += [{"model": "smooth_2d", "inputs": [[0.3, -0.4]], "seed": 5, "outputs": ["mean", "variance", "median"]},
             {"model": "mixture_only", "inputs": [[1, 2, 3, 4]] * 5, "seed": 6}]
REQUESTS = [("/predict", request) for request in REQUESTS]
REQUESTS += [("/refine", {"model": "relu_1d", "inputs": [[0.1, 0.2, 0.3]] * 3, "steps": 20, "trajectory": True, "seed": 7}),
             ("/sample", {"model": "smooth_2d", "inputs": [[0.3, -0.4]] * 2, "refine": {"steps": 3}, "seed": 8})]
CONNECTIONS, ROUNDS = 64, 12


def repository():
    return Repository().golden("relu_1d").golden("smooth_2d").golden("mixture_only")


def alone(server):
    answers = []
    for path, request in REQUESTS:
        status, _, body = server.ask("POST", path, request)
        assert status == 200, f"{status}: {body[:300]}"
        answers.append(body)
    return answers


def crowd(server, expected):
    """Every connection asks every request in an order of its own; returns what differed."""
    wrong = []

    def client(number):
        connection = server.connect(120)
        for turn in range(ROUNDS):
            which = (number * 5 + turn * 3) % len(REQUESTS)
            status, _, body = server.ask("POST", *REQUESTS[which], connection=connection)
            if status != 200 or body != expected[which]:
                wrong.append((which, status, body[:200]))
        connection.close()

    threads = [threading.Thread(target=client, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def batches_of(lines):
    for line in reversed(lines):
        match = re.search(r"\bbatches=(\d+)\b.*\brows=(\d+)\b", line)
        if match:
            return int(match.group(1)), int(match.group(2))
    raise AssertionError("no line with batches= and rows= in the log")


def test_same_bytes_alone_in_a_crowd_and_on_any_number_of_workers(binary):
    seen = []
    for workers in (1, 4):
        with serving(binary, repository(), "--workers", workers, "--log-level", "info") as server:
            expected = alone(server)
            wrong = crowd(server, expected)
            assert not wrong, f"{workers} workers: {len(wrong)} answers differ: {wrong[:2]}"
            seen.append(expected)
            running = server
        batches, rows = batches_of(running.lines)
        print(f"      {workers} workers: {rows} rows in {batches} batches, {rows / batches:.1f} a batch")
        assert rows >= 4 * batches, f"only {rows} rows in {batches} batches"
    assert seen[0] == seen[1], "1 and 4 workers differ"


def test_the_seed_is_told_and_asks_for_the_same_answer_again(binary):
    with serving(binary, repository()) as server:
        request = {"model": "relu_1d", "inputs": [[0.1, 0.2, 0.3]]}
        _, first = server.predict(request)
        _, again = server.predict({**request, "seed": first["seed"]})
        _, other = server.predict(request)
        assert json.dumps(first) == json.dumps(again)
        assert first["seed"] != other["seed"], "two picked seeds are equal"


sys.exit(run_all(globals(), sys.argv[1]))
