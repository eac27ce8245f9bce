#!/usr/bin/env python3
"""Measures a server of images, ResNet-18 on 3 x 64 x 64 (the peers' network C), beside PyTorch's and beside what the
trunk alone does on as many cores. bench/images.sh builds and calls this.

  images.py --build DIR --peers DIR --output FILE [--rounds 9] [--seconds 2] [--minutes N] [--more] [--busy]

A round is the trunk alone, ours and PyTorch's on one thread and ours on all cores at once, our server asked in each way
by each number of connections, the forms of PyTorch's server: in the first round all, then the best. One image a
request, 64 different ones in turns. A measurement in which others took more than a tenth of a core is void and made
again, three tries at the most. Before anything is timed, pixels must have the same answer as bytes and as a PNG. Writes
all measurements as JSON and prints a table."""
import argparse
import collections
import json
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import load

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPE = (3, 64, 64)
PICTURES = 64
KINDS = ("cells", "pose", "noise")
FORMS = {  # of PyTorch's server
    "2 processes of 1 thread": ["--processes", "2"],
    "1 process, 2 executors of 1 thread": ["--executors", "2"],
    "1 process, 1 executor of 2 threads": ["--threads", "2"],
}
LEAST = {"outputs": "mean,std", "seed": "1"}


def npy(pixels):
    """(1, 3, 64, 64) uint8 of bytes that lie so."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 3, 64, 64), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pixels


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels):
    """Of bytes (3, 64, 64), without a filter."""
    rows = b"".join(b"\0" + bytes(pixels[c * 4096 + y * 64 + x] for x in range(64) for c in range(3))
                    for y in range(64))
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 6)),
                                            chunk(b"IEND", b"")))


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.samples = collections.defaultdict(list)
        self.begin = time.monotonic()
        self.bodies, self.ways = {}, {}
        if options.more and os.path.exists(options.output):
            with open(options.output, encoding="utf-8") as file:
                self.samples.update(json.load(file))

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def program(self, *parts):
        return os.path.join(self.options.build, *parts)

    def call(self, command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def write(self, name, content):
        with open(self.path(name), "wb") as file:
            file.write(content)
        return self.path(name)

    # ---- before ----

    def make_model(self):
        os.makedirs(self.path("models", "C", "1"))
        self.model = self.path("models", "C", "1", "model.safetensors")
        self.call([self.options.python, os.path.join(self.options.peers, "torch_export.py"), "C", self.model])

    def make_bodies(self):
        """kind of picture -> files of PNG; the first pixels of noise are what is sent as bytes."""
        generator = random.Random(1)
        noise = [generator.randbytes(3 * 64 * 64) for _ in range(PICTURES)]
        self.bodies["noise"] = [self.write(f"noise{i}.png", png(pixels)) for i, pixels in enumerate(noise)]
        self.bodies["npy"] = [self.write(f"{i}.npy", npy(pixels)) for i, pixels in enumerate(noise)]
        self.bodies["raw"] = [self.write(f"{i}.u8", pixels) for i, pixels in enumerate(noise)]
        for kind in ("cells", "pose"):
            self.call([self.program("trainer", "ebm-trainer"), "generate", kind, "--rows", str(PICTURES), "--output",
                       self.path(kind)])
            self.bodies[kind] = [self.path(kind, "images", f"{i:06}.png") for i in range(PICTURES)]

    def make_ways(self):
        """How ours is asked: name -> (route, bodies, headers)"""
        query = "&".join(f"{name}={value}" for name, value in LEAST.items())
        self.ways["uint8, .npy"] = (f"/predict?model=C&{query}", "npy", {"Content-Type": "application/x-npy"})
        self.ways["uint8, tensor of `/v2`"] = ("/v2/models/C/infer", "raw", {
            "Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"})
        for kind in KINDS:
            self.ways[f"PNG, {kind}"] = (f"/predict?model=C&{query}", kind, {"Content-Type": "image/png"})

    # ---- asking ----

    def server(self):
        return load.Service([self.program("server", "ebm-server"), "--model-repository", self.path("models"), "--port",
                             "{port}", "--log-level", "warning"])

    def peer(self, heads, form):
        return load.Service([self.options.python, os.path.join(HERE, "image_peer.py"), "--peers", self.options.peers,
                             "--port", "{port}", "--heads", heads, *FORMS[form]])

    def check_answers(self):
        """The same pixels have the same answer as PNG and as bytes, alone and in company."""
        with self.server() as ours:
            ours.wait("GET", "/readyz")
            answers = []
            for way in ("uint8, .npy", "PNG, noise"):
                route, bodies, headers = self.ways[way]
                with open(self.bodies[bodies][0], "rb") as file:
                    answers.append(ours.ask("POST", route, file.read(), headers))
            if answers[0] != answers[1] or answers[0][0] != 200:
                sys.exit(f"the answers are not the same: {answers}")

    def keep(self, key, measure):
        self.samples[key].append(load.quietest(measure, 1 if self.options.busy else 3, self.is_late))
        self.save()

    def is_late(self):
        return self.options.minutes and time.monotonic() - self.begin > 60 * self.options.minutes

    def trunk(self, threads):
        return self.rate([self.program("bench", "bench-trunk"), self.model, "together", str(threads),
                          str(self.options.seconds)])

    def torch_trunk(self):
        return self.rate([self.options.python, os.path.join(HERE, "image_peer.py"), "--peers", self.options.peers,
                          "--alone", str(self.options.seconds)])

    def rate(self, command):
        text, sample = load.run_alone(command)
        found = re.search(r"([\d.]+) images/s, (\d+) us of CPU", text)
        return sample | {"rps": float(found.group(1)), "server_us": float(found.group(2))}

    def load_by(self, service, key, route, bodies, headers):
        with open(self.bodies[bodies][0], "rb") as file:
            body = file.read()
        service.wait("POST", route, body, headers=headers)
        service.wait_until_idle()
        more = {"TYPE": headers["Content-Type"]}
        others = [f"{name}:{value}" for name, value in headers.items() if name != "Content-Type"]
        more |= {"HEADER": others[0]} if others else {}
        files = ":".join(self.bodies[bodies])
        service.load(route, files, self.options.connections[-1], 1, more)
        for c in self.options.connections:
            self.keep(f"{key}|{c}", lambda: service.load(route, files, c, self.options.seconds, more))

    def best_form(self, heads):
        """By what was measured so far; None: nothing was."""
        def rate(form):
            return max(figures(self.samples.get(f"PyTorch {heads}, {form}|{c}", []), "rps")[0]
                       for c in self.options.connections)
        rates = {form: rate(form) for form in FORMS}
        form = max(rates, key=rates.get)
        return form if rates[form] else None

    def round(self):
        self.keep("trunk, 1 thread|0", lambda: self.trunk(1))
        self.keep("PyTorch's trunk, 1 thread|0", self.torch_trunk)
        self.keep(f"trunk, {os.cpu_count()} threads|0", lambda: self.trunk(os.cpu_count()))
        with self.server() as ours:
            for way, how in self.ways.items():
                self.load_by(ours, way, *how)
        for heads in ("draws", "none"):
            best = self.best_form(heads)
            for form in [best] if best else FORMS:
                with self.peer(heads, form) as peer:
                    self.load_by(peer, f"PyTorch {heads}, {form}", "/predict", "raw",
                                 {"Content-Type": "application/octet-stream"})

    def run(self):
        self.make_model()
        self.make_bodies()
        self.make_ways()
        self.check_answers()
        for number in range(self.options.rounds):
            if self.is_late():
                break
            load.wait_for_quiet(4)
            self.round()
            print(f"round {number + 1} of {self.options.rounds}, {(time.monotonic() - self.begin) / 60:.1f} minutes",
                  file=sys.stderr, flush=True)
        self.tell()

    def save(self):
        with open(self.options.output, "w", encoding="utf-8") as file:
            json.dump(self.samples, file, indent=1)

    # ---- the table ----

    def tell(self):
        trunk = self.samples[f"trunk, {os.cpu_count()} threads|0"]
        limit, least_us = (figures(trunk, field)[0] for field in ("rps", "server_us"))
        print("| asked | connections | images/s | of the trunk alone | CPU us an image | the trunk's of it | p50 ms "
              "| p99 ms | clean rounds |")
        print("|" + " --- |" * 9)
        for key, samples in self.samples.items():
            if not samples:
                continue
            name, connections = key.split("|")
            rate, text, clean = figures(samples, "rps")
            cpu_us, cpu_text, _ = figures(samples, "server_us")
            shares = [f"{rate / limit:.2f}", f"{least_us / cpu_us:.2f}"] if rate else ["", ""]
            shown = [text, shares[0], cpu_text, shares[1]]
            shown += [figures(samples, field)[1] for field in ("p50_ms", "p99_ms")]
            print(f"| {name} | {connections} | {' | '.join(shown)} | {clean}/{len(samples)} |")


def figures(samples, field):
    """-> (median, "median [least..most]", clean rounds)"""
    valid = [s for s in samples if "void" not in s and field in s]
    clean = [s for s in valid if s["foreign"] <= load.NOISE]
    values = [s[field] for s in clean or valid]
    if not values:
        return 0.0, "", 0
    middle, digits = statistics.median(values), 0 if max(values) >= 100 else 1
    return middle, f"{middle:.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]", len(clean)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--python", default="/usr/bin/python3", help="the one that has PyTorch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="after which no further round begins")
    parser.add_argument("--busy", action="store_true", help="one try each: others use the machine, CPU counts")
    parser.add_argument("--connections", type=int, nargs="*", default=[16, 64])
    parser.add_argument("--more", action="store_true", help="go on with what the output has")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="ebm-images-") as work:
        Bench(options, work).run()


if __name__ == "__main__":
    main()
