#!/usr/bin/env python3
"""client_terminal.py EBM-CLIENT - the command line against the fake server: exit codes, texts, repetitions, time, size.
Standard library alone."""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
from fake_server import WRONG, serving  # noqa: E402
from harness import run_all  # noqa: E402

BUSY_S = 12  # what a busy machine may add; silence and drops take longer


def client(binary, *arguments, stdin=None, env=None, expect=0):
    """-> (standard output, standard error)"""
    result = subprocess.run([binary, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=60,
                            env={**os.environ, **(env or {})}, check=False)
    assert result.returncode == expect, f"{arguments}: exit {result.returncode}, not {expect}: {result.stderr[-500:]}"
    return result.stdout, result.stderr


def predict(binary, server, how, *options, expect=0):
    return client(binary, "predict", "--server", f"{server.url}/{how}", "--input", "1,2", *options, expect=expect)


def test_formats(binary):
    with serving() as server:
        base = ("--server", f"{server.url}/ok")
        out, _ = client(binary, "predict", *base, "--input", "1,2", "--input=-3,0.1", "--format", "csv")
        assert out == "row,mean,std,ess_ratio,reliable,reason\n0,3,0.5,0.7890625,1,\n1,-2.9,0.5,0.7890625,1,\n", out
        out, _ = client(binary, "predict", *base, "--input", "1,2", "--format", "json", "--id", 'a "b"', "--seed", 0)
        answer = json.loads(out)
        assert answer["id"] == 'a "b"' and answer["seed"] == 0 and answer["predictions"][0]["mean"] == [3], answer
        assert answer["predictions"][0]["diagnostics"]["reason"] is None, answer
        out, _ = client(binary, "predict", "--input", "1,2", env={"EBM_SERVER": f"{server.url}/ok"})
        assert out.splitlines()[1].split() == ["0", "3", "0.5", "0.789062", "yes"], out
        out, _ = client(binary, "sample", *base, "--input", "1", "--num-samples", 3, "--format", "csv")
        assert out == "row,sample\n0,1\n0,2\n0,3\n", out
        rows = ("--input", "1", "--input", "2", "--steps", 2)
        out, _ = client(binary, "refine", *base, *rows, "--format", "csv")
        assert out == "row,mode,unnormalized_log_prob,converged,steps\n0,1.5,-1,1,1\n1,3.5,-2,0,2\n", out
        out, _ = client(binary, "refine", *base, *rows)
        assert out.splitlines()[2].split() == ["1", "3.5", "-2", "no", "2"], out
        out, _ = client(binary, "refine", *base, *rows, "--format", "json", "--trajectory")
        assert [row["trajectory"] for row in json.loads(out)["predictions"]] == [[[1], [1.5]], [[2], [2.75], [3.5]]], out
        out, _ = client(binary, "density", *base, "--input", "1", "--input", "2", "--targets", "1;2.5", "--format", "csv")
        assert out == "row,target,log_prob\n0,1,-1\n0,2.5,-2.5\n1,1,-1\n1,2.5,-2.5\n", out
        out, _ = client(binary, "density", *base, "--input", "1", "--input", "2", "--targets", "1", "--targets", "2")
        assert json.loads(server.requests("ok")[-1]["body"])["targets"] == [[[1]], [[2]]]
        out, _ = client(binary, "density", *base, "--input", "1", "--targets", "0;1;2;3", "--plot")
        assert "row 0, highest p(y)" in out and out.count("█") > 20 and "└" in out, out
        for words, fragment in ((["models"], "bad"), (["models", "--model", "m"], "input         1  b"), (["health"], "true")):
            out, _ = client(binary, *words, *base)
            assert fragment in out, out
            assert json.loads(client(binary, *words, *base, "--format", "json")[0])
            assert "," in client(binary, *words, *base, "--format", "csv")[0].splitlines()[0]


def test_every_field_is_sent(binary):
    with serving() as server:
        base = ("--server", f"{server.url}/ok", "--input", "1,2", "--model", "m", "--version", 3, "--estimator", "mixture",
                "--draws", "independent", "--num-samples", 9, "--seed", 5, "--timeout-ms", 70, "--priority", 2, "--id", "i")
        shared = {"inputs": [[1, 2]], "model": "m", "version": 3, "estimator": "mixture", "draws": "independent",
                  "num_samples": 9, "seed": 5, "timeout_ms": 70, "priority": 2, "id": "i"}
        client(binary, "predict", *base, "--outputs", "mean,std", "--quantiles", "0.1,0.9", "--interval-level", 0.5,
               "--interval-kind", "equal_tailed")
        client(binary, "sample", *base, "--num-proposals", 44, "--resample", "false")
        client(binary, "density", *base, "--outputs", "log_prob", "--targets", "1;2")
        client(binary, "sample", "--server", f"{server.url}/ok", "--input", "1", "--steps", 7, "--step-length", "0.5,2")
        climb = ("refine", "--server", f"{server.url}/ok", "--input", "1", "--input", "2", "--steps", 4, "--step-length", 0.25,
                 "--decay", 0.75)
        client(binary, *climb, "--initial", "1,2;3,4", "--initial", "5,6;7,8", "--trajectory", "--format", "json")
        client(binary, *climb, "--starts", 3, "--num-samples", 99)
        sent = [json.loads(entry["body"]) for entry in server.requests("ok")]
        assert sent[0] == {**shared, "outputs": ["mean", "std"], "quantiles": [0.1, 0.9],
                           "interval": {"kind": "equal_tailed", "level": 0.5}}, sent[0]
        assert sent[1] == {**shared, "num_proposals": 44, "resample": False}, sent[1]
        assert sent[2] == {**shared, "outputs": ["log_prob"], "targets": [[[1], [2]]]}, sent[2]
        assert sent[3] == {"inputs": [[1]], "refine": {"steps": 7, "step_length": [0.5, 2]}}, sent[3]
        climb = {"inputs": [[1], [2]], "steps": 4, "step_length": [0.25], "decay": 0.75}
        assert sent[4] == {**climb, "initial": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]], "trajectory": True}, sent[4]
        assert sent[5] == {**climb, "starts": 3, "num_samples": 99}, sent[5]
        client(binary, "density", "--server", f"{server.url}/refused", "--input", "1", "--grid", "-1:2.5:4", expect=2)
        assert json.loads(server.requests("refused")[0]["body"])["grid"] == {"lower": -1, "upper": 2.5, "points": 4}


def test_images_are_sent_whole(binary):
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        paths, base = [], ("--server", f"{server.url}/ok", "--block-rows", 3)
        for n in (1, 2, 3, 5000):  # what base64 fills up, and what is read in pieces
            paths.append(os.path.join(folder, f"{n}.png"))
            with open(paths[-1], "wb") as file:
                file.write(bytes(i * 37 % 256 for i in range(n)))
        images = [word for path in paths for word in ("--image", path)]
        client(binary, "predict", *base, *images)
        client(binary, "density", *base, *images[:4], "--targets", "1", "--targets", "2")
        sent = [json.loads(entry["body"]) for entry in server.requests("ok")]
        rows = []
        for path in paths:
            with open(path, "rb") as file:
                rows.append({"b64": base64.b64encode(file.read()).decode()})
        assert [body["inputs"] for body in sent] == [rows[:3], rows[3:], rows[:2]], [str(body)[:80] for body in sent]
        with open(paths[0], "wb"):
            pass
        for words, fragment in ((images[:2], "1.png: empty"), (["--image", folder], "directory"), (["--image", "none"], "No such"),
                                ([*images[2:4], "--input", "1"], "not both"), ([*images[2:4], "--data", "-"], "not both")):
            _, err = client(binary, "predict", *base, *words, expect=1)
            assert fragment in err, f"{words}: no '{fragment}' in {err}"
        assert len(server.requests("ok")) == 3, "something was asked"


def test_a_large_csv_goes_in_blocks(binary):
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "large.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write('\ufeffb,"other, one",a\r\n')
            file.writelines(f'{i},"x, ""{i}""",0.5\r\n' for i in range(1000))
        out, _ = client(binary, "predict", "--server", f"{server.url}/ok", "--data", path, "--block-rows", 300, "--format",
                        "csv", "--seed", 2**53 - 2)
        lines = out.splitlines()
        assert len(lines) == 1001 and lines[1000].startswith("999,999.5,0.5"), lines[-1]
        sent = [json.loads(entry["body"]) for entry in server.requests("ok") if entry["path"] == "/predict"]
        assert [len(body["inputs"]) for body in sent] == [300, 300, 300, 100]
        assert [body["seed"] for body in sent] == [2**53 - 2, 2**53 - 1, 0, 1], "a seed for each block"
        assert sent[0]["inputs"][1] == [0.5, 1], "columns in the model's order"
        assert len({entry["connection"] for entry in server.requests("ok")}) == 1, "one connection for all"
        with open(path, encoding="utf-8") as file:
            out, _ = client(binary, "predict", "--server", f"{server.url}/ok", "--data", "-", "--format", "json",
                            stdin=file.read())
        assert [row["mean"] for row in json.loads(out)["predictions"]] == [[i + 0.5] for i in range(1000)]


def test_bad_usage_is_said_and_nothing_sent(binary):
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        files = {"empty": "", "bare": "a,b\n", "short": "a,b\n1,2\n3\n", "word": "a,b\n1,2\n\n3,x\n", "other": "a,c\n1,2\n",
                 "nan": "a,b\nnan,1\n", "hex": "a,b\n0x10,1\n", "numbers": "1,2\n3,4\n", "inf": "a,b\n1e999,1\n"}
        for name, text in files.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        data = lambda name: ("predict", "--data", os.path.join(folder, name))  # noqa: E731
        row = ("predict", "--input", "1")
        for words, fragment in (
                (("nonsense",), "unknown command"), (("predict",), "expected rows"), (("predict", "x"), "too many"),
                ((*row, "--nonsense"), "--help' lists"), ((*row, "--seed"), "needs a value"),
                ((*row, "--seed", "-1"), "whole number from 0"), ((*row, "--seed", "9007199254740992"), "to 900719925474099"),
                ((*row, "--input", "1,2"), "expected 1 as the first"), (("predict", "--input", "1,nan"), "finite numbers"),
                (("predict", "--input", ""), "finite numbers"), ((*row, "--data", "-"), "not both"),
                ((*row, "--format", "xml"), "table, json or csv"), ((*row, "--model", "a", "--model", "b"), "stands twice"),
                ((*row, "--quantiles", "0.1,"), "finite numbers"), ((*row, "--interval-level", "much"), "expected a number"),
                (("sample", "--input", "1", "--resample", "maybe"), "true or false"), ((*row, "--plot"), "unknown option"),
                (("density", "--input", "1", "--plot=1"), "takes no value"),
                (("density", "--input", "1", "--grid", "1:2"), "LOWER:UPPER:POINTS"),
                (("density", "--input", "1", "--grid", "1:2:2.5"), "LOWER:UPPER:POINTS"),
                (("density", "--input", "1", "--grid", "1:2:9", "--targets", "1"), "not both"),
                (("density", "--input", "1", "--targets", "1", "--targets", "2"), "once for every --input"),
                (("density", "--input", "1", "--targets", "1;2,3"), "expected 1 as the first"),
                (("density", "--input", "1", "--targets", "1;2", "--format", "csv", "--plot"), "not both"),
                (("refine", "--input", "1", "--trajectory"), "--format json"), (("refine", "--input", "1", "--draws", "x"), "unknown"),
                (("refine", "--input", "1", "--decay", "x"), "expected a number"),
                (("refine", "--input", "1", "--initial", "1", "--initial", "2"), "--initial once for all rows"),
                (data("none"), "No such file"), (data("empty"), "empty"), (data("bare"), "no rows"),
                (data("short"), "line 3: 1 fields, expected 2"), (data("word"), "line 4: column 'b' is 'x'"),
                (data("other"), "no column 'b'"), (data("nan"), "line 2: column 'a'"), (data("hex"), "column 'a'"),
                (data("numbers"), "names of the columns"), (data("inf"), "column 'a'")):
            _, err = client(binary, words[0], "--server", f"{server.url}/ok", *words[1:], expect=1)
            assert fragment in err, f"{words}: no '{fragment}' in {err}"
        assert not [entry for entry in server.requests("ok") if entry["body"]], "something was asked"


def test_bad_addresses(binary):
    for url in ("ftp://127.0.0.1/", "http://", "file:///etc/passwd", "http://127.0.0.1:1/?a=b", "http://127.0.0.1:99999"):
        _, err = client(binary, "health", "--server", url, expect=1)
        assert "no address of a server" in err, err
    for url in ("http://127.0.0.1:1", "http://nowhere.invalid"):
        client(binary, "health", "--server", url, expect=3)


def test_refusals(binary):
    with serving() as server:
        for how, fragments in (("refused", ("where: it is invalid", "status 400, invalid, request r-1")),
                               ("late", ("status 504, timeout, request r-1",)),
                               ("down,0", ("HTTP status 500 without", "request h-9")),
                               ("down,300000", ("HTTP status 500 without",))):
            _, err = predict(binary, server, how, expect=2)
            assert all(fragment in err for fragment in fragments), err
            assert len(server.requests(how)) == 1, "asked again"
        out, _ = client(binary, "health", "--server", f"{server.url}/unready", expect=2)
        assert out == "" and len(server.requests("unready")) == 1, "a probe is asked once"


def check_waits(server, how, *expected):
    """Between requests: never shorter, by chance a quarter longer; a busy machine adds to that."""
    times = [entry["time"] for entry in server.requests(how)]
    waits = [after - before for before, after in zip(times, times[1:])]
    assert len(waits) == len(expected), waits
    for wait, seconds in zip(waits, expected):
        assert 0.95 * seconds < wait < 1.25 * seconds + BUSY_S, (waits, expected)


def test_asked_again(binary):
    with serving() as server:
        out, _ = predict(binary, server, "busy,3,,a", "--format", "csv")
        assert out.splitlines()[1].startswith("0,3,"), out
        check_waits(server, "busy,3,,a", 0.1, 0.2, 0.4)
        predict(binary, server, "busy,1,2,b")
        check_waits(server, "busy,1,2,b", 2)
        _, err = predict(binary, server, "busy,9,,c", "--retries", 2, expect=2)
        assert "queue_full" in err and "asked 3 times" in err and len(server.requests("busy,9,,c")) == 3, err
        predict(binary, server, "busy,9,,d", "--retries", 0, expect=2)
        assert len(server.requests("busy,9,,d")) == 1

        def seconds_of(how):
            start = time.monotonic()
            predict(binary, server, how, "--call-timeout-ms", 4000, expect=2)
            assert len(server.requests(how)) == 1, "asked again"
            return time.monotonic() - start

        # a busy machine may take as long for another reason
        assert any(seconds_of(f"busy,9,3600,e{i}") < 4 for i in range(5)), "a wait that ends too late"
        _, err = predict(binary, server, "unready", "--retries", 1, expect=2)
        assert "status 503, not_ready" in err, err
        check_waits(server, "unready", 1)
        assert len({entry["connection"] for entry in server.requests("busy,3,,a")}) == 1, "one connection for all"


def test_what_is_no_answer(binary):
    with serving() as server:
        for how, code, fragment in (("garbage", 4, ""), ("html", 4, "not JSON"), ("half", 4, ""), ("broken", 4, "not JSON"),
                                    ("close", 3, "mpty reply")):
            _, err = predict(binary, server, how, expect=code)
            assert fragment in err and "server" in err, f"{how}: {err}"
            assert len(server.requests(how)) == 1, f"{how}: asked again"
        for how in ("silent", "drip"):
            start = time.monotonic()
            _, err = predict(binary, server, how, "--call-timeout-ms", 300, expect=3)
            assert 0.29 < time.monotonic() - start < BUSY_S, time.monotonic() - start
        _, err = predict(binary, server, "huge", "--max-answer-bytes", 1000000, expect=4)
        assert "larger than max_answer_bytes (1000000)" in err, err
        for k, body in enumerate(WRONG):
            out, err = client(binary, "predict", "--server", f"{server.url}/wrong,{k}", "--input", "1", "--input", "2",
                              expect=4)
            assert "expected" in err and out == "", (k, body, err)
            if isinstance(body, dict) and "seed" in body and len(body["predictions"]) == 2 and k > 14:
                assert "predictions[" in err, (k, body, err)
        assert "expected 1 rows, got 2" in client(binary, "predict", "--server", f"{server.url}/more", "--input", "1",
                                                  expect=4)[1]
        for words in (["models"], ["models", "--model", "m"], ["health"]):
            client(binary, *words, "--server", f"{server.url}/wrong,0", expect=4)
            client(binary, *words, "--server", f"{server.url}/wrong,4", expect=4)


def test_refinements_that_are_none(binary):
    with serving() as server:
        for how in ("more", "broken", "wrong,4"):
            client(binary, "refine", "--server", f"{server.url}/{how}", "--input", "1", "--input", "2", expect=4)


def test_unknown_members_and_nulls(binary):
    with serving() as server:
        out, _ = predict(binary, server, "odd", "--format", "csv")
        assert out.splitlines()[1] == "0,nan,0.5,0,not_finite", out
        out, _ = predict(binary, server, "odd", "--format", "json")
        assert json.loads(out)["predictions"][0] == {"mean": [None], "std": [0.5], "diagnostics": {
            "estimator": "mixture", "reliable": False, "reason": "not_finite"}}, out


def test_a_connection_that_the_server_closed(binary):
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.csv")
        with open(path, "w", encoding="utf-8") as file:
            file.write("a,b\n" + "1,2\n" * 8)
        client(binary, "predict", "--server", f"{server.url}/once", "--data", path, "--block-rows", 2)
        assert len([entry for entry in server.requests("once") if entry["path"] == "/predict"]) == 4


def test_help_and_completion(binary):
    for command in ("predict", "sample", "density", "refine", "models", "health"):
        out, _ = client(binary, command, "--help")
        assert f"usage: ebm-client {command}" in out and "exit status" in out and "--server URL" in out, out
    out, _ = client(binary, "--completion", "bash")
    script = out + "COMP_WORDS=(ebm-client density --gr); COMP_CWORD=2; _ebm_client; echo ${COMPREPLY[@]}\n" \
        "COMP_WORDS=(ebm-client predict --format c); COMP_CWORD=3; _ebm_client; echo ${COMPREPLY[@]}\n" \
        "COMP_WORDS=(ebm-client he); COMP_CWORD=1; _ebm_client; echo ${COMPREPLY[@]}\n"
    result = subprocess.run(["bash", "-u", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["--grid", "csv", "health"], result


def test_output_that_cannot_be_written(binary):
    with serving() as server, open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run([binary, "predict", "--server", f"{server.url}/ok", "--input", "1"], stdout=full,
                                stderr=subprocess.PIPE, text=True, check=False)
        assert result.returncode == 4 and "cannot be written" in result.stderr, result


if __name__ == "__main__":
    sys.exit(run_all(globals(), sys.argv[1]))
