"""What a model reads and writes, where a plain shape does not say enough."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Tokens:
    """A text as (B, length) int64 ids from 0 to num_ids - 1; 0 is padding, at the end.

    A language model is built with `num_outputs` = num_ids and gives (B, length,
    num_outputs) logits: at each place those of the token that follows.
    """

    length: int
    num_ids: int


@dataclass(frozen=True)
class Pair:
    """A text and the one it becomes: a dict of ids, `source` and `target`.

    `target` begins with the id that starts every text; the logits, (B, target.length,
    num_outputs), are at each place those of the token that follows.
    """

    source: Tokens
    target: Tokens


@dataclass(frozen=True)
class Series:
    """The past of a series: (B, context, channels) float32, standardised, old to new.

    The outputs, (B, horizon * len(targets)) float32, are what follows, step by step, of
    the channels at the places `targets`.
    """

    context: int
    channels: int
    horizon: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The neighbourhood of a node, which is node 0, as a dict.

    `features`: (B, num_nodes, num_features) float32, zeros beyond the nodes there are.
    `adjacency`: (B, num_nodes, num_nodes) float32, 1 at [receiver, sender], no loops.
    A message goes from the sender to the receiver; only nodes whose neighbours were
    sampled receive any. A row of padding is all zeros.
    """

    num_nodes: int
    num_features: int


# A shape without the batch axis, or of a table what each feature holds: None for a
# number, else how many ids it has.
Shape = tuple[int, ...] | Mapping[str, int | None] | Tokens | Pair | Series | Graph
