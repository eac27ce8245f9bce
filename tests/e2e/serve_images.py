#!/usr/bin/env python3
"""Images as inputs: the same bytes of an answer for the same picture in every body, what is refused and how, and what a large
picture costs. serve_images.py SERVER"""
import base64
import json
import os
import struct
import sys
import threading
import zlib

from arrays import npy
from harness import HERE, HOLDABLE, SLOW, Hold, Repository, expect_error, run_all, serving
from model_files import publish_bytes, reader_of_images

SIDE = 16
IMAGES = os.path.join(HERE, "..", "images")
INFER = "/v2/models/images/infer"
PNG, JPEG, NPY = ({"Content-Type": kind} for kind in ("image/png", "image/jpeg", "application/x-npy"))


# ---- pictures, without a library for them ----


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(planes, width, height, before=b""):
    """Planes of bytes, 1 or 3 of them."""
    pixels = planes[0] if len(planes) == 1 else b"".join(bytes(values) for values in zip(*planes))
    size = width * len(planes)
    rows = b"".join(b"\0" + pixels[y * size:(y + 1) * size] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0 if len(planes) == 1 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + before + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture(number=0, channels=3):
    """-> planes. Number 0 is what tests/images/rgb.jpg shows."""
    colours = (lambda x, y: 10 * x + 40, lambda x, y: 10 * y + 20, lambda x, y: 200 - 5 * x - 5 * y)
    return [bytes((colour(x, y) + 29 * number * (x % 3)) % 256 for y in range(SIDE) for x in range(SIDE)) for colour in colours[:channels]]


def png_of(planes):
    return png(planes, SIDE, SIDE)


def floats(data):
    return struct.pack(f"<{len(data)}f", *data)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def file(name):
    with open(os.path.join(IMAGES, name), "rb") as stream:
        return stream.read()


def repository(**models):
    made = Repository()
    for name, model in models.items():
        publish_bytes(made, name, model)
    return made


def reading(binary, *options):
    return serving(binary, repository(images=reader_of_images()), *options)


def good(result):
    status, _, body = result
    assert status == 200, f"{status}: {body[:300]}"
    return body


def infer(server, shape, datatype, data, binary=True):
    tensor = {"name": "x", "shape": shape, "datatype": datatype}
    tensor |= {"parameters": {"binary_data_size": len(data)}} if binary else {"data": data}
    text = json.dumps({"inputs": [tensor], "parameters": {"seed": 7}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    return server.ask("POST", INFER, text + data if binary else text, headers)


# ---- one picture, many bodies ----


def test_one_picture_has_one_answer_in_every_body(binary):
    with reading(binary) as server:
        planes = picture()
        flat, shape = b"".join(planes), (1, 3, SIDE, SIDE)
        expected = good(server.ask("POST", "/predict", {"inputs": [list(flat)], "seed": 7}))
        query = "/predict?seed=7"
        bodies = {"png": good(server.ask("POST", query, png_of(planes), PNG)),
                  "base64": good(server.ask("POST", "/predict", {"inputs": [b64(png_of(planes))], "seed": 7}))}
        for name, data, kind in (("bytes", flat, "|u1"), ("floats", floats(flat), "<f4"), ("doubles", struct.pack(f"<{len(flat)}d", *flat), "<f8")):
            bodies[f"npy of {name}"] = good(server.ask("POST", query, npy(kind, shape, data), NPY))
            bodies[f"flat npy of {name}"] = good(server.ask("POST", query, npy(kind, (1, len(flat)), data), NPY))
        for name, body in bodies.items():
            assert body == expected, f"{name}: {body[:200]} instead of {expected[:200]}"
        tensors = {"UINT8 in binary": infer(server, list(shape), "UINT8", flat),
                   "FP32 in binary": infer(server, list(shape), "FP32", floats(flat)),
                   "UINT8 in JSON": infer(server, list(shape), "UINT8", list(flat), binary=False),
                   "flat": infer(server, [1, len(flat)], "UINT8", flat),
                   "nested": infer(server, list(shape), "FP32", [[[list(plane[y * SIDE:(y + 1) * SIDE]) for y in range(SIDE)] for plane in planes]], False)}
        first = good(tensors["UINT8 in binary"])
        for name, result in tensors.items():
            assert good(result) == first, name
        outputs = {output["name"]: output["data"] for output in json.loads(first)["outputs"]}
        means = json.loads(expected)["predictions"][0]
        for name in ("mean", "std"):
            assert abs(outputs[name][0] - means[name][0]) <= 1e-6 * abs(means[name][0]), (outputs, means)


def test_a_raw_body_is_bytes_or_floats(binary):
    with reading(binary) as server:
        flat, raw = b"".join(picture()), {"Inference-Header-Content-Length": "0"}
        answers = []
        for body in (flat, floats(flat)):
            _, headers, data = server.ask("POST", INFER, body, raw)
            answers.append(data[int(headers["inference-header-content-length"]):])
        assert answers[0] == answers[1] and len(answers[0]) == 9, answers
        expect_error(server.ask("POST", INFER, flat[1:], raw), 400, "invalid", "3072 bytes, or as UINT8, got 767")
        expect_error(server.ask("POST", INFER, floats([float("inf")] * len(flat)), raw), 400, "invalid", "body: element 0: expected a finite")


def test_every_route_takes_images(binary):
    with reading(binary) as server:
        planes = picture()
        flat = list(b"".join(planes))
        for path, options, query in (
                ("/predict", {"outputs": ["mean", "quantiles"], "quantiles": [0.1, 0.9]}, "outputs=mean,quantiles&quantiles=0.1,0.9"),
                ("/sample", {"num_samples": 5}, "num_samples=5"),
                ("/density", {"grid": {"lower": -2, "upper": 2, "points": 5}}, "grid.lower=-2&grid.upper=2&grid.points=5"),
                ("/refine", {"steps": 3}, "steps=3")):
            expected = good(server.ask("POST", path, {"inputs": [flat], "seed": 3, **options}))
            assert good(server.ask("POST", path, {"inputs": [b64(png_of(planes))], "seed": 3, **options})) == expected, path
            assert good(server.ask("POST", f"{path}?seed=3&{query}", png_of(planes), PNG)) == expected, path
        density = {"inputs": [b64(png_of(planes))] * 2, "targets": [[1, 2], [0, 1]], "seed": 3}
        assert len(json.loads(good(server.ask("POST", "/density", density)))["predictions"]) == 2
        status, headers, data = server.ask("POST", "/predict?outputs=mean&seed=3", png_of(planes), {**PNG, "Accept": "application/x-npy"})
        assert (status, headers["content-type"], len(data)) == (200, "application/x-npy", 136)


def test_a_jpeg_is_near_its_picture(binary):
    with reading(binary) as server:
        exact = json.loads(good(server.ask("POST", "/predict?seed=1", png_of(picture()), PNG)))["predictions"][0]
        other = json.loads(good(server.ask("POST", "/predict?seed=1", png_of(picture(1)), PNG)))["predictions"][0]
        far = abs(other["mean"][0] - exact["mean"][0])
        for name in ("rgb.jpg", "progressive.jpg"):
            answer = json.loads(good(server.ask("POST", "/predict?seed=1", file(name), JPEG)))["predictions"][0]
            near = abs(answer["mean"][0] - exact["mean"][0])
            assert 0 <= near < 0.1 * far, f"{name}: {near}, another picture is {far} away"
        assert good(server.ask("POST", "/predict?seed=1", file("rgb.jpg"), PNG)), "its first bytes say what it is"


def test_another_size_and_other_colours_fit(binary):
    with serving(binary, repository(images=reader_of_images(), grey=reader_of_images(channels=1))) as server:
        flat = [bytes([77]) * 400] * 3
        query = "/predict?model=images&seed=1"
        expected = good(server.ask("POST", "/predict", {"model": "images", "inputs": [[77] * (3 * SIDE * SIDE)], "seed": 1}))
        assert good(server.ask("POST", query, png(flat, 40, 10), PNG)) == expected
        assert good(server.ask("POST", query, png(flat[:1], 10, 40), PNG)) == expected
        expected = good(server.ask("POST", "/predict", {"model": "grey", "inputs": [[77] * (SIDE * SIDE)], "seed": 1}))
        assert good(server.ask("POST", "/predict?model=grey&seed=1", png(flat, 40, 10), PNG)) == expected


# ---- batches ----


def test_a_picture_has_the_same_answer_in_any_company(binary):
    pictures = [png_of(picture(number)) for number in range(40)]
    seen = []
    for workers in (1, 3):
        with reading(binary, "--workers", workers) as server:
            alone = [good(server.ask("POST", "/predict?seed=5", data, PNG)) for data in pictures]
            together = json.loads(good(server.ask("POST", "/predict", {"inputs": [b64(data) for data in pictures], "seed": 5})))["predictions"]
            assert together == [json.loads(answer)["predictions"][0] for answer in alone]  # integrated: no row has draws of its own
            by_array = good(server.ask("POST", "/predict?seed=5", npy("|u1", (40, 3, SIDE, SIDE), b"".join(
                b"".join(picture(number)) for number in range(40))), NPY))
            assert json.loads(by_array)["predictions"] == together
            wrong = []

            def client(number, server=server, alone=alone, wrong=wrong):
                connection = server.connect(60)
                for turn in range(10):
                    which = (number * 7 + turn * 3) % len(pictures)
                    if server.ask("POST", "/predict?seed=5", pictures[which], PNG, connection)[2] != alone[which]:
                        wrong.append(which)
                connection.close()

            threads = [threading.Thread(target=client, args=(number,)) for number in range(24)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not wrong, wrong
            seen.append((alone, together))
    assert seen[0] == seen[1], "1 and 3 workers differ"


# ---- refusals ----


def test_what_is_no_picture_is_told(binary):
    with reading(binary) as server:
        whole, jpeg = png_of(picture()), file("rgb.jpg")
        animated = png(picture(), SIDE, SIDE, before=chunk(b"acTL", struct.pack(">II", 2, 0)))
        cases = ((b"", "neither a PNG nor a JPEG"), (b"hello", "neither"), (b"GIF89a" + bytes(20), "a GIF, expected a PNG or a JPEG"),
                 (base64.b64encode(whole), "base64, expected a PNG"), (whole[:-30], "not a whole PNG: it is cut off"),
                 (whole[:20], "cut off"), (jpeg[:-20], "not a whole JPEG"), (file("cmyk.jpg"), "CMYK, the inks of a printer"),
                 (whole.translate(None, b"\r\n\0"), "lost bytes as a text"), (animated, "an animated PNG"), (whole[:50] + b"\xff\xff\xff" + whole[53:], "not a whole PNG"))
        for data, fragment in cases:
            expect_error(server.ask("POST", "/predict", data, PNG), 400, "invalid", "body: ", fragment)
            expect_error(server.ask("POST", "/predict", {"inputs": [b64(whole), b64(data)]}), 400, "invalid", "inputs[1]: ", fragment)
        for inputs, *fragments in (([{"png": "x"}], "inputs[0]: expected one member", "b64"),
                                   ([b64(whole), [1, 2]], "inputs[1]: expected an image as before it"),
                                   ([{"b64": "data:image/png;base64,iVBO"}], "inputs[0].b64", "without \"data:"),
                                   ([{"b64": "iVBO\nRw0K"}], "inputs[0].b64", "line breaks"),
                                   ([{"b64": "iVBOR"}], "inputs[0].b64", "cut off"),
                                   ([[1, 2]], "inputs[0]: expected an image, or 768 numbers of shape [3,16,16]", "got 2 numbers")):
            expect_error(server.ask("POST", "/predict", {"inputs": inputs}), 400, "invalid", *fragments)
        expect_error(server.ask("POST", "/predict?sede=1", whole, PNG), 400, "invalid", "sede: unknown field")
        for kind in ("image/gif", "image/webp", "image/*", "multipart/form-data; boundary=x"):
            expect_error(server.ask("POST", "/predict", whole, {"Content-Type": kind}), 415, "unsupported_type", "image/png or image/jpeg")
        wrong = npy("|u1", (1, 3, 15, 16), bytes(3 * 15 * 16))
        expect_error(server.ask("POST", "/predict", wrong, NPY), 400, "invalid", "body: expected images of shape [3,16,16]", "got [3,15,16]", "not resized")
        expect_error(server.ask("POST", "/predict", npy("|u1", (3, 4, 4), bytes(48)), NPY), 400, "invalid", "(rows, channels, height, width)")
        expect_error(infer(server, [1, 16, 16, 3], "UINT8", bytes(768)), 400, "invalid", "x: expected images of shape [3,16,16]", "got [16,16,3]")
        expect_error(infer(server, [1, 5], "UINT8", bytes(5)), 400, "invalid", "x: expected shape [rows,3,16,16] or [rows,768]", "got [1,5]")
        expect_error(infer(server, [1, 3, 256], "UINT8", bytes(768)), 400, "invalid", "inputs[0].shape: expected [rows, numbers of a row], of images")


def test_what_needs_no_pixels_is_told_first(binary):
    """A picture that cannot be decoded tells whether somebody tried."""
    with reading(binary) as server:
        broken = png_of(picture())[:-30]
        inputs = {"inputs": [b64(broken)]}
        expect_error(server.ask("POST", "/predict", inputs), 400, "invalid", "inputs[0]: not a whole PNG")
        for path, options, fragment in (("/density", {"targets": [[[1, 2]]]}, "targets[0][0]: expected a list of 1 numbers"),
                                        ("/refine", {"initial": [[[1, 2]]]}, "initial[0][0]: expected a list of 1 numbers"),
                                        ("/predict", {"priority": 2}, "priority"),
                                        ("/predict", {"model": "other"}, "other")):
            status, _, body = server.ask("POST", path, {**inputs, **options})
            assert status in (400, 404) and fragment in body.decode(), f"{path}: {body}"
        most = {"inputs": [b64(broken)] * 2, "num_samples": 65536, "refine": {"steps": 1000}}
        expect_error(server.ask("POST", "/sample", most), 400, "invalid", "inputs: 2 rows of", "at most 268435456 together")


def test_models_that_read_no_such_picture(binary):
    models = repository(four=reader_of_images(channels=4)).golden("relu_1d")
    with serving(binary, models) as server:
        whole = png_of(picture())
        expect_error(server.ask("POST", "/predict?model=relu_1d", whole, PNG), 400, "invalid", "body: an image: model 'relu_1d' reads rows of 3 numbers")
        expect_error(server.ask("POST", "/predict", {"model": "relu_1d", "inputs": [b64(whole)]}), 400, "invalid", "inputs[0]: an image")
        expect_error(server.ask("POST", "/predict?model=relu_1d", npy("|u1", (1, 3, 1, 1), bytes(3)), NPY), 400, "invalid", "body: images of shape [3,1,1]")
        expect_error(server.ask("POST", "/predict?model=four", whole, PNG), 400, "invalid", "reads images of 4 channels", "send an array")
        good(server.ask("POST", "/predict?model=four&seed=1", npy("|u1", (1, 4, SIDE, SIDE), bytes(4 * 256)), NPY))
        good(server.ask("POST", "/predict?model=relu_1d&seed=1", npy("|u1", (1, 3), bytes([1, 2, 3])), NPY))


def test_a_huge_picture_is_refused_by_its_header(binary):
    """12000 x 12000: 412 MiB of pixels, and as a body of zeros 2 MB."""
    head = struct.pack(">IIBBBBB", 12000, 12000, 8, 2, 0, 0, 0)
    zeros = zlib.compressobj(1)
    row = bytes(36001 * 100)
    data = b"".join(zeros.compress(row) for _ in range(120)) + zeros.flush()
    huge = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    with reading(binary) as server:
        good(server.ask("POST", "/predict?seed=1", png_of(picture()), PNG))
        before = server.rss_kib()
        for _ in range(4):
            expect_error(server.ask("POST", "/predict", huge, PNG), 413, "too_large", "body: 12000 x 12000 pixels, at most 16777216")
            expect_error(server.ask("POST", "/predict", {"inputs": [b64(huge)]}), 413, "too_large", "inputs[0]: 12000 x 12000")
        after = server.rss_kib()
        print(f"      {len(huge) >> 10} KiB of PNG eight times: {after - before} KiB more")
        assert SLOW > 1 or after - before < 8192, f"{before} KiB before, {after} KiB after"


def test_limits_of_pixels_and_bytes_are_the_servers(binary):
    with reading(binary, "--max-image-pixels", 5000, "--max-binary-bytes", 20000, "--max-body-bytes", 40000) as server:
        small, large = png([bytes(50 * 50)], 50, 50), png([bytes(5001)], 5001, 1)
        good(server.ask("POST", "/predict", {"inputs": [b64(small)] * 2}))
        expect_error(server.ask("POST", "/predict", {"inputs": [b64(small)] * 3}), 413, "too_large", "inputs: 3 images of 7500 pixels",
                     "at most 5000 together, see --max-image-pixels")
        expect_error(server.ask("POST", "/predict", large, PNG), 413, "too_large", "body: 5001 x 1 pixels, at most 5000")
        tiny = png([b"\1"], 1, 1)
        good(server.ask("POST", "/predict", {"inputs": [b64(tiny)] * 19}))
        expect_error(server.ask("POST", "/predict", {"inputs": [b64(tiny)] * 20}), 413, "too_large", "20 images of 5120 pixels")
        expect_error(server.ask("POST", "/predict", bytes(20001), PNG), 413, "too_large", "body: larger than 20000 bytes")
        expect_error(server.ask("POST", "/predict", {"inputs": [b64(bytes(40000))]}), 413, "too_large", "body: larger than 40000 bytes")


def test_a_deadline_ends_the_wait_for_pictures(binary):
    with serving(binary, repository(images=reader_of_images()).golden("smooth_2d"), *HOLDABLE, "--max-image-pixels", 1 << 26) as server:
        large = png([bytes(4000 * 4000)], 4000, 4000)
        with Hold(server):
            expect_error(server.ask("POST", "/predict", {"model": "images", "inputs": [b64(large)], "timeout_ms": 100}), 504, "timeout")
        good(server.ask("POST", "/predict?model=images&seed=1", png_of(picture()), PNG))


# ---- descriptions ----


def test_descriptions_know_images(binary):
    models = repository(images=reader_of_images(), floats=reader_of_images(scale=1.0))
    with serving(binary, models) as server:
        for name, datatype in (("images", "UINT8"), ("floats", "FP32")):
            model = json.loads(good(server.ask("GET", f"/v2/models/{name}")))
            assert model["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, 3, SIDE, SIDE]}], model
            config = json.loads(good(server.ask("GET", f"/v2/models/{name}/config")))
            assert config["input"] == [{"name": "x", "data_type": f"TYPE_{datatype}", "format": "FORMAT_NCHW", "dims": [3, SIDE, SIDE]}]
    with reading(binary) as server:
        described = json.loads(good(server.ask("GET", "/openapi.json")))
        assert {"application/json", "image/png", "image/jpeg"} == set(described["paths"]["/predict"]["post"]["requestBody"]["content"])
        inputs = described["components"]["schemas"]["PredictRequest"]["properties"]["inputs"]
        assert inputs["anyOf"][0]["items"]["required"] == ["b64"] and inputs["anyOf"][1]["items"]["minItems"] == 768, inputs


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
