"""train_examples.py TRAINER SERVER ROOT - the commands of examples/*/README.md, in order, with few rows and epochs: all that
begin with one of the programs, and curl's, of which the file and the query are sent. Prints what each said at its end."""
import glob
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Server  # noqa: E402

TRAINER, SERVER, ROOT = map(os.path.abspath, sys.argv[1:4])
ROWS = 40
QUICK = ["--set", "training.epochs=2", "--set", "training.warmup_epochs=1", "--set", "training.samples=16",
         "--set", "training.heads_only_epochs=0", "--set", "training.validation_samples=16"]
# LeakSanitizer dies in the digits training here, reading memory of threads (not with use_tls=0); other tests look for leaks.
WITHOUT_LEAKS = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
failures = 0


def check(what, holds, shown=""):
    global failures
    failures += not holds
    print(("ok      " if holds else "FAILED  ") + what + (f": {shown}" if shown != "" or not holds else ""), flush=True)


def commands(readme):
    """The indented lines that are one, `$ ` before it or not; a backslash at the end goes on with the next."""
    with open(readme, encoding="utf-8") as file:
        lines = file.read().replace("\\\n", " ").split("\n")
    stripped = [line.strip().removeprefix("$ ") for line in lines if line.startswith("    ")]
    return [shlex.split(line) for line in stripped if line.startswith(("build/", "curl "))]


def quick(words):
    if "--rows" in words:
        at = words.index("--rows") + 1
        words = words[:at] + [str(min(int(words[at]), ROWS))] + words[at + 1:]
    return words + QUICK if words[0] == "train" else words


def trained(words, folder):
    done = subprocess.run([TRAINER, *quick(words)], capture_output=True, text=True, cwd=folder, timeout=300,
                          env=WITHOUT_LEAKS)
    said = (done.stdout + done.stderr).strip().split("\n")[-1][:100]
    check(" ".join(words), done.returncode == 0, said if done.returncode == 0 else (done.stdout + done.stderr)[-600:])


class Repository:
    def __init__(self, path):
        self.path = path


def asked(words, folder, server):
    """curl [--data-binary @FILE | -d TEXT] [-H HEADER] URL"""
    url, body, headers = None, None, {}
    words = iter(words[1:])
    for word in words:
        if word in ("--data-binary", "-d"):
            body = next(words)
        elif word == "-H":
            name, value = next(words).split(": ")
            headers[name] = value
        elif word not in ("-s", "-sS"):
            url = word
    if body is not None and body.startswith("@"):
        path = os.path.join(folder, body[1:])
        if not os.path.exists(path):
            check(f"{body[1:]} is there to be sent", False)
            return
        with open(path, "rb") as file:
            body = file.read()
    route = "/" + url.split("/", 3)[3]
    status, _, answer = server.ask("POST" if body is not None else "GET", route, body, headers or None)
    check(f"{route} {json.dumps(headers)}", status == 200, answer.decode()[:100 if status == 200 else 600])


def whole(readme, folder):
    server = None
    try:
        for words in commands(readme):
            program = os.path.basename(words[0])
            if program == "ebm-trainer":
                trained(words[1:], folder)
            elif program == "ebm-server":
                repository = os.path.join(folder, words[words.index("--model-repository") + 1])
                server = Server(SERVER, Repository(repository))
            elif program == "curl" and server is not None:
                asked(words, folder, server)
            else:
                check(f"a command of one of the programs, or of curl behind ebm-server: {words}", False)
    finally:
        if server is not None:
            check("the server stops", server.stop() == 0)


for example in sorted(glob.glob(os.path.join(ROOT, "examples", "*", "README.md"))):
    name = os.path.basename(os.path.dirname(example))
    work = tempfile.mkdtemp(prefix=f"ebm-example-{name}-")
    os.symlink(os.path.join(ROOT, "examples"), os.path.join(work, "examples"))
    print(f"== {name}", flush=True)
    check("it has commands", commands(example) != [], len(commands(example)))
    whole(example, work)
    shutil.rmtree(work)
print("nothing failed" if failures == 0 else f"{failures} failed")
sys.exit(failures != 0)
