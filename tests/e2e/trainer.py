"""trainer.py - runs ebm-trainer in a folder of its own that is gone at the end, and says what holds. Python's standard library
alone."""
import hashlib
import os
import shutil
import subprocess
import tempfile

import halting


class Trainer:
    def __init__(self, binary, name):
        self.binary, self.failures = os.path.abspath(binary), 0
        self.folder = tempfile.mkdtemp(prefix=f"ebm-{name}-")

    def check(self, what, holds, shown=""):
        self.failures += not holds
        print(("ok      " if holds else "FAILED  ") + what + (f": {shown}" if shown != "" or not holds else ""), flush=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *words, expect=0, seconds=600):
        """-> what subprocess.run has to tell; another exit status is a failure."""
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, cwd=self.folder, timeout=seconds, check=False)
        if done.returncode != expect:
            self.check(f"{' '.join(words[:3])} exits {expect}", False, f"{done.returncode}: {done.stderr[-600:]}")
        return done

    def start(self, words, **streams):
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams}
        return subprocess.Popen([self.binary, *words], cwd=self.folder, **streams)

    def stop_after(self, words, epochs, number):
        """Sends the signal after so many lines of epochs -> (exit status, standard error)."""
        return halting.stop_after([self.binary, *words], epochs, number, self.folder)

    def content(self, *names):
        with open(self.path(*names), "rb") as file:
            return file.read()

    def digest(self, output):
        """Of the model that a run left in this folder."""
        return hashlib.sha256(self.content(output, "model.safetensors")).hexdigest()[:16]

    def exit_status(self, main):
        """Runs the whole test, tidies up, counts -> what the process ends with."""
        try:
            main()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        print(f"{self.failures} failed")
        return 1 if self.failures else 0
