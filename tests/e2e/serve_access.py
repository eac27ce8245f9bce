#!/usr/bin/env python3
"""Who may ask what: keys and their roles on every route, keys that come and go, hosts, origins. serve_access.py SERVER"""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

from harness import Repository, Server, Wire, expect_error, request_bytes, run_all, serving, wait_until

BODY = {"inputs": [[0.1, 0.2, -0.3]], "seed": 1, "num_samples": 8}
PROBES = ("/healthz", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready")
ROLES = ("infer", "metrics", "admin")
# What each route of GET / asks for: one that is not here fails the test.
ASKS_FOR = {
    **{f"POST /{name}": "infer" for name in ("predict", "sample", "density", "refine")},
    **{f"GET {path}": None for path in PROBES},
    **{f"GET {path}": "infer" for path in (
        "/", "/openapi.json", "/v2", "/v2/models/*", "/v2/models/*/ready", "/v2/models/*/config", "/v2/models/*/versions/*",
        "/v2/models/*/versions/*/ready", "/v2/models/*/versions/*/config")},
    **{f"GET {path}": "metrics" for path in (
        "/metrics", "/stats", "/v2/models/stats", "/v2/models/*/stats", "/v2/models/*/versions/*/stats")},
    "POST /v2/models/*/infer": "infer", "POST /v2/models/*/versions/*/infer": "infer",
    "POST /v2/repository/index": "admin", "POST /v2/repository/models/*/load": "admin",
    "POST /v2/repository/models/*/unload": "admin",
}


# ---- keys ----


def make(binary, roles, name):
    """-> (key, line)"""
    made = subprocess.run([binary, "--make-key", roles, name], capture_output=True, text=True, check=True, timeout=20)
    return re.search(r"ebm_[0-9a-f]{64}$", made.stderr.strip()).group(), made.stdout


class Keys:
    """A file of keys, one a role, and what goes with it."""

    def __init__(self, binary):
        self.path = tempfile.mktemp(prefix="ebm-keys-")
        made = {role: make(binary, role, f"key-of-{role}") for role in ROLES}
        self.of = {role: key for role, (key, _) in made.items()}
        self.lines = {role: line for role, (_, line) in made.items()}
        self.write(*ROLES)

    def write(self, *roles, text=""):
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write("# keys of this test\n" + "".join(self.lines[role] for role in roles) + text)
        os.rename(self.path + ".new", self.path)


@contextlib.contextmanager
def guarded(binary, *options):
    keys = Keys(binary)
    try:
        with serving(binary, Repository().golden("relu_1d", name="m"), "--api-keys", keys.path, *options) as server:
            yield server, keys
            said = "\n".join(server.lines)
            assert not [key for key in keys.of.values() if key in said or key[4:20] in said], "a key is in the log"
    finally:
        os.remove(keys.path)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def ask(server, route, headers):
    """One that the route would answer with 200: the model is there."""
    method, pattern = route.split(" ")
    path = pattern.replace("versions/*", "versions/1").replace("*", "m")
    body = None
    if pattern.endswith("infer"):
        body = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.1, 0.2, -0.3]}]}
    elif method == "POST" and "/v2" not in pattern:
        body = {**BODY, **({"targets": [[[0.1]]]} if "density" in pattern else {})}
        if "refine" in pattern or "density" in pattern:
            del body["num_samples"]
    return server.ask(method, path, body, {"Content-Type": "application/json", **headers})


def reload(server, expected):
    count = len([line for line in server.lines if expected in line])
    server.process.send_signal(signal.SIGHUP)
    assert wait_until(lambda: len([line for line in server.lines if expected in line]) > count), server.lines[-5:]


# ---- tests ----


def test_every_route_with_every_key(binary):
    with guarded(binary, "--model-control", "on") as (server, keys):
        routes = json.loads(server.ask("GET", "/", headers=bearer(keys.of["infer"]))[2])["routes"]
        assert set(routes) == set(ASKS_FOR), set(routes) ^ set(ASKS_FOR)
        described = json.loads(server.ask("GET", "/openapi.json", headers=bearer(keys.of["infer"]))[2])["paths"]
        assert set(routes) == {f"{method.upper()} " + re.sub(r"{\w+}", "*", path) for path, methods in described.items()
                               for method in methods}
        for route in sorted(routes, key=lambda route: "unload" in route):  # that one last
            needed = ASKS_FOR[route]
            for headers in ({}, bearer("x"), bearer("ebm_" + "0" * 64), bearer(""), {"Authorization": "Basic eDp5"},
                            {"X-API-Key": "x"}, bearer("a" * 5000)):
                result = ask(server, route, headers)
                if needed:
                    got = expect_error(result, 401, "unauthorized", "Authorization: Bearer KEY")
                    assert got["www-authenticate"] == "Bearer", got
                else:
                    assert result[0] == 200, (route, headers, result)
            for role in ROLES:
                for headers in (bearer(keys.of[role]), {"X-API-Key": keys.of[role]}, {"Authorization": f"bearer  {keys.of[role]}"}):
                    result = ask(server, route, headers)
                    if needed in (None, role):
                        assert result[0] == 200, (route, role, result)
                    else:
                        expect_error(result, 403, "forbidden", "role")
        print(f"      {len(routes)} routes")


def test_nothing_is_told_without_a_key(binary):
    with guarded(binary) as (server, keys):
        for method, path in (("GET", "/nothing"), ("DELETE", "/predict"), ("OPTIONS", "/predict"), ("GET", "/predict"),
                             ("GET", "/%6detrics"), ("GET", "//metrics"), ("GET", "/metrics/"), ("HEAD", "/metrics"),
                             ("POST", "/v2/repository/models/m%2f/unload"), ("PUT", "/metrics")):
            status, headers, data = server.ask(method, path)
            assert status == 401 and headers["www-authenticate"] == "Bearer", (method, path, status, data)
        key = bearer(keys.of["metrics"])
        expect_error(server.ask("GET", "/nothing", headers=key), 404, "not_found")
        expect_error(server.ask("POST", "/metrics", headers=key), 405, "method_not_allowed")
        assert server.ask("HEAD", "/metrics", headers=key)[0] == 200
        expect_error(server.ask("POST", "/v2/repository/models/m/load", headers=bearer(keys.of["admin"])), 403, "forbidden",
                     "--model-control on")
        assert wait_until(lambda: any("an administrator asks: key=key-of-admin" in line for line in server.lines))


def test_a_body_without_a_key_is_not_kept(binary):
    with guarded(binary) as (server, _):
        big = b"x" * (8 << 20)
        before = server.rss_kib()
        with Wire(server) as wire:
            wire.send(request_bytes(b"", length=len(big)))
            status, headers, _ = wire.answer()
            assert status == 401 and headers["connection"] == "close", (status, headers)
        with Wire(server) as wire:  # chunks, which announce nothing
            wire.send(request_bytes(b"", "Transfer-Encoding: chunked", length=False))
            wire.send(b"100000\r\n" + big[:1 << 20] + b"\r\n0\r\n\r\n")
            assert wire.answer()[0] == 401
        assert server.rss_kib() < before + 4096, (before, server.rss_kib())


def test_keys_come_and_go(binary):
    with guarded(binary) as (server, keys):
        with Wire(server) as wire:  # a connection that is open all the time
            def status_of(role):
                wire.send(request_bytes(b"", f"X-API-Key: {keys.of[role]}", length=False, first="GET /metrics HTTP/1.1"))
                return wire.answer()[0]
            assert status_of("metrics") == 200
            keys.write("infer", "admin")
            assert status_of("metrics") == 200, "before the signal"
            reload(server, "keys read again: keys=2")
            assert status_of("metrics") == 401
            for text in ("infer nonsense\n", keys.lines["infer"], "\0", "admin " + "0" * 64 + " " + "n" * 65 + "\n"):
                keys.write("metrics", "infer", text=text)
                reload(server, "keys not read again, those before stay")
                assert status_of("metrics") == 401 and status_of("admin") == 403
            os.rename(keys.path, keys.path + ".away")
            reload(server, "keys not read again, those before stay")
            os.rename(keys.path + ".away", keys.path)
            assert status_of("admin") == 403
            keys.write("metrics")
            reload(server, "keys read again: keys=1")
            assert status_of("metrics") == 200 and status_of("admin") == 401


def test_without_a_file_all_is_open(binary):
    with serving(binary, Repository().golden("relu_1d", name="m"), "--model-control", "on") as server:
        for route in sorted(ASKS_FOR, key=lambda route: "unload" in route):
            assert ask(server, route, {})[0] == 200, route
            assert ask(server, route, bearer("x"))[0] == 200 or "unload" in route, route
        server.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: any("signal received" in line for line in server.lines))
        assert server.ask("GET", "/livez")[0] == 200


def test_files_that_no_server_starts_with(binary):
    repository = Repository().golden("relu_1d")
    try:
        for text, fragment in ((b"", "expected a key"), (b"infer x y", "line 1: expected 64"), (b"#" * (257 << 10), "at most"),
                               (None, "cannot read the file")):
            path = tempfile.mktemp(prefix="ebm-keys-")
            if text is not None:
                with open(path, "wb") as file:
                    file.write(text)
            for more in ((), ("--check-config",)):
                server = Server(binary, repository, "--api-keys", path, *more, expect_start=False)
                assert server.process.wait(20) == 1
                server.reader.join(5)
                assert any("--api-keys" in line and fragment in line for line in server.lines), server.lines
            if text is not None:
                os.remove(path)
        for origin in ("*", "example.org", "https://example.org/", "https://*.org", "https://"):
            server = Server(binary, repository, "--cors-origin", origin, expect_start=False)
            assert server.process.wait(20) == 1, origin
    finally:
        repository.remove()
    for words in (("infer",), (), ("infer", "a", "b"), ("root", "a"), ("infer", "a b")):
        made = subprocess.run([binary, "--make-key", *words], capture_output=True, text=True, timeout=20, check=False)
        assert made.returncode == 2 and made.stdout == "" and "ebm_" not in made.stderr, made


def test_pages_of_others_change_nothing(binary):
    load = "POST /v2/repository/models/m/load HTTP/1.1"

    def answer(server, *headers, host="localhost"):
        with Wire(server) as wire:
            wire.send(request_bytes(b"", *headers, first=load, host=host))
            return wire.answer()

    with serving(binary, Repository().golden("relu_1d", name="m"), "--model-control", "on", "--host-names",
                 "models.example, ebm") as server:
        for host in ("127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]:8080", "10.1.2.3", "ebm", "ebm:80",
                     "Models.Example"):
            assert answer(server, host=host)[0] == 200, host
        for host in ("attacker.example", "localhost.attacker.example", "models", "example", "127.0.0.1.nip.io", "", ":80",
                     "models.example,", "a" * 300):
            expect_error(answer(server, host=host), 403, "forbidden", "Host")
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonx", ""):
            expect_error(answer(server, f"Content-Type: {kind}"), 415, "unsupported_type", "application/json")
        for header in ("Origin: http://attacker.example", "Origin: null", "Sec-Fetch-Site: cross-site"):
            expect_error(answer(server, header), 415, "unsupported_type", "application/json")
        assert answer(server, "Content-Type: application/json; charset=utf-8")[0] == 200
        _, headers, _ = server.ask("POST", "/predict", BODY, {"Content-Type": "application/json", "Origin": "http://a.example"})
        assert not [name for name in headers if name.startswith("access-control")], headers
        expect_error(server.ask("OPTIONS", "/predict", headers={"Origin": "http://a.example",
                                                                "Access-Control-Request-Method": "POST"}), 405, "method_not_allowed")
    with guarded(binary, "--model-control", "on") as (server, keys):  # with a key it is no stranger's page
        assert answer(server, f"X-API-Key: {keys.of['admin']}", host="attacker.example")[0] == 200


def test_pages_of_an_allowed_origin_may_ask(binary):
    ours, other = "https://a.example:8443", "https://a.example"
    with guarded(binary, "--cors-origin", f"http://b.example,{ours}") as (server, keys):
        wants = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type"}
        status, headers, data = server.ask("OPTIONS", "/predict", headers={"Origin": ours, **wants})
        assert status == 204 and data == b"" and headers["access-control-allow-origin"] == ours, (status, headers)
        assert "POST" in headers["access-control-allow-methods"] and headers["vary"] == "Origin"
        assert "Authorization" in headers["access-control-allow-headers"]
        expect_error(server.ask("OPTIONS", "/predict", headers={"Origin": other, **wants}), 401, "unauthorized")
        json_type = {"Content-Type": "application/json"}
        for origin, allowed in ((ours, True), ("http://b.example", True), (other, False), ("https://a.example:84431", False),
                                ("null", False), ("b.example", False)):
            for key, status in ((keys.of["infer"], 200), ("x", 401)):
                got, headers, _ = server.ask("POST", "/predict", BODY, {**json_type, **bearer(key), "Origin": origin})
                assert got == status and headers.get("access-control-allow-origin") == (origin if allowed else None), (origin, headers)
                assert "access-control-allow-credentials" not in headers


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
