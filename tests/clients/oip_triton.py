#!/usr/bin/env python3
"""Triton's own Python client, unchanged, asks a server: probes, descriptions, statistics, the index, infer with JSON and with binary
data. oip_triton.py SERVER; needs tritonclient[http]"""
import json
import os
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import Repository, run_all, serving, wait_until  # noqa: E402  pylint: disable=wrong-import-position

ROWS = np.array([[0.1, 0.2, 0.3], [1, 2, 3], [-1, 0.5, 2]], dtype=np.float32)


def client_of(server):
    return triton.InferenceServerClient(f"127.0.0.1:{server.port}")


def x_of(rows, binary=True, datatype="FP32"):
    tensor = triton.InferInput("x", list(rows.shape), datatype)
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return tensor


def wanted(*names, binary=True):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def refusal(call, *fragments):
    try:
        call()
    except InferenceServerException as exception:
        for fragment in fragments:
            assert fragment in str(exception), (fragment, exception)
    else:
        raise AssertionError("it was not refused")


def test_descriptions(binary):
    with serving(binary, Repository().golden("relu_1d").golden("periodic_2d", version=3)) as server:
        client = client_of(server)
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("relu_1d") and client.is_model_ready("periodic_2d", "3")
        assert not client.is_model_ready("nobody") and not client.is_model_ready("relu_1d", "2")
        about = client.get_server_metadata()
        assert about["name"] == "ebm-server" and "binary_tensor_data" in about["extensions"], about
        metadata, config = client.get_model_metadata("relu_1d"), client.get_model_config("relu_1d")
        assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}], metadata
        assert metadata["versions"] == ["1"]
        for ours, theirs in (("inputs", "input"), ("outputs", "output")):  # perf_analyzer wants the same names
            assert [t["name"] for t in metadata[ours]] == [t["name"] for t in config[theirs]], config
            for tensor, configured in zip(metadata[ours], config[theirs]):
                assert tensor["shape"] == [-1] + configured["dims"] and configured["data_type"] == "TYPE_" + tensor["datatype"]
        assert isinstance(config["max_batch_size"], int) and config["max_batch_size"] > 0
        assert not config["model_transaction_policy"]["decoupled"] and not config["response_cache"]["enable"]
        index = client.get_model_repository_index()
        assert [(m["name"], m["version"], m["state"]) for m in index] == [("periodic_2d", "3", "READY"), ("relu_1d", "1", "READY")]
        refusal(lambda: client.get_model_metadata("nobody"), "no model 'nobody'")
        refusal(lambda: client.get_model_config("relu_1d", "7"), "no version 7")


def test_json_and_binary_data_say_the_same(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        client = client_of(server)
        names = ("mean", "std", "quantiles", "median", "entropy", "log_normalizer", "reliable", "mode", "covariance")
        answers = [client.infer("relu_1d", [x_of(ROWS, sent)], outputs=wanted(*names, binary=got), parameters={"seed": 3})
                   for sent in (True, False) for got in (True, False)]
        for name in names:
            arrays = [answer.as_numpy(name) for answer in answers]
            assert all(np.array_equal(arrays[0], array) and arrays[0].dtype == array.dtype for array in arrays), (name, arrays)
        assert answers[0].as_numpy("mean").shape == (3, 1) and answers[0].as_numpy("quantiles").shape == (3, 3, 1)
        assert answers[0].as_numpy("reliable").dtype == bool and answers[0].as_numpy("entropy").shape == (3,)
        response = answers[0].get_response()
        assert (response["model_name"], response["model_version"], response["parameters"]) == ("relu_1d", "1", {"seed": 3})
        body = {"inputs": ROWS.astype(float).tolist(), "seed": 3, "outputs": ["mean", "quantiles"]}
        _, expected = server.predict(body)
        for i, row in enumerate(expected["predictions"]):
            assert np.float32(row["mean"][0]) == answers[0].as_numpy("mean")[i, 0]
            assert [np.float32(q["value"][0]) for q in row["quantiles"]] == answers[0].as_numpy("quantiles")[i, :, 0].tolist()


def test_without_outputs_all_that_are_described_come(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        client = client_of(server)
        answer = client.infer("relu_1d", [x_of(ROWS)], model_version="1", request_id="a1", timeout=5_000_000, priority=1)
        outputs = client.get_model_metadata("relu_1d")["outputs"]
        assert [o["name"] for o in answer.get_response()["outputs"]] == [o["name"] for o in outputs]
        assert answer.get_response()["id"] == "a1"
        for output in outputs:
            assert answer.as_numpy(output["name"]).shape == tuple([3] + output["shape"][1:])


def test_densities_and_distributions_at_targets(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        client = client_of(server)
        targets = np.linspace(-2, 9, 6, dtype=np.float64).reshape(1, 6, 1).repeat(3, axis=0)
        at = triton.InferInput("targets", [3, 6, 1], "FP64")
        at.set_data_from_numpy(targets)
        points = triton.InferInput("cdf", [6], "FP64")
        points.set_data_from_numpy(targets[0, :, 0])
        names = ("log_prob", "unnormalized_log_prob", "log_normalizer", "cdf", "mean")
        answer = client.infer("relu_1d", [x_of(ROWS), at, points], outputs=wanted(*names), parameters={"seed": 1})
        log_prob = answer.as_numpy("log_prob")
        assert log_prob.shape == (3, 6) and answer.as_numpy("cdf").shape == (3, 6)
        assert np.all(np.diff(answer.as_numpy("cdf"), axis=1) >= 0)
        gap = answer.as_numpy("unnormalized_log_prob") - answer.as_numpy("log_normalizer")[:, None] - log_prob
        assert np.max(np.abs(gap)) < 1e-4, gap
        body = {"inputs": ROWS.astype(float).tolist(), "targets": targets.tolist(), "seed": 1}
        density = json.loads(server.ask("POST", "/density", body)[2])["predictions"]
        assert np.array_equal(np.array([row["log_prob"] for row in density], np.float32), log_prob)


def test_samples_and_their_weights(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        client = client_of(server)
        options = {"seed": 4, "num_samples": 50}
        fair = client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("samples", "mean"), parameters=options)
        assert fair.as_numpy("samples").shape == (3, 50, 1)
        again = client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("samples"), parameters=options)
        assert np.array_equal(fair.as_numpy("samples"), again.as_numpy("samples")), "the same seed, other samples"
        weighted = client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("samples", "log_weights", "ess", "pareto_k"),
                                parameters={"seed": 4, "num_proposals": 256})
        log_weights = weighted.as_numpy("log_weights")
        assert weighted.as_numpy("samples").shape == (3, 256, 1) and log_weights.shape == (3, 256)
        assert np.allclose(np.exp(log_weights.astype(float)).sum(axis=1), 1, atol=1e-5)
        ess = 1 / np.exp(2 * log_weights.astype(float)).sum(axis=1)
        assert np.allclose(ess, weighted.as_numpy("ess"), rtol=1e-3), (ess, weighted.as_numpy("ess"))
        alone = client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("mean"), parameters={"seed": 4})
        assert np.array_equal(fair.as_numpy("mean"), alone.as_numpy("mean")), "another output changed the mean"
        body = {"inputs": ROWS.astype(float).tolist(), "seed": 4, "num_samples": 50}
        same = json.loads(server.ask("POST", "/sample", body)[2])["predictions"]
        assert np.array_equal(np.array([row["samples"] for row in same], np.float32), fair.as_numpy("samples"))


def test_whole_numbers_and_large_bodies(binary):
    with serving(binary, Repository().golden("relu_1d"), "--max-queue-rows", 4096) as server:
        client = client_of(server)
        whole = np.array([[1, 2, 3]])
        expected = client.infer("relu_1d", [x_of(whole.astype(np.float32))]).as_numpy("mean")
        for datatype, of in (("INT8", np.int8), ("UINT16", np.uint16), ("INT32", np.int32), ("INT64", np.int64), ("FP64", float)):
            for in_binary in (True, False):
                got = client.infer("relu_1d", [x_of(whole.astype(of), in_binary, datatype)]).as_numpy("mean")
                assert np.array_equal(got, expected), (datatype, got, expected)
        many = np.tile(ROWS, (1000, 1))
        answer = client.infer("relu_1d", [x_of(many)])  # 36 kB: read by a worker
        assert np.array_equal(answer.as_numpy("mean")[:3], client.infer("relu_1d", [x_of(ROWS)]).as_numpy("mean"))
        for algorithm in ("gzip", "deflate"):
            small = client.infer("relu_1d", [x_of(many)], request_compression_algorithm=algorithm)
            assert np.array_equal(small.as_numpy("mean"), answer.as_numpy("mean")), algorithm


def test_mistakes_are_told(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        client = client_of(server)
        refusal(lambda: client.infer("nobody", [x_of(ROWS)]), "no model 'nobody'")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS[:, :2].copy())]), "expected shape [rows,3]")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("men")), "unknown output 'men'")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS)], outputs=wanted("log_prob")), "missing 'targets'")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS * np.float32(np.inf))]), "finite")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS)], sequence_id=3), "sequence_id")
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS)], timeout=86_400_000_000), "timeout")


LEAVES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


def test_statistics(binary):
    with serving(binary, Repository().golden("relu_1d").golden("periodic_2d")) as server:
        client = client_of(server)
        for _ in range(5):
            client.infer("relu_1d", [x_of(ROWS)])
        refusal(lambda: client.infer("relu_1d", [x_of(ROWS[:, :2].copy())]))
        assert "statistics" in client.get_server_metadata()["extensions"]
        every = client.get_inference_statistics()["model_stats"]
        assert [stats["name"] for stats in every] == ["periodic_2d", "relu_1d"]
        wait_until(lambda: client.get_inference_statistics("relu_1d")["model_stats"][0]["inference_stats"]["fail"]["count"] == 1)
        (stats,) = client.get_inference_statistics("relu_1d", "1")["model_stats"]
        assert stats["inference_count"] == 15 and 1 <= stats["execution_count"] <= 15, stats
        assert stats["last_inference"] > 1_600_000_000_000
        for name in LEAVES:
            leaf = stats["inference_stats"][name]
            assert isinstance(leaf["count"], int) and isinstance(leaf["ns"], int), (name, leaf)
        counts = {name: stats["inference_stats"][name]["count"] for name in LEAVES}
        assert counts == {"success": 5, "fail": 1, "queue": 5, "compute_input": 5, "compute_infer": 5, "compute_output": 5,
                          "cache_hit": 0, "cache_miss": 0}, counts
        assert stats["inference_stats"]["success"]["ns"] >= stats["inference_stats"]["compute_infer"]["ns"] > 0
        assert sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"]) == 15
        assert sum(b["compute_infer"]["count"] for b in stats["batch_stats"]) == stats["execution_count"]


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
