"""halting.py - a training that is stopped at a known place, however fast it is: it writes its lines into a socket that takes
only a few more than were read, and waits there."""
import socket
import subprocess

AHEAD = 10  # epochs at most that it is beyond the last line that was read


class Halted:
    """Starts the command, and comes back after so many lines of epochs; then it waits, AHEAD epochs later at most, until stop.
    A training that ends before is let go to its end."""

    def __init__(self, command, epochs, cwd):
        self.lines, theirs = socket.socketpair()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that there is
        self.process = subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE, text=True, cwd=cwd)
        theirs.close()
        with self.lines.makefile("rb", buffering=0) as stream:  # not a byte more than a line
            while epochs > 0 and (line := stream.readline()):
                epochs -= line.startswith(b"epoch")

    def stop(self, number):
        """Sends the signal, reads what is left. -> (exit status, standard error)"""
        self.process.send_signal(number)
        while self.lines.recv(4096):
            pass
        self.lines.close()
        return self.process.wait(), self.process.communicate()[1]


def stop_after(command, epochs, number, cwd):
    return Halted(command, epochs, cwd).stop(number)
