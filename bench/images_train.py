#!/usr/bin/env python3
"""Training steps of a network that reads images, beside PyTorch's, in turns, one thread each, with peak memory.

  bench/images_train.py --build build [--network C|C16] [--peers DIR] [--rounds 9] [--python /usr/bin/python3]

Steps of 32 rows, 1024 draws a row where a method draws: everything learns, the heads alone, the heads by kept features.
A round is a process a form: ours are bench-device's, with a network of tests/networks.py; the peer's is PyTorch with C of
torch_models.py in DIR, nce_kl with the x part of the first energy layer once a row and an allocator that keeps its memory.
Of its heads alone the trunk runs in training mode without a graph, and the optimiser has the heads' parameters only: as
fast as that is easily made. Rates are steps a second of CPU time, which a busy machine disturbs less. Prints medians and
ranges of the rounds, those until Ctrl-C where it comes, and ratios of medians to the peer's form that learns as much."""
import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TOP, "tests"))
import networks  # noqa: E402

FORMS = ("nce_kl", "ml_exact", "nce_kl_heads", "ml_exact_heads", "nce_kl_kept", "ml_exact_kept")
SECONDS = "0.1"
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296",
             "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PEER = """
import sys, time, torch
from torch_models import Net, joint_loss
torch.set_num_threads(1)
torch.manual_seed(0)
heads = sys.argv[1] == "heads"
net = Net("C").train()
learned = [p for name, p in net.named_parameters() if not (heads and name.startswith("feature_net"))]
if heads:
    trunk = net.feature_net
    class Still(torch.nn.Module):
        def forward(self, x):
            with torch.no_grad():
                return trunk(x)
    net.feature_net = Still()
optimiser = torch.optim.Adam(learned, lr=1e-3)
x, y = torch.rand(32, *net.in_shape), torch.rand(32, net.D)
times = []
for step in range(5):
    begin = time.process_time()
    loss = joint_loss(net, x, y, 1024, True, heads)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    times.append(time.process_time() - begin)
print(3 / sum(times[2:]))
"""


def run(command, environment):
    """-> (stdout, MiB at most)"""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        text = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed")
    return text, used.ru_maxrss / 1024


def ours(arguments, model, form):
    program = os.path.join(arguments.build, "bench", "bench-device")
    text, memory = run([program, model, "1024", SECONDS, form], dict(os.environ))
    return float(re.search(r"B +32 +([0-9.]+) /s", text).group(1)), memory


def peer(arguments, form):
    environment = dict(os.environ, PYTHONPATH=arguments.peers, **ALLOCATOR)
    text, memory = run([arguments.python, "-c", PEER, form], environment)
    return float(text), memory


def one_round(arguments, model, measured):
    for form in FORMS:
        measured.setdefault(form, []).append(ours(arguments, model, form))
    for form in ("all", "heads") if arguments.peers else ():
        measured.setdefault("peer " + form, []).append(peer(arguments, form))


def tell(measured):
    rates = {form: statistics.median(rate for rate, _ in values) for form, values in measured.items()}
    print(f"{'':16} {'steps/s':>9} {'':19} {'MiB':>6}  times the peer's")
    for form, values in measured.items():
        base = rates.get("peer " + ("all" if form in FORMS[:2] else "heads"))
        ratio = f"{rates[form] / base:7.1f}" if base and form in FORMS else ""
        low, high = min(rate for rate, _ in values), max(rate for rate, _ in values)
        memory = max(memory for _, memory in values)
        print(f"{form:16} {rates[form]:9.2f} [{low:8.2f} {high:8.2f}] {memory:6.0f}  {ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--network", choices=tuple(networks.WIDTHS), default="C")
    parser.add_argument("--peers")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--python", default="/usr/bin/python3")
    arguments = parser.parse_args()
    measured, begin = {}, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "model.safetensors")
        networks.write(arguments.network, model)
        with contextlib.suppress(KeyboardInterrupt):
            for _ in range(arguments.rounds):
                one_round(arguments, model, measured)
    print(f"{arguments.network}, {len(measured[FORMS[0]])} rounds in {time.monotonic() - begin:.0f} s")
    tell(measured)


if __name__ == "__main__":
    main()
