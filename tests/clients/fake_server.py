#!/usr/bin/env python3
"""fake_server.py - answers like an ebm-server, and like one that is broken in a chosen way. Python's standard library alone.

The first segment of the path says how: a client whose server is http://127.0.0.1:PORT/half gets half an answer.

    ok                 what an ebm-server says: the mean of a row is the sum of its inputs
    busy,N,S,KEY       429 with Retry-After S (empty: no such line) for the first N requests with this KEY, then ok
    unready            503 with Retry-After 1         down,SIZE     500 without an error of ours
    late               504                            refused       400
    garbage            bytes that are not HTTP        html          200 and a web page
    half               a body that ends in the middle of its JSON, shorter than Content-Length says
    broken             JSON that ends in the middle   silent        reads, says nothing
    drip               a byte every 50 ms             close         reads, closes
    huge               a body without end             wrong,K       the K-th answer of WRONG: members of other types
    more               two good rows, whatever was asked
    odd                unknown members, nulls         once          ok, and closes the connection without saying so

`with serving() as server:` server.url, server.log: [{"path", "body", "connection", "time"}]."""
import contextlib
import json
import socket
import sys
import threading
import time

DIAGNOSTICS = {"estimator": "importance", "num_samples": 64, "ess": 50.5, "ess_ratio": 0.7890625, "max_weight": 0.125,
               "mcse_mean": [0.25], "pareto_k": 0.25, "reliable": True, "reason": None}
GOOD = {"model": "m", "version": 3, "seed": 7, "predictions": [
    {"mean": [1.5], "std": [0.5],
     "quantiles": [{"probability": 0.1, "value": [1]}, {"probability": 0.9, "value": [2]}],
     "interval": {"kind": "equal_tailed", "level": 0.8, "intervals": [{"lower": [1], "upper": [2]}]},
     "log_normalizer": 0.75, "diagnostics": DIAGNOSTICS}] * 2}
MODELS = {"name": "ebm-server", "routes": ["POST /predict", "GET /"], "models": [
    {"name": "m", "version": 3, "available": True},
    {"name": "bad", "version": 1, "available": False, "reason": "model.safetensors: \"cut\" short"}]}
MODEL = {"name": "m", "versions": ["3"], "platform": "ebm_safetensors",
         "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
         "outputs": [{"name": "mean", "datatype": "FP32", "shape": [-1, 1]}],
         "input_names": ["a", "b"], "target_names": ["y"]}


def changed(path, value):
    """GOOD with another value at a path; ... removes it."""
    answer = json.loads(json.dumps(GOOD))  # rows that share nothing
    at = answer
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return answer


ROW = ("predictions", 1)
WRONG = [
    [], 7, None, "text", {}, {"predictions": []},
    changed(("model",), 7), changed(("version",), "3"), changed(("seed",), 1.5), changed(("seed",), ...),
    changed(("predictions",), {}), changed(("predictions",), [7]), changed(("predictions", 1), 7),
    changed((*ROW, "mean"), 1.5), changed((*ROW, "mean"), ["1.5"]), changed((*ROW, "mean"), [[1.5]]),
    changed((*ROW, "mean"), [1.5, 2.5]), changed((*ROW, "mean"), []), changed((*ROW, "mean"), ...),
    changed((*ROW, "log_normalizer"), [0]), changed((*ROW, "log_normalizer"), True),
    changed((*ROW, "quantiles"), {}), changed((*ROW, "quantiles", 0), 1), changed((*ROW, "quantiles", 0, "value"), 1),
    changed((*ROW, "quantiles", 0, "probability"), "0.1"), changed((*ROW, "quantiles", 1), ...),
    changed((*ROW, "interval"), []), changed((*ROW, "interval", "intervals"), []),
    changed((*ROW, "interval", "intervals", 0, "upper"), ...), changed(("predictions", 0, "interval", "level"), "0.9"),
    changed((*ROW, "diagnostics"), ...), changed((*ROW, "diagnostics"), []),
    changed((*ROW, "diagnostics", "reliable"), "yes"), changed((*ROW, "diagnostics", "reason"), 7),
    changed((*ROW, "diagnostics", "estimator"), None), changed((*ROW, "diagnostics", "num_samples"), "64"),
    changed((*ROW, "diagnostics", "ess"), "50"), changed((*ROW, "diagnostics", "mcse_mean"), [1, 2]),
    changed(("predictions", 0, "mean"), 1.5), changed(("predictions", 0, "mean"), [True]),
    changed(("predictions", 0, "quantiles"), []), changed(("predictions", 0, "quantiles"), [7, 7]),
    changed(("predictions", 0, "interval"), 7), changed(("predictions", 0, "interval", "intervals"), [7]),
]


def predictions(body):
    request = json.loads(body)
    rows = [len(row["b64"]) if isinstance(row, dict) else row for row in request["inputs"]]
    rows = [row if isinstance(row, list) else [row] for row in rows]
    answer = {"model": request.get("model", "m"), "version": 3, "seed": request.get("seed", 7)}
    if "id" in request:
        answer["id"] = request["id"]
    return answer, rows, request


def climbed(start, i, request):
    """Row i takes 1 + 2 i steps, if it may, from the sum of its inputs to i + 0.5 more; only the first one converges."""
    steps = min(1 + 2 * i, request.get("steps", 10))
    row = {"mode": [start + i + 0.5], "unnormalized_log_prob": -start, "converged": i == 0, "steps": steps}
    if request.get("trajectory"):
        row["trajectory"] = [[start + (i + 0.5) * k / steps] for k in range(steps + 1)]
    return row


def good(path, body):
    if path == "/":
        return MODELS
    if path.startswith("/v2/models/"):
        return MODEL
    if path in ("/livez", "/healthz"):
        return {"live": True}
    if path == "/readyz":
        return {"ready": True}
    answer, rows, request = predictions(body)
    if path == "/predict":
        members = [{"mean": [sum(row)], "std": [0.5]} for row in rows]
    elif path == "/sample":
        n = request.get("num_samples", 100)
        members = [{"samples": [[sum(row) + i] for i in range(n)]} for row in rows]
    elif path == "/refine":
        answer["predictions"] = [climbed(sum(row), i, request) for i, row in enumerate(rows)]
        return answer
    else:
        members = [{"targets": t, "log_prob": [-value[0] for value in t]} for t in request["targets"]]
    answer["predictions"] = [{**member, "diagnostics": DIAGNOSTICS} for member in members]
    return answer


def odd(path, body):
    answer = good(path, body)
    answer["news"] = {"deep": [1, [2]]}
    for row in answer.get("predictions", []):
        row["mean"], row["surprise"] = [None], [[1]]
        row["diagnostics"] = {"estimator": "mixture", "reliable": False, "reason": "not_finite", "news": [1]}
    return answer


def http(status, body, *headers, length=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json",
             f"Content-Length: {len(data) if length is None else length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


def error(status, code, *headers):
    return http(status, {"error": f"where: it is {code}", "code": code, "request_id": "r-1"}, *headers)


class FakeServer:
    def __init__(self):
        self.log, self.counts, self.lock = [], {}, threading.Lock()
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def requests(self, how):
        """What came for a behaviour."""
        with self.lock:
            return [entry for entry in self.log if entry["how"] == how]

    def stop(self):
        self.stopped.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)

    def _accept(self):
        number = 0
        while not self.stopped.is_set():
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            number += 1
            threading.Thread(target=self._serve, args=(link, number), daemon=True).start()

    def _serve(self, link, number):
        with link, contextlib.suppress(OSError, ValueError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = link.makefile("rb")
            while not self.stopped.is_set():
                first = stream.readline()
                if not first:
                    return
                length = 0
                while (line := stream.readline().strip()):
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                body = stream.read(length)
                how, _, path = first.split()[1].decode().lstrip("/").partition("/")
                with self.lock:
                    self.log.append({"how": how, "path": "/" + path, "body": body, "connection": number,
                                     "time": time.monotonic()})
                if not self._answer(link, how, "/" + path, body):
                    return

    def _busy(self, how, path, body):
        _, n, wait, _ = how.split(",")
        with self.lock:
            self.counts[how] = self.counts.get(how, 0) + 1
            count = self.counts[how]
        if count <= int(n):
            return error(429, "queue_full", *([f"Retry-After: {wait}"] if wait else []))
        return http(200, good(path, body))

    def _answer(self, link, how, path, body):
        """False: close the connection."""
        kind, _, rest = how.partition(",")
        if kind == "silent":
            self.stopped.wait(60)
            return False
        if kind == "close":
            return False
        if kind == "huge":
            link.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
            while not self.stopped.is_set():
                link.sendall(b"0," * 50000)
        if kind == "drip":
            for byte in http(200, good(path, body)):
                link.sendall(bytes([byte]))
                if self.stopped.wait(0.05):
                    return False
        if kind == "half":
            whole = json.dumps(good(path, body)).encode()
            link.sendall(http(200, whole[:len(whole) // 2], length=len(whole)))
            return False
        answers = {
            "ok": lambda: http(200, good(path, body)), "once": lambda: http(200, good(path, body)),
            "odd": lambda: http(200, odd(path, body)), "busy": lambda: self._busy(how, path, body),
            "unready": lambda: error(503, "not_ready", "Retry-After: 1"), "late": lambda: error(504, "timeout"),
            "refused": lambda: error(400, "invalid"), "garbage": lambda: b"\x00\x01 what?\n" * 20,
            "html": lambda: http(200, b"<html>hello</html>"), "more": lambda: http(200, GOOD),
            "wrong": lambda: http(200, WRONG[int(rest)]),
            "down": lambda: http(500, b"<html>" + b"x" * int(rest or 0), "X-Request-Id: h-9"),
            "broken": lambda: http(200, json.dumps(good(path, body)).encode()[:-30]),
        }
        link.sendall(answers[kind]())
        return kind not in ("garbage", "once")


@contextlib.contextmanager
def serving():
    server = FakeServer()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    with serving() as running:
        print(running.url, flush=True)
        sys.stdin.read()
