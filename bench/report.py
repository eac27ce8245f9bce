#!/usr/bin/env python3
"""Tables of what bench/run.py measured: report.py FILE.json [--write docs/PERFORMANCE.md], which puts them between the
marks there. Medians over clean rounds, with their range; where no round was clean, over all, and the table says so."""
import argparse
import json
import statistics
import sys

BEGIN, END = "<!-- made by bench/report.py: begin -->", "<!-- made by bench/report.py: end -->"
NOISE = 0.1
CONNECTIONS = (1, 16, 64)


class Figure:
    """One number over the rounds."""

    def __init__(self, samples, field):
        valid = [s for s in samples if "void" not in s and field in s]
        clean = [s for s in valid if s["foreign"] <= NOISE]
        self.values = [s[field] for s in clean or valid]
        self.clean, self.of = len(clean), len(samples)
        self.middle = statistics.median(self.values) if self.values else None

    def __bool__(self):
        return bool(self.values)

    def text(self, unit=""):
        if not self:
            return "none"
        low, high = min(self.values), max(self.values)
        return f"{number(self.middle)}{unit} [{number(low)}..{number(high)}]"

    def rounds(self):
        return f"{self.clean}/{self.of}" + ("" if self.clean else " noisy")


def number(v):
    return f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}" if v >= 0.1 else f"{v:.4f}"


class Report:
    def __init__(self, result):
        self.about, self.samples, self.lines = result["about"], result["samples"], []

    def figure(self, key, field):
        return Figure(self.samples.get(key, []), field)

    def best(self, key, field, better=max):
        """The best of a server over its connections -> (figure, connections)"""
        found = [(self.figure(f"{key} {c}", field), c) for c in CONNECTIONS]
        found = [pair for pair in found if pair[0]]
        return better(found, key=lambda pair: pair[0].middle) if found else (Figure([], field), 0)

    def row(self, what, ours, beside, value, target, *, rounds, unit=" times", at_most=False):
        if value is None:
            verdict, figure = "not measured", ""
        else:
            figure = number(value) + unit
            verdict = "reached" if (value <= target if at_most else value >= target) else "**not reached**"
        goal = f"{'at most' if at_most else 'at least'} {target:g}{unit}"
        self.lines.append(f"| {what} | {ours} | {beside} | {figure} | {goal} | {verdict} | {rounds} |")

    def ratio(self, what, ours, peer, target, units=(" /s", " /s")):
        """Ours divided by the peer's."""
        self.row(what, ours.text(units[0]), "PyTorch " + peer.text(units[1]) if peer else "not measured",
                 ours.middle / peer.middle if ours and peer else None, target, rounds=ours.rounds())

    def requests(self, what, name, peer_name, target):
        ours, at = self.best(f"ours {name}", "rps")
        peer, peer_at = self.best(f"peer {peer_name}", "rps")
        self.ratio(f"{what}: requests/s", ours, peer, target, (f" /s at {at} connections", f" /s at {peer_at}"))

    def microseconds(self, what, name, target, beside, beside_name):
        ours = self.figure(f"ours {name} 64", "server_us")
        other = self.best(f"{beside} {beside_name}", "server_us", min)[0]
        beside = "PyTorch" if beside == "peer" else beside
        self.row(f"{what}: server CPU a request, 64 connections", ours.text(" us"),
                 f"{beside} {other.text(' us')}" if other else "not measured", ours.middle, target, unit=" us",
                 at_most=True, rounds=ours.rounds())

    def share(self, what, ours, limit, limit_name, target, unit):
        self.row(what, ours.text(unit), f"{limit_name} {limit.text(unit)}",
                 ours.middle / limit.middle if ours and limit else None, target, unit=" of it", rounds=ours.rounds())

    # ---- the tables ----

    def serving(self):
        self.requests("T, importance, 1024 draws", "T importance", "T", 10)
        self.microseconds("T, importance, 1024 draws", "T importance", 62, "peer", "T")
        floor = self.figure("floor T exact 64", "rps")
        self.share("T, exact, mean, std, quantiles, interval: requests/s, 64 connections",
                   self.figure("ours T exact 64", "rps"), floor, "floor", 0.8, " /s")
        self.microseconds("T, exact, the same", "T exact", 36, "floor", "T exact")
        ours, least = self.figure("ours T exact 1", "p50_ms"), self.figure("floor T exact 1", "p50_ms")
        tail = self.figure("ours T exact 1", "p999_ms"), self.figure("floor T exact 1", "p999_ms")
        self.row("T, exact, one connection: median latency", f"{ours.text(' ms')}, p99.9 {tail[0].text(' ms')}",
                 f"floor {least.text(' ms')}, p99.9 {tail[1].text(' ms')}",
                 ours.middle / least.middle if ours and least else None, 1.4, at_most=True, rounds=ours.rounds())
        self.requests("V, exact, mean and std", "V exact", "V", 15)
        self.microseconds("V, exact, mean and std", "V exact", 160, "peer", "V")
        self.requests("V2, importance, 1024 draws", "V2 importance", "V2", 1.8)
        self.microseconds("V2, importance, 1024 draws", "V2 importance", 2800, "peer", "V2")
        self.requests("V2, at equal error: 128 Sobol points beside 1024 draws", "V2 sobol", "V2", 8)
        for what, name in (("`/density`, 64 rows of 512 points", "T density"),
                           ("`/sample`, 64 rows of 1000", "T sample")):
            self.ratio(f"T, {what}: requests/s, 4 connections", self.figure(f"ours {name} 4", "rps"),
                       self.figure(f"peer {name} 4", "rps"), 5)
        for what, field, target, unit in (("start to ready, T", "ready_ms", 50, " ms"),
                                          ("resident memory with T, at its most", "resident_mib", 40, " MiB")):
            ours = self.figure("start", field)
            self.row(what, ours.text(unit), "", ours.middle, target, unit=unit, at_most=True, rounds=ours.rounds())

    def programs(self):
        sgemm = self.figure("sgemm", "gflops")
        self.share("V2, scorer", self.figure("ours V2 score", "score gflops"), sgemm, "sgemm", 0.8, " GFLOP/s")
        torch = self.figure("peer T steps", "nce_kl")
        self.ratio("T, `nce_kl`: training steps/s", self.figure("ours T steps", "nce_kl"), torch, 10)
        torch = self.figure("peer V steps", "nce_kl")
        self.ratio("V, `nce_kl`: training steps/s", self.figure("ours V steps", "nce_kl"), torch, 1.5)
        ours = self.figure("ours V steps", "nce_kl gflops")
        self.share("V, `nce_kl`: arithmetic", ours, sgemm, "sgemm", 0.75, " GFLOP/s")
        ours = self.figure("ours V steps", "ml_exact")
        self.ratio("V, `ml_exact`: training steps/s beside `nce_kl`'s", ours, torch, 30)
        ours, peer = self.figure("ours toy", "wall_s"), self.figure("peer toy", "wall_s")
        self.row("toy 1, 75 epochs: `ml_exact` beside the published recipe", ours.text(" s"),
                 f"PyTorch {peer.text(' s')}, {len(peer.values)} runs" if peer else "not measured",
                 peer.middle / ours.middle if ours and peer else None, 100, rounds=ours.rounds())

    def targets(self):
        self.lines += ["| what | ours | beside | figure | target | | clean rounds |", "|" + " --- |" * 7]
        self.serving()
        self.programs()

    def all_loads(self):
        columns = ("server, asked", "connections", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "server CPU us",
                   "clean rounds")
        self.lines += ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        for key, samples in self.samples.items():
            if not any("rps" in s for s in samples):
                continue
            who, *what, connections = key.split()
            cells = [self.figure(key, f).text() for f in ("rps", "p50_ms", "p99_ms", "p999_ms", "server_us")]
            who = "PyTorch" if who == "peer" else who
            self.lines.append(f"| {who}, {' '.join(what)} | {connections} | {' | '.join(cells)} | "
                              f"{self.figure(key, 'rps').rounds()} |")

    def text(self):
        a = self.about
        peers = f"PyTorch {a['torch']}" if a["torch"] else "no peers at hand: ours and the limits alone"
        if a.get("blas_core"):
            peers += f"; OpenBLAS told to take its {a['blas_core']} kernels, since it does not know the processor"
        self.lines = [f"Measured on {a['date']} by `{a['command']}`, {a['minutes']} minutes, at {a['commit']}: "
                      f"{a['machine']}, kernels {a['kernels']}, {a['system']}, {peers}."]
        if a["quick"]:
            self.lines.append("A quick run: a few rounds of a second, for orientation.")
        self.lines.append("")
        self.targets()
        self.lines.append("")
        self.all_loads()
        return "\n".join(self.lines) + "\n"


def write(text, path):
    with open(path, encoding="utf-8") as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n\n{text}\n{END}{rest.split(END)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--write", metavar="PAGE")
    arguments = parser.parse_args()
    with open(arguments.file, encoding="utf-8") as file:
        text = Report(json.load(file)).text()
    print(text)
    if arguments.write:
        write(text, arguments.write)


if __name__ == "__main__":
    sys.exit(main())
