"""Graph neural networks: classify a node by its neighbourhood.

Use one where what a node is connected to says more about it than its own features, such
as papers that cite each other. Each example is the neighbourhood of one node; nodes
that came after training get answers too. Every layer looks one step further: with one
width in `units` the neighbours of the neighbours are seen, and the data must have them
(two numbers in the `fanout` of the source).

- `gcn`: Kipf and Welling 2017, "Semi-Supervised Classification with Graph Convolutional
  Networks". Difference: messages are averaged, D^-1 (A + I), where the paper scales
  them by both degrees, D^-1/2 (A + I) D^-1/2. How many neighbours the outermost nodes
  of a sample have is not known; how many the receiver has is.
- `sage`: Hamilton, Ying and Leskovec 2017, "Inductive Representation Learning on Large
  Graphs", the mean aggregator. Difference: outputs are not scaled to length 1.
- `gat`: Velickovic et al. 2018, "Graph Attention Networks". Differences: the bias is
  added before the scores are taken, and of what is dropped out the transformed features
  are left alone.

A node that receives no message, such as padding or one of the outermost, has itself.
"""

import keras
from keras import ops

from models import _layers
from models._shapes import Graph

TINY = {
    "input_shape": Graph(num_nodes=5, num_features=4),
    "num_outputs": 3,
    "units": (16,),
}
LAYERS = ("gcn", "sage", "gat")
NUM_HEADS = 8  # of `gat`, as in the paper
SLOPE = 0.2  # of the scores below 0, in the paper of `gat`


def build(
    input_shape: Graph,
    num_outputs: int,
    *,
    layer: str = "gcn",
    units: tuple[int, ...] = (64,),
    num_heads: int | None = None,
    dropout: float = 0.0,
    l2: float = 0.0,
    seed: int = 0,
) -> keras.Model:
    """Build the model: a neighbourhood in, (B, num_outputs) logits of its root out.

    Args:
      input_shape: see `models.Graph`.
      num_outputs: number of logits.
      layer: one of `LAYERS`.
      units: width of each hidden layer, first to last.
      num_heads: of `gat` alone: attentions side by side, which share each of `units`;
        those of the output are one. Default: 8.
      dropout: share of the features, of hidden outputs and, with `gat`, of messages to
        drop while training, 0 to 1. For small graphs 0.5 and more.
      l2: factor of the squared kernels of hidden layers in the loss; the vectors that
        `gat` takes its scores with are left alone.
      seed: decides the initial weights and the dropout.

    Raises:
      ValueError: an argument is unknown or out of range.
    """
    num_heads = _heads(layer, num_heads)
    _check(input_shape, num_outputs, layer, units, num_heads)
    _layers.check_dropout(dropout)
    if l2 < 0:
        raise ValueError(f"`l2` must be at least 0. Received: l2={l2!r}")
    num_nodes, num_features = input_shape.num_nodes, input_shape.num_features
    inputs = {
        "features": keras.Input((num_nodes, num_features), name="features"),
        "adjacency": keras.Input((num_nodes, num_nodes), name="adjacency"),
    }
    network = _Network(layer, dropout, l2, _layers.seeds(seed))
    nodes, adjacency = inputs["features"], inputs["adjacency"]  # (B, N, F), (B, N, N)
    for number, width in enumerate(units, start=1):  # to (B, N, width)
        name = f"hidden_{number}"
        nodes = network.layer(nodes, adjacency, (num_heads, width), name)
        activation = "elu" if layer == "gat" else "relu"
        nodes = keras.layers.Activation(activation, name=f"{name}_{activation}")(nodes)
    # What other nodes would answer is not asked: one row of the adjacency.
    root = network.layer(nodes, adjacency[:, :1], (1, num_outputs), "output")
    logits = keras.layers.Flatten(dtype="float32", name="logits")(root)
    return keras.Model(inputs, logits, name=layer)


class _Network:
    """Makes layers that differ only by what they are made from and by name.

    A layer takes the nodes, (B, N, D), and the first R rows of the adjacency, (B, R,
    N); it returns the first R nodes, (B, R, width).
    """

    def __init__(self, kind: str, dropout: float, l2: float, seeds):
        self.layer = {"gcn": self._gcn, "sage": self._sage, "gat": self._gat}[kind]
        self._dropout, self._l2, self._seeds = dropout, l2, seeds

    def _gcn(self, nodes, adjacency, shape, name: str):
        nodes = self._dropped(nodes, f"{name}_dropout")
        messages = self._dense(shape[1], name)(nodes)  # (B, N, width)
        return ops.matmul(_mean(adjacency, name, with_self=True), messages)

    def _sage(self, nodes, adjacency, shape, name: str):
        nodes = self._dropped(nodes, f"{name}_dropout")
        own = self._dense(shape[1], f"{name}_own")(nodes[:, : adjacency.shape[1]])
        messages = self._dense(shape[1], f"{name}_sent", use_bias=False)(nodes)
        return own + ops.matmul(_mean(adjacency, name, with_self=False), messages)

    def _gat(self, nodes, adjacency, shape, name: str):
        num_heads, width = shape
        num_receivers = adjacency.shape[1]
        nodes = self._dropped(nodes, f"{name}_dropout")
        heads = self._dense(width, name)(nodes)  # (B, N, width)
        split = (nodes.shape[1], num_heads, width // num_heads)
        heads = keras.layers.Reshape(split, dtype=_dtype(name), name=f"{name}_heads")(
            heads
        )  # (B, N, h, w)
        sent = self._scores(num_heads, f"{name}_sent")(heads)  # (B, N, h)
        received = self._scores(num_heads, f"{name}_received")(heads[:, :num_receivers])
        shares = AttentionShares(dtype="float32", name=f"{name}_shares")(
            sent, received, adjacency
        )  # (B, R, N, h)
        shares = self._dropped(shares, f"{name}_message_dropout", dtype="float32")
        merged = ops.einsum("brnh,bnhw->brhw", shares, heads)
        return keras.layers.Reshape(
            (num_receivers, width), dtype=_dtype(name), name=f"{name}_merged"
        )(merged)

    def _dense(self, width: int, name: str, **arguments):
        if self._l2 and not _is_output(name):
            arguments["kernel_regularizer"] = keras.regularizers.L2(self._l2)
        seed = next(self._seeds)
        return _layers.dense(width, seed, name=name, dtype=_dtype(name), **arguments)

    def _scores(self, num_heads: int, name: str):
        """Return a layer that takes (B, N, h, w) to one score per head, (B, N, h)."""
        return keras.layers.EinsumDense(
            "bnhw,hw->bnh",
            (None, num_heads),
            kernel_initializer=keras.initializers.GlorotUniform(next(self._seeds)),
            dtype="float32",
            name=name,
        )

    def _dropped(self, values, name: str, **arguments):
        if not self._dropout:
            return values
        return keras.layers.Dropout(
            self._dropout, seed=next(self._seeds), name=name, **arguments
        )(values)


def _is_output(name: str) -> bool:
    return name.startswith("output")


def _dtype(name: str) -> str | None:
    """Keep the logits in float32 under a mixed policy, leave it the hidden layers."""
    return "float32" if _is_output(name) else None


def _mean(adjacency, name: str, *, with_self: bool):
    # float32: a mixed policy would round the number of neighbours.
    layer = MeanShares(with_self, dtype="float32", name=f"{name}_shares")
    return layer(adjacency)  # (B, R, N)


@keras.saving.register_keras_serializable("strata")
class MeanShares(keras.layers.Layer):
    """The share of each sender in the mean that a receiver takes, (B, R, N).

    Args:
      with_self: whether a receiver counts among its senders. If not, one without any
        has shares of 0.
    """

    def __init__(self, with_self: bool, **arguments):
        super().__init__(**arguments)
        self.with_self = with_self

    def call(self, adjacency):
        if self.with_self:
            adjacency = _with_self(adjacency)
        senders = ops.sum(adjacency, axis=-1, keepdims=True)  # (B, R, 1)
        return adjacency / ops.maximum(senders, 1.0)

    def get_config(self):
        return {**super().get_config(), "with_self": self.with_self}


@keras.saving.register_keras_serializable("strata")
class AttentionShares(keras.layers.Layer):
    """The share of each sender and head in what a receiver takes, (B, R, N, h).

    Inputs: scores of senders (B, N, h) and of receivers (B, R, h), and the adjacency
    (B, R, N), to which a receiver's edge to itself is added.
    """

    def call(self, sent, received, adjacency):
        scores = received[:, :, None] + sent[:, None]  # (B, R, N, h)
        scores = ops.leaky_relu(scores, SLOPE)
        is_sender = _with_self(adjacency)[..., None] > 0
        return ops.softmax(ops.where(is_sender, scores, -1e9), axis=2)


def _with_self(adjacency):
    num_receivers, num_nodes = adjacency.shape[1:]
    return ops.maximum(adjacency, ops.eye(num_receivers, num_nodes))


def _heads(layer: str, num_heads: int | None) -> int:
    if num_heads is not None and layer != "gat":
        raise ValueError(
            "`num_heads` must be left out unless the layer is 'gat'. "
            f"Received: num_heads={num_heads!r}, layer={layer!r}"
        )
    return NUM_HEADS if num_heads is None else num_heads


def _check(input_shape, num_outputs, layer, units, num_heads) -> None:
    if not isinstance(input_shape, Graph):
        raise ValueError(
            f"`input_shape` must be a Graph. Received: input_shape={input_shape!r}"
        )
    _layers.check_count(
        num_nodes=input_shape.num_nodes,
        num_features=input_shape.num_features,
        num_outputs=num_outputs,
        num_heads=num_heads,
    )
    _layers.check_counts(units=units)
    if layer not in LAYERS:
        raise ValueError(f"`layer` must be one of {LAYERS}. Received: layer={layer!r}")
    if layer == "gat" and any(width % num_heads for width in units):
        raise ValueError(
            "`units` must be multiples of `num_heads`. "
            f"Received: units={units!r}, num_heads={num_heads!r}"
        )
