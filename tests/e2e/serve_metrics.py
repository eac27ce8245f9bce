#!/usr/bin/env python3
"""GET /metrics: a format that a strict reader takes (and promtool, where it is at hand), counts that are right, nothing that
goes down, also while requests run; every metric of the dashboard is there. serve_metrics.py SERVER ROOT"""
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import prometheus_text
from harness import HOLDABLE, ROW, Hold, Repository, raw, run_all, serving, wait_until

ROOT = sys.argv[2]


def scrape(server):
    status, headers, body = server.ask("GET", "/metrics")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8", headers
    return prometheus_text.parse(body.decode())


def value(values, name, **labels):
    return values[(name, frozenset(labels.items()))]


def requests(values, route, status):
    return values.get(("ebm_http_requests_total", frozenset({"route": route, "status": str(status)}.items())), 0)


def until(server, condition):
    """A request is counted when it is over, a moment after its answer."""
    assert wait_until(lambda: condition(scrape(server)[0])), scrape(server)[0]
    return scrape(server)[0]


def test_a_server_that_was_never_asked(binary):
    with serving(binary, Repository().golden("relu_1d").golden("smooth_2d", version=3)) as server:
        values, types = scrape(server)
        assert value(values, "ebm_models_ready") == 2
        assert value(values, "ebm_model_rows_total", model="smooth_2d", version="3") == 0
        assert requests(values, "/predict", 200) == 0 and ("ebm_http_requests_total", frozenset(
            {("route", "/sample"), ("status", "504")})) in values, "a route's errors are there before the first one"
        assert value(values, "ebm_http_requests_in_flight") == 1, "this one"
        assert value(values, "ebm_queue_rows") == value(values, "ebm_http_in_flight_bytes") == 0
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        assert value(values, "ebm_build_info", version=version) == 1
        start = value(values, "process_start_time_seconds")
        assert abs(start - os.stat(f"/proc/{server.process.pid}").st_mtime) < 60, start
        assert abs(value(values, "process_resident_memory_bytes") / 1024 - server.rss_kib()) < 4096
        assert 5 < value(values, "process_open_fds") < 100 < value(values, "process_max_fds")
        assert types["ebm_http_request_duration_seconds"] == "histogram" and types["ebm_batch_rows"] == "histogram"
        status, headers, body = server.ask("HEAD", "/metrics")
        assert status == 200 and body == b"" and headers["content-type"].startswith("text/plain"), headers


def test_stats_tell_what_rows_cost_and_what_came_of_them(binary):
    with serving(binary, Repository().golden("relu_1d").golden("smooth_2d", version=3)) as server:
        status, headers, body = server.ask("GET", "/stats")
        assert status == 200 and headers["content-type"] == "application/json", headers
        stats = json.loads(body)
        by_name = {model["name"]: model for model in stats["models"]}
        assert stats["queue_rows"] == 0 and by_name["smooth_2d"]["version"] == 3, stats
        cost = by_name["relu_1d"]["cost"]
        assert set(cost) == {"exact", "quadrature", "importance", "mixture"}, cost
        assert all(0 < c["row_us"] < 1e5 and c["number_us"] >= 0 and c["factor"] == 1 for c in cost.values()), cost
        assert set(by_name["smooth_2d"]["cost"]) == {"importance", "mixture"}, by_name["smooth_2d"]["cost"]
        assert by_name["relu_1d"]["recent"] == {"requests": 0}, stats
        for rows in (1, 1, 40):
            assert server.predict({"model": "relu_1d", "inputs": [ROW] * rows, "seed": 1})[0] == 200
        assert server.predict({"model": "relu_1d", "inputs": [[1]]})[0] == 400

        def now():
            return json.loads(server.ask("GET", "/stats")[2])["models"][0]
        assert wait_until(lambda: now()["recent"]["requests"] == 3), now()
        model = now()
        assert model["rows"] == 42 and model["batches"] == sum(s["batches"] for s in model["batch_sizes"]), model
        assert 0 < model["recent"]["p50_us"] <= model["recent"]["p99_us"] <= model["recent"]["max_us"] < 1e7, model
        assert model["cost"]["exact"]["factor"] != 1, "learnt from batches"


def test_requests_are_counted_by_what_became_of_them(binary):
    with serving(binary, Repository().golden("relu_1d").golden("smooth_2d"), *HOLDABLE) as server:
        for _ in range(3):
            assert server.predict({"model": "relu_1d", "inputs": [ROW] * 5})[0] == 200
        assert server.ask("POST", "/sample", {"model": "relu_1d", "inputs": [ROW]})[0] == 200
        assert server.ask("POST", "/predict", {"model": "relu_1d", "inputs": [[1]]})[0] == 400
        assert server.ask("POST", "/predict", "no JSON")[0] == 400
        assert server.ask("POST", "/predict", {"inputs": [ROW], "model": "x"})[0] == 404
        assert server.ask("GET", "/predict")[0] == 405
        assert server.ask("GET", "/nothing/\"here\"\\")[0] == 404
        assert server.ask("GET", "/v2/models/relu_1d")[0] == 200
        with Hold(server):
            assert server.predict({"model": "relu_1d", "inputs": [ROW] * 64, "timeout_ms": 10})[0] == 504
        values = until(server, lambda v: requests(v, "/predict", 504) == 1 and requests(v, "/sample", 0) == 1)
        for route, status, n in (("/predict", 200, 3), ("/sample", 200, 1), ("/predict", 400, 2), ("/predict", 404, 1),
                                 ("/predict", 405, 1), ("other", 404, 1), ("/v2/models/*", 200, 1)):
            assert requests(values, route, status) == n, (route, status, requests(values, route, status))
        assert value(values, "ebm_http_request_duration_seconds_count", route="/predict") == 8
        assert 0 < value(values, "ebm_http_request_duration_seconds_sum", route="/predict") < 60
        assert value(values, "ebm_queue_duration_seconds_count") == 6, "four that were answered, one given up, one whose client left"
        assert value(values, "ebm_compute_duration_seconds_sum") > 0


def test_a_client_that_leaves_has_status_0(binary):
    with serving(binary, Repository().golden("smooth_2d"), *HOLDABLE) as server:
        with Hold(server):
            until(server, lambda v: value(v, "ebm_http_requests_in_flight") == 2)
        until(server, lambda v: requests(v, "/sample", 0) == 1 and value(v, "ebm_http_requests_in_flight") == 1)
        assert raw(server, b"no HTTP at all\r\n\r\n").startswith(b"HTTP/1.1 400"), "the library's own answer is not counted"
        assert sum(requests(scrape(server)[0], route, 400) for route in ("/predict", "other")) == 0


def test_rows_batches_and_reasons(binary):
    with serving(binary, Repository().golden("relu_1d").golden("mixture_only"), "--workers", 1, "--max-batch-size", 8) as server:
        status, answer = server.predict({"model": "relu_1d", "inputs": [ROW] * 20, "estimator": "importance", "num_samples": 2, "seed": 1})
        assert status == 200
        reasons = [p["diagnostics"]["reason"] for p in answer["predictions"]]
        assert server.predict({"model": "mixture_only", "inputs": [[1, 2, 3, 4]] * 3})[0] == 200
        values, _ = scrape(server)  # counted before the answer is written
        assert value(values, "ebm_model_rows_total", model="relu_1d", version="1") == 20
        assert value(values, "ebm_model_rows_total", model="mixture_only", version="1") == 3
        assert any(reasons), "the test wants some doubt"
        for reason in set(reasons) - {None}:
            got = value(values, "ebm_model_unreliable_rows_total", model="relu_1d", version="1", reason=reason)
            assert got == reasons.count(reason), (reason, got, reasons)
        batches = value(values, "ebm_batch_rows_count")  # dear rows make more of them
        assert value(values, "ebm_batch_rows_sum") == 23 and batches >= 4, batches
        assert value(values, "ebm_batch_rows_bucket", le="8") == batches > value(values, "ebm_batch_rows_bucket", le="2")


def test_distributions_of_each_model(binary):
    with serving(binary, Repository().golden("relu_1d").golden("smooth_2d"), "--workers", 1) as server:
        assert server.predict({"model": "relu_1d", "inputs": [ROW] * 3, "outputs": ["mean", "std"]})[0] == 200
        status, answer = server.predict({"model": "relu_1d", "inputs": [ROW] * 2, "outputs": ["mean"], "estimator": "importance",
                                         "num_samples": 256, "seed": 1})
        assert status == 200
        assert server.ask("POST", "/density", {"model": "relu_1d", "inputs": [ROW], "targets": [[0.1]]})[0] == 200
        labels = {"model": "relu_1d", "version": "1"}
        values = until(server, lambda v: v.get(("ebm_model_request_duration_seconds_count", frozenset(labels.items()))) == 3)
        for name in ("ebm_model_queue_duration_seconds", "ebm_model_compute_duration_seconds"):
            assert value(values, name + "_count", **labels) == 3, name
        assert value(values, "ebm_model_batch_rows_count", **labels) == 3 and value(values, "ebm_model_batch_rows_sum", **labels) == 6
        diagnostics = [p["diagnostics"] for p in answer["predictions"]]
        assert value(values, "ebm_model_ess_ratio_count", **labels) == 2, "exact draws nothing"
        assert abs(value(values, "ebm_model_ess_ratio_sum", **labels) - sum(d["ess_ratio"] for d in diagnostics)) < 1e-5, diagnostics
        known = [d["pareto_k"] for d in diagnostics if d["pareto_k"] is not None]
        assert values.get(("ebm_model_pareto_k_count", frozenset(labels.items())), 0) == len(known), diagnostics
        assert value(values, "ebm_model_relative_std_count", **labels) == 3, "of those that were asked for it"
        assert not [key for key in values if key[0].endswith("_count") and ("model", "smooth_2d") in key[1] and "nv_" not in key[0]], \
            "never asked"


def test_counters_of_triton(binary):
    with serving(binary, Repository().golden("relu_1d").golden("smooth_2d"), *HOLDABLE, "--triton-metrics", "on") as server:
        for _ in range(2):
            assert server.predict({"model": "relu_1d", "inputs": [ROW] * 5})[0] == 200
        assert server.ask("POST", "/v2/models/relu_1d/infer", {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": ROW}]})[0] == 200
        assert server.predict({"model": "relu_1d", "inputs": [[1]]})[0] == 400
        with Hold(server):
            assert server.predict({"model": "relu_1d", "inputs": [ROW] * 64, "timeout_ms": 10})[0] == 504
        labels = {"model": "relu_1d", "version": "1"}
        values = until(server, lambda v: value(v, "nv_inference_request_failure", reason="REJECTED", **labels) == 1)
        assert value(values, "nv_inference_request_failure", reason="OTHER", **labels) == 1
        assert value(values, "nv_inference_request_failure", reason="CANCELED", **labels) == 0
        assert value(values, "nv_inference_request_success", **labels) == 3
        assert value(values, "nv_inference_pending_request_count", **labels) == 0
        stats = json.loads(server.ask("GET", "/v2/models/relu_1d/stats")[2])["model_stats"][0]
        values = scrape(server)[0]
        assert value(values, "nv_inference_count", **labels) == stats["inference_count"] >= 11
        assert value(values, "nv_inference_exec_count", **labels) == stats["execution_count"] >= 3
        for part in ("queue", "compute_input", "compute_infer", "compute_output"):
            assert value(values, f"nv_inference_{part}_duration_us", **labels) == stats["inference_stats"][part]["ns"] / 1000, part
        assert value(values, "nv_inference_request_duration_us", **labels) == stats["inference_stats"]["success"]["ns"] / 1000


def test_nothing_goes_down_while_requests_run(binary):
    with serving(binary, Repository().golden("relu_1d"), "--workers", 2) as server:
        def ask():
            connection = server.connect()
            for i in range(40):
                server.predict({"inputs": [ROW] * (1 + i % 7), "estimator": "importance", "num_samples": 64}, connection)
            connection.close()
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        before, n = {}, 0
        while n < 5 or any(thread.is_alive() for thread in threads):
            now = prometheus_text.counters(*scrape(server))
            gone = [key for key in before if key not in now]
            lower = [key for key in before if key in now and now[key] < before[key]]
            assert not gone and not lower, (gone, lower)
            before, n = now, n + 1
        for thread in threads:
            thread.join()
        values = until(server, lambda v: requests(v, "/predict", 200) == 120)
        rows = 3 * sum(1 + i % 7 for i in range(40))
        assert value(values, "ebm_model_rows_total", model="relu_1d", version="1") == rows
        assert value(values, "ebm_batch_rows_sum") == rows
        assert value(values, "ebm_queue_duration_seconds_count") == 120


def test_before_models_are_loaded_and_while_it_stops(binary):
    with serving(binary, Repository().golden("relu_1d"), "--pre-stop-ms", 600000) as server:
        assert value(scrape(server)[0], "ebm_models_ready") == 1
        server.process.terminate()
        until(server, lambda v: value(v, "ebm_models_ready") == 0)


def judge(promtool, text):
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_promtool_has_nothing_to_say(binary):
    """But of Triton's names, which are as Triton has them."""
    promtool = shutil.which("promtool")
    if not promtool:
        print("no promtool at hand: left out")
        return
    with serving(binary, Repository().golden("relu_1d")) as server:
        server.predict({"inputs": [ROW], "estimator": "importance", "num_samples": 200})
        until(server, lambda v: requests(v, "/predict", 200) == 1)
        body = server.ask("GET", "/metrics")[2].decode()
        assert "ebm_model_ess_ratio_bucket" in body and "nv_" not in body and judge(promtool, body) == (0, []), judge(promtool, body)
    with serving(binary, Repository().golden("relu_1d"), "--triton-metrics", "on") as server:
        server.predict({"inputs": [ROW]})
        _, said = judge(promtool, server.ask("GET", "/metrics")[2].decode())
        known = r'nv_inference_\w+ (.*"_(total|count)" suffix|metric names should not contain abbreviated units)'
        assert all(re.fullmatch(known, line) for line in said), said


def queries(panel):
    yield from (target["expr"] for target in panel.get("targets", []))
    for inner in panel.get("panels", []):
        yield from queries(inner)


def alert_expressions():
    """The file's expressions, without a reader of YAML: one a line, or folded over those below."""
    with open(os.path.join(ROOT, "deploy/prometheus/alerts.yml"), encoding="utf-8") as file:
        text = file.read()
    found = re.findall(r"expr: (?:>\n)?(.*?)\n +for:", text, re.S)
    assert len(found) == text.count("- alert:"), found
    return found


def test_dashboard_and_alerts_ask_for_what_there_is(binary):
    with open(os.path.join(ROOT, "deploy/grafana/dashboards/ebm-server.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    asked = [expr for panel in dashboard["panels"] for expr in queries(panel)]
    asked += [v["query"] if isinstance(v["query"], str) else v["query"]["query"] for v in dashboard["templating"]["list"]
              if v["type"] == "query"]
    asked += [expr for expr in alert_expressions() if not re.match(r"up\{|ebm_model_file_refused", expr)]  # not ours; none refused
    with serving(binary, Repository().golden("relu_1d")) as server:
        for draws in (2, 256):  # by two it is not reliable
            server.predict({"inputs": [ROW], "estimator": "importance", "num_samples": draws})
        values, _ = scrape(server)
    there = {name: {label for n, labels in values for label, _ in labels if n == name} for name, _ in values}
    assert len(asked) >= 10, asked
    for expr in asked:
        names = set(re.findall(r"\b(?:ebm|process)_[a-z0-9_]+", expr))
        assert names, f"no metric in {expr}"
        assert names <= set(there), f"not there: {names - set(there)} in {expr}"
        for name, selector in re.findall(r"\b((?:ebm|process)_[a-z0-9_]+)\{([^}]*)\}", expr):
            labels = set(re.findall(r"([a-z_]+)(?:=~|!~|!=|=)", selector)) - {"job", "instance"}  # those are Prometheus' own
            assert labels <= there[name], f"{name} has no labels {labels - there[name]}: {expr}"
        for group in re.findall(r"\bby \(([^)]*)\)", expr):
            known = set().union(*(there[name] for name in names)) | {"job", "instance"}
            assert {word.strip() for word in group.split(",")} <= known, expr


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
