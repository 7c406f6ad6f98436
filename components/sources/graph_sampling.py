"""Sampled neighbourhoods of nodes: which ones, and the edges among them.

Source: Hamilton et al. 2017 (GraphSAGE), algorithm 2; here each node keeps the same
sample at a hop, whichever root is being looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEED = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@dataclass(frozen=True)
class Lists:
    """A list of numbers per row: row i is `values[bounds[i] : bounds[i + 1]]`.

    Attributes:
      bounds: (rows + 1,) int64, rising from 0.
      values: (bounds[-1],).
    """

    bounds: np.ndarray
    values: np.ndarray

    def take(self, rows: np.ndarray) -> "Lists":
        """Return the lists of some rows."""
        counts = np.diff(self.bounds)[rows]
        bounds = offsets(counts)
        # Place of each value: that of its list's first, and how far behind it.
        places = np.repeat(self.bounds[rows] - bounds[:-1], counts)
        return Lists(bounds, self.values[places + np.arange(bounds[-1])])


@dataclass(frozen=True)
class Neighbourhoods:
    """Of each root, its sampled nodes and edges.

    Attributes:
      nodes: per root: node numbers; first the root, then hop by hop, rising in each.
      senders: per root: where each edge begins, an index into its nodes.
      receivers: per root: where each edge ends; the node that sampled the sender.
    """

    nodes: Lists
    senders: Lists
    receivers: Lists


def neighbours(edges: np.ndarray, num_nodes: int) -> Lists:
    """Return the neighbours of each node, rising; an edge leads both ways.

    Args:
      edges: (E, 2) int64, pairs of nodes; a pair given twice, in whichever direction,
        counts once, one of a node with itself not at all.
      num_nodes: nodes are numbered from 0.
    """
    both = np.concatenate([edges, edges[:, ::-1]])
    both = both[both[:, 0] != both[:, 1]]
    keys = np.unique(both[:, 0] * num_nodes + both[:, 1])
    counts = np.bincount(keys // max(num_nodes, 1), minlength=num_nodes)
    return Lists(offsets(counts), keys % max(num_nodes, 1))


def sample(all_neighbours: Lists, fanout: int, hop: int) -> Lists:
    """Return at most `fanout` neighbours of each node: those of the smallest hashes."""
    counts = np.diff(all_neighbours.bounds)
    owners = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((_hash(owners, all_neighbours.values, hop), owners))
    rank = np.arange(len(owners)) - np.repeat(all_neighbours.bounds[:-1], counts)
    kept = np.sort(order[rank < fanout])
    return Lists(offsets(np.minimum(counts, fanout)), all_neighbours.values[kept])


def neighbourhoods(
    roots: np.ndarray, samples: Sequence[Lists], num_nodes: int
) -> Neighbourhoods:
    """Return the sampled neighbourhood of each root.

    A node is looked at once, at the hop that reaches it first; its neighbours at the
    next hop are those of `samples` there.

    Args:
      roots: (R,) int64.
      samples: of each hop, the neighbours of every node.
      num_nodes: nodes are numbered from 0.
    """
    # A node in the neighbourhood of root number r is the key r * num_nodes + node.
    frontier = np.arange(len(roots)) * num_nodes + roots
    hops, senders, receivers = [frontier], [], []
    known = np.sort(frontier)
    for sampled in samples:
        found = sampled.take(frontier % num_nodes)
        receiver = np.repeat(frontier, np.diff(found.bounds))
        sender = receiver - receiver % num_nodes + found.values
        senders.append(sender)
        receivers.append(receiver)
        frontier = np.setdiff1d(sender, known)
        known = np.union1d(known, frontier)
        hops.append(frontier)
    return _by_root(hops, senders, receivers, len(roots), num_nodes)


def offsets(counts: np.ndarray) -> np.ndarray:
    """Return where lists of these lengths begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _by_root(
    hops: Sequence[np.ndarray],
    senders: Sequence[np.ndarray],
    receivers: Sequence[np.ndarray],
    num_roots: int,
    num_nodes: int,
) -> Neighbourhoods:
    keys = np.concatenate(hops)
    depth = np.repeat(np.arange(len(hops)), [len(hop) for hop in hops])
    root = keys // num_nodes
    keys = keys[np.lexsort((keys, depth, root))]
    bounds = offsets(np.bincount(root, minlength=num_roots))
    sorted_places = np.argsort(keys)
    sorted_keys = keys[sorted_places]

    def local(ends: np.ndarray) -> np.ndarray:
        places = sorted_places[np.searchsorted(sorted_keys, ends)]
        return places - bounds[ends // num_nodes]

    edge_root = np.concatenate(receivers) // num_nodes
    order = np.argsort(edge_root, kind="stable")
    edge_bounds = offsets(np.bincount(edge_root, minlength=num_roots))
    sender, receiver = (
        Lists(edge_bounds, local(np.concatenate(ends))[order])
        for ends in (senders, receivers)
    )
    return Neighbourhoods(Lists(bounds, keys % num_nodes), sender, receiver)


def _hash(owners: np.ndarray, values: np.ndarray, hop: int) -> np.ndarray:
    """Return a number for each neighbour of an owner at a hop, as if drawn at random.

    Source: Steele et al. 2014, the finalizer of SplitMix64.
    """
    mixed = np.full(len(owners), (SEED * (hop + 1)) & (2**64 - 1), np.uint64)
    for part in (owners, values):
        mixed ^= part.astype(np.uint64) + np.uint64(1)
        for shift, factor in ((30, _MIX[0]), (27, _MIX[1])):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed ^= mixed >> np.uint64(31)
    return mixed
