#!/usr/bin/env python3
"""Which requests are let in, and for how long: a queue is bounded by what its rows cost, a refusal tells how long that is, a
deadline that cannot be kept is refused at once. serve_admission.py SERVER"""
import contextlib
import json
import sys
import threading

from harness import SLOW, Repository, expect_error, run_all, serving, wait_until

ROW = [0.1, 0.2, 0.3]  # of relu_1d
LONG = {"inputs": [ROW] * (600 // SLOW), "estimator": "importance", "num_samples": 65536, "seed": 1}


@contextlib.contextmanager
def busy(binary, *options):
    """A server whose only worker has much to do, for as long as the answer is awaited."""
    with serving(binary, Repository().golden("relu_1d"), "--workers", 1, "--max-batch-size", 4, *options) as server:
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.predict(LONG)))
        thread.start()
        assert wait_until(lambda: json.loads(server.ask("GET", "/stats")[2])["queue_rows"] > 1)
        yield server
        thread.join()
        assert answers[0][0] == 200, answers


def refused(result, *fragments):
    """-> milliseconds after which to try again"""
    headers = expect_error(result, 429, "queue_full", *fragments)
    retry_ms = json.loads(result[2])["retry_after_ms"]
    assert int(headers["retry-after"]) == max(1, -(-retry_ms // 1000)), (headers, retry_ms)
    return retry_ms


def test_a_queue_is_as_long_as_its_rows_take(binary):
    with busy(binary, "--max-queue-ms", 40) as server:
        ask = {**LONG, "inputs": [ROW]}
        assert refused(server.ask("POST", "/predict", ask), "--max-queue-ms") >= 40
        result = server.ask("POST", "/v2/models/relu_1d/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": ROW}],
            "parameters": {"estimator": "importance", "num_samples": 65536}})
        assert refused(result, "--max-queue-ms") >= 40


def test_the_refusal_of_too_many_rows_tells_how_long_too(binary):
    with busy(binary, "--max-queue-rows", len(LONG["inputs"])) as server:
        assert refused(server.ask("POST", "/predict", LONG), "no room for") >= 1


def test_a_deadline_without_hope_is_refused_at_once(binary):
    with busy(binary) as server:
        ask = {**LONG, "inputs": [ROW], "timeout_ms": 2}
        refused(server.ask("POST", "/predict", ask), "the time that is left")
        assert server.ask("POST", "/predict", {**ask, "estimator": "exact"})[0] in (200, 429), "the loop may answer it itself"


def test_one_deadline_in_microseconds_and_milliseconds(binary):
    with serving(binary, Repository().golden("relu_1d"), "--workers", 1) as server:
        n = len(LONG["inputs"])
        infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [n, 3], "data": ROW * n}]}
        draws = {"estimator": "importance", "num_samples": 65536}
        expect_error(server.ask("POST", "/predict", {**LONG, "timeout_ms": 60}), 504, "timeout", "within 60 ms")
        for timeout_us, told in ((60000, "within 60 ms"), (59001, "within 60 ms")):
            result = server.ask("POST", "/v2/models/relu_1d/infer", {**infer, "parameters": {**draws, "timeout": timeout_us}})
            expect_error(result, 504, "timeout", told)


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
