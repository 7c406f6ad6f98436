"""Write the SavedModel: preprocessing and model in one, three signatures or more.

- `serving_default`: serialized tf.Example of raw features.
- `serve_raw`: raw features as tensors. A table's numbers are (batch,) floats where NaN
  says missing (float64 for whole-number columns, so that ids stay exact), its texts
  (batch,) strings where '' says missing; a text is a string likewise. An image is
  (batch, H, W, C) float32 pixels from 0 to 255, a recording (batch, any number of
  samples) float32 from -1 to 1 at the recipe's sample rate: what the encoded one holds.
- `transform_features`: what the transform graph makes of serialized examples, with
  the label; TFMA reads the label from it.

The first two return `probabilities` (batch, classes; one column for a yes-or-no label)
and `classes` (batch,) int64, the index of the most probable class. What they take and
return for series, graphs and texts to be written is said in `components/<kind>_input`,
which may add signatures, such as `generate`. `explain`, which a recipe may ask for,
takes what `serve_raw` takes: see `components/explain`.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
import tensorflow_transform as tft

from components import audio_features, explain
from components.decision import Decision
from components.input_checks import kind, used_features
from components.inputs import Inputs, model_inputs, prepared
from components.transform import MODULES

SECTION = "assets.extra/transform.json"  # what a SavedModel was trained with
Features = dict[str, Any]


class Exported(tf.Module):
    """The trained model behind its transform graph, as functions to save.

    Each is traced once, and only the variables and tables they use are saved: Keras's
    ExportArchive also traces and saves every layer by itself, which nobody reads.
    """

    def __init__(
        self,
        model: keras.Model,
        transform_output: tft.TFTransformOutput,
        transform: Mapping[str, Any],
        baseline: Any = None,
        decision: Decision | None = None,
    ):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        # Keeps the vocabularies' tables, and with them their files.
        self.transform_graph = tf.saved_model.load(
            transform_output.transform_savedmodel_dir
        )
        read = keras.tree.map_structure(
            lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), model.input
        )
        # Saved by this name too: a student asks it, with inputs that are ready.
        self.call_model = tf.function(
            lambda inputs: model(inputs, training=False),
            input_signature=[read],
            autograph=False,
        )
        self._raw_spec = transform_output.raw_feature_spec()
        self._section = copy.deepcopy(transform)  # tf.Module wraps what it is given
        self._kind = kind(transform)
        self._module = MODULES.get(self._kind)
        self._decision = decision or Decision()
        self.answers = self._explain = None
        if baseline is not None:
            self._explain = explain.function(
                model, transform_output, transform, baseline
            )
        if not transform["label"]:
            section = copy.deepcopy(transform[self._kind])
            # What is generated is read again, as a request's text is.
            more = [self._transformed] if self._kind == "language" else []
            self.answers = self._module.Answers(model, transform_output, section, *more)

    def signatures(self) -> dict[str, Any]:
        """Return the concrete function of each signature."""
        examples = tf.TensorSpec([None], tf.string, name="examples")
        raw = self._serve_own if self._module else self._serve_raw
        signatures = {
            "serving_default": _trace(self._serve_examples, examples),
            "serve_raw": _trace(raw, self._raw_signature()),
            "transform_features": _trace(self._transform_examples, examples),
            **(self.answers.signatures() if self.answers else {}),
        }
        if self._explain:
            signatures["explain"] = _trace(self._explained, self._raw_signature())
        return signatures

    def _serve_examples(self, examples: tf.Tensor) -> Features:
        features = tf.io.parse_example(examples, self._parsed())
        return self._answer(self._transformed(features))

    def _transform_examples(self, examples: tf.Tensor) -> Features:
        return self._transformed(tf.io.parse_example(examples, self._raw_spec))

    def _serve_raw(self, raw: Features) -> Features:
        ready = self._ready(raw)
        return _answer(self.call_model(ready), self._decision, ready)

    def _explained(self, raw: Features) -> Features:
        ready = self._ready(raw)
        answer = _answer(self.call_model(ready), self._decision, ready)
        return answer | self._explain(self.call_model, ready, raw, answer["classes"])

    def _serve_own(self, raw: Features) -> Features:
        section = self._section[self._kind]
        features = self._module.raw_features(raw, section, self._raw_spec)
        return self._answer(self._transformed(features))

    def _ready(self, raw: Features) -> Inputs:
        """Return raw tensors as the model is called on them."""
        if self._kind == "image":
            (pixels,) = raw.values()
            return prepared(pixels, self._section)
        if self._kind == "audio":
            (samples,) = raw.values()
            cut = audio_features.cut_or_pad(samples, self._section["audio"])
            return prepared(cut, self._section)
        used = self._used()
        features = {n: _as_parsed(column, used[n]) for n, column in raw.items()}
        return model_inputs(self._transformed(features), self._section)

    def _answer(self, transformed: Features) -> Features:
        if self.answers:
            return self.answers(transformed)
        ready = model_inputs(transformed, self._section)
        return _answer(self.call_model(ready), self._decision, ready)

    def _transformed(self, features: Features) -> Features:
        """Apply the transform graph; a request has no label, so one is made up."""
        batch_size = _batch_size(next(iter(features.values())))
        absent = {
            name: _absent(feature, batch_size)
            for name, feature in self._raw_spec.items()
            if name not in features
        }
        transformed: Features = self.transform_graph.transform_fn(
            {**features, **absent}
        )
        return transformed

    def _used(self) -> dict[str, Any]:
        used = used_features(self._section)
        return {name: self._raw_spec[name] for name in used if name in self._raw_spec}

    def _parsed(self) -> dict[str, Any]:
        """Return the features that are read where they are there."""
        if self._kind != "pairs":
            return self._used()
        target = self._section["pairs"]["target"]  # with one, the answer is judged
        feature = self._raw_spec[target]
        if isinstance(feature, tf.io.FixedLenFeature):
            feature = tf.io.FixedLenFeature(feature.shape, feature.dtype, "")
        return {**self._used(), target: feature}

    def _raw_signature(self) -> dict[str, tf.TensorSpec]:
        if self._module:
            return self._module.raw_signature(self._section[self._kind])
        if self._kind not in ("image", "audio"):
            return {
                name: tf.TensorSpec([None], _wire_dtype(feature.dtype), name=name)
                for name, feature in self._used().items()
            }
        (name,) = self._used()
        is_image = self._kind == "image"
        shape = self._section["image"]["shape"] if is_image else [None]
        return {name: tf.TensorSpec([None, *shape], name=name)}


def write(
    model: keras.Model,
    transform_output: tft.TFTransformOutput,
    transform: Mapping[str, Any],
    directory: str,
    *,
    baseline: Any = None,
    decision: Decision | None = None,
) -> None:
    """Export a trained model with the transform graph it was trained on.

    With a `baseline`, of `components.explain`, it has the signature `explain`. Logits
    of a label are answered by the `decision`, by default as they are.
    """
    exported = Exported(model, transform_output, transform, baseline, decision)
    tf.saved_model.save(exported, directory, signatures=exported.signatures())
    path = Path(directory) / SECTION
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(transform), "utf-8")


def _trace(function: Any, signature: Any) -> Any:
    # Autograph would convert Keras's own code, which needs none and takes seconds.
    traced = tf.function(function, input_signature=[signature], autograph=False)
    return traced.get_concrete_function()


def _answer(
    logits: tf.Tensor, decision: Decision | None = None, inputs: Inputs | None = None
) -> Features:
    decision = decision or Decision()
    logits = tf.cast(logits, tf.float32) / decision.temperature
    if logits.shape[-1] == 1:
        # Logits are compared, not probabilities, of which many round to 1.
        probabilities = tf.sigmoid(logits)
        above = decision.thresholds[0]
        if decision.column:
            above = tf.gather(decision.thresholds, inputs[decision.column][:, 0])
        classes = tf.cast(logits[:, 0] > above, tf.int64)
    else:
        probabilities = tf.nn.softmax(logits)
        classes = tf.argmax(logits, axis=-1)
    return {"probabilities": probabilities, "classes": classes}


def _wire_dtype(dtype: tf.DType) -> tf.DType:
    return tf.float64 if dtype == tf.int64 else dtype


def _as_parsed(column: tf.Tensor, feature: Any) -> tf.Tensor | tf.SparseTensor:
    """Return a (batch,) column as `parse_example` would have returned the feature."""
    if not isinstance(feature, tf.io.VarLenFeature):
        return tf.reshape(tf.cast(column, feature.dtype), [-1, *feature.shape])
    present = column != "" if column.dtype == tf.string else ~tf.math.is_nan(column)
    rows = tf.where(present)  # (present rows, 1)
    return tf.SparseTensor(
        tf.pad(rows, [[0, 0], [0, 1]]),
        tf.cast(tf.boolean_mask(column, present), feature.dtype),
        [tf.size(column, tf.int64), 1],
    )


def _batch_size(feature: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    if isinstance(feature, tf.SparseTensor):
        return feature.dense_shape[0]
    return tf.shape(feature, tf.int64)[0]


def _absent(feature: Any, batch_size: tf.Tensor) -> tf.Tensor | tf.SparseTensor:
    """Return a batch in which no row has the feature."""
    if isinstance(feature, tf.io.VarLenFeature):
        return tf.SparseTensor(
            tf.zeros([0, 2], tf.int64), tf.zeros([0], feature.dtype), [batch_size, 1]
        )
    return tf.zeros([batch_size, *feature.shape], feature.dtype)
