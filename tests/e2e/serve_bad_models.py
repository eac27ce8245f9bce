#!/usr/bin/env python3
"""Model files and repositories that are broken on purpose: each file costs only its own model, whose requests get 503 with
the reason, and GET / shows it; names that no request could ask for are passed over; good models answer as if nothing
else were there. serve_bad_models.py SERVER"""
import copy
import json
import os
import struct
import subprocess
import sys

from harness import SLOW, Repository, Wire, expect_error, request_bytes, run_all, serving, wait_until
from model_files import read_golden

REQUEST = {"model": "relu_1d", "inputs": [[0.1, 0.2, 0.3]], "seed": 1}
RSS_KIB = 100 << 10  # nothing that a file claims may be allocated before it is checked


# ---- files, taken apart and put together wrongly ----


HEADER, CONFIG, DATA = read_golden("relu_1d")
WEIGHT = "energy_net.0.weight"


def join(header, data=DATA, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


GOOD = join(HEADER)


def with_header(change):
    header = copy.deepcopy(HEADER)
    change(header)
    return join(header)


def with_tensor(name=WEIGHT, **keys):
    return with_header(lambda header: header[name].update(keys))


def with_metadata(**keys):
    return with_header(lambda header: header["__metadata__"].update(keys))


def with_config(change):
    config = copy.deepcopy(CONFIG)
    change(config)
    return with_metadata(config=json.dumps(config))


def with_layer(net, index, **keys):
    return with_config(lambda config: config[net][index].update(keys))


def linear(*widths):
    return [{"type": "linear", "in": n_in, "out": n_out} for n_in, n_out in zip(widths, widths[1:])]


def with_number(value):
    at = HEADER[WEIGHT]["data_offsets"][0]
    return join(HEADER, DATA[:at] + struct.pack("<f", value) + DATA[at + 4:])


def without(name):
    """Removes a tensor and closes the gap, so that only the tensor is missing."""
    begin, end = HEADER[name]["data_offsets"]
    header = {}
    for key, entry in HEADER.items():
        if key != "__metadata__" and key != name and entry["data_offsets"][0] >= end:
            entry = {**entry, "data_offsets": [offset - (end - begin) for offset in entry["data_offsets"]]}
        if key != name:
            header[key] = entry
    return join(header, DATA[:begin] + DATA[end:])


def with_extra(name, shape=(2,)):
    header = {**HEADER, name: {"dtype": "F32", "shape": list(shape), "data_offsets": [len(DATA), len(DATA) + 8]}}
    return join(header, DATA + bytes(8))


def text_of(value):
    return json.dumps(value).encode()


HEADER_BYTES = len(GOOD) - len(DATA) - 8
CUTS = sorted({0, 1, 7, 8, 9, 100, 8 + HEADER_BYTES // 2, 7 + HEADER_BYTES, 8 + HEADER_BYTES, 9 + HEADER_BYTES,
               8 + HEADER_BYTES + len(DATA) // 2, len(GOOD) - 4, len(GOOD) - 1})

# name -> bytes; each must be refused
FILES = {f"cut-at-{n}": GOOD[:n] for n in CUTS}
FILES |= {f"length-{name}": join(HEADER, length=length) for name, length in (
    ("0", 0), ("1", 1), ("one-less", HEADER_BYTES - 1), ("one-more", HEADER_BYTES + 1), ("the-file", len(GOOD)),
    ("beyond", len(GOOD) * 10), ("2-31", 2 ** 31), ("2-32", 2 ** 32 + HEADER_BYTES), ("2-63", 2 ** 63), ("2-64", 2 ** 64 - 1),
    ("2-64-less-8", 2 ** 64 - 8))}
FILES |= {
    "one-byte-more": GOOD + b"\0",
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "text": b"PK\x03\x04 this is no model " * 100,
    "header-empty": join(b"", b""),
    "header-no-object": join(b"[]", b""),
    "header-deep": join(b"[" * 100000, b""),
    "header-deep-in-a-tensor": join(b'{"a":' * 20000 + b"1" + b"}" * 20000, b""),
    "header-cut": join(text_of(HEADER)[:-1]),
    "header-not-utf8": join(text_of(HEADER).replace(b"energy_net.2.bias", b"energy_net.2.b\xff\xfe")),
    "header-nothing-else": join(b"{}", b""),
    "header-no-metadata": with_header(lambda header: header.pop("__metadata__")),
    "header-metadata-number": with_header(lambda header: header.update(__metadata__=7)),
    "header-tensor-twice": join(text_of(HEADER)[:-1] + b"," + text_of({WEIGHT: HEADER[WEIGHT]})[1:]),
    "header-metadata-twice": join(text_of(HEADER)[:-1] + b"," + text_of({"__metadata__": HEADER["__metadata__"]})[1:]),
    "header-dtype-twice": join(text_of(HEADER).replace(b'"dtype": "F32"', b'"dtype": "F32", "dtype": "F32"', 1)),
    "header-100000-tensors": join({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100000)}, b""),
    "tensor-no-object": with_header(lambda header: header.update({WEIGHT: 3})),
    "tensor-unknown-key": with_tensor(strides=[1]),
    "tensor-no-dtype": with_header(lambda header: header[WEIGHT].pop("dtype")),
    "tensor-unknown-dtype": with_tensor(dtype="F128"),
    "tensor-i32": with_tensor(dtype="I32"),
    "tensor-f64": with_tensor(dtype="F64"),
    "tensor-f16": with_tensor(dtype="F16", shape=[16, 32]),
    "tensor-bf16": with_tensor(dtype="BF16", shape=[32, 16]),
    "tensor-transposed": with_tensor("energy_net.1.weight", shape=[16, 5]),
    "tensor-flat": with_tensor(shape=[256]),
    "tensor-too-small": with_tensor(shape=[16, 15]),
    "tensor-huge": with_tensor(shape=[2 ** 32, 2 ** 32]),
    "tensor-huge-by-one": with_tensor(shape=[2 ** 62, 4, 16, 16]),
    "tensor-empty": with_tensor(shape=[0, 16]),
    "tensor-below-0": with_tensor(shape=[-16, -16]),
    "tensor-fraction": with_tensor(shape=[16.0, 16.0]),
    "tensor-100-dims": with_tensor(shape=[1] * 98 + [16, 16]),
    "tensor-offset-below-0": with_tensor(data_offsets=[-64, 960]),
    "tensor-offset-beyond": with_tensor(data_offsets=[64 + len(DATA), 1088 + len(DATA)]),
    "tensor-offset-2-64": with_tensor(data_offsets=[2 ** 64 - 512, 512]),
    "tensor-offset-backwards": with_tensor(data_offsets=[1088, 64]),
    "tensor-offset-one": with_tensor(data_offsets=[64]),
    "tensor-overlap": with_tensor(data_offsets=[0, 1024]),
    "tensor-unaligned": with_tensor(data_offsets=[65, 1089]),
    "tensor-missing": without("energy_net.2.bias"),
    "tensor-missing-from-the-middle": without(WEIGHT),
    "tensor-extra": with_extra("energy_net.3.bias"),
    "tensor-extra-unknown": with_extra("nonsense"),
    "tensor-extra-no-name": with_extra(""),
    "tensor-extra-long-name": with_extra("x" * 5000),
    "tensor-gap": join(HEADER, DATA + bytes(64)),
    "weight-nan": with_number(float("nan")),
    "weight-infinite": with_number(float("inf")),
    "weight-minus-infinite": with_number(float("-inf")),
    "format-other": with_metadata(format="pt"),
    "format-version-2": with_metadata(format_version="2"),
    "config-missing": with_header(lambda header: header["__metadata__"].pop("config")),
    "config-empty": with_metadata(config=""),
    "config-no-object": with_metadata(config="[]"),
    "config-cut": with_metadata(config=json.dumps(CONFIG)[:-1]),
    "config-deep": with_metadata(config='{"extensions":' * 50000 + "1" + "}" * 50000),
    "config-deep-lists": with_metadata(config='{"extensions":' + "[" * 100000 + "]" * 100000 + "}"),
    "config-2-mb": with_metadata(config=json.dumps({**CONFIG, "description": "x" * (2 << 20)})),
    "config-key-twice": with_metadata(config=json.dumps(CONFIG)[:-1] + ',"name":"again"}'),
    "config-unknown-key": with_config(lambda config: config.update(colour="red")),
    "config-nan": with_config(lambda config: config["target"].update(mean=[float("nan")])),
    "config-number-too-large": with_metadata(config=json.dumps(CONFIG).replace('"dim": 1', '"dim": 1, "mean": [1e400]')),
    "config-no-name": with_config(lambda config: config.pop("name")),
    "config-no-nets": with_config(lambda config: [config.pop(net) for net in ("feature_net", "target_net", "energy_net", "proposal")]),
    "config-std-0": with_config(lambda config: config["target"].update(std=[0])),
    "config-std-below-0": with_config(lambda config: config["target"].update(std=[-1])),
    "config-mean-of-2": with_config(lambda config: config["target"].update(mean=[0, 0])),
    "config-dim-0": with_config(lambda config: config["target"].update(dim=0)),
    "config-dim-65": with_config(lambda config: config["target"].update(dim=65)),
    "config-dim-text": with_config(lambda config: config["target"].update(dim="1")),
    "config-shape-0": with_config(lambda config: config["input"].update(shape=[0])),
    "config-shape-below-0": with_config(lambda config: config["input"].update(shape=[-3])),
    "config-shape-huge": with_config(lambda config: config["input"].update(shape=[2 ** 40])),
    "config-shape-of-3": with_config(lambda config: config["input"].update(shape=[3, 64, 64])),
    "config-kind": with_config(lambda config: config["input"].update(kind="../../etc/passwd")),
    "config-components-257": with_config(lambda config: config["proposal"].update(components=257)),
    "config-components-0": with_config(lambda config: config["proposal"].update(components=0)),
    "layer-huge": with_layer("feature_net", 0, out=65536),
    "layer-beyond": with_layer("feature_net", 0, out=65537),
    "layer-2-63": with_layer("feature_net", 0, out=2 ** 63),
    "layer-0": with_layer("feature_net", 0, out=0),
    "layer-other-type": with_layer("feature_net", 0, type="conv2d"),
    "layer-other-activation": with_layer("feature_net", 0, activation="sine"),
    "layer-other-width": with_layer("feature_net", 0, out=10),
    "layer-no-residual": with_layer("feature_net", 0, residual=True),
    "layers-none": with_config(lambda config: config.update(feature_net=[])),
    "layers-257": with_config(lambda config: config.update(energy_net=[config["energy_net"][0]] * 256 + config["energy_net"][1:])),
    "layers-of-2-40": with_config(lambda config: config.update(feature_net=linear(3, *[65536] * 250, 9))),
    "layers-wide": with_config(lambda config: config.update(feature_net=linear(3, 65536, 4096, 9))),
}

# what the reason must name
REASONS = {"tensor-missing": "energy_net.2.bias", "tensor-extra": "energy_net.3.bias", "tensor-transposed": "energy_net.1.weight",
           "weight-nan": "finite", "config-key-twice": "duplicate", "tensor-f16": "the shape (16, 32)", "format-version-2": "format_version",
           "config-dim-65": "target.dim", "layer-beyond": "feature_net[0].out", "config-unknown-key": "colour"}


class Broken(Repository):
    """Two good models, and whatever is added."""

    def __init__(self):
        super().__init__()
        self.golden("relu_1d").golden("smooth_2d")

    def file(self, name, data, version="1"):
        folder = os.path.join(self.path, name, version)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "model.safetensors"), "wb") as file:
            file.write(data)
        return self

    def folder(self, *names):
        os.makedirs(os.path.join(os.fsencode(self.path), *map(os.fsencode, names)))
        return self

    def model_path(self, name):
        self.folder(name, "1")
        return os.path.join(self.path, name, "1", "model.safetensors")


def answer_of(wire):
    assert wire.send(request_bytes(json.dumps(REQUEST).encode()))
    return wire.answer()


def expected_answer(binary):
    with serving(binary, Repository().golden("relu_1d")) as server, Wire(server) as wire:
        return answer_of(wire)[2]


def listed_models(server):
    status, _, body = server.ask("GET", "/")
    assert status == 200
    return {model["name"]: model for model in json.loads(body)["models"]}


def check_refused(server, listed, name):
    """One broken model: in the list with its reason, in the log, and 503 to whoever asks for it."""
    about = listed.get(name)
    assert about and about["available"] is False and about["reason"], f"{name}: {about}"
    for answer in (server.ask("POST", "/predict", {"model": name, "inputs": [[1, 2, 3]]}), server.ask("GET", f"/v2/models/{name}")):
        headers = expect_error(answer, 503, "not_ready", "not available", about["reason"][:60])
        assert int(headers["retry-after"]) >= 1
    assert any(line.startswith("error:") and f"model={name} " in line for line in server.lines), f"{name}: not in the log"
    return about["reason"]


def test_broken_files_cost_only_themselves(binary):
    expected, repository = expected_answer(binary), Broken()
    for name, data in FILES.items():
        repository.file(name, data)
    with serving(binary, repository) as server, Wire(server) as wire:
        assert server.ask("GET", "/readyz")[0] == 200
        assert answer_of(wire)[2] == expected
        listed = listed_models(server)
        assert {name for name, model in listed.items() if model["available"]} == {"relu_1d", "smooth_2d"}, \
            [name for name, model in listed.items() if model["available"]]
        reasons = {name: check_refused(server, listed, name) for name in FILES}
        assert len(set(reasons.values())) > len(FILES) // 4, "one reason for all?"
        for name, word in REASONS.items():
            assert word in reasons[name], f"{name}: no '{word}' in {reasons[name]}"
        assert answer_of(wire)[2] == expected
        assert SLOW > 1 or server.rss_kib() < RSS_KIB, f"{server.rss_kib()} KiB resident"
        print(f"      {len(FILES)} files, {server.rss_kib()} KiB resident")


def test_files_that_are_none(binary):
    """Special files: nothing may block the start, or be read for ever."""
    expected, repository = expected_answer(binary), Broken()
    os.mkfifo(repository.model_path("pipe"))
    os.mkdir(repository.model_path("folder"))
    os.symlink("model.safetensors", repository.model_path("link-to-itself"))
    os.symlink("/nowhere/at/all", repository.model_path("link-to-nothing"))
    os.symlink("/dev/zero", repository.model_path("endless"))
    os.symlink("/dev/null", repository.model_path("nothing"))
    with open(repository.model_path("sparse"), "wb") as file:
        file.write(GOOD)
        file.truncate(8 << 30)
    repository.folder("no-model", "1")
    names = ["pipe", "folder", "link-to-itself", "link-to-nothing", "endless", "nothing", "sparse", "no-model"]
    with serving(binary, repository) as server, Wire(server) as wire:
        listed = listed_models(server)
        for name in names:
            check_refused(server, listed, name)
        assert answer_of(wire)[2] == expected
        assert SLOW > 1 or server.rss_kib() < RSS_KIB, f"{server.rss_kib()} KiB resident"


def test_hostile_names(binary):
    expected, repository = expected_answer(binary), Broken()
    passed_over = ["with space", "..a", "...", ".hidden", "a\nerror: forged=1", "%s%n", "x" * 129, "semi;colon", "q\"uote",
                   b"\xff\xfe\x80", "\u00fcml", "-", "empty"]
    for name in passed_over[:-2]:
        repository.folder(name, "1")
    repository.folder("empty")
    for version in ("0", "01", "-1", "+1", "1.5", "v1", "1 ", "0x1", "1e3", "9" * 20, "latest"):
        repository.folder("no-version", version)
    os.symlink("loop", os.path.join(repository.path, "loop"))
    os.symlink(".", os.path.join(repository.path, "itself"))
    with open(os.path.join(repository.path, "a-file"), "wb") as file:
        file.write(GOOD)
    with open(os.path.join(repository.path, "no-version", "2"), "wb") as file:
        file.write(GOOD)
    repository.file("-", GOOD).file("highest", GOOD, "7").file("highest", GOOD, "999999999999999").file("highest", b"", "07")
    with serving(binary, repository) as server, Wire(server) as wire:
        assert answer_of(wire)[2] == expected
        listed = listed_models(server)
        available = {name: model["version"] for name, model in listed.items() if model["available"]}
        assert available == {"relu_1d": 1, "smooth_2d": 1, "-": 1, "highest": 999999999999999}, listed
        for name in ("with space", "..a", ".hidden", "a-file", "empty", "loop", "..", "", "../relu_1d", "relu_1d/1", "relu_1d\0"):
            answer = server.ask("POST", "/predict", {**REQUEST, "model": name})
            assert answer[0] in (400, 404), f"{name!r}: {answer}"
        for path in ("/v2/models/..", "/v2/models/%2e%2e", "/v2/models/relu_1d%00", "/v2/models/with%20space", "/v2/models/%ff%fe%80"):
            expect_error(server.ask("GET", path), 404, "not_found")
        assert not any(line.startswith("error: forged") for line in server.lines), "a folder's name wrote a line of its own"
        assert wait_until(lambda: any("with space" in line and line.startswith("warning:") for line in server.lines)), server.lines


def run_to_its_end(binary, repository):
    command = [binary, "--model-repository", repository.path, "--port", "0"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60 * SLOW, check=False)
        return done.returncode, done.stderr.decode(errors="replace")
    finally:
        repository.remove()


def test_a_repository_without_any_good_model_does_not_serve(binary):
    broken = Repository()
    for name in ("weight-nan", "cut-at-100"):
        os.makedirs(os.path.join(broken.path, name, "1"))
        with open(os.path.join(broken.path, name, "1", "model.safetensors"), "wb") as file:
            file.write(FILES[name])
    for repository, found in ((broken, "2 found"), (Repository(), "0 found")):
        status, text = run_to_its_end(binary, repository)
        assert status == 1 and "no model could be loaded" in text and found in text, (status, text)
        assert "listening and ready" not in text, text


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
