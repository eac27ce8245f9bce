"""train_import.py SERVER TRAINER ROOT - networks of other programs as model files, and back: the papers' names, torchvision's, our
own. What a network computes is computed here again, in plain Python, and given along as parity values. Prints what it compares."""
import json
import math
import os
import random
import struct
import sys

from arrays import npy, safetensors, tensors_of
from harness import Repository, Server
from trainer import Trainer

SERVER, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[3])
trainer = Trainer(sys.argv[2], "import")
check, path, run, content = trainer.check, trainer.path, trainer.run, trainer.content
source = random.Random(7)


def refused(what, fragment, *words):
    """The command fails, says so, and leaves nothing behind."""
    before = sorted(os.listdir(trainer.folder))
    done = run(*words, expect=1)
    check(what, fragment in done.stderr and sorted(os.listdir(trainer.folder)) == before, done.stderr.strip().splitlines()[-1:])
    return done.stderr


def importing(source_file, layout, config, output="no.safetensors"):
    """The words of an import; None: without this option."""
    options = (("--layout", layout), ("--config", config), ("--output", output))
    return ["import", "--from", source_file, *(word for option in options if option[1] is not None for word in option)]


# ---- files: name -> (type, shape, bytes) ----

def floats(shape, numbers):
    return "F32", list(shape), struct.pack(f"<{math.prod(shape)}f", *numbers)


def numbers(tensor):
    return struct.unpack(f"<{len(tensor[2]) // 4}f", tensor[2])


def write(name, tensors, metadata=None):
    with open(path(name), "wb") as file:
        file.write(safetensors(tensors, metadata))
    return path(name)


def read(name):
    """-> (tensors, metadata)"""
    return tensors_of(content(name))


def write_config(name, config):
    with open(path(name), "w") as file:
        json.dump(config, file)
    return path(name)


# ---- networks in plain Python, as the papers have them ----

def made(shape):
    most = math.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.5
    return floats(shape, [source.uniform(-most, most) for _ in range(math.prod(shape))])


def linear_tensors(sizes):
    out = {}
    for name, n_in, n_out in sizes:
        out |= {name + ".weight": made((n_out, n_in)), name + ".bias": made((n_out,))}
    return out


def linear(net, name, v):
    weight, bias = numbers(net[name + ".weight"]), numbers(net[name + ".bias"])
    return [sum(weight[i * len(v) + j] * v[j] for j in range(len(v))) + bias[i] for i in range(len(bias))]


def relu(v):
    return [max(0.0, a) for a in v]


def papers_f(net, h, y, n_y, n_xy, residual):
    g = y
    for i in range(n_y):
        g = relu(linear(net, f"predictor_net.fc{i + 1}_y", g))
    v = relu(linear(net, "predictor_net.fc1_xy", h + g))
    for i in range(1, n_xy - 1):
        w = relu(linear(net, f"predictor_net.fc{i + 1}_xy", v))
        v = [a + b for a, b in zip(w, v)] if residual else w
    return linear(net, f"predictor_net.fc{n_xy}_xy", v)[0]


def papers_log_q(net, h, y):
    mean, log_variance, logits = (linear(net, f"noise_net.fc2_{part}", relu(linear(net, f"noise_net.fc1_{part}", h)))
                                  for part in ("mean", "sigma", "weight"))
    K, top, terms = len(logits), max(logits), []
    norm = top + math.log(sum(math.exp(v - top) for v in logits))
    for k in range(K):
        terms.append(logits[k] - norm)
        for d, value in enumerate(y):
            s2 = log_variance[d * K + k]
            terms[-1] -= 0.5 * (math.log(2 * math.pi) + s2 + (value - mean[d * K + k]) ** 2 / math.exp(s2))
    top = max(terms)
    return top + math.log(sum(math.exp(v - top) for v in terms))


def layers(widths, last, residual=()):
    n = len(widths) - 1
    return [{"type": "linear", "in": widths[i], "out": widths[i + 1], "activation": last if i == n - 1 else "relu",
             **({"residual": True} if i in residual else {})} for i in range(n)]


def mixture(H, D, K):
    return {"kind": "gaussian_mixture", "components": K, "mean_net": layers([H, H, D * K], "identity"),
            "log_variance_net": layers([H, H, D * K], "identity"), "weight_net": layers([H, H, K], "identity")}


def noise(H, D, K):
    return [(f"noise_net.fc{i}_{part}", H, H if i == 1 else (K if part == "weight" else D * K))
            for part in ("mean", "sigma", "weight") for i in (1, 2)]


# the papers' toy network
TOY = {"input": {"kind": "vector", "shape": [1]}, "target": {"dim": 1}, "feature_net": layers([1, 6, 6], "relu"),
       "target_net": layers([1, 6, 6], "relu"), "energy_net": layers([12, 6, 6, 1], "identity", residual=(1,)),
       "proposal": mixture(6, 1, 4)}
TOY_SIZES = [("feature_net.fc1_x", 1, 6), ("feature_net.fc2_x", 6, 6), ("predictor_net.fc1_y", 1, 6), ("predictor_net.fc2_y", 6, 6),
             ("predictor_net.fc1_xy", 12, 6), ("predictor_net.fc2_xy", 6, 6), ("predictor_net.fc3_xy", 6, 1), *noise(6, 1, 4)]


def toy_parity(net):
    xs, ys = [-1.5, 0.25, 2.0], [0.5, -1.0, 1.75]
    hs = [relu(linear(net, "feature_net.fc2_x", relu(linear(net, "feature_net.fc1_x", [x])))) for x in xs]
    return {"parity.x": floats((3, 1), xs), "parity.y": floats((3, 1), ys),
            "parity.f": floats((3,), [papers_f(net, h, [y], 2, 3, True) for h, y in zip(hs, ys)]),
            "parity.log_q": floats((3,), [papers_log_q(net, h, [y]) for h, y in zip(hs, ys)])}


# a resnet of width 2 over images of 3 x 32 x 32; maps are lists of channels of rows
WIDTH, SIDE = 2, 32
IMAGES = {"input": {"kind": "image", "shape": [3, SIDE, SIDE], "scale": 1 / 255, "mean": [0.485, 0.456, 0.406],
                    "std": [0.229, 0.224, 0.225]},
          "target": {"dim": 3}, "feature_net": [{"type": "resnet", "depth": 18, "in": 3, "width": WIDTH}],
          "target_net": layers([3, 4, 5], "relu"), "energy_net": layers([8 * WIDTH + 5, 16, 1], "identity"),
          "proposal": mixture(8 * WIDTH, 3, 2)}
HEAD_SIZES = [("predictor_net.fc1_y", 3, 4), ("predictor_net.fc2_y", 4, 5), ("predictor_net.fc1_xy", 8 * WIDTH + 5, 16),
              ("predictor_net.fc2_xy", 16, 1), *noise(8 * WIDTH, 3, 2)]


def norm_tensors(name, channels):
    positive = [source.uniform(0.5, 1.5) for _ in range(2 * channels)]
    return {name + ".weight": floats((channels,), positive[:channels]), name + ".bias": made((channels,)),
            name + ".running_mean": made((channels,)), name + ".running_var": floats((channels,), positive[channels:]),
            name + ".num_batches_tracked": ("I64", [], struct.pack("<q", 12))}


def resnet_tensors():
    """torchvision's names"""
    out = {"conv1.weight": made((WIDTH, 3, 7, 7)), **norm_tensors("bn1", WIDTH)}
    channels = WIDTH
    for stage in range(4):
        wide = WIDTH << stage
        for block in range(2):
            name = f"layer{stage + 1}.{block}"
            out |= {name + ".conv1.weight": made((wide, channels, 3, 3)), **norm_tensors(name + ".bn1", wide),
                    name + ".conv2.weight": made((wide, wide, 3, 3)), **norm_tensors(name + ".bn2", wide)}
            if channels != wide:
                out |= {name + ".downsample.0.weight": made((wide, channels, 1, 1)), **norm_tensors(name + ".downsample.1", wide)}
            channels = wide
    return out


def in_sequential(name):
    """What torchvision's name becomes in Sequential(conv1, bn1, relu, maxpool, layer1, ...)."""
    children = ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"]
    child, rest = name.split(".", 1)
    return f"feature_net.resnet18.{children.index(child)}.{rest}"


def conv(image, tensor, stride, padding):
    weight, (n_out, n_in, size, _) = numbers(tensor), tensor[1]
    side = (len(image[0]) + 2 * padding - size) // stride + 1
    reach = [[(a, i * stride + a - padding) for a in range(size) if 0 <= i * stride + a - padding < len(image[0])]
             for i in range(side)]
    return [[[sum(weight[((o * n_in + c) * size + a) * size + b] * image[c][row][column]
                  for c in range(n_in) for a, row in reach[i] for b, column in reach[j]) for j in range(side)] for i in range(side)]
            for o in range(n_out)]


def norm(image, net, name):
    weight, bias, mean, variance = (numbers(net[f"{name}.{key}"]) for key in ("weight", "bias", "running_mean", "running_var"))
    return [[[(v - mean[c]) / math.sqrt(variance[c] + 1e-5) * weight[c] + bias[c] for v in row] for row in channel]
            for c, channel in enumerate(image)]


def relu_image(image):
    return [[relu(row) for row in channel] for channel in image]


def max_pool(image):
    side = range((len(image[0]) - 1) // 2 + 1)
    return [[[max(channel[row][column] for row in range(max(0, 2 * i - 1), min(len(channel), 2 * i + 2))
                  for column in range(max(0, 2 * j - 1), min(len(channel), 2 * j + 2))) for j in side] for i in side]
            for channel in image]


def resnet(net, image):
    v = max_pool(relu_image(norm(conv(image, net["conv1.weight"], 2, 3), net, "bn1")))
    for stage in range(4):
        for block in range(2):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage > 0 and block == 0 else 1
            w = relu_image(norm(conv(v, net[name + ".conv1.weight"], stride, 1), net, name + ".bn1"))
            w = norm(conv(w, net[name + ".conv2.weight"], 1, 1), net, name + ".bn2")
            if name + ".downsample.0.weight" in net:
                v = norm(conv(v, net[name + ".downsample.0.weight"], stride, 0), net, name + ".downsample.1")
            v = relu_image([[[a + b for a, b in zip(*rows)] for rows in zip(*channels)] for channels in zip(w, v)])
    return [sum(map(sum, channel)) / (len(channel) * len(channel[0])) for channel in v]


def image_parity(trunk, heads):
    image = [source.uniform(-2, 2) for _ in range(3 * SIDE * SIDE)]
    y = [0.5, -0.25, 1.0]
    image = list(numbers(floats((len(image),), image)))
    rows = [image[i:i + SIDE] for i in range(0, len(image), SIDE)]
    h = resnet(trunk, [rows[c * SIDE:(c + 1) * SIDE] for c in range(3)])
    return {"parity.x": floats((1, 3, SIDE, SIDE), image), "parity.y": floats((1, 3), y),
            "parity.f": floats((1,), [papers_f(heads, h, y, 2, 2, False)]),
            "parity.log_q": floats((1,), [papers_log_q(heads, h, y)])}


# ---- what is tested ----

def test_the_papers_toy_network():
    toy = linear_tensors(TOY_SIZES)
    config = write_config("toy.json", TOY)
    parallel = {"module." + name: tensor for name, tensor in toy.items()} | toy_parity(toy)
    write("parallel.safetensors", parallel)
    said = run(*importing("parallel.safetensors", "ebms_proposals", config, "a.safetensors"))
    check("f and log q of the papers' toy network are those of plain Python", "the same" in said.stdout, said.stdout.splitlines()[:2])
    write("wrong.safetensors", parallel | {"parity.f": floats((3,), [v + 0.01 for v in numbers(parallel["parity.f"])])})
    refused("a network that computes something else is refused", "parity.f: row 0", *importing("wrong.safetensors", "ebms_proposals", config))
    write("toy.safetensors", toy)
    run(*importing("toy.safetensors", "ebms_proposals", config, "b.safetensors"))
    a, b = read("a.safetensors")[0], read("b.safetensors")[0]
    check("'module.' makes no difference", {n: t for n, t in a.items() if not n.startswith("parity.")} == b, len(b))
    check("the name is the file's", json.loads(read("b.safetensors")[1]["config"])["name"] == "toy")
    for layout in ("ebms_proposals", "ebm"):
        out = f"back-{layout}.safetensors"
        run("export", "--model", "b.safetensors", "--layout", layout, "--output", out)
        check(f"export --layout {layout} writes the tensors back", read(out)[0] == (toy if layout != "ebm" else b), len(toy))
        run(*importing(out, layout, None, f"again-{layout}.safetensors"))
        check("and import makes the same bytes of them", content(f"again-{layout}.safetensors") == content("b.safetensors"))
    return toy, config


def test_an_ensemble():
    run("join", "--model", "b.safetensors", "--model", "b.safetensors", "--output", "two.safetensors")
    refused("the papers' names are those of single models", "an ensemble of 2", "export", "--model", "two.safetensors", "--layout",
            "ebms_proposals", "--output", "no.safetensors")
    run("export", "--model", "two.safetensors", "--layout", "ebm", "--output", "two-out.safetensors")
    run(*importing("two-out.safetensors", "ebm", None, "two-again.safetensors"))
    check("our names are those of ensembles too", content("two-again.safetensors") == content("two.safetensors"))


def test_all_problems_at_once(toy, config):
    bad = dict(toy)
    del bad["noise_net.fc1_mean.weight"], bad["predictor_net.fc3_xy.bias"]
    bad["predictor_net.fc1_xy.weight"] = made((6, 13))
    bad["feature_net.fc1_x.bias"] = ("I32", [6], bytes(24))
    bad["dropout\x1b.mask"] = made((2, 3))
    write("bad.safetensors", bad)
    said = refused("what does not fit is counted", "2 missing, 1 unexpected, 2 misshapen", *importing("bad.safetensors", "ebms_proposals", config))
    for line in ('missing     "noise_net.fc1_mean.weight", expected (6, 6), for proposal.mean_net.0.weight',
                 'missing     "predictor_net.fc3_xy.bias", expected (1), for energy_net.2.bias',
                 'misshapen   "predictor_net.fc1_xy.weight", found (6, 13), expected (6, 12), for energy_net.0.weight',
                 'wrong type  "feature_net.fc1_x.bias", found I32, expected F32, F64, F16 or BF16, for feature_net.0.bias',
                 'unexpected  "dropout\\u001b.mask", found (2, 3)'):
        check("and listed", line in said, line)
    refused("another layout is suspected", "Is it another --layout?", *importing("toy.safetensors", "ebm", config))
    write("twice.safetensors", toy | {"module.feature_net.fc1_x.bias": made((6,))})
    refused("a name with and without 'module.'", "stands in the file twice", *importing("twice.safetensors", "ebms_proposals", config))
    write("nan.safetensors", toy | {"feature_net.fc1_x.bias": floats((6,), [math.nan] * 6)})
    refused("NaN is refused", "expected finite numbers", *importing("nan.safetensors", "ebms_proposals", config, "no.safetensors"))


def test_wrong_words(config):
    refused("a layout is needed", "--layout: is missing", *importing("toy.safetensors", None, config))
    refused("an unknown layout", "expected one of ebm, ebms_proposals, torchvision", *importing("toy.safetensors", "torch", config))
    refused("no networks", "--config: is missing", *importing("toy.safetensors", "ebms_proposals", None))
    refused("torchvision without a resnet", "the model has none", *importing("toy.safetensors", "torchvision", config))
    refused("a model that is there", "is there already", *importing("toy.safetensors", "ebms_proposals", config, "b.safetensors"))
    with open(path("model.pth"), "wb") as file:
        file.write(b"PK\x03\x04" + bytes(200))
    refused("a pickle is never read", "docs/import.md", *importing("model.pth", "ebms_proposals", config, "no.safetensors"))
    conv_net = dict(IMAGES, feature_net=[{"type": "conv2d", "in": 3, "out": 2, "kernel": 3}, {"type": "global_avg_pool"}])
    del conv_net["proposal"], conv_net["target_net"], conv_net["energy_net"]
    conv_net["energy_net"] = layers([5, 1], "identity")
    write_config("conv.json", conv_net)
    refused("layers that the papers do not have", "--layout ebm has names for all",
            *importing("toy.safetensors", "ebms_proposals", "conv.json"))


def test_images():
    trunk, heads = resnet_tensors(), linear_tensors(HEAD_SIZES)
    config = write_config("images.json", dict(IMAGES, name="pose"))
    papers = {in_sequential(name): tensor for name, tensor in trunk.items()} | heads
    write("pose.safetensors", papers | image_parity(trunk, heads))
    said = run(*importing("pose.safetensors", "ebms_proposals", config, "pose-model.safetensors"))
    check("f and log q of a resnet in the papers' names are those of plain Python", "the same" in said.stdout, said.stdout.splitlines()[:2])
    run("export", "--model", "pose-model.safetensors", "--layout", "ebms_proposals", "--output", "pose-back.safetensors")
    back = read("pose-back.safetensors")[0]
    check("export writes them back", back == {n: t for n, t in papers.items() if not n.endswith("num_batches_tracked")}, len(back))
    classifier = {"fc.weight": made((10, 8 * WIDTH)), "fc.bias": made((10,))}
    write("resnet18.safetensors", trunk | classifier)
    words = importing("resnet18.safetensors", "torchvision", config, None)
    said = run(*words, "--output", "bare.safetensors").stdout
    check("heads are new where torchvision has none", "20 tensors have no name" in said and "train the model" in said, said.splitlines())
    run(*words, "--output", "bare-same.safetensors")
    run(*words, "--output", "bare-other.safetensors", "--seed", "1")
    bare, other, whole = (read(n)[0] for n in ("bare.safetensors", "bare-other.safetensors", "pose-model.safetensors"))
    check("by the seed", content("bare.safetensors") == content("bare-same.safetensors") and
          bare["energy_net.0.weight"] != other["energy_net.0.weight"])
    of_trunk = [name for name in whole if name.startswith("feature_net.")]
    check("both layouts give the same trunk", all(bare[n] == other[n] == whole[n] for n in of_trunk), len(of_trunk))
    run("export", "--model", "bare.safetensors", "--layout", "torchvision", "--output", "trunk.safetensors")
    check("export writes torchvision's names",
          set(read("trunk.safetensors")[0]) == {n for n in trunk if not n.endswith("num_batches_tracked")})


def write_npy(name, rows):
    with open(path(name), "wb") as file:
        file.write(npy("<f8", (len(rows), len(rows[0])), b"".join(struct.pack("<d", v) for row in rows for v in row)))


def test_parity_on_request(config):
    rows = [[source.uniform(-2, 2), source.uniform(-2, 2)] for _ in range(20)]
    with open(path("rows.csv"), "w") as file:
        file.write("x,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in rows))
    write_npy("rows.npy", rows)
    words = importing("toy.safetensors", "ebms_proposals", config, None)
    for kind in ("csv", "npy"):
        said = run(*words, "--output", f"parity-{kind}.safetensors", "--parity", f"rows.{kind}").stdout
    check("a CSV and an .npy give the same", content("parity-csv.safetensors") == content("parity-npy.safetensors"), said.splitlines()[1])
    tensors, metadata = read("parity-csv.safetensors")
    shapes = {name: tensor[1] for name, tensor in tensors.items() if name.startswith("parity.")}
    check("eight rows stand in the file", shapes == {"parity.x": [8, 1], "parity.y": [8, 1], "parity.f": [8], "parity.log_q": [8]}, shapes)
    toy = read("toy.safetensors")[0]
    worst = 0.0
    for i, (x, y) in enumerate(rows[:8]):
        h = relu(linear(toy, "feature_net.fc2_x", relu(linear(toy, "feature_net.fc1_x", [x]))))
        worst = max(worst, abs(papers_f(toy, h, [y], 2, 3, True) - numbers(tensors["parity.f"])[i]),
                    abs(papers_log_q(toy, h, [y]) - numbers(tensors["parity.log_q"])[i]))
    check("and are right", worst < 1e-5, f"worst difference {worst:.1e}")
    refused("a file that has its own needs no --parity", "leave it out",
            *importing("parallel.safetensors", "ebms_proposals", config), "--parity", "rows.csv")
    repository = Repository()
    try:
        run("publish", "parity-csv.safetensors", os.path.join(repository.path, "toy"))
        published = read(os.path.join(repository.path, "toy", "1", "model.safetensors"))[0]
        check("publish keeps them", published == tensors, len(published))
        tensors["parity.f"] = floats((8,), [v + 0.01 for v in numbers(tensors["parity.f"])])
        os.makedirs(os.path.join(repository.path, "toy", "2"))
        write(os.path.join(repository.path, "toy", "2", "model.safetensors"), tensors, metadata)
        server = Server(SERVER, repository)
        try:
            status, answer = server.predict({"model": "toy", "inputs": [[0.5]], "num_samples": 512, "estimator": "importance"})
            told = [line for line in server.lines if "parity.f" in line]
            check("the server refuses the version that computes something else", len(told) > 0, told[:1])
            check("and answers by the one that does not", status == 200 and answer.get("version") == 1, str(answer)[:200])
        finally:
            server.stop()
    finally:
        repository.remove()


def test_a_run_that_begins_with_a_model():
    run("generate", "toy1", "--rows", "64", "--seed", "3", "--output", path("toy1.csv"))
    training = {"epochs": 1, "warmup_epochs": 0, "samples": 16, "learning_rate": 1e-12, "initial": "b.safetensors"}
    whole = {"data": {"file": "toy1.csv", "standardize": False}, "model": TOY, "training": training}
    write_config("run.json", whole)
    said = run("train", "--config", "run.json", "--output", "begun", "--threads", "1").stdout
    begun, model = read("begun/model.safetensors")[0], read("b.safetensors")[0]
    worst = max(abs(a - b) for name in model for a, b in zip(numbers(begun[name]), numbers(model[name])))
    check("after one epoch of no length it is that model still", worst < 1e-6 and "26 of 26 tensors begin" in said, f"{worst:.1e}")
    recorded = json.loads(read("begun/model.safetensors")[1]["config"])["training"]["initial"]
    check("the record names the file, without its folder", recorded == "b.safetensors", recorded)
    other = dict(TOY, target_net=layers([1, 5], "relu"), energy_net=layers([11, 6, 6, 1], "identity", residual=(1,)))
    write_config("other.json", dict(whole, model=other))
    said = run("train", "--config", "other.json", "--output", "other", "--threads", "1").stdout
    check("other heads begin by the seed", "21 of 24 tensors begin" in said, [t for t in said.splitlines() if "begin" in t])
    refused("trials try other weights", "leave one of the two out", "validate", "run.json", "--set", "training.trials=2", "--set",
            "training.method=ml_exact", "--set", "training.epochs=20")
    refused("a file that is not there", "gone.safetensors", "validate", "run.json", "--set", "training.initial=gone.safetensors")
    deep = dict(TOY, feature_net=layers([1, 3], "relu"), target_net=layers([1, 3], "relu"), energy_net=layers([6, 2, 1], "identity"),
                proposal=mixture(3, 1, 3))
    write_config("none.json", dict(whole, model=deep))
    refused("a model that has nothing of it", "no tensor of the same name and shape", "train", "--config", "none.json", "--dry-run")


def main():
    toy_tensors, toy_config = test_the_papers_toy_network()
    test_an_ensemble()
    test_all_problems_at_once(toy_tensors, toy_config)
    test_wrong_words(toy_config)
    test_images()
    test_parity_on_request(toy_config)
    test_a_run_that_begins_with_a_model()


sys.exit(trainer.exit_status(main))
