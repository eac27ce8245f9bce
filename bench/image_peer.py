"""image_peer.py - PyTorch serving the network C of the peers' folder over HTTP as well as it can be done: POST of
3 x 64 x 64 bytes to any path gives {"mean": ..., "std": ...}.

  image_peer.py --peers DIR --port N [--processes 2] [--executors 1] [--threads 1] [--heads draws|none] [--most 16]
  image_peer.py --peers DIR --alone SECONDS     the trunk on one thread, sixteen images at once, without HTTP

The trunk is frozen and optimised for inference, which gives it to oneDNN with its norms folded in; `draws` computes the
x part of the first energy layer once a row and 1024 draws of each image, `none` nothing behind the trunk: the most that
could be served so. No framework: one ASGI function under uvicorn with uvloop and httptools. What waits when an executor
(a thread of its process) is free becomes its next batch, of at most `--most` images and at most its share. Processes
listen at one port each a socket of their own, so that the kernel spreads connections."""
import argparse
import asyncio
import collections
import concurrent.futures
import os
import socket
import sys
import time
import warnings

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--peers", required=True)
parser.add_argument("--port", type=int)
parser.add_argument("--alone", type=float)
parser.add_argument("--processes", type=int, default=1)
parser.add_argument("--executors", type=int, default=1)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--heads", choices=("draws", "none"), default="draws")
parser.add_argument("--most", type=int, default=16)
options = parser.parse_args()
for name, value in (("OMP_NUM_THREADS", str(options.threads)), ("OPENBLAS_NUM_THREADS", str(options.threads)),
                    ("OMP_WAIT_POLICY", "passive"), ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
                    ("MALLOC_TRIM_THRESHOLD_", "4294967296")):
    os.environ.setdefault(name, value)
if not os.environ.get("EBM_PEER_STARTED"):  # glibc reads its variables once
    os.environ["EBM_PEER_STARTED"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.argv])

import torch  # noqa: E402
import uvicorn  # noqa: E402

sys.path.insert(0, options.peers)
from torch_models import Net, predict  # noqa: E402

DRAWS = 1024
SHAPE = (3, 64, 64)
SIZE = 3 * 64 * 64


class Network:
    def __init__(self):
        warnings.filterwarnings("ignore")
        torch.manual_seed(0)
        self.net = Net("C").eval()
        with torch.no_grad():
            traced = torch.jit.trace(self.net.feature_net, torch.rand(options.most, *SHAPE))
        self.net.feature_net = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
        torch.seed()

    def run(self, bodies):
        """[bytes] -> [(mean, std)]"""
        x = torch.frombuffer(bytearray(b"".join(bodies)), dtype=torch.uint8).view(-1, *SHAPE).float().mul_(1 / 255.0)
        with torch.no_grad():
            if options.heads == "none":
                h = self.net.feature_net(x)
                mean, std = h[:, 0], h[:, 1]
            else:
                mean, std = predict(self.net, x, DRAWS, True)
        return list(zip(mean.tolist(), std.tolist()))


class Server:
    def __init__(self):
        self.waiting, self.idle = collections.deque(), options.executors
        self.pool = concurrent.futures.ThreadPoolExecutor(options.executors, initializer=torch.set_num_threads,
                                                          initargs=(options.threads,))
        network = Network()
        self.run = network.run
        for _ in range(2):  # each size of a batch is compiled when it is first seen
            for n in range(1, options.most + 1):
                self.pool.submit(self.run, [bytes(SIZE)] * n).result()

    def start(self, loop):
        """Idle executors get what waits."""
        while self.waiting and self.idle > 0:
            n = min(options.most, -(-len(self.waiting) // self.idle), len(self.waiting))
            batch = [self.waiting.popleft() for _ in range(n)]
            self.idle -= 1
            job = loop.run_in_executor(self.pool, self.run, [body for body, _ in batch])
            job.add_done_callback(lambda done, batch=batch: self.finish(loop, done, batch))

    def finish(self, loop, done, batch):
        self.idle += 1
        self.start(loop)
        for (_, future), row in zip(batch, done.result()):
            if not future.done():
                future.set_result(row)

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        status, text = 400, b'{"error":"expected 12288 bytes"}'
        if len(body) == SIZE:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self.waiting.append((body, future))
            self.start(loop)
            mean, std = await future
            status, text = 200, b'{"mean":%.9g,"std":%.9g}' % (mean, std)
        await send({"type": "http.response.start", "status": status,
                    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]})
        await send({"type": "http.response.body", "body": text})


def alone():
    torch.set_num_threads(1)
    net, x, n = Network().net.feature_net, torch.rand(16, *SHAPE), 0
    with torch.no_grad():
        for _ in range(8):
            net(x)
        begin, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - begin < options.alone:
            net(x)
            n += len(x)
        rate, cpu_us = n / (time.perf_counter() - begin), 1e6 * (time.process_time() - cpu) / n
        print(f"frozen trunk, {len(x)} at once, 1 thread: {rate:.1f} images/s, {cpu_us:.0f} us of CPU an image")


def main():
    if options.alone:
        alone()
        return
    for _ in range(options.processes - 1):
        if os.fork() == 0:
            break
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", options.port))
    server = Server()
    config = uvicorn.Config(server, loop="uvloop", http="httptools", lifespan="off", access_log=False,
                            log_level="warning")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
