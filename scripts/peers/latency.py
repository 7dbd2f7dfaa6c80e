#!/usr/bin/env python3
"""One image at a time through the reference network as spikes, one thread: how long an answer takes in PyTorch and snnTorch.

usage: latency.py torch|snntorch [--images 100] [--steps 30] [--compile]
The weights are random: what a dense step costs does not depend on them. Prints one JSON line.
"""
import argparse, json, math, time
import torch
from torch import nn

p = argparse.ArgumentParser()
p.add_argument("framework", choices=["torch", "snntorch"])
p.add_argument("--images", type=int, default=100); p.add_argument("--steps", type=int, default=30); p.add_argument("--compile", action="store_true")
a = p.parse_args()
torch.set_num_threads(1); torch.manual_seed(0); torch.set_grad_enabled(False)
RC, REF, AMP, DT, GAIN = 0.02, 0.002, 0.01, 0.001, 2.0332447817197354
SHAPES = [(32, 26, 26), (64, 12, 12), (128, 5, 5)]
convs = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3, stride=2), nn.Conv2d(64, 128, 3, stride=2)]
readout = nn.Linear(3200, 10)


def lif_step(J, v, r):
    v = v - (J - v) * torch.expm1(-(DT - r).clamp(0, DT) / RC)
    hit = v > 1
    r = torch.where(hit, REF + RC * torch.log1p((1 - v) / (J - 1)), r - DT)
    return hit.float() * (AMP / DT), torch.where(hit, 0.0, v.clamp(min=0)), r


def with_torch(x):
    v, r = [torch.rand(1, *s) for s in SHAPES], [torch.zeros(1, *s) for s in SHAPES]
    y, k = 0, math.exp(-DT / 0.1)
    for _ in range(a.steps):
        h = x
        for i, conv in enumerate(convs):
            h, v[i], r[i] = lif_step(GAIN * conv(h) + 1, v[i], r[i])
        y = k * y + (1 - k) * readout(h.flatten(1))
    return y


if a.framework == "snntorch":
    import snntorch

    neurons = [snntorch.Leaky(beta=math.exp(-DT / RC)) for _ in SHAPES]
    version = "snnTorch " + snntorch.__version__
else:
    if a.compile:
        lif_step = torch.compile(lif_step)
    version = "torch " + torch.__version__ + (" compile" if a.compile else " eager")


def with_snntorch(x):
    memory, y, k = [n.init_leaky() for n in neurons], 0, math.exp(-DT / 0.1)
    for _ in range(a.steps):
        h = x
        for i, conv in enumerate(convs):
            h, memory[i] = neurons[i](conv(h), memory[i])
        y = k * y + (1 - k) * readout(h.flatten(1))
    return y


run = with_snntorch if a.framework == "snntorch" else with_torch
image = torch.rand(1, 1, 28, 28) * 255
for _ in range(5):
    run(image)
times = []
for _ in range(a.images):
    start = time.perf_counter(); run(image); times.append(1e3 * (time.perf_counter() - start))
times.sort()
print(json.dumps(dict(framework=version, images=a.images, steps=a.steps, threads=1, median_ms=times[len(times) // 2],
                      p99_ms=times[int(0.99 * len(times))])))
