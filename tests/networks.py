#!/usr/bin/env python3
"""networks.py - untrained networks of the sizes that are measured (docs/PERFORMANCE.md), as model files. The same bytes
on every machine: Python's standard library alone. W is V in small, for checks under a slow
emulation. C reads images of 3 x 64 x 64: a ResNet-18 and V's heads; C16 is C with a width of 16 instead of 64.
networks.py T|V|V2|W|C|C16 OUT.safetensors"""
import array
import json
import random
import struct
import sys

MIXTURE = 4
WIDTHS = {"C": 64, "C16": 16}


def layers(widths, *, last="identity", residual=()):
    """Widths from input to output -> linear layers, relu but for the last."""
    n = len(widths) - 1
    return [{"type": "linear", "in": widths[i], "out": widths[i + 1], "activation": last if i == n - 1 else "relu",
             **({"residual": True} if i in residual else {})} for i in range(n)]


def config(name):
    D = 2 if name == "V2" else 1
    if name == "T":
        inputs, width = 1, 10
        target, energy = layers([1, 10, 10], last="relu"), layers([20, 10, 10, 1], residual=(1,))
    elif name == "W":
        inputs, width = 16, 128
        target, energy = layers([1, 16, 32], last="relu"), layers([160, 128, 1])
    elif name in ("C", "C16"):
        inputs, width = 3, 8 * WIDTHS[name]
        target, energy = layers([1, 16, 32, 64, 128], last="relu"), layers([width + 128, 512, 1])
    else:
        inputs, width = 16, 512
        target, energy = layers([D, 16, 32, 64, 128], last="relu"), layers([640, 512, 1])
    bounds = {"lower": [-3.0], "upper": [3.0]} if D == 1 else {}  # exp f has no integral over the line
    mixture = {"kind": "gaussian_mixture", "components": MIXTURE, "mean_net": layers([width, width, D * MIXTURE]),
               "log_variance_net": layers([width, width, D * MIXTURE]), "weight_net": layers([width, width, MIXTURE])}
    reads, features = {"kind": "vector", "shape": [inputs]}, layers([inputs, width, width], last="relu")
    if name in WIDTHS:
        reads = {"kind": "image", "shape": [3, 64, 64], "scale": 1 / 255}
        features = [{"type": "resnet", "depth": 18, "in": 3, "width": WIDTHS[name]}]
    return {"format_version": 1, "name": name, "description": "untrained, for measuring",
            "input": reads, "target": {"dim": D, **bounds}, "feature_net": features, "target_net": target,
            "energy_net": energy, "proposal": mixture}


def norm(name, channels):
    for kind in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{kind}", [channels], array.array("f", [float(kind in ("weight", "running_var"))] * channels)


def resnet18(name, width, source):
    """Tensors of a ResNet-18, weights as below, norms as they begin."""
    def convolution(at, of, to, kernel):
        most, n = (of * kernel ** 2) ** -0.5, to * of * kernel ** 2
        numbers = array.array("f", (most * (2 * source.random() - 1) for _ in range(n)))
        yield f"{name}.{at}.weight", [to, of, kernel, kernel], numbers
    yield from convolution("conv1", 3, width, 7)
    yield from norm(f"{name}.bn1", width)
    of = width
    for stage in range(4):
        to = width << stage
        for block in range(2):
            at = f"layer{stage + 1}.{block}"
            yield from convolution(f"{at}.conv1", of, to, 3)
            yield from norm(f"{name}.{at}.bn1", to)
            yield from convolution(f"{at}.conv2", to, to, 3)
            yield from norm(f"{name}.{at}.bn2", to)
            if of != to:
                yield from convolution(f"{at}.downsample.0", of, to, 1)
                yield from norm(f"{name}.{at}.downsample.1", to)
            of = to


def tensors(model):
    """-> (name, shape, numbers), uniform within 1 / sqrt(inputs) of a layer"""
    nets = {key: model[key] for key in ("feature_net", "target_net", "energy_net")}
    nets |= {f"proposal.{key}": net for key, net in model["proposal"].items() if isinstance(net, list)}
    source = random.Random(0)
    for net, stack in nets.items():
        for i, layer in enumerate(stack):
            if layer["type"] == "resnet":
                yield from resnet18(f"{net}.{i}", layer["width"], source)
                continue
            most = layer["in"] ** -0.5
            for kind, shape in (("weight", [layer["out"], layer["in"]]), ("bias", [layer["out"]])):
                n = layer["out"] * (layer["in"] if kind == "weight" else 1)
                yield f"{net}.{i}.{kind}", shape, array.array("f", (most * (2 * source.random() - 1) for _ in range(n)))


def write_tensors(path, entries, metadata):
    """A file of (name, shape, numbers), as floats, and texts."""
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name, shape, numbers in entries:
        floats = array.array("f", numbers)
        if sys.byteorder == "big":
            floats.byteswap()
        blobs.append(floats.tobytes())
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write(name, path):
    model = config(name)
    write_tensors(path, tensors(model), {"format": "ebm-model", "format_version": "1", "config": json.dumps(model)})


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("T", "V", "V2", "W", *WIDTHS):
        sys.exit(__doc__)
    write(sys.argv[1], sys.argv[2])
