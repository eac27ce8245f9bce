#!/usr/bin/env python3
"""Which requests are let in, and for how long: a queue is bounded by what its rows cost, a refusal tells how long that is, a
deadline that cannot be kept is refused at once, and at one that is passed a partial answer is as good as its draws.
serve_admission.py SERVER"""
import contextlib
import json
import sys

from harness import HOLDABLE, ROW, SLOW, Hold, Repository, expect_error, run_all, serving

TWO = [0.1, 0.2]  # of smooth_2d
LONG = {"inputs": [TWO], "estimator": "importance", "num_samples": 65536, "seed": 1}
MANY = 4000  # rows of relu_1d by as many draws: seconds


@contextlib.contextmanager
def busy(binary, *options):
    """A server whose only worker is held, and one row of minutes waits for it."""
    with serving(binary, Repository().golden("smooth_2d"), *HOLDABLE, *options) as server, Hold(server):
        yield server


def refused(result, *fragments):
    """-> milliseconds after which to try again"""
    headers = expect_error(result, 429, "queue_full", *fragments)
    retry_ms = json.loads(result[2])["retry_after_ms"]
    assert int(headers["retry-after"]) == max(1, -(-retry_ms // 1000)), (headers, retry_ms)
    return retry_ms


def test_a_queue_is_as_long_as_its_rows_take(binary):
    with busy(binary, "--max-queue-ms", 40) as server:
        assert refused(server.ask("POST", "/predict", LONG), "--max-queue-ms") >= 40
        result = server.ask("POST", "/v2/models/smooth_2d/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": TWO}],
            "parameters": {"estimator": "importance", "num_samples": 65536}})
        assert refused(result, "--max-queue-ms") >= 40


def test_the_refusal_of_too_many_rows_tells_how_long_too(binary):
    with busy(binary, "--max-queue-rows", 10) as server:
        assert refused(server.ask("POST", "/predict", {**LONG, "inputs": [TWO] * 10}), "no room for 10 more rows") >= 1


def test_a_deadline_without_hope_is_refused_at_once(binary):
    with busy(binary) as server:
        ask = {**LONG, "timeout_ms": 1000}
        refused(server.ask("POST", "/predict", ask), "the time that is left")
        assert server.ask("POST", "/predict", {**ask, "estimator": "mixture"})[0] in (200, 429), "the loop may answer it itself"


def test_one_deadline_in_microseconds_and_milliseconds(binary):
    with serving(binary, Repository().golden("relu_1d"), "--workers", 1) as server:
        infer = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [MANY, 3], "data": ROW * MANY}]}
        draws = {"estimator": "importance", "num_samples": 65536}
        long = {"inputs": [ROW] * MANY, **draws, "timeout_ms": 60}
        expect_error(server.ask("POST", "/predict", long), 504, "timeout", "within 60 ms")
        for timeout_us, told in ((60000, "within 60 ms"), (59001, "within 60 ms")):
            result = server.ask("POST", "/v2/models/relu_1d/infer", {**infer, "parameters": {**draws, "timeout": timeout_us}})
            expect_error(result, 504, "timeout", told)


# ---- partial answers ----


def cut_short(server, ask):
    """An answer that its deadline ended: its rows. The deadline is moved until some but not all draws are there."""
    most = ask.get("max_samples", ask["num_samples"])
    timeout_ms = 8
    for _ in range(200):
        status, answer = server.predict({**ask, "partial": True, "timeout_ms": timeout_ms})
        assert status in (200, 504), answer
        if status == 200 and min(row["diagnostics"]["num_samples"] for row in answer["predictions"]) < most:
            return answer["predictions"]
        timeout_ms = max(1, timeout_ms // 2) if status == 200 else min(2048, timeout_ms * 2)
    raise AssertionError("never cut short")


def test_an_answer_cut_short_is_that_of_fewer_draws(binary):
    outputs = {"outputs": ["mean", "std", "quantiles", "log_normalizer"], "seed": 5, "estimator": "importance"}
    with serving(binary, Repository().golden("smooth_2d"), "--workers", 1, "--timeout-ms", 600000) as server:
        row = [0.1, 0.2]
        for fields in ({"num_samples": 65536}, {"num_samples": 65536, "draws": "independent"},
                       {"num_samples": 64, "target_ess": 65000, "max_samples": 65536}):
            ask = {"inputs": [row] * (40 // SLOW), **outputs, **fields}
            rows = cut_short(server, ask)
            for n in sorted({each["diagnostics"]["num_samples"] for each in rows})[:3]:
                again = {"inputs": ask["inputs"], **outputs, "num_samples": n, "draws": ask.get("draws", "sobol")}
                expected = server.predict(again)[1]["predictions"]
                for i, each in enumerate(rows):
                    assert each["diagnostics"]["num_samples"] != n or each == expected[i], (each, expected[i])


def test_a_whole_answer_is_the_same_whether_it_may_be_cut_short(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        for fields in ({"estimator": "importance"}, {}):
            ask = {"inputs": [ROW] * 3, "seed": 3, **fields}
            assert server.ask("POST", "/predict", ask)[2] == server.ask("POST", "/predict", {**ask, "partial": True})[2]
        for path in ("/sample", "/density"):
            expect_error(server.ask("POST", path, {"inputs": [ROW], "partial": True}), 400, "invalid", "partial: unknown")


def test_what_has_no_draws_at_its_deadline_has_no_answer(binary):
    repository = Repository().golden("relu_1d")
    with serving(binary, repository, "--max-queue-delay-microseconds", 1000000) as server:  # nothing begins before
        ask = {"inputs": [ROW], "estimator": "importance", "partial": True, "timeout_ms": 100}
        expect_error(server.ask("POST", "/predict", ask), 504, "timeout", "within 100 ms")


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
