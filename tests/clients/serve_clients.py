#!/usr/bin/env python3
"""serve_clients.py SERVER EBM-CLIENT EXAMPLE - a real server: what the clients say is what it answered, number by number."""
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from harness import Repository, run_all, serving  # noqa: E402
from model_files import publish_bytes, reader_of_images  # noqa: E402
from serve_access import guarded  # noqa: E402

IMAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "images")

CLIENT, EXAMPLE = sys.argv[2], sys.argv[3]
X = {"relu_1d": 3, "smooth_2d": 2, "mixture_only": 4}


def run(server, *arguments, expect=0, stdin=None):
    result = subprocess.run([CLIENT, *map(str, arguments), "--server", f"http://127.0.0.1:{server.port}"], check=False,
                            capture_output=True, text=True, timeout=120, input=stdin)
    assert result.returncode == expect, (arguments, result)
    return result.stdout


def same(server, command, model, options, fields):
    """--format json and the body of POST are the same JSON, and the same bytes."""
    rows = [[0.25 * (i + j) for j in range(X[model])] for i in range(3)]
    inputs = [word for row in rows for word in ("--input", ",".join(map(str, row)))]
    out = run(server, command, "--model", model, *inputs, "--seed", 3, "--format", "json", *options)
    status, _, data = server.ask("POST", f"/{command}", {"model": model, "inputs": rows, "seed": 3, **fields})
    assert status == 200, data
    assert json.loads(out) == json.loads(data), (out[:400], data[:400])
    assert out == data.decode(), "the same numbers, but not the same bytes"


def test_answers_equal_those_of_http(binary):
    repository = Repository()
    for model in X:
        repository.golden(model)
    with serving(binary, repository) as server:
        for model in X:
            same(server, "predict", model, (), {})
            same(server, "predict", model, ("--quantiles", "0.1,0.9", "--interval-level", 0.75, "--outputs",
                                            "mean,variance,median,log_normalizer", "--num-samples", 64, "--id", "é\"\\"),
                 {"quantiles": [0.1, 0.9], "interval": {"level": 0.75}, "num_samples": 64, "id": "é\"\\",
                  "outputs": ["mean", "variance", "median", "log_normalizer"]})
            same(server, "predict", model, ("--estimator", "mixture"), {"estimator": "mixture"})
            same(server, "sample", model, ("--num-samples", 20, "--num-proposals", 64),
                 {"num_samples": 20, "num_proposals": 64})
        same(server, "predict", "relu_1d", ("--estimator", "importance", "--num-samples", 64),
             {"estimator": "importance", "num_samples": 64})
        same(server, "predict", "relu_1d", ("--interval-kind", "highest_density", "--cdf", "1,2.5", "--crps-at", "3",
                                            "--outputs", "mean,covariance,mode,entropy"),
             {"interval": {"kind": "highest_density"}, "cdf": [1, 2.5], "crps_at": [3],
              "outputs": ["mean", "covariance", "mode", "entropy"]})
        same(server, "predict", "smooth_2d", ("--outputs", "covariance,mode,entropy"),
             {"outputs": ["covariance", "mode", "entropy"]})
        same(server, "sample", "smooth_2d", ("--resample", "false", "--num-proposals", 8),
             {"resample": False, "num_proposals": 8})
        same(server, "density", "relu_1d", ("--grid", "-1:2.5:9"), {"grid": {"lower": -1, "upper": 2.5, "points": 9}})
        same(server, "density", "smooth_2d", ("--targets", "0,1;2,3"), {"targets": [[[0, 1], [2, 3]]] * 3})
        same(server, "density", "relu_1d", ("--outputs", "log_prob", "--num-samples", 1, "--targets", "1.5"),
             {"outputs": ["log_prob"], "num_samples": 1, "targets": [[[1.5]]] * 3})
        same(server, "refine", "relu_1d", ("--steps", 20, "--trajectory"), {"steps": 20, "trajectory": True})
        same(server, "refine", "smooth_2d", ("--initial", "0,1;2,3", "--step-length", "0.1,0.2"),
             {"initial": [[[0, 1], [2, 3]]] * 3, "step_length": [0.1, 0.2]})
        same(server, "sample", "smooth_2d", ("--steps", 4, "--num-samples", 8), {"num_samples": 8, "refine": {"steps": 4}})


def test_images(binary):
    repository = Repository()
    publish_bytes(repository, "images", reader_of_images())
    with serving(binary, repository) as server:
        path = os.path.join(IMAGES, "rgb.png")
        with open(path, "rb") as file:
            status, _, data = server.ask("POST", "/predict?seed=3&outputs=mean,mode", file.read(), {"Content-Type": "image/png"})
        assert status == 200, data
        out = run(server, "predict", "--image", path, "--seed", 3, "--outputs", "mean,mode", "--format", "json")
        assert out == data.decode(), (out, data)
        assert "row 0, highest p(y)" in run(server, "density", "--image", path, "--plot")
        run(server, "predict", "--image", __file__, expect=2)


def test_keys(binary):
    with guarded(binary) as (server, keys):
        words = [CLIENT, "predict", "--input", "0.1,0.2,-0.3", "--server", f"http://127.0.0.1:{server.port}"]
        for key, status, said in ((keys.of["infer"], 0, "mean"), (keys.of["admin"], 2, "role"), ("", 2, "expected a key"),
                                  ("a\r\nX: y", 1, "api_key"), ("x" * 257, 1, "api_key")):
            done = subprocess.run(words, env={**os.environ, "EBM_API_KEY": key}, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == status and said in done.stdout + done.stderr, (key[:5], done)


def test_blocks_of_a_csv(binary):
    with serving(binary, Repository().golden("relu_1d")) as server, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.csv")
        rows = [[i / 50, 1 - i / 50, 0.5] for i in range(100)]
        with open(path, "w", encoding="utf-8") as file:
            file.write("a,b,c\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))
        out = run(server, "predict", "--data", path, "--block-rows", 40, "--seed", 11, "--format", "json")
        expected = []
        for k in range(3):
            _, _, data = server.ask("POST", "/predict", {"inputs": rows[40 * k:40 * k + 40], "seed": 11 + k})
            expected += json.loads(data)["predictions"]
        assert json.loads(out)["predictions"] == expected
        lines = run(server, "predict", "--data", path, "--format", "csv").splitlines()
        assert len(lines) == 101 and lines[0] == "row,mean,std,reliable,reason", lines[0]


def test_models_health_refusals_and_the_example(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        assert json.loads(run(server, "models", "--format", "json"))["models"] == [
            {"name": "relu_1d", "version": 1, "available": True}]
        about = json.loads(run(server, "models", "--model", "relu_1d", "--format", "json"))
        assert about["n_inputs"] == 3 and about["n_targets"] == 1, about
        assert json.loads(run(server, "health", "--format", "json")) == {"live": True, "ready": True}
        run(server, "predict", "--input", "1", expect=2)
        run(server, "predict", "--input", "1,2,3", "--model", "none", expect=2)
        run(server, "models", "--model", "..", expect=2)
        assert run(server, "density", "--input", "1,2,3", "--plot").count("\n") == 11
        url = f"http://127.0.0.1:{server.port}"
        result = subprocess.run([EXAMPLE, url, "1", "2", "3"], check=True, capture_output=True, text=True, timeout=60)
        assert "relu_1d, version 1" in result.stdout and "50 %" in result.stdout, result
        assert subprocess.run([EXAMPLE, url, "1"], check=False, capture_output=True, timeout=60).returncode == 1


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
