#!/usr/bin/env python3
"""docs/RESULTS.md out of results.jsonl, as bench/reproduce/reproduce.py wrote it.

  bench/reproduce/tables.py --results DIR/results.jsonl [--results MORE ...] [--output docs/RESULTS.md] [--check]

A later line of the same run replaces an earlier one. Every figure in the tables is a mean over repeats; what did not
train is counted, never left out in silence. --check writes nothing: exit status 1 when the output is not what would be
written."""
import argparse
import collections
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
FIT_FAILED = 0.12  # KL above which a net on toy 1 did not fit

# Published figures to stand beside ours. II: arXiv 2005.01698, figure 2; the others: papers of the methods named.
SWEEP_PUBLISHED = {"ml_is": {1: "3.15", 4: "1.45", 16: "0.13", 1024: "0.06-0.09"},
                   "kld_is": {1: "2.5", 4: "0.95", 16: "0.42", 1024: "0.06-0.09"},
                   "nce": {1: "0.5", 4: "0.2", 16: "0.12", 1024: "0.06-0.09"},
                   "nce_plus": {1: "0.4", 4: "0.2", 16: "0.10", 1024: "0.06-0.09"}}
UCI_PUBLISHED = {"concrete": ("3.06", "3.04", "2.83"), "energy": ("1.38", "0.60", "0.53"),
                 "power": ("2.79", "2.79", "2.60"), "protein": ("2.83", "2.81", "2.63"),
                 "wine_red": ("0.94", "0.91", "0.89"), "yacht": ("1.18", "0.20", "0.16")}


def load(paths):
    """table -> row -> repeat -> result"""
    results = collections.defaultdict(lambda: collections.defaultdict(dict))
    for path in paths:
        with open(path) as file:
            for line in file:
                one = json.loads(line)
                results[one["table"]][one["row"]][one["repeat"]] = one
    return results


def figures(runs, key):
    found = []
    for run in runs.values():
        value = run.get("figures") or {}
        for part in key.split("."):
            value = value[int(part)] if isinstance(value, list) else (value or {}).get(part)
        if isinstance(value, (int, float)):
            found.append(value)
    return found


def mean_sd(values, digits=3):
    if not values:
        return "-"
    spread = f" ({statistics.stdev(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def failures(runs):
    return sum("failed" in run for run in runs.values())


def cpu(runs):
    return f"{statistics.median(run['cpu_s'] for run in runs.values()):.1f}"


def toy_table(rows, table, key):
    """A line a method; by KL also how many nets did not fit. No figure: no model, or an infinite KL."""
    by_kl = key == "kl"
    heads = ["method", "KL, mean (sd)" if by_kl else "test NLL, mean (sd)", "best 5", "largest", "runs"]
    heads += [f"above {FIT_FAILED}"] if by_kl else []
    heads += ["no figure", "CPU s a run"]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in table["rows"]:
        runs = rows.get(row["name"])
        if not runs:
            continue
        values = sorted(figures(runs, key))
        cells = [f"`{row['name']}`", mean_sd(values),
                 f"{statistics.fmean(values[:5]):.3f}" if len(values) >= 5 else "-",
                 f"{values[-1]:.3f}" if values else "-", str(len(runs))]
        cells += [str(sum(v > FIT_FAILED for v in values))] if by_kl else []
        lines.append("| " + " | ".join(cells + [str(len(runs) - len(values)), cpu(runs)]) + " |")
    return lines


def sweep_table(rows, key):
    draws = (1, 4, 16, 64, 1024)
    lines = ["| method | " + " | ".join(f"M = {m}" for m in draws) + " |", "| --- |" + " --- |" * len(draws)]
    for method, published in SWEEP_PUBLISHED.items():
        cells = []
        for m in draws:
            runs = rows.get(f"{method}_{m}", {})
            lost = f", {failures(runs)} without a model" if failures(runs) else ""
            cells.append(mean_sd(figures(runs, key)) + lost)
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
        lines.append("| as published | " + " | ".join(published.get(m, "") for m in draws) + " |")
    return lines


def with_error(values, digits=3):
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else "-"
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.{digits}f} ± {error:.{digits}f}"


def uci_lines(results, recipes):
    lines = ["| set | method | test NLL | RMSE | CRPS | 50 % holds | 90 % holds | splits | CPU s a split |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for name, table in recipes.items():
        if not name.startswith("uci_") or name not in results:
            continue
        for row in table["rows"]:
            runs = results[name].get(row["name"])
            if not runs:
                continue
            lines.append(
                f"| {name[4:]} | `{row['name']}` | {with_error(figures(runs, 'nll'))} | "
                f"{with_error(figures(runs, table['rmse']))} | {with_error(figures(runs, table['crps']))} | "
                f"{mean_sd(figures(runs, table['coverage50']))} | {mean_sd(figures(runs, table['coverage90']))} | "
                f"{len(runs) - failures(runs)} of {len(runs)} | {cpu(runs)} |")
    lines += ["", "Published NLL (deep ensembles, NGBoost, the best seen; other tuning than ours):", "",
              "| set | deep ensembles | NGBoost | best seen |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | " + " | ".join(values) + " |" for name, values in UCI_PUBLISHED.items()]
    return lines


T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 10: 2.262, 20: 2.093}  # Student's, of so many runs


def with_interval(values, digits=3):
    """Mean ± half of the 95 % interval that so many runs give."""
    if len(values) not in T_975:
        return mean_sd(values, digits)
    half = T_975[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.{digits}f} ± {half:.{digits}f}"


def image_lines(rows, table):
    lines = ["| method | T | test NLL ± 95 %, runs | ± 95 %, test rows | MAE | 50 % holds | 90 % holds | runs | CPU s a run |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in table["rows"]:
        runs = rows.get(row["name"])
        if not runs:
            continue
        errors = figures(runs, "nll_std_error")
        lines.append(
            f"| `{row['name']}` | {mean_sd(figures(runs, 'temperature'), 2) if 'calibrate' in row else ''} | "
            f"{with_interval(figures(runs, 'nll'))} | {1.96 * statistics.fmean(errors):.3f} | "
            f"{mean_sd(figures(runs, 'targets.0.mae'), 2)} | {mean_sd(figures(runs, 'targets.0.intervals.0.coverage'))} | "
            f"{mean_sd(figures(runs, 'targets.0.intervals.2.coverage'))} | {len(runs) - failures(runs)} of {len(runs)} | "
            f"{cpu(runs)} |")
    return lines


def region_lines(rows, table):
    """By digit, over all runs: how many sets have several intervals."""
    groups = ["ambiguous", "others", "nearer turned"] + [str(digit) for digit in range(10)]
    lines = ["| method | | " + " | ".join(groups) + " |", "| --- | --- |" + " --- |" * len(groups)]
    for row in table["rows"]:
        counts = collections.defaultdict(collections.Counter)
        for run in rows.get(row["name"], {}).values():
            for group, found in ((run.get("figures") or {}).get("regions") or {}).items():
                counts[group].update(found)
        if not counts:
            continue
        if len(lines) == 2:
            lines.append("| | test rows | " + " | ".join(str(counts[group]["rows"]) for group in groups) + " |")
        for name, share in (("two intervals or more", lambda c: (c["several"], c["rows"])),
                            ("hold the angle", lambda c: (c["inside"], c["rows"])),
                            ("hold it where they are one interval", lambda c: (c["one_inside"], c["rows"] - c["several"]))):
            cells = [f"{100 * part / max(1, whole):.0f} %" for part, whole in (share(counts[group]) for group in groups)]
            lines.append(f"| `{row['name']}` | {name} | " + " | ".join(cells) + " |")
    return lines


def image_text(results, recipes):
    out = []
    for name, table in recipes.items():
        if name.startswith("image_") and name in results:
            out += ["", f"## {table['title']}", "", table["note"], ""] + image_lines(results[name], table)
            if table.get("regions"):
                out += ["", table["regions"], ""] + region_lines(results[name], table)
    return out


def text_of(results, recipes, command):
    every = [run for rows in results.values() for runs in rows.values() for run in runs.values()]
    versions, machines = (sorted({run[key] for run in every}) for key in ("version", "machine"))
    with open(os.path.join(HERE, "introduction.md")) as file:
        out = [file.read().rstrip(), "",
               f"Made by `{command}`; trained by {', '.join(versions)} on {' and '.join(machines)}."]
    for name, table in recipes.items():
        if name.startswith(("uci_", "image_")) or name not in results:
            continue
        out += ["", f"## {table['title']}", "", table.get("note", "").strip(), ""] if table.get("note") else [
            "", f"## {table['title']}", ""]
        if name.startswith("sweep_"):
            out += sweep_table(results[name], "kl")
        else:
            out += toy_table(results[name], table, "nll" if table["protocol"] == "toy2" else "kl")
    if any(name.startswith("uci_") for name in results):
        with open(os.path.join(HERE, "uci.md")) as file:
            out += ["", "## Six UCI sets", "", file.read().rstrip(), ""] + uci_lines(results, recipes)
    out += image_text(results, recipes)
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", action="append", required=True)
    parser.add_argument("--output", default=os.path.join(ROOT, "docs", "RESULTS.md"))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with open(os.path.join(HERE, "rows.json")) as file:
        recipes = json.load(file)["tables"]
    text = text_of(load(arguments.results), recipes, "bench/reproduce/tables.py --results bench/reproduce/results.jsonl")
    if arguments.check:
        with open(arguments.output) as file:
            sys.exit(None if file.read() == text else f"{arguments.output} is not what these results make")
    with open(arguments.output, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
