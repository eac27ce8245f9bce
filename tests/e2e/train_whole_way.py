"""train_whole_way.py TRAINER ROOT - the trainer's commands as a person uses them: the same bytes for any number of
threads, through kill -9 and Ctrl-C; runs that go wrong say what to change and leave a checkpoint; evaluate, predict and
publish. Prints what it compares."""
import json
import os
import shutil
import signal
import sys

from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "train")
check, path, run, digest = trainer.check, trainer.path, trainer.run, trainer.digest
stop_after = trainer.stop_after
CONFIG = os.path.join(ROOT, "examples", "toy1", "config.json")


def training(output, *more, data="toy1.csv"):
    return ["train", "--config", CONFIG, "--data", path(data), "--output", path(output), "--set", "training.samples=64",
            "--set", "training.epochs=30", "--set", "training.warmup_epochs=1", "--set", "data.validation=0.1",
            "--set", "training.validation_samples=64", *more]


def epochs_logged(output):
    with open(path(os.path.join(output, "training.jsonl")), encoding="utf-8") as file:
        return [json.loads(line)["epoch"] for line in file]


def same_bytes():
    digests = []
    for threads in ("1", "2", "4"):
        run(*training("threads" + threads, "--threads", threads))
        digests.append(digest("threads" + threads))
    check("1, 2 and 4 threads give the same model", len(set(digests)) == 1, " ".join(digests))
    run(*training("other", "--set", "training.seed=5"))
    check("another seed gives another model", digest("other") != digests[0], digest("other"))
    return digests[0]


def through_kill(whole):
    every = ("--set", "training.checkpoint_epochs=1")
    status, _ = stop_after(training("killed", "--threads", "2", *every), 4, signal.SIGKILL)
    check("kill -9 leaves a checkpoint", status == -9 and os.path.exists(path("killed/checkpoint.safetensors")), status)
    refused = run(*training("killed", *every), expect=1)
    check("a new run does not overwrite it", "--resume" in refused.stderr, refused.stderr.strip()[-60:])
    status, _ = stop_after(["train", "--resume", path("killed"), "--threads", "1"], 2, signal.SIGKILL)
    check("the resumed run is killed as well", status == -9, status)
    run("train", "--resume", path("killed"), "--threads", "4")
    check("after two kills: the same model", digest("killed") == whole, digest("killed"))
    check("the log has each epoch once", epochs_logged("killed") == list(range(1, 31)), epochs_logged("killed"))
    check("no checkpoint is left", not os.path.exists(path("killed/checkpoint.safetensors")))
    again = run("train", "--resume", path("killed"), expect=1)
    check("a finished run says so", "finished" in again.stderr, again.stderr.strip()[-90:])


def through_signal(whole):
    for number, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        status, error = stop_after(training(name), 3, number)
        check(f"{name} exits 130 and says how to go on", status == 130 and "--resume" in error, f"{status} {error.strip()}")
        run("train", "--resume", path(name))
        check(f"after {name}: the same model", digest(name) == whole, digest(name))


def warm_up():
    """A random energy within narrow bounds, nearly flat, that one epoch of training at a high rate spoils: the best epoch
    is the last one all the same, because before it the energy net was random."""
    words = ("--set", "training.epochs=6", "--set", "training.warmup_epochs=5", "--set", "data.validation=0.3",
             "--set", "training.learning_rate=0.05", "--set", "training.checkpoint_epochs=1",
             "--set", 'model.target={"lower": [-2], "upper": [2.5]}')
    told = run(*training("warm", *words)).stdout
    with open(path("warm/training.jsonl"), encoding="utf-8") as file:
        nll = [json.loads(line)["validation_nll"] for line in file]
    check("validation is best in the warm-up here", min(nll[:5]) < nll[5], nll)
    best = [line for line in told.splitlines() if line.startswith("best")]
    check("but the model is of the epoch that trained the energy", "after epoch 6" in best[0], best[0])
    warm = [line for line in told.splitlines() if line.startswith("epoch") and line.endswith("warm-up")]
    check("no line of the warm-up claims a best", len(warm) == 5 and not any("best" in line for line in warm), warm[4])
    longer = (*words, "--set", "training.epochs=20", "--set", "training.warmup_epochs=19")
    run(*training("warm_long", *longer))
    status, _ = stop_after(training("warm_killed", *longer), 3, signal.SIGKILL)
    run("train", "--resume", path("warm_killed"))
    check("killed in the warm-up and resumed: the same model", status == -9 and digest("warm_killed") == digest("warm_long"),
          digest("warm_long"))


def changed_data():
    shutil.copy(path("toy1.csv"), path("moved.csv"))
    stop_after(training("moved", "--set", "training.checkpoint_epochs=1", data="moved.csv"), 3, signal.SIGKILL)
    with open(path("moved.csv"), "a", encoding="utf-8") as file:
        file.write("1,1\n")
    refused = run("train", "--resume", path("moved"), expect=1)
    check("other data are refused on resume", "not those that the run started with" in refused.stderr)


def goes_wrong():
    wild = run(*training("wild", "--set", "training.learning_rate=10", "--set", "training.warmup_epochs=0"), expect=1)
    check("a loss that is no number says what to change", "learning_rate" in wild.stderr, wild.stderr.strip())
    check("and leaves no model", not os.path.exists(path("wild/model.safetensors")))
    check("and says that no checkpoint was saved", "no checkpoint" in wild.stderr, wild.stderr.strip())
    with open(path("repeated.csv"), "w", encoding="utf-8") as file:
        file.write("x,y\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(400)))
    config = {"data": {"file": "repeated.csv"},
              "model": {"format_version": 1, "input": {"kind": "vector"}, "target": {},
                        "proposal": {"kind": "gaussian_mixture", "components": 2,
                                     **{net: [{"type": "linear", "out": 2}]
                                        for net in ("mean_net", "log_variance_net", "weight_net")}}},
              "training": {"method": "mdn_nll", "epochs": 2000, "learning_rate": 0.05}}
    with open(path("repeated.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    spike = run("train", "--config", path("repeated.json"), "--output", path("spike"), expect=1)
    check("a collapsing proposal says what to change",
          "collapses" in spike.stderr and "data.dequantize" in spike.stderr, spike.stderr.strip())
    check("and leaves the last good checkpoint", os.path.exists(path("spike/checkpoint.safetensors")))
    check("and says that --resume repeats it, and what does not",
          "repeats" in spike.stderr and "another --output" in spike.stderr and
          "remove " + path("spike/checkpoint.safetensors") in spike.stderr, spike.stderr.strip())
    repeated = run("train", "--resume", path("spike"), expect=1)
    check("--resume repeats it", "collapses" in repeated.stderr, repeated.stderr.strip()[:60])
    changed = run("train", "--resume", path("spike"), "--set", "training.epochs=3", expect=1)
    check("--set with --resume says what to do", "another --output" in changed.stderr, changed.stderr.strip())
    config["data"]["dequantize"] = {"step": 0.5}
    config["training"]["epochs"] = 60
    with open(path("repeated.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    run("train", "--config", path("repeated.json"), "--output", path("jittered"))
    os.remove(path("spike/checkpoint.safetensors"))
    run("train", "--config", path("repeated.json"), "--output", path("spike"))
    check("the same folder without its checkpoint, too", digest("spike") == digest("jittered"), digest("spike"))
    run("evaluate", "--model", path("jittered/model.safetensors"), "--data", path("repeated.csv"), "--output", path("j.json"))
    with open(path("j.json"), encoding="utf-8") as file:
        nll = json.load(file)["nll"]
    check("with jitter it trains; a bin's mean density cannot beat log(2 * 0.5) = 0", -0.01 < nll < 0.5, nll)


def too_many_names():
    """A description that no reader takes is refused before the first epoch, not found out after the last."""
    names = [f"column_{i:05d}_" + "n" * 100 for i in range(9000)]
    with open(path("wide.csv"), "w", encoding="utf-8") as file:
        file.write(",".join(names) + ",y\n")
        for row in range(12):
            file.write(",".join(str((row * i) % 7) for i in range(9000)) + f",{row % 5}\n")
    done = run("train", "--config", path("repeated.json"), "--data", path("wide.csv"), "--output", path("wide"),
               "--set", "training.epochs=1", "--set", "data.missing=error", expect=1)
    check("too many long names are refused before training",
          "fewer columns" in done.stderr and "epoch" not in done.stdout, (done.stdout + done.stderr).strip()[-200:])
    check("and nothing is written", not os.path.exists(path("wide/model.safetensors")))


def refined(model, *options):
    told = run("refine", "--model", model, "--data", path("toy1.csv"), "--output", path("r.csv"), *options).stderr
    with open(path("r.csv"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    return lines[0], [list(map(float, line.split(","))) for line in lines[1:]], told


def refines_targets(model):
    few, many = ("--initial", "y", "--steps", "1"), ("--initial", "y", "--steps", "200")
    header, short, told = refined(model, *few)
    check("refine writes a line a row", header == "y,unnormalized_log_prob,converged,steps" and len(short) == 600, header)
    check("and says how many converged", f"{sum(int(row[2]) for row in short)} of 600 rows converged" in told, told)
    long = refined(model, *many)[1]
    check("further steps never lead down", all(b[1] >= a[1] - 1e-5 for a, b in zip(short, long)))
    check("most ascents end at a maximum", sum(row[2] for row in long) > 450, sum(row[2] for row in long))
    check("the best draws start higher than the data", sum(row[1] for row in refined(model)[1]) > sum(row[1] for row in short))
    refused = run("refine", "--model", model, "--data", path("toy1.csv"), "--initial", "x,y", expect=1).stderr
    check("refine counts the columns of --initial", "2 columns, the model's target has 1 number" in refused, refused)


def uses_the_model():
    model = path("threads1/model.safetensors")
    run("evaluate", "--model", model, "--data", path("toy1.csv"), "--num-samples", "2048", "--output", path("e.json"))
    run("evaluate", "--model", model, "--protocol", "toy1", "--output", path("kl.json"))
    with open(path("e.json"), encoding="utf-8") as file, open(path("kl.json"), encoding="utf-8") as kl_file:
        figures, kl = json.load(file), json.load(kl_file)["kl"]
    check("evaluate writes figures", figures["rows"] == 600 and figures["targets"][0]["rmse"] >= figures["targets"][0]["mae"] > 0, figures)
    check("KL of toy 1 is a number above 0", 0.0 < kl < 5.0, kl)
    seen = run("predict", "--model", model, "--input", "-1.5", "--draw").stdout
    check("predict draws a picture", "█" in seen and "^ mean" in seen and "given x -1.5" in seen)
    run("predict", "--model", model, "--data", path("toy1.csv"), "--output", path("p.csv"))
    with open(path("p.csv"), encoding="utf-8") as file:
        lines = file.read().splitlines()
    check("predict writes a line a row", len(lines) == 601 and lines[0].startswith("y_mean,y_std"), lines[0])
    refines_targets(model)
    for version in (1, 2):
        told = run("publish", model, path("repository/toy1")).stdout
        check(f"publish makes version {version}", f"version {version}" in told and
              os.path.exists(path(f"repository/toy1/{version}/model.safetensors")), told.splitlines()[0])
    check("no temporary folder is left", sorted(os.listdir(path("repository/toy1"))) == ["1", "2"])
    run(*training("published", "--publish", path("repository/toy1")))
    check("train --publish makes version 3", os.path.exists(path("repository/toy1/3/model.safetensors")))


def command_line():
    for words, status, says in (
            ([], 2, "usage"), (["--help"], 0, "train"), (["trian"], 2, "did you mean 'train'?"),
            (["train", "--confg", "x"], 2, "did you mean '--config'?"), (["train", "--help"], 0, "--resume"),
            (["train"], 1, "--config is missing"), (["publish", "nothing", "a/b"], 1, "nothing"),
            (["publish", path("toy1.csv"), "a/b"], 1, "toy1.csv"), (["generate", "toy9", "--output", "x"], 1, "toy9"),
            (["train", "--config", path("toy1.csv")], 1, "not valid JSON"),
            (["predict", "--model", path("threads1/model.safetensors"), "--input", "1,x"], 1, "number 2 is 'x'")):
        done = run(*words, expect=status)
        check(f"ebm-trainer {' '.join(os.path.basename(w) for w in words)}", says in done.stdout + done.stderr,
              (done.stdout + done.stderr).strip().splitlines()[0])


def main():
    run("generate", "toy1", "--rows", "600", "--seed", "3", "--output", path("toy1.csv"))
    model = same_bytes()
    through_kill(model)
    through_signal(model)
    warm_up()
    changed_data()
    goes_wrong()
    too_many_names()
    uses_the_model()
    command_line()


sys.exit(trainer.exit_status(main))
