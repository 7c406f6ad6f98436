"""Learn from the answers of a served model: knowledge distillation.

The teacher is called on what the student is called on. That is sound only if both make
the same of a raw example, so a teacher whose `transform` section, vocabularies or
scales differ from the student's is refused.

Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network".
"""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import inputs, same_inputs
from components.columns import LABEL
from components.input_checks import kind
from recipes.errors import BadInputError


def teacher(
    config: Mapping[str, Any], transform_output: tft.TFTransformOutput
) -> Callable[[inputs.Inputs], tf.Tensor] | None:
    """Return the function from a batch of inputs to the teacher's logits, (B, outputs).

    Args:
      config: of the Trainer; `teacher_dir` is the teacher's SavedModel.
      transform_output: the graph that the student's examples went through.

    Returns:
      None where the recipe has no `train.distill`.

    Raises:
      BadInputError: the teacher cannot teach this student.
    """
    if not config["train"]["distill"]:
        return None
    transform, directory = config["transform"], config["teacher_dir"]
    if kind(transform) in ("series", "language", "pairs"):
        raise BadInputError(
            "`train.distill` needs a model that predicts classes. "
            f"Received: one of {kind(transform)}."
        )
    loaded = _loaded(directory)
    _check_section(directory, transform)
    _check_graph(loaded, transform_output, directory)
    logits = loaded.call_model
    num_outputs = logits.get_concrete_function().structured_outputs.shape[-1]
    if num_outputs != inputs.num_outputs(transform):
        raise BadInputError(
            f"The teacher {directory} gives {num_outputs} logits. Expected: "
            f"{inputs.num_outputs(transform)}, as `transform.label` has."
        )
    return lambda batch: logits(batch)  # holds `loaded`, whose variables it uses


def loss(
    labels_loss: tf.Tensor,
    student_logits: tf.Tensor,
    teacher_logits: tf.Tensor,
    section: Mapping[str, Any],
) -> tf.Tensor:
    """Mix the loss on labels with the divergence from the teacher's soft answers.

    weight * T^2 * KL(teacher / T || student / T) + (1 - weight) * labels_loss.
    The square keeps the gradients' size as the temperature T changes.

    Args:
      labels_loss: () of a batch, or (B,).
      student_logits: (B, outputs); one output says yes or no.
      teacher_logits: likewise; no gradient flows into them.
      section: `train.distill`.

    Returns:
      float32 of the shape of `labels_loss`.
    """
    temperature, weight = section["temperature"], section["weight"]
    soft_student = _log_probabilities(student_logits, temperature)
    soft_teacher = _log_probabilities(tf.stop_gradient(teacher_logits), temperature)
    divergence = tf.reduce_sum(
        tf.exp(soft_teacher) * (soft_teacher - soft_student), axis=-1
    )  # (B,)
    if labels_loss.shape.rank == 0:
        divergence = tf.reduce_mean(divergence)
    ordinary = tf.cast(labels_loss, tf.float32)
    return weight * temperature**2 * divergence + (1 - weight) * ordinary


def _log_probabilities(logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return (B, classes) float32; a single logit becomes those of yes and no."""
    softened = tf.cast(logits, tf.float32) / temperature
    if softened.shape[-1] == 1:
        return tf.math.log_sigmoid(tf.concat([softened, -softened], axis=-1))
    return tf.nn.log_softmax(softened)


def _loaded(directory: str) -> Any:
    try:
        loaded = tf.saved_model.load(directory)
    except OSError as error:
        raise BadInputError(
            f"No teacher at {directory}. Expected the SavedModel of a version."
        ) from error
    if not hasattr(loaded, "call_model"):
        raise BadInputError(
            f"The teacher {directory} has no function `call_model`: it was not "
            "exported by this Strata. Train and push it again."
        )
    return loaded


def _check_section(directory: str, transform: Mapping[str, Any]) -> None:
    """Refuse a teacher that was trained on other inputs; how they vary may differ."""
    theirs = same_inputs.section(directory)
    for key in same_inputs.differing_keys(transform, theirs, {"augment"}):
        raise BadInputError(
            f"`transform.{key}` differs from that of the teacher {directory}, so both "
            f"would see other inputs. Here: {transform.get(key)}. There: "
            f"{theirs.get(key)}."
        )


def _check_graph(
    loaded: Any, transform_output: tft.TFTransformOutput, directory: str
) -> None:
    for name in same_inputs.differing_columns(loaded, transform_output):
        what = "the label" if name == LABEL else f"the column {name}"
        raise BadInputError(
            f"The teacher {directory} was trained on other data: {what} is scaled or "
            "numbered otherwise. Push a teacher trained on this data."
        )
