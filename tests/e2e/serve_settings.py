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

from harness import (HOLD, HOLDABLE, LONG_WORK, ROW, SLOW, Hold, Repository, Wire, expect_error, hold_request, queue_rows,
                     request_bytes, run_all, serving, wait_until)


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
    with serving(binary, with_settings({"defaults": {"timeout_ms": 50}}, "smooth_2d"), *HOLDABLE) as server:
        expect_error(server.ask("POST", "/sample", HOLD), 504, "timeout", "within 50 ms")


def test_batches_are_as_large_as_the_model_says(binary):
    with serving(binary, with_settings({"max_batch_size": 4})) as server:
        assert server.predict({"inputs": [ROW] * 100, "seed": 1})[0] == 200
        # the last rows may be shared out between idle workers
        assert metric(server, 'ebm_batch_rows_bucket{le="4"}') == metric(server, "ebm_batch_rows_count") >= 25


def test_a_short_batch_waits_as_long_as_the_model_says(binary):
    settings = {"max_batch_size": 8, "max_queue_delay_microseconds": 1000000}
    with serving(binary, with_settings(settings)) as server:
        def took(n_rows):
            start = time.monotonic()
            assert server.predict({"inputs": [ROW] * n_rows, "seed": 1})[0] == 200
            return time.monotonic() - start

        def together():
            """Four that come within the delay make one batch."""
            before = metric(server, "ebm_batch_rows_count")
            threads = [threading.Thread(target=took, args=(2,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return metric(server, "ebm_batch_rows_count") == before + 1

        assert took(1) >= 1
        # on a busy machine one may take as long for another reason, or come late
        assert any(took(8) < 1 for _ in range(10)), "a full batch waits"
        assert any(together() for _ in range(10)), "never all four together"


def test_the_queue_is_as_long_as_the_model_says(binary):
    rows = {"inputs": [[0.1, 0.2]] * 20, "seed": 1}
    with serving(binary, with_settings({"max_queue_size": 1, "max_batch_size": 1}, "smooth_2d"), *HOLDABLE) as server:
        with Hold(server):  # one row is out, the other waits
            headers = expect_error(server.ask("POST", "/predict", rows), 429, "queue_full", "max_queue_size")
            assert int(headers["retry-after"]) >= 1
        assert wait_until(lambda: queue_rows(server) == 0)
        assert server.predict(rows)[0] == 200


def test_the_highest_priority_is_answered_first(binary):
    settings = {"priority_levels": 2, "max_batch_size": 1}
    rows = {"inputs": [[0.1, 0.2]] * 20, "seed": 1}
    with serving(binary, with_settings(settings, "smooth_2d"), *HOLDABLE) as server:
        with Wire(server) as low, Wire(server) as default, Wire(server) as high:
            with Hold(server):
                n = 1
                for link, request, n_rows in ((low, hold_request("smooth_2d", priority=2), 2),
                                              (default, hold_request("smooth_2d", priority=0), 2),
                                              (high, request_bytes(json.dumps({**rows, "priority": 1}).encode()), 20)):
                    n += n_rows
                    link.send(request)
                    assert wait_until(lambda n=n: queue_rows(server) == n)
            assert high.answer()[0] == 200, "those that came first would take minutes"
            assert wait_until(lambda: queue_rows(server) == 3), "one of their rows is out"
        for priority, words in ((3, ["priority", "expected 0 to 2"]), (17, ["priority"])):
            expect_error(server.ask("POST", "/predict", {**rows, "priority": priority}), 400, "invalid", *words)


def test_versions_are_those_of_the_policy(binary):
    for policy, expected in (("all", [1, 2, 3]), ({"latest": 2}, [2, 3]), ({"specific": [1, 3]}, [1, 3])):
        with serving(binary, with_settings({"version_policy": policy}, versions=(1, 2, 3))) as server:
            status, _, body = server.ask("GET", "/v2/models/relu_1d")
            assert status == 200 and json.loads(body)["versions"] == [str(version) for version in expected], body


def test_an_instance_leaves_workers_to_others(binary):
    """One model may have one batch out: the other model's request does not wait behind its many."""
    repository = with_settings({"instances": 1}, "smooth_2d").golden("relu_1d")
    with serving(binary, repository, "--workers", 2, *LONG_WORK) as server, Hold(server):
        status, answer = server.predict({"model": "relu_1d", "inputs": [ROW] * 40, "seed": 1})
        assert status == 200, answer
        assert queue_rows(server) == 1, "it came while the other was busy"


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
