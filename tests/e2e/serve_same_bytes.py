#!/usr/bin/env python3
"""Same seed, same bytes: a request asked alone, at 64 connections among other requests (at least 4 rows a batch, where
batches wait for company), on 1 and on 4 workers gives the same body. serve_same_bytes.py SERVER"""
import json
import math
import os
import re
import sys
import threading

from harness import Repository, run_all, serving

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import networks  # noqa: E402


def rows(n, X):
    return [[round(math.sin(1 + 2 * i + 3 * j), 3) for j in range(X)] for i in range(n)]


def requests():
    """(path, body): narrow and wide layers, one target and two, every estimator, one row to more than a batch holds."""
    every = ["mean", "std", "quantiles", "log_normalizer"]
    made = [("/predict", {"model": "relu_1d", "inputs": rows(n, 3), "num_samples": samples, "outputs": every, "estimator": "importance"})
            for n, samples in ((1, 1024), (3, 500), (17, 128), (70, 64), (1, 4096))]
    made += [("/predict", {"model": model, "inputs": rows(n, X), "outputs": every, "estimator": estimator, "interval": {"kind": kind}})
             for model, n, X in (("T", 1, 1), ("T", 9, 1), ("V", 2, 16)) for estimator, kind in
             (("exact", "equal_tailed"), ("exact", "highest_density"), ("quadrature", "highest_density"), ("mixture", "equal_tailed"))]
    made += [("/predict", {"model": model, "inputs": rows(n, X), "num_samples": samples, "estimator": "importance", **more})
             for model, n, samples, X in (("T", 33, 100, 1), ("V", 5, 96, 16), ("V2", 1, 128, 16), ("V2", 7, 40, 16), ("smooth_2d", 2, 512, 2))
             for more in ({"draws": "independent"}, {"outputs": ["mean", "covariance", "median"] if model.endswith(("2", "2d")) else ["mean", "mode"]},
                          {"weights": "smoothed", "target_ess": 64, "max_samples": 256})]
    made += [("/predict", {"model": "T", "inputs": rows(3, 1), "cdf": [-1, 0.25], "crps_at": [0.5]}),
             ("/predict", {"model": "mixture_only", "inputs": rows(5, 4)}),
             ("/sample", {"model": "T", "inputs": rows(4, 1), "num_samples": 30}),
             ("/sample", {"model": "V", "inputs": rows(2, 16), "num_samples": 20, "num_proposals": 64, "estimator": "importance"}),
             ("/sample", {"model": "smooth_2d", "inputs": rows(2, 2), "refine": {"steps": 3}}),
             ("/density", {"model": "T", "inputs": rows(6, 1), "grid": {"lower": -2, "upper": 2, "points": 100}}),
             ("/density", {"model": "V2", "inputs": rows(2, 16), "targets": [[[0.1, 0.2], [-1, 2]]] * 2, "num_samples": 64}),
             ("/refine", {"model": "relu_1d", "inputs": rows(3, 3), "steps": 20, "trajectory": True}),
             ("/refine", {"model": "V2", "inputs": rows(1, 16), "num_samples": 32, "steps": 2})]
    return [(path, {**body, "seed": 100 + i}) for i, (path, body) in enumerate(made)]


REQUESTS = requests()
CONNECTIONS, ROUNDS = 64, 12


def repository():
    made = Repository().golden("relu_1d").golden("smooth_2d").golden("mixture_only")
    for name in ("T", "V", "V2"):
        os.makedirs(folder := os.path.join(made.path, name, "1"))
        networks.write(name, os.path.join(folder, "model.safetensors"))
    return made


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
            which = (number * 5 + turn * 7) % len(REQUESTS)
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
    for workers, delay_us in ((1, 0), (4, 0), (4, 100000)):  # with a delay rows have company, however fast they are
        with serving(binary, repository(), "--workers", workers, "--max-queue-delay-microseconds", delay_us) as server:
            expected = alone(server)
            wrong = crowd(server, expected)
            assert not wrong, f"{workers} workers: {len(wrong)} answers differ: {wrong[:2]}"
            seen.append(expected)
            running = server
        batches, n_rows = batches_of(running.lines)
        print(f"      {workers} workers: {n_rows} rows in {batches} batches, {n_rows / batches:.1f} a batch")
        assert n_rows >= 4 * batches or delay_us == 0, f"only {n_rows} rows in {batches} batches"
    assert seen[0] == seen[1] == seen[2], "1 and 4 workers differ"


def test_the_seed_is_told_and_asks_for_the_same_answer_again(binary):
    with serving(binary, repository()) as server:
        request = {"model": "relu_1d", "inputs": [[0.1, 0.2, 0.3]]}
        _, first = server.predict(request)
        _, again = server.predict({**request, "seed": first["seed"]})
        _, other = server.predict(request)
        assert json.dumps(first) == json.dumps(again)
        assert first["seed"] != other["seed"], "two picked seeds are equal"


sys.exit(run_all(globals(), sys.argv[1]))
