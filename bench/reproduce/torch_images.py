#!/usr/bin/python3
"""The peer of the image rows: `nce_kl` as papers III and IV describe it, in plain PyTorch on one thread.

  bench/reproduce/torch_images.py --config configs/cells.json --data FOLDER --test FOLDER --seed N --output FILE

Reads the trainer's own configuration, so that trunk, heads, initial weights, standardisation, share held out, epochs, batch,
draws, rate, decay and jitter are the same by construction; what it cannot do it refuses. log Z and everything asked of
the density come of f on a grid of sixteenths of a bin over `training.support`. --output gets what `ebm-trainer evaluate`
writes of it: nll, nll_std_error, targets[0].mae, targets[0].intervals; and under "calibrated" the same of exp(f / T), T
chosen by the rows held out as `ebm-trainer calibrate` does it. Needs Debian's python3-torch and python3-pil."""
import argparse
import copy
import csv
import json
import math
import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

ACTIVATIONS = {"identity": nn.Identity, "relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh, "softplus": nn.Softplus}
COARSE, FINE = 4, 16  # points a bin, after an epoch and at the end
LEVELS = (0.5, 0.8, 0.9, 0.95)


def read_images(folder):
    """-> pixels (n, 1, height, width) of 0 to 1, targets (n): the last column"""
    with open(os.path.join(folder, "labels.csv")) as file:
        rows = list(csv.reader(file))[1:]
    pixels = [np.asarray(Image.open(os.path.join(folder, row[0]))) for row in rows]
    return torch.tensor(np.stack(pixels)).unsqueeze(1).float() / 255, torch.tensor([float(row[-1]) for row in rows])


class Block(nn.Module):
    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.bn2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        self.down = nn.Identity() if stride == 1 and n_in == n_out else nn.Sequential(
            nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.down(x))


def resnet18(n_in, width):
    layers = [nn.Conv2d(n_in, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = width
    for stage in range(4):
        n_out = width << stage
        layers += [Block(before, n_out, 1 if stage == 0 else 2), Block(n_out, n_out, 1)]
        before = n_out
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, v):
        return v + self.inner(v)


def linear_layers(layers, n_in, n_last=None):
    net = []
    for layer in layers:
        n_out = layer.get("out", n_last)
        one = nn.Sequential(nn.Linear(n_in, n_out), ACTIVATIONS[layer.get("activation", "identity")]())
        net.append(Residual(one) if layer.get("residual") else one)
        n_in = n_out
    return nn.Sequential(*net), n_in


class Model(nn.Module):
    """f(x, y) and log q(y|x); h (B, H), y (B, M) standardised."""

    def __init__(self, config, target_scale):
        super().__init__()
        trunk, proposal = config["feature_net"][0], config["proposal"]
        assert len(config["feature_net"]) == 1 and trunk["type"] == "resnet" and trunk["depth"] == 18
        self.features = resnet18(1, trunk["width"])
        n_h, self.K = 8 * trunk["width"], proposal["components"]
        self.target_net, n_g = linear_layers(config["target_net"], 1)
        with torch.no_grad():
            for each in self.target_net[0][0].parameters():
                each.mul_(target_scale)
        first, rest = config["energy_net"][0], config["energy_net"][1:]
        assert not first.get("residual")
        self.from_h, self.from_g = nn.Linear(n_h, first["out"]), nn.Linear(n_g, first["out"], bias=False)
        for each in (self.from_h.weight, self.from_h.bias, self.from_g.weight):  # one layer over both
            nn.init.uniform_(each, -((n_h + n_g) ** -0.5), (n_h + n_g) ** -0.5)
        self.act = ACTIVATIONS[first["activation"]]()
        self.energy, _ = linear_layers(rest, first["out"])
        self.proposal = nn.ModuleList(linear_layers(proposal[net], n_h, self.K)[0]
                                      for net in ("mean_net", "log_variance_net", "weight_net"))
        self.temperature = 1.0

    def f(self, h, y):
        a = self.act(self.from_h(h).unsqueeze(1) + self.from_g(self.target_net(y.unsqueeze(2))))
        return self.energy(a).squeeze(2) / self.temperature

    def mixture(self, h):
        mean, log_variance, logits = (net(h) for net in self.proposal)
        return mean, torch.exp(0.5 * log_variance), torch.log_softmax(logits, 1)


def draw(mixture, n):
    mean, std, log_weight = mixture
    k = torch.multinomial(log_weight.exp(), n, replacement=True)
    return mean.gather(1, k) + std.gather(1, k) * torch.randn(k.shape)


def log_q(mixture, y):
    mean, std, log_weight = (each.unsqueeze(1) for each in mixture)
    z = (y.unsqueeze(2) - mean) / std
    return torch.logsumexp(log_weight - torch.log(std) - 0.5 * z * z, 2) - 0.5 * math.log(2 * math.pi)


def nce_kl(model, x, y, n_draws):
    h = model.features(x)
    mixture = model.mixture(h.detach())
    with torch.no_grad():
        drawn = draw(mixture, n_draws)
    log_q0, log_qs = log_q(mixture, y.unsqueeze(1)), log_q(mixture, drawn)
    f = model.f(h, torch.cat([y.unsqueeze(1), drawn], 1))
    s = f - torch.cat([log_q0, log_qs], 1).detach()
    noise_contrast = (torch.logsumexp(s, 1) - s[:, 0]).mean()
    kl = (torch.logsumexp(f[:, 1:].detach() - log_qs, 1) - math.log(n_draws)).mean()
    return noise_contrast + kl


class Scale:
    """Standardisation by the training rows."""

    def __init__(self, x, y, step):
        self.x_mean, self.x_std = x.mean(), x.std(unbiased=False)
        self.y_mean, self.y_std, self.step = y.mean(), y.std(unbiased=False), step

    def inputs(self, x):
        return (x - self.x_mean) / self.x_std

    def targets(self, y):
        return ((y - self.y_mean) / self.y_std).float()


class Grid:
    """Cells over `support`, `points` of them a bin of `step` around a whole number of steps."""

    def __init__(self, support, step, points):
        self.lower, self.step, self.points, self.cell = support[0], step, points, step / points
        n = round((support[1] - support[0]) / self.cell)
        self.y = support[0] + self.cell * (torch.arange(n, dtype=torch.float64) + 0.5)

    def first(self, y):
        """Index of the first cell in the bin of y (n)."""
        return ((y.double() - 0.5 * self.step - self.lower) / self.cell).round().long().unsqueeze(1)


@torch.no_grad()
def judge(model, scale, grid, x, y, seed):
    """-> nll (n), mean (n), a place in the distribution within the target's bin (n)"""
    model.eval()
    at = scale.targets(grid.y).unsqueeze(0)
    mass = torch.cat([torch.softmax(model.f(model.features(rows), at).double(), 1) for rows in scale.inputs(x).split(25)])
    first, summed = grid.first(y), F.pad(mass.cumsum(1), (1, 0))
    low, high = summed.gather(1, first).squeeze(1), summed.gather(1, first + grid.points).squeeze(1)
    within = low + (high - low) * torch.rand(len(y), generator=torch.Generator().manual_seed(seed))
    in_bin = mass.gather(1, first + torch.arange(grid.points)).sum(1)
    return -torch.log(in_bin / grid.step), mass @ grid.y, within


def figures(model, scale, grid, x, y, seed):
    nll, mean, at = judge(model, scale, grid, x, y, seed)
    inside = [((at >= 0.5 - 0.5 * level) & (at <= 0.5 + 0.5 * level)).double().mean().item() for level in LEVELS]
    return {"protocol": "torch", "rows": len(y), "nll": nll.mean().item(),
            "nll_std_error": (nll.std() / len(y) ** 0.5).item(),
            "targets": [{"mae": (mean - y).abs().mean().item(), "rmse": (mean - y).square().mean().sqrt().item(),
                         "intervals": [{"level": l, "coverage": c} for l, c in zip(LEVELS, inside)]}]}


def rate_at(training, step, n_steps):
    schedule = training.get("schedule", {})
    assert schedule.get("kind", "constant") in ("constant", "cosine")
    warm = schedule.get("warmup_steps", 0)
    rate = training["learning_rate"] * min(1.0, (step + 1) / max(1, warm))
    if schedule.get("kind") == "cosine":
        a = schedule.get("final_share", 0.0)
        rate *= a + (1 - a) * (1 + math.cos(math.pi * max(0, step - warm) / max(1, n_steps - 1 - warm))) / 2
    return rate


def optimiser(parameters, training):
    return torch.optim.AdamW(parameters, weight_decay=training.get("weight_decay", 0.0))


def train_epoch(model, scale, x, y, training, augment, epoch, optimisers):
    """One epoch. Those of the warm-up move the proposal alone."""
    model.train()
    n_warm, size = training.get("warmup_epochs", 1), training["batch_size"]
    batches = torch.randperm(len(y)).split(size)
    for i, rows in enumerate(batches):
        pixels = scale.inputs(x[rows])
        if augment.get("flip"):
            pixels = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, pixels.flip(3), pixels)
        if augment.get("flip_vertical"):
            pixels = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, pixels.flip(2), pixels)
        target = scale.targets(y[rows] + scale.step * (torch.rand(len(rows)) - 0.5))
        for each in optimisers:
            each.zero_grad(set_to_none=True)
            each.param_groups[0]["lr"] = rate_at(training, epoch * len(batches) + i, training["epochs"] * len(batches))
        if epoch < n_warm:
            with torch.no_grad():
                h = model.features(pixels)
            (-log_q(model.mixture(h), target.unsqueeze(1)).mean()).backward()
        else:
            nce_kl(model, pixels, target, training["samples"]).backward()
        for each in optimisers[:1] if epoch < n_warm else optimisers:
            each.step()


def train(config, x, y, seed, epochs):
    """-> the model of the epoch with the least NLL of the rows held out, the scale, that NLL, those rows"""
    training, data = {**config["training"], "epochs": epochs or config["training"]["epochs"]}, config["data"]
    assert training["method"] == "nce_kl" and not data.get("augment", {}).keys() - {"flip", "flip_vertical"}
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(data.get("split_seed", seed)))
    n_held = round(data.get("validation", 0) * len(y))
    held, rest = order[:n_held], order[n_held:]
    scale = Scale(x[rest], y[rest], data["dequantize"]["step"])
    grid = Grid(training["support"], scale.step, COARSE)
    model = Model(config["model"], training.get("target_scale", 1.0))
    optimisers = [optimiser(model.proposal.parameters(), training), optimiser(
        [p for name, p in model.named_parameters() if not name.startswith("proposal.")], training)]
    best, kept = math.inf, None
    for epoch in range(training["epochs"]):
        train_epoch(model, scale, x[rest], y[rest], training, data.get("augment", {}), epoch, optimisers)
        nll = judge(model, scale, grid, x[held], y[held], seed)[0].mean().item() if n_held else -math.inf
        print(f"epoch {epoch + 1}: {nll:.4f}", flush=True)
        if epoch >= training.get("warmup_epochs", 1) and (nll < best or not n_held):
            best, kept = nll, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model, scale, best, x[held], y[held]


def calibrate(model, scale, grid, x, y, seed):
    """Sets the temperature that makes the NLL of these rows least; -> that NLL"""
    def nll_at(log_t):
        model.temperature = math.exp(log_t)
        return judge(model, scale, grid, x, y, seed)[0].mean().item()
    golden, low, high = (5 ** 0.5 - 1) / 2, -math.log(8), math.log(8)
    a, b = high - golden * (high - low), low + golden * (high - low)
    at_a, at_b = nll_at(a), nll_at(b)
    while high - low > 1e-3:
        if at_a <= at_b:
            high, b, at_b = b, a, at_a
            a = high - golden * (high - low)
            at_a = nll_at(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + golden * (high - low)
            at_b = nll_at(b)
    return nll_at(a if at_a <= at_b else b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--test")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    with open(arguments.config) as file:
        config = json.load(file)
    model, scale, best, x_held, y_held = train(config, *read_images(arguments.data), arguments.seed, arguments.epochs)
    found = {"validation_nll": best}
    if arguments.test:
        grid = Grid(config["training"]["support"], scale.step, FINE)
        x, y = read_images(arguments.test)
        found.update(figures(model, scale, grid, x, y, arguments.seed))
        after = calibrate(model, scale, grid, x_held, y_held, arguments.seed)
        found["calibrated"] = {"validation_nll": after, "temperature": model.temperature,
                               **figures(model, scale, grid, x, y, arguments.seed)}
    with open(arguments.output, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
