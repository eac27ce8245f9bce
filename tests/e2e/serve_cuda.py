#!/usr/bin/env python3
"""The server with --device cuda: the plug-in that nvcc built, over the simulated run-time of tests/gpu_sim. It answers what
the CPU answers, and when the device is lost it says so and does not hang.
serve_cuda.py SERVER PLUGIN FOLDER_OF_LIBRARIES KERNELS"""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import harness
from harness import Repository, Server, run_all

harness.SLOW = 10  # a simulated device takes its time, the more on a busy machine
PLUGIN, LIBRARIES, KERNELS = sys.argv[2:5]
CUDA = ["--device", "cuda", "--device-plugin", PLUGIN]
NETWORKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "networks.py")
WIDE = "V2"  # an untrained network with layers of 512 units: products by cublasLt
IMAGES = "images_1d"  # convolutions, some of them by the cuDNN that lies beside the simulated run-time
INPUTS = {"relu_1d": [[0.1, 0.2, 0.3], [-0.4, 1.0, 0.5], [2.0, -1.0, 0.0]], "smooth_2d": [[0.3, -0.2], [0.7, 0.1]], WIDE: [[0.1 * i for i in range(16)]],
          IMAGES: [[0.01 * ((7 * i + row) % 100) for i in range(2 * 7 * 6)] for row in range(3)]}
TARGETS = {"relu_1d": [[0.1], [0.4]], "smooth_2d": [[0.2, -0.3], [0.0, 1.0]], WIDE: [[0.5, 0.5], [-1.0, 0.2]], IMAGES: [[0.2], [1.0]]}


@contextlib.contextmanager
def device(count=1):
    """The environment of a machine with devices. Gives the path of a file whose making loses them, or the one that it names."""
    folder = tempfile.mkdtemp(prefix="ebm-e2e-")
    before = dict(os.environ)
    shutil.copy(os.path.join(LIBRARIES, "libcudart.so.13"), os.path.join(folder, "libcuda.so.1"))  # only has to be there
    os.environ.update(LD_LIBRARY_PATH=os.pathsep.join([LIBRARIES, folder, before.get("LD_LIBRARY_PATH", "")]),
                      GPU_SIM_PTX=KERNELS, GPU_SIM_ORDER="random", FAKE_CUDNN="right", GPU_SIM_DEVICES=str(count), GPU_SIM_LOST=os.path.join(folder, "lost"))
    try:
        yield os.path.join(folder, "lost")
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder)


@contextlib.contextmanager
def server_of(binary, models, *options):
    repository = Repository()
    for name in models:
        if name == WIDE:
            file = os.path.join(repository.path, ".model")
            subprocess.run([sys.executable, NETWORKS, WIDE, file], check=True)
            repository.publish(name, file)
            os.remove(file)
        else:
            repository.golden(name)
    server = Server(binary, repository, *options)
    server.repository = repository
    try:
        yield server
    finally:
        server.stop()
        repository.remove()


def numbers(value):
    """All numbers of an answer, in order; what is told of the estimator is told by words and True."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [float(value)]
    parts = value.values() if isinstance(value, dict) else value
    return [number for part in parts for number in numbers(part)]


def requests(models):
    """(route, body): every route whose draws and scores a device takes over, and one that it leaves to the CPU. Few of
    the wide model, whose kernels take long on a CPU."""
    for name in models:
        inputs = INPUTS[name]
        common = {"model": name, "inputs": inputs, "seed": 7}
        targets = [TARGETS[name]] * len(inputs)
        yield "/predict", {**common, "estimator": "importance", "num_samples": 200, "outputs": ["mean", "std", "covariance"]}
        if name == WIDE:
            continue
        yield "/predict", {**common, "estimator": "importance", "num_samples": 256, "draws": "sobol"}
        yield "/sample", {**common, "estimator": "importance", "num_proposals": 200, "resample": False}
        yield "/density", {**common, "estimator": "importance", "num_samples": 200, "targets": targets}
        yield "/refine", {**common, "num_samples": 128, "steps": 3}


def answers(server, models):
    for route, body in requests(models):
        status, _, data = server.ask("POST", route, body)
        assert status == 200, (route, body, status, data)
        yield route, body["model"], data


def check_same(binary, models, precision, most):
    with server_of(binary, models) as server:
        expected = list(answers(server, models))
    with device(), server_of(binary, models, *CUDA, "--workers", 1, "--precision", precision) as server:
        assert any("device: cuda: a GPU on the CPU" in line and f"precision={precision}" in line for line in server.lines), server.lines
        assert server.ask("GET", "/readyz")[0] == 200
        got = list(answers(server, models))
        again = list(answers(server, models))
    assert [data for _, _, data in got] == [data for _, _, data in again], "the same seed, other bytes"
    for (route, model, there), (_, _, here) in zip(got, expected):
        a, b = numbers(json.loads(there)), numbers(json.loads(here))
        off = max(abs(x - y) / max(1.0, abs(y)) for x, y in zip(a, b))
        print(f"{precision} {route} {model}: {len(a)} numbers, largest difference {off:.1e} of {most:.0e}")
        assert len(a) == len(b) and off <= most, (route, model, there, here)


def test_answers_as_the_cpu_does(binary):
    check_same(binary, ["relu_1d", "smooth_2d", IMAGES], "fp32", 1e-4)


def test_answers_with_rounded_inputs(binary):
    check_same(binary, [WIDE], "tf32", 5e-4)


def test_a_device_that_is_lost(binary):
    body = {"model": "relu_1d", "inputs": INPUTS["relu_1d"], "estimator": "importance", "num_samples": 64}
    statuses = []
    with device() as lost, server_of(binary, ["relu_1d"], *CUDA, "--workers", 2) as server:
        assert server.predict(body)[0] == 200
        with open(lost, "wb"):
            pass
        asking = [threading.Thread(target=lambda: statuses.append(server.predict(body)[0])) for _ in range(6)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert statuses == 6 * [503], statuses
        assert server.ask("GET", "/readyz")[0] == 503 and server.ask("GET", "/livez")[0] == 200
        assert server.ask("GET", "/stats")[0] == 200
        assert server.predict(body)[0] == 503
        assert server.stop() == 0
    said = [line for line in server.lines if "the device failed: device=cuda (" in line]
    assert len(said) == 1 and "it does not say why" not in said[0], server.lines


def test_two_devices_of_which_one_is_lost(binary):
    models = ["relu_1d"]
    with device(), server_of(binary, models, *CUDA, "--workers", 1) as server:
        expected = list(answers(server, models))
    with device(3) as lost, server_of(binary, models, "--device", "cuda:2,0", *CUDA[2:], "--workers", 2, "--model-control", "on") as server:
        assert any("device: cuda: 2 x a GPU on the CPU" in line for line in server.lines), server.lines
        assert list(answers(server, models)) == expected and list(answers(server, models)) == expected
        with open(lost, "w", encoding="ascii") as file:
            file.write("2")
        server.repository.golden("relu_1d", version=2)
        assert server.ask("POST", "/v2/repository/models/relu_1d/load")[0] == 200  # nobody knows yet
        expected = [(route, model, data.replace(b'"version":1,', b'"version":2,')) for route, model, data in expected]
        assert list(answers(server, models)) == expected and list(answers(server, models)) == expected
        assert server.ask("GET", "/readyz")[0] == 200
        with open(lost, "wb"):
            pass
        assert server.predict({"model": "relu_1d", "inputs": INPUTS["relu_1d"], "estimator": "importance", "num_samples": 64})[0] == 503
        assert server.ask("GET", "/readyz")[0] == 503
        assert server.stop() == 0
    said = [line for line in server.lines if "the device failed: device=cuda (device " in line]
    assert len(said) == 2 and "(device 2: " in said[0] and "1 of 2 are left, which go on" in said[0], said
    assert "(device 0: " in said[1] and "0 of 2 are left" in said[1], said


def selftest(binary, *words):
    done = subprocess.run([binary, "--gpu-selftest", "cuda", "tf32", PLUGIN, *words], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_selftest_of_one_network(binary):
    """Each launch of T at 8 rows by its name, with its bound; a simulated launch takes a millisecond."""
    with device() as lost:
        status, shown, told = selftest(binary, "T", "8")
        assert status == 0 and shown[0].startswith("cuda: a GPU on the CPU") and shown[2].startswith("T  B   8 "), (shown, told)
        rows = {line[10:42].strip(): line[42:].split() for line in shown[5:]}
        assert [rows[name][0] for name in ("nothing", "copy up", "copy down", "act_k", "draw_k", "layers_k", "weigh_k", "moments_k", "rank_k")] == [
            "1", "5", "6", "5", "1", "1", "1", "1", "1"], shown
        times, us, bound, share, _, _, word, mflop, megabytes, *_ = rows["layers_k"]
        assert (times, us, word) == ("1", "1000.0", "fp32") and float(mflop) == 5.243 and float(megabytes) == 0.067, shown
        assert float(bound) == 0.08 and float(share) < 0.1 and rows["all but nothing"][0] == "30", shown
        assert selftest(binary, "T", "0")[0] == 2 and selftest(binary, "W", "8")[0] == 2 and selftest(binary, "T")[0] == 2
        with open(lost, "wb"):
            pass
        status, _, told = selftest(binary, "T", "8")
        assert status == 1 and "the driver gives no device" in told, told


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
