#!/usr/bin/python3
"""Makes tests/golden/<case>/{model,expected}.safetensors: make_golden.py [OUT_DIR]

An implementation of its own, in PyTorch and float64, sharing nothing with the C code but the formulas of
docs/MATHEMATICS.md: it forms whole (row, sample) batches and lets autograd find the gradients. Needs Debian's
python3-torch; its results are committed, so tests and users need neither. Same seed, same files."""
import json
import math
import os
import struct
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
B, M = 4, 16
ACTIVATIONS = {"identity": lambda v: v, "relu": torch.relu, "tanh": torch.tanh,
               "silu": torch.nn.functional.silu, "softplus": torch.nn.functional.softplus}


def linear(i, o, activation="identity", residual=False):
    layer = {"type": "linear", "in": i, "out": o, "activation": activation}
    return {**layer, "residual": True} if residual else layer


def proposal(h, dim, components, activation, hidden):
    def head(out):
        return [linear(h, hidden, activation), linear(hidden, out)]
    return {"kind": "gaussian_mixture", "components": components, "mean_net": head(dim * components),
            "log_variance_net": head(dim * components), "weight_net": head(components)}


def case(name, x, dim, **parts):
    return {"format_version": 1, "name": name, "input": {"kind": "vector", "shape": [x]}, "target": {"dim": dim}, **parts}


def confined_case(name, x, target, **parts):
    """A case whose target has bounds or a period."""
    config = case(name, x, len(target["support"]), **parts)
    config["target"].update(target)
    return config


def image_case(name, shape, dim, **parts):
    config = case(name, 1, dim, **parts)
    config["input"] = {"kind": "image", "shape": shape}
    return config


CASES = [
    case("relu_1d", 3, 1,
         feature_net=[linear(3, 9, "relu"), linear(9, 9, "relu", True)],
         target_net=[linear(1, 7, "relu"), linear(7, 7, "relu", True)],
         energy_net=[linear(16, 16, "relu", True), linear(16, 5, "relu"), linear(5, 1)],
         proposal={**proposal(9, 1, 4, "relu", 6), "trains_features": True}),
    case("smooth_2d", 2, 2,
         feature_net=[linear(2, 8, "silu")],
         target_net=[linear(2, 6, "softplus"), linear(6, 6, "tanh", True)],
         energy_net=[linear(14, 10, "silu"), linear(10, 10, "softplus", True), linear(10, 1)],
         proposal=proposal(8, 2, 3, "tanh", 5)),
    case("no_target_net", 2, 3,
         energy_net=[linear(5, 12, "tanh"), linear(12, 1)],
         proposal=proposal(2, 3, 2, "silu", 4)),
    case("mixture_only", 4, 2,
         feature_net=[linear(4, 11, "softplus")],
         proposal={**proposal(11, 2, 5, "relu", 7), "trains_features": True}),
    case("no_proposal", 1, 1,
         feature_net=[linear(1, 6, "tanh")],
         target_net=[linear(1, 6, "silu")],
         energy_net=[linear(12, 8, "relu"), linear(8, 1)]),
    confined_case("bounded_1d", 2, {"support": ["bounded"], "lower": [-1], "upper": [1.5], "mean": [0.25], "std": [1.25]},
                  feature_net=[linear(2, 8, "relu")],
                  target_net=[linear(1, 7, "relu")],
                  energy_net=[linear(15, 9, "relu"), linear(9, 1)],
                  proposal=proposal(8, 1, 4, "relu", 6)),
    confined_case("periodic_2d", 2, {"support": ["periodic", "bounded", "real"], "lower": [-3, 0, None],
                                     "upper": [3, 2, None], "mean": [0.5, 1.25, 0], "std": [1.25, 0.5, 1]},
                  feature_net=[linear(2, 8, "silu")],
                  target_net=[linear(3, 7, "tanh")],
                  energy_net=[linear(15, 9, "softplus"), linear(9, 1)],
                  proposal={**proposal(8, 3, 3, "tanh", 5), "trains_features": True}),
    image_case("images_1d", [2, 7, 6], 1,
               feature_net=[{"type": "conv2d", "in": 2, "out": 4, "kernel": 3, "padding": 1, "bias": False},
                            {"type": "batch_norm2d", "in": 4}, {"type": "relu"},
                            {"type": "max_pool2d", "kernel": 3, "stride": 2, "padding": 1},
                            {"type": "conv2d", "in": 4, "out": 5, "kernel": 2}, {"type": "batch_norm2d", "in": 5},
                            {"type": "conv2d", "in": 5, "out": 3, "kernel": 2, "stride": 2, "padding": 1},
                            {"type": "relu"}, {"type": "flatten"}, linear(12, 8, "tanh")],
               target_net=[linear(1, 7, "relu")],
               energy_net=[linear(15, 9, "relu"), linear(9, 1)],
               proposal=proposal(8, 1, 3, "tanh", 6)),
]


def save(path, tensors, metadata):
    header, blobs, at = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        kind = {"float64": "F64", "float32": "F32"}[value.dtype.name]
        header[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
        blobs.append(value.tobytes())
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def tensors_of(layer):
    """-> (name, shape, bound) of a layer's tensors"""
    if layer["type"] == "linear":
        bound = 1.5 / math.sqrt(layer["in"])
        return [("weight", (layer["out"], layer["in"]), bound), ("bias", (layer["out"],), bound)]
    if layer["type"] == "conv2d":
        bound = 1.5 / math.sqrt(layer["in"] * layer["kernel"] ** 2)
        bias = [("bias", (layer["out"],), bound)] if layer.get("bias", True) else []
        return [("weight", (layer["out"], layer["in"], layer["kernel"], layer["kernel"]), bound)] + bias
    if layer["type"] == "batch_norm2d":
        return [(name, (layer["in"],), 1.0) for name in ("weight", "bias", "running_mean", "running_var")]
    return []


class Model:
    """Weights rounded to float32 (as the file has them), computed with in float64."""

    def __init__(self, config, seed):
        generator = torch.Generator().manual_seed(seed)
        self.config, self.weights = config, {}
        for net, layers in self.nets():
            for i, layer in enumerate(layers):
                for name, shape, bound in tensors_of(layer):
                    value = (torch.rand(shape, generator=generator) * 2 - 1) * bound
                    value = value.abs() + 0.25 if name == "running_var" else value
                    self.weights[f"{net}.{i}.{name}"] = value.float().double().requires_grad_("running" not in name)

    def nets(self):
        for net in ("feature_net", "target_net", "energy_net"):
            if net in self.config:
                yield net, self.config[net]
        for net in ("mean_net", "log_variance_net", "weight_net"):
            if "proposal" in self.config:
                yield "proposal." + net, self.config["proposal"][net]

    def image_layer(self, layer, prefix, v, training):
        def tensor(name):
            return self.weights.get(f"{prefix}.{name}")
        if layer["type"] == "conv2d":
            return torch.nn.functional.conv2d(v, tensor("weight"), tensor("bias"), layer.get("stride", 1),
                                              layer.get("padding", 0))
        if layer["type"] == "batch_norm2d":
            mean, variance = tensor("running_mean").clone(), tensor("running_var").clone()
            return torch.nn.functional.batch_norm(v, mean, variance, tensor("weight"), tensor("bias"), training, 0.1, 1e-5)
        if layer["type"] == "max_pool2d":
            return torch.nn.functional.max_pool2d(v, layer["kernel"], layer.get("stride"), layer.get("padding", 0))
        return torch.relu(v) if layer["type"] == "relu" else v.flatten(1)

    def run(self, net, layers, v, training=False):
        for i, layer in enumerate(layers or []):
            if layer["type"] != "linear":
                v = self.image_layer(layer, f"{net}.{i}", v, training)
                continue
            z = v @ self.weights[f"{net}.{i}.weight"].T + self.weights[f"{net}.{i}.bias"]
            a = ACTIVATIONS[layer["activation"]](z)
            v = a + v if layer.get("residual") else a
        return v

    def features(self, x, training=False):
        return self.run("feature_net", self.config.get("feature_net"), x, training)

    def f(self, h, y):
        """h (B, H), y (B, M, D) -> (B, M)"""
        g = self.run("target_net", self.config.get("target_net"), y)
        joined = torch.cat([h.unsqueeze(1).expand(-1, y.shape[1], -1), g], 2)
        return self.run("energy_net", self.config["energy_net"], joined).squeeze(2)

    def mixture(self, h):
        p, d = self.config["proposal"], self.config["target"]["dim"]
        mean = self.run("proposal.mean_net", p["mean_net"], h).view(h.shape[0], d, -1)
        log_variance = self.run("proposal.log_variance_net", p["log_variance_net"], h).view(h.shape[0], d, -1)
        return mean, log_variance, torch.log_softmax(self.run("proposal.weight_net", p["weight_net"], h), 1)


def ends(target, d):
    """Standardised lower and upper of a dimension."""
    return [(target[end][d] - target["mean"][d]) / target["std"][d] for end in ("lower", "upper")]


def log_normal(off, log_variance):
    return -0.5 * (off ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi))


def log_coordinate(y, mean, log_variance, target, d):
    """log density of coordinate d: y (B, M, 1), the others (B, 1, K) -> (B, M, K)"""
    kind, std = target.get("support", ["real"] * (d + 1))[d], (0.5 * log_variance).exp()
    if kind == "bounded":
        lower, upper = ends(target, d)
        mass = torch.special.ndtr((upper - mean) / std) - torch.special.ndtr((lower - mean) / std)
        return log_normal(y - mean, log_variance) - mass.log()
    if kind == "periodic":
        lower, upper = ends(target, d)
        images = [log_normal(y - mean + j * (upper - lower), log_variance) for j in range(-40, 41)]
        return torch.logsumexp(torch.stack(images), 0)
    return log_normal(y - mean, log_variance)


def log_mixture(y, mean, log_variance, log_weight, target):
    """y (B, M, D) -> (B, M)"""
    parts = [log_coordinate(y[:, :, d, None], mean[:, None, d], log_variance[:, None, d], target, d)
             for d in range(y.shape[2])]
    return torch.logsumexp(log_weight.unsqueeze(1) + sum(parts), 2)


def fixed_noise(y, center, sigmas, target):
    mean = center.unsqueeze(2).expand(-1, -1, len(sigmas))
    log_variance = (2 * sigmas.log()).expand_as(mean)
    return log_mixture(y, mean, log_variance, torch.full((y.shape[0], len(sigmas)), -math.log(len(sigmas))), target)


def inside(y, target):
    """Standard normal numbers y (..., D) -> inside of bounds and periods, some of them near the ends"""
    y = y.clone()
    for d, kind in enumerate(target.get("support", [])):
        if kind != "real":
            lower, upper = ends(target, d)
            y[..., d] = lower + (upper - lower) * torch.special.ndtr(1.5 * y[..., d])
    return y.float().double()


def nce(f0, f, q0, q):
    s0, s = f0 - q0, f - q
    return (torch.logsumexp(torch.cat([s0, s], 1), 1) - s0.squeeze(1)).mean()


def score(model, h, y):
    """The gradient of f in y (B, M, D), with a graph of its own."""
    asked = y.clone().requires_grad_()
    return asked, torch.autograd.grad(model.f(h, asked).sum(), asked, create_graph=True)[0]


def laplacian(model, h, y):
    """The trace of the Hessian of f in y (B), and the gradient (B, D)."""
    asked, grad = score(model, h, y.unsqueeze(1))
    diagonal = [torch.autograd.grad(grad[:, :, d].sum(), asked, create_graph=True)[0][:, 0, d] for d in range(y.shape[1])]
    return torch.stack(diagonal, 1).sum(1), grad.squeeze(1)


def is_smooth(config):
    return all(layer["activation"] != "relu" for net in ("target_net", "energy_net") for layer in config.get(net, []))


def losses_on_the_line(model, h, y, samples, f, n, sigmas, more):
    """Those that move the true target, or integrate by parts: the noise n at the samples"""
    out, y0 = {}, y.unsqueeze(1)
    moved = y0 + more["nce_plus.annotation_noise"].unsqueeze(1)
    out["nce_plus"] = nce(model.f(h, moved), f, fixed_noise(moved, y, sigmas, model.config["target"]), n)
    away = (samples - y0) / more["dsm.sigma"] ** 2
    out["dsm"] = ((score(model, h, samples)[1] + away) ** 2).sum(2).mean()
    if is_smooth(model.config):
        trace, grad = laplacian(model, h, y)
        out["sm"] = (trace + 0.5 * (grad ** 2).sum(1)).mean()
    return out


def losses(model, x, y, samples, sigmas, more):
    """word -> scalar, each from a forward pass of its own; more: annotation noise, label sigma, dsm's sigma"""
    out, y0, target = {}, y.unsqueeze(1), model.config["target"]
    has_energy, has_proposal = "energy_net" in model.config, "proposal" in model.config
    h = model.features(x, training=True)
    hq = h if has_proposal and model.config["proposal"].get("trains_features") else h.detach()
    if has_energy:
        f0, f = model.f(h, y0), model.f(h, samples)
        n0, n = fixed_noise(y0, y, sigmas, target), fixed_noise(samples, y, sigmas, target)
        out["ml_is"] = (torch.logsumexp(f - n, 1) - math.log(M) - f0.squeeze(1)).mean()
        out["nce"] = nce(f0, f, n0, n)
        if "support" not in target:
            out.update(losses_on_the_line(model, h, y, samples, f, n, sigmas, more))
        label = fixed_noise(samples, y, more["kld_is.sigma"], target)
        out["kld_is"] = (torch.logsumexp(f - n, 1) - math.log(M) - (f * (label - n).exp()).mean(1)).mean()
        out["ml_mcmc"] = (f.mean(1) - f0.squeeze(1)).mean()  # the samples are the ends of the chains
    if has_proposal:
        out["mdn_nll"] = -log_mixture(y0, *model.mixture(h), target).mean()
    if has_energy and has_proposal:
        mix = model.mixture(hq)
        q0, q = log_mixture(y0, *mix, target), log_mixture(samples, *mix, target)
        out["kl_proposal"] = (torch.logsumexp(f.detach() - q, 1) - math.log(M)).mean()
        out["nce_kl"] = nce(f0, f, q0.detach(), q.detach()) + out["kl_proposal"]
        out["joint"] = (torch.logsumexp(f - q, 1) - math.log(M) - f0.squeeze(1)).mean()
    return out


def circular(w, angles, lower, upper):
    """Mean in [lower, upper) and standard deviation by the mean resultant."""
    turn = 2 * math.pi / (upper - lower)
    cosine, sine = ((w * part(turn * (angles - lower))).sum(1) for part in (torch.cos, torch.sin))
    mean = lower + torch.remainder(torch.atan2(sine, cosine), 2 * math.pi) / turn
    return mean, torch.sqrt(-2 * torch.log(torch.hypot(cosine, sine))) / turn


def forward_values(model, x, y, samples, sigmas):
    values, y0, target = {}, y.unsqueeze(1), model.config["target"]
    h = model.features(x)
    values["features"] = h
    if "energy_net" in model.config:
        asked = samples.clone().requires_grad_()
        f = model.f(h, asked)
        values["f"], values["f_samples"] = model.f(h, y0).squeeze(1), f
        values["grad_y_f_samples"] = torch.autograd.grad(f.sum(), asked)[0]
        if is_smooth(model.config) and "support" not in model.config["target"]:
            values["laplacian_y_f"] = laplacian(model, h, y)[0]
        values["fixed_noise.log_q"] = fixed_noise(y0, y, sigmas, target).squeeze(1)
        values["fixed_noise.log_q_samples"] = fixed_noise(samples, y, sigmas, target)
    if "proposal" in model.config:
        mix = model.mixture(h)
        values["mixture.mean"], values["mixture.log_variance"], values["mixture.log_weight"] = mix
        values["log_q"], values["log_q_samples"] = log_mixture(y0, *mix, target).squeeze(1), log_mixture(samples, *mix, target)
    if "energy_net" in model.config and "proposal" in model.config:
        s = values["f_samples"] - values["log_q_samples"]
        w = torch.softmax(s, 1)
        mean = (w.unsqueeze(2) * samples).sum(1)
        std = ((w.unsqueeze(2) * (samples - mean.unsqueeze(1)) ** 2).sum(1)).sqrt()
        for d in range(samples.shape[2]):
            if target.get("support", ["real"] * (d + 1))[d] == "periodic":
                mean[:, d], std[:, d] = circular(w, samples[:, :, d], *ends(target, d))
        values["snis.weights"], values["snis.mean"], values["snis.ess"] = w, mean, 1 / (w ** 2).sum(1)
        values["snis.std"] = std
        values["snis.log_partition"] = torch.logsumexp(s, 1) - math.log(M)
    return values


def make(config, seed, folder):
    generator = torch.Generator().manual_seed(1000 + seed)

    def rounded(*shape):
        return torch.randn(shape, generator=generator).float().double()

    model, dim = Model(config, seed), config["target"]["dim"]
    x, y, samples = rounded(B, *config["input"]["shape"]), rounded(B, dim), rounded(B, M, dim) * 1.3
    y, samples = inside(y, config["target"]), inside(samples, config["target"])
    sigmas = torch.tensor([0.25, 1.5, 3.5] if "support" in config["target"] else [0.25, 1.5])
    expected = {"x": x, "y": y, "y_samples": samples, "fixed_noise.sigmas": sigmas}
    more = {"nce_plus.annotation_noise": rounded(B, dim) * 0.125, "kld_is.sigma": torch.tensor([0.375]),
            "dsm.sigma": torch.tensor([0.75])}
    if "support" in config["target"]:
        expected["kld_is.sigma"] = more["kld_is.sigma"]
    elif "energy_net" in config:
        expected.update(more)
    expected.update(forward_values(model, x, y, samples, sigmas))
    arrays = {k: v.detach().numpy() for k, v in expected.items()}
    names = [name for name, value in model.weights.items() if value.requires_grad]
    for word in losses(model, x, y, samples, sigmas, more):
        loss = losses(model, x, y, samples, sigmas, more)[word]
        arrays["loss." + word] = np.array([loss.item()])
        grads = torch.autograd.grad(loss, [model.weights[n] for n in names], allow_unused=True)
        for name, grad in zip(names, grads):
            if grad is not None and bool((grad != 0).any()):
                arrays[f"grad.{word}.{name}"] = grad.numpy().astype("<f4")
    os.makedirs(folder, exist_ok=True)
    weights = {n: w.detach().numpy().astype("<f4") for n, w in model.weights.items()}
    save(os.path.join(folder, "model.safetensors"), weights,
         {"format": "ebm-model", "format_version": "1", "config": json.dumps(config)})
    save(os.path.join(folder, "expected.safetensors"), arrays, {"made_by": "tests/make_golden.py"})


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
    for seed, config in enumerate(CASES):
        make(config, seed, os.path.join(out, config["name"]))
        print(os.path.join(out, config["name"]))


main()
