#!/usr/bin/env python3
"""Draws docs/pictures/: trains the examples with ebm-trainer, serves them, asks /density, /sample and /predict.

  scripts/make_pictures.py [BUILD [NAME ...]]      build, all; scripts/make_site.sh --pictures calls it with all it needs

Every picture is an SVG in two forms, NAME.light.svg and NAME.dark.svg. Everything drawn by chance has a seed, so the same
programs on the same kind of CPU draw the same pictures. Needs matplotlib."""
import base64
import csv
import json
import os
import subprocess
import sys
import tempfile

import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PICTURES = os.path.join(ROOT, "docs", "pictures")
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from harness import Repository, Server  # noqa: E402

IMAGES = {"cells": 2000, "pose": 2000}  # of the training, as in the examples
PALETTES = {  # text and axes, p, q, a marker, a density from the page's own colour upwards
    "light": {"ink": "#37474f", "p": "#00796b", "q": "#8e6bbf", "mark": "#d84315",
              "map": ["#ffffff", "#80cbc4", "#00796b", "#00251f"]},
    "dark": {"ink": "#cfd8dc", "p": "#4db6ac", "q": "#b39ddb", "mark": "#ff8a65",
             "map": ["#1e2129", "#1d4d57", "#2f8f84", "#d7f2e3"]},
}
plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "ebm", "font.family": "sans-serif", "font.size": 11,
    "axes.spines.top": False, "axes.spines.right": False, "savefig.transparent": True, "figure.constrained_layout.use": True,
})


class Asker:
    """A server with the trained models, and its answers as arrays."""

    def __init__(self, build, folder):
        self.build, self.folder = build, folder
        self.repository = Repository()
        self.server = None

    def train(self, name, *options):
        output = os.path.join(self.folder, name)
        config = os.path.join(ROOT, "examples", name, "config.json")
        self._trainer("train", "--config", config, "--output", output, *options)
        self.repository.publish(name, os.path.join(output, "model.safetensors"))

    def generate(self, name, rows, seed, output):
        """-> where it lies"""
        path = os.path.join(self.folder, output)
        self._trainer("generate", name, "--rows", str(rows), "--seed", str(seed), "--output", path)
        return path

    def _trainer(self, *words):
        subprocess.run([os.path.join(self.build, "trainer", "ebm-trainer"), *words], check=True, capture_output=True, text=True)

    def ask(self, route, **fields):
        body = {"seed": 1, **fields}
        status, _, answer = self.server.ask("POST", route, body)
        if status != 200:
            raise SystemExit(f"POST {route}: expected status 200, got {status}: {answer.decode()}")
        return json.loads(answer)["predictions"]

    def density(self, model, inputs, lower, upper, points=512):
        """-> y, and for each input a dict of arrays: log_prob, proposal_log_prob, unnormalized_log_prob"""
        answers = self.ask("/density", model=model, inputs=[[x] for x in inputs], num_samples=16384,
                           grid={"lower": lower, "upper": upper, "points": points})
        keys = ("log_prob", "proposal_log_prob", "unnormalized_log_prob")
        return np.linspace(lower, upper, points), [{key: np.array(one[key]) for key in keys} for one in answers]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return np.array([[float(v) for v in row] for row in list(csv.reader(file))[1:]])


def tint(colours):
    for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"):
        plt.rcParams[key] = colours["ink"]


def draw_answer(asker, colours):
    """The geyser after 80 minutes: the whole of the answer beside the mean."""
    y, (at,) = asker.density("geyser", [80], 1, 5.5)
    answer, = asker.ask("/predict", model="geyser", inputs=[[80]], outputs=["mean", "quantiles"], num_samples=16384)
    figure, axis = plt.subplots(figsize=(7.2, 3))
    axis.fill_between(y, np.exp(at["log_prob"]), color=colours["p"], alpha=0.35, linewidth=0)
    axis.plot(y, np.exp(at["log_prob"]), color=colours["p"])
    mean, top = answer["mean"][0], np.exp(at["log_prob"]).max()
    axis.axvline(mean, color=colours["mark"], linestyle="--")
    axis.text(mean + 0.05, top * 0.92, f"mean {mean:.2f}", color=colours["mark"])
    low, median, high = (q["value"][0] for q in answer["quantiles"])
    axis.plot([low, high], [-0.05 * top] * 2, color=colours["ink"], linewidth=3, solid_capstyle="butt")
    axis.plot([median], [-0.05 * top], "o", color=colours["ink"])
    axis.text(high + 0.1, -0.05 * top, "5 %, 50 %, 95 %", va="center", fontsize=9)
    axis.set(xlim=(1, 5.5), xlabel="duration of the eruption, minutes", ylabel="p(y | x = 80 min)")
    return figure


def draw_two_inputs(asker, colours):
    y, answers = asker.density("geyser", [50, 80], 1, 5.5)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.9), sharey=True)
    for axis, x, at in zip(axes, (50, 80), answers):
        axis.plot(y, np.exp(at["log_prob"]), color=colours["p"], label="p: energy, normalised")
        axis.plot(y, np.exp(at["proposal_log_prob"]), color=colours["q"], linestyle="--", label="q: proposal")
        axis.set(title=f"after a wait of {x} minutes", xlabel="duration, minutes", xlim=(1, 5.5), ylim=(0, None))
    axes[0].set_ylabel("density")
    axes[1].legend(frameon=False, fontsize=9, loc="upper center")
    return figure


def draw_energy(asker, colours):
    """f beside log p: the same curve, log Z apart."""
    y, (at,) = asker.density("geyser", [80], 1, 5.5)
    figure, axis = plt.subplots(figsize=(7.2, 2.9))
    axis.plot(y, at["unnormalized_log_prob"], color=colours["q"], label="f(x, y)")
    axis.plot(y, at["log_prob"], color=colours["p"], label="log p(y | x) = f - log Z")
    trough = int(np.argmin(np.where((y > 2) & (y < 4), at["log_prob"], np.inf)))
    high, low = at["unnormalized_log_prob"][trough], at["log_prob"][trough]
    axis.annotate("", (y[trough], low), (y[trough], high), arrowprops={"arrowstyle": "<->", "color": colours["mark"]})
    axis.text(y[trough], low - 0.9, f"log Z = {high - low:.2f}", color=colours["mark"], ha="center")
    axis.set(xlabel="duration, minutes", xlim=(1, 5.5), ylabel="nats", ylim=(-6, 4))
    axis.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def draw_toy(asker, colours):
    data = rows_of(os.path.join(asker.folder, "toy1.csv"))
    x = np.linspace(-3, 3, 193)
    y, answers = asker.density("toy1", x.tolist(), -2, 2, 257)
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.4), sharey=True)
    axes[0].plot(data[:, 0], data[:, 1], ".", markersize=2, color=colours["p"], rasterized=True)
    axes[0].set(title="what it was trained on: 2000 rows", ylabel="y")
    image = np.sqrt(np.exp(np.array([at["log_prob"] for at in answers]).T))  # the root shows the smaller mode too
    axes[1].imshow(image, origin="lower", extent=(-3, 3, -2, 2), aspect="auto", interpolation="bilinear",
                   cmap=matplotlib.colors.LinearSegmentedColormap.from_list("density", colours["map"]))
    axes[1].set(title="p(y | x) of the model")
    for axis in axes:
        axis.set(xlabel="x", xlim=(-3, 3), ylim=(-2, 2))
    return figure


def draw_weights(asker, colours):
    """128 draws, as heavy as they are: a good fit beside an input far from the data."""
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3), sharey=True)
    for axis, x in zip(axes, (80, 160)):
        answer, = asker.ask("/sample", model="geyser", inputs=[[x]], resample=False, num_proposals=128)
        weights, said = np.exp(answer["log_weights"]), answer["diagnostics"]
        axis.semilogy(np.array(answer["samples"])[:, 0], weights, ".", color=colours["p"], markersize=5)
        axis.axhline(1 / 128, color=colours["q"], linestyle="--", linewidth=1)
        axis.axhline(0.1, color=colours["mark"], linestyle=":", linewidth=1.5)
        axis.set(title=f"x = {x}: ess {said['ess']:.1f} of 128", xlabel="duration, minutes", xlim=(0, 5.5), ylim=(1e-5, 3))
    axes[1].text(5.45, 0.14, "above: dominant_weight", color=colours["mark"], fontsize=9, ha="right", va="bottom")
    axes[1].text(5.45, 0.0055, "1/128: all equal", color=colours["q"], fontsize=9, ha="right", va="top")
    axes[0].set_ylabel("normalised weight of a draw")
    return figure


class Shown:
    """Labelled images of a folder that `generate` wrote and no training has seen."""

    def __init__(self, folder):
        with open(os.path.join(folder, "labels.csv"), newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        self.paths = [os.path.join(folder, row[0]) for row in rows]
        self.targets = np.array([[float(v) for v in row[1:]] for row in rows])

    def inputs(self, chosen):
        """As a request has them."""
        encoded = []
        for i in chosen:
            with open(self.paths[i], "rb") as file:
                encoded.append({"b64": base64.b64encode(file.read()).decode()})
        return encoded

    def show(self, axis, i):
        axis.imshow(plt.imread(self.paths[i]), cmap="gray", vmin=0, vmax=1, interpolation="none")
        axis.set_axis_off()


def bar(axis, lower, upper, top, colours):
    """The interval that holds nine of ten, below a density that reaches up to `top`."""
    axis.plot([lower, upper], [-0.08 * top] * 2, color=colours["ink"], linewidth=3, solid_capstyle="butt")


def draw_cells(asker, colours):
    """Of every fifth of the counts the first test image, and what the model says of it."""
    shown = Shown(os.path.join(asker.folder, "cells-test"))
    chosen = [int(np.argmax((shown.targets[:, 0] > least) & (shown.targets[:, 0] <= least + 40))) for least in range(0, 200, 40)]
    inputs = shown.inputs(chosen)
    y = np.linspace(0.5, 200.5, 401)
    densities = asker.ask("/density", model="cells", inputs=inputs, grid={"lower": 0.5, "upper": 200.5, "points": len(y)})
    intervals = asker.ask("/predict", model="cells", inputs=inputs, outputs=["interval"])
    figure, axes = plt.subplots(2, len(chosen), figsize=(8.4, 3.6), height_ratios=(1.5, 1))
    for i, image, axis, at, answer in zip(chosen, *axes, densities, intervals):
        shown.show(image, i)
        p, holds, truth = np.exp(np.array(at["log_prob"])), answer["interval"]["intervals"][0], shown.targets[i, 0]
        near = abs(y - truth) <= 45
        axis.fill_between(y[near], p[near], color=colours["p"], alpha=0.35, linewidth=0)
        axis.plot(y[near], p[near], color=colours["p"])
        axis.axvline(truth, color=colours["mark"], linestyle="--", linewidth=1)
        bar(axis, holds["lower"][0], holds["upper"][0], p.max(), colours)
        image.set_title(f"{truth:.0f} cells", color=colours["mark"], fontsize=10)
        axis.set(xlim=(max(0, truth - 45), min(205, truth + 45)), yticks=[])
        axis.spines["left"].set_visible(False)
    axes[1, len(chosen) // 2].set_xlabel("count: p(count | picture), dashed the truth; the bar holds it nine times out of ten")
    return figure


def draw_pose(asker, colours):
    """The first three test images, and of 200 the one with the widest density: each angle by itself."""
    shown, names = Shown(os.path.join(asker.folder, "pose-test")), ("yaw", "pitch", "roll")
    stds = asker.ask("/predict", model="pose", inputs=shown.inputs(range(200)), outputs=["std"])
    chosen = [0, 1, 2, int(np.argmax([np.prod(one["std"]) for one in stds]))]
    draws = asker.ask("/sample", model="pose", inputs=shown.inputs(chosen), num_samples=16384, num_proposals=65536)
    intervals = asker.ask("/predict", model="pose", inputs=shown.inputs(chosen), outputs=["interval"], num_samples=65536)
    figure, axes = plt.subplots(4, len(chosen), figsize=(8.4, 6.6), height_ratios=(1.6, 1, 1, 1), sharex="row")
    for i, column, drawn, answer in zip(chosen, axes.T, draws, intervals):
        shown.show(column[0], i)
        samples, holds = np.array(drawn["samples"]), answer["interval"]["intervals"][0]
        for j, axis in enumerate(column[1:]):
            counts, edges = np.histogram(samples[:, j], bins=100, range=(-100, 100), density=True)
            axis.stairs(counts, edges, fill=True, color=colours["p"], alpha=0.6)
            axis.axvline(shown.targets[i, j], color=colours["mark"], linestyle="--", linewidth=1)
            bar(axis, holds["lower"][j], holds["upper"][j], counts.max(), colours)
            axis.set(xlim=(-100, 100), xticks=(-60, 0, 60), yticks=[])
            axis.spines["left"].set_visible(False)
    for name, axis in zip(names, axes[1:, 0]):
        axis.set_ylabel(name)
    figure.supxlabel("degrees: p(angle | picture), dashed the truth; the bar holds it nine times out of ten", fontsize=11)
    return figure


PICTURES_TO_DRAW = {"answer": draw_answer, "two-inputs": draw_two_inputs, "energy": draw_energy, "toy1": draw_toy,
                    "weights": draw_weights, "cells": draw_cells, "pose": draw_pose}
MODEL_OF = {"toy1": "toy1", "cells": "cells", "pose": "pose"}  # of the others: the geyser


def prepare(asker, models):
    """As the examples' READMEs do it."""
    if "geyser" in models:
        asker.train("geyser")
    if "toy1" in models:
        asker.train("toy1", "--data", asker.generate("toy1", 2000, 0, "toy1.csv"))
    for name in sorted({"cells", "pose"} & models):
        asker.generate(name, 500, 2, name + "-test")
        asker.train(name, "--data", asker.generate(name, IMAGES[name], 1, name + "-train"))


def main():
    build = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build"))
    names = sys.argv[2:] or list(PICTURES_TO_DRAW)
    os.makedirs(PICTURES, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        asker = Asker(build, folder)
        try:
            prepare(asker, {MODEL_OF.get(name, "geyser") for name in names})
            asker.server = Server(os.path.join(build, "server", "ebm-server"), asker.repository)
            for form, colours in PALETTES.items():
                tint(colours)
                for name in names:
                    figure = PICTURES_TO_DRAW[name](asker, colours)
                    figure.savefig(os.path.join(PICTURES, f"{name}.{form}.svg"), metadata={"Date": None})
                    plt.close(figure)
        finally:
            if asker.server:
                asker.server.stop()
            asker.repository.remove()


main()
