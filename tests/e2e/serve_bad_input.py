#!/usr/bin/env python3
"""Whatever a client sends, it gets a refusal that says why, or a clean close, and nobody else notices: tables of requests,
each sent over a socket to one running server, and after each a good request on a connection that was open all the time
has the same bytes as before. Then the heaviest of them in a loop while a process of its own times GET /healthz.
serve_bad_input.py SERVER

EBM_PROBE_MS: the longest that a probe may take, with the time that the server waits for a CPU; when not set 500, without it."""
import collections
import json
import os
import socket
import subprocess
import sys
import threading
import time

from harness import SLOW, Repository, Server, Wire, expect_error, request_bytes, run_all, serving

ROW = [0.1, 0.2, 0.3]  # of relu_1d
GOOD = b'{"inputs":[[0.1,0.2,0.3]],"seed":1}'
LIMIT_BYTES = 4 << 20
PROBE_MS = float(os.environ.get("EBM_PROBE_MS", "500")) * SLOW


class Steady:
    """A connection that is open all the time, and must have the same answer after every insult to others."""

    def __init__(self, server, timeout=60):
        self.wire = Wire(server, timeout)
        self.expected = self._ask()

    def _ask(self):
        assert self.wire.send(request_bytes(GOOD))
        status, _, body = self.wire.answer()
        assert status == 200, body
        return body

    def check(self, after):
        got = self._ask()
        assert got == self.expected, f"after '{after}': {got[:200]} instead of {self.expected[:200]}"


# ---- bodies ----


def with_field(name, literal):
    """A good body with one more field, or with other inputs; the literal is JSON text."""
    if name == "inputs":
        return b'{"inputs":' + literal + b"}"
    return b'{"inputs":[[0.1,0.2,0.3]],"' + name.encode() + b'":' + literal + b"}"


WRONG_VALUES = {
    "inputs": [None, True, 0, "x", {}, [], [[]], [None], ["x"], [{}], [True], [[1, 2, "3"]], [[1, 2, None]], [[1, 2, [3]]],
               [[1, 2, {}]], [[1, 2, True]], [[1, 2]], [[1, 2, 3, 4]], [[1, 2, 3], [1, 2]], [[1, 2, 3], 7], [1, 2, 3], [1]],
    "model": [None, True, 1, 1.5, [], {}, ["relu_1d"], "x" * 129],
    "version": [None, True, "1", 0, -1, 1.5, [], {}, 1e300],
    "outputs": [None, True, 1, "mean", [], {}, [1], [None], ["Mean"], ["mean "], [""], [["mean"]], ["mean"] * 100],
    "estimator": [None, True, 1, [], {}, "", "Auto", "x" * 100000],
    "num_samples": [None, True, "3", 0, -1, 1.5, 10 ** 9, 65537, [], {}, [3]],
    "draws": [None, True, 1, [], {}, "", "Independent"],
    "seed": [None, True, "1", -1, 1.5, 2 ** 53, 1e300, [], {}],
    "quantiles": [None, True, 0.5, "x", [], {}, [0], [1], [-0.1], [1.5], [None], ["0.5"], [[0.5]], [0.5] * 65],
    "timeout_ms": [None, True, "1", 0, -1, 1.5, 30001, [], {}],
    "id": [None, True, 1, [], {}, "x" * 257],
}

# name, body, status, words of the error
BODIES = [(f"{field}: {json.dumps(value)[:40]}", with_field(field, json.dumps(value).encode()), 400, [field])
          for field, values in WRONG_VALUES.items() for value in values]
BODIES += [(f"{field}: {literal.decode()}", with_field(field, value), 400, words)
           for field, shape in (("inputs", b"[[0.1,0.2,%b]]"), ("num_samples", b"%b"), ("quantiles", b"[%b]"))
           for literal, words in ((b"NaN", ["not valid JSON"]), (b"Infinity", ["not valid JSON"]), (b"-Infinity", ["not valid JSON"]),
                                  (b"nan", ["not valid JSON"]), (b"1e400", ["overflow"]), (b"-1e400", ["overflow"]),
                                  (b"01", ["not valid JSON"]), (b"0x10", ["not valid JSON"]), (b"+1", ["not valid JSON"]),
                                  (b".5", ["not valid JSON"]), (b"1.", ["not valid JSON"]), (b"1e", ["not valid JSON"]),
                                  (b"- 1", ["not valid JSON"]))
           for value in (shape % literal,)]
BODIES += [(f"the first {n} bytes", GOOD[:n], 400, ["not valid JSON"]) for n in range(1, len(GOOD))]
BODIES += [
    ("nothing", b"", 400, ["body", "empty"]),
    ("missing inputs", b"{}", 400, ["inputs", "missing"]),
    ("missing inputs, others there", b'{"seed":1,"num_samples":5}', 400, ["inputs", "missing"]),
    ("an unknown field", with_field("inpust", b"[[1,2,3]]"), 400, ["inpust", "unknown field", "inputs"]),
    ("nearly a field", with_field("num_sample", b"5"), 400, ["num_sample", "unknown field", "num_samples"]),
    ("a field in other letters", with_field("Seed", b"5"), 400, ["Seed", "unknown field", "seed"]),
    ("a field without a name", with_field("", b"5"), 400, ["unknown field"]),
    ("a field in UTF-8", with_field("\u00fc", b"5"), 400, ["\u00fc", "unknown field"]),
    ("a field with a long name", with_field("x" * 100000, b"5"), 400, ["xxx", "unknown field"]),
    ("a duplicate key", with_field("seed", b'1,"seed":2'), 400, ["duplicate"]),
    ("a duplicate key, escaped", with_field("seed", b'1,"s\\u0065ed":2'), 400, ["duplicate"]),
    ("duplicate inputs", GOOD[:-1] + b',"inputs":[[1,2,3]]}', 400, ["duplicate"]),
    ("no object but a list", b"[]", 400, ["body", "object"]),
    ("no object but a number", b"7", 400, ["body", "object"]),
    ("no object but a text", b'"inputs"', 400, ["body", "object"]),
    ("no object but null", b"null", 400, ["body", "object"]),
    ("spaces", b" " * 1000, 400, ["not valid JSON"]),
    ("two objects", GOOD + GOOD, 400, ["not valid JSON"]),
    ("something behind", GOOD + b"x", 400, ["not valid JSON"]),
    ("a comma too many", b'{"inputs":[[1,2,3],]}', 400, ["not valid JSON"]),
    ("single quotes", b"{'inputs':[[1,2,3]]}", 400, ["not valid JSON"]),
    ("a comment", b'{"inputs":[[1,2,3]]/* */}', 400, ["not valid JSON"]),
    ("a form", b"inputs=1&seed=2", 400, ["not valid JSON"]),
    ("a byte order mark", b"\xef\xbb\xbf" + GOOD, 400, ["not valid JSON"]),
    ("UTF-16", GOOD.decode().encode("utf-16"), 400, ["not valid JSON"]),
    ("invalid UTF-8", with_field("id", b'"\xff\xfe"'), 400, ["not valid JSON"]),
    ("UTF-8 cut short", with_field("id", b'"\xe2\x82"'), 400, ["not valid JSON"]),
    ("overlong UTF-8", with_field("id", b'"\xc0\x80"'), 400, ["not valid JSON"]),
    ("a surrogate in UTF-8", with_field("id", b'"\xed\xa0\x80"'), 400, ["not valid JSON"]),
    ("above U+10FFFF", with_field("id", b'"\xf4\x90\x80\x80"'), 400, ["not valid JSON"]),
    ("a lone high surrogate", with_field("id", b'"\\ud800"'), 400, ["not valid JSON"]),
    ("a lone low surrogate", with_field("id", b'"\\udc00"'), 400, ["not valid JSON"]),
    ("surrogates in the wrong order", with_field("id", b'"\\udc00\\ud800"'), 400, ["not valid JSON"]),
    ("an escape that there is not", with_field("id", b'"\\x41"'), 400, ["not valid JSON"]),
    ("an escape cut short", with_field("id", b'"\\u12"'), 400, ["not valid JSON"]),
    ("a line break in a text", with_field("id", b'"a\nb"'), 400, ["not valid JSON"]),
    ("\\u0000 in a text", with_field("id", b'"a\\u0000b"'), 400, []),
    ("\\u0000 in a name", with_field("model", b'"relu_1d\\u0000"'), 400, []),
    ("\\u0000 in a key", b'{"inputs\\u0000":[[1,2,3]]}', 400, []),
    ("a zero byte", GOOD[:20] + b"\0" + GOOD[20:], 400, ["not valid JSON"]),
    ("3 MB of [", b"[" * 3000000, 400, ["nested"]),
    ("3 MB of {", b"{" * 3000000, 400, ["nested"]),
    ('1 MB of {"a":', b'{"a":' * 200000, 400, ["nested"]),
    ("101 levels", with_field("inputs", b"[" * 100 + b"]" * 100), 400, ["nested"]),
    ("4 MB of 0,", b'{"inputs":[' + b"0," * 2000000 + b"0]}", 400, ["values"]),
    ("4 MB of one text", b'{"id":"' + b"x" * 4000000 + b'"}', 400, ["id"]),
    ("4 MB of one key", b'{"' + b"x" * 4000000 + b'":1}', 400, ["unknown field"]),
    ("4 MB of one number", with_field("inputs", b"[[0.1,0.2,1" + b"0" * 4000000 + b"]]"), 400, ["overflow"]),
    ("4 MB of an open text", b'{"id":"' + b"x" * 4000000, 400, ["not valid JSON"]),
    ("4 MB of backslashes", b'{"id":"' + b"\\" * 4000000, 400, ["not valid JSON"]),
    ("4 MB of zero bytes", b"\0" * 4000000, 400, ["not valid JSON"]),
    ("100000 keys", b"{" + b",".join(b'"k%d":0' % i for i in range(100000)) + b"}", 400, ["unknown field"]),
    ("4097 rows", with_field("inputs", b"[" + b"[1,2,3]," * 4096 + b"[1,2,3]]"), 400, ["inputs", "1 to 4096 rows, got 4097"]),
    ("a row of 100000", with_field("inputs", b"[[" + b"1," * 99999 + b"1]]"), 400, ["inputs[0]", "3 numbers"]),
    ("a ragged row far behind", with_field("inputs", b"[" + b"[1,2,3]," * 3000 + b"[1,2]]"), 400, ["inputs[3000]"]),
    ("an unknown model", with_field("model", b'"nobody"'), 404, ["no model 'nobody'"]),
    ("a model that climbs", with_field("model", b'"../../etc"'), 404, ["no model '../../etc'"]),
    ("a model that formats", with_field("model", b'"%s%n%1000000d"'), 404, ["%s%n%1000000d"]),
    ("a model without a name", with_field("model", b'""'), 404, ["no model ''"]),
    ("an unknown version", with_field("version", b"2"), 404, ["has no version 2 here, it has: 1"]),
]


def test_bodies(binary):
    codes = {400: "invalid", 404: "not_found"}
    with serving(binary, Repository().golden("relu_1d")) as server, Wire(server) as wire:
        steady = Steady(server)
        for name, body, status, words in BODIES:
            try:
                assert wire.send(request_bytes(body)), "closed while it was sent"
                answer = wire.answer()
                assert answer, "closed without an answer"
                expect_error(answer, status, codes[status], *words)
            except (AssertionError, ValueError, socket.timeout) as error:
                raise AssertionError(f"'{name}': {error}") from error
            steady.check(name)
        assert wire.send(request_bytes(GOOD)) and wire.answer()[2] == steady.expected, "the same connection"
        print(f"      {len(BODIES)} bodies")


# ---- the wire ----

Error = collections.namedtuple("Error", "status code words", defaults=("",))  # ours: a JSON body
Refused = collections.namedtuple("Refused", "statuses")  # the HTTP library's: a status without our body, then closed


def refused(*statuses):
    return Refused(statuses)


OK = "200, and the bytes of the good answer"
LIVE = "200 of /healthz"
CLOSED = "closed without a byte"
WAITS = "nothing, more is expected"
BAD_LENGTH = Error(400, "invalid", "expected one length")
MALFORMED = refused(400)


def get(path="/healthz", *headers, first=None, host="x"):
    return request_bytes(b"", *headers, length=False, first=first or f"GET {path} HTTP/1.1", host=host)


def chunk(data, size=None):
    return (size if size is not None else b"%x" % len(data)) + b"\r\n" + data + b"\r\n"


def chunked(body, *headers):
    return request_bytes(body, "Transfer-Encoding: chunked", *headers, length=False)


def lengths(value):
    return request_bytes(GOOD, f"Content-Length: {value}", length=False)


NOT_FOUND = Error(404, "not_found", "nothing at this path")
NO_METHOD = Error(405, "method_not_allowed")
END = b"0\r\n\r\n"

# name, bytes, what comes back, in order; a set: any of them
WIRES = [
    ("HTTP/1.0", request_bytes(GOOD, first="POST /predict HTTP/1.0"), [OK, CLOSED]),
    ("HTTP/1.0, kept alive", request_bytes(GOOD, "Connection: keep-alive", first="POST /predict HTTP/1.0"), [OK]),
    ("HTTP/0.9", b"GET /healthz\r\n\r\n", [MALFORMED]),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [refused(400, 505)]),
    ("HTTP/2.0", get(first="GET /healthz HTTP/2.0"), [refused(400, 505)]),
    ("HTTX/1.1", get(first="GET /healthz HTTX/1.1"), [MALFORMED]),
    ("no version", get(first="GET /healthz x"), [MALFORMED]),
    ("a word", b"hello\r\n\r\n", [{CLOSED, MALFORMED}]),
    ("no word", get(first=" /healthz HTTP/1.1"), [{CLOSED, MALFORMED}]),
    ("bytes", b"\x00\xff\xfe\x01" * 50, [{WAITS, CLOSED, MALFORMED}]),
    ("TLS hello", bytes.fromhex("16030100f8010000f40303") + b"\x11" * 240, [{WAITS, CLOSED, MALFORMED}]),
    ("empty lines before", b"\r\n\r\n" + get(), [LIVE]),
    ("line feeds alone", get().replace(b"\r", b""), [LIVE]),
    ("no host", get(host=None), [Error(400, "invalid", "Host")]),
    ("two hosts", get("/healthz", "Host: y"), [Error(400, "invalid", "Host")]),
    ("absolute form", get(first="GET http://x/healthz HTTP/1.1"), [{LIVE, NOT_FOUND}]),
    ("OPTIONS *", get(first="OPTIONS * HTTP/1.1"), [NOT_FOUND]),
    ("CONNECT", get(first="CONNECT x:80 HTTP/1.1"), [NOT_FOUND]),
    ("no slash", get("healthz"), [NOT_FOUND]),
    ("an unknown method", get(first="FOO /healthz HTTP/1.1"), [NO_METHOD]),
    ("a method in small letters", get(first="get /healthz HTTP/1.1"), [NO_METHOD]),
    ("a method of 5 KB", get(first="A" * 5000 + " /healthz HTTP/1.1"), [NO_METHOD]),
    ("DELETE", get(first="DELETE /predict HTTP/1.1"), [NO_METHOD]),
    ("PUT with a body", request_bytes(GOOD, first="PUT /predict HTTP/1.1"), [NO_METHOD]),
    ("GET of what takes POST", get("/predict"), [NO_METHOD]),
    ("GET with a body", request_bytes(GOOD, first="GET /healthz HTTP/1.1"), [LIVE]),
    ("an unknown path", get("/nothing"), [NOT_FOUND]),
    ("a path that climbs", get("/../healthz"), [NOT_FOUND]),
    ("two slashes", get("//healthz"), [NOT_FOUND]),
    ("%00", get("/%00"), [NOT_FOUND]),
    ("%00 behind a good path", get("/healthz%00x"), [NOT_FOUND]),
    ("a zero byte in the path", b"GET /healthz\0x HTTP/1.1\r\nHost: x\r\n\r\n", [{LIVE, NOT_FOUND, MALFORMED}]),
    ("a wrong escape", get("/healthz%zz"), [NOT_FOUND]),
    ("%ff", get("/%ff"), [NOT_FOUND]),
    ("a query", get("/healthz?a=%00&b"), [LIVE]),
    ("a path of 8 KB", get("/" + "a" * 8000), [NOT_FOUND]),
    ("a path of 100 KB", get("/" + "a" * 100000), [refused(414, 431)]),
    ("a path of 3 MB", get("/" + "a" * 3000000), [refused(414, 431)]),
    ("a header of 20 KB", get("/healthz", "X: " + "a" * 20000), [LIVE]),
    ("a header of 2 MB", get("/healthz", "X: " + "a" * 2000000), [refused(413, 431)]),
    ("100 headers", get("/healthz", *(f"X-{i}: {i}" for i in range(100))), [LIVE]),
    ("2000 headers", get("/healthz", *(f"X-{i}: {i}" for i in range(2000))), [refused(413, 431)]),
    ("a header without a colon", get("/healthz", "nothing"), [MALFORMED]),
    ("a header without a name", get("/healthz", ": 1"), [{LIVE, MALFORMED}]),
    ("a folded header", get("/healthz", "X: 1\r\n  2"), [{LIVE, MALFORMED}]),
    ("upgrade", get("/healthz", "Upgrade: websocket", "Connection: Upgrade"), [LIVE]),
    ("a type of 5 KB", request_bytes(GOOD, "Content-Type: " + "a" * 5000), [Error(415, "unsupported_type")]),
    ("a body that is not compressed, whatever it says", request_bytes(b"\x1f\x8b" + GOOD, "Content-Encoding: gzip"), [Error(400, "invalid")]),
    ("a coding that is not known", request_bytes(GOOD, "Content-Encoding: br"), [Error(415, "unsupported_type")]),
    ("no length", request_bytes(GOOD, length=False)[:-len(GOOD)], [Error(400, "invalid", "empty")]),
    ("a length too small", request_bytes(GOOD, length=10), [Error(400, "invalid", "not valid JSON")]),
    ("a length too large", request_bytes(GOOD, length=len(GOOD) + 1), [WAITS]),
    ("a length below 0", lengths("-1"), [MALFORMED]),
    ("a length of 2^63", lengths(2 ** 63), [Error(413, "too_large"), CLOSED]),
    ("a length of 2^64 + 35", lengths(2 ** 64 + 35), [refused(400, 413)]),
    ("a length of 23 digits", lengths("9" * 23), [refused(400, 413)]),
    ("a length in words", lengths("abc"), [MALFORMED]),
    ("an empty length", lengths(""), [MALFORMED]),
    ("a length of 0x23", lengths("0x23"), [MALFORMED]),
    ("a length of +35", lengths("+35"), [MALFORMED]),
    ("a length of 35, 35", lengths("35, 35"), [MALFORMED]),
    ("two lengths", request_bytes(GOOD, "Content-Length: 3"), [BAD_LENGTH, CLOSED]),
    ("two equal lengths", request_bytes(GOOD, f"Content-Length: {len(GOOD)}"), [BAD_LENGTH, CLOSED]),
    ("length and chunks", request_bytes(GOOD, "Transfer-Encoding: chunked"), [BAD_LENGTH, CLOSED]),
    ("a request hidden in chunks", chunked(END + get("/smuggled"), "Content-Length: 5"), [BAD_LENGTH, CLOSED]),
    ("chunks twice", chunked(chunk(GOOD) + END, "Transfer-Encoding: chunked"), [BAD_LENGTH, CLOSED]),
    ("an unknown coding", request_bytes(GOOD, "Transfer-Encoding: gzip", length=False),
     [Error(400, "invalid", "Transfer-Encoding")]),
    ("chunks", chunked(chunk(GOOD) + END), [OK]),
    ("chunks of one byte", chunked(b"".join(chunk(bytes([byte])) for byte in GOOD) + END), [OK]),
    ("chunks with extensions and trailers", chunked(chunk(GOOD, b"23;a=b") + b"0\r\nX: y\r\n\r\n"), [OK]),
    ("a chunk size in words", chunked(chunk(GOOD, b"zz") + END), [MALFORMED]),
    ("a chunk size below 0", chunked(chunk(GOOD, b"-1") + END), [MALFORMED]),
    ("no chunk size", chunked(chunk(GOOD, b"") + END), [MALFORMED]),
    ("a chunk size of 18 digits", chunked(chunk(GOOD, b"f" * 18) + END), [refused(400, 413)]),
    ("a chunk size of 2^63 - 1", chunked(chunk(GOOD, b"7" + b"f" * 15) + END), [{WAITS, Error(413, "too_large")}]),
    ("a chunk that is longer than it says", chunked(chunk(GOOD, b"10") + END), [MALFORMED]),
    ("chunks without an end", chunked(chunk(GOOD)), [WAITS]),
    ("too large", request_bytes(b"x" * (LIMIT_BYTES + 1)), [Error(413, "too_large", "larger than 4194304 bytes")]),
    ("too large in chunks", chunked(chunk(b"x" * 500000) * 9 + END), [Error(413, "too_large")]),
    ("far too large", request_bytes(b"", length=10 ** 12), [Error(413, "too_large"), CLOSED]),
    ("far too large in chunks", chunked(chunk(b"x" * 500000) * 20 + END), [Error(413, "too_large"), CLOSED]),
    ("too large for nobody", request_bytes(b"x" * 100000, first="POST /nothing HTTP/1.1"), [NOT_FOUND, WAITS]),
    ("100-continue without the body", request_bytes(b"", "Expect: 100-continue", length=35), [(100, b"")]),
    ("100-continue, refused", request_bytes(b"", "Expect: 100-continue", length=LIMIT_BYTES + 1), [Error(413, "too_large")]),
    ("another expectation", request_bytes(GOOD, "Expect: 200-maybe"), [{OK, refused(417), Error(417, "invalid")}]),
    ("pipelined: good, bad, good", request_bytes(GOOD) + request_bytes(b"{") + get("/x") + request_bytes(GOOD),
     [OK, Error(400, "invalid"), NOT_FOUND, OK]),
    ("100 pipelined", request_bytes(GOOD) * 100, [OK] * 100),
    ("pipelined behind a refusal that closes", request_bytes(GOOD, "Content-Length: 3") + request_bytes(GOOD), [BAD_LENGTH, CLOSED]),
]


def fits(expected, answer, good):
    """Does an answer fit? CLOSED is None here."""
    if answer is None or expected is CLOSED:
        return answer is None and expected is CLOSED
    status, headers, body = answer
    if expected is OK:
        return status == 200 and body == good
    if expected is LIVE:
        return status == 200 and body == b'{"live":true}\n'
    if isinstance(expected, Error):
        if status != expected.status:
            return False
        expect_error(answer, expected.status, expected.code, expected.words)
        return status != 405 or "allow" in headers
    if isinstance(expected, Refused):
        return status in expected.statuses and headers.get("connection", "").lower() == "close"
    return (status, body) == expected


def any_of(expected):
    return expected if isinstance(expected, set) else {expected}


def check_wire(wire, expected, good):
    """Reads what comes and compares; False when the rest of the case has no sense any more."""
    choices = any_of(expected)
    if WAITS in choices and wire.is_silent(0.1 * SLOW):
        return
    answer = wire.answer(without_body=(100, b"") in choices)
    fitting = [choice for choice in choices if choice is not WAITS and fits(choice, answer, good)]
    assert fitting, f"{answer if answer is None else (answer[0], answer[2][:200])} instead of {expected}"
    if isinstance(fitting[0], Refused):
        assert wire.is_closed()


def test_requests_on_the_wire(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        steady = Steady(server)
        for name, data, expectations in WIRES:
            try:
                with Wire(server) as wire:
                    wire.send(data)
                    for expected in expectations:
                        check_wire(wire, expected, steady.expected)
            except (AssertionError, ValueError, OSError) as error:
                raise AssertionError(f"'{name}': {error!r}") from error
            steady.check(name)
        print(f"      {len(WIRES)} requests")


def test_one_byte_at_a_time(binary):
    with serving(binary, Repository().golden("relu_1d")) as server, Wire(server) as wire:
        steady = Steady(server)
        for data, expected in ((request_bytes(GOOD), OK), (chunked(chunk(GOOD) + END), OK),
                               (request_bytes(b"{" * 20), Error(400, "invalid")), (get("/nothing"), NOT_FOUND)):
            assert wire.send(data, pieces_of=1)
            check_wire(wire, expected, steady.expected)
            steady.check("one byte at a time")


def test_half_closed(binary):
    """Whoever says that it sends no more may count as gone: an answer or a clean end, never a half, never a hang."""
    with serving(binary, Repository().golden("relu_1d")) as server:
        steady = Steady(server)
        for data in (request_bytes(GOOD, "Connection: close"), request_bytes(GOOD)[:-5], request_bytes(GOOD)[:30], b"",
                     request_bytes(b"{", "Connection: close"), request_bytes(GOOD, "Connection: close")[:-1]):
            with Wire(server) as wire:
                wire.send(data)
                wire.end_sending()
                if not wire.is_silent(0.05 * SLOW):
                    answer = wire.answer()
                    assert answer is None or answer[0] in (200, 400), answer
            steady.check("a half-close")


def test_a_chunk_size_line_without_end(binary):
    """More than the HTTP library's buffer holds: it is refused, others are answered meanwhile."""
    repository = Repository().golden("relu_1d")
    server = Server(binary, repository, "--idle-timeout-s", 600)
    try:
        steady = Steady(server)
        with Wire(server) as wire:
            wire.send(chunked(b"0" * 100000))
            for _ in range(10):
                steady.check("a chunk size line of 100 KB")
            status, _, body = wire.answer()
            assert status == 400 and b"expected the size of a chunk" in body, (status, body)
        with Wire(server) as wire:  # as much as the buffer holds, behind other requests
            wire.send(get("/healthz") + request_bytes(GOOD) + chunked(b"0" * 40000))
            assert [wire.answer()[0] for _ in range(3)] == [200, 200, 400]
        assert server.stop() == 0
    finally:
        server.kill()
        repository.remove()


# ---- probes under fire ----


def heavy_bodies():
    """What costs a server most: to receive and refuse, and to receive, read, compute and write."""
    number = b"0." + b"1" * 320
    long_numbers = b'{"num_samples":1,"inputs":[' + b",".join([b"[" + b",".join([number] * 3) + b"]"] * 4096) + b"]}"
    big_answer = json.dumps({"inputs": [ROW] * 4096, "num_samples": 1, "quantiles": [i / 65 for i in range(1, 65)],
                             "outputs": ["mean", "std", "variance", "median", "quantiles"]}).encode()
    refused_bodies = [b"[" * 3000000, b'{"inputs":[' + b"0," * 2000000 + b"0]}", b'{"inputs":[' + b"0," * 1000000 + b"0]}"]
    return {"refused": refused_bodies, "all": refused_bodies + [long_numbers, GOOD.ljust(LIMIT_BYTES), big_answer]}


def hammer(server, bodies, first, stop, counts):
    """One thread: heavy requests in turn on one connection, until it is told to stop."""
    turn = first
    wire = Wire(server, 60)
    while not stop.is_set():
        if not wire.send(request_bytes(bodies[turn % len(bodies)])):
            wire = Wire(server, 60)
            continue
        answer = wire.answer()
        counts[answer[0] if answer else "closed"] += 1
        turn += 1
    wire.link.close()


def cpu_ns(pid):
    """-> (how long its first thread ran, how long that was ready and had no CPU)"""
    with open(f"/proc/{pid}/task/{pid}/schedstat", encoding="ascii") as file:
        return [int(word) for word in file.read().split()[:2]]


def probe(port, pid, n):
    """A process of its own: n requests on one kept-alive connection, one after the other. Prints a JSON line. For each, in
    milliseconds: the latency as seen; without the time that this process itself waited for a CPU; for how long the
    server's loop thread ran, and waited for a CPU, meanwhile."""
    request, found = get(), []
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(n):
            loop, own, start = cpu_ns(pid), cpu_ns(os.getpid()), time.monotonic_ns()
            link.sendall(request)
            got = b""
            while not got.endswith(b'{"live":true}\n'):
                piece = link.recv(4096)
                assert piece, got
                got += piece
            took = time.monotonic_ns() - start
            waited = cpu_ns(os.getpid())[1] - own[1]
            ran, stood = (after - before for before, after in zip(loop, cpu_ns(pid)))
            found.append([took / 1e6, max(0, took - waited) / 1e6, ran / 1e6, stood / 1e6])
            time.sleep(0.001)
    print(json.dumps(found))


def show(name, values):
    values = sorted(values)
    print(f"      {name}: median {values[len(values) // 2]:.2f}, p99 {values[len(values) * 99 // 100]:.2f}, max {values[-1]:.2f} ms")


def probe_under(server, bodies):
    """Latencies of probes while 16 threads send these bodies; and what the threads got."""
    stop, counts = threading.Event(), collections.Counter()
    threads = [threading.Thread(target=hammer, args=(server, bodies, i, stop, counts)) for i in range(16)]
    for thread in threads:
        thread.start()
    try:
        command = [sys.executable, os.path.abspath(__file__), "--probe", str(server.port), str(server.process.pid),
                   str(1000 if SLOW == 1 else 300)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=160 * SLOW, check=True)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return json.loads(done.stdout), counts


def judged(one):
    """Where no limit is set, time in which the machine let others run is not the server's."""
    return one[1] if "EBM_PROBE_MS" in os.environ else max(0, one[1] - one[3])


def test_probes_answer_under_fire(binary):
    with serving(binary, Repository().golden("relu_1d")) as server:
        steady = Steady(server)
        for name, bodies in heavy_bodies().items():
            found, counts = probe_under(server, bodies)
            print(f"      bodies: {name}; their statuses: {dict(counts)}")
            seen, served, _, _ = zip(*found)
            show("seen by the client", seen)
            show("without its own wait for a CPU", served)
            slowest = max(found, key=judged)
            print(f"      in the slowest, of {slowest[1]:.2f} ms, the loop ran {slowest[2]:.2f} and waited for a CPU {slowest[3]:.2f}")
            assert counts[400] and (name == "refused" or counts[200]), counts
            assert judged(slowest) < PROBE_MS, f"a probe took {judged(slowest):.1f} ms"
            steady.check("the fire")


if __name__ == "__main__":
    if sys.argv[1] == "--probe":
        probe(*map(int, sys.argv[2:]))
        sys.exit(0)
    sys.exit(run_all(globals(), sys.argv[1]))
