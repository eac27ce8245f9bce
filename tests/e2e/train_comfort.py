"""train_comfort.py TRAINER ROOT - what makes training comfortable: looking before a run and after it, settings of the
optimiser, several seeds, data in NumPy files, figures of `evaluate`. Prints what it compares."""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

TRAINER, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
CONFIG = os.path.join(ROOT, "examples", "toy1", "config.json")
work = tempfile.mkdtemp(prefix="ebm-comfort-")
failures = 0


def check(what, holds, shown=""):
    global failures
    failures += not holds
    print(("ok      " if holds else "FAILED  ") + what + (f": {shown}" if shown != "" or not holds else ""), flush=True)


def path(name):
    return os.path.join(work, name)


def run(*words, expect=0):
    done = subprocess.run([TRAINER, *words], capture_output=True, text=True, cwd=work, timeout=300)
    if done.returncode != expect:
        check(f"{' '.join(words[:2])} exits {expect}", False, f"{done.returncode}: {done.stderr[-400:]}")
    return done


def training(*more):
    return ["train", "--config", CONFIG, "--data", path("toy1.csv"), "--set", "training.samples=32",
            "--set", "training.epochs=8", "--set", "training.warmup_epochs=1", "--set", "data.validation=0.2",
            "--set", "training.validation_samples=64", *more]


def digest(output):
    with open(path(os.path.join(output, "model.safetensors")), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def before_a_run():
    told = run(*training("--dry-run", "--output", path("dry"))).stdout
    check("--dry-run says rows, phases and files", "240 to train on, 60 for validation" in told and
          "epochs 2 to 8: nce_kl, 32 draws" in told and "dry/model.safetensors" in told, told.splitlines()[1])
    check("and writes nothing", not os.path.exists(path("dry")))
    config = json.loads(run(*training("--print-config")).stdout)
    check("--print-config is JSON with every default", config["training"]["collapse_std"] == 1e-4 and
          config["data"]["dequantize"] is None and config["model"]["input"]["shape"] == [1], sorted(config["training"]))
    with open(path("printed.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    run(*training("--output", path("given")))
    run("train", "--config", path("printed.json"), "--output", path("printed"))
    check("what it prints trains the same model", digest("printed") == digest("given"), digest("given"))
    valid = run("validate", path("printed.json")).stdout
    check("validate says that it is valid", "is valid" in valid and "memory   about" in valid, valid.splitlines()[0])
    wrong = run("validate", path("printed.json"), "--set", "training.epoch=3", expect=1)
    check("or what is wrong, and where", "training.epoch" in wrong.stderr and "epochs" in wrong.stderr, wrong.stderr.strip())
    for words in (["train", "--resume", path("given"), "--dry-run"],):
        check("--dry-run does not go with --resume", "does not go with --resume" in run(*words, expect=1).stderr)


def after_a_run():
    shown = run("inspect", path("given/model.safetensors")).stdout
    check("inspect shows columns, layers and the training", "feature_net.0" in shown and '"method": "nce_kl"' in shown and
          "in -> out" in shown, shown.splitlines()[0])
    check("inspect refuses what is no model", "toy1.csv" in run("inspect", path("toy1.csv"), expect=1).stderr)


run("generate", "toy1", "--rows", "300", "--seed", "3", "--output", path("toy1.csv"))
before_a_run()
after_a_run()
shutil.rmtree(work)
print(f"{failures} failed")
sys.exit(1 if failures else 0)
