#!/usr/bin/env python3
"""A request's life in its corners: clients that leave, that send or read slowly, budgets, and every way to stop.
serve_life.py SERVER; serve_life.py SERVER --stops N: only N stops under load"""
import http.client
import json
import re
import signal
import socket
import sys
import threading
import time

from harness import HOLDABLE, ROW, Hold, Repository, Server, hold_request, queue_rows, request_bytes, run_all, serving, wait_until
from harness import SLOW as SLOWER

SMALL = {"model": "relu_1d", "inputs": [ROW], "estimator": "importance", "num_samples": 16, "seed": 1}
ROWS = {**SMALL, "inputs": [ROW] * 20}  # too many for the loop itself: a worker's


def one():
    return Repository().golden("relu_1d")


def two():
    return one().golden("smooth_2d")  # to hold the worker


def head(length, *headers, request="POST /predict"):
    lines = [f"{request} HTTP/1.1", "Host: x", *headers]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def request(body, *headers):
    data = json.dumps(body).encode()
    return head(len(data), *headers) + data


def connect(server, timeout=60):
    link = socket.create_connection(("127.0.0.1", server.port), timeout=timeout * SLOWER)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def read_all(link):
    """What comes until the server closes, and how it closed: "end" or "reset"."""
    got = b""
    try:
        while chunk := link.recv(65536):
            got += chunk
    except ConnectionResetError:
        return got, "reset"
    return got, "end"


def read_answer(link, pause=0.0):
    """-> (status, headers in lower case, body) of one answer; takes not a byte more."""
    top = b""
    while not top.endswith(b"\r\n\r\n"):
        byte = link.recv(1)
        if not byte:
            raise ConnectionError(f"closed within the headers: {top[:200]}")
        top += byte
    lines = top.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    body, length = b"", int(headers["content-length"])
    while len(body) < length:
        time.sleep(pause)
        chunk = link.recv(min(length - len(body), 1 << 16))
        if not chunk:
            raise ConnectionError(f"closed within the body: {len(body)} of {length}")
        body += chunk
    return int(lines[0].split()[1]), headers, body


def logged(server):
    """The access log: request id -> its fields."""
    lines = [dict(re.findall(r"(\w+)=(\S+)", line)) for line in list(server.lines) if line.startswith("info: request ")]
    return {fields["id"]: fields for fields in lines}


def expect_log(server, name, **fields):
    assert wait_until(lambda: name in logged(server)), (name, server.lines[-5:])
    line = logged(server)[name]
    assert {key: line[key] for key in fields} == fields, line
    return line


def counts_at_the_end(server):
    """(requests, rows) of the last line, after a stop."""
    match = re.search(r"stopped: requests=(\d+) batches=\d+ rows=(\d+)", server.lines[-1])
    assert match, server.lines[-3:]
    return int(match.group(1)), int(match.group(2))


def expect_free(server):
    """Whatever held the only worker would do so for minutes."""
    assert wait_until(lambda: queue_rows(server) == 0), "the worker was not freed"
    assert server.predict(ROWS)[0] == 200


# ---- clients that leave ----


def leave(link, how):
    if how == "reset":
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    if how == "half":
        link.shutdown(socket.SHUT_WR)
    else:
        link.close()


def test_a_client_that_leaves_frees_its_worker(binary):
    with serving(binary, two(), *HOLDABLE) as server:
        for how in ("close", "reset", "half"):
            link = connect(server)
            link.sendall(hold_request("smooth_2d", f"X-Request-Id: {how}"))
            assert wait_until(lambda: queue_rows(server) == 1), "it does not begin"
            leave(link, how)
            expect_free(server)
            expect_log(server, how, status="0", sent="no", out="0")
            if how == "half":
                assert read_all(link)[0] == b"", "a half-close counts as gone"
                link.close()


def test_a_client_that_leaves_the_queue_is_never_computed(binary):
    with serving(binary, two(), *HOLDABLE) as server:
        with Hold(server):
            waiting = connect(server)
            waiting.sendall(request({**ROWS, "inputs": [ROW] * 40}, "X-Request-Id: waiting"))
            assert wait_until(lambda: queue_rows(server) == 41)
            waiting.close()
            expect_log(server, "waiting", status="0", sent="no")
            assert wait_until(lambda: queue_rows(server) == 1)
        expect_free(server)
    assert counts_at_the_end(server)[1] <= 2 + len(ROWS["inputs"]), server.lines[-1]


def test_a_client_that_leaves_before_and_after_its_job(binary):
    with serving(binary, one(), "--workers", 1) as server:
        link = connect(server)
        link.sendall(request(ROWS, "X-Request-Id: cut")[:-10])
        time.sleep(0.05)
        link.close()
        expect_log(server, "cut", status="0", sent="no")
        link = connect(server)
        link.sendall(request(SMALL, "X-Request-Id: unread"))
        expect_log(server, "unread", status="200", sent="yes")  # answered, and nobody reads it
        link.close()
        expect_free(server)


def test_bytes_of_the_next_request_are_no_leaving(binary):
    with serving(binary, two(), *HOLDABLE) as server:
        link = connect(server)
        with Hold(server):
            link.sendall(request(ROWS, "X-Request-Id: first"))
            assert wait_until(lambda: queue_rows(server) == 1 + len(ROWS["inputs"]))
            link.sendall(request(SMALL, "X-Request-Id: second") * 3)
            for _ in range(3):  # it looks at its sockets
                assert queue_rows(server) == 1 + len(ROWS["inputs"])
        for _ in range(4):
            assert read_answer(link)[0] == 200
        link.close()


def test_many_leave_at_once(binary):
    with serving(binary, one(), "--workers", 1) as server:
        links = [connect(server) for _ in range(200)]
        for link in links:
            link.sendall(request({**ROWS, "num_samples": 65536}))
        stay = connect(server)
        stay.sendall(request(SMALL))
        for link in links:
            link.close()
        assert read_answer(stay)[0] == 200
        stay.close()
        assert wait_until(lambda: len(logged(server)) == 201), len(logged(server))


# ---- the access log ----


def test_the_access_log_names_model_and_rows_of_what_failed_too(binary):
    with serving(binary, two(), *HOLDABLE, "--max-queue-rows", 60) as server:
        late, left, full = connect(server), connect(server), connect(server)
        with Hold(server):
            late.sendall(request({**ROWS, "timeout_ms": 50}, "X-Request-Id: late"))
            assert read_answer(late)[0] == 504
            left.sendall(request({**ROWS, "inputs": [ROW] * 21}, "X-Request-Id: left"))
            assert wait_until(lambda: queue_rows(server) == 22)
            full.sendall(request({**ROWS, "inputs": [ROW] * 50}, "X-Request-Id: full"))
            assert read_answer(full)[0] == 429
            left.close()
            expect_log(server, "full", status="429", model="relu_1d", rows="50")
            line = expect_log(server, "late", status="504", model="relu_1d", rows="20", compute_us="0")
            assert int(line["queue_us"]) >= 1000, line
            expect_log(server, "left", status="0", model="relu_1d", rows="21")
        refused = connect(server)
        refused.sendall(request({**SMALL, "model": "nobody"}, "X-Request-Id: nobody"))
        assert read_answer(refused)[0] == 404
        expect_log(server, "nobody", status="404", model="-", rows="1")
        for link in (late, full, refused):
            link.close()


# ---- clients that send slowly ----


def test_a_slow_body_is_answered_408(binary):
    with serving(binary, one(), "--body-timeout-ms", 500) as server:
        for name, top in (("length", head(1000, "X-Request-Id: length")),
                          ("chunks", head(None, "X-Request-Id: chunks", "Transfer-Encoding: chunked"))):
            link, stop = connect(server), threading.Event()
            start = time.monotonic()
            link.sendall(top)

            def dribble(link=link, stop=stop, name=name):
                try:
                    while not stop.wait(0.05):
                        link.sendall(b"1" if name == "length" else b"1\r\n1\r\n")
                except OSError:
                    pass

            sender = threading.Thread(target=dribble)
            sender.start()
            status, headers, body = read_answer(link)
            took = time.monotonic() - start
            assert read_all(link)[0] == b""
            stop.set()
            sender.join()
            link.close()
            answer = json.loads(body)
            assert (status, headers["connection"], answer["code"]) == (408, "close", "body_timeout"), (status, headers, answer)
            assert answer["request_id"] == headers["x-request-id"] == name and "after 500 ms" in answer["error"], answer
            assert took >= 0.5, took  # and before all of it could have come, 50 s or never
            expect_log(server, name, status="408", sent="yes")
        expect_free(server)


def test_a_body_that_stands_still_is_answered_408_and_closed(binary):
    with serving(binary, one(), "--body-timeout-ms", 300) as server:
        link = connect(server)
        link.sendall(head(1000, "X-Request-Id: silent") + b"1")
        assert read_answer(link)[0] == 408
        expect_log(server, "silent", status="408", sent="yes", **{"in": "1"})  # closed after a second, unasked
        link.close()


def test_a_refused_body_that_comes_slowly_gets_its_refusal(binary):
    with serving(binary, one(), "--body-timeout-ms", 300) as server:
        link = connect(server)
        link.sendall(head(1000, "X-Request-Id: nowhere", request="POST /nowhere") + b"1")
        status, _, body = read_answer(link)
        assert status == 404 and json.loads(body)["code"] == "not_found", (status, body)
        expect_log(server, "nowhere", status="404", sent="yes")
        link.close()


def test_slow_heads_are_closed_and_idle_connections_are_not(binary):
    with serving(binary, one(), "--body-timeout-ms", 300) as server:
        def expect_closed(link, start, dribble):
            """Not before its time, though bytes come all the time."""
            link.settimeout(0.05)
            while True:
                try:
                    if dribble:
                        link.sendall(b"a")
                    if not link.recv(100):
                        break
                except socket.timeout:
                    assert time.monotonic() - start < 60 * SLOWER, "never closed"
                except OSError:
                    break
            assert time.monotonic() - start >= 0.3

        start = time.monotonic()
        fresh = connect(server)
        fresh.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        expect_closed(fresh, start, True)
        start = time.monotonic()
        silent = connect(server)
        expect_closed(silent, start, False)
        used = connect(server)
        used.sendall(head(None, request="GET /healthz"))
        assert read_answer(used)[0] == 200
        time.sleep(1)
        used.sendall(head(None, request="GET /healthz"))
        assert read_answer(used)[0] == 200, "an idle connection is not a slow one"
        start = time.monotonic()
        used.sendall(b"GET /healthz HTTP/1.1\r\nX-Long: ")
        expect_closed(used, start, True)
        for link in (fresh, silent, used):
            link.close()


def test_an_answer_survives_what_its_client_still_sends(binary):
    with serving(binary, one(), "--max-body-bytes", 1000) as server:
        for name, top in (("announced", head(10 ** 8)), ("endless", head(None, "Transfer-Encoding: chunked"))):
            link = connect(server)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            link.sendall(top)
            chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
            sent = 0
            link.settimeout(0.3)
            try:
                while sent < 4 << 20:
                    sent += link.send(chunk)
            except OSError:
                pass
            link.settimeout(60 * SLOWER)
            assert read_answer(link)[0] == 413, name
            link.close()


# ---- room ----


def in_flight_bytes(server):
    return int(re.search(rb"^ebm_http_in_flight_bytes (\d+)$", server.ask("GET", "/metrics")[2], re.M).group(1))


def test_bodies_in_flight_have_a_budget(binary):
    with serving(binary, one(), "--max-inflight-bytes", 1 << 20, "--workers", 1) as server:
        chunked = head(None, "Transfer-Encoding: chunked")
        links = [connect(server) for _ in range(2)]
        for link in links:
            link.sendall(head(500000) + b"[" + b" " * 480000)
        assert wait_until(lambda: in_flight_bytes(server) >= 960000), "their bodies do not come"
        refused = connect(server)
        refused.sendall(request(SMALL))
        assert read_answer(refused)[0] == 200, "a small one has room"
        for data in (request({**SMALL, "id": "x" * 200, "inputs": [ROW] * 4096}), chunked + b"20000\r\n" + b" " * 0x20000):
            refused = connect(server)
            refused.sendall(data)
            if data.startswith(chunked):
                refused.sendall(b"\r\n0\r\n\r\n")
            status, headers, body = read_answer(refused)
            answer = json.loads(body)
            assert (status, answer["code"]) == (429, "busy") and int(headers["retry-after"]) >= 1, (status, answer)
            assert "--max-inflight-bytes" in answer["error"], answer
            refused.close()
        assert server.ask("GET", "/readyz")[0] == 200
        for link in links:
            link.close()
        assert wait_until(lambda: len([line for line in server.lines if "status=0" in line]) == 2)
        assert server.ask("POST", "/predict", json.dumps(SMALL) + " " * 900000)[0] == 200, "their room is free again"
        alone = server.ask("POST", "/predict", json.dumps(SMALL) + " " * 3000000)
        assert alone[0] == 200, "one that is alone is never refused"


def test_answers_have_their_room_before_they_are_computed(binary):
    """Many small requests for large answers, and no client reads: they do not add up beyond the budget."""
    budget = 8 << 20
    body = {"inputs": [[0.1, 0.2, 0.3, 0.4]] * 4, "num_samples": 60000, "seed": 1}
    with serving(binary, Repository().golden("mixture_only"), "--max-inflight-bytes", budget) as server:
        before, links = server.rss_kib(), []
        for _ in range(24):
            link = socket.socket()
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.connect(("127.0.0.1", server.port))
            link.sendall(request_bytes(json.dumps(body).encode(), first="POST /sample HTTP/1.1"))
            links.append(link)
        assert wait_until(lambda: sum("status=429" in line for line in server.lines) > 20), server.lines[-3:]
        assert SLOWER > 1 or server.rss_kib() - before < 8 * budget / 1024, f"{before} KiB, then {server.rss_kib()}"
        for link in links:
            link.close()
        assert wait_until(lambda: server.ask("POST", "/predict", {"inputs": [[0.1, 0.2, 0.3, 0.4]]})[0] == 200)


def test_answers_that_nobody_reads_take_room(binary):
    with serving(binary, one(), "--max-inflight-bytes", 1 << 20) as server:
        outputs = ["mean", "std", "median", "quantiles"]
        large = {"inputs": [ROW] * 4096, "estimator": "importance", "num_samples": 16, "outputs": outputs, "quantiles": [i / 65 for i in range(1, 65)]}
        link = connect(server)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        link.sendall(request(large))
        link.recv(1)  # it is being sent

        def ask():
            return server.ask("POST", "/predict", json.dumps(SMALL))[0]

        assert ask() == 429
        link.close()
        assert wait_until(lambda: ask() == 200)


def test_a_body_where_none_is_expected(binary):
    with serving(binary, one()) as server:
        for size, status in ((10, 200), (60000, 200), (70000, 413), (5000000, 413)):
            link = connect(server)
            link.sendall(head(size, request="GET /healthz"))
            try:
                link.sendall(b"x" * size)
            except OSError:
                pass  # it was told, and closed
            assert read_answer(link)[0] == status, size
            link.close()


def test_connections_of_one_address_have_a_limit(binary):
    with serving(binary, one(), "--max-connections-per-address", 3) as server:
        links = [connect(server) for _ in range(3)]
        for link in links:
            link.sendall(head(None, request="GET /healthz"))
            assert read_answer(link)[0] == 200
        fourth = connect(server)
        assert read_all(fourth)[0] == b""
        fourth.close()
        links.pop().close()

        def is_served():
            try:
                return server.ask("GET", "/healthz")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        assert wait_until(is_served)
        for link in links:
            link.close()


# ---- stopping ----


class Load:
    """Clients of many kinds; each request has an id, and what became of it is written down."""

    def __init__(self, server):
        self.server, self.asked, self.answered, self.lock, self.ids = server, {}, set(), threading.Lock(), 0
        self.threads = [threading.Thread(target=kind, daemon=True) for kind in
                        [self.keep_alive] * 3 + [self.pipelined] * 2 + [self.slow_reader] * 2 + [self.fresh] * 2 + [self.refused]]
        for thread in self.threads:
            thread.start()

    def new(self, body, target="POST /predict", extra=b"", length=None):
        """-> (id, bytes of a request)"""
        data = json.dumps(body).encode() + extra
        with self.lock:
            self.ids += 1
            name = f"load-{self.ids}"
            self.asked[name] = len(data)
        return name, head(len(data) if length is None else length, f"X-Request-Id: {name}", request=target) + data

    def read(self, link, pause=0.0):
        """Reads one answer; -> whether the connection goes on."""
        _, headers, _ = read_answer(link, pause)
        with self.lock:
            self.answered.add(headers["x-request-id"])
        return headers.get("connection") != "close"

    def run(self, talk):
        """Connects and talks again and again, until nobody listens."""
        while True:
            try:
                link = connect(self.server)
            except OSError:
                return
            try:
                talk(link)
            except OSError:
                pass
            finally:
                link.close()

    def keep_alive(self):
        def talk(link):
            while True:
                link.sendall(self.new(SMALL)[1])
                if not self.read(link):
                    return
        self.run(talk)

    def pipelined(self):
        def talk(link):
            while True:
                requests = [self.new(SMALL)[1] for _ in range(4)]
                link.sendall(b"".join(requests))
                for _ in requests:
                    if not self.read(link):
                        return
        self.run(talk)

    def slow_reader(self):
        large = {"inputs": [ROW] * 1000, "estimator": "importance", "num_samples": 16, "seed": 1, "outputs": ["mean", "std", "median", "quantiles"]}

        def talk(link):
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            link.sendall(self.new(large)[1])
            link.settimeout(0.2)
            try:  # more than the server takes in advance: unread when it closes
                link.sendall(b"".join(self.new(large)[1] for _ in range(20)))
            except socket.timeout:
                pass
            link.settimeout(60 * SLOWER)
            while self.read(link, 0.005):
                pass
        self.run(talk)

    def fresh(self):
        def talk(link):
            link.sendall(self.new(SMALL)[1])
            self.read(link)
        self.run(talk)

    def refused(self):
        def talk(link):
            name, data = self.new(SMALL, "POST /nowhere", b" " * 100000)
            link.sendall(data[:50000])
            time.sleep(0.01)
            try:
                link.sendall(data[50000:])
            except OSError:
                pass
            self.read(link)
            link.sendall(self.new(SMALL, length=10 ** 9)[1])
            self.read(link)
        self.run(talk)

    def check(self):
        for thread in self.threads:
            thread.join(60 * SLOWER)
            assert not thread.is_alive(), "a client hangs"
        lines = logged(self.server)
        for name, line in lines.items():
            if line["status"] != "0":
                assert line["sent"] == "yes" and name in self.answered, f"answered, but its client has not got it: {line}"
            else:
                assert int(line["in"]) < self.asked[name], f"read whole, and not answered: {line}"
        return len(lines)


def stop_under_load(binary, stops):
    """-> (requests that were read, seconds of the longest stop); fails where one of them got no answer"""
    total, longest = 0, 0
    for i in range(stops):
        repository = one()
        server = Server(binary, repository)
        try:
            load = Load(server)
            assert wait_until(lambda i=i, load=load: len(load.answered) >= 10 + 40 * (i % 7))
            time.sleep(0.013 * (i % 7))
            start = time.monotonic()
            status = server.stop()
            longest = max(longest, time.monotonic() - start)
            assert status == 0, (status, server.lines[-5:])
            total += load.check()
        finally:
            server.kill()
            repository.remove()
    print(f"      {stops} stops, {total} requests, none without its answer, the longest stop took {longest:.2f} s", flush=True)
    return total, longest


def test_stopping_under_load_loses_no_answer(binary):
    total, longest = stop_under_load(binary, 20 if SLOWER == 1 else 4)
    assert total > 100 and longest < 30, (total, longest)  # neither idle connections nor their time-outs are waited for


def test_idle_connections_do_not_delay_a_stop(binary):
    repository = one()
    server = Server(binary, repository, "--idle-timeout-s", 600)
    links = [connect(server) for _ in range(20)]
    for link in links[:10]:
        link.sendall(head(None, request="GET /healthz"))
        assert read_answer(link)[0] == 200
    start = time.monotonic()
    assert server.stop() == 0
    repository.remove()
    assert time.monotonic() - start < 30, "it waited for their time-out"
    for link in links:
        assert read_all(link) == (b"", "end")
        link.close()


def test_before_a_stop_it_serves_on_and_is_not_ready(binary):
    with serving(binary, one(), "--pre-stop-ms", 600000) as server:
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: server.ask("GET", "/readyz")[0] == 503)
        assert server.ask("GET", "/livez")[0] == 200
        status, headers, _ = server.ask("POST", "/predict", SMALL)
        assert status == 200 and "connection" not in headers, headers


def test_a_stop_follows_in_its_time(binary):
    repository = one()
    server = Server(binary, repository, "--pre-stop-ms", 600)
    try:
        late = connect(server)
        late.sendall(request(SMALL, "X-Request-Id: late")[:-5])  # the rest does not come
        start = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - start >= 0.59  # a loop has its own idea of now
        late.close()
    finally:
        server.kill()
        repository.remove()


def test_a_second_signal_stops_at_once(binary):
    for options, first_answer in (((), None), (("--pre-stop-ms", 3600000), 200)):
        repository = Repository().golden("smooth_2d")
        server = Server(binary, repository, *HOLDABLE, *options)
        try:
            with Hold(server):
                server.process.send_signal(signal.SIGTERM)
                assert wait_until(lambda: any("signal received" in line for line in server.lines))
                time.sleep(0.1)
                assert server.process.poll() is None, "it did not wait for its request"
                if first_answer:
                    assert server.ask("GET", "/livez")[0] == first_answer
                assert server.stop() == 0
                assert any("were not answered: requests=1" in line for line in server.lines), server.lines[-4:]
        finally:
            server.kill()
            repository.remove()


def stop_while_loading(binary, n):
    """-> how many of n models were loaded before it stopped"""
    repository = Repository()
    for i in range(n):
        repository.golden("smooth_2d", f"m{i}")
    server = Server(binary, repository, "--workers", 1, expect_start=False)
    try:
        assert wait_until(lambda: any("model loaded" in line for line in server.lines))
        start = time.monotonic()
        assert server.stop() == 0, server.lines[-3:]
        took = time.monotonic() - start
        loaded = sum("model loaded" in line for line in server.lines)
        print(f"      stopped {took * 1000:.0f} ms after the signal, {loaded} of {n} models loaded")
        assert not any("cannot serve" in line for line in server.lines)
        return loaded
    finally:
        server.kill()
        repository.remove()


def test_a_signal_while_models_load(binary):
    assert any(stop_while_loading(binary, n) < n for n in (300, 1000, 3000)), "all were loaded first"


def test_a_signal_while_it_ends_changes_nothing(binary):
    with serving(binary, one()) as server:
        server.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: any("info: stopped: " in line for line in server.lines))
        for _ in range(1000):  # it may have ended by now; if not, its memory is being freed
            server.process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    if sys.argv[2:3] == ["--stops"]:
        stop_under_load(sys.argv[1], int(sys.argv[3]))
        sys.exit(0)
    sys.exit(run_all(globals(), sys.argv[1]))
