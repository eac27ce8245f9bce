"""evaluate_report.py TRAINER ROOT - what `evaluate` writes: a page that is well-formed, whole and safe whatever columns are
called, JSON of a stable shape, figures that follow from one another. Prints what it compares."""
import html.parser
import json
import os
import random
import re
import sys
import xml.etree.ElementTree as ElementTree

from trainer import Trainer

ROOT = os.path.abspath(sys.argv[2])
trainer = Trainer(sys.argv[1], "report")
check, path, run = trainer.check, trainer.path, trainer.run
HOSTILE = ["</title><script>alert(1)</script>", "\" onload=\"x", "a&b<c>", "'quoted'", "\u202eright to left"]
SVG = "{http://www.w3.org/2000/svg}"


def read(name):
    with open(path(name), encoding="utf-8") as file:
        return file.read()


class Page(html.parser.HTMLParser):
    """Tags, texts, and whether every tag that opens closes."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.attributes, self.balanced = [], [], [], [], True
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes += attrs

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        self.balanced = self.balanced and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def look(name):
    """The page of a file, with what must hold for every one."""
    text = read(name)
    page = Page(text)
    check(f"{name}: every tag is closed, for a parser of HTML", page.balanced and not page.open, page.open)
    root = ElementTree.fromstring(text)
    drawings = root.iter(SVG + "svg")
    images = [svg for svg in drawings if svg.get("role") == "img"]
    check(f"{name}: and for one of XML", len(images) > 0, f"{len(images)} charts")
    ids = [value for key, value in page.attributes if key == "id"]
    check(f"{name}: ids are unique, and what charts refer to exists", len(ids) == len(set(ids)) and
          all(part in ids for svg in images for part in svg.get("aria-labelledby").split()))
    check(f"{name}: every chart has a title and a text", all(svg.find(SVG + "title").text and svg.find(SVG + "desc").text
                                                             for svg in images))
    check(f"{name}: no script, nothing from elsewhere", "script" not in page.tags and "link" not in page.tags and
          not [pair for pair in page.attributes if pair[0] in ("src", "href") or pair[0].startswith("on")] and
          "@import" not in text and "url(" not in re.sub(r"url\(#[a-z0-9-]+\)", "", text))
    numbers = " ".join(value for key, value in page.attributes if key in ("d", "x", "y", "width", "height") and value)
    check(f"{name}: all drawing is by finite numbers", "nan" not in numbers and "inf" not in numbers)
    check(f"{name}: light and dark", "prefers-color-scheme:dark" in text)
    return page, text


def scalar():
    run("generate", "toy1", "--rows", "900", "--seed", "5", "--output", path("train.csv"))
    run("generate", "toy1", "--rows", "700", "--seed", "6", "--output", path("test.csv"))
    run("train", "--config", os.path.join(ROOT, "examples", "toy1", "config.json"), "--data", path("train.csv"), "--set",
        "training.samples=32", "--set", "training.epochs=12", "--set", "data.validation=0.1", "--set",
        "training.validation_samples=64", "--output", path("toy1"))
    words = ("evaluate", "--model", "toy1/model.safetensors", "--data", "test.csv", "--num-samples", "1024")
    told = run(*words, "--threads", "1", "--output", "1.json", "--report", "1.html").stdout
    run(*words, "--threads", "3", "--output", "3.json", "--report", "3.html")
    check("the same JSON for any number of threads", read("1.json") == read("3.json"))
    check("the same page but for the command", read("1.html").replace("1.json", "3.json").replace("1.html", "3.html") ==
          read("3.html"))
    check("the terminal has CRPS, coverage and the worst rows", "CRPS" in told and "90.0 %" in told and
          "worst rows: row " in told and len(told.splitlines()) < 16, f"{len(told.splitlines())} lines")
    page, text = look("1.html")
    for word in ("What the model says", "Calibration", "PIT", "Spread", "Sharpness", "Validation NLL", "Training loss",
                 "Rows it understood least", "Model and data"):
        check(f"the page has '{word}'", any(word in found for found in page.texts))
    check("and the command", any("ebm-trainer evaluate --model toy1/model.safetensors" in found for found in page.texts))
    check("its size is bounded", len(text) < 400_000, len(text))
    return words


def shape(found, known, where="figures"):
    """Keys that docs/evaluation.md lists, and the kinds of their values."""
    if isinstance(known, dict):
        check(f"{where} has the members it should have", isinstance(found, dict) and list(found) == list(known),
              "" if isinstance(found, dict) and list(found) == list(known) else found)
        for key, kind in known.items():
            if isinstance(kind, (dict, list)):
                shape(found[key], kind, f"{where}.{key}")
            elif not isinstance(found[key], kind):
                check(f"{where}.{key} is {kind}", False, found[key])
    else:
        check(f"{where} is a list", isinstance(found, list) and len(found) > 0)
        shape(found[0], known[0], where + "[0]")


NUMBER = (int, float)
SCHEMA = {
    "format_version": int, "protocol": str, "rows": int, "estimator": str, "num_samples": int, "seed": int,
    "dequantize_step": NUMBER, "nll": NUMBER, "nll_std_error": NUMBER,
    "targets": [{
        "name": str, "rmse": NUMBER, "mae": NUMBER, "mae_of_mode": (int, float, type(None)), "crps": NUMBER,
        "mean_std": NUMBER, "verdict": str,
        "intervals": [{"level": NUMBER, "coverage": NUMBER, "coverage_std_error": NUMBER, "mean_width": NUMBER,
                       "width_without_inputs": NUMBER}],
        "calibration": [{"level": NUMBER, "coverage": NUMBER}],
        "pit": {"bins": list, "mean": NUMBER, "ks": NUMBER, "ks_p_value": NUMBER, "ks_usual": NUMBER},
        "spread_groups": [{"rows": int, "predicted_std": NUMBER, "rmse": NUMBER}]}],
    "unreliable": {"rows": int, "share": NUMBER, "reasons": dict},
    "worst_rows": [{"row": int, "nll": NUMBER, "reason": (str, type(None)),
                    "targets": [{"level": NUMBER, "target": NUMBER, "mean": NUMBER, "std": NUMBER, "lower": NUMBER,
                                 "upper": NUMBER, "pit": NUMBER}]}],
}


def figures(words):
    shape(json.loads(read("1.json")), SCHEMA)
    found = json.loads(read("1.json"))
    target = found["targets"][0]
    check("PIT bins hold every row", sum(target["pit"]["bins"]) == found["rows"] == 700, target["pit"]["bins"])
    check("levels of the intervals and of the curve", [i["level"] for i in target["intervals"]] == [0.5, 0.8, 0.9, 0.95] and
          [round(20 * c["level"]) for c in target["calibration"]] == list(range(1, 20)))
    check("the curve has the intervals' coverage", target["calibration"][9]["coverage"] ==
          target["intervals"][0]["coverage"] and target["calibration"][17]["coverage"] == target["intervals"][2]["coverage"])
    groups = target["spread_groups"]
    check("groups hold every row, and their errors make the RMSE", sum(g["rows"] for g in groups) == 700 and
          abs(sum(g["rows"] * g["rmse"] ** 2 for g in groups) / 700 - target["rmse"] ** 2) < 1e-9)
    run(*words, "--row-nll", "nll.csv")
    nll = {int(line.split(",")[0]): float(line.split(",")[1]) for line in read("nll.csv").split()[1:]}
    worst = [(row["row"], row["nll"]) for row in found["worst_rows"]]
    check("the worst rows are those of the highest NLL", worst == sorted(nll.items(), key=lambda item: -item[1])[:10],
          worst[0])


def several_targets():
    random.seed(4)
    rows = [[random.gauss(0, 1) for _ in HOSTILE] for _ in range(400)]
    names = ",".join('"' + name.replace('"', '""') + '"' for name in HOSTILE)
    with open(path("two.csv"), "w", encoding="utf-8") as file:
        file.write(names + "\n" + "".join(f"{a},{b},{c},{a + d},{b * e}\n" for a, b, c, d, e in rows))
    with open(os.path.join(ROOT, "examples", "toy1", "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    config["data"] = {"file": path("two.csv"), "targets": HOSTILE[3:], "validation": 0.1}
    config["model"]["name"] = "two"
    config["model"]["description"] = "<img src=x onerror=alert(1)> & more"
    for net in ("mean_net", "log_variance_net"):
        config["model"]["proposal"][net][-1].pop("out")
    config["training"].update(epochs=3, samples=32, warmup_epochs=1)
    with open(path("two.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    run("train", "--config", path("two.json"), "--output", path("two"))
    run("evaluate", "--model", "two/model.safetensors", "--data", "two.csv", "--num-samples", "256", "--output",
        "two.out.json", "--report", "two.html")
    page, text = look("two.html")
    check("names of columns are text, not tags", "<script" not in text and "onload" not in [k for k, _ in page.attributes]
          and "img" not in page.tags)
    check("and are shown as they are", any("'quoted'" in found for found in page.texts) and
          any("<img src=x" in found for found in page.texts))
    check("but do not turn the text round", "\u202e" not in text and any("???right to left" in t for t in page.texts))
    names = [target["name"] for target in json.loads(read("two.out.json"))["targets"]]
    check("the JSON has a member a target", names == ["'quoted'", "???right to left"], names)
    ids = [value for key, value in page.attributes if key == "id"]
    check("PIT and calibration of each target", all(f"{chart}-{d}-title" in ids for chart in ("pit", "calibration")
                                                    for d in (0, 1)))


def protocols(words):
    for name in ("toy1", "set2"):
        run(*words[:3], "--protocol", name, "--output", "kl.json")
        found = json.loads(read("kl.json"))
        check(f"protocol {name}", found["protocol"] == name and found["kl"] > 0, found)
    plain = json.loads(read("1.json"))["nll"]
    run(*words[:5], "--protocol", "toy2", "--output", "grid.json", "--row-nll", "grid.csv")
    run(*words[:5], "--grid", "-12.5,12.5,8192", "--output", "grid2.json")
    found, again = json.loads(read("grid.json")), json.loads(read("grid2.json"))
    check("protocol toy2 is a grid", found["nll"] == again["nll"] and found["grid"]["points"] == 8192, found)
    check("a grid and draws agree", abs(found["nll"] - plain) < 0.05, (found["nll"], plain))
    check("--row-nll goes with a grid", len(read("grid.csv").split()) == 701)
    nll = {}
    for name in ("exact", "quadrature", "importance"):
        run(*words[:5], "--estimator", name, "--output", "by.json")
        by = json.loads(read("by.json"))
        nll[by["estimator"]] = by["nll"]
    check("exact, quadrature and draws agree", list(nll) == ["exact", "quadrature", "importance"] and
          max(nll.values()) - min(nll.values()) < 0.02, nll)
    narrow = run(*words[:5], "--grid", "-0.5,0.5,100").stdout
    check("targets outside of the grid are counted", "outside of the grid" in narrow, narrow.splitlines()[-1])
    for wrong, says in ((("--grid", "1,0,10"), "LOWER,UPPER,POINTS"), (("--protocol", "toy3"), "toy1, toy2 and set2"),
                        (("--estimator", "guess"), "exact, quadrature"),
                        (("--protocol", "toy1", "--report", "x.html"), "--report"),
                        (("--protocol", "toy2", "--grid", "0,1,10"), "--grid")):
        said = run(*words[:5], *wrong, expect=1).stderr.strip()
        check(f"refused: {' '.join(wrong)}", says in said, said[-90:])
    check("a refused page is not written", not os.path.exists(path("x.html")))


def ensemble():
    """Members are normalised one by one: on a grid and by integration the NLL is the same."""
    run("train", "--config", os.path.join(ROOT, "examples", "toy1", "config.json"), "--data", path("train.csv"), "--set",
        "training.samples=32", "--set", "training.epochs=10", "--set", "data.validation=0.1", "--set", "model.members=2",
        "--set", 'model.target={"lower": [-2], "upper": [2.5]}', "--output", path("members"))
    words = ("evaluate", "--model", "members/model.safetensors", "--data", "test.csv")
    run(*words, "--output", "members.json", "--report", "members.html")
    run(*words, "--grid", "-2,2.5,4001", "--output", "members.grid.json")
    plain, grid = json.loads(read("members.json"))["nll"], json.loads(read("members.grid.json"))["nll"]
    check("an ensemble by integration and on a grid", abs(plain - grid) < 2e-3, (plain, grid))
    look("members.html")


def main():
    words = scalar()
    figures(words)
    ensemble()
    several_targets()
    protocols(words)


sys.exit(trainer.exit_status(main))
