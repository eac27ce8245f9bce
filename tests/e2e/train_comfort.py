"""train_comfort.py TRAINER ROOT - what makes training comfortable: looking before a run and after it, settings of the
optimiser, several seeds, data in NumPy files, figures of `evaluate`. Prints what it compares."""
import json
import os
import fcntl
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

from arrays import npy, safetensors, tensors_of
from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "comfort")
check, path, run, digest = trainer.check, trainer.path, trainer.run, trainer.digest
CONFIG = os.path.join(ROOT, "examples", "toy1", "config.json")


def training(*more):
    return ["train", "--config", CONFIG, "--data", path("toy1.csv"), "--set", "training.samples=32",
            "--set", "training.epochs=8", "--set", "training.warmup_epochs=1", "--set", "data.validation=0.2",
            "--set", "training.validation_samples=64", *more]


def before_a_run():
    told = run(*training("--dry-run", "--output", path("dry"))).stdout
    check("--dry-run says rows, phases and files", "240 training rows, 60 for validation" in told and
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
    check("and the type of the numbers", " bytes, F32\n" in shown)
    check("inspect refuses what is no model", "toy1.csv" in run("inspect", path("toy1.csv"), expect=1).stderr)


def true_values():
    """A table with targets shows them beside what was predicted; one without, or with gaps, does not."""
    with open(path("toy1.csv"), encoding="utf-8") as file:
        header, *rows = [line.split(",") for line in file.read().splitlines()[:4]]
    at = header.index("y")
    tables = {"with": [header] + rows, "without": [[line[1 - at]] for line in [header] + rows],
              "gaps": [header] + [[row[0], ""] if at == 1 else ["", row[1]] for row in rows]}
    told = {}
    for name, lines in tables.items():
        with open(path(f"{name}.csv"), "w", encoding="utf-8") as file:
            file.writelines(",".join(line) + "\n" for line in lines)
        told[name] = run("predict", "--model", path("given/model.safetensors"), "--data", path(f"{name}.csv"), "--output",
                         path(f"{name}-out.csv"))
    truth = [float(line.split("true ")[1].split()[0]) for line in told["with"].stdout.splitlines() if " true " in line]
    check("predict shows the targets that a table has", [float(f"{float(row[at]):.4g}") for row in rows] == truth, truth)
    with open(path("with-out.csv"), encoding="utf-8") as file:
        lines = [line.split(",") for line in file.read().splitlines()]
    check("and writes them", lines[0][5:] == ["y_true", "reliable"] and
          [float(line[5]) for line in lines[1:]] == [float(f"{float(row[at]):.9g}") for row in rows], lines[1])
    check("not where there are none", " true " not in told["without"].stdout and not told["without"].stderr)
    check("with gaps it says why", " true " not in told["gaps"].stdout and "'y' has no value" in told["gaps"].stderr,
          told["gaps"].stderr.strip())


def next_commands():
    """What is printed can be pasted: into a shell, from where the training ran."""
    told = run(*training("--output", "a run")).stdout.splitlines()
    longer = [line for line in told if " train " in line]
    check("a best epoch among the last ones: train longer", longer and "best epoch, 8 of 8" in told[told.index(longer[0]) - 1], longer)
    if longer:
        done = subprocess.run(["sh", "-c", longer[0] + " --dry-run"], capture_output=True, text=True, cwd=trainer.folder, timeout=60)
        check("with a command that works", done.returncode == 0 and "epochs 2 to 16" in done.stdout and "a run-16-epochs" in
              done.stdout, done.stderr or longer[0])
    commands = told[told.index("next:") + 1:]
    check("then evaluate, publish, serve", [line.split()[1] for line in commands] == ["evaluate", "publish", "--model-repository"],
          commands)
    for command in commands[:2]:
        done = subprocess.run(["sh", "-c", command.replace("--data TEST", "--data toy1.csv")], capture_output=True, text=True,
                              cwd=trainer.folder, timeout=60)
        check("which work as printed", done.returncode == 0, done.stderr or command.strip())
    check("and a version is there", os.path.exists(path("repository/toy1/1/model.safetensors")))
    shutil.rmtree(path("repository"))


OPTIMISER = [word for setting in ("schedule.kind=cosine", "schedule.warmup_steps=20", "schedule.final_share=0.05",
                                  "weight_decay=0.01", "gradient_clip=0.5", "checkpoint_epochs=1", "epochs=20")
             for word in ("--set", "training." + setting)]


def logged(output, key):
    with open(path(os.path.join(output, "training.jsonl")), encoding="utf-8") as file:
        return [json.loads(line)[key] for line in file]


def optimiser():
    run(*training("--output", path("one"), "--threads", "1", *OPTIMISER))
    run(*training("--output", path("three"), "--threads", "3", *OPTIMISER))
    check("schedule, decay and clipping: the same bytes for 1 and 3 threads", digest("one") == digest("three"),
          digest("one"))
    check("and other bytes than without", digest("one") != digest("given"))
    trainer.stop_after(training("--output", path("broken"), *OPTIMISER), 3, signal.SIGKILL)
    run("train", "--resume", path("broken"), "--threads", "2")
    check("and through kill and resume", digest("broken") == digest("one"), digest("broken"))
    rates = logged("one", "learning_rate")
    check("the log has the rate, from high to low", rates[0] > rates[-1] and abs(rates[-1] - 5e-5) < 1e-9, rates)


def patience():
    words = ("--set", "training.epochs=400", "--set", "training.patience=3", "--set", "training.learning_rate=0.02",
             "--set", "training.checkpoint_epochs=1")
    told = run(*training("--output", path("patient"), *words)).stdout
    nll = logged("patient", "validation_nll")
    best = min(range(1, len(nll)), key=lambda i: nll[i])
    check("patience ends a run", len(nll) < 400 and "training.patience" in told, f"{len(nll)} epochs, best {best + 1}")
    check("three epochs after the best one", len(nll) == best + 1 + 3)
    trainer.stop_after(training("--output", path("patient2"), *words), len(nll) - 1, signal.SIGKILL)
    if os.path.exists(path("patient2/checkpoint.safetensors")):
        run("train", "--resume", path("patient2"))
    check("the same after kill and resume", digest("patient2") == digest("patient"), digest("patient"))
    refused = run(*training("--output", path("no"), "--set", "training.patience=3", "--set", "data.validation=0"), expect=1)
    check("patience without validation rows says what to set", "data.validation" in refused.stderr, refused.stderr.strip())


def exact(output, *more):
    """Exact likelihood without a proposal: a configuration of its own, and what it prints."""
    with open(CONFIG, encoding="utf-8") as file:
        config = json.load(file)
    del config["model"]["proposal"]
    config["training"] = {"method": "ml_exact", "epochs": 6}
    config["data"]["file"] = path("toy1.csv")
    with open(path("exact.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    return ["train", "--config", path("exact.json"), "--output", path(output), *more]


def trials():
    told = run(*exact("tried", "--set", "training.trials=3", "--set", "training.trial_epochs=2")).stdout
    line = next(line for line in told.splitlines() if line.startswith("initial weights"))
    losses = [float(word) for word in line.split("epochs: ")[1].split(";")[0].split()]
    chosen = int(line.rsplit(" ", 1)[1])
    check("the trial with the lowest loss is chosen", len(losses) == 3 and min(losses) == losses[chosen - 1], line)
    repeated = logged("tried", "loss")[1]
    check("and the run repeats it", abs(repeated - losses[chosen - 1]) < 1e-4, repeated)
    run(*exact("tried1", "--set", "training.trials=3", "--set", "training.trial_epochs=2", "--threads", "1"))
    check("with the same bytes for any threads", digest("tried") == digest("tried1"), digest("tried"))
    refused = run(*training("--output", path("no"), "--set", "training.trials=2"), expect=1)
    check("losses that cannot be compared are refused", "training.trials" in refused.stderr, refused.stderr.strip())


def seeds():
    told = run(*training("--seeds", "0..2,7", "--jobs", "2", "--output", path("many"))).stdout
    check("--seeds trains each seed", sorted(os.listdir(path("many"))) == ["seed-0", "seed-1", "seed-2", "seed-7"])
    check("and ends with a table", "mean" in told and "best" in told and "4 of 4 seeds" in told, told.splitlines()[-4])
    run(*training("--output", path("alone"), "--set", "training.seed=7", "--set", "data.split_seed=0"))
    check("a seed is the model that it is alone", digest("many/seed-7") == digest("alone"), digest("alone"))
    with open(path("many/seed-1/train.log"), encoding="utf-8") as one, open(path("many/seed-2/train.log"),
                                                                            encoding="utf-8") as two:
        check("all hold out the same rows", [line for line in one if line.startswith("target")] ==
              [line for line in two if line.startswith("target")])
    best = min((min(nll for nll in logged(f"many/seed-{seed}", "validation_nll")[1:] if nll is not None), seed)
               for seed in (0, 1, 2, 7))  # null: the density has no integral yet
    check("the best one has the lowest validation NLL", f"seed {best[1]}: " in told, best)
    run(*training("--seeds", "3,4", "--output", path("shown"), "--publish", path("repository/toy1")))
    check("--publish publishes the best one", os.path.exists(path("repository/toy1/1/model.safetensors")))
    again = run(*training("--seeds", "7..9", "--output", path("many")), expect=1)
    check("a folder in use is refused", "seed-7" in again.stderr and "another --output" in again.stderr,
          again.stderr.strip()[-90:])
    check("before any seed starts", not os.path.exists(path("many/seed-8")))
    wrong = run(*training("--seeds", "0..3", "--output", path("bad"), "--set", "training.epochs=0"), expect=1)
    check("what is wrong is said once", wrong.stderr.count("training.epochs") == 1 and not os.path.exists(path("bad")))
    wild = run(*training("--seeds", "0,1", "--output", path("wild"), "--set", "training.learning_rate=10",
                         "--set", "training.warmup_epochs=0"), expect=1)
    check("seeds that fail are counted, and say where to look", "2 of 2 seeds failed" in wild.stderr and
          "train.log" in wild.stderr, wild.stderr.strip())


def seeds_through_signal():
    words = training("--seeds", "0..3", "--jobs", "2", "--output", path("halted"), "--set", "training.epochs=100000")
    process = trainer.start(words)
    logs, deadline = [path(f"halted/seed-{seed}/training.jsonl") for seed in (0, 1)], time.monotonic() + 250
    while time.monotonic() < deadline and not all(os.path.exists(log) and os.path.getsize(log) > 0 for log in logs):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=300)
    check("Ctrl-C exits 130 and says how to go on", process.returncode == 130 and "--resume" in error, error.strip())
    check("those that ran have a checkpoint, the others did not begin",
          os.path.exists(path("halted/seed-0/checkpoint.safetensors")) and
          os.path.exists(path("halted/seed-1/checkpoint.safetensors")) and
          not os.path.exists(path("halted/seed-3")) and "not begun" in out, out.splitlines()[-3:])


def figures():
    """By draws: after so few epochs the density has tails far beyond the data, which integration takes in."""
    told = run("evaluate", "--model", path("given/model.safetensors"), "--data", path("toy1.csv"), "--num-samples", "2048",
               "--estimator", "importance", "--threads", "1", "--output", path("f.json")).stdout
    run("evaluate", "--model", path("given/model.safetensors"), "--data", path("toy1.csv"), "--num-samples", "2048",
        "--estimator", "importance", "--threads", "3", "--output", path("f3.json"))
    with open(path("f.json"), encoding="utf-8") as one, open(path("f3.json"), encoding="utf-8") as three:
        found, again = json.load(one), json.load(three)
    target = found["targets"][0]
    shares = [interval["coverage"] for interval in target["intervals"]]
    check("evaluate gives CRPS and coverage", 0 < target["crps"] < target["rmse"] and
          0 < shares[0] <= shares[2] <= 1 and "CRPS" in told, shares)
    check("the same for any number of threads", found == again)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data)


def other_types():
    """The same model with its tensors as F64 and as BF16."""
    given, metadata = tensors_of(trainer.content("given", "model.safetensors"))
    for dtype, code in (("F64", "d"), ("BF16", "H")):
        tensors = {}
        for name, (_, shape, data) in given.items():
            values = struct.unpack(f"<{len(data) // 4}{'f' if code == 'd' else 'I'}", data)
            tensors[name] = dtype, shape, struct.pack(f"<{len(values)}{code}", *(v if code == "d" else v >> 16 for v in values))
        write(dtype + ".safetensors", safetensors(tensors, metadata))
        shown = run("inspect", path(dtype + ".safetensors")).stdout
        check(f"{dtype} is taken", f" bytes, {dtype}\n" in shown, shown.splitlines()[0])
    words = ("--input", "-1.5", "--seed", "1")
    known = run("predict", "--model", path("given/model.safetensors"), *words).stdout
    check("F64 predicts what F32 does", run("predict", "--model", path("F64.safetensors"), *words).stdout == known,
          known.splitlines()[1].strip())
    near = run("predict", "--model", path("BF16.safetensors"), *words).stdout
    check("BF16 nearly so", near != known and near.split()[4][:4] == known.split()[4][:4], near.splitlines()[1].strip())


def arrays():
    with open(path("toy1.csv"), encoding="utf-8") as file:
        rows = [tuple(map(float, line.split(","))) for line in file.read().split()[1:]]
    n = len(rows)
    write("x.npy", npy("<f8", (n, 1), struct.pack(f"<{n}d", *(x for x, _ in rows))))
    write("y.npy", npy("<f8", (n,), struct.pack(f"<{n}d", *(y for _, y in rows))))
    write("both.npy", npy("<f4", (n, 2), struct.pack(f"<{2 * n}f", *(v for row in rows for v in row))))
    words = [word for word in training() if word not in ("--data", path("toy1.csv"))]
    with open(CONFIG, encoding="utf-8") as file:
        config = json.load(file)
    config["data"].pop("targets", None)
    config["data"].pop("inputs", None)
    with open(path("free.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    words[words.index("--config") + 1] = path("free.json")
    told = run(*words, "--data", path("x.npy"), "--targets", path("y.npy"), "--output", path("pair")).stdout
    check("two .npy files train a model", "input    x1" in told and "target   y1" in told, told.splitlines()[2])
    run(*words, "--data", path("both.npy"), "--output", path("both"))
    nll = {}
    for model, data in (("given", ["toy1.csv"]), ("pair", ["x.npy", "y.npy"]), ("both", ["both.npy"]),
                        ("given", ["x.npy", "y.npy"]), ("given", ["both.npy"])):
        files = ["--data", path(data[0])] + (["--targets", path(data[1])] if len(data) > 1 else [])
        run("evaluate", "--model", path(model + "/model.safetensors"), *files, "--num-samples", "1024", "--output",
            path("n.json"))
        with open(path("n.json"), encoding="utf-8") as file:
            nll[model + " on " + data[0]] = json.load(file)["nll"]
    check("CSV and arrays give the same model and the same figures", len(set(nll.values())) == 1, nll)
    written = {}
    for name in ("toy1.csv", "both.npy", "x.npy"):
        run("predict", "--model", path("given/model.safetensors"), "--data", path(name), "--output", path("n.csv"))
        with open(path("n.csv"), encoding="ascii") as file:
            written[name] = file.read()
    check("predict reads them as well", written["both.npy"] == written["toy1.csv"])
    check("and inputs alone", written["x.npy"].splitlines() == [
        ",".join(line.split(",")[:5] + line.split(",")[6:]) for line in written["toy1.csv"].splitlines()])
    refused = run(*words, "--data", path("toy1.csv"), "--targets", path("y.npy"), "--output", path("no"), expect=1)
    check("a CSV does not go with a file of targets", "no .npy file" in refused.stderr, refused.stderr.strip()[-80:])


def refusals():
    before = digest("given")
    again = run(*training("--output", path("given"), "--set", "training.seed=9"), expect=1)
    check("a finished run is not replaced", "another --output" in again.stderr and "--overwrite" in again.stderr and
          digest("given") == before, again.stderr.strip()[-90:])
    dry = run(*training("--output", path("given"), "--dry-run"), expect=1)
    check("and --dry-run says so too", "--overwrite" in dry.stderr)
    shutil.copytree(path("given"), path("replaced"))
    run(*training("--output", path("replaced"), "--set", "training.seed=9", "--overwrite"))
    check("--overwrite replaces it", digest("replaced") != before, digest("replaced"))
    for key, says in (("model.featur_net=[]", "model.featur_net: unknown key, did you mean 'feature_net'?"),
                      ("model.proposal.component=3", "model.proposal.component: unknown key, did you mean 'components'?"),
                      ("model.target.dims=1", "model.target.dims: unknown key, did you mean 'dim'?"),
                      ("model.colour=red", "model.colour: unknown key")):
        said = run(*training("--dry-run", "--set", key), expect=1).stderr.strip()
        check(f"--set {key}", said.endswith(says), said)


def synthetic():
    for name in ("toy2", "set2"):
        told = run("generate", name, "--rows", "500", "--output", path(name + ".csv")).stdout
        with open(path(name + ".csv"), encoding="utf-8") as file:
            lines = file.read().split()
        check(f"generate {name}", len(lines) == 501 and lines[0] == "x,y" and "own mean NLL" in told, told.strip())
    check("an unknown set gets a suggestion", "'toy2'" in run("generate", "toy_2", "--output", "x", expect=1).stderr)


def on_a_terminal():
    """A pseudo terminal: one line that is written over, and the log as ever."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
    process = trainer.start(training("--output", path("seen")), stdout=other, env={**os.environ, "TERM": "xterm"})
    os.close(other)
    seen = b""
    while True:
        try:
            got = os.read(main, 65536)
        except OSError:
            break
        if not got:
            break
        seen += got
    process.communicate(timeout=300)
    os.close(main)
    bars = [bar for bar in seen.decode().split("\r") if bar.startswith("[")]
    check("a terminal sees a bar", len(bars) >= 8 and "epoch 8/8" in bars[-1], bars[-1].splitlines()[0])
    check("no wider than the terminal", all(len(bar.split("\x1b")[0]) < 70 for bar in bars))
    check("and no line an epoch", "epoch   1/8" not in seen.decode())
    check("and the summary below it", "\nnext:" in seen.decode())
    check("the same model", digest("seen") == digest("given"))
    told = run(*training("--output", path("unseen"))).stdout
    check("other output gets a line an epoch, and no bar", told.count("\nepoch ") == 8 and "\r" not in told)
    check("and at the end what to do next", f"{trainer.binary} publish" in told and "ebm-server --model-repository" in told,
          told.splitlines()[-2].strip())


def main():
    run("generate", "toy1", "--rows", "300", "--seed", "3", "--output", path("toy1.csv"))
    before_a_run()
    after_a_run()
    true_values()
    next_commands()
    optimiser()
    patience()
    trials()
    figures()
    arrays()
    other_types()
    refusals()
    synthetic()
    on_a_terminal()
    seeds()
    seeds_through_signal()


sys.exit(trainer.exit_status(main))
