#!/usr/bin/env python3
"""--device: every step on which a GPU can be missing is told in one line; asked for by name it ends the start, by auto
the CPU serves. A plug-in that works is used, one whose device fails later makes the server unready.
serve_device.py SERVER PRETEND_PLUGIN"""
import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

from harness import Repository, Server, expect_error, run_all

PRETEND = sys.argv[2]
ROW = [0.1, 0.2, 0.3]  # of relu_1d


def has_driver():
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        return True
    return False


@contextlib.contextmanager
def environment(how=None, driver=True):
    """With a library that passes for the driver, or without one."""
    folder = tempfile.mkdtemp(prefix="ebm-e2e-")
    before = dict(os.environ)
    if how:
        os.environ["EBM_PRETEND"] = how
    if driver:
        shutil.copy(PRETEND, os.path.join(folder, "libcuda.so.1"))
        os.environ["LD_LIBRARY_PATH"] = folder + os.pathsep + before.get("LD_LIBRARY_PATH", "")
    try:
        yield folder
    finally:
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder)


@contextlib.contextmanager
def server_of(binary, *options):
    repository = Repository().golden("relu_1d").golden("bounded_1d")
    server = Server(binary, repository, *options)
    server.repository = repository
    try:
        yield server
    finally:
        server.stop()
        repository.remove()


def asked(seed):
    return {"model": "relu_1d", "inputs": [ROW], "estimator": "importance", "num_samples": 64, "seed": seed}


def answer(server, seed=1):
    return server.predict(asked(seed))


def refused(binary, *options):
    """What a server that does not start says."""
    repository = Repository().golden("relu_1d")
    done = subprocess.run([binary, "--model-repository", repository.path, "--port", "0", *options], capture_output=True, text=True,
                          timeout=120)
    repository.remove()
    assert done.returncode == 1, (done.returncode, done.stderr)
    return done.stderr


def check_ladder(binary, reason, *options):
    """By name the start fails for that reason; by auto it is logged, once, and the CPU serves."""
    text = refused(binary, "--device", "cuda", *options)
    assert "cannot serve: --device: " in text and reason in text, text
    with server_of(binary, "--device", "auto", *options) as server:
        assert answer(server)[0] == 200
        lines = [line for line in server.lines if "no GPU, computing on the CPU: " in line]
        assert len(lines) == 1 and reason in lines[0], server.lines


def test_without_a_plugin(binary):
    check_ladder(binary, "no plug-in /nonexistent/plugin.so: ", "--device-plugin", "/nonexistent/plugin.so")


def test_without_a_driver(binary):
    if not has_driver():
        check_ladder(binary, "no driver: ", "--device-plugin", PRETEND)


def test_with_a_file_that_is_no_plugin(binary):
    with environment() as folder:
        path = os.path.join(folder, "garbage.so")
        with open(path, "wb") as file:
            file.write(b"\x7fELF" + os.urandom(4096))
        check_ladder(binary, "the plug-in does not open: ", "--device-plugin", path)


def test_with_a_library_of_somebody_else(binary):
    with open("/proc/self/maps", encoding="ascii") as maps:
        path = next(line.split()[-1] for line in maps if "/libc.so" in line)
    with environment():
        check_ladder(binary, "is no plug-in of ours", "--device-plugin", path)


def test_with_another_table(binary):
    with environment("old"):
        check_ladder(binary, "is of another version: table ", "--device-plugin", PRETEND)


def test_without_a_device(binary):
    with environment("none"):
        check_ladder(binary, "there is no device 0", "--device-plugin", PRETEND)
    with environment():
        assert "there is no device 3" in refused(binary, "--device", "cuda:3", "--device-plugin", PRETEND)


def test_with_other_numbers(binary):
    with environment("wrong"):
        check_ladder(binary, "self-test, ", "--device-plugin", PRETEND)


def test_under_a_filter_of_calls(binary):
    check_ladder(binary, "needs calls that --seccomp on refuses: --device cpu, or", "--device-plugin", PRETEND, "--seccomp", "on")


def selftest(binary, *words):
    done = subprocess.run([binary, "--gpu-selftest", *words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def test_selftest(binary):
    with environment("wrong"):
        status, shown, told = selftest(binary, "cuda", "fp32", PRETEND)
        assert status == 1 and shown.startswith("pretend: no hardware at all\nnarrow, smooth") and "log Z differ by" in told, (shown, told)
    with environment("none"):
        assert selftest(binary, "cuda", "fp32", PRETEND)[0] == 1
    assert selftest(binary, "cpu")[0] == 2 and selftest(binary, "cuda", "fp16")[0] == 2


def test_words(binary):
    assert "expected cpu, auto, cuda, cuda:N, cuda:N,N,... or cuda:all, got 'tpu'" in refused(binary, "--device", "tpu")
    assert "different N from 0 to 255, got 'cuda:1x'" in refused(binary, "--device", "cuda:1x")


def test_a_device_that_works_and_then_breaks(binary):
    with server_of(binary) as server:
        expected = answer(server)
    with environment("breaks"), server_of(binary, "--device", "cuda:0", "--device-plugin", PRETEND) as server:
        assert any("device: pretend: no hardware at all precision=tf32" in line for line in server.lines), server.lines
        assert answer(server)[0] == 200 and answer(server)[1]["predictions"] == expected[1]["predictions"]
        assert server.ask("GET", "/readyz")[0] == 200
        expect_error(server.ask("POST", "/predict", asked(666)), 503, "not_ready", "the computation failed: ")
        assert server.ask("GET", "/readyz")[0] == 503 and server.ask("GET", "/livez")[0] == 200
        assert answer(server, seed=1)[0] == 503
    assert len(failures(server)) == 1 and "0 of 1 are left: nothing is answered until a restart" in failures(server)[0], server.lines


# ---- several devices ----

SEVERAL = ["--device", "cuda:all", "--device-plugin", PRETEND]  # three


def failures(server):
    return [line for line in server.lines if "the device failed: device=pretend (a batch: of seed 666); " in line]


def metric(server, name):
    text = server.ask("GET", "/metrics")[2].decode()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def test_which_devices_there_are(binary):
    with environment():
        assert "there is no device 3" in refused(binary, "--device", "cuda:1,3", "--device-plugin", PRETEND)
        assert "--workers: expected at least one for each of 3 GPUs, got 2" in refused(binary, *SEVERAL, "--workers", "2")
    with environment(), server_of(binary, *SEVERAL) as server:
        groups = json.loads(server.ask("GET", "/v2/models/relu_1d/config")[2])["instance_group"]
        assert [(g["kind"], g["count"], g["gpus"]) for g in groups] == [("KIND_GPU", 2, [i]) for i in range(3)], groups
        assert metric(server, "ebm_devices") == 3 and metric(server, "ebm_devices_failed") == 0


def test_devices_that_give_other_bytes(binary):
    with environment(), server_of(binary, "--device", "cuda:2,0", "--device-plugin", PRETEND, "--workers", "3") as server:
        groups = json.loads(server.ask("GET", "/v2/models/relu_1d/config")[2])["instance_group"]
        assert [(g["count"], g["gpus"]) for g in groups] == [(2, [2]), (1, [0])], groups
    with environment("differs"):
        assert "self-test, narrow, smooth: device 1 has other bytes than device 0" in refused(binary, *SEVERAL)
        with server_of(binary, "--device", "cuda", "--device-plugin", PRETEND) as server:
            assert answer(server)[0] == 200


def many(seed):
    return {"model": "relu_1d", "inputs": [ROW] * 200, "estimator": "importance", "num_samples": 64, "seed": seed}


def densities(server):
    """What the first device breaks of; one of the targets is out of bounds, which is counted."""
    status, _, data = server.ask("POST", "/density", {**asked(667), "model": "bounded_1d", "inputs": [[0.3, -0.1]], "targets": [[[0.2], [9.0]]]})
    return status, json.loads(data)


def test_a_device_that_breaks_costs_nothing_while_others_compute(binary):
    with server_of(binary) as server:
        expected = server.predict(many(667))[1]["predictions"], answer(server)[1]["predictions"], densities(server)[1]["predictions"]
    assert expected[2][0]["diagnostics"]["targets_outside"] == 1
    for rows in ("few", "many"):  # by a loop's own engine, by a worker's
        with environment("breaks"), server_of(binary, *SEVERAL, "--workers", "6", "--model-control", "on") as server:
            status, got = densities(server) if rows == "few" else server.predict(many(667))
            assert status == 200 and got["predictions"] == expected[2 if rows == "few" else 0], got
            assert server.ask("GET", "/readyz")[0] == 200 and densities(server)[1]["predictions"] == expected[2]
            for _ in range(20):
                status, got = server.predict(many(667))
                assert status == 200 and got["predictions"] == expected[0]
                assert answer(server)[1]["predictions"] == expected[1]
            assert metric(server, "ebm_devices_failed") == 1 and len(failures(server)) == 1, server.lines
            assert "2 of 3 are left, which go on" in failures(server)[0], server.lines
            server.repository.golden("relu_1d", version=2)
            assert server.ask("POST", "/v2/repository/models/relu_1d/load")[0] == 200  # by those that are left
            assert answer(server)[1]["predictions"] == expected[1] and answer(server)[1]["version"] == 2


def test_a_request_that_devices_break_of_takes_two_of_them(binary):
    with environment("breaks"), server_of(binary, *SEVERAL) as server:
        expect_error(server.ask("POST", "/predict", asked(666)), 503, "not_ready", "the computation failed: ")
        assert metric(server, "ebm_devices_failed") == 2 and answer(server)[0] == 200 and server.ask("GET", "/readyz")[0] == 200


def test_all_devices_break_under_load(binary):
    statuses = []
    with environment("breaks"), server_of(binary, *SEVERAL, "--workers", "7") as server:
        def ask_often(seed):
            for _ in range(15):
                statuses.append((seed, server.predict(many(seed))[0]))
        threads = [threading.Thread(target=ask_often, args=(seed,)) for seed in (1, 2, 667, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(statuses) == 60 and all(status == 200 for _, status in statuses), statuses
        assert metric(server, "ebm_devices_failed") == 1
        for _ in range(2):
            expect_error(server.ask("POST", "/predict", asked(666)), 503, "not_ready", "the computation failed: ")
        assert len(failures(server)) == 3 and metric(server, "ebm_devices_failed") == 3, server.lines
        assert server.ask("GET", "/readyz")[0] == 503 and server.predict(many(1))[0] == 503 and answer(server)[0] == 503
        assert server.stop() == 0


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
