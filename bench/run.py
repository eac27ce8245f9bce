#!/usr/bin/env python3
"""Measures server and trainer beside PyTorch and beside what the machine can do. bench/run.sh builds and calls this.

  run.py --build DIR --output FILE [--peers DIR] [--quick] [--minutes N]

Everything in turns: a round is the programs without HTTP, the floor, our server, each peer. A measurement in which
others took more than a tenth of a core is void and made again, three tries at the most. Before anything is timed, ours
and the peers' answers to the same questions are compared. Writes all measurements as JSON; report.py makes tables."""
import argparse
import collections
import datetime
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import load

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TOP, "tests"))
import networks  # noqa: E402

V_ROW = [0.6888, 0.5159, -0.1589, -0.4822, 0.0225, -0.1901, 0.5676, -0.3934, -0.0468, 0.1668, 0.8162, 0.0094, -0.4363,
         0.5116, 0.2367, -0.499]
ROWS = {"T": [0.37], "V": V_ROW, "V2": V_ROW}
MANY = [[round(-3 + 6 * i / 63, 4)] for i in range(64)]
GRID = {"lower": -3, "upper": 3, "points": 512}
ALONE = {"estimator": "importance", "draws": "independent", "num_samples": 1024}  # as the peers draw
# what is asked of our server: name -> (route, body)
OURS = {
    "T importance": ("/predict", {"model": "T", "inputs": [ROWS["T"]], **ALONE}),
    "T exact": ("/predict", {"model": "T", "inputs": [ROWS["T"]], "estimator": "exact",
                             "outputs": ["mean", "std", "quantiles", "interval"]}),
    "V exact": ("/predict", {"model": "V", "inputs": [V_ROW], "estimator": "exact"}),
    "V2 importance": ("/predict", {"model": "V2", "inputs": [V_ROW], **ALONE}),
    "V2 sobol": ("/predict", {"model": "V2", "inputs": [V_ROW], "estimator": "importance", "num_samples": 128}),
    "T density": ("/density", {"model": "T", "inputs": MANY, "grid": GRID}),
    "T sample": ("/sample", {"model": "T", "inputs": MANY, "num_samples": 1000}),
}
QUERIES = ("T density", "T sample")  # heavy requests: few connections
QUERY_CONNECTIONS = 4
CHECK_DRAWS = 8192  # of the peer, when answers are compared
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296",
             "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def route_of(name):
    return OURS[name][0] if name in OURS else "/predict"


class Bench:
    def __init__(self, arguments, work):
        self.quick, self.peers, self.build, self.work = arguments.quick, arguments.peers, arguments.build, work
        self.python = arguments.python
        self.rounds = 3 if self.quick else 9
        self.seconds = 1 if self.quick else 2
        self.tries = 1 if self.quick else 3
        self.connections = (1, 16, 64)
        self.end = time.monotonic() + 60 * (arguments.minutes or (7 if self.quick else 32))
        self.begin, self.kernels, self.torch = time.monotonic(), "unknown", None
        self.samples = collections.defaultdict(list)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def program(self, *parts):
        return os.path.join(self.build, *parts)

    def is_late(self):
        return time.monotonic() > self.end

    def keep(self, key, measure):
        if self.is_late():
            return
        self.samples[key].append(load.quietest(measure, self.tries, self.is_late))

    # ---- before ----

    def write_models(self):
        for name in ("T", "V", "V2"):
            for repository, more in (("models", []), ("confined", ["--confined"])):
                os.makedirs(self.path(repository, name, "1"))
                to = self.path(repository, name, "1", "model.safetensors")
                if self.peers:
                    self.call([self.python, os.path.join(self.peers, "torch_export.py"), name, to, *more])
                elif not more:
                    networks.write(name, to)
        os.makedirs(self.path("alone", "T"))
        shutil.copytree(self.path("models", "T", "1"), self.path("alone", "T", "1"))
        for name, (_, body) in OURS.items():
            self.write_body(name, body)
        for name, row in ROWS.items():
            self.write_body(name, {"x": row})

    def write_body(self, name, body):
        with open(self.path(name + ".json"), "w", encoding="utf-8") as file:
            json.dump(body, file)

    def write_toy(self):
        rows = self.path("toy1.csv")
        self.call([self.program("trainer", "ebm-trainer"), "generate", "toy1", "--rows", "2000", "--output", rows])
        if self.peers:
            self.call([self.python, "-c", "import sys, numpy as n; n.save(sys.argv[2], n.loadtxt(sys.argv[1], "
                       "delimiter=',', skiprows=1).astype('float32'))", rows, self.path("toy1.npy")])

    def call(self, command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def peer(self, name, workers, *draws, env=None):
        """PyTorch's server: batches, the x part once a row, one thread a worker."""
        script = os.path.join(self.peers, "run_peer.sh")
        return load.Service(["bash", script, name, "batch", "1", "1", str(workers), "{port}", *map(str, draws)], env)

    def check_answers(self):
        """Do ours and the peers, of the same weights, say the same?"""
        for name in ("T", "V", "V2"):
            env = dict(os.environ, CONFINED="1")
            with self.peer(name, 1, CHECK_DRAWS, env=env) as peer, self.server("confined") as ours:
                peer.wait("POST", "/predict", json.dumps({"x": ROWS[name]}))
                ours.wait("GET", "/readyz")
                for draws in ("independent", "sobol"):
                    command = [self.python, os.path.join(self.peers, "check_answers.py"),
                               f"http://127.0.0.1:{peer.port}", f"http://127.0.0.1:{ours.port}", name, "--draws", draws,
                               "--peer-samples", str(CHECK_DRAWS)]
                    command += ["--inputs", "8", "--repeats", "10"] if self.quick else []
                    ran = subprocess.run(command, capture_output=True, text=True, check=False)
                    verdict = (ran.stdout + ran.stderr).strip().splitlines()[-1]
                    say(f"answers of {name}, {draws} draws, beside the peer's: {verdict}")
                    if ran.returncode != 0:
                        sys.exit(f"{ran.stdout}the answers are not the same, or nobody can tell: nothing was timed")

    # ---- servers ----

    def server(self, repository):
        return load.Service([self.program("server", "ebm-server"), "--model-repository", self.path(repository),
                             "--port", "{port}", "--log-level", "warning"])

    def load_service(self, service, who, names):
        """Every question of `names` by every number of connections, when the server has answered each once."""
        for name in names:
            with open(self.path(name + ".json"), encoding="utf-8") as file:
                service.wait("POST", route_of(name), file.read())
        service.wait_until_idle()
        for name in names:
            route, body = route_of(name), self.path(name + ".json")
            connections = (QUERY_CONNECTIONS,) if name in QUERIES else self.connections
            service.load(route, body, connections[-1], 1)
            for c in connections:
                if self.is_late():
                    return
                self.keep(f"{who} {name} {c}", lambda: service.load(route, body, c, self.seconds))

    def start_alone(self):
        """A server with T alone: start to ready, memory under load."""
        with self.server("alone") as service:
            ready = service.wait("GET", "/readyz", pause=0.001)
            loaded = service.load("/predict", self.path("T importance.json"), 64, 1)
            most = service.resident_mib("VmHWM")
            return {"ready_ms": 1000 * ready, "resident_mib": most, "foreign": loaded["foreign"]}

    def measure_servers(self):
        with load.Service([self.program("bench", "bench-floor"), "{port}"]) as floor:
            self.load_service(floor, "floor", ["T exact"])
        self.keep("start", self.start_alone)
        with self.server("models") as ours:
            self.load_service(ours, "ours", OURS)

    def measure_peers(self):
        for name in ROWS:
            with self.peer(name, 2) as peer:
                self.load_service(peer, "peer", [name])
        command = [self.python, "-m", "uvicorn", "torch_queries:app", "--app-dir", HERE, "--port", "{port}",
                   "--workers", "2", "--no-access-log", "--log-level", "warning"]
        env = dict(os.environ, PYTHONPATH=self.peers, PYTHONDONTWRITEBYTECODE="1", **ALLOCATOR)
        with load.Service(command, env) as peer:
            self.load_service(peer, "peer", QUERIES)

    # ---- without HTTP ----

    def device(self, name, *what):
        """bench-device's lines, of each `what` its rate and arithmetic"""
        text, sample = load.run_alone([self.program("bench", "bench-device"),
                                       self.path("models", name, "1", "model.safetensors"), "1024", "0.1", *what])
        for word in what:
            found = re.search(rf"^{word} +B +\d+ +([\d.]+) /s.*(?:\n +([\d.]+) GFLOP/s)?", text, re.M)
            sample[word] = float(found.group(1))
            sample[word + " gflops"] = float(found.group(2) or 0)
        return sample

    def sgemm(self):
        text, sample = load.run_alone([self.program("bench", "bench-kernels"), "limit"])
        self.kernels = re.search(r"kernels: (\w+)", text).group(1)
        return sample | {"gflops": float(re.search(r"([\d.]+) GFLOP/s", text).group(1))}

    def torch_steps(self, name):
        command = [self.python, os.path.join(self.peers, "torch_bench.py"), "--threads", "1", "--models", name,
                   "--what", "train", "--secs", "1", "--rounds", "1", "--train-rounds", "1"]
        text, sample = load.run_alone(command, dict(os.environ, **ALLOCATOR))
        return sample | {"nce_kl": max(json.loads(line)["steps_per_s"] for line in text.splitlines())}

    def toy(self):
        config = os.path.join(HERE, "reproduce", "configs", "toy_relu_energy.json")
        command = [self.program("trainer", "ebm-trainer"), "train", "--config", config, "--data", self.path("toy1.csv"),
                   "--set", "training.method=ml_exact", "--set", "training.epochs=75", "--threads", "1",
                   "--output", self.path("toy"), "--overwrite"]
        return load.run_alone(command)[1]

    def torch_toy(self):
        epochs = 15 if self.quick else 75
        command = [self.python, os.path.join(self.peers, "torch_train_toy.py"), "--threads", "1",
                   "--epochs", str(epochs), "--factored", "--data", self.path("toy1.npy")]
        text, sample = load.run_alone(command, dict(os.environ, **ALLOCATOR))
        return sample | {"wall_s": json.loads(text.splitlines()[-1])["wall_s"] * 75 / epochs}

    def measure_programs(self, number):
        self.keep("sgemm", self.sgemm)
        self.keep("ours T steps", lambda: self.device("T", "nce_kl", "ml_exact"))
        self.keep("ours V steps", lambda: self.device("V", "nce_kl", "ml_exact"))
        self.keep("ours V2 score", lambda: self.device("V2", "score"))
        self.keep("ours toy", self.toy)
        if self.peers:
            self.keep("peer T steps", lambda: self.torch_steps("T"))
            self.keep("peer V steps", lambda: self.torch_steps("V"))
        if self.peers and number % 4 == 0:  # a minute each
            self.keep("peer toy", self.torch_toy)

    # ---- all of it ----

    def about(self):
        def first(command):
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().split("\n")[0]
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = re.search(r"model name\s*: (.*)", file.read())
        self.torch = self.torch or self.peers and first([self.python, "-c", "import torch; print(torch.__version__)"])
        return {"date": datetime.date.today().isoformat(),
                "commit": first(["git", "-C", TOP, "describe", "--always", "--dirty"]),
                "machine": f"{os.cpu_count()} cores of {cpu.group(1) if cpu else platform.machine()}",
                "kernels": self.kernels,
                "blas_core": os.environ.get("OPENBLAS_CORETYPE"),
                "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {first(['gcc', '--version'])}",
                "torch": self.torch,
                "command": "bench/run.sh" + " --peers DIR" * bool(self.peers) + " --quick" * self.quick,
                "quick": self.quick, "minutes": round((time.monotonic() - self.begin) / 60, 1)}

    def run(self, output):
        self.write_models()
        self.write_toy()
        if self.peers:
            self.check_answers()
        for number in range(self.rounds):
            if self.is_late():
                say(f"the time is up after {number} rounds")
                break
            load.wait_for_quiet(4)
            self.measure_programs(number)
            self.measure_servers()
            if self.peers:
                self.measure_peers()
            say(f"round {number + 1} of {self.rounds}, {(time.monotonic() - self.begin) / 60:.1f} minutes")
            self.save(output)

    def save(self, path):
        """After every round: what was measured is kept, whatever comes."""
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"about": self.about(), "samples": self.samples}, file, indent=1)


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--peers")
    parser.add_argument("--python", default="/usr/bin/python3", help="the one that has PyTorch")
    parser.add_argument("--quick", action="store_true", help="three short rounds, one try each")
    parser.add_argument("--minutes", type=float, help="after which no further measurement begins (32, quick 7)")
    arguments = parser.parse_args()
    if not arguments.peers:
        say("no --peers: our programs and the machine's limits alone")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="ebm-bench-") as work:
        Bench(arguments, work).run(arguments.output)


if __name__ == "__main__":
    main()
