"""train_device.py TRAINER ROOT PRETEND_PLUGIN - --device of train, evaluate and predict: a plug-in that is the CPU under another
name gives the CPU's bytes, in runs of several seeds too; one that is missing is an error by name, and a line by auto."""
import os
import shutil
import sys

from trainer import Trainer

ROOT, PRETEND = os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
trainer = Trainer(sys.argv[1], "device")
check, path, run, digest = trainer.check, trainer.path, trainer.run, trainer.digest
CONFIG = os.path.join(ROOT, "examples", "toy1", "config.json")
THERE = ["--device", "cuda", "--device-plugin", PRETEND]
NOWHERE = ["--device-plugin", "/nonexistent/plugin.so", "--device"]


def training(output, *more):
    return ["train", "--config", CONFIG, "--data", path("toy1.csv"), "--set", "training.samples=32", "--set", "training.epochs=2",
            "--set", "training.warmup_epochs=1", "--set", "training.validation_samples=64", "--output", path(output), *more]


def pass_for_the_driver():
    folder = path("driver")
    os.makedirs(folder)
    shutil.copy(PRETEND, os.path.join(folder, "libcuda.so.1"))
    os.environ["LD_LIBRARY_PATH"] = folder + os.pathsep + os.environ.get("LD_LIBRARY_PATH", "")


def same_bytes():
    run(*training("here"))
    told = run(*training("there", *THERE))
    check("train tells of the device", "device: pretend: no hardware at all" in told.stderr, told.stderr.strip())
    check("and gives its bytes", digest("there") == digest("here"), digest("here"))
    run(*training("seeds", "--seeds", "0,1", "--jobs", "1", *THERE))
    seeds = [path("seeds", "seed-0", "training.jsonl"), path("seeds", "seed-1", "training.jsonl")]
    check("seeds take it along", all(os.path.exists(file) for file in seeds))
    model = ["--model", path("here", "model.safetensors")]
    for words in (["evaluate", *model, "--data", path("toy1.csv"), "--estimator", "importance", "--num-samples", "256"],
                  ["predict", *model, "--input", "0.5", "--num-samples", "256", "--seed", "1"]):
        here, there = run(*words), run(*words, *THERE)
        check(f"{words[0]} too", here.stdout == there.stdout and "device: pretend" in there.stderr, here.stdout.strip()[-60:])


def missing():
    model = path("here", "model.safetensors")
    for words in (["predict", "--model", model, "--input", "0.5"], ["evaluate", "--model", model, "--data", path("toy1.csv")],
                  training("other", "--overwrite")):
        told = run(*words, *NOWHERE, "cuda", expect=1).stderr
        check(f"{words[0]}: by name what is missing is an error", "--device: no plug-in /nonexistent/plugin.so" in told, told.strip())
    told = run("predict", "--model", model, "--input", "0.5", *NOWHERE, "auto").stderr
    check("by auto a line", "no GPU, computing on the CPU: no plug-in" in told, told.strip())
    told = run("predict", "--model", model, "--input", "0.5", "--device", "tpu", expect=1).stderr
    check("other words are refused", "expected cpu, auto, cuda, cuda:N" in told, told.strip())
    told = run(*training("dry", "--dry-run", "--device", "cuda")).stdout
    check("--dry-run says what it takes of a GPU, without one", "memory   about" in told and "of a GPU about" in told, told)
    told = run(*training("dry", "--dry-run", "--device", "cuda:all"), expect=1).stderr
    check("and refuses what training refuses", "one GPU at a time" in told, told.strip())
    told = run("predict", "--model", model, "--input", "0.5", "--device", "cuda:0,1", expect=1).stderr
    check("and several devices", "one GPU at a time: expected cuda or cuda:N, got 'cuda:0,1'" in told, told.strip())


def main():
    run("generate", "toy1", "--rows", "200", "--seed", "1", "--output", path("toy1.csv"))
    pass_for_the_driver()
    same_bytes()
    missing()


sys.exit(trainer.exit_status(main))
