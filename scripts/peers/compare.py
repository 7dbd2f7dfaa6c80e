#!/usr/bin/env python3
"""Runs tch-spiking and its peers in turn on the same work and prints a table of medians. See scripts/bench_peers.sh."""
import argparse, json, os, platform, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "..", "..", "target", "release", "tch-spiking")


def run(command, environment=None):
    """The JSON object that `command` prints last, with its peak memory in MiB and its seconds from start to end."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        out.seek(0)
        lines = out.read().decode().strip().splitlines()
    if status != 0 or not lines:
        sys.exit(f"failed ({status}): {' '.join(command)}")
    return {**json.loads(lines[-1]), "peak_mib": usage.ru_maxrss / 1024, "process_s": seconds}


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


def ours_layer(a, size):
    r = bench("lif_layer", "100", "16", size)
    return {"seconds": (r["fwd_ms"] + r["bwd_ms"]) / 1e3, "note": f"{r['fwd_ms']:.2f} + {r['bwd_ms']:.2f} ms", "accuracy": None, **r}


def peer_layer(a, argument):
    framework, size = argument.split()
    r = run([a.torch, os.path.join(HERE, "lif_layer.py"), framework, "--device", "cpu", "--n", size, "--batch", "16", "--steps", "100",
             "--threads", str(a.threads)])
    return {"seconds": (r["fwd_ms"] + r["bwd_ms"]) / 1e3, "note": f"{r['fwd_ms']:.2f} + {r['bwd_ms']:.2f} ms", "accuracy": None, **r}


def main():
    global DATA
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("data", help="folder that holds mnist/")
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--images", type=int, default=10000)
    p.add_argument("--peer-epochs", type=int, default=1, help="epochs that a peer trains before its spiking evaluation")
    p.add_argument("--tasks", default="training,spiking,latency,layer", help="of training, spiking, latency, layer")
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
    for size in ["256", "512", "1024"]:
        peers["layer" + size] = [("tch-spiking", ours_layer, size)]
    if a.torch:
        peers["latency"] += [(name, peer_latency, name) for name in ["torch", "torch --compile", "snntorch"]]
        for size in ["256", "512", "1024"]:
            peers["layer" + size] += [(name, peer_layer, f"{name} {size}") for name in ["spikingjelly", "snntorch", "norse", "torch_loop"]]
    DATA = os.path.abspath(a.data)
    tasks = [task for task in a.tasks.split(",") for task in ([task + size for size in ("256", "512", "1024")] if task == "layer" else [task])]
    rows = [f"CPU {cpu()}, {a.threads} threads, {a.rounds} rounds, {a.images} images", ""]
    with tempfile.TemporaryDirectory() as folder:
        for task in tasks:
            results = {}
            for _ in range(a.rounds):
                for name, measure, argument in peers[task]:
                    r = measure(a, argument if argument else folder)
                    results.setdefault(name, []).append(r)
                    print(task, name, r, file=sys.stderr, flush=True)
            rows += [f"| {task} | s (median) | all runs | times ours | accuracy | peak MiB | |", "|---|---|---|---|---|---|---|"]
            ours = None
            for name, rs in results.items():
                seconds = statistics.median(r["seconds"] for r in rs)
                ours = ours or seconds
                accuracy = "" if rs[-1]["accuracy"] is None else f"{100 * rs[-1]['accuracy']:.2f} %"
                runs = ", ".join(f"{r['seconds']:.3g}" for r in rs)
                peak, note = statistics.median(r["peak_mib"] for r in rs), rs[-1].get("note", "")
                rows.append(f"| {name} | {seconds:.3g} | {runs} | {seconds / ours:.1f} | {accuracy} | {peak:.0f} | {note} |")
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
