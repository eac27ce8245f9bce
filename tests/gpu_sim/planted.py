#!/usr/bin/env python3
"""Bugs planted into kernels and their host code, one at a time: each must be caught by the runs that promise it.

  planted.py --cxx C++ --cc C --defines DEFINES --root ROOT --build FOLDER [--only REGULAR_EXPRESSION] sample|cuda|training|devices

FOLDER is the build's root, with the simulator's libraries and the test programs as meson built them. A checker that never fails proves
nothing: whoever changes a kernel changes the text that a bug replaces, and a text that is not found is a failure too.
GPU_PLANTED_PER_FILE=N tries the first N bugs of each file alone.
Prints a table: how each run ended. `-` was not run. --table writes it to docs/GPU.md too."""
import argparse
import collections
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

RUNS = ("fwd", "rev", "random", "greedy", "asan", "tsan")
FLAGS = {"plain": [], "asan": ["-fsanitize=address,undefined"], "tsan": ["-fsanitize=thread"]}
SAMPLE = "tests/gpu_sim/sample.cu"
PLAIN = ("fwd", "rev", "random", "greedy")

SAMPLES, SLOTS, TRAINING = "core/cuda/samples.cu", "core/cuda/slots.cu", "core/cuda/training.cu"
ANSWERS, PHILOX = "core/cuda/answers.cu", "core/cuda/philox.h"
WIDE, PRODUCTS = "core/cuda/wide.cu", "core/cuda/products.cu"
DEVICE, ENGINE = "core/cuda/device.cu", "core/cuda/engine.cu"
BLOCK, EXACT, KNOTS = "core/cuda/block.h", "core/cuda/exact.cu", "core/cuda/exact_knots.h"
ONE = ("greedy",)  # of what gives other numbers, whatever goes first

CONV, TRUNK = "core/cuda/conv.cu", "core/cuda/trunk.cu"
LOSSES, ADAM, LAYERS = "core/cuda/losses.cu", "core/cuda/adam.cu", "core/cuda/layers.cu"
NORMS, CONV_BACK, TRUNK_TRAIN = "core/cuda/norms.cu", "core/cuda/conv_back.cu", "core/cuda/trunk_train.cu"
TRUNK_BACKWARD, TRUNK_HERE = "core/cuda/trunk_backward.cu", "core/cuda/train_trunk_cuda.c"
TRUNKS = (TRAINING, NORMS, CONV_BACK, TRUNK_TRAIN, TRUNK_BACKWARD, TRUNK_HERE)
POINTS, TRAIN = "core/cuda/exact_train.cu", "core/cuda/train_cuda.c"
TRAINING_SAMPLES = "core/cuda/training_samples.cu"
HOST = "core/cuda/device_cuda.c"
SCORE, CHAINS = "core/cuda/score_train.cu", "core/cuda/langevin_train.cu"
# case of test_training by the bug's name or its file, where it is not the first
CASES = {TRAINING_SAMPLES: "ml_exact", LAYERS: "bounded, nce, kld_is", KNOTS: "ml_exact", POINTS: "ml_exact", TRAIN: "ml_exact", SCORE: "sm beside, dsm", CHAINS: "ml_mcmc, nce",
         "chunks do not wait for a trunk": "images, nce_kl, features"}  # where nothing else has them wait
IMAGES = "layers, nce; nce_kl here"

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
CUDA = (sorted(glob.glob("core/cuda/*.cu", root_dir=HERE)), sorted(glob.glob("core/cuda/*.c", root_dir=HERE)),
        ["-Wl,-u,ebm_device_plugin", "tests/gpu_sim/libcuda_whole_FLAVOUR.a", "core/libebm_core.a", "-lopenblas", "-lm", "-lpthread", "-ldl"])
# plug-in, or what of it is tested -> CUDA sources, C sources, what else is linked
PLUGINS = {
    "sample": ([SAMPLE], [], []),
    "cuda": CUDA,
    "training": CUDA,
    "devices": CUDA,
}

# name, file, what stands there, what is put there, runs that must catch it
SAMPLE_BUGS = [
    ("barrier before a read is missing", SAMPLE, "    __syncthreads(); /* what is read next */\n", "", PLAIN + ("tsan",)),
    ("barrier before a write is missing", SAMPLE, "    __syncthreads(); /* what was read before */\n", "",
     ("greedy", "tsan")),
    ("shared memory read before it is written", SAMPLE, "    __syncthreads(); /* moments */\n", "", PLAIN + ("tsan",)),
    ("a loop goes one too far", SAMPLE, "    for (int i = threadIdx.x; i < M; i += THREADS) {",
     "    for (int i = threadIdx.x; i <= M; i += THREADS) {", PLAIN + ("asan",)),
    ("a read behind the last row", SAMPLE, "    for (int i = threadIdx.x; i < M; i += THREADS)\n        largest",
     "    for (int i = threadIdx.x; i <= M; i += THREADS)\n        largest", ("asan",)),
    ("a return before a barrier", SAMPLE, "    if (threadIdx.x == 0)\n        moments[0]",
     "    if (int(blockIdx.x * blockDim.x + threadIdx.x) >= M)\n        return;\n    if (threadIdx.x == 0)\n        moments[0]",
     PLAIN),
    ("half of the warp is not summed", SAMPLE, "for (int by = 16; by; by >>= 1)", "for (int by = 8; by; by >>= 1)", PLAIN),
    ("a mask without half of the lanes", SAMPLE, "__shfl_down_sync(ALL, sum, by)", "__shfl_down_sync(0xffffu, sum, by)",
     PLAIN),
    ("a sum that is not atomic", SAMPLE, "atomicAdd(total, double(sum));", "*total += double(sum);", ("tsan",)),
    ("too little dynamic shared memory", SAMPLE, "dim3(128), 2 * sizeof(float), r->stream",
     "dim3(128), sizeof(float), r->stream", ("asan",)),
    ("a wrong constant of Philox", SAMPLE, "0xbb67ae85u", "0xbb67ae8du", PLAIN),
    ("too many threads", SAMPLE, "dim3(THREADS), 0, r->stream", "dim3(2048), 0, r->stream", PLAIN),
    ("the host does not wait", SAMPLE, "    return int(cudaStreamSynchronize(r->stream));\n}\n\nint all", "    return 0;\n}\n\nint all",
     PLAIN),
    ("a stream does not wait for the other", SAMPLE, "    TRY(cudaStreamWaitEvent(r->stream, r->uploaded, 0));\n", "", ("fwd", "rev")),
    ("memory is not cleared", SAMPLE, "    TRY(cudaMemsetAsync(r->total, 0, sizeof(double), r->stream));\n", "", PLAIN),
    ("the wrong kind of copy", SAMPLE, "n * sizeof(T), cudaMemcpyHostToDevice", "n * sizeof(T), cudaMemcpyDeviceToHost",
     PLAIN),
    ("a copy that is too long", SAMPLE, "s->B * sizeof(float), cudaMemcpyDeviceToHost, r->stream));\n    TRY(cudaMemcpyAsync(s->ess",
     "s->B * sizeof(double), cudaMemcpyDeviceToHost, r->stream));\n    TRY(cudaMemcpyAsync(s->ess", PLAIN),
    ("a bias that is not by batch", SAMPLE, "int64_t bias_stride = s->out;", "int64_t bias_stride = 0;", PLAIN),
    ("an error that is not looked at", SAMPLE, "    TRY(cudaGraphLaunch(r->exec, r->stream));",
     "    cudaGraphLaunch(r->exec, r->stream);", ("fwd",)),
    ("an event that is left behind", SAMPLE, "    if (r->uploaded)\n        cudaEventDestroy(r->uploaded);\n", "", ("fwd",)),
    ("allocation in a capture", SAMPLE, "    int error = enqueue(r), end",
     "    float *more;\n    TRY(cudaMalloc(&more, 4));\n    int error = enqueue(r), end", PLAIN),
]


CUDA_BUGS = [
    ("barrier before the first layer is missing", SAMPLES,
     "    __syncthreads();\n    for (uint32_t i = 0; i < n; i++) {", "    for (uint32_t i = 0; i < n; i++) {", ONE + ("tsan",)),
    ("barrier between layers is missing", SAMPLES, "in, &to, sample);\n        __syncthreads();", "in, &to, sample);", ONE),
    ("a wrong constant of Philox", PHILOX, "0xBB67AE85u", "0xBB67AE8Du", ONE),
    ("points of Sobol without their last bit", SAMPLES, "bit < EBM_SOBOL_BITS", "bit < 7", ONE),
    ("a quarter of the warp is not summed", SAMPLES, "apart = 16;", "apart = 8;", ONE),
    ("another row's x side", SAMPLES, "row += (size_t)tiles[sample / EBM_GPU_TILE].row * n;",
     "row += (size_t)tiles[0].row * n;", ONE),
    ("barrier before sums of warps is missing", BLOCK, "    __syncthreads(); /* before parts are read */\n", "", ONE + ("tsan",)),
    ("barrier before a search is missing", BLOCK, "    __syncthreads(); /* before what is cumulated is read, and starts are written again */\n", "", ONE + ("tsan",)),
    ("quantiles of the first coordinate", ANSWERS, "number % all.D, p", "0, p", ONE),
    ("fair draws by other words", ANSWERS, "EBM_STREAM_RESAMPLE", "EBM_STREAM_DRAWS", ONE),
    ("the tail has another lane's place", ANSWERS, "1u << threadIdx.x) - 1))", "2u << threadIdx.x) - 1))", ONE),
    ("draws of the slot's first row", ANSWERS, "size_t first = (size_t)q->first_tile * EBM_GPU_TILE", "size_t first = 0", ONE),
    ("a draw behind the last", ANSWERS, "m < first + n; m += 32)", "m <= first + n; m += 32)", ONE),
    ("barrier behind the order of kinks is missing", KNOTS, "    __syncthreads(); /* before they are read in order */\n", "", ONE),
    ("kinks in the wrong order", KNOTS, "s->t[i] < t ||", "s->t[i] > t ||", ONE),
    ("a slope with a bias", KNOTS, "(is_slope ? 0.0f : layer->bias[o])", "layer->bias[o]", ONE),
    ("a ray's kinks outward", KNOTS, "s->count[p] - 1 - off : off", "off : off", ONE),
    ("hx of the first row", EXACT, "work.hx + (size_t)q->row * ", "work.hx + (size_t)0 * ", ONE),
    ("half of the dynamic shared memory", SAMPLES, "(size_t)both * ", "(size_t)both / 2 * ", ONE),
    ("the host does not wait", SLOTS, 'gpu_fine(space, cudaEventSynchronize(own->slots[slot].done), "the sample side")', "true",
     ONE),
    ("kernels do not wait for the upload", SLOTS, "cudaStreamWaitEvent(space->compute, s->uploaded, 0)", "cudaSuccess", ("greedy",)),
    ("a piece of weights is read too early", WIDE, "            __syncthreads(); /* the piece is there, and the samples; nobody needs the last one */\n", "",
     ONE),
    ("results are overwritten too early", WIDE, "        __syncthreads(); /* of all results only the sums are kept */\n", "", ("greedy",)),
    ("a piece is written where one is read", WIDE, "put(other, &next);\n                pieces = other;", "put(pieces, &next);\n                pieces = other;", ONE),
    ("a fragment is read too early", WIDE, "    __syncwarp(); /* the fragment is there */\n", "", ONE),
    ("a fragment is overwritten too early", WIDE, "    __syncwarp(); /* and may be overwritten */\n", "", ONE),
    ("the first row's x side", WIDE, "w.tiles[blockIdx.x].row", "w.tiles[0].row", ONE),
    ("half of the warps' sums", WIDE, "results[threadIdx.x] + results[EBM_GPU_TILE + threadIdx.x]", "results[threadIdx.x]", ONE),
    ("the last piece of inputs is left out", WIDE, "k < w.deep; k += As::DEEP", "k + As::DEEP < w.deep; k += As::DEEP", ONE),
    ("a bias that no product adds is forgotten", PRODUCTS, "if (ok && how.lacks_bias)", "if (ok && how.lacks_bias && false)", ONE),
    ("kernels come first in a capture", DEVICE, "cudaFuncGetAttributes(&attributes, kernel)", "cudaSuccess", ONE),
    ("products come first in a capture", ENGINE, "rows <= own->x_rows; rows *= 2", "rows <= 1; rows *= 2", ONE),
    ("the download does not wait for kernels", SLOTS, "cudaStreamWaitEvent(space->down, s->computed, 0)", "cudaSuccess", ("fwd", "rev")),
    ("corners are read before they are there", CONV, "    __syncthreads(); /* before corners are read */\n", "", ONE),
    ("parts of a mean are summed before they are there", CONV, "    __syncthreads(); /* before parts are summed */\n", "", ONE),
    ("windows of the first piece", CONV, "corner_of(&w, in, first + before", "corner_of(&w, in, before", ONE),
    ("an image goes on beside its edge", CONV, "tap < w.kernel * w.kernel && y < w.height && x < w.width", "tap < w.kernel * w.kernel && y < w.height", ONE),
    ("weights with channels outer", CONV, "weight[o * count + i % C * taps + i / C]", "weight[o * count + i]", ONE),
    ("what a block adds is not copied", TRUNK, "if (op->at.add != op->at.out &&", "if (op->at.add != op->at.out && false &&", ONE),
    ("pinned memory is written before it has been read", TRUNK, 'gpu_fine(space, cudaEventSynchronize(t->uploaded), "images")', "true", ("fwd", "greedy")),
    ("images are taken before they are there", TRUNK, "cudaStreamWaitEvent(space->compute, t->uploaded, 0)", "cudaSuccess", ("fwd", "rev")),
    ("images are overwritten before they are taken", TRUNK, "cudaStreamWaitEvent(space->up, t->taken, 0)", "cudaSuccess", ("fwd", "rev")),
    ("nothing says when images are taken", TRUNK, "cudaEventRecord(t->taken, space->compute)", "cudaSuccess", ("fwd", "rev")),
    ("nothing says when images are there", TRUNK, "cudaEventRecord(t->uploaded, space->up)", "cudaSuccess", ("fwd", "rev")),
    ("images of the first piece", TRUNK, "h_x + first * X", "h_x", ONE),
]

TRAINING_BUGS = [
    ("barrier before sums of warps is missing", BLOCK, "    __syncthreads(); /* before parts are read */\n", "", ("greedy", "tsan")),
    ("barrier before sums of columns is missing", LAYERS, "    __syncthreads();\n    if (row > 0", "    if (row > 0", ("greedy",)),
    ("later candidates in place of the first ones", LOSSES, "first > 0 ? logit[k] + by_logit", "first > 0 ? by_logit", ("greedy",)),
    ("draws of the other loss", LOSSES, "p->draws[row].first_sample + p->first_sample + m", "p->draws[row].first_sample + m", ("greedy",)),
    ("the last row's weights are left out", LAYERS, "part < parts; part++", "part + 1 < parts; part++", ("greedy",)),
    ("the first row's x side", LAYERS, "(size_t)(at / n / bias.per) * bias.ld", "(size_t)(at / n / bias.per) * 0", ("greedy",)),
    ("a gradient that is not squared", ADAM, "step.rest2 * g * g", "step.rest2 * g", ("greedy",)),
    ("slots keep their gradients", ADAM, "        slots[slot * apart + i] = 0.0f;\n", "", ("greedy",)),
    ("a chunk does not wait for the last step", ADAM, "cudaStreamWaitEvent(space->compute, t->ready, 0)", "cudaSuccess", ("fwd", "rev")),
    ("the host does not wait", TRAINING, 'gpu_sleep(t->space, "training")', "true", ("fwd", "rev")),
    ("the x side of the first piece", TRAINING_SAMPLES, "t->hx.p + (size_t)first * t->hx.ld, t->hx.ld, pass->n}", "t->hx.p, t->hx.ld, pass->n}", ("greedy",)),
    ("barrier before sums of rows is missing", NORMS, "    __syncthreads(); /* before rows are summed */\n", "", ("greedy", "tsan")),
    ("a running variance by the wrong count", NORMS, "variance * n / (n - 1.0)", "variance", ("greedy",)),
    ("a norm's slope is forgotten", NORMS, "z[i] * slopes[C + c] + slopes", "slopes", ("greedy",)),
    ("a last part of places that is left out", NORMS, "return (s->places + s->per - 1) / s->per;", "return s->places > s->per ? s->places / s->per : 1;", ("greedy",)),
    ("windows one column too short", CONV_BACK, "column < op.kernel && column <= x; column += op.stride) {\n            uint32_t to_y",
     "column + 1 < op.kernel && column <= x; column += op.stride) {\n            uint32_t to_y", ("greedy",)),
    ("every largest number of a pool's window", CONV_BACK, "in[i] == out[to] && is_first_largest(&op, in, &w, row * op.kernel + column, c, out[to])",
     "in[i] == out[to]", ("greedy",)),
    ("weights by the wrong order", CONV_BACK, "? weight[((size_t)(i / ld) * C + number % C) * taps + tap]", "? weight[((size_t)(i / ld) * taps + tap) * C + number % C]", ("greedy",)),
    ("only the last piece's gradient of weights", TRUNK_BACKWARD, "p.adds = of->first > 0;", "p.adds = false;", ("greedy",)),
    ("the rest of a piece is left out", TRUNK_BACKWARD, "(left == 0 || multiply_parts(t, op, of, whole, left, 1))", "true", ("greedy",)),
    ("nobody waits for features that are asked for", TRUNK_TRAIN, 'gpu_sleep(t->space, "the trunk")', "true", ("fwd", "rev")),
    ("chunks do not wait for a trunk", TRUNK_TRAIN, "run(t, GPU_TRUNK_FORWARD, B) && gpu_trained_ready(t->trained)", "run(t, GPU_TRUNK_FORWARD, B)", ("fwd", "rev")),
    ("all gradients in one place", TRUNK_TRAIN, "slots[of[i + 1]]", "slots[n - 1]", ("greedy",)),
    ("images go before they have been read", TRUNK_TRAIN, 'gpu_fine(space, cudaEventSynchronize(space->idle), "images")', "true", ("fwd", "rev")),
    ("a trunk's gradient before chunks have left theirs", TRAINING, "leave_dx(t, c)", "true", ONE),
    ("features of the batch's first images", TRAINING, "t->trained->h + (size_t)t->host.first * t->x.ld", "t->trained->h", ONE),
    ("features of the step before, for a chunk here", TRUNK_HERE, "ebm_gpu_trunk_train_get(t->trunk, rows->first, rows->B,", "(t->trunk != NULL ||", ("fwd",)),
    ("what a chunk here leaves in features stays here", TRUNK_HERE, "ebm_gpu_trunk_train_put(t->trunk, rows->first, rows->B,", "(t->trunk != NULL ||", ("fwd",)),
    ("running statistics stay there", TRUNK_HERE, "    atomic_store(&t->here_is_stale[EBM_TRAIN_PARAMS], true);\n", "", ("fwd",)),
    ("a trunk's gradient stays there", TRUNK_HERE, "if (is_fine && !atomic_load(&t->gradient_is_there))", "if (false)", ("fwd",)),
    ("barrier before heights are read is missing", KNOTS, "    __syncthreads(); /* before heights are read */\n", "", ONE + ("tsan",)),
    ("points a place too late", POINTS, "s->first[i] - s->count[i]", "s->first[i]", ONE),
    ("points of the first row", POINTS, "(size_t)row * EBM_GPU_POINTS, *share", "(size_t)0 * EBM_GPU_POINTS, *share", ONE),
    ("the true target counts for nothing", POINTS, "df = -p.scale;", "df = 0.0f;", ONE),
    ("an activation without its second derivative", SCORE, " + c.d2 * z1 * z1 : 0.0f", " : 0.0f", ONE),
    ("directions of half the length", SCORE, "= 2.0f * r;", "= r;", ONE),
    ("another row's true target", SCORE, "p.center[row * p.D + d]", "p.center[d]", ONE),
    ("half of what bends on the way back", SCORE, "dz1 += 2.0f * c.d2", "dz1 += c.d2", ONE),
    ("the same noise in every step", CHAINS, "derived(draw->seed, step)", "derived(draw->seed, 0)", ONE),
    ("the true target walks too", CHAINS, "if (m >= p.M)", "if (m >= p.n)", ONE),
    ("chains climb twice as fast", CHAINS, "0.5f * a * a", "a * a", ONE),
    ("the table of kinks of the step before", TRAIN, "        atomic_store(&t->kinks_are_stale, true);\n    return ebm_cuda_bring", "        (void)t;\n    return ebm_cuda_bring", ("fwd",)),
    ("a checkpoint without what the device learned", TRAIN, "is_fine = ebm_cuda_bring(plan, what);", "is_fine = true;", ("fwd",)),
]
# several devices: what is made or asked for on the wrong one
DEVICES_BUGS = [
    ("a context's network is the first device's", HOST, "return nets->of[of(ctx)->device];", "return nets->of[0];", ("random",)),
    ("all weights on the first device", DEVICE, "    cudaError_t error = gpu_set_device(device);\n", "    cudaError_t error = gpu_set_device(0);\n", ("random",)),
    ("a trunk's weights on the first device", TRUNK, "to->device = device;", "to->device = 0;", ("random",)),
    ("a table of kinks on the first device", EXACT, "cudaError_t error = gpu_set_device(net->device);", "cudaError_t error = gpu_set_device(0);", ("random",)),
    ("a context's streams on the thread's device", ENGINE, "bool ok = gpu_enter(space);", "bool ok = true;", ("random",)),
    ("kernels of the first device alone", DEVICE, "    error = load_kernels();\n", "    error = number == devices[0] ? load_kernels() : cudaSuccess;\n", ("random",)),
    ("shared memory on the first device alone", DEVICE, "        error = gpu_wide_open();\n", "        error = number == devices[0] ? gpu_wide_open() : cudaSuccess;\n", ("random",)),
    ("a device that is lost takes the others with it", DEVICE, "        lost[device] = true;\n", "        lost[0] = lost[1] = true;\n", ("random",)),
    ("nobody says which device it was", DEVICE, "if (n_devices > 1)\n        (void)snprintf(number", "if (n_devices > 9)\n        (void)snprintf(number", ("random",)),
]


def compile_one(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("a planted bug does not build\n" + done.stderr)


def reads(options, file, patched):
    """Whether a source is `patched`, or includes it, by way of others maybe."""
    if file == patched:
        return True
    with open(os.path.join(options.root, file), encoding="utf-8") as source:
        included = re.findall(r'#include "(core/cuda/[^"]+)"', source.read())
    return any(reads(options, other, patched) for other in included)


def compile_source(options, flavour, file, source, out):
    """One file, as it lies in `source` or else in the root."""
    shared = ["-O1", "-fPIC", "-fvisibility=hidden", "-w", "-I" + source, "-I" + options.root, *FLAGS[flavour], "-c"]
    patched = os.path.join(source, file)
    language = [options.cc, "-std=gnu17", "-D_GNU_SOURCE"] if file.endswith(".c") else \
        [options.cxx, "-std=gnu++17", *options.defines.split(), "-x", "c++"]
    compile_one([*language, *shared, patched if os.path.exists(patched) else os.path.join(options.root, file), "-o", out],
                os.path.dirname(out))


def build(options, flavour, source, patched, folder):
    """The plug-in of one flavour with the file `patched` as it lies in `source`; other files as meson compiled them."""
    kernels, hosts, links = PLUGINS[options.plugin]
    out = os.path.join(folder, flavour + ".so")
    objects = []
    for file in kernels + hosts:
        if reads(options, file, patched):
            objects.append(os.path.join(folder, f"{flavour}_{os.path.basename(file)}.o"))
            compile_source(options, flavour, file, source, objects[-1])
    links = [x.replace("FLAVOUR", flavour) for x in (*links, "tests/gpu_sim/libgpu_sim_FLAVOUR.a")]
    compile_one([options.cxx, "-shared", *FLAGS[flavour], *objects,
                 *[x if x.startswith("-") else os.path.join(options.build, x) for x in links], "-o", out], folder)
    return out


def ending(status, text):
    """How a run ended, in a word or two."""
    if status == 0:
        return "passes"
    if "ThreadSanitizer" in text:
        return "race"
    if "AddressSanitizer" in text or "runtime error" in text:
        return "sanitizer"
    if status < 0:
        return "stopped"
    return "numbers" if status == 1 else f"status {status}"


def run(options, which, plugin, name, path):
    flavour = which if which in FLAGS else "plain"
    order = {"asan": "fwd", "tsan": "random"}.get(which, which)
    environment = dict(os.environ, GPU_SIM_ORDER=order, ASAN_OPTIONS="detect_leaks=0:exitcode=66",
                       UBSAN_OPTIONS="halt_on_error=1", TSAN_OPTIONS="halt_on_error=1:exitcode=66")
    arguments = ["--numbers"] if options.plugin == "sample" and which != "fwd" else []
    if options.plugin == "training":  # one case, or one step
        case = CASES.get(name, CASES.get(path, IMAGES if path in TRUNKS else ""))
        arguments = ["0" if which == "tsan" else "1"] + ([case] if case else [])
    if options.plugin == "devices":
        arguments = []
        environment.update(GPU_SIM_DEVICES="3", GPU_SIM_LOST=plugin + ".lost")
    elif path == WIDE:  # what only tensor cores do
        arguments = ["tf32"]
    if path == PRODUCTS:  # and what a cuBLASLt does that refuses much
        environment["GPU_SIM_PICKY"] = "1"
    done = subprocess.run([os.path.join(options.build, "tests/gpu_sim", f"test_{options.plugin}_{flavour}"), plugin, *arguments], env=environment,
                          capture_output=True, text=True, errors="replace", timeout=300, check=False)
    return ending(done.returncode, done.stdout + done.stderr)


def try_bug(options, bug):
    """Verdicts by run."""
    name, path, old, new, must = bug
    runs = [r for r in RUNS if r in must or (r in PLAIN and options.plugin == "sample")] or options.promised
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "source")
        os.makedirs(os.path.join(source, os.path.dirname(path)))
        with open(os.path.join(options.root, path), encoding="utf-8") as file:
            text = file.read()
        if old and text.count(old) != 1:
            sys.exit(f"{name}: the text to replace stands {text.count(old)} times in {path}")
        with open(os.path.join(source, path), "w", encoding="utf-8") as file:
            file.write(text.replace(old, new) if old else text)
        plugins = {f: build(options, f, source, path, folder) for f in FLAGS if f == "plain" or f in runs}
        return {r: run(options, r, plugins.get(r, plugins["plain"]), name, path) for r in runs}


def chosen(bugs, only, per_file):
    """Those whose name `only` finds, and of each file at most so many."""
    seen = collections.Counter()
    for bug in bugs:
        if re.search(only, bug[0]) and seen[bug[1]] < per_file:
            seen[bug[1]] += 1
            yield bug


def row(bug, found):
    return f"| {os.path.basename(bug[1])} | {bug[0]} | " + " | ".join(found.get(r, "-") for r in RUNS) + " |"


def write_table(options, rows):
    """The rows of this plug-in, in place of those that the page shows."""
    head = f"<!-- planted bugs, {options.plugin} -->\n| file | bug | " + " | ".join(RUNS) + " |\n|" + " --- |" * (len(RUNS) + 2) + "\n"
    path = os.path.join(options.root, "docs/GPU.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if head not in text:
        sys.exit(f"docs/GPU.md has no table of planted bugs, {options.plugin}")
    begin = text.index(head) + len(head)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:begin] + "".join(r + "\n" for r in rows) + text[text.index("\n\n", begin - 1) + 1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--cc", required=True)
    parser.add_argument("--defines", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--build", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("plugin", choices=list(PLUGINS))
    options = parser.parse_args()
    if not shutil.which(options.cxx):
        sys.exit("no compiler " + options.cxx)
    options.root, options.build = os.path.abspath(options.root), os.path.abspath(options.build)
    bugs = {"sample": SAMPLE_BUGS, "cuda": CUDA_BUGS, "training": TRAINING_BUGS, "devices": DEVICES_BUGS}[options.plugin]
    # without a bug every run passes: else the others would prove nothing
    per_file = int(os.environ.get("GPU_PLANTED_PER_FILE", len(bugs)))
    bugs = list(chosen(bugs, options.only, per_file))
    if not bugs:
        sys.exit("no bug has such a name")
    options.promised = [r for r in RUNS if any(r in bug[4] for bug in bugs) and (r != "tsan" or options.plugin == "sample")]
    bugs.insert(0, ("none", bugs[0][1], "", "", ()))  # all under ThreadSanitizer is a test of its own
    missed, rows = 0, []
    print("| file | bug | " + " | ".join(RUNS) + " | |\n|" + " --- |" * (len(RUNS) + 3))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for bug, found in zip(bugs, pool.map(lambda b: try_bug(options, b), bugs)):
            wrong = [r for r in bug[4] or found if (found[r] == "passes") == bool(bug[4])]
            missed += bool(wrong)
            rows.append(row(bug, found))
            print(rows[-1] + f" {'WRONG: ' + ', '.join(wrong) if wrong else 'ok'} |", flush=True)
    if options.table:
        write_table(options, rows[1:])
    print(f"{len(bugs)} tried, {missed} not as they must be")
    sys.exit(1 if missed else 0)


main()
