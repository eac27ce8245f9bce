"""train_images.py TRAINER ROOT - images from `generate` to `evaluate`: the same pictures for a seed, the same model for any
number of threads and through kill -9, bad files named and counted, errors that say what to change. Prints what it
compares."""
import csv
import json
import os
import re
import shutil
import signal
import sys

from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "images")
check, path, run, digest = trainer.check, trainer.path, trainer.run, trainer.digest

CONFIG = {
    "data": {"images": "folder", "validation": 0.1, "targets": ["yaw", "roll"],
             "augment": {"flip": True, "negate": ["yaw", "roll"], "scales": [0.8, 1, 1.2], "brightness": 0.2}},
    "model": {"input": {"kind": "image", "shape": [1, 16, 16]},
              "feature_net": [{"type": "conv2d", "in": 1, "out": 4, "kernel": 3, "stride": 2, "padding": 1},
                              {"type": "batch_norm2d", "in": 4}, {"type": "relu"}, {"type": "flatten"},
                              {"type": "linear", "out": 8, "activation": "relu"}],
              "target_net": [{"type": "linear", "out": 8, "activation": "relu"}],
              "energy_net": [{"type": "linear", "out": 8, "activation": "relu"}, {"type": "linear"}],
              "proposal": {"kind": "gaussian_mixture", "components": 2, "mean_net": [{"type": "linear"}],
                           "log_variance_net": [{"type": "linear"}], "weight_net": [{"type": "linear"}]}},
    "training": {"method": "nce_kl", "epochs": 120, "batch_size": 16, "samples": 32, "validation_samples": 32, "seed": 3}}


def generate():
    for name in ("cells", "pose", "steering", "digits-angle"):
        digits = ("--digits", os.path.join(ROOT, "examples", "digits")) if name == "digits-angle" else ()
        run("generate", name, "--rows", "12", "--seed", "5", "--output", "one", *digits)
        run("generate", name, "--rows", "9", "--seed", "5", "--output", "two", *digits)
        same = trainer.content("one/images/000008.png") == trainer.content("two/images/000008.png")
        with open(path("one/labels.csv")) as one, open(path("two/labels.csv")) as two:
            same = same and one.read().startswith(two.read())
        check(f"{name}: more rows begin with the same pictures", same)
    done = run("generate", "poses", "--output", "x", expect=1)
    check("a mistyped name gets a suggestion", "did you mean 'pose'" in done.stderr, done.stderr.strip())
    run("generate", "pose", "--rows", "90", "--seed", "5", "--output", "pose")


def training(output, *more, data="pose"):
    with open(path("config.json"), "w") as file:
        json.dump(CONFIG, file)
    return ["train", "--config", path("config.json"), "--data", path(data), "--output", path(output), *more]


def same_bytes():
    digests = []
    for threads in ("1", "2", "3"):
        run(*training("threads" + threads, "--threads", threads))
        digests.append(digest(f"threads{threads}"))
    check("1, 2 and 3 threads give the same model", len(set(digests)) == 1, " ".join(digests))
    trainer.stop_after(training("killed", "--set", "training.checkpoint_epochs=1"), 3, signal.SIGKILL)
    run("train", "--resume", path("killed"))
    check("a run that was killed goes on to the same model", digest("killed") == digests[0])
    run(*training("plain", "--set", "data.augment=null"))
    check("without augment it is another one", digest("plain") != digests[0])


def judge():
    figures = path("figures.json")
    run("evaluate", "--model", path("threads1/model.safetensors"), "--data", path("pose"), "--output", figures, "--report",
        path("report.html"), "--num-samples", "256")
    with open(figures) as file:
        check("evaluate judges images", json.load(file)["rows"] == 90)
    run("predict", "--model", path("threads1/model.safetensors"), "--data", path("pose"), "--output", path("all.csv"))
    one = run("predict", "--model", path("threads1/model.safetensors"), "--input", path("pose/images/000000.png")).stdout
    with open(path("all.csv")) as file:
        rows = list(csv.DictReader(file))
    check("predict answers for a folder", len(rows) == 90 and "yaw_true" in rows[0], len(rows))
    check("and the same for one file", f"yaw  mean {float(rows[0]['yaw_mean']):.4g}" in one, one.strip().split("\n")[1])
    done = run("refine", "--model", path("threads1/model.safetensors"), "--data", path("pose"), expect=1)
    check("refine says that it takes no images", "takes images" in done.stderr, done.stderr.strip())
    done = run("inspect", path("threads1/model.safetensors"))
    check("inspect shows what it was trained on", "pose" in done.stdout)


def bad_files():
    with open(path("pose/images/000007.png"), "r+b") as file:
        file.truncate(200)
    os.remove(path("pose/images/000011.png"))
    done = run(*training("bad"), expect=1)
    check("a bad file stops the run and is named", "000007.png" in done.stderr and "--max-bad-files" in done.stderr,
          done.stderr.strip().split("\n")[-1])
    done = run(*training("bad", "--max-bad-files", "2"))
    check("as many as are allowed are left out", "79 training rows, 9 for validation, 2 left out for a bad image" in done.stdout,
          done.stdout.split("\n")[0])
    check("and named", done.stderr.count("left out: ") == 2 and "000011.png" in done.stderr)
    with open(path("pose/labels.csv")) as file:
        rows = list(csv.reader(file))
    check("labels have a header and a row an image", len(rows) == 91 and rows[0] == ["file", "yaw", "pitch", "roll"])


def collapse():
    """A target that is nearly always the same is none for a density. Running statistics say so from the first epoch on, but
    they are not believed before 100 steps, in epoch 17."""
    shutil.copytree(path("pose"), path("same"))
    with open(path("pose", "labels.csv")) as file:
        rows = [row[0] for row in csv.reader(file)][1:]
    with open(path("same", "labels.csv"), "w") as file:
        file.write("file,yaw\n" + "".join(f"{name},{int(i % 45 == 0)}\n" for i, name in enumerate(rows)))
    settings = ["--set", 'data.targets=["yaw"]', "--set", "data.augment=null", "--set",
                "training.learning_rate=0.05", "--set", "training.collapse_std=0.1"]
    run(*training("early", *settings, "--set", "training.epochs=16", data="same"))
    done = run(*training("late", *settings, data="same"), expect=1)
    told = re.search(r"epoch (\d+): the proposal (collapses|runs away)", done.stderr)
    check("a proposal that fails is told of, once norms have settled", told and int(told[1]) >= 17, done.stderr.strip())


def wrong_settings():
    for key, words in (("data.images=folders", "did you mean 'folder'"), ("data.images=null", "set data.images"),
                       ('data.inputs=["file"]', "the input is the image"), ('data.augment.negate=["jaw"]', "is no target"),
                       ('data.augment.scales=[0]', "expected 0.1 to 10"), ("data.augment.flipp=true", "did you mean 'flip'"),
                       ("model.input.shape=[3,16,16]", "in"), ("data.image_column=path", "there is no column 'path'")):
        done = run("validate", path("config.json"), "--data", path("pose"), "--max-bad-files", "2", "--set", key, expect=1)
        check(f"{key} is refused", words in done.stderr, done.stderr.strip().split("\n")[-1])


def main():
    generate()
    same_bytes()
    judge()
    collapse()
    bad_files()
    wrong_settings()


sys.exit(trainer.exit_status(main))
