#!/usr/bin/env python3
"""Writes a PyTorch model as a weights file of tch-spiking, which then needs neither PyTorch nor a configuration.

    python scripts/export_pytorch.py models:make_net --weights state.pt --input 1,28,28 --out net.safetensors
    tch-spiking inspect net.safetensors
    tch-spiking convert-network net.safetensors snn.safetensors --verify

`models:make_net` is a function (or class) of no arguments that returns the model, in a module found from the current folder.
The model must be a chain of layers that tch-spiking has; anything else is named, and nothing is written.

tch-spiking gives networks pixels of 0 to 255. Where the model was trained on (pixel / 255 - mean) / std, as after
torchvision's ToTensor (mean 0, std 1) and Normalize, say so with --mean and --std: it goes into the first layer's weights.
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
from torch import Tensor, fx, nn

from pytorch_layers import CALLS, IN_A_ROW, SOFTMAX, Layer, Unsupported, convert, refuse, unknown


def is_about_shape(node: fx.Node) -> bool:
    """Whether it is not a tensor of the chain but a number from a shape: `x.size(0)`, `x.shape[0]`."""
    if node.target is operator.getitem:
        return is_about_shape(node.args[0])
    return node.target in ("size", "dim", len) or (node.target is getattr and node.args[1] == "shape")


class Shapes(fx.Interpreter):
    """Runs the model and notes the shape of every tensor."""

    extra_traceback = False

    def run_node(self, node: fx.Node) -> object:
        result = super().run_node(node)
        node.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Of one image behind `node`."""
    shape = node.meta["shape"]
    refuse(shape is None, "more than one tensor as a result", "return one, the logits")
    refuse(shape[:1] != (2,) or len(shape) not in (2, 4), f"a tensor of shape {shape} for 2 images", "keep to images and features")
    return shape[1:]


def layer_of(node: fx.Node, modules: dict[str, nn.Module]) -> Layer | None:
    if node.op == "call_module":
        module = modules[node.target]
    elif node.target in CALLS:
        module = CALLS[node.target](*node.args[1:], **{key: value for key, value in node.kwargs.items() if key != "input"})
    else:
        raise unknown(getattr(node.target, "__name__", str(node.target)))
    return convert(module, shape_of(node.all_input_nodes[0]), shape_of(node))


def place_of(node: fx.Node, modules: dict[str, nn.Module]) -> str:
    """`features.3 (GELU)`, or for a function where it is called: `block2: add`."""
    if node.op == "call_module":
        return f"{node.target} ({type(modules[node.target]).__name__})"
    path = next((path for path, _ in reversed(node.meta.get("nn_module_stack", {}).values()) if path), "")
    return f"{path}: " * bool(path) + getattr(node.target, "__name__", str(node.target))


def trace(model: nn.Module, shape: list[int]) -> list[Layer]:
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:
        raise Unsupported(f"the forward pass cannot be traced, since it depends on its input's values: {error}") from error
    try:
        with torch.no_grad():
            Shapes(traced).run(torch.zeros(2, *shape, dtype=next(model.parameters(), torch.zeros(0)).dtype))
    except Exception as error:
        raise Unsupported(f"the model does not take images of {shape}: {error}; correct --input") from error
    modules, layers, current = dict(traced.named_modules()), [], None
    for node in traced.graph.nodes:
        if node.op == "placeholder" and (current is None or not node.users):
            current = current or node  # further arguments, if they are not used, do no harm
        elif node.op == "output":
            if node.args[0] is not current:
                raise Unsupported("the model returns something else than its last layer gives; return one tensor, the logits")
        elif not is_about_shape(node):
            place = place_of(node, modules)
            try:
                module = modules.get(node.target) if node.op == "call_module" else None
                if node.target in SOFTMAX or isinstance(module, (nn.Softmax, nn.LogSoftmax)):
                    refuse(next(iter(node.users)).op != "output", "a softmax between layers", "leave it out")
                    print(f"note: {place} is left out: logits have the same order")
                else:
                    layer = layer_of(node, modules)
                    inputs = [argument for argument in node.all_input_nodes if not is_about_shape(argument)]
                    if inputs != [current]:
                        raise Unsupported(f"it does not follow the layer before it; {IN_A_ROW}")
                    if layer:
                        layer.source, layer.output = place, shape_of(node)
                        layers.append(layer)
            except Unsupported as error:
                raise Unsupported(f"{place}: {error}") from None
            current = node
    return layers


def fold_normalization(layers: list[Layer], shape: list[int], mean: list[float], std: list[float]) -> None:
    """Lets the first layer take pixels `p` of 0 to 255 in place of `(p / 255 - mean) / std`."""
    first = next((layer for layer in layers if layer.type not in ("flatten", "dropout")), None)
    if first is None or first.type not in ("conv2d", "linear") or first.keys.get("groups", 1) != 1:
        raise Unsupported("--mean and --std need nn.Conv2d (without groups) or nn.Linear as the first layer")
    refuse(0 in std, "--std 0", "give what the pixels were divided by")
    refuse(any(mean) and any(first.keys.get("padding", [])), "--mean with padding in the first layer", "train with mean 0")
    channels = shape[0] if len(shape) == 3 else 1
    if not {len(mean), len(std)} <= {1, channels}:
        raise Unsupported(f"--mean and --std: expected one number, or {channels}, one for each channel")
    old = first.tensors["weight"]
    mean, std = (torch.tensor(numbers).double().expand(channels).reshape(1, channels, 1) for numbers in (mean, std))
    weight = old.double().reshape(len(old), channels, -1) / std
    first.tensors["weight"] = (weight / 255).reshape(old.shape).to(old.dtype)
    if mean.any():
        bias = first.tensors.get("bias", torch.zeros(len(old))).double() - (weight * mean).sum((1, 2))
        first.tensors["bias"], first.keys["bias"] = bias.to(old.dtype), True


def toml(shape: list[int], layers: list[Layer]) -> str:
    tables = []
    for layer in layers:
        keys = {"type": layer.type, **layer.keys}
        tables.append("    { " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in keys.items()) + " },\n")
    return f"input = {json.dumps(shape)}\nlayers = [\n{''.join(tables)}]\n"


def names_of(layers: list[Layer]) -> list[str]:
    """As tch-spiking counts them: conv1, pool1, conv2 .."""
    stems = [{"conv2d": "conv", "avg_pool": "pool", "max_pool": "pool"}.get(layer.type, layer.type) for layer in layers]
    return [f"{stem}{stems[: index + 1].count(stem)}" for index, stem in enumerate(stems)]


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Length of the header, header, bytes of the tensors; under another name until it is whole."""
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
    refuse(not name, f"{factory!r}", "name a module and what makes the model in it, as in models:make_net")
    sys.path.insert(0, os.getcwd())
    model = operator.attrgetter(name)(importlib.import_module(module))
    model = model if isinstance(model, nn.Module) else model()
    refuse(not isinstance(model, nn.Module), f"{factory} gives {type(model).__name__}", "return an nn.Module")
    if weights:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        model.load_state_dict(state.get("state_dict", state))
    return model.cpu().eval()


def export(model: nn.Module, shape: list[int], out: Path, facts: dict[str, str], mean=None, std=None) -> None:
    layers = trace(model, shape)
    if mean or std:
        fold_normalization(layers, shape, mean or [0.0], std or [1.0])
    tensors = {}
    print(f"{'layer':<14} {'from':<34} {'output':>12} {'parameters':>11}")
    for name, layer in zip(names_of(layers), layers):
        size = sum(tensor.numel() for tensor in layer.tensors.values())
        print(f"{name:<14} {layer.source:<34} {'x'.join(map(str, layer.output)):>12} {size or '':>11}")
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
    parser.add_argument("factory", metavar="MODULE:NAME", help="what makes the model")
    parser.add_argument("--input", type=integers, required=True, metavar="C,H,W", help="the shape of one image: 1,28,28")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where to write: exported.safetensors")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="its state_dict, as torch.save wrote it")
    parser.add_argument("--dataset", choices=["mnist", "fashion"], help="what it was trained on, for evaluate")
    parser.add_argument("--mean", type=numbers, metavar="M,..", help="the mean taken off pixels / 255 [0]")
    parser.add_argument("--std", type=numbers, metavar="S,..", help="what they were then divided by [1]")
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
