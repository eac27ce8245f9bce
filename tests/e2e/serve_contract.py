#!/usr/bin/env python3
"""What the server promises on the wire: answers as documented, refusals with a code, limits, deadlines, clients that leave,
stopping. serve_contract.py SERVER"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from harness import (HOLD, HOLDABLE, LOOPS, ROW, Hold, Repository, Server, expect_error, queue_rows, raw, request_bytes,
                     run_all, serving, wait_until)


def one():
    return Repository().golden("relu_1d")


# ---- answers ----


def test_an_answer_has_the_documented_shape(binary):
    with serving(binary, one()) as server:
        outputs = ["mean", "std", "variance", "median", "quantiles", "log_normalizer"]
        status, answer = server.predict({"model": "relu_1d", "version": 1, "inputs": [ROW, ROW], "outputs": outputs,
                                         "quantiles": [0.1, 0.9], "num_samples": 500, "seed": 9,
                                         "estimator": "importance", "id": "g\u00fc\"\n"})
        assert status == 200, answer
        assert list(answer) == ["model", "version", "id", "seed", "predictions"], list(answer)
        assert (answer["model"], answer["version"], answer["id"], answer["seed"]) == ("relu_1d", 1, "g\u00fc\"\n", 9)
        first, second = answer["predictions"]
        assert list(first) == outputs + ["diagnostics"], list(first)
        assert abs(first["std"][0] ** 2 - first["variance"][0]) < 1e-5 * first["variance"][0]
        assert [q["probability"] for q in first["quantiles"]] == [0.1, 0.9]
        assert first["quantiles"][0]["value"][0] <= first["median"][0] <= first["quantiles"][1]["value"][0]
        about = first["diagnostics"]
        assert set(about) == {"estimator", "num_samples", "ess", "ess_ratio", "max_weight", "mcse_mean", "pareto_k",
                              "proper", "reliable", "reason"}
        assert about["estimator"] == "importance" and about["num_samples"] == 512  # a power of two of Sobol points
        assert abs(about["ess_ratio"] - about["ess"] / 512) < 1e-6
        assert first != second, "rows share their draws"


def test_mixture_says_that_it_ignored_the_samples(binary):
    with serving(binary, Repository().golden("mixture_only")) as server:
        _, answer = server.predict({"inputs": [[1, 2, 3, 4]], "num_samples": 10})
        about = answer["predictions"][0]["diagnostics"]
        assert about == {"estimator": "mixture", "num_samples_ignored": True, "reliable": True, "reason": None}, about
        _, answer = server.predict({"inputs": [[1, 2, 3, 4]]})
        assert "num_samples_ignored" not in answer["predictions"][0]["diagnostics"]
        expect_error(server.ask("POST", "/predict", {"inputs": [[1, 2, 3, 4]], "estimator": "importance"}), 400, "invalid",
                     "estimator:", "no energy net")


SCALAR = {"outputs": ["mean", "std", "variance", "median", "covariance", "mode", "entropy", "log_normalizer"],
          "quantiles": [0.05, 0.95], "cdf": [[-2, 3, 9], [0, 5, 20]], "crps_at": [4.5]}


def test_a_scalar_target_is_integrated(binary):
    with serving(binary, one()) as server:
        rows = {}
        for words in ({}, {"estimator": "quadrature"}):
            status, answer = server.predict({"inputs": [ROW, ROW], **SCALAR, **words, "seed": 1})
            assert status == 200, answer
            rows[words.get("estimator", "auto")] = answer["predictions"]
        about = rows["auto"][0]["diagnostics"]
        assert set(about) == {"estimator", "pieces", "support", "proper", "reliable", "reason"}, about
        assert about["estimator"] in ("exact", "quadrature") and about["proper"] and about["reliable"], about
        for one_row, other in zip(rows["auto"], rows["quadrature"]):
            std = one_row["std"][0]
            for name in ("mean", "std", "median", "mode"):
                assert abs(one_row[name][0] - other[name][0]) < 1e-4 * std, (name, one_row[name], other[name])
            assert abs(one_row["covariance"][0][0] / other["covariance"][0][0] - 1) < 1e-4
            for name in ("entropy", "log_normalizer"):
                assert abs(one_row[name] - other[name]) < 1e-5, (name, one_row[name], other[name])
            for a, b in zip(one_row["cdf"], other["cdf"]):
                assert abs(a - b) < 1e-5, (one_row["cdf"], other["cdf"])
            assert abs(one_row["crps"][0] - other["crps"][0]) < 1e-5 * std
        assert len(rows["auto"][0]["cdf"]) == 3 and rows["auto"][0]["cdf"] != rows["auto"][1]["cdf"], "a list for each row"


def test_highest_density_intervals_have_their_mass(binary):
    with serving(binary, one()) as server:
        for words in ({}, {"estimator": "quadrature"}, {"estimator": "importance", "num_samples": 65536}, {"estimator": "mixture"}):
            body = {"inputs": [ROW], "interval": {"kind": "highest_density", "level": 0.8}, "seed": 2, **words}
            _, answer = server.predict(body)
            interval = answer["predictions"][0]["interval"]
            assert (interval["kind"], interval["level"]) == ("highest_density", 0.8)
            ends = [end for one_of in interval["intervals"] for end in (one_of["lower"][0], one_of["upper"][0])]
            assert ends == sorted(ends) and len(ends) >= 2, ends
            _, answer = server.predict({"inputs": [ROW], "cdf": ends, "seed": 2, **words})
            cdf = answer["predictions"][0]["cdf"]
            mass = sum(b - a for a, b in zip(cdf[::2], cdf[1::2]))
            assert abs(mass - 0.8) < (0.01 if words.get("estimator") == "importance" else 1e-3), (words, mass, ends)


def test_samples_without_a_proposal(binary):
    with serving(binary, Repository().golden("no_proposal")) as server:
        X = json.loads(server.ask("GET", "/v2/models/no_proposal")[2])["inputs"][0]["shape"][1]
        body = {"inputs": [[0.5] * X], "seed": 4}
        status, _, data = server.ask("POST", "/sample", {**body, "num_samples": 4000, "num_proposals": 10})
        assert status == 200, data
        row = json.loads(data)["predictions"][0]
        assert row["diagnostics"]["num_proposals_ignored"] is True, row["diagnostics"]
        values = sorted(sample[0] for sample in row["samples"])
        _, answer = server.predict({**body, "cdf": values[::400]})
        for i, below in enumerate(answer["predictions"][0]["cdf"]):
            assert abs(below - (400 * i + 1) / 4000) < 0.04, (i, below)  # Kolmogorov-Smirnov: 1 in 1e5
        status, _, data = server.ask("POST", "/density", {**body, "targets": [values[:3]]})
        assert status == 200 and "proposal_log_prob" not in json.loads(data)["predictions"][0], data


def test_bodies_read_by_workers_give_the_same_answers(binary):
    with serving(binary, one()) as server:
        small = {"inputs": [ROW] * 40, "num_samples": 64, "seed": 3}
        _, expected = server.predict(small)
        status, large = server.predict(json.dumps(small) + " " * 50000)  # above what the loop reads itself
        assert status == 200 and json.dumps(large) == json.dumps(expected)
        many = {"inputs": [ROW] * 1500, "num_samples": 64, "seed": 3}
        status, answer = server.predict(many)
        assert status == 200 and len(answer["predictions"]) == 1500
        assert answer["predictions"][:40] == expected["predictions"]
        expect_error(server.ask("POST", "/predict", json.dumps({"inputs": [ROW] * 1400 + [[1]]})), 400, "invalid",
                     "inputs[1400]: expected 3 numbers")
        expect_error(server.ask("POST", "/predict", {**many, "model": "nobody"}), 404, "not_found", "no model 'nobody'")


def test_probes_and_metadata(binary):
    repository = one().golden("smooth_2d", version=2).golden("smooth_2d", version=10)
    with serving(binary, repository) as server:
        for path in ("/healthz", "/livez", "/readyz"):
            assert server.ask("GET", path)[0] == 200
            assert server.ask("HEAD", path)[0] == 200
        status, _, body = server.ask("GET", "/v2/models/smooth_2d")
        about = json.loads(body)
        assert status == 200 and about["versions"] == ["10"] and about["platform"] == "ebm_safetensors", about
        assert about["inputs"][0]["shape"] == [-1, 2] or about["inputs"][0]["shape"][0] == -1
        assert [output["name"] for output in about["outputs"]][:2] == ["mean", "std"]
        listed = json.loads(server.ask("GET", "/")[2])["models"]
        assert [(m["name"], m["version"]) for m in listed] == [("relu_1d", 1), ("smooth_2d", 10)], listed
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW]}), 400, "invalid", "more than one model")
        expect_error(server.ask("POST", "/predict", {"model": "smooth_2d", "version": 2, "inputs": [[1, 2]]}), 404,
                     "not_found", "has no version 2 here, it has: 10")


def test_request_ids_come_back_clean(binary):
    with serving(binary, one()) as server:
        _, headers, _ = server.ask("GET", "/healthz", headers={"X-Request-Id": "abc-1.2_3"})
        assert headers["x-request-id"] == "abc-1.2_3"
        _, headers, _ = server.ask("GET", "/healthz", headers={"X-Request-Id": "a b\"<\\" + "x" * 500})
        assert headers["x-request-id"] == ("a_b___" + "x" * 500)[:128], headers
        first = server.ask("GET", "/healthz")[1]["x-request-id"]
        assert first != server.ask("GET", "/healthz")[1]["x-request-id"] and first
        assert wait_until(lambda: any("id=abc-1.2_3" in line for line in server.lines)), server.lines


def refine(server, **body):
    status, _, data = server.ask("POST", "/refine", body)
    assert status == 200, data
    return json.loads(data)


def test_an_ascent_ends_higher_than_everything_around(binary):
    with serving(binary, one()) as server:
        answer = refine(server, inputs=[ROW, ROW], steps=300, step_length=0.3, trajectory=True, seed=4, id="a")
        assert list(answer) == ["model", "version", "id", "seed", "predictions"], list(answer)
        first, second = answer["predictions"]
        assert list(first) == ["mode", "unnormalized_log_prob", "converged", "steps", "trajectory"], first
        assert first["converged"] and first["steps"] < 300
        assert abs(first["mode"][0] - second["mode"][0]) < 0.02, "two rows with the same input"
        assert len(first["trajectory"]) == first["steps"] + 1 and first["trajectory"][-1] == first["mode"]
        around = [first["mode"][0] + 0.001 * i for i in range(-20, 21)]
        status, _, data = server.ask("POST", "/density", {"inputs": [ROW], "targets": [around + first["mode"]]})
        f = json.loads(data)["predictions"][0]["unnormalized_log_prob"]
        assert abs(f[-1] - first["unnormalized_log_prob"]) < 1e-5
        assert max(f) < f[-1] + 0.01, (max(f), f[-1])
        status, _, data = server.ask("POST", "/density", {"inputs": [ROW], "targets": [[y[0] for y in first["trajectory"]]]})
        f = json.loads(data)["predictions"][0]["unnormalized_log_prob"]
        assert all(b >= a - 1e-6 for a, b in zip(f, f[1:])), f


def test_an_ascent_starts_where_it_is_told(binary):
    with serving(binary, Repository().golden("smooth_2d")) as server:
        body = {"inputs": [[0.3, -0.8], [1, 1]], "initial": [[[1, 2]], [[0, 0]]], "steps": 3, "step_length": [0.1, 0.2]}
        answer = refine(server, **body, trajectory=True)
        ways = [p["trajectory"] for p in answer["predictions"]]
        assert ways[0][0] == [1, 2] and ways[1][0] == [0, 0], ways
        assert [p["mode"] for p in refine(server, **body)["predictions"]] == [w[-1] for w in ways]
        alone = refine(server, inputs=[[1, 1]], initial=[[[0, 0]]], steps=3, step_length=[0.1, 0.2])
        assert alone["predictions"][0] == {k: v for k, v in answer["predictions"][1].items() if k != "trajectory"}


def test_what_an_ascent_cannot_do_is_refused(binary):
    with serving(binary, one(), "--max-request-numbers", 100000) as server:
        for body, words in (({"initial": [[[1, 2]]]}, ["initial[0][0]:", "expected a list of 1"]),
                            ({"step_length": [1, 2]}, ["step_length:", "expected one number"]),
                            ({"initial": [[1], [2]]}, ["initial:", "expected 1 rows"]),
                            ({"steps": 1000, "starts": 128}, ["steps: at most 100000"]), ({"steps": 1001}, ["steps:", "from 1 to 1000"]),
                            ({"quantiles": [0.5]}, ["quantiles:", "unknown field"])):
            expect_error(server.ask("POST", "/refine", dict(body, inputs=[ROW])), 400, "invalid", *words)
    with serving(binary, Repository().golden("no_proposal")) as server:
        expect_error(server.ask("POST", "/refine", {"inputs": [[1]]}), 400, "invalid", "initial:", "no proposal to draw")
        assert refine(server, inputs=[[1]], initial=[[[0.5]]])["predictions"][0]["steps"] > 0
    with serving(binary, Repository().golden("mixture_only")) as server:
        expect_error(server.ask("POST", "/refine", {"inputs": [[1, 2, 3, 4]]}), 400, "invalid", "no energy net")


def test_samples_move_by_langevin(binary):
    with serving(binary, one()) as server:
        def sample(**body):
            status, _, data = server.ask("POST", "/sample", dict(body, inputs=[ROW], num_samples=2000, seed=8, estimator="importance"))
            assert status == 200, data
            return json.loads(data)["predictions"][0]
        still, moved = sample(), sample(refine={"steps": 20, "step_length": 0.5})
        assert len(moved["samples"]) == 2000 and "acceptance_rate" not in still["diagnostics"]
        assert 0.3 < moved["diagnostics"]["acceptance_rate"] < 1, moved["diagnostics"]
        assert len({s[0] for s in moved["samples"]}) > 1.5 * len({s[0] for s in still["samples"]}), "duplicates part"
        assert moved == sample(refine={"method": "langevin", "steps": 20, "step_length": [0.5]}), "the same bytes"
        for extra, words in (({"resample": False}, "weights do not belong"), ({"estimator": "mixture"}, "leave out")):
            expect_error(server.ask("POST", "/sample", dict(extra, inputs=[ROW], refine={})), 400, "invalid", "refine:", words)


# ---- refusals ----


def test_what_a_model_cannot_answer_is_refused_with_a_sentence(binary):
    repository = one().golden("smooth_2d").golden("mixture_only").golden("no_proposal")
    refused = [
        ("smooth_2d", {"inputs": [[1, 2]], "cdf": [1]}, "cdf:", "target of one number"),
        ("smooth_2d", {"inputs": [[1, 2]], "crps_at": [1]}, "crps_at:", "target of one number"),
        ("smooth_2d", {"inputs": [[1, 2]], "interval": {"kind": "highest_density"}}, "interval.kind:", "target of one number"),
        ("smooth_2d", {"inputs": [[1, 2]], "estimator": "exact"}, "estimator:", "use 'importance'"),
        ("smooth_2d", {"inputs": [[1, 2]], "estimator": "quadrature"}, "estimator:", "use 'importance'"),
        ("mixture_only", {"inputs": [[1, 2, 3, 4]], "estimator": "quadrature"}, "estimator:", "ask for 'mixture' or 'auto'"),
        ("mixture_only", {"inputs": [[1, 2, 3, 4]], "outputs": ["entropy"]}, "outputs:", "entropy of a mixture"),
        ("no_proposal", {"inputs": [[1, 2]], "estimator": "importance"}, "estimator:", "no proposal to draw from"),
        ("no_proposal", {"inputs": [[1, 2]], "estimator": "mixture"}, "estimator:", "this model has none"),
        ("relu_1d", {"inputs": [ROW], "outputs": ["cdf"]}, "cdf: missing"),
        ("relu_1d", {"inputs": [ROW, ROW], "cdf": [[1], [2], [3]]}, "cdf:", "2 lists, one for each row"),
    ]
    with serving(binary, repository) as server:
        X = {m: json.loads(server.ask("GET", f"/v2/models/{m}")[2])["inputs"][0]["shape"][1] for m, *_ in refused}
        for model, body, *words in refused:
            body["inputs"] = [(row * X[model])[:X[model]] for row in body["inputs"]]
            expect_error(server.ask("POST", "/predict", dict(body, model=model)), 400, "invalid", *words)


def test_paths_methods_and_types(binary):
    with serving(binary, one()) as server:
        for path in ("/nothing", "/predict/", "/v2/models/", "/v2/models/a/b", "/v2/models/nobody", "/%00", "/healthz%00x", "/..%2f"):
            expect_error(server.ask("GET", path), 404, "not_found")
        assert expect_error(server.ask("GET", "/predict"), 405, "method_not_allowed")["allow"] == "POST"
        assert expect_error(server.ask("DELETE", "/predict"), 405, "method_not_allowed")["allow"] == "POST"
        assert expect_error(server.ask("POST", "/healthz", "x"), 405, "method_not_allowed")["allow"] == "GET, HEAD"
        body = json.dumps({"inputs": [ROW]})
        for kind in ("application/json", "application/json; charset=utf-8", "APPLICATION/JSON",
                     "application/x-www-form-urlencoded"):
            assert server.ask("POST", "/predict", body, {"Content-Type": kind})[0] == 200, kind
        assert raw(server, request_bytes(body.encode(), "Connection: close")).startswith(b"HTTP/1.1 200"), "no type"
        for kind in ("image/gif", "text/plain", "multipart/form-data; boundary=x", "application/jsonx", "application/x-npyz"):
            expect_error(server.ask("POST", "/predict", body, {"Content-Type": kind}), 415, "unsupported_type")
        expect_error(server.ask("POST", "/predict", body, {"Content-Encoding": "br"}), 415, "unsupported_type")
        for lengths in ("Content-Length: 3", "Transfer-Encoding: chunked"):
            answer = raw(server, request_bytes(body.encode(), lengths))
            assert answer.startswith(b"HTTP/1.1 400") and b"Connection: close" in answer and answer.count(b"HTTP/1.1") == 1, answer


def test_bodies_that_are_too_large(binary):
    with serving(binary, one(), "--max-body-bytes", 10000) as server:
        expect_error(server.ask("POST", "/predict", b"x" * 10001), 413, "too_large", "larger than 10000 bytes")
        expect_error(server.ask("POST", "/predict", b"x" * 1000000), 413, "too_large")
        expect_error(server.ask("POST", "/nothing", b"x" * 1000000), 404, "not_found")
        assert server.ask("POST", "/predict", b" " * 9000 + b'{"inputs":[[1,2,3]]}')[0] == 200

        def chunked(size):  # no Content-Length
            return b"%x\r\n" % size + b"x" * size + b"\r\n"

        head = request_bytes(b"", "Transfer-Encoding: chunked", "Connection: close", length=False)
        answer = raw(server, head + chunked(9000) * 3 + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413") and b"too_large" in answer, answer[:200]
        answer = raw(server, head + chunked(100) + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
        # announced: answered before the body comes
        answer = raw(server, request_bytes(b"", length=10 ** 9))
        assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
        answer = raw(server, request_bytes(b"", "Expect: 100-continue", length=20000))
        assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
        # endless chunks: the connection ends, and the server's memory does not grow with them
        before = server.rss_kib()
        raw(server, head + chunked(100000) * 50)
        assert server.rss_kib() - before < 4096, (before, server.rss_kib())
        assert server.predict({"inputs": [ROW]})[0] == 200


def test_answers_that_would_be_too_large(binary):
    with serving(binary, one(), "--max-response-bytes", 100000) as server:
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW] * 4000}), 400, "invalid", "the answer may take")
        assert server.predict({"inputs": [ROW] * 50})[0] == 200


# ---- time and load ----


def asking(server, *bodies):
    """Asks for each in a thread of its own. -> (threads, list of their results, in the order in which they come)"""
    results = []
    threads = [threading.Thread(target=lambda body=body: results.append(server.ask("POST", "/predict", body))) for body in bodies]
    for thread in threads:
        thread.start()
    return threads, results


def test_a_full_queue_is_refused_at_once(binary):
    rows = {"model": "relu_1d", "inputs": [ROW] * 64, "seed": 1}
    with serving(binary, one().golden("smooth_2d"), *HOLDABLE, "--max-queue-rows", 65, "--max-batch-size", 8) as server:
        with Hold(server):
            threads, results = asking(server, rows)
            assert wait_until(lambda: queue_rows(server) == 65)
            for _ in range(11):
                refused = server.ask("POST", "/predict", rows)
                assert int(expect_error(refused, 429, "queue_full", "no room for 64 more rows")["retry-after"]) >= 1
            assert queue_rows(server) == 65 and not results, results
        threads[0].join()
        assert [status for status, _, _ in results] == [200], results
        assert server.ask("POST", "/predict", rows)[0] == 200
        expect_error(server.ask("POST", "/predict", {"inputs": [ROW] * 66}), 400, "invalid", "1 to 65 rows")


def test_deadlines_while_queued_and_while_computing(binary):
    rows = {"model": "relu_1d", "inputs": [ROW] * 64, "seed": 1}
    with serving(binary, one().golden("smooth_2d"), *HOLDABLE) as server:
        with Hold(server):
            expect_error(server.ask("POST", "/predict", {**rows, "timeout_ms": 100}), 504, "timeout", "within 100 ms")
            assert queue_rows(server) == 1, "it left the queue"
        assert wait_until(lambda: queue_rows(server) == 0)
        expect_error(server.ask("POST", "/sample", {**HOLD, "model": "smooth_2d", "timeout_ms": 300}), 504, "timeout", "within 300 ms")
        assert server.ask("POST", "/predict", rows)[0] == 200, "the abandoned rows would take minutes"


def test_clients_that_leave(binary):
    with serving(binary, one(), "--workers", 1) as server:
        slow = json.dumps({"inputs": [ROW] * 64, "estimator": "importance", "num_samples": 65536, "seed": 1}).encode()
        for body in (request_bytes(slow), request_bytes(slow)[:-10], request_bytes(slow)[:20], b"", b"\x16\x03\x01\x00",
                     request_bytes(b'{"inputs":[[1,2,3]]}') * 5):
            for linger in (False, True):
                link = socket.create_connection(("127.0.0.1", server.port))
                if linger:  # a reset instead of a polite end
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                link.sendall(body)
                time.sleep(0.02)  # it may have begun, or not: both are fine
                link.close()
        assert server.predict({"inputs": [ROW]})[0] == 200


# ---- starting and stopping ----


def test_what_was_accepted_is_answered_before_the_end(binary):
    rows = {"model": "relu_1d", "inputs": [ROW] * 20, "estimator": "importance", "seed": 1}
    for number in (signal.SIGTERM, signal.SIGINT):
        repository = one().golden("smooth_2d")
        server = Server(binary, repository, *HOLDABLE)
        try:
            with Hold(server):
                threads, results = asking(server, *[rows] * 6)
                assert wait_until(lambda: queue_rows(server) == 121)
                server.process.send_signal(number)
                assert wait_until(lambda: any("signal received" in line for line in server.lines))
            status = server.ended()
            for thread in threads:
                thread.join()
        finally:
            server.kill()
            repository.remove()
        assert status == 0, f"exit status {status}"
        assert [result[0] for result in results] == [200] * 6, [result[0] for result in results]
        assert all(result[1].get("connection") == "close" for result in results), [result[1] for result in results]
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=2).close()
            raise AssertionError("still listening")
        except ConnectionRefusedError:
            pass
        logged = [line for line in server.lines if "info: request " in line]
        assert sum("path=/predict status=200" in line and "sent=yes" in line for line in logged) == 6, logged
        assert f"stopped: requests={len(logged)} " in server.lines[-1], server.lines[-3:]


def test_a_stop_ends_with_its_last_deadline(binary):
    repository = Repository().golden("smooth_2d")
    server = Server(binary, repository, *HOLDABLE)
    try:
        answers = []
        held = {**HOLD, "timeout_ms": 3000}
        asking_it = threading.Thread(target=lambda: answers.append(server.ask("POST", "/sample", held)[0]))
        asking_it.start()
        assert wait_until(lambda: answers or queue_rows(server) == 1)
        status = server.stop()
        asking_it.join()
        assert status == 0 and answers == [504], (status, answers)
    finally:
        server.kill()
        repository.remove()


def test_no_answer_is_lost_when_stopped_under_load(binary):
    repository = one()
    server = Server(binary, repository)
    counts = {"answered": 0}
    lock = threading.Lock()

    def client():
        connection = server.connect()
        try:
            while True:
                connection.request("POST", "/predict", json.dumps({"inputs": [ROW], "num_samples": 256}))
                response = connection.getresponse()
                ok = response.status == 200
                response.read()
                with lock:
                    counts["answered"] += ok
        except OSError:
            pass  # refused or closed: never accepted
        except Exception:  # pylint: disable=broad-except
            pass  # closed without an answer: the log below tells whether it was accepted

    threads = [threading.Thread(target=client) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: counts["answered"] >= 500)
    status = server.stop()
    for thread in threads:
        thread.join()
    repository.remove()
    logged = sum("path=/predict status=200" in line and "sent=yes" in line for line in server.lines)
    unsent = [line for line in server.lines if "path=/predict" in line and "sent=no" in line and "status=0" not in line]
    assert status == 0 and not unsent, (status, unsent[:3])
    assert logged == counts["answered"] > 0, f"{logged} logged, {counts['answered']} answered"


def run_failing(binary, *options):
    done = subprocess.run([binary, *map(str, options)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_errors_at_start_read_well(binary):
    repository = one()
    try:
        assert run_failing(binary)[0] == 2 and "--model-repository: missing" in run_failing(binary)[1]
        assert run_failing(binary, "--port", "x")[0] == 2
        status, text = run_failing(binary, "--model-repository", "/nowhere/at/all", "--port", 0)
        assert status == 1 and "cannot read the folder '/nowhere/at/all': No such file" in text, text
        empty = Repository()
        status, text = run_failing(binary, "--model-repository", empty.path, "--port", 0)
        empty.remove()
        assert status == 1 and "no model could be loaded" in text, text
        status, text = run_failing(binary, "--model-repository", repository.path, "--port", 0, "--host", "somewhere")
        assert status == 1 and "--host: 'somewhere' is not a numeric address" in text, text
        server = Server(binary, repository)
        status, text = run_failing(binary, "--model-repository", repository.path, "--port", server.port)
        server.stop()
        assert status == 1 and "Address already in use" in text, text
        shown = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
        assert "--max-queue-rows N" in shown and "[4096; 1 to 1048576]" in shown, shown
        assert re.match(r"ebm-server \d+\.\d+\.\d+(\+[0-9a-g.]+(-dirty)?)?\n$",
                        subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout)
    finally:
        repository.remove()


def test_memory_does_not_grow_with_requests(binary):
    if os.environ.get("ASAN_OPTIONS") or os.environ.get("TSAN_OPTIONS"):
        return  # their allocators keep what was freed
    with serving(binary, one()) as server:
        def load(n):
            connection = server.connect()
            for i in range(n):
                body = {"inputs": [ROW] * (1 + i % 40), "num_samples": 16} if i % 3 else b"{broken"
                server.ask("POST", "/predict", body, connection=connection)
            connection.close()

        load(3000)
        before = server.rss_kib()
        load(6000)
        after = server.rss_kib()
        print(f"      resident: {before} KiB, then {after} KiB")
        assert before < (30 + 12 * LOOPS) * 1024 and after - before < 1024, (before, after)


def test_access_log_lines(binary):
    with serving(binary, one()) as server:
        server.predict({"inputs": [ROW, ROW]})
        server.ask("GET", "/a%20b%0Aerror:%20forged")

        def lines():
            return [line for line in server.lines if "info: request " in line]

        assert wait_until(lambda: len(lines()) == 2), server.lines
        predicted, unknown = sorted(lines(), key=lambda line: "status=404" in line)  # two loops log in any order
        fields = dict(re.findall(r"(\w+)=(\S+)", predicted))
        assert (fields["method"], fields["path"], fields["status"], fields["model"], fields["rows"], fields["sent"]) == \
            ("POST", "/predict", "200", "relu_1d", "2", "yes"), fields
        assert int(fields["total_us"]) >= int(fields["compute_us"]) > 0 and int(fields["in"]) > 0, fields
        assert "path=/a?b?error:?forged status=404" in unknown, unknown


def test_access_log_as_json(binary):
    """Every line is an object, whatever it is told."""
    with serving(binary, one(), "--log-format", "json", "--log-level", "debug") as server:
        server.predict({"inputs": [ROW, ROW]})
        server.ask("GET", "/a%20b%0A%22%5C%FF", headers={"X-Request-Id": "mine"})
        server.ask("GET", "/livez", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

        def lines():
            return [line for line in map(json.loads, list(server.lines)) if line["message"] == "request"]

        assert wait_until(lambda: len(lines()) == 3), server.lines
        routes = ("/predict", None, "/livez")  # two loops log in any order
        first, second, third = sorted(lines(), key=lambda line: routes.index(line["route"]))
        assert (first["method"], first["route"], first["status"], first["model"], first["version"], first["rows"], first["sent"]) == \
            ("POST", "/predict", 200, "relu_1d", 1, 2, True), first
        assert first["total_seconds"] >= first["compute_seconds"] > 0 and first["bytes_in"] > 0 and first["trace_id"] is None, first
        assert second["path"] == '/a b\n"\\?' and second["route"] is None and second["request_id"] == "mine", second
        assert third["trace_id"] == TRACE and third["parent_span_id"] == "00f067aa0ba902b7", third
    assert all(json.loads(line)["level"] in ("info", "debug") for line in server.lines), server.lines
    assert {"listening and ready", "stopped"} <= {json.loads(line)["message"].split(":")[0] for line in server.lines}, server.lines


def test_signals_change_the_log_level(binary):
    with serving(binary, one(), "--log-level", "info") as server:
        def last_level():
            return [line.split()[-1] for line in server.lines if "log level: " in line][-1:]

        for number, level in ((signal.SIGUSR1, "debug"), (signal.SIGUSR1, "debug"), (signal.SIGUSR2, "info")):
            n = len(server.lines)
            server.process.send_signal(number)
            assert wait_until(lambda: len(server.lines) > n and any("log level: " in line for line in server.lines[n:])), server.lines
            assert last_level() == [level], server.lines
        assert server.predict({"inputs": [ROW]})[0] == 200


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_trace_goes_on(binary):
    with serving(binary, one()) as server:
        spans = set()
        for _ in range(3):
            _, headers, _ = server.ask("POST", "/predict", {"inputs": [ROW]}, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-03"})
            match = re.fullmatch(rf"00-{TRACE}-([0-9a-f]{{16}})-01", headers["traceparent"])
            assert match, headers
            spans.add(match.group(1))
        assert len(spans) == 3 and "00f067aa0ba902b7" not in spans, spans
        assert server.ask("GET", "/nothing", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"})[1]["traceparent"].endswith("-00")
        for bad in ("", "00", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{TRACE.upper()}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
            status, headers, _ = server.ask("GET", "/livez", headers={"traceparent": bad})
            assert status == 200 and "traceparent" not in headers, (bad, headers)
        assert "traceparent" not in server.ask("GET", "/livez")[1]
        twice = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n".encode() * 2
        answer = raw(server, b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + twice + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 200") and b"traceparent" not in answer, answer
        assert wait_until(lambda: any(f"trace={TRACE} " in line for line in server.lines)), server.lines


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
