#!/usr/bin/env python3
"""Exports a PyTorch model to a weights file of tch-spiking, which is usable without PyTorch and without a configuration.

    python scripts/export_pytorch.py models:make_net --weights state.pt --input 1,28,28 --out net.safetensors
    tch-spiking inspect net.safetensors
    tch-spiking convert-network net.safetensors snn.safetensors --verify

`models:make_net` is a function (or class) without arguments that returns the model, in a module found from the current folder.
The model must consist of layers that tch-spiking supports, in sequence or with branches that are added (`x + y`) or concatenated
(`torch.cat(.., dim=1)`), such as skip connections. For anything else, the error names the layer, and nothing is written.

Networks of tch-spiking take pixels from 0 to 255. If the model was trained on (pixel / 255 - mean) / std, as after
torchvision's ToTensor (mean 0, std 1) and Normalize, give --mean and --std: they are folded into the first layer's weights, or
become a layer of their own (standardize) where that is padded or has groups.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import operator
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from pytorch_graph import trace
from pytorch_layers import Layer, Unsupported, refuse


def first_layers(layers: list[Layer], origin: Layer | None = None) -> list[Layer]:
    """The layers that read the image itself, skipping layers that do not change its values."""
    users = [layer for layer in layers if origin in layer.inputs]
    found = ([layer] if layer.type not in ("flatten", "dropout") else first_layers(layers, layer) for layer in users)
    return [layer for group in found for layer in group]


def normalize(layers: list[Layer], shape: list[int], mean: list[float], std: list[float]) -> list[Layer]:
    """The layers that take pixels `p` of 0 to 255 in place of `(p / 255 - mean) / std`."""
    refuse(any(number <= 0 for number in std), f"--std {min(std)}", "give the standard deviation of the pixels, above 0")
    channels = shape[0] if len(shape) == 3 else 1
    if not {len(mean), len(std)} <= {1, channels}:
        raise Unsupported(f"--mean and --std: expected one number, or {channels}, one for each channel")
    first = first_layers(layers)
    plain = all(layer.type in ("conv2d", "linear") and layer.keys.get("groups", 1) == 1 for layer in first)
    padded = any(any(layer.keys.get("padding", [])) for layer in first)
    if not first or not plain or (any(mean) and padded):
        return standardized(layers, shape, mean, std)
    mean, std = (torch.tensor(numbers).double().expand(channels).reshape(1, channels, 1) for numbers in (mean, std))
    for layer in first:
        old = layer.tensors["weight"]
        weight = old.double().reshape(len(old), channels, -1) / std
        layer.tensors["weight"] = (weight / 255).reshape(old.shape).to(old.dtype)
        if mean.any():
            bias = layer.tensors.get("bias", torch.zeros(len(old))).double() - (weight * mean).sum((1, 2))
            layer.tensors["bias"], layer.keys["bias"] = bias.to(old.dtype), True
    return layers


def standardized(layers: list[Layer], shape: list[int], mean: list[float], std: list[float]) -> list[Layer]:
    """The layers behind one that does the same to the pixels, so that padding adds what it did in training: zeros."""
    keys = {"mean": [255 * number for number in mean], "std": [255 * number for number in std]}
    tensors = {key: torch.tensor(numbers).expand(shape[0]).contiguous() for key, numbers in keys.items()}
    keys = {key: numbers if len(numbers) > 1 else numbers[0] for key, numbers in keys.items()}
    own = Layer("standardize", keys, tensors, "--mean, --std", tuple(shape), [None])
    for layer in layers:
        layer.inputs = [own if origin is None else origin for origin in layer.inputs]
    return [own, *layers]


def names_of(layers: list[Layer]) -> dict[Layer, str]:
    """The layer names of tch-spiking: conv1, pool1, conv2 .."""
    stems = [{"conv2d": "conv", "avg_pool": "pool", "max_pool": "pool"}.get(layer.type, layer.type) for layer in layers]
    return {layer: f"{stem}{stems[: index + 1].count(stem)}" for index, (layer, stem) in enumerate(zip(layers, stems))}


def inputs_of(layers: list[Layer]) -> dict[Layer, list[str]]:
    """The names of the inputs of each layer, unless it only reads the layer before it."""
    names = names_of(layers) | {None: "input"}
    return {
        layer: [names[origin] for origin in layer.inputs]
        for layer, before in zip(layers, [None, *layers])
        if layer.inputs != [before]
    }


def toml(shape: list[int], layers: list[Layer]) -> str:
    inputs, tables = inputs_of(layers), []
    for layer in layers:
        keys = {"type": layer.type, **layer.keys} | ({"from": inputs[layer]} if layer in inputs else {})
        tables.append("    { " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()) + " },\n")
    return f"input = {json.dumps(shape)}\nlayers = [\n{''.join(tables)}]\n"


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes header length, header and tensor bytes to a temporary file, which is renamed when complete."""
    header, data = {"__metadata__": metadata}, []
    end = 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().to(torch.float64 if tensor.dtype == torch.float64 else torch.float32).contiguous()
        start, end = end, end + tensor.nbytes
        dtype = "F64" if tensor.dtype == torch.float64 else "F32"
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
        data.append(ctypes.string_at(tensor.data_ptr(), tensor.nbytes))
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *data]))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_model(factory: str, weights: Path | None) -> nn.Module:
    module, _, name = factory.partition(":")
    refuse(not name, f"{factory!r}", "give a module and the function in it that returns the model, as in models:make_net")
    sys.path.insert(0, os.getcwd())
    model = operator.attrgetter(name)(importlib.import_module(module))
    model = model if isinstance(model, nn.Module) else model()
    refuse(not isinstance(model, nn.Module), f"{factory} returns {type(model).__name__}", "return an nn.Module")
    if weights:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state.get("state_dict", state))
    return model.cpu().eval()


def export(model: nn.Module, shape: list[int], out: Path, facts: dict[str, str], mean=None, std=None) -> None:
    layers = trace(model, shape)
    if mean or std:
        layers = normalize(layers, shape, mean or [0.0], std or [1.0])
    tensors, inputs = {}, inputs_of(layers)
    print(f"{'layer':<14} {'in the model':<34} {'output':>12} {'parameters':>11}{'  takes' * bool(inputs)}")
    for layer, name in names_of(layers).items():
        size = sum(tensor.numel() for tensor in layer.tensors.values())
        row = f"{name:<14} {layer.source:<34} {'x'.join(map(str, layer.output)):>12} {size or '':>11}"
        print(f"{row}  {', '.join(inputs.get(layer, []))}".rstrip())
        tensors |= {f"{name}.{key}": tensor for key, tensor in layer.tensors.items()}
    metadata = {"format": "tch-spiking", "format_version": "1", "spec": toml(shape, layers), "seed": "0", "dt": "0.001"}
    metadata |= {"created_by": f"export_pytorch.py, PyTorch {torch.__version__}", **facts}
    write_safetensors(out, tensors, metadata)
    print(f"written to {out}")


def integers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def numbers(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("factory", metavar="MODULE:NAME", help="the function that returns the model")
    parser.add_argument("--input", type=integers, required=True, metavar="C,H,W", help="the shape of one image: 1,28,28")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write: exported.safetensors")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="its state_dict, as torch.save wrote it")
    parser.add_argument("--dataset", choices=["mnist", "fashion"], help="the data set of its training, for evaluate")
    parser.add_argument("--mean", type=numbers, metavar="M,..", help="the mean subtracted from pixels / 255 [0]")
    parser.add_argument("--std", type=numbers, metavar="S,..", help="the standard deviation they were then divided by [1]")
    args = parser.parse_args(arguments)
    facts = {"source": args.factory} | ({"dataset": args.dataset} if args.dataset else {})
    try:
        export(load_model(args.factory, args.weights), args.input, args.out, facts, args.mean, args.std)
    except Unsupported as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # of the user's own model, of the files
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
