#!/usr/bin/env python3
"""Bodies that are no plain JSON: compressed ones, .npy arrays both ways, tensors of the Open Inference Protocol byte by byte.
serve_bodies.py SERVER"""
import gzip
import json
import re
import struct
import sys
import zlib

import arrays
from harness import Repository, expect_error, run_all, serving

ROWS = [[0.1, 0.2, 0.3], [1, 2, 3]]  # of relu_1d
NPY = {"Content-Type": "application/x-npy"}
ACCEPT = {"Accept": "application/x-npy"}


def npy(rows, letter="d", shape=None):
    flat = [number for row in rows for number in row]
    return arrays.npy("<f8" if letter == "d" else "<f4", shape or (len(rows), len(rows[0])), struct.pack(f"<{len(flat)}{letter}", *flat))


def array(data):
    """-> (shape, numbers)"""
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:20]
    begin = 10 + struct.unpack("<H", data[8:10])[0]
    assert begin % 64 == 0
    shape = re.search(rb"\{'descr': '<f8', 'fortran_order': False, 'shape': \(([0-9, ]+)\), \} *\n$", data[:begin]).group(1)
    return tuple(int(n) for n in shape.split(b",") if n.strip()), struct.unpack(f"<{(len(data) - begin) // 8}d", data[begin:])


def relu(*options):
    return serving_of(options)


def serving_of(options):
    return lambda binary: serving(binary, Repository().golden("relu_1d"), *options)


# ---- arrays ----


def test_an_array_is_the_rows_of_json(binary):
    with relu()(binary) as server:
        options = {"seed": 3, "outputs": ["mean", "quantiles"], "quantiles": [0.1, 0.9], "interval": {"level": 0.5}}
        query = "/predict?seed=3&outputs=mean,quantiles&quantiles=0.1,0.9&interval.level=0.5"
        expected = server.ask("POST", "/predict", {"inputs": ROWS, **options})[2]
        assert server.ask("POST", query, npy(ROWS), NPY)[2] == expected
        as_floats = [list(struct.unpack("<3f", struct.pack("<3f", *row))) for row in ROWS]
        assert server.ask("POST", query, npy(ROWS, "f"), NPY)[2] == server.ask("POST", "/predict", {"inputs": as_floats, **options})[2]
        many = ROWS * 1000  # 48 kB: a worker reads it
        expected = server.ask("POST", "/predict", {"inputs": many, "seed": 3})[2]
        assert server.ask("POST", "/predict?seed=3", npy(many), NPY)[2] == expected


def test_one_output_as_an_array(binary):
    with relu()(binary) as server:
        cases = (
            ("/predict", {"outputs": ["std"]}, "std", (2, 1)),
            ("/predict", {"outputs": ["quantiles"]}, None, (2, 3, 1)),
            ("/predict", {"outputs": ["log_normalizer"]}, "log_normalizer", (2,)),
            ("/predict", {"outputs": ["cdf"], "cdf": [1, 2]}, "cdf", (2, 2)),
            ("/sample", {"num_samples": 5}, "samples", (2, 5, 1)),
            ("/density", {"outputs": ["log_prob"], "targets": [[1, 2], [3, 4]]}, "log_prob", (2, 2)),
        )
        for path, options, name, shape in cases:
            body = {"inputs": ROWS, "seed": 1, **options}
            status, headers, data = server.ask("POST", path, json.dumps(body), ACCEPT)
            assert (status, headers["content-type"]) == (200, "application/x-npy"), (status, data)
            got, numbers = array(data)
            assert got == shape, (path, got)
            if name:
                rows = [row[name] for row in json.loads(server.ask("POST", path, body)[2])["predictions"]]
                text = re.sub(r"[\[\]]", " ", json.dumps(rows)).split(",")
                assert all(abs(a - float(b)) <= 1e-8 * abs(a) for a, b in zip(numbers, text)), (path, numbers, text)
        for path, body in (("/predict", {}), ("/predict", {"outputs": ["interval"], "interval": {"kind": "highest_density"}}),
                           ("/sample", {"resample": False}), ("/density", {"targets": [[1], [2]]}), ("/refine", {})):
            expect_error(server.ask("POST", path, json.dumps({"inputs": ROWS, **body}), ACCEPT), 406, "not_acceptable", "Accept: ")
        for accept in ("*/*", "text/html, application/json", "application/x-npyz", ""):
            assert server.ask("POST", "/predict", json.dumps({"inputs": ROWS}), {"Accept": accept})[1]["content-type"] == "application/json"


def test_bad_arrays_are_refused(binary):
    with relu()(binary) as server:
        good = npy(ROWS)
        for query, body, *fragments in (
                ("", b"", "expected a .npy file"),
                ("", b'{"inputs":[[1,2,3]]}', "expected a .npy file"),
                ("", good[:-1], "does not take"),
                ("", good + b"\0", "does not take"),
                ("", npy(ROWS, shape=(3, 3)), "does not take"),
                ("", npy([[1e999, 2, 3]]), "body[0][0]: expected a finite number"),
                ("", npy([[1, 2]]), "expected a list of 3 numbers"),
                ("?inputs=1", good, "inputs: unknown field"),
                ("?sede=1", good, "sede: unknown field"),
                ("?seed=x", good, "seed: expected a whole number"),
                ("?seed=1&seed=2", good, "seed: stands in the query twice"),
                ("?outputs=", good, "outputs[0]: unknown word"),
                ("?" + "&".join("a" * i + "=1" for i in range(1, 40)), good, "query: more than 32 fields")):
            expect_error(server.ask("POST", "/predict" + query, body, NPY), 400, "invalid", *fragments)
        expect_error(server.ask("POST", "/density?targets=1", good, NPY), 400, "invalid", "targets: expected a list")
        expect_error(server.ask("POST", "/predict", good, {"Content-Type": "application/octet-stream"}), 415, "unsupported_type",
                     "expected application/json, application/x-npy, image/png")


# ---- compression ----


def test_compressed_bodies_say_the_same(binary):
    with relu()(binary) as server:
        body = json.dumps({"inputs": ROWS * 20, "seed": 3}).encode()
        expected = server.ask("POST", "/predict", body)[2]
        for coding, data in (("gzip", gzip.compress(body)), ("x-gzip", gzip.compress(body)), ("GZIP", gzip.compress(body)),
                             ("deflate", zlib.compress(body)), ("identity", body)):
            assert server.ask("POST", "/predict", data, {"Content-Encoding": coding})[2] == expected, coding
        expected = server.ask("POST", "/predict?seed=3", npy(ROWS), NPY)[2]
        assert server.ask("POST", "/predict?seed=3", gzip.compress(npy(ROWS)), {**NPY, "Content-Encoding": "gzip"})[2] == expected


def test_bad_compressed_bodies_are_refused(binary):
    with relu("--max-body-bytes", 100000)(binary) as server:
        body = json.dumps({"inputs": ROWS}).encode()
        packed = gzip.compress(body)
        for data, fragment in ((b"", "cut off"), (packed[:-1], "cut off"), (packed + b"\0", "1 bytes follow"), (body, "not what its"),
                               (zlib.compress(body), "not what its"), (gzip.compress(b"{"), "not valid JSON")):
            expect_error(server.ask("POST", "/predict", data, {"Content-Encoding": "gzip"}), 400, "invalid", fragment)
        bomb = gzip.compress(b" " * (64 << 20), 9)  # 65 kB
        before = server.rss_kib()
        expect_error(server.ask("POST", "/predict", bomb, {"Content-Encoding": "gzip"}), 413, "too_large",
                     "larger than 100000 bytes when it is decompressed")
        assert server.rss_kib() - before < 4096
        for coding in ("br", "gzip, gzip", "zstd"):
            expect_error(server.ask("POST", "/predict", body, {"Content-Encoding": coding}), 415, "unsupported_type", "gzip or deflate")


# ---- tensors ----

PATH = "/v2/models/relu_1d/infer"


def infer(server, head, tensors=b"", length=None, **headers):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)) if length is None else length, **headers}
    return server.ask("POST", PATH, text + tensors, headers)


def x_of(**more):
    return {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", **more}], "parameters": {"seed": 1}}


def test_binary_and_json_outputs_side_by_side(binary):
    with relu()(binary) as server:
        data = struct.pack("<6f", *ROWS[0], *ROWS[1])
        body = x_of(parameters={"binary_data_size": 24})
        body["outputs"] = [{"name": "mean", "parameters": {"binary_data": True}}, {"name": "std"},
                           {"name": "reliable", "parameters": {"binary_data": True}}]
        status, headers, got = infer(server, body, data)
        assert status == 200 and headers["content-type"] == "application/octet-stream", got
        length = int(headers["inference-header-content-length"])
        answer, tensors = json.loads(got[:length]), got[length:]
        sizes = [output.get("parameters", {}).get("binary_data_size") for output in answer["outputs"]]
        assert sizes == [8, None, 2] and len(tensors) == 10, answer
        plain = server.ask("POST", PATH, {**x_of(data=ROWS), "outputs": [{"name": "mean"}]})
        assert "inference-header-content-length" not in plain[1]
        mean = json.loads(plain[2])["outputs"][0]["data"]
        assert struct.pack("<2f", *mean) == tensors[:8] and tensors[8:] == b"\1\1"
        again = infer(server, body, data, **{"Content-Type": "text/whatever"})
        assert again[2] == got, "the content type is ignored"


def test_a_body_of_one_row_alone(binary):
    with relu()(binary) as server:
        status, headers, got = server.ask("POST", PATH, struct.pack("<3f", *ROWS[0]), {"Inference-Header-Content-Length": "0"})
        assert status == 200, got
        answer = json.loads(got[:int(headers["inference-header-content-length"])])
        assert [output["shape"] for output in answer["outputs"]] == [[1, 1], [1, 1], [1]]
        expect_error(server.ask("POST", PATH, struct.pack("<2f", 1, 2), {"Inference-Header-Content-Length": "0"}), 400, "invalid",
                     "body: expected the 3 inputs", "12 bytes, got 8")


def test_lengths_that_lie(binary):
    with relu("--max-binary-bytes", 1 << 20)(binary) as server:
        data = struct.pack("<6f", *ROWS[0], *ROWS[1])
        good = x_of(parameters={"binary_data_size": 24})
        text = json.dumps(good).encode()
        for length in ("-1", "+1", "1e2", " ", "0x10", "99999999999999999999", str(len(text) + 25)):
            expect_error(infer(server, good, data, length), 400, "invalid", "Inference-Header-Content-Length")
        expect_error(infer(server, good, data, str(len(text) - 1)), 400, "invalid")
        expect_error(infer(server, good, data[:-1]), 400, "invalid", "the body has 23 more bytes")
        expect_error(infer(server, good, data + b"\0"), 400, "invalid", "1 bytes follow")
        expect_error(infer(server, x_of(parameters={"binary_data_size": 23}), data), 400, "invalid", "make 24")
        expect_error(infer(server, good, b"\0" * (2 << 20)), 413, "too_large", "body: larger than")
        expect_error(server.ask("POST", PATH, b" " * (5 << 20)), 413, "too_large")  # JSON alone has the other limit
        expect_error(server.ask("POST", "/v2/models/relu_1d/versions/9/infer", x_of(data=ROWS)), 404, "not_found", "no version 9")
        expect_error(server.ask("POST", "/v2/models/relu_1d/versions/x/infer", x_of(data=ROWS)), 404, "not_found", "version:")
        expect_error(server.ask("GET", PATH), 405, "method_not_allowed")


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
