#!/usr/bin/env python3
"""Where the server's options come from, what --check-config and --print-config say, docs/OPTIONS.md, several versions of a
model at once. serve_options.py SERVER ROOT"""
import json
import os
import signal
import subprocess
import sys
import tempfile

from harness import Repository, expect_error, run_all, serving, wait_until

ROOT = sys.argv[2]
ROW = [0.1, 0.2, 0.3]


def run(binary, *words, **environment):
    return subprocess.run([binary, *map(str, words)], capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, **environment})


def test_print_config_shows_what_is_in_force(binary):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "server.json")
        with open(path, "w", encoding="ascii") as file:
            json.dump({"model_repository": "models", "port": 1, "workers": 1, "timeout_ms": 1000}, file)
        done = run(binary, "--config", path, "--port", 3, "--print-config", EBM_SERVER_PORT="2", EBM_SERVER_WORKERS="2")
        assert done.returncode == 0, done.stderr
        values = json.loads(done.stdout)
        assert (values["port"], values["workers"], values["timeout_ms"], values["max_batch_size"]) == (3, 2, 1000, 64), values
        for line in ("port = 3  (flag)", "workers = 2  (environment)", "timeout_ms = 1000  (file)"):
            assert line in done.stderr, done.stderr
        with open(path, "w", encoding="ascii") as file:
            file.write(done.stdout)
        again = run(binary, "--print-config", EBM_SERVER_CONFIG=path)
        assert again.stdout == done.stdout, again.stdout + again.stderr


def test_mistakes_name_their_place(binary):
    done = run(binary, "--model-repository", "m", EBM_SERVER_PORT="80x")
    assert done.returncode == 2 and "EBM_SERVER_PORT: expected a whole number from 0 to 65535, got '80x'" in done.stderr, done.stderr
    done = run(binary, "--model-repository", "m", "--max-batchsize", "3")
    assert done.returncode == 2 and "did you mean 'max-batch-size'" in done.stderr, done.stderr


def test_check_config_loads_every_model(binary):
    repository = Repository().golden("relu_1d")
    try:
        done = run(binary, "--model-repository", repository.path, "--check-config", "--log-level", "error")
        assert done.returncode == 0 and "all is well" in done.stderr, done.stderr
        assert "model loaded: model=relu_1d version=1" in done.stderr, done.stderr
        done = run(binary, "--model-repository", repository.path, "--check-config", "--host", "somewhere")
        assert done.returncode == 1 and "--host: 'somewhere' is not a numeric address" in done.stderr, done.stderr
        for flags in (("--print-config", "--check-config"), ("--check-config", "--print-config")):
            done = run(binary, "--model-repository", repository.path, *flags)
            assert done.returncode == 0 and "all is well" in done.stderr, done.stderr
            assert json.loads(done.stdout)["model_repository"] == repository.path, done.stdout
            done = run(binary, *flags)
            assert done.returncode == 2 and "--model-repository: missing" in done.stderr, done.stderr
        folder = os.path.join(repository.path, "broken", "1")
        os.makedirs(folder)
        with open(os.path.join(folder, "model.safetensors"), "wb") as file:
            file.write(b"no model")
        done = run(binary, "--model-repository", repository.path, "--check-config")
        assert done.returncode == 1 and "broken" in done.stderr.splitlines()[-1], done.stderr
    finally:
        repository.remove()


def test_the_page_of_options_is_what_the_server_says(binary):
    with open(os.path.join(ROOT, "docs", "OPTIONS.md"), encoding="utf-8") as file:
        assert file.read() == run(binary, "--help-markdown").stdout, "ebm-server --help-markdown >docs/OPTIONS.md"


def test_versions_have_addresses(binary):
    repository = Repository().golden("relu_1d", "m", 1).golden("relu_1d", "m", 2).golden("smooth_2d", "m", 10)
    with serving(binary, repository, "--versions", 2) as server:
        status, answer = server.predict({"model": "m", "version": 2, "inputs": [ROW], "seed": 1})
        assert status == 200 and answer["version"] == 2, answer
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW]}), 400, "invalid", "the inputs of model 'm'")
        expect_error(server.ask("POST", "/predict", {"version": 1, "inputs": [ROW]}), 404, "not_found",
                     "model 'm' has no version 1 here, it has: 10, 2")
        about = json.loads(server.ask("GET", "/v2/models/m")[2])
        assert about["versions"] == ["2", "10"], about
        assert json.loads(server.ask("GET", "/v2/models/m/versions/2")[2])["inputs"][0]["shape"] == [-1, 3]
        assert json.loads(server.ask("GET", "/v2/models/m/ready")[2]) == {"name": "m", "version": "10", "ready": True}
        assert server.ask("GET", "/v2/models/m/versions/2/ready")[0] == 200
        for path in ("/v2/models/m/versions/1", "/v2/models/m/versions/x", "/v2/models/m/versions/", "/v2/models/n/ready"):
            expect_error(server.ask("GET", path), 404, "not_found")


def test_the_description_claims_no_size_that_a_version_has_not(binary):
    def rows(server):
        return json.loads(server.ask("GET", "/openapi.json")[2])["components"]["schemas"]["PredictRequest"]["properties"]["inputs"]

    repository = Repository().golden("relu_1d", "m", 1).golden("smooth_2d", "m", 2)
    with serving(binary, repository) as server:
        assert rows(server)["items"]["minItems"] == 2, rows(server)
    repository = Repository().golden("relu_1d", "m", 1).golden("smooth_2d", "m", 2)
    with serving(binary, repository, "--versions", 0) as server:
        assert '"minItems": 2' not in json.dumps(rows(server)), rows(server)


def test_no_model_is_ready_in_a_server_that_stops(binary):
    with serving(binary, Repository().golden("relu_1d"), "--pre-stop-ms", 600000) as server:
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: server.ask("GET", "/readyz")[0] == 503)
        for path in ("/v2/models/relu_1d/ready", "/v2/models/relu_1d/versions/1/ready"):
            expect_error(server.ask("GET", path), 503, "not_ready")
        assert server.ask("GET", "/v2/models/relu_1d")[0] == 200 and server.predict({"inputs": [ROW]})[0] == 200


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
