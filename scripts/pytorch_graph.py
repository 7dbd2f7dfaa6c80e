"""Converts a PyTorch model to layers of tch-spiking and their inputs: torch.fx records the forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from pytorch_layers import ADD, CALLS, CONCAT, SOFTMAX, Layer, Unsupported
from pytorch_layers import add, added, concat, concatenated, convert, refuse, unknown

# Modules that return their input unchanged in evaluation mode.
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


class Trial(fx.Interpreter):
    """Runs the recorded model, records the shape of every tensor, and isolates operations from in-place changes."""

    extra_traceback = False

    def run_node(self, node: fx.Node) -> object:
        result = super().run_node(node)
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        node.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        node.meta["is_number"] = not tensors
        return result

    def fetch_args_kwargs_from_env(self, node: fx.Node) -> tuple[tuple, dict]:
        arguments = super().fetch_args_kwargs_from_env(node)
        return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, arguments)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Runs without gradients, dropout and updates of running statistics."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def name_of(node: fx.Node) -> str:
    """The name of a function or method."""
    return getattr(node.target, "__name__", str(node.target))


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of one image after `node`."""
    shape = node.meta["shape"]
    refuse(shape is None, "more than one tensor as a result", "return one, the logits")
    unusual = shape[:1] != (2,) or len(shape) not in (2, 4)
    refuse(unusual, f"a tensor of shape {shape} for 2 images", "use only images and features")
    return shape[1:]


class Recording:
    """The forward pass of a model as torch.fx recorded it, in the order in which it runs."""

    def __init__(self, model: nn.Module, shape: list[int]) -> None:
        try:
            traced = fx.symbolic_trace(model)
        except Exception as error:
            raise Unsupported(f"the forward pass cannot be traced, since it depends on its input's values: {error}") from error
        dtype = next(model.parameters(), torch.zeros(0)).dtype
        images = torch.randn(2, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
        try:
            self.result = Trial(traced).run(images.clone())
            self.expected = model(images)
        except Exception as error:
            raise Unsupported(f"the model does not take images of {shape}: {error}; correct --input") from error
        self.modules = dict(traced.named_modules())
        self.nodes = [node for node in traced.graph.nodes if node.op == "output" or not node.meta["is_number"]]
        # The nodes that the result depends on.
        self.live: set[fx.Node] = set()
        for node in reversed(self.nodes):
            if node.op == "output" or node in self.live:
                self.live.update(self.tensors_into(node))

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that `node` calls, or that a function of one tensor is like."""
        if node.op == "call_module":
            return self.modules[node.target]
        if node.target not in CALLS:
            return None
        return CALLS[node.target](*node.args[1:], **{key: value for key, value in node.kwargs.items() if key != "input"})

    def place(self, node: fx.Node) -> str:
        """`features.3 (GELU)`, or for a function where it is called: `block2: add`."""
        if node.op == "output":
            return "the model's result"
        if node.op == "call_module":
            return f"{node.target} ({type(self.modules[node.target]).__name__})"
        path = next((path for path, _ in reversed(node.meta.get("nn_module_stack", {}).values()) if path), "")
        return f"{path}: " * bool(path) + name_of(node)

    def is_softmax(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self.module(node), (nn.Softmax, nn.LogSoftmax))
        return node.target in SOFTMAX

    def tensors_into(self, node: fx.Node) -> list[fx.Node]:
        return [argument for argument in node.all_input_nodes if not argument.meta["is_number"]]

    def like(self, node: fx.Node) -> nn.Module | None:
        """The same; None too where the arguments are not supported."""
        try:
            return self.module(node)
        except (Unsupported, TypeError):
            return None

    def writes(self, node: fx.Node) -> bool:
        """Whether it changes its input in place: by the name, as PyTorch's conventions are, or as it was asked to."""
        if node.op in ("call_function", "call_method") and name_of(node).endswith("_"):
            return True
        module = self.like(node)
        return getattr(module, "inplace", False) and not isinstance(module, NOTHING)

    def memory(self, node: fx.Node) -> list[fx.Node]:
        """`node` and what lies in the same memory, back to where that was made: the inputs of views, and of changes in place."""
        chain = [node]
        while self.writes(node) or isinstance(self.like(node), (nn.Flatten, *NOTHING)):
            node = self.tensors_into(node)[0]
            chain.append(node)
        return chain

    def check_changes_in_place(self) -> None:
        """Refuses an in-place operation whose input is used again later: a layer of tch-spiking leaves its input alone."""
        for index, writer in enumerate(self.nodes):
            made = self.memory(writer)[-1] if self.writes(writer) else None
            for user in self.nodes[index + 1 :] if made else []:
                chains = map(self.memory, self.tensors_into(user))
                changed = any(chain[-1] is made and writer not in chain for chain in chains)
                if changed and (user in self.live or user.op == "output"):
                    raise Unsupported(
                        f"{self.place(writer)}: it changes its input in place, which {self.place(user)} uses afterwards; "
                        "leave out inplace=True (or the _ of the function's name)"
                    )


def tensors_of(node: fx.Node, recording: Recording) -> list[fx.Node]:
    """The input nodes of the layer for `node`."""
    if node.target in ADD and node.op != "call_module":
        tensors = added(*node.args, **node.kwargs)
    elif node.target in CONCAT:
        tensors, _ = concatenated(*node.args, **node.kwargs)
    else:
        tensors = recording.tensors_into(node)
        refuse(len(tensors) != 1, f"an operation on {len(tensors)} tensors", "give it one")
    for tensor in tensors:
        number = not isinstance(tensor, fx.Node) or tensor.meta["is_number"]
        refuse(number, f"the sum with {tensor}", "leave it out, or use the bias of a layer")
        refuse(tensor.op == "get_attr", f"an operation on {tensor.target}, a tensor of the model's own,", "use a layer")
    return tensors


def layer_for(node: fx.Node, tensors: list[fx.Node], recording: Recording) -> Layer | None:
    """The layer for `node`; None if it does nothing."""
    before = [shape_of(tensor) for tensor in tensors]
    if node.target in ADD and node.op != "call_module":
        return add(before)
    if node.target in CONCAT:
        return concat(before, concatenated(*node.args, **node.kwargs)[1])
    return convert(recording.module(node), before[0], shape_of(node))


def trace(model: nn.Module, shape: list[int]) -> list[Layer]:
    """The layers of `model`, each after those that it takes its input from; the last gives the model's result."""
    with evaluating(model):
        recording = Recording(model, shape)
    recording.check_changes_in_place()
    layers: list[Layer] = []
    # The layer that produced each tensor, None for the image.
    origins: dict[fx.Node, Layer | None] = {}
    for node in recording.nodes:
        if node.op == "placeholder" and not origins:
            origins[node] = None
        elif node.op == "output":
            refuse(not isinstance(node.args[0], fx.Node), "a model that returns more than one tensor", "return one, the logits")
        elif node.op == "placeholder":
            refuse(node in recording.live, f"a second argument ({node.target})", "give the model one tensor, the images")
        elif node.op != "get_attr" and node not in recording.live:
            print(f"note: {recording.place(node)} is omitted: the result does not depend on it")
        elif node.op != "get_attr":
            try:
                origins[node] = origin(node, recording, origins, layers)
            except Unsupported as error:
                raise Unsupported(f"{recording.place(node)}: {error}") from None
    if not torch.allclose(recording.result, recording.expected, 1e-4, 1e-6, equal_nan=True):
        raise Unsupported(
            "the recorded forward pass gives other numbers than the model itself: it changes a tensor in place that is used "
            "again; write `x = x + y` in place of `x += y`, and leave out inplace=True"
        )
    return layers


def origin(node: fx.Node, recording: Recording, origins: dict[fx.Node, Layer | None], layers: list[Layer]) -> Layer | None:
    """Adds the layer for `node`, if there is one, to `layers`; the layer that what `node` gives comes from."""
    if recording.is_softmax(node):
        refuse(next(iter(node.users)).op != "output", "a softmax between layers", "leave it out")
        print(f"note: {recording.place(node)} is omitted: logits have the same order")
        return origins[recording.tensors_into(node)[0]]
    if node.op != "call_module" and node.target not in (*CALLS, *ADD, *CONCAT):
        raise unknown(name_of(node))
    tensors = tensors_of(node, recording)
    layer = layer_for(node, tensors, recording)
    if layer is None or layer.type == "concat" and len(tensors) == 1:
        return origins[tensors[0]]
    layer.inputs = [origins[tensor] for tensor in tensors]
    layer.source, layer.output = recording.place(node), shape_of(node)
    layers.append(layer)
    return layer
