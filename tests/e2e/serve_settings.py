#!/usr/bin/env python3
"""serving.json: batches, delay, queue, priorities, instances, defaults and versions of one model are as its file says; a file
that is wrong is told by file, key, what stood there, what was expected. serve_settings.py SERVER"""
import json
import os
import re
import subprocess
import sys
import threading
import time

from harness import SLOW, Repository, expect_error, run_all, serving, wait_until

ROW = [0.1, 0.2, 0.3]  # of relu_1d
LONG = {"model": "relu_1d", "inputs": [ROW] * 8, "estimator": "importance", "num_samples": 65536, "seed": 1}


def with_settings(settings, case="relu_1d", versions=(1,)):
    repository = Repository()
    for version in versions:
        repository.golden(case, version=version)
    with open(os.path.join(repository.path, case, "serving.json"), "w", encoding="ascii") as file:
        file.write(settings if isinstance(settings, str) else json.dumps(settings))
    return repository


def metric(server, name):
    text = server.ask("GET", "/metrics")[2].decode()
    return float(re.search("^" + re.escape(name) + r" (\S+)$", text, re.M).group(1))


def busy(server, n_rows=4000):
    """One request that keeps the only worker busy for a while."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.predict({**LONG, "inputs": [ROW] * n_rows})))
    thread.start()
    assert wait_until(lambda: metric(server, "ebm_queue_rows") > 1), "its body is one, until it is read"
    return thread, answers


def test_check_config_reads_them(binary):
    cases = [({}, 0, "all is well"), ({"max_batch_size": 65}, 1, "serving.json: max_batch_size: got 65, expected a whole number from 1"),
             ({"max_batch_sice": 6}, 1, "did you mean 'max_batch_size'?"), ("{", 1, "serving.json"),
             ({"defaults": {"num_samples": 0}}, 1, "serving.json: defaults.num_samples")]
    for settings, expected, fragment in cases:
        repository = with_settings(settings)
        repository.golden("smooth_2d")
        done = subprocess.run([binary, "--model-repository", repository.path, "--check-config"], capture_output=True, text=True,
                              timeout=60 * SLOW, check=False)
        repository.remove()
        assert done.returncode == expected and fragment in done.stderr, (settings, done.returncode, done.stderr)


def test_defaults_hold_where_a_request_says_nothing(binary):
    settings = {"defaults": {"estimator": "importance", "num_samples": 256, "num_proposals": 512, "timeout_ms": 20000 * SLOW}}
    with serving(binary, with_settings(settings), "--timeout-ms", 30000 * SLOW) as server:
        def diagnostics(path="/predict", **fields):
            status, _, body = server.ask("POST", path, {"inputs": [ROW], "seed": 1, **fields})
            assert status == 200, body
            return json.loads(body)["predictions"][0]["diagnostics"]
        assert diagnostics()["estimator"] == "importance" and diagnostics()["num_samples"] == 256
        assert diagnostics(estimator="auto")["estimator"] == "exact"
        assert diagnostics(num_samples=64)["num_samples"] == 64
        assert diagnostics("/sample")["num_samples"] == 512
        status, _, body = server.ask("POST", "/v2/models/relu_1d/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": ROW}], "outputs": [{"name": "ess"}]})
        assert status == 200 and json.loads(body)["outputs"][0]["data"][0] < 256, body


def test_a_default_timeout_ends_a_request(binary):
    with serving(binary, with_settings({"defaults": {"timeout_ms": 50}}), "--workers", 1) as server:
        start = time.monotonic()
        expect_error(server.ask("POST", "/predict", {**LONG, "inputs": [ROW] * 4000}), 504, "timeout", "within 50 ms")
        assert time.monotonic() - start < 5 * SLOW


def test_batches_are_as_large_as_the_model_says(binary):
    with serving(binary, with_settings({"max_batch_size": 4})) as server:
        assert server.predict({"inputs": [ROW] * 100, "seed": 1})[0] == 200
        # the last rows may be shared out between idle workers
        assert metric(server, 'ebm_batch_rows_bucket{le="4"}') == metric(server, "ebm_batch_rows_count") >= 25


def test_a_short_batch_waits_as_long_as_the_model_says(binary):
    settings = {"max_batch_size": 8, "max_queue_delay_microseconds": 400000}
    with serving(binary, with_settings(settings)) as server:
        def took(n_rows):
            start = time.monotonic()
            assert server.predict({"inputs": [ROW] * n_rows, "seed": 1})[0] == 200
            return time.monotonic() - start
        assert took(1) >= 0.4
        assert SLOW > 1 or took(8) < 0.35, "full"
        threads = [threading.Thread(target=took, args=(2,)) for _ in range(4)]
        before = metric(server, "ebm_batch_rows_count")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert SLOW > 1 or metric(server, "ebm_batch_rows_count") == before + 1, "all four together"


def test_the_queue_is_as_long_as_the_model_says(binary):
    with serving(binary, with_settings({"max_queue_size": 1, "max_batch_size": 1}), "--workers", 1) as server:
        thread, answers = busy(server, 3000 // SLOW ** 2)  # one row is out, the others wait
        headers = expect_error(server.ask("POST", "/predict", {**LONG, "inputs": [ROW]}), 429, "queue_full", "max_queue_size")
        assert int(headers["retry-after"]) >= 1
        thread.join()
        assert answers[0][0] == 200 and server.predict({"inputs": [ROW]})[0] == 200


def test_the_highest_priority_is_answered_first(binary):
    settings = {"priority_levels": 2, "max_batch_size": 1}
    with serving(binary, with_settings(settings), "--workers", 1) as server:
        done = []

        def ask(priority):
            status, _ = server.predict({"inputs": [ROW] * 3, "estimator": "importance", "num_samples": 65536, "priority": priority})
            assert status == 200
            done.append(priority)

        thread, answers = busy(server, 3000 // SLOW ** 2)
        threads = [threading.Thread(target=ask, args=(priority,)) for priority in (2, 0)]
        for other in threads:
            other.start()
        assert wait_until(lambda: metric(server, "ebm_http_requests_in_flight") >= 4 or answers)
        ask(1)
        assert done == [1] and not answers, "before those that came first, the one under way too"
        for other in [*threads, thread]:
            other.join()
        assert answers[0][0] == 200 and sorted(done) == [0, 1, 2], (answers, done)
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW], "priority": 3}), 400, "invalid", "priority", "expected 0 to 2")
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW], "priority": 17}), 400, "invalid", "priority")


def test_versions_are_those_of_the_policy(binary):
    for policy, expected in (("all", [1, 2, 3]), ({"latest": 2}, [2, 3]), ({"specific": [1, 3]}, [1, 3])):
        with serving(binary, with_settings({"version_policy": policy}, versions=(1, 2, 3))) as server:
            status, _, body = server.ask("GET", "/v2/models/relu_1d")
            assert status == 200 and json.loads(body)["versions"] == [str(version) for version in expected], body


def test_an_instance_leaves_workers_to_others(binary):
    """One model may have one batch out: the other model's request does not wait behind its many."""
    repository = with_settings({"instances": 1, "max_batch_size": 8}).golden("smooth_2d")
    with serving(binary, repository, "--workers", 2) as server:
        thread, answers = busy(server, 3000 // SLOW ** 2)
        status, answer = server.predict({"model": "smooth_2d", "inputs": [[0.1, 0.2]], "num_samples": 16, "seed": 1})
        assert status == 200, answer
        assert not answers, "it came while the other was busy"
        thread.join()
        assert answers[0][0] == 200


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
