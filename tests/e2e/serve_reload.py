#!/usr/bin/env python3
"""Models that come, change and go while the server answers: no request is refused, no answer mixes two versions, nothing
broken takes the place of something good, and what is out is freed. serve_reload.py SERVER [SECONDS of load a test, 10]"""
import contextlib
import http.client
import json
import os
import shutil
import socket
import sys
import threading
import time

from harness import HOLDABLE, SLOW, Hold, Repository, Server, expect_error, queue_rows, request_bytes, run_all, serving, wait_until
from model_files import shifted, wide

SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 10
ROWS = [[0.1 * i, 0.2, -0.3] for i in range(40)]
BODY = json.dumps({"model": "m", "inputs": ROWS, "estimator": "importance", "num_samples": 128, "seed": 1})


# ---- a repository and its server ----


def write(repository, version, data, model="m"):
    """As publish does: beside it, then renamed."""
    folder = os.path.join(repository.path, model, str(version))
    hidden = os.path.join(repository.path, model, f".{version}")
    os.makedirs(hidden)
    with open(os.path.join(hidden, "model.safetensors"), "wb") as file:
        file.write(data)
    os.rename(hidden, folder)
    return repository


def path_of(repository, version, model="m"):
    return os.path.join(repository.path, model, str(version), "model.safetensors")


def overwrite(path, data, pause=0.0):
    """In place, the second half later."""
    with open(path, "r+b", buffering=0) as file:
        file.write(data[:len(data) // 2])
        time.sleep(pause)
        file.write(data[len(data) // 2:])
        file.truncate()


def index(server, body=None):
    status, _, data = server.ask("POST", "/v2/repository/index", body)
    assert status == 200, data
    return {(row["name"], int(row["version"])): (row["state"], row["reason"]) for row in json.loads(data)}


def states(server):
    return {key: state for key, (state, _) in index(server).items()}


def order(server, what, model="m", body=None):
    return server.ask("POST", f"/v2/repository/models/{model}/{what}", body)


def load(server, model="m"):
    status, _, data = order(server, "load", model)
    assert status == 200 and data == b"", (status, data)


def metric(server, name):
    text = server.ask("GET", "/metrics")[2].decode()
    return [line for line in text.splitlines() if line.startswith(name)]


def means(answer):
    return [row["mean"][0] for row in answer["predictions"]]


def ask(server, version=None):
    body = {**json.loads(BODY), **({"version": version} if version else {})}
    status, answer = server.predict(body)
    assert status == 200, answer
    return answer


def expected_means(binary, data):
    with serving(binary, write(Repository(), 1, data)) as server:
        return means(ask(server))


# ---- load ----


class Load:
    """Threads that ask one thing over and over; each answer goes to `check`."""

    def __init__(self, server, check, n_threads=4):
        self.server, self.check, self.failures, self.n = server, check, [], 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(n_threads)]

    def _run(self):
        link = self.server.connect()
        n = 0
        while not self.stopping.is_set() and len(self.failures) < 5:
            try:
                link.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                response = link.getresponse()
                data = response.read()
                if response.status != 200:
                    self.failures.append((response.status, data[:300]))
                else:
                    self.check(json.loads(data))
                n += 1
            except Exception as error:  # pylint: disable=broad-except
                self.failures.append(repr(error))
                link = self.server.connect()
        self.n += n
        link.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60 * SLOW)
        assert not self.failures, self.failures


def same(got, expected):
    return len(got) == len(expected) and all(abs(a - b) < 1e-5 for a, b in zip(got, expected))


# ---- tests ----


def test_a_new_version_every_second_under_load(binary):
    base, seen = expected_means(binary, shifted("relu_1d", 0)), set()

    def check(answer):
        version = answer["version"]
        seen.add(version)
        assert same(means(answer), [mean + 10 * version for mean in base]), f"not all of version {version}: {means(answer)[:3]}"

    repository = write(Repository(), 1, shifted("relu_1d", 10))
    with serving(binary, repository, "--poll-seconds", 1, "--workers", 2) as server:
        rss, version = [], 1
        with Load(server, check) as crowd:
            end = time.monotonic() + SECONDS
            while (time.monotonic() < end or version < 5) and not crowd.failures:
                version += 1
                write(repository, version, shifted("relu_1d", 10 * version))
                if version > 4:
                    shutil.rmtree(os.path.join(repository.path, "m", str(version - 4)))
                rss.append(server.rss_kib())
                time.sleep(1)
                if version % 4 == 0:
                    assert wait_until(lambda version=version: version in seen or crowd.failures), (version, seen)
            assert wait_until(lambda: version in seen or crowd.failures), (version, seen)
        assert wait_until(lambda: states(server)[("m", version)] == "READY"
                          and list(states(server).values()).count("READY") == 1), states(server)
        assert SLOW > 1 or rss[-1] < rss[len(rss) // 2] + (8 << 10), rss
        print(f"      {crowd.n} answers, {len(seen)} versions, {rss[-1]} KiB resident")


def test_one_file_is_overwritten_in_place_under_load(binary):
    files = [shifted("relu_1d", 10.5), shifted("relu_1d", 20.5, 0.5)]
    assert len(files[0]) == len(files[1]), "or its size would tell"
    answers = [expected_means(binary, data) for data in files]
    seen = [0, 0]

    def check(answer):
        which = [same(means(answer), expected) for expected in answers]
        assert which.count(True) == 1, f"a mixture: {means(answer)[:3]}"
        seen[which.index(True)] += 1

    repository = write(Repository(), 1, files[0])
    with serving(binary, repository, "--poll-seconds", 1, "--model-control", "on", "--workers", 2) as server:
        with Load(server, check) as crowd:
            end, n = time.monotonic() + SECONDS, 0
            while (time.monotonic() < end or n < 4) and not crowd.failures:
                n += 1
                before = seen[n % 2]
                overwrite(path_of(repository, 1), files[n % 2], pause=0.3)
                if n % 3:
                    load(server)
                    assert same(means(ask(server)), answers[n % 2]), "asked after the load"
                    assert wait_until(lambda n=n, before=before: seen[n % 2] > before or crowd.failures), seen
                time.sleep(0.7)
        assert min(seen) > 0, seen
        rows = sum(float(line.split()[-1]) for line in metric(server, "ebm_model_rows_total{"))
        assert rows >= crowd.n * len(ROWS), (rows, crowd.n)  # counted through all of its files
        print(f"      {crowd.n} answers, {n} times overwritten, seen {seen}")


def test_a_broken_version_changes_nothing_and_says_why(binary):
    good = shifted("relu_1d", 10)
    repository = write(Repository(), 1, good)
    with serving(binary, repository, "--poll-seconds", 1, "--model-control", "on") as server:
        expected = means(ask(server))
        write(repository, 2, good[:-100])
        expect_error(order(server, "load"), 400, "load_failed", "version 2 was refused", "do not lie within")
        assert index(server)[("m", 1)] == ("READY", "") and same(means(ask(server)), expected)
        assert index(server)[("m", 2)][0] == "UNAVAILABLE" and "do not lie within" in index(server)[("m", 2)][1]
        assert metric(server, 'ebm_model_file_refused{model="m",version="2",status="DAMAGED"} 1'), metric(server, "ebm_model_file")
        assert wait_until(lambda: any("model not available: model=m version=2" in line for line in server.lines))
        expect_error(order(server, "load"), 400, "load_failed", "version 2")  # a second time too
        os.remove(path_of(repository, 2))
        overwrite(path_of(repository, 1), b"x" * len(good))
        assert wait_until(lambda: index(server)[("m", 1)][1] != ""), index(server)
        state, reason = index(server)[("m", 1)]
        assert state == "READY" and reason, (state, reason)
        assert same(means(ask(server)), expected), "its memory is not its file"
        refused = metric(server, 'ebm_model_events_total{event="refused"}')
        overwrite(path_of(repository, 1), good)
        assert wait_until(lambda: index(server)[("m", 1)] == ("READY", "")), index(server)
        assert metric(server, 'ebm_model_events_total{event="refused"}') == refused, "refused once for each file"
        assert same(means(ask(server)), expected)


def test_versions_go_and_the_one_before_comes_back(binary):
    repository = write(write(Repository(), 1, shifted("relu_1d", 10)), 2, shifted("relu_1d", 20))
    with serving(binary, repository, "--poll-seconds", 1) as server:
        assert ask(server)["version"] == 2
        shutil.rmtree(os.path.join(repository.path, "m", "2"))
        assert wait_until(lambda: ask(server)["version"] == 1)
        write(repository, 1, shifted("relu_1d", 30), model="other")
        assert wait_until(lambda: states(server).get(("other", 1)) == "READY")
        shutil.rmtree(os.path.join(repository.path, "other"))
        assert wait_until(lambda: ("other", 1) not in states(server)), states(server)
        shutil.rmtree(os.path.join(repository.path, "m"))  # the last one: more likely the disk is gone
        assert wait_until(lambda: any("repository not read" in line for line in server.lines))
        assert ask(server)["version"] == 1 and server.ask("GET", "/readyz")[0] == 200


def test_a_server_may_begin_with_nothing(binary):
    repository = Repository()
    with serving(binary, repository, "--poll-seconds", 1) as server:
        expect_error(server.ask("GET", "/readyz"), 503, "not_ready")
        expect_error(server.ask("POST", "/predict", BODY), 404, "not_found", "there is no model 'm' here, there is: none")
        assert index(server) == {}
        write(repository, 7, shifted("relu_1d", 10))
        assert wait_until(lambda: server.ask("GET", "/readyz")[0] == 200)
        assert ask(server)["version"] == 7


def test_orders_that_are_refused(binary):
    repository = write(Repository(), 1, shifted("relu_1d", 10))
    with serving(binary, repository) as server:
        for what in ("load", "unload"):
            expect_error(order(server, what), 403, "forbidden", "--model-control on")
        assert states(server) == {("m", 1): "READY"}
        expect_error(server.ask("GET", "/v2/repository/index"), 405, "method_not_allowed")
        expect_error(server.ask("POST", "/v2/repository/index", "{"), 400, "invalid")
        expect_error(server.ask("POST", "/v2/repository/index", {"ready": 1}), 400, "invalid", "ready")
    repository = write(Repository(), 1, shifted("relu_1d", 10))
    with serving(binary, repository, "--model-control", "on") as server:
        for model in ("other", "..", ".", "%2e%2e", "m%2f1", "m%00", "a" * 128):
            assert order(server, "load", model)[0] == 404, model
            assert order(server, "unload", model)[0] == 404, model
        expect_error(order(server, "load", body={"parameters": {"config": "{}"}}), 400, "invalid", "config")
        expect_error(order(server, "load", body={"parameters": {"file:1/model": "AA=="}}), 400, "invalid", "unknown field")
        assert order(server, "load", body={})[0] == 200
        assert order(server, "unload", body={"parameters": {"unload_dependents": False}})[0] == 200
        assert index(server) == {("m", 1): ("UNAVAILABLE", "unloaded")}
        assert index(server, {"ready": True}) == {}
        assert order(server, "unload")[0] == 200
        load(server)
        assert ask(server)["version"] == 1


def test_what_was_unloaded_stays_out_whatever_polls_see(binary):
    repository = write(Repository(), 1, shifted("relu_1d", 10))
    with serving(binary, repository, "--model-control", "on", "--poll-seconds", 1) as server:
        assert order(server, "unload")[0] == 200
        write(repository, 2, shifted("relu_1d", 20))
        time.sleep(2.5)
        expect_error(server.ask("POST", "/predict", BODY), 404, "not_found")
        load(server)
        assert ask(server)["version"] == 2


def test_a_model_is_freed_when_its_last_request_is_over(binary):
    repository = write(write(Repository(), 1, shifted("relu_1d", 10)), 1, wide(2500), model="wide")
    with serving(binary, repository.golden("smooth_2d"), "--model-control", "on", *HOLDABLE) as server:
        with_both = server.rss_kib()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(server.ask("POST", "/predict", BODY)[0]))
        with Hold(server):
            thread.start()
            assert wait_until(lambda: queue_rows(server) == 1 + len(ROWS))
            assert order(server, "unload")[0] == 200
            assert states(server)[("m", 1)] == "UNLOADING" and not answers, states(server)
        thread.join()
        assert answers == [200], answers
        assert wait_until(lambda: states(server)[("m", 1)] == "UNAVAILABLE")
        assert order(server, "unload", "wide")[0] == 200
        assert SLOW > 1 or wait_until(lambda: server.rss_kib() < with_both - (24 << 10)), (with_both, server.rss_kib())
        print(f"      {with_both} KiB resident, then {server.rss_kib()}")


def test_a_client_that_leaves_and_a_server_that_stops_while_it_loads(binary):
    repository = write(write(Repository(), 1, shifted("relu_1d", 10)), 1, wide(4000), model="wide")
    with serving(binary, repository, "--model-control", "on") as server:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as link:
                link.sendall(request_bytes(b"", first="POST /v2/repository/models/wide/unload HTTP/1.1", host="localhost"))
            with socket.create_connection(("127.0.0.1", server.port)) as link:
                link.sendall(request_bytes(b"", first="POST /v2/repository/models/wide/load HTTP/1.1", host="localhost"))
        load(server, "wide")
        assert order(server, "unload", "wide")[0] == 200
        result = []

        def load_or_stop():
            with contextlib.suppress(http.client.HTTPException, OSError):
                result.append(order(server, "load", "wide"))

        thread = threading.Thread(target=load_or_stop)
        thread.start()
        time.sleep(0.02)
        assert server.stop() == 0
        thread.join(60 * SLOW)
        assert not result or result[0][0] in (200, 503), result


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
