"""train_calibrate.py TRAINER ROOT - densities of the right width: training.calibrate, the command, and an ensemble. Prints what
it compares."""
import json
import os
import re
import sys

from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "calibrate")
check, path, run = trainer.check, trainer.path, trainer.run
# few rows, many epochs: densities become too narrow
QUICK = ["--set", "training.samples=64", "--set", "training.epochs=60", "--set", "training.learning_rate=0.01",
         "--set", "data.validation=0.4", "--set", "training.validation_samples=64", "--threads", "1"]
MODEL = "model.safetensors"


def found(done):
    """T, NLL before and after, out of a run's words."""
    line = re.search(r"temperature ([0-9.]+) .*NLL (-?[0-9.]+) -> (-?[0-9.]+)", done.stdout)
    return tuple(float(number) for number in line.groups()) if line else (0.0, 0.0, 0.0)


def train(output, *more):
    return run("train", "--config", os.path.join(ROOT, "examples", "toy1", "config.json"), "--data", path("few.csv"), *QUICK,
               *more, "--output", output)


def nll(model, data):
    run("evaluate", "--model", model, "--data", path(data), "--output", path("figures.json"))
    with open(path("figures.json")) as file:
        return json.load(file)["nll"]


def compare_ways():
    plain, calibrated = train("plain"), train("calibrated", "--set", "training.calibrate=true")
    T, before, after = found(calibrated)
    best = float(re.search(r"best validation NLL (-?[0-9.]+)", plain.stdout).group(1))
    check("it starts from the best validation NLL", abs(before - best) < 1e-3, f"{before}, {best}")
    check("it is better there", 0 < T != 1 and after < before, f"T {T}, {before} -> {after}")
    told = run("calibrate", "--model", path("plain", MODEL), "--data", path("few.csv"), "--held-out", "--output", "later")
    check("the command finds the same rows and the same T", found(told) == (T, before, after), told.stdout.strip())
    seen = run("inspect", path("later")).stdout
    check("the model tells of it", f'"temperature": {T:.3f}' in seen and '"calibration": {' in seen, seen[-200:].strip())
    check("what was recorded of the training is there still", '"method"' in seen)
    check("one thread or two: the same", trainer.content("later") == again("--threads", "2"))
    refused = run("calibrate", "--model", path("plain", MODEL), "--data", path("few.csv"), "--output", "later", expect=1)
    check("a file that is there stays", "is there already" in refused.stderr, refused.stderr.strip())


def again(*more):
    run("calibrate", "--model", path("plain", MODEL), "--data", path("few.csv"), "--held-out", *more, "--output", "again")
    return trainer.content("again")


def use_other_rows():
    told = run("calibrate", "--model", path("plain", MODEL), "--data", path("other.csv"), "--output", "by-others")
    T, before, after = found(told)
    check("by rows of its own: before", abs(before - nll(path("plain", MODEL), "other.csv")) < 1e-3, f"{before}")
    check("by rows of its own: after", abs(after - nll(path("by-others"), "other.csv")) < 1e-3, f"{after}")
    T2, before2, after2 = found(run("calibrate", "--model", path("by-others"), "--data", path("other.csv"), "--output", "twice"))
    check("a second time changes nothing", abs(T2 - 1) < 5e-3 and abs(before2 - after2) < 1e-4, f"T {T}, then {T2}")
    with open(path("lines.txt"), "w") as file:
        file.write("0 1 2\n" + " ".join(str(i) for i in range(100)) + "\n")
    told = run("calibrate", "--model", path("plain", MODEL), "--data", path("other.csv"), "--split-file", path("lines.txt"),
               "--split-index", "1", "--output", "by-some")
    check("by the rows of a split file", "calibrated on 100 rows" in told.stdout, told.stdout.strip())


def refuse():
    none = run("train", "--config", os.path.join(ROOT, "examples", "toy1", "config.json"), "--data", path("few.csv"),
               "--set", "training.calibrate=true", "--set", "data.validation=0", "--output", "none", expect=1)
    check("without rows held out it is refused", "training.calibrate" in none.stderr, none.stderr.strip())
    both = run("calibrate", "--model", path("plain", MODEL), "--data", path("few.csv"), "--held-out", "--split-file",
               path("lines.txt"), "--output", "both", expect=1)
    check("two ways to say which rows are refused", "leave one of them out" in both.stderr, both.stderr.strip())


def join():
    told = train("joined", "--set", "model.members=2", "--set", "training.calibrate=true", "--jobs", "2")
    T, before, after = found(told)
    check("an ensemble is calibrated as a whole", 0 < T and after <= before and "model of 2" in told.stdout, told.stdout[-300:])
    seen = run("inspect", path("joined", "member-0", MODEL)).stdout
    check("its members are not", '"calibration"' not in seen)
    check("the file has it", '"calibration"' in run("inspect", path("joined", MODEL)).stdout)


def main():
    run("generate", "toy1", "--rows", "100", "--seed", "3", "--output", path("few.csv"))
    run("generate", "toy1", "--rows", "300", "--seed", "4", "--output", path("other.csv"))
    compare_ways()
    use_other_rows()
    refuse()
    join()


sys.exit(trainer.exit_status(main))
