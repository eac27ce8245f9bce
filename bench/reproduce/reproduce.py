#!/usr/bin/env python3
"""The published experiments again: trains every row of rows.json and keeps its figures.

  bench/reproduce/reproduce.py --trainer build/trainer/ebm-trainer --work DIR [--data DIR] [--tables toy1,uci ...]
                               [--rows NAME,...] [--repeats N] [--jobs N] [--tune] [--list]

--work     where models and results.jsonl go; a run that stands there already is not repeated, so that a killed job
           goes on where it was
--data     folder with toy/ and uci/ (files and splits as bench/reproduce/README.md says). Without it the toy tables
           are generated, and uci is left out; pictures always are
--server   ebm-server, of the digits' sets of highest density (default: the one built beside the trainer)
--repeats  seeds or splits of each row, instead of the table's own number
--tune     uci: trains the candidates of rows.json on nine tenths of the training rows and evaluates them on the rest;
           test rows are not read
bench/reproduce/tables.py makes docs/RESULTS.md of results.jsonl. Needs Python 3 alone, for the rows by
PyTorch what torch_images.py names."""
import argparse
import concurrent.futures
import copy
import csv
import json
import os
import random
import struct
import subprocess
import sys
import threading
import time

import regions

HERE = os.path.dirname(os.path.abspath(__file__))
KEEP = threading.Lock()
JUDGES = 9


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trainer", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data")
    parser.add_argument("--server")
    parser.add_argument("--tables", default="")
    parser.add_argument("--rows", default="")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args()


def run(command, log):
    """Runs to the end; CPU seconds of the process and its children. Its words go to `log`."""
    with open(log, "ab") as words:
        process = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_utime + usage.ru_stime


def last_line(path):
    with open(path, "rb") as file:
        return file.read()[-300:].decode(errors="replace").strip().splitlines()[-1]


def machine():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    return f"{model}, {os.cpu_count()} cores"


class Lab:
    """Where things lie, and what has been done."""

    def __init__(self, arguments):
        self.trainer, self.work, self.data = arguments.trainer, arguments.work, arguments.data
        built = os.path.dirname(os.path.dirname(os.path.abspath(self.trainer)))
        self.server = arguments.server or os.path.join(built, "server", "ebm-server")
        os.makedirs(self.work, exist_ok=True)
        self.results = os.path.join(self.work, "results.jsonl")
        self.done = set()
        if os.path.exists(self.results):
            with open(self.results) as file:
                self.done = {key_of(json.loads(line)) for line in file}
        self.version = subprocess.run([self.trainer, "--version"], capture_output=True, text=True,
                                      check=True).stdout.split()[-1]

    def keep(self, result):
        with KEEP, open(self.results, "a") as file:
            file.write(json.dumps(result) + "\n")

    def table_file(self, table, which="file"):
        """The table to train on, or to test on: the published one where it lies, else generated rows."""
        if self.data and os.path.exists(os.path.join(self.data, table[which])):
            return os.path.join(self.data, table[which])
        if "generate" not in table:
            return None
        name = os.path.join(self.work, f"{table['generate']}_{which}")
        path, rows = (name, table["pictures"][which]) if "pictures" in table else (name + ".csv", 2000)
        if not os.path.exists(path):
            subprocess.run([self.trainer, "generate", table["generate"], "--rows", str(rows), "--seed",
                            "0" if which == "file" else "1", "--output", path], check=True, stdout=subprocess.DEVNULL)
        return path

    def prepare(self, table):
        """Makes what several runs share, before they begin side by side."""
        if "test" in table.get("pictures", {}):
            self.table_file(table, "test")
        if "left_out_by" in table:
            self.splits(table)
            self.splits(table, "left_out")

    def splits(self, table, which="splits"):
        """The file of test rows a repeat; "left_out": of the rows that are not trained on, where those are more."""
        if "left_out_by" in table:
            return self.splits_by_column(table["left_out_by"], self.table_file(table), which == "left_out")
        return os.path.abspath(os.path.join(self.data, table[which]))

    def splits_by_column(self, column, folder, with_judges):
        """Test rows of repeat i: those whose number in the column ends in i, so that rows of one number stay together; with
        judges also those whose number ends in JUDGES, by which models are calibrated."""
        path = os.path.join(self.work, os.path.basename(folder) + (".left_out.txt" if with_judges else ".test_splits.txt"))
        if not os.path.exists(path):
            with open(os.path.join(folder, "labels.csv")) as file:
                last = [int(row[column]) % 10 for row in csv.DictReader(file)]
            write_lines(path, [[i for i, digit in enumerate(last) if digit == split or (with_judges and digit == JUDGES)]
                               for split in range(10)])
        return os.path.abspath(path)


def key_of(task):
    return task["table"], task["row"], task["repeat"]


def settings(*maps):
    merged = {}
    for each in maps:
        merged.update(each or {})
    return [word for key, value in merged.items() for word in ("--set", f"{key}={json.dumps(value)}")]


def has_splits(table):
    return "splits" in table or "left_out_by" in table


def merged(config, *maps):
    """The configuration as --set would change it."""
    config = copy.deepcopy(config)
    for key, value in ((key, value) for each in maps for key, value in (each or {}).items()):
        *path, last = key.split(".")
        inside = config
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = value
    return config


def train_peer(lab, task, table, row, folder):
    """The same configuration by PyTorch, which evaluates as well."""
    with open(os.path.join(HERE, "configs", row["config"] + ".json")) as file:
        config = merged(json.load(file), table.get("set"), row.get("set"))
    with open(folder + ".config.json", "w") as file:
        json.dump(config, file)
    command = [row["peer"], os.path.join(HERE, "torch_images.py"), "--config", folder + ".config.json", "--data",
               task["file"], "--test", lab.table_file(table, "test"), "--seed", str(task["repeat"]), "--output",
               folder + ".json"]
    begin = time.monotonic()
    code, cpu = run(command, folder + ".log")
    return code, cpu, time.monotonic() - begin


def join(lab, task, row, folder):
    """The models of all repeats of another row as an ensemble."""
    os.makedirs(folder, exist_ok=True)
    others = os.path.join(lab.work, "runs", task["table"], row["join"])
    models = [word for i in range(row["members"])
              for word in ("--model", os.path.join(others, str(i), "model.safetensors"))]
    begin = time.monotonic()
    code, cpu = run([lab.trainer, "join", *models, "--output", os.path.join(folder, "model.safetensors")], folder + ".log")
    return code, cpu, time.monotonic() - begin


def calibrate(lab, task, table, row, folder):
    """Another row's model of the same repeat at the temperature that its validation rows choose."""
    other = os.path.join(lab.work, "runs", task["table"], row["calibrate"], str(task["repeat"]))
    if row.get("peer"):  # its own program has done that already
        with open(other + ".json") as found, open(folder + ".json", "w") as file:
            json.dump(json.load(found)["calibrated"], file)
        return 0, 0.0, 0.0
    os.makedirs(folder, exist_ok=True)
    model = os.path.join(folder, "model.safetensors")
    if os.path.exists(model):
        os.remove(model)
    which = ["--split-file", lab.splits(table), "--split-index", str(JUDGES)] if "left_out_by" in table else ["--held-out"]
    begin = time.monotonic()
    code, cpu = run([lab.trainer, "calibrate", "--model", os.path.join(other, "model.safetensors"), "--data", task["file"],
                     *which, "--threads", "1", "--output", model], folder + ".log")
    return code, cpu, time.monotonic() - begin


def train(lab, task, table, row, folder):
    """Trains one repeat. A seed a repeat, or a split a repeat."""
    if "join" in row:
        return join(lab, task, row, folder)
    if "calibrate" in row:
        return calibrate(lab, task, table, row, folder)
    config = os.path.join(HERE, "configs", row["config"] + ".json")
    own = {"training.seed": task["repeat"]}
    if has_splits(table):
        own = {"data.split_file": lab.splits(table, "left_out" if "left_out" in table or "left_out_by" in table else "splits"),
               "data.split_index": task["repeat"], "training.seed": 0}
    if row.get("peer"):
        return train_peer(lab, task, table, row, folder)
    command = [lab.trainer, "train", "--config", config, "--data", task["file"], "--threads", "1", "--output", folder,
               "--overwrite"] + settings(table.get("set"), row.get("set"), own)
    if {**table.get("set", {}), **row.get("set", {})}.get("model.members", 1) > 1:
        command += ["--jobs", "1"]
    begin = time.monotonic()
    code, cpu = run(command, folder + ".log")
    return code, cpu, time.monotonic() - begin


def recorded(path):
    """What a model file tells of its training."""
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        return json.loads(json.loads(file.read(length))["__metadata__"]["config"])["training"]


def evaluate(lab, task, table, row, folder):
    """Figures of `evaluate`, or of the protocol that the table names."""
    out = folder + ".json"
    command = [lab.trainer, "evaluate", "--model", os.path.join(folder, "model.safetensors"), "--threads", "1",
               "--output", out]
    if "protocol" in table:
        command += ["--protocol", table["protocol"]]
    if "test" in table:
        command += ["--data", lab.table_file(table, "test")]
    elif has_splits(table):
        command += ["--data", task["file"], "--split-file", lab.splits(table), "--split-index", str(task["repeat"])]
    code = 0 if row.get("peer") else run(command, folder + ".log")[0]
    if code != 0:
        return None
    with open(out) as file:
        found = json.load(file)
    if "calibrate" in row and not row.get("peer"):
        found["temperature"] = recorded(os.path.join(folder, "model.safetensors"))["calibration"]["temperature"]
    if table.get("regions"):
        with open(lab.splits(table)) as file:
            numbers = [int(word) for word in file.readlines()[task["repeat"]].split()]
        found["regions"] = regions.by_digit(lab.server, os.path.join(folder, "model.safetensors"), task["file"], numbers,
                                            os.path.join(HERE, "..", "..", "examples", "digits", "digits_images.npy"))
    return found


def write_lines(path, lines):
    with open(path, "w") as file:
        file.writelines(" ".join(map(str, rows)) + "\n" for rows in lines)


def tuning_splits(lab, name, table):
    """Split files for choosing settings: rows that no candidate trains on (a tenth of the training rows, and the test
    rows), and those of them that judge it."""
    with open(os.path.join(lab.data, table["file"])) as file:
        n = sum(1 for _ in file) - 1
    with open(os.path.join(lab.data, table["splits"])) as file:
        tests = [sorted(map(int, line.split())) for line in file]
    judges = []
    for i, test in enumerate(tests):
        training = sorted(set(range(n)) - set(test))
        judges.append(sorted(random.Random(i).sample(training, len(training) // 10)))
    paths = [os.path.join(lab.work, f"{name}_{which}.txt") for which in ("left_out", "judge")]
    write_lines(paths[0], [sorted(test + judge) for test, judge in zip(tests, judges)])
    write_lines(paths[1], judges)
    return [os.path.abspath(path) for path in paths]


def do(lab, task, table, row):
    folder = os.path.join(lab.work, "runs", task["table"], task["row"], str(task["repeat"]))
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    if os.path.exists(folder + ".log"):
        os.remove(folder + ".log")
    code, cpu, wall = train(lab, task, table, row, folder)
    result = {**{k: task[k] for k in ("table", "row", "repeat")}, "version": lab.version, "machine": machine(),
              "cpu_s": round(cpu, 2), "wall_s": round(wall, 2)}
    if code != 0:
        result["failed"] = last_line(folder + ".log")
    else:
        result["figures"] = evaluate(lab, task, table, row, folder)
        if result["figures"] is None:
            result["failed"] = last_line(folder + ".log")
    lab.keep(result)
    return result


def tasks_of(lab, recipes, arguments):
    wanted_tables = [name for name in arguments.tables.split(",") if name]
    wanted_rows = [name for name in arguments.rows.split(",") if name]
    for name, table in recipes["tables"].items():
        if wanted_tables and not any(name == w or name.startswith(w + "_") for w in wanted_tables):
            continue
        file = lab.table_file(table)
        if file is None:
            print(f"{name}: {table['file']} is not there, left out", file=sys.stderr)
            continue
        lab.prepare(table)
        rows = table.get("candidates", []) if arguments.tune else table["rows"]
        if arguments.tune and rows:
            left_out, judge = tuning_splits(lab, name, table)
            table = {**table, "left_out": left_out, "splits": judge}
        for row in rows:
            if wanted_rows and row["name"] not in wanted_rows:
                continue
            n = arguments.repeats or row.get("repeats", table["repeats"])
            for repeat in range(min(n, table.get("at_most", n))):
                task = {"table": name + ("_tune" if arguments.tune else ""), "row": row["name"], "repeat": repeat,
                        "file": file}
                if key_of(task) not in lab.done:
                    yield task, table, row


def say(result, left):
    short = result.get("failed") or {
        k: round(v, 4) for k, v in (result["figures"] or {}).items() if isinstance(v, float)}
    print(f"{result['table']} {result['row']} {result['repeat']}: {result['cpu_s']} s, {short}; {left} left", flush=True)


def stage_of(row):
    return next((word for word in ("join", "calibrate") if word in row), "")


def run_all(lab, tasks, jobs):
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(do, lab, task, table, row) for task, table, row in tasks]
        for i, future in enumerate(concurrent.futures.as_completed(futures)):
            say(future.result(), len(futures) - i - 1)


def main():
    arguments = read_arguments()
    lab = Lab(arguments)
    with open(os.path.join(HERE, "rows.json")) as file:
        recipes = json.load(file)
    # repeat by repeat, so that a run that is stopped early has something of every row
    tasks = sorted(tasks_of(lab, recipes, arguments), key=lambda task: task[0]["repeat"])
    if arguments.list:
        for task, _, _ in tasks:
            print(*key_of(task))
        return
    for stage in ("", "join", "calibrate"):  # what is made of another row's models comes when those are there
        run_all(lab, [task for task in tasks if stage_of(task[2]) == stage], arguments.jobs)


if __name__ == "__main__":
    main()
