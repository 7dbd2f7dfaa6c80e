"""The tch-spiking layers for PyTorch layers, used by export_pytorch.py."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from functools import singledispatch
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Unsupported(Exception):
    """An operation that tch-spiking does not support."""


@dataclass(eq=False)
class Layer:
    """A layer in the form of tch-spiking's configuration, and its input layers (None: the image)."""

    type: str
    keys: dict[str, object] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    source: str = ""
    output: tuple[int, ...] = ()
    inputs: list[Layer | None] = field(default_factory=list)


def pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def refuse(unwanted: bool, what: str, instead: str) -> None:
    if unwanted:
        raise Unsupported(f"{what} is not supported; {instead}")


def parameters(module: nn.Module, *names: str) -> dict[str, Tensor]:
    return {name: tensor for name in names if (tensor := getattr(module, name)) is not None}


# Alternatives to unsupported modules, functions and operators, by parts of their names.
INSTEAD = {
    ("linear", "matmul", "addmm"): "use nn.Linear",
    ("stack",): "use torch.cat(.., dim=1)",
    ("add", "sub", "mul", "div"): "remove arithmetic from forward (--mean and --std give the scaling of pixels)",
    ("conv",): "use nn.Conv2d",
    ("mean",): "use nn.AdaptiveAvgPool2d(1) and nn.Flatten()",
    ("pool",): "use nn.AvgPool2d or nn.MaxPool2d",
    ("norm",): "use nn.BatchNorm2d or nn.BatchNorm1d, or none",
    ("lu", "sigmoid", "tanh", "swish", "softplus", "softsign"): "use nn.ReLU, or nn.LeakyReLU",
    ("dropout",): "use nn.Dropout",
    ("pad",): "use the padding of nn.Conv2d or of the pool",
}


def unknown(name: str) -> Unsupported:
    hints = (hint for parts, hint in INSTEAD.items() if any(part in name.lower() for part in parts))
    return Unsupported(f"tch-spiking has no such layer; {next(hints, 'leave it out, or build the model without it')}")


@singledispatch
def convert(module: nn.Module, before: tuple[int, ...], after: tuple[int, ...]) -> Layer | None:
    """The layer for `module`, which makes images of shape `after` from those of shape `before`; None if it does nothing."""
    raise unknown(type(module).__name__)


@convert.register
def _(module: nn.Conv2d, before, after):
    kernel, dilation, padding = pair(module.kernel_size), pair(module.dilation), module.padding
    refuse(module.padding_mode != "zeros", f"padding_mode={module.padding_mode!r}", "pad with zeros")
    if padding == "valid":
        padding = 0
    elif padding == "same":
        around = [step * (size - 1) for step, size in zip(dilation, kernel)]
        refuse(any(sum_ % 2 for sum_ in around), "padding='same' with more on one side", "use a kernel of odd size")
        padding = [sum_ // 2 for sum_ in around]
    keys = {"out_channels": module.out_channels, "kernel": kernel, "stride": pair(module.stride)}
    keys |= {"padding": pair(padding), "dilation": dilation, "groups": module.groups, "bias": module.bias is not None}
    return Layer("conv2d", keys, parameters(module, "weight", "bias"))


@convert.register
def _(module: nn.Linear, before, after):
    refuse(len(before) != 1, "nn.Linear on images", "put nn.Flatten() before it")
    keys = {"out_features": module.out_features, "bias": module.bias is not None}
    return Layer("linear", keys, parameters(module, "weight", "bias"))


@convert.register(nn.BatchNorm1d)
@convert.register(nn.BatchNorm2d)
def _(module, before, after):
    refuse(module.running_mean is None, "track_running_stats=False", "train with running statistics")
    # PyTorch's None, a mean over all batches, only matters in training.
    momentum = 0.1 if module.momentum is None else module.momentum
    keys = {"eps": float(module.eps), "momentum": float(momentum), "affine": module.affine}
    return Layer("batch_norm", keys, parameters(module, "weight", "bias", "running_mean", "running_var"))


def pool(kind: str, module: nn.AvgPool2d | nn.MaxPool2d) -> Layer:
    refuse(module.ceil_mode, "ceil_mode=True", "leave it False, and pad instead")
    stride = module.kernel_size if module.stride is None else module.stride
    return Layer(kind, {"kernel": pair(module.kernel_size), "stride": pair(stride), "padding": pair(module.padding)})


@convert.register
def _(module: nn.AvgPool2d, before, after):
    uncounted = not module.count_include_pad and pair(module.padding) != [0, 0]
    refuse(uncounted, "count_include_pad=False", "count the padding, or do not pad")
    refuse(module.divisor_override is not None, "divisor_override", "leave it out")
    return pool("avg_pool", module)


@convert.register
def _(module: nn.MaxPool2d, before, after):
    refuse(pair(module.dilation) != [1, 1], f"dilation={module.dilation}", "leave it 1")
    refuse(module.return_indices, "return_indices=True", "leave it False")
    return pool("max_pool", module)


@convert.register
def _(module: nn.AdaptiveAvgPool2d, before, after):
    uneven = any(size % windows for size, windows in zip(before[1:], after[1:]))
    refuse(uneven, f"pooling {before[1]}x{before[2]} to {after[1]}x{after[2]}", "use nn.AvgPool2d with a kernel and a stride")
    kernel = [size // windows for size, windows in zip(before[1:], after[1:])]
    return None if kernel == [1, 1] else Layer("avg_pool", {"kernel": kernel})


@convert.register
def _(module: nn.Flatten, before, after):
    refuse(after != (prod(before),), f"the step from {before} to {after}", "flatten whole images, as nn.Flatten() does")
    return None if before == after else Layer("flatten")


@convert.register
def _(module: nn.LeakyReLU, before, after):
    return Layer("leaky_relu", {"negative_slope": float(module.negative_slope)})


@convert.register(nn.Dropout)
@convert.register(nn.Dropout2d)
def _(module, before, after):
    refuse(module.p >= 1, f"p={module.p}", "use a probability below 1")
    return Layer("dropout", {"p": float(module.p)})


convert.register(nn.ReLU, lambda module, before, after: Layer("relu"))
convert.register(nn.Identity, lambda module, before, after: None)


def dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Dropout:
    refuse(training, "dropout that is on in evaluation too", "pass training=self.training, or use nn.Dropout")
    return nn.Dropout(p)


def flatten(*_, **__) -> nn.Flatten:
    return nn.Flatten()


# Functions and methods, mapped to modules with the same arguments.
CALLS = {call: nn.ReLU for call in (F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_")}
CALLS |= {call: flatten for call in (torch.flatten, torch.reshape, torch.squeeze, "flatten", "view", "reshape", "squeeze")}
CALLS |= {F.leaky_relu: nn.LeakyReLU, F.max_pool2d: nn.MaxPool2d, torch.max_pool2d: nn.MaxPool2d, F.avg_pool2d: nn.AvgPool2d}
CALLS |= {F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d, F.dropout: dropout, F.dropout2d: dropout, "contiguous": nn.Identity}
SOFTMAX = (F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, "softmax", "log_softmax")

# Operations on several tensors, as functions, operators and methods.
ADD = (operator.add, torch.add, "add", "add_")
CONCAT = (torch.cat, torch.concat, torch.concatenate)


def added(input: object, other: object, *, alpha: float = 1) -> list[object]:
    """The summands, from the arguments of torch.add."""
    refuse(alpha != 1, f"alpha={alpha}", "add without a factor")
    return [input, other]


def concatenated(tensors: list, dim: int = 0, *, axis: int | None = None) -> tuple[list[object], int]:
    """The concatenated tensors and the dimension, from the arguments of torch.cat."""
    return list(tensors), dim if axis is None else axis


def add(before: list[tuple[int, ...]]) -> Layer:
    refuse(len(set(before)) != 1, f"the sum of shapes {' and '.join(map(str, before))}", "add tensors of one shape")
    return Layer("add")


def concat(before: list[tuple[int, ...]], dim: int) -> Layer:
    along = dim if dim >= 0 else dim + 1 + len(before[0])
    refuse(along != 1, f"concatenation along dim={dim}", "concatenate channels, or features: dim=1")
    return Layer("concat")
