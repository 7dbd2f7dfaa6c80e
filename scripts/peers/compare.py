#!/usr/bin/env python3
"""Runs tch-spiking and its peers in turn on the same work and prints a table of medians. See scripts/bench_peers.sh."""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "..", "..", "target", "release", "tch-spiking")


# Longer than anything that works takes: torch.compile of a long loop may not end.
TIMEOUT = 1800


class Failure(Exception):
    """A peer that does not do the work: an error of its own, or the time is over."""


def run(command, environment=None):
    """The JSON object that `command` prints last, with its peak memory in MiB and its seconds from start to end."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        over = threading.Timer(TIMEOUT, process.kill)
        over.start()
        _, status, usage = os.wait4(process.pid, 0)
        over.cancel()
        seconds = time.perf_counter() - start
        out.seek(0)
        lines = out.read().decode().strip().splitlines()
    if status != 0 or not lines:
        raise Failure(f"status {status} after {seconds:.0f} s: {' '.join(command)}")
    result = json.loads(lines[-1])
    return {**result, "own_peak_mib": result.get("peak_mib"), "peak_mib": usage.ru_maxrss / 1024, "process_s": seconds}


def ours_training(a, folder):
    r = run([OURS, "train", "--quiet", "--json", "--device", "cpu", "--threads", str(a.threads), "--dataset", "mnist", "--data", a.data,
             "--epochs", "1", "--set", "data.validation_images=0", "--set", "simulation.sample=0",
             "--set", "data.test_images=1000", *a.ours, "--out", os.path.join(folder, str(time.time_ns()))])
    m = r["metrics"][-1]
    return {"seconds": m["seconds"], "accuracy": m["train_accuracy"], "peak_mib": r["peak_mib"]}


def nengodl_training(a, _):
    r = run([a.nengodl, os.path.join(HERE, "nengodl_mnist.py"), os.path.join(a.data, "mnist"), "--epochs", "1", "--test", "0",
             "--threads", str(a.threads)])
    return {"seconds": r["epoch_s"][-1], "accuracy": None, "peak_mib": r["peak_mib"]}


def torch_training(a, _):
    extra = ["--compile"] if os.environ.get("TORCH_COMPILE") else []
    r = run([a.torch, os.path.join(HERE, "torch_mnist.py"), os.path.join(a.data, "mnist"), "--epochs", "2" if extra else "1",
             "--test", "0", "--threads", str(a.threads), *extra])
    return {"seconds": r["epoch_s"][-1], "accuracy": None, "peak_mib": r["peak_mib"]}


def ours_spiking(a, engine):
    r = run([OURS, "evaluate", "--quiet", "--json", "--device", "cpu", "--threads", str(a.threads), "--dataset", "mnist",
             "--data", a.data, "--limit", str(a.images), "--engine", engine])
    return {"seconds": r["spiking_seconds"], "accuracy": r["accuracy"], "peak_mib": r["peak_mib"]}


def nengodl_spiking(a, _):
    r = run([a.nengodl, os.path.join(HERE, "nengodl_mnist.py"), os.path.join(a.data, "mnist"), "--epochs", str(a.peer_epochs),
             "--test", str(a.images), "--threads", str(a.threads)])
    return {"seconds": r["eval_s"], "accuracy": r["spiking_accuracy"], "peak_mib": r["peak_mib"]}


def torch_spiking(a, _):
    r = run([a.torch, os.path.join(HERE, "torch_mnist.py"), os.path.join(a.data, "mnist"), "--epochs", str(a.peer_epochs),
             "--test", str(a.images), "--threads", str(a.threads)])
    return {"seconds": r["eval_s"], "accuracy": r["spiking_accuracy"], "peak_mib": r["peak_mib"]}


def bench(name, *arguments):
    """The object that one of our own benches prints last."""
    return run(["cargo", "bench", "--quiet", "--locked", "--bench", name, "--", *arguments], {"TCH_SPIKING_DATA": DATA})


def ours_latency(a, _):
    r = bench("latency")
    return {"seconds": r["median_ms"] / 1e3, "note": f"99th percentile {r['p99_ms']:.2f} ms", **r}


def peer_latency(a, framework):
    r = run([a.torch, os.path.join(HERE, "latency.py"), *framework.split()])
    return {"seconds": r["median_ms"] / 1e3, "note": f"99th percentile {r['p99_ms']:.2f} ms", **r, "accuracy": None}


def of_layer(r):
    return {"seconds": (r["fwd_ms"] + r["bwd_ms"]) / 1e3, "note": f"{r['fwd_ms']:.2f} + {r['bwd_ms']:.2f} ms", "accuracy": None, **r}


def ours_layer(a, argument):
    model, method, size = argument.split()
    return of_layer(bench("lif_layer", model, method, str(a.layer_steps), "16", size))


def peer_layer(a, argument):
    framework, size = argument.split()
    return of_layer(run([a.torch, os.path.join(HERE, "lif_layer.py"), framework, "--device", "cpu", "--n", size, "--batch", "16",
                         "--steps", str(a.layer_steps), "--threads", str(a.threads)]))


def of_bptt(r):
    note = f"for 60,000 images; peak memory above what was held before training; loss {r['loss']:.3f}"
    return {"seconds": r["seconds_60000"], "note": note, **r, "peak_mib": r["own_peak_mib"]}


def bptt_options(a):
    return ["--steps", "8", "--batch", str(a.batch), "--images", str(a.train), "--test", str(a.test), "--threads", str(a.threads)]


def ours_bptt(a, _):
    return of_bptt(bench("bptt_mnist", *bptt_options(a)))


def peer_bptt(a, peer):
    return of_bptt(run([a.torch, os.path.join(HERE, "bptt_mnist.py"), os.path.join(a.data, "mnist"), peer, *bptt_options(a)]))


SPEEDS = """
import json, time, torch
torch.set_num_threads(%d)
def best(work, n=20):
    times = []
    for _ in range(n):
        start = time.perf_counter(); work(); times.append(time.perf_counter() - start)
    return min(times)
import torch.nn.functional as F
a, b, o = torch.rand(1600, 512, 1, 1), torch.rand(512, 512, 1, 1), torch.empty(1600, 512)
product = 2 * 1600 * 512 * 512 / min(best(lambda: F.conv2d(a, b)), best(lambda: torch.mm(a.view(1600, 512), b.view(512, 512), out=o)))
x = torch.rand(200, 32, 26, 26).to(memory_format=torch.channels_last); w = torch.rand(64, 32, 3, 3).to(memory_format=torch.channels_last)
convolution = 2 * 200 * 64 * 144 * 288 / best(lambda: F.conv2d(x, w, stride=2))
big = torch.rand(64 << 20); to = torch.empty_like(big)
print(json.dumps(dict(product=product, convolution=convolution, copy=2 * 4 * big.numel() / best(lambda: to.copy_(big), 5))))
"""


def floors(a, task):
    """A line that states the work of a task, and the time that it takes at the speeds of libtorch and memory of this sitting."""
    if not a.speeds:
        a.speeds = run([a.torch, "-c", SPEEDS % a.threads])
    speeds = a.speeds
    if task.startswith("layer"):
        n, cells = int(task.removeprefix("layer")), a.layer_steps * 16
        # Product of the layer, and that of its weights' gradient; read currents, write spikes; read currents and the spikes'
        # gradient, write the currents'.
        flop, size = [2 * cells * n * n] * 2, [2 * 4 * cells * n, 3 * 4 * cells * n]
        ms = [1e3 * (f / speeds["product"] + b / speeds["copy"]) for f, b in zip(flop, size)]
        return (f"floor: forward {flop[0] / 1e6:.0f} MFLOP and {size[0] / 1e6:.1f} MB of currents and spikes, {ms[0]:.2f} ms; backward the "
                f"same product and {size[1] / 1e6:.1f} MB, {ms[1]:.2f} ms; at {speeds['product'] / 1e9:.0f} GFLOP/s and {speeds['copy'] / 1e9:.0f} GB/s")
    steps, neurons = 8, [21632, 9216, 3200]
    first, others = 2 * 26 * 26 * 32 * 9, 2 * (144 * 64 * 288 + 25 * 128 * 576 + 3200 * 10)
    # The first convolution of an image that does not change: once, and once for its weights. Others at each step: forward, to
    # the input, to the weights.
    flop = 2 * first + 3 * steps * others
    # Spikes and currents, but those of the first layer, whose currents do not change; read and written forward, backward once more.
    numbers = neurons[0] + steps * (neurons[0] + 2 * neurons[1] + 2 * neurons[2])
    seconds = 60000 * (flop / speeds["convolution"] + 3 * 4 * numbers / speeds["copy"])
    kept = 4 * a.batch * numbers
    # When the second convolution gives the gradient of the first layer's spikes, it holds these, their gradient and its currents' gradient.
    turning = 4 * a.batch * (steps * (2 * neurons[0] + neurons[1]) + neurons[0])
    return (f"floor: {flop / 1e6:.0f} MFLOP and {3 * 4 * numbers / 1e6:.1f} MB an image, {seconds:.1f} s for 60,000 at {speeds['convolution'] / 1e9:.0f} GFLOP/s "
            f"and {speeds['copy'] / 1e9:.0f} GB/s; memory: {kept / 2**20:.0f} MiB of f32 spikes and currents kept for the backward pass, "
            f"{turning / 2**20:.0f} MiB where the first layer's spikes meet their gradient")


def main():
    global DATA
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("data", help="folder that holds mnist/")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--images", type=int, default=10000)
    p.add_argument("--peer-epochs", type=int, default=1, help="epochs that a peer trains before its spiking evaluation")
    p.add_argument("--tasks", default="training,spiking,latency,layer,bptt", help="of training, spiking, latency, layer, bptt")
    p.add_argument("--train", type=int, default=4000, help="images that bptt trains")
    p.add_argument("--test", type=int, default=1000, help="images on which bptt is tested")
    p.add_argument("--batch", type=int, default=100, help="batch of bptt")
    p.add_argument("--sizes", default="256,512,1024", help="sizes of layer")
    p.add_argument("--layer-steps", type=int, default=100, help="timesteps of layer")
    p.add_argument("--compiled", action=argparse.BooleanOptionalAction, default=True, help="layer and bptt: peers also by torch.compile")
    p.add_argument("--ours", nargs="*", default=[], help="further options for our training, such as --set=..")
    p.add_argument("--out", help="append the table to this file")
    a = p.parse_args()
    a.nengodl, a.torch = os.environ.get("NENGODL_PYTHON"), os.environ.get("TORCH_PYTHON")
    peers = {"training": [("tch-spiking", ours_training, None)], "spiking": [("tch-spiking event", ours_spiking, "event"), ("tch-spiking dense", ours_spiking, "dense")]}
    if a.nengodl:
        peers["training"].append(("NengoDL", nengodl_training, None)); peers["spiking"].append(("NengoDL", nengodl_spiking, None))
    if a.torch:
        name = "PyTorch compiled" if os.environ.get("TORCH_COMPILE") else "PyTorch eager"
        peers["training"].append((name, torch_training, None)); peers["spiking"].append((name, torch_spiking, None))
    peers["latency"] = [("tch-spiking, 1 thread", ours_latency, None)]
    sizes, a.speeds = a.sizes.split(","), None
    for size in sizes:
        peers["layer" + size] = [(f"tch-spiking, {model}, {method}", ours_layer, f"{model} {method} {size}")
                                 for model, method in [("leaky", "surrogate"), ("lif", "surrogate"), ("lif", "spiking_aware")]]
    peers["bptt"] = [("tch-spiking", ours_bptt, None)]
    if a.torch:
        plain = ["spikingjelly", "snntorch", "norse"]
        names = {"layer": [*plain, "torch_loop"], "bptt": [*plain, "torch"]}
        if a.compiled:
            names = {"layer": names["layer"] + [f"{name}_compile" for name in names["layer"]],
                     "bptt": names["bptt"] + [f"{name}-compile" for name in names["bptt"]]}
        peers["latency"] += [(name, peer_latency, name) for name in ["torch", "torch --compile", "snntorch"]]
        for size in sizes:
            peers["layer" + size] += [(name, peer_layer, f"{name} {size}") for name in names["layer"]]
        peers["bptt"] += [(name, peer_bptt, name) for name in names["bptt"]]
    DATA = os.path.abspath(a.data)
    tasks = [task for task in a.tasks.split(",") for task in ([task + size for size in sizes] if task == "layer" else [task])]
    rows = [f"CPU {cpu()}, {a.threads} threads, {a.rounds} rounds, {a.images} images", ""]
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            results, failed = {}, {}
            for _ in range(a.rounds):
                for name, measure, argument in peers[task]:
                    if name in failed:
                        continue
                    try:
                        r = measure(a, argument if argument else folder)
                    except Failure as failure:
                        if name.startswith("tch-spiking"):
                            sys.exit(str(failure))
                        failed[name] = r = str(failure)
                    else:
                        results.setdefault(name, []).append(r)
                    print(task, name, r, file=sys.stderr, flush=True)
            rows += [f"| {task} | s (median) | all runs | times ours | accuracy | peak MiB | |", "|---|---|---|---|---|---|---|"]
            ours = None
            for name, rs in [(name, rs) for name, rs in results.items() if name not in failed]:
                seconds = statistics.median(r["seconds"] for r in rs)
                ours = ours or seconds
                accuracy = "" if rs[-1]["accuracy"] is None else f"{100 * rs[-1]['accuracy']:.2f} %"
                runs = ", ".join(f"{r['seconds']:.3g}" for r in rs)
                peak, note = statistics.median(r["peak_mib"] for r in rs), rs[-1].get("note", "")
                rows.append(f"| {name} | {seconds:.3g} | {runs} | {seconds / ours:.1f} | {accuracy} | {peak:.0f} | {note} |")
            rows += [f"| {name} | does not work | | | | | |" for name in failed]
            if a.torch and task.startswith(("layer", "bptt")):
                rows += ["", floors(a, task)]
            rows.append("")
    text = "\n".join(rows)
    print(text)
    if a.out:
        with open(a.out, "a") as f:
            f.write(text + "\n")


def cpu():
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


main()
