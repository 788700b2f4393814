"""Prunable parts of transformers: feed-forward blocks, attention blocks, stacks of layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

_FEED_FORWARD: tuple[tuple[tuple[str, ...], str], ...] = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("up_proj",), "down_proj"),
    (("intermediate.dense",), "output.dense"),
    (("fc1",), "fc2"),
    (("lin1",), "lin2"),
    (("wi",), "wo"),
    (("dense_h_to_4h",), "dense_4h_to_h"),
)
_ATTENTION: tuple[tuple[tuple[str, str, str], str], ...] = (
    (("q_proj", "k_proj", "v_proj"), "o_proj"),
    (("q_proj", "k_proj", "v_proj"), "out_proj"),
    (("self.query", "self.key", "self.value"), "output.dense"),
    (("attention.query", "attention.key", "attention.value"), "output.dense"),
    (("q_lin", "k_lin", "v_lin"), "out_lin"),
)
_HEAD_SIZES = ("head_dim", "attention_head_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleBlock:
    """A block of linear layers, producers and one consumer, from which units can be pruned.

    Attributes:
        name: Path of the block in the module.
        producers: Layers that compute the features, each with its number of features per unit.
        consumer: Layer that reads the features.
        group: Number of the consumer's input features per unit.
    """

    name: str
    producers: tuple[tuple[torch.nn.Linear, int], ...]
    consumer: torch.nn.Linear
    group: int

    @property
    def units(self) -> int:
        """Number of units."""
        return self.consumer.in_features // self.group

    def keep(self, units: Sequence[int]) -> None:
        """Prune all units except these, in place."""
        for producer, group in self.producers:
            features = _features(units, group)
            producer.weight = torch.nn.Parameter(producer.weight.data[features].clone())
            if producer.bias is not None:
                producer.bias = torch.nn.Parameter(producer.bias.data[features].clone())
            producer.out_features = len(features)
        features = _features(units, self.group)
        self.consumer.weight = torch.nn.Parameter(self.consumer.weight.data[:, features].clone())
        self.consumer.in_features = len(features)

    def features(self, units: Sequence[int]) -> list[int]:
        """Return the indices of the consumer's input features that belong to these units."""
        return _features(units, self.group)


def _features(units: Sequence[int], group: int) -> list[int]:
    return [unit * group + offset for unit in units for offset in range(group)]


def _linears(parent: torch.nn.Module, names: Sequence[str]) -> list[torch.nn.Linear] | None:
    found: list[torch.nn.Linear] = []
    for name in names:
        try:
            module = parent.get_submodule(name)
        except AttributeError:
            return None
        if not isinstance(module, torch.nn.Linear):
            return None
        found.append(module)
    return found


def feed_forward_blocks(module: torch.nn.Module) -> Iterator[ModuleBlock]:
    """Yield feed-forward blocks with known layer names; a unit is one hidden channel."""
    for name, parent in module.named_modules():
        for makers, reader in _FEED_FORWARD:
            linears = _linears(parent, [*makers, reader])
            if linears is None:
                continue
            *producers, consumer = linears
            if all(p.out_features == consumer.in_features for p in producers):
                made = tuple((producer, 1) for producer in producers)
                yield ModuleBlock(name=name, producers=made, consumer=consumer, group=1)
                break


def attention_blocks(module: torch.nn.Module) -> Iterator[ModuleBlock]:
    """Yield attention blocks with known layer names; a unit is a KV head with its query heads."""
    for name, parent in module.named_modules():
        for makers, reader in _ATTENTION:
            linears = _linears(parent, [*makers, reader])
            size = _head_size(parent)
            if linears is None or size is None:
                continue
            query, key, value, consumer = linears
            if query.out_features != consumer.in_features or key.out_features % size:
                continue
            units = key.out_features // size
            group = query.out_features // units
            yield ModuleBlock(
                name=name,
                producers=((query, group), (key, size), (value, size)),
                consumer=consumer,
                group=group,
            )
            break


def _head_size(parent: torch.nn.Module) -> int | None:
    for module in parent.modules():
        for attribute in _HEAD_SIZES:
            size = getattr(module, attribute, None)
            if isinstance(size, int):
                return size
    return None


def layer_stack(module: torch.nn.Module) -> tuple[str, torch.nn.ModuleList] | None:
    """Return name and layers of the longest `ModuleList` of one layer class, or None."""
    stacks = [
        (name, part)
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.ModuleList)
        and len(part) > 1
        and len({type(layer) for layer in part}) == 1
    ]
    return max(stacks, key=lambda stack: len(stack[1]), default=None)
