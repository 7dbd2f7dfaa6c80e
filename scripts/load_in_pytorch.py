#!/usr/bin/env python3
"""Loads a weights file of tch-spiking in PyTorch: its tensors by name, or into an nn.Module. Needs only torch.

    python scripts/load_in_pytorch.py pretrained/mnist-lif/weights.safetensors

lists what the file holds, and loads the convolutions and the readout of a network like the reference one (above) into an
nn.Sequential; the bias currents of its neurons have no place there. In a program of your own:

    from load_in_pytorch import load_into, read_safetensors
    tensors, metadata = read_safetensors("runs/1/best.safetensors")   # metadata["spec"] is the network, as TOML
    load_into(model, tensors)                                          # layers with weights, in the order of the model's calls
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import torch
from torch import Tensor, fx, nn

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64}
DTYPES |= {"I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool}


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file: length of the header (8 bytes), header (JSON), data."""
    content = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = torch.frombuffer(content[start + begin : start + end] or bytearray(8), dtype=DTYPES[entry["dtype"]])
        tensors[name] = values[: 0 if begin == end else None].reshape(entry["shape"])
    return tensors, metadata


def layers_of(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Groups the tensors by layer: `{"conv1": {"weight": .., "bias": ..}, ..}`; without the optimiser's, and without neurons'."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, key = name.rpartition(".")
        if not name.startswith("optimizer."):
            layers.setdefault(layer, {})[key] = tensor
    return {name: layer for name, layer in layers.items() if layer.keys() != {"bias"}}


STEMS = {nn.Conv2d: "conv", nn.Linear: "linear", nn.BatchNorm1d: "batch_norm", nn.BatchNorm2d: "batch_norm"}


def layers_with_weights(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """With their paths, in the order in which the model calls them, which is that of the file, whatever branches there are;
    for a model that torch.fx cannot trace, in the order in which they are defined."""
    try:
        traced = fx.symbolic_trace(model)
        traced.graph.eliminate_dead_code()
        called = [(str(node.target), model.get_submodule(node.target)) for node in traced.graph.nodes if node.op == "call_module"]
    except Exception:
        called = list(model.named_modules())
    return [(path, module) for path, module in called if type(module) in STEMS]


def load_into(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copies the tensors into the layers of `model` that have some, kind by kind in the order in which they are called: the
    first nn.Conv2d gets conv1, the second conv2, the first nn.Linear linear1 ..; strictly, so that no tensor is left over on
    either side."""
    layers, counts = layers_of(tensors), dict.fromkeys(STEMS.values(), 0)
    loaded: dict[str, dict[str, Tensor]] = {}
    for path, module in layers_with_weights(model):
        stem = STEMS[type(module)]
        counts[stem] += 1
        name = f"{stem}{counts[stem]}"
        if name not in layers:
            raise ValueError(f"{path}: expected {name} in the file, found only {', '.join(layers)}")
        layer = layers.pop(name)
        again = loaded.setdefault(path, layer)
        if again is not layer and any(not torch.equal(tensor, again[key]) for key, tensor in layer.items()):
            raise ValueError(f"{path}: the model calls it twice, but {name} of the file is not what it was the first time")
        missing, unexpected = module.load_state_dict(layer, strict=False)
        missing = [key for key in missing if key != "num_batches_tracked"]
        if missing or unexpected:
            raise ValueError(f"{path}: {name} lacks {missing} and has unexpected {unexpected}")
    if layers:
        raise ValueError(f"the model has no layers for {', '.join(layers)}")


def reference_network() -> nn.Sequential:
    """The convolutions and the readout of the reference network, with ReLU in place of its LIF neurons."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2), nn.ReLU(),
        nn.Conv2d(64, 128, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(128 * 5 * 5, 10),
    )  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    tensors, metadata = read_safetensors(sys.argv[1])
    for name, tensor in tensors.items():
        print(f"{name:<20} {'x'.join(map(str, tensor.shape)):>16}")
    print(metadata.get("spec", ""))
    model = reference_network()
    load_into(model, tensors)
    print(f"loaded into\n{model}")
