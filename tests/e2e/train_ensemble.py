"""train_ensemble.py TRAINER ROOT - an ensemble from training to answers: its members are the runs of its seeds, its NLL is
that of the mean of their densities. Prints what it compares."""
import csv
import math
import os
import sys

from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "ensemble")
check, path, run = trainer.check, trainer.path, trainer.run
CONFIG = os.path.join(ROOT, "examples", "toy1", "config.json")
QUICK = ["--set", "training.samples=64", "--set", "training.epochs=40", "--set", "training.warmup_epochs=1",
         "--set", "data.validation=0.2", "--set", "training.validation_samples=64", "--threads", "1"]


def same_bytes(a, b):
    with open(a, "rb") as one, open(b, "rb") as other:
        return one.read() == other.read()


def row_nll(model):
    """NLL of every row of test.csv."""
    run("evaluate", "--model", model, "--data", path("test.csv"), "--row-nll", path("rows.csv"), "--num-samples", "4096")
    with open(path("rows.csv"), newline="") as file:
        return [float(row[-1]) for row in list(csv.reader(file))[1:]]


def main():
    run("generate", "toy1", "--rows", "600", "--seed", "3", "--output", path("toy1.csv"))
    run("generate", "toy1", "--rows", "60", "--seed", "4", "--output", path("test.csv"))
    base = ["train", "--config", CONFIG, "--data", path("toy1.csv"), *QUICK]
    told = run(*base, "--set", "model.members=3", "--output", "both", "--jobs", "2").stdout
    check("the run says what it wrote", "model of 3 members" in told, told.strip().splitlines()[-4:])
    run(*base, "--set", "training.seed=1", "--set", "data.split_seed=0", "--output", "alone")
    check("member 1 is the run of its seed", same_bytes(path("alone", "model.safetensors"),
                                                        path("both", "member-1", "model.safetensors")))
    members = [path("both", f"member-{i}", "model.safetensors") for i in range(3)]
    run("join", *sum((["--model", m] for m in members), []), "--output", "joined.safetensors")
    check("join makes the same file", same_bytes(path("joined.safetensors"), path("both", "model.safetensors")))
    alone, joined = [row_nll(m) for m in members], row_nll(path("joined.safetensors"))
    mean = [-math.log(sum(math.exp(-nll[i]) for nll in alone) / 3) for i in range(len(joined))]
    worst = max(abs(a - b) for a, b in zip(joined, mean))
    check("its NLL is that of the mean density", worst < 0.02, f"worst difference {worst:.5f}")
    seen = run("inspect", path("joined.safetensors")).stdout
    check("inspect tells of the members", "ensemble of 3 members" in seen, seen.splitlines()[2])
    refused = run("join", "--model", members[0], "--model", path("joined.safetensors"), "--output", "x", expect=1)
    check("an ensemble is no member", "an ensemble already" in refused.stderr, refused.stderr.strip())
    run(*base, "--set", "model.name=other", "--output", "other")
    refused = run("join", "--model", members[0], "--model", path("other", "model.safetensors"), "--output", "x", expect=1)
    check("members of another description are refused", "does not agree" in refused.stderr, refused.stderr.strip())
    refused = run(*base, "--set", "model.members=2", "--seeds", "0..1", "--output", "no", expect=1)
    check("several seeds of an ensemble are refused", "leave one of the two out" in refused.stderr, refused.stderr.strip())
    said = run("predict", "--model", path("joined.safetensors"), "--input", "1").stdout
    check("predict answers", "mean" in said, said.splitlines()[1])


sys.exit(trainer.exit_status(main))
