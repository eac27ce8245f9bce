"""inside.py - has a server preload inside.c, and asks it."""
import contextlib
import os
import shutil
import tempfile

from harness import Server, wait_until


class Inside:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="ebm-inside-")
        self.ask_path, self.tell_path = (os.path.join(self.folder, name) for name in ("ask", "tell"))
        os.mkfifo(self.ask_path)
        with open(self.tell_path, "xb"):
            pass

    def do(self, byte):
        with open(self.ask_path, "wb", buffering=0) as ask:
            ask.write(byte)

    def told(self):
        with open(self.tell_path, encoding="ascii") as file:
            return file.read().split("\n")[:-1]

    def calls(self):
        """-> {name: errno}"""
        self.do(b"c")
        assert wait_until(lambda: self.told()[-1:] == ["end"]), self.told()
        return {name: int(errno) for name, errno in (line.split() for line in self.told()[:-1])}


@contextlib.contextmanager
def serving_inside(binary, library, repository, *options):
    """-> (server, Inside)"""
    inside = Inside()
    names = {"EBM_INSIDE_ASK": inside.ask_path, "EBM_INSIDE_TELL": inside.tell_path, "LD_PRELOAD": os.path.abspath(library)}
    before = dict(os.environ)
    if "ASAN_OPTIONS" in before:  # it need not be the first library
        names["ASAN_OPTIONS"] = before["ASAN_OPTIONS"] + ":verify_asan_link_order=0"
    os.environ.update(names)
    try:
        server = Server(binary, repository, *options)
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield server, inside
        assert server.stop() == 0, server.lines[-5:]
    finally:
        server.kill()
        repository.remove()
        shutil.rmtree(inside.folder)
