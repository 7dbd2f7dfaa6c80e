#!/usr/bin/env python3
"""The reference topology (conv 32, 64/2, 128/2, linear 10; no padding) trained through time on MNIST, constant input over T steps, cross-entropy of the mean output.

usage: bptt_mnist.py DATA_DIR PEER [--steps 8] [--batch 100] [--images 4000] [--epochs 1] [--test 1000] [--threads 2]
PEER is spikingjelly, snntorch, norse or torch, also with -compile: the whole forward pass by torch.compile (torch-compile: the neurons alone).
Prints one JSON line: seconds for the images of the last epoch (5 batches, which warm up, are not counted), peak memory (MiB, above what the process held before training), accuracy.
"""
import argparse, gzip, json, os, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
p = argparse.ArgumentParser()
p.add_argument("data"); p.add_argument("peer"); p.add_argument("--steps", type=int, default=8); p.add_argument("--batch", type=int, default=100)
p.add_argument("--images", type=int, default=4000); p.add_argument("--epochs", type=int, default=1); p.add_argument("--test", type=int, default=1000); p.add_argument("--threads", type=int, default=2)
a = p.parse_args(); a.name = a.peer; compiled = a.peer.endswith("-compile"); a.peer = a.peer.removesuffix("-compile"); torch.set_num_threads(a.threads); torch.manual_seed(0); T = a.steps
idx = lambda f, off: np.frombuffer(gzip.open(os.path.join(a.data, f)).read(), np.uint8, offset=off)
im = lambda f: torch.tensor(idx(f, 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255)
X, Y = im("train-images-idx3-ubyte.gz")[:a.images], torch.tensor(idx("train-labels-idx1-ubyte.gz", 8).astype(np.int64))[:a.images]
XT, YT = im("t10k-images-idx3-ubyte.gz")[:a.test], torch.tensor(idx("t10k-labels-idx1-ubyte.gz", 8).astype(np.int64))[:a.test]
def convs():  # weights six times as large as PyTorch's, or nothing spikes
    cs = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3, stride=2), nn.Conv2d(64, 128, 3, stride=2)]
    for c in cs: c.weight.data *= 6
    return cs
if a.peer == "spikingjelly":
    from spikingjelly.activation_based import neuron, layer, functional, surrogate
    L = []
    for c in convs(): L += [layer.SeqToANNContainer(c), neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m")]
    net = nn.Sequential(*L, layer.SeqToANNContainer(nn.Flatten(), nn.Linear(3200, 10)))
    def forward(x): functional.reset_net(net); return net(x[None].expand(T, *x.shape)).mean(0)
elif a.peer == "snntorch":
    import snntorch as st; from snntorch import surrogate
    cs, ls, fc = nn.ModuleList(convs()), nn.ModuleList([st.Leaky(beta=.5, spike_grad=surrogate.atan()) for _ in range(3)]), nn.Linear(3200, 10)
    net = nn.ModuleList([cs, ls, fc])
    def forward(x):
        m = [l.init_leaky() for l in ls]; o = 0
        for _ in range(T):
            h = x
            for k in range(3): h, m[k] = ls[k](cs[k](h), m[k])
            o = o + fc(h.flatten(1))
        return o / T
elif a.peer == "norse":
    import norse.torch as no
    L = []
    for c in convs(): L += [c, no.LIFBoxCell(no.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.), v_th=torch.as_tensor(1.0)))]
    net = no.SequentialState(*L, nn.Flatten(), nn.Linear(3200, 10))
    def forward(x):
        s, o = None, 0
        for _ in range(T): y, s = net(x, s); o = o + y
        return o / T
else:
    class Fire(torch.autograd.Function):
        @staticmethod
        def forward(c, x): c.save_for_backward(x); return (x > 0).to(x.dtype)
        @staticmethod
        def backward(c, g): (x,) = c.saved_tensors; return g / (1 + (np.pi * x) ** 2)
    def scan(x):  # [T, B, ..]: decay 0.5, hard reset, detached
        v, out = torch.zeros_like(x[0]), []
        for t in range(T): v = v + (x[t] - v) * .5; s = Fire.apply(v - 1); out.append(s); v = v * (1 - s.detach())
        return torch.stack(out)
    if compiled: scan = torch.compile(scan)
    cs, fc = nn.ModuleList(convs()), nn.Linear(3200, 10); net = nn.ModuleList([cs, fc])
    def forward(x):
        h = x[None].expand(T, *x.shape)
        for c in cs: y = c(h.reshape(-1, *h.shape[2:])); h = scan(y.view(T, -1, *y.shape[1:]))
        return fc(h.flatten(2)).mean(0)
if compiled and a.peer != "torch": forward = torch.compile(forward)
def status(name): return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))
opt = torch.optim.Adam(net.parameters(), 1e-3)
open("/proc/self/clear_refs", "w").write("5")  # the high-water mark begins anew: reading the images took more than is held now
before = status("VmRSS:")
for e in range(a.epochs):
    pm = torch.randperm(len(X)); t, n = None, 0
    for k, i in enumerate(range(0, len(X) - a.batch + 1, a.batch)):
        if k == 5: t, n = time.perf_counter(), 0
        o = forward(X[pm[i:i + a.batch]]); loss = F.cross_entropy(o, Y[pm[i:i + a.batch]]); opt.zero_grad(); loss.backward(); opt.step(); n += a.batch
    s = time.perf_counter() - t
peak = status("VmHWM:") - before
net.eval()
with torch.no_grad(): acc = torch.cat([forward(x).argmax(1) for x in XT.split(200)]).eq(YT).float().mean().item()
print(json.dumps(dict(peer=a.name, torch=torch.__version__, steps=T, batch=a.batch, images_per_second=round(n / s, 1), seconds_60000=round(60000 * s / n, 1), peak_mib=round(peak), accuracy=round(acc, 4), loss=round(float(loss.detach()), 3))))
