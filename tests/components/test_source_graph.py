"""Sampled neighbourhoods: known ones, laws of the sample, graphs that are refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from components.sources import files, graph, graph_npz, graph_sampling
from recipes.errors import BadInputError

DATA = Path(__file__).parents[3] / "shared/data/cora/cora.npz"
SOURCE = {"nodes": None, "id_column": "id", "fanout": [10, 5]}
SHARES = {"train": 8, "eval": 1, "test": 1}
LISTS = {"train": "train", "eval": "val", "test": "test"}

# 0 - 1, 0 - 2, 1 - 3, 3 - 4; 5 stands alone.
EDGES = np.array([[0, 1], [2, 0], [1, 3], [3, 4]])
LABELS = np.array([10, 11, 12, 13, 14, 15])
DENSE = np.arange(12.0).reshape(6, 2)
SMALL = {"edges": EDGES, "labels": LABELS, "features": DENSE}
CSR = {
    "feat_data": np.array([1.0, 1.0, 2.0, 1.0]),
    "feat_indices": np.array([3, 0, 2, 1]),
    "feat_indptr": np.array([0, 1, 1, 3, 4, 4, 4]),
    "feat_shape": np.array([6, 4]),
}


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def read(path, splits=SHARES, **options):
    """Return the examples of a path by part and node, and the notes."""
    found = files.list_files([files.Pattern(str(path))], graph.SUFFIXES)
    pieces = graph.pieces({**SOURCE, **options}, found, splits)
    examples, notes = {}, Counter()
    for piece in pieces:
        for batch in graph.read(piece):
            notes.update(batch.notes)
            for row in batch.table.to_pylist():
                assert row["node"] not in examples.setdefault(piece.part, {})
                examples[piece.part][row["node"]] = row
    return examples, notes


def test_a_full_sample_is_the_neighbourhood_made_by_hand(tmp_path):
    examples, _ = read(save(tmp_path / "g.npz", **SMALL), fanout=[9, 9])
    assert examples[""][1] == {
        "node": 1,
        "label": 11,
        "nodes": [1, 0, 3, 2, 4],  # the root, one step away, two steps away
        "senders": [1, 2, 0, 3, 0, 4],
        "receivers": [0, 0, 1, 1, 2, 2],
        "node_features": [2.0, 3.0, 0.0, 1.0, 6.0, 7.0, 4.0, 5.0, 8.0, 9.0],
    }
    assert list(examples[""]) == [0, 1, 2, 3, 4, 5]


def test_only_arrays_of_the_graph_are_read_and_their_size_is_bounded(
    tmp_path, monkeypatch
):
    arrays = {"labels": [0, 1], "features": [[1.0], [2.0]], "junk": np.zeros(10_000)}
    path = save(tmp_path / "g.npz", edges=[[0, 1]], **arrays)
    monkeypatch.setattr(graph_npz, "LARGEST_BYTES", 2000)
    assert sum(map(len, read(path)[0].values())) == 2
    monkeypatch.setattr(graph_npz, "LARGEST_BYTES", 200)
    with pytest.raises(BadInputError, match="expected arrays of at most"):
        read(path)


def test_an_isolated_node_has_itself(tmp_path):
    examples, _ = read(save(tmp_path / "g.npz", **SMALL))
    alone = examples[""][5]
    assert (alone["nodes"], alone["senders"], alone["receivers"]) == ([5], [], [])


def test_sparse_features_are_listed_node_by_node(tmp_path):
    arrays = {"edges": EDGES, "labels": LABELS, **CSR}
    examples, _ = read(save(tmp_path / "g.npz", **arrays), fanout=[9, 9])
    example = examples[""][1]  # nodes 1, 0, 3, 2, 4
    assert example["feature_counts"] == [0, 1, 1, 2, 0]
    assert example["feature_ids"] == [3, 1, 0, 2]
    assert example["feature_values"] == [1.0, 1.0, 1.0, 2.0]


def test_values_that_are_all_one_are_not_stored(tmp_path):
    arrays = {"edges": EDGES, "labels": LABELS, **CSR, "feat_data": np.ones(4)}
    examples, _ = read(save(tmp_path / "g.npz", **arrays))
    assert "feature_values" not in examples[""][1]


def test_many_zeros_are_not_stored(tmp_path):
    features = np.zeros((6, 100))
    features[2, 7], features[2, 9], features[4, 0] = 5, 1, 1
    arrays = {"edges": EDGES, "labels": LABELS, "features": features}
    examples, _ = read(save(tmp_path / "g.npz", **arrays), fanout=[9, 9])
    example = examples[""][1]
    assert example["feature_counts"] == [0, 0, 0, 2, 1]
    assert example["feature_ids"] == [7, 9, 0]
    assert example["feature_values"] == [5.0, 1.0, 1.0]


def test_few_columns_are_stored_whole(tmp_path):
    features = np.zeros((6, 2))
    arrays = {"edges": EDGES, "labels": LABELS, "features": features}
    examples, _ = read(save(tmp_path / "g.npz", **arrays))
    assert examples[""][5]["node_features"] == [0.0, 0.0]


def random_graph(seed, num_nodes=60, num_edges=300):
    edges = np.random.default_rng(seed).integers(0, num_nodes, (num_edges, 2))
    return graph_sampling.neighbours(edges, num_nodes)


def edges_of(found, root):
    """Return the nodes, and the edges by node number, of a root's neighbourhood."""
    nodes, senders, receivers = (
        part.take(np.array([root])).values
        for part in (found.nodes, found.senders, found.receivers)
    )
    return nodes, list(zip(nodes[senders], nodes[receivers], strict=True))


@pytest.mark.parametrize("fanout", [(1,), (3, 2), (4, 1, 2), (100, 100)])
def test_samples_obey_their_laws(fanout):
    adjacent = random_graph(seed=0)
    samples = [graph_sampling.sample(adjacent, f, hop) for hop, f in enumerate(fanout)]
    found = graph_sampling.neighbourhoods(np.arange(60), samples, 60)
    for root in range(60):
        nodes, edges = edges_of(found, root)
        assert nodes[0] == root
        assert len(set(nodes)) == len(nodes)
        assert all(s in adjacent.take(np.array([r])).values for s, r in edges)
        assert max(Counter(r for _, r in edges).values()) <= max(fanout)
        assert Counter(r for _, r in edges)[root] == min(
            fanout[0], len(adjacent.take(np.array([root])).values)
        )
        assert {s for s, _ in edges} | {root} == set(nodes)


def test_a_full_sample_is_the_whole_neighbourhood():
    adjacent = random_graph(seed=1, num_edges=60)
    samples = [graph_sampling.sample(adjacent, 60, hop) for hop in range(2)]
    found = graph_sampling.neighbourhoods(np.arange(60), samples, 60)
    for root in range(60):
        near = set(adjacent.take(np.array([root])).values) | {root}
        both = near.union(*(adjacent.take(np.array([n])).values for n in near))
        assert set(edges_of(found, root)[0]) == both


def test_neighbours_are_drawn_alike_often():
    """Each of 20 neighbours of 2,000 nodes is one of 5 drawn: 500 times, give or take.

    Of a binomial (2000, 1/4) the standard deviation is 19.4; five of them are 97.
    """
    ring = np.stack(
        [np.repeat(np.arange(2000), 10), np.tile(np.arange(1, 11), 2000)], 1
    )
    ring[:, 1] = (ring[:, 0] + ring[:, 1]) % 2000
    sampled = graph_sampling.sample(graph_sampling.neighbours(ring, 2000), 5, 0)
    owners = np.repeat(np.arange(2000), np.diff(sampled.bounds))
    distances = (sampled.values - owners + 10) % 2000
    counts = np.bincount(distances, minlength=21)
    assert counts[10] == 0
    assert np.abs(np.delete(counts, 10) - 500).max() < 97


def test_hops_draw_independently():
    """Of about 40 neighbours 5 are drawn twice: an eighth of them is drawn again."""
    adjacent = random_graph(seed=2, num_nodes=50, num_edges=2000)
    one, two = (graph_sampling.sample(adjacent, 5, hop) for hop in (0, 1))
    pairs = zip(one.values.reshape(50, 5), two.values.reshape(50, 5), strict=True)
    common = [len(set(a) & set(b)) / 5 for a, b in pairs]
    assert 0.05 < np.mean(common) < 0.25


def test_neither_order_nor_direction_of_edges_matters(tmp_path):
    edges = np.random.default_rng(0).integers(0, 6, (12, 2))
    mixed = np.random.default_rng(1).permutation(edges)[:, ::-1]
    one, _ = read(save(tmp_path / "a.npz", **{**SMALL, "edges": edges}), fanout=[2, 1])
    two, _ = read(save(tmp_path / "b.npz", **{**SMALL, "edges": mixed}), fanout=[2, 1])
    assert one == two


def test_loops_and_repeated_edges_are_left_out_and_noted(tmp_path):
    edges = np.concatenate([EDGES, [[2, 2], [1, 0], [0, 1]]])
    examples, notes = read(save(tmp_path / "g.npz", **{**SMALL, "edges": edges}))
    assert examples == read(save(tmp_path / "h.npz", **SMALL))[0]
    assert notes == {
        "1 edges from a node to itself left out": 1,
        "2 edges given more than once left out": 1,
    }


def test_labels_of_others_are_in_no_example(tmp_path):
    arrays = {**SMALL, "labels": LABELS + 1000}
    for node, example in read(save(tmp_path / "g.npz", **arrays))[0][""].items():
        others = [v for n, v in example.items() if n != "label"]
        numbers = {x for v in others for x in (v if isinstance(v, list) else [v])}
        assert not numbers & set(LABELS + 1000)
        assert example["label"] == 1010 + node


def test_parts_are_the_lists_of_nodes(tmp_path):
    lists = {"train_idx": [4, 0], "val_idx": [1], "test_idx": [2]}
    path = save(tmp_path / "g.npz", **SMALL, **lists)
    examples, _ = read(path, LISTS)
    nodes = {part: list(some) for part, some in examples.items()}
    assert nodes == {"train": [4, 0], "val": [1], "test": [2]}
    assert list(read(path)[0][""]) == [0, 1, 2, 3, 4, 5]


def test_a_graph_is_read_in_pieces(tmp_path, monkeypatch):
    path = save(tmp_path / "g.npz", **SMALL)
    whole = read(path)
    monkeypatch.setattr(graph, "MIN_ROOTS", 1)
    monkeypatch.setattr(graph, "MAX_PIECES", 3)
    monkeypatch.setattr(graph, "BATCH_BYTES", 1)
    assert read(path) == whole


def tables(folder, edges="from,to\np1,p2\np3,p1\n", nodes=None):
    folder.mkdir(exist_ok=True)
    text = "id,x,label,y,town\np1,1,a,0.5,X\np2,2,b,1.5,Y\np3,3,a,2.5,Z\n"
    (folder / "edges.csv").write_text(edges)
    (folder / "nodes.csv").write_text(nodes or text)
    return folder / "edges.csv", {"nodes": str(folder / "nodes.csv")}


def test_tables_of_edges_and_nodes_are_a_graph(tmp_path):
    path, options = tables(tmp_path)
    examples, notes = read(path, **options)
    assert examples[""][0] == {
        "node": 0,
        "label": "a",
        "nodes": [0, 1, 2],
        "senders": [1, 2, 0, 0],
        "receivers": [0, 0, 1, 2],
        "node_features": [1.0, 0.5, 2.0, 1.5, 3.0, 2.5],
    }
    assert notes["column town of the nodes is no number: left out"] == 1


def test_whole_numbers_as_ids_are_kept(tmp_path):
    nodes = "id,x,label\n70,1,0\n30,2,1\n"
    path, options = tables(tmp_path, "a,b\n30,70\n", nodes)
    examples, _ = read(path, **options)
    assert {n: e["nodes"] for n, e in examples[""].items()} == {
        70: [70, 30],
        30: [30, 70],
    }
    assert examples[""][70]["node_features"] == [1.0, 2.0]  # and no label


@pytest.mark.parametrize(
    ("edges", "nodes", "message"),
    [
        ("from,to\np1,p2\np1,p9\n", None, "edges.csv row 2: expected the id.*'p9'"),
        ("from,to\np1,p2\np1,\n", None, "edges.csv row 2: expected the id"),
        (None, "id,label\np1,a\np2,b\np1,a\n", "row 3: node p1 stands in.*row 1, too"),
        (None, "id,town\np1,a\np2,b\n", "no column 'label'.*Received: id, town"),
        (None, "key,label\np1,a\np2,b\n", "no column 'id'"),
        (None, "id,x,label\np1,,a\np2,3,b\np3,4,a\n", "row 1: expected a number.*'x'"),
    ],
)
def test_tables_that_are_no_graph_are_refused(tmp_path, edges, nodes, message):
    path, options = tables(tmp_path, edges or "from,to\np1,p2\n", nodes)
    with pytest.raises(BadInputError, match=message):
        read(path, **options)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"edges": [[0, 6]]}, "edges: expected 0 to 5. Received: 6 in row 1"),
        ({"edges": [[0, 1], [0, -1]]}, "edges: expected 0 to 5. Received: -1 in row 2"),
        ({"edges": [[0.0, 1.0]]}, "edges: expected whole numbers"),
        ({"edges": [0, 1]}, "edges: expected 2 axes"),
        ({"edges": [[0, 1, 2]]}, "edges: expected two columns"),
        ({"features": DENSE[:5]}, "features: expected 6 rows"),
        ({"features": DENSE * np.nan}, "features: expected numbers, none missing"),
        ({"test_idx": [9]}, "test_idx: expected 0 to 5. Received: 9"),
        ({"train_idx": [1, 2], "test_idx": [0, 2]}, "2, which is in train_idx, too"),
        ({"labels": np.array([{}] * 6)}, "not a readable .npz"),
    ],
)
def test_arrays_that_are_no_graph_are_refused(tmp_path, arrays, message):
    with pytest.raises(BadInputError, match=message):
        read(save(tmp_path / "g.npz", **{**SMALL, **arrays}))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"feat_indices": np.array([3, 0, 4, 1])}, "feat_indices: expected 0 to 3"),
        ({"feat_indptr": np.array([0, 1, 1, 3, 4, 4, 5])}, "rising from 0 to 4"),
        ({"feat_indptr": np.array([0, 2, 1, 3, 4, 4, 4])}, "rising from 0 to 4"),
        ({"feat_data": np.ones(3)}, "feat_data: expected 4 values"),
        ({"feat_shape": np.array([5, 4])}, "feat_shape: expected 6 rows"),
    ],
)
def test_broken_csr_features_are_refused(tmp_path, arrays, message):
    path = save(tmp_path / "g.npz", edges=EDGES, labels=LABELS, **{**CSR, **arrays})
    with pytest.raises(BadInputError, match=message):
        read(path)


def test_a_missing_array_part_or_table_is_named(tmp_path):
    path = save(tmp_path / "g.npz", edges=EDGES, labels=LABELS, feats=DENSE)
    with pytest.raises(BadInputError, match="no array 'feat_shape'.*labels, feats"):
        read(path)
    with pytest.raises(BadInputError, match="the source has no part 'train'"):
        read(save(tmp_path / "h.npz", **SMALL), LISTS)
    edges, _ = tables(tmp_path / "t")
    with pytest.raises(BadInputError, match="expected a CSV of nodes"):
        read(edges)


def test_a_file_cut_short_is_refused(tmp_path):
    path = save(tmp_path / "g.npz", **SMALL)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInputError, match=r"g\.npz: not a readable \.npz"):
        read(path)


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_cora_has_the_published_nodes_and_labels():
    examples, _ = read(DATA)
    labels = Counter(example["label"] for example in examples[""].values())
    assert [labels[i] for i in range(7)] == [351, 217, 418, 818, 426, 298, 180]
    some, _ = read(DATA, LISTS)
    counts = {part: len(nodes) for part, nodes in some.items()}
    assert counts == {"train": 140, "val": 500, "test": 1000}


@pytest.mark.skipif(not DATA.exists(), reason="needs ../shared/data")
def test_cora_in_one_hop_has_every_edge_and_word():
    """Summed over all roots, a full hop has each of the 5,278 edges twice."""
    examples, _ = read(DATA, fanout=[168])  # the largest number of neighbours
    arrays = np.load(DATA)
    assert sum(len(e["senders"]) for e in examples[""].values()) == 2 * 5278
    for node in (0, 633, 2707):
        begin, end = arrays["feat_indptr"][node : node + 2]
        example = examples[""][node]
        own = example["feature_ids"][: example["feature_counts"][0]]
        assert own == arrays["feat_indices"][begin:end].tolist()
