"""model_files.py - model files made of a golden one, and of nothing: for tests that publish many."""
import array
import copy
import json
import math
import os
import random

from arrays import put_together, take_apart
from harness import GOLDEN


def publish_bytes(repository, name, data, version=1):
    os.makedirs(folder := os.path.join(repository.path, name, str(version)))
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(data)


def read_golden(case):
    """-> (header as an object, configuration as an object, tensors' bytes)"""
    with open(os.path.join(GOLDEN, case, "model.safetensors"), "rb") as file:
        header, data = take_apart(file.read())
    return header, json.loads(header["__metadata__"]["config"]), data


def join(header, config, data):
    header = copy.deepcopy(header)
    header["__metadata__"]["config"] = json.dumps(config)
    return put_together(header, data)


def shifted(case, offset, scale=1.0):
    """The golden model, its target's mean moved by `offset`, its last weights times `scale`: as many bytes for offsets of as
    many digits."""
    header, config, data = read_golden(case)
    target = config["target"]
    target["mean"] = [mean + offset for mean in target.get("mean", [0.0] * target["dim"])]
    begin, end = header[f"energy_net.{len(config['energy_net']) - 1}.weight"]["data_offsets"]
    weights = array.array("f", data[begin:end])
    scaled = array.array("f", [weight * scale for weight in weights]).tobytes()
    return join(header, config, data[:begin] + scaled + data[end:])


def wide(width):
    """A mixture over one number whose features take two layers of `width`: about 4 width^2 bytes."""
    layers = {"feature_net": [(1, width), (width, width)], "mean_net": [(width, 1)], "log_variance_net": [(width, 1)],
              "weight_net": [(width, 1)]}
    nets = {net: [{"type": "linear", "in": n_in, "out": n_out} for n_in, n_out in sizes] for net, sizes in layers.items()}
    config = {"format_version": 1, "name": "wide", "input": {"kind": "vector", "shape": [1]}, "target": {"dim": 1},
              "feature_net": nets.pop("feature_net"), "proposal": {"kind": "gaussian_mixture", "components": 1, **nets}}
    header, at = {"__metadata__": {"format": "ebm-model", "format_version": "1"}}, 0
    for net, sizes in layers.items():
        name = net if net == "feature_net" else f"proposal.{net}"
        for i, (n_in, n_out) in enumerate(sizes):
            for tensor, shape in (("weight", [n_out, n_in]), ("bias", [n_out])):
                size = 4 * n_out * (n_in if tensor == "weight" else 1)
                header[f"{name}.{i}.{tensor}"] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
                at += size
    return join(header, config, bytes(at))


def reader_of_images(channels=3, side=16, scale=1 / 255):
    """A network with energy and proposal over one number, that reads images by a convolution: random weights, the same
    everywhere."""
    features, width = 8 * (side // 2) ** 2, 16
    config = {
        "format_version": 1, "name": "images", "input": {"kind": "image", "shape": [channels, side, side], "scale": scale},
        "target": {"dim": 1, "lower": [-4.0], "upper": [4.0]},
        "feature_net": [{"type": "conv2d", "in": channels, "out": 8, "kernel": 3, "stride": 2, "padding": 1}, {"type": "relu"},
                        {"type": "flatten"}, {"type": "linear", "in": features, "out": width, "activation": "relu"}],
        "target_net": [{"type": "linear", "in": 1, "out": width, "activation": "relu"}],
        "energy_net": [{"type": "linear", "in": 2 * width, "out": 16, "activation": "relu"}, {"type": "linear", "in": 16, "out": 1}],
        "proposal": {"kind": "gaussian_mixture", "components": 2, "mean_net": [{"type": "linear", "in": width, "out": 2}],
                     "log_variance_net": [{"type": "linear", "in": width, "out": 2}], "weight_net": [{"type": "linear", "in": width, "out": 2}]}}
    shapes = [("feature_net.0", [8, channels, 3, 3]), ("feature_net.3", [width, features]), ("target_net.0", [width, 1]),
              ("energy_net.0", [16, 2 * width]), ("energy_net.1", [1, 16])]
    shapes += [(f"proposal.{net}.0", [2, width]) for net in ("mean_net", "log_variance_net", "weight_net")]
    source, header, data = random.Random(1), {"__metadata__": {"format": "ebm-model", "format_version": "1"}}, b""
    for name, shape in shapes:
        for tensor, dims in (("weight", shape), ("bias", shape[:1])):
            most = 2 / math.sqrt(math.prod(shape[1:]))
            numbers = array.array("f", (most * (2 * source.random() - 1) for _ in range(math.prod(dims))))
            header[f"{name}.{tensor}"] = {"dtype": "F32", "shape": dims, "data_offsets": [len(data), len(data) + 4 * len(numbers)]}
            data += numbers.tobytes()
    return join(header, config, data)
