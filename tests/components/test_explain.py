"""The signature `explain`: what it returns is what the methods say of the model."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from components import explain, export, inputs
from components.explanations import class_scores, completeness_gap
from components.explanations.gradients import integrated_gradients
from components.explanations.importance import accuracy, permutation_importance
from components.explanations.token_shares import token_shares
from components.training_data import Data
from recipes.errors import BadInputError
from recipes.train import Export
from tests.components.conftest import PIXELS, transform
from tests.components.records import example, write
from tests.components.sections import section
from tests.components.test_export import TEXTS, ask, kind_of_rows, raw_columns


def config(transform, **keys):
    written = Export.model_validate_json(json.dumps(keys)).model_dump(mode="json")
    return {"transform": transform, "export": written}


def stored(transformed, folder):
    """Write transformed rows as the training gets them."""
    columns = transformed.columns
    rows = [
        _example({name: column[i] for name, column in columns.items()})
        for i in range(len(transformed.rows))
    ]
    files = [write(folder / "train.gz", rows)]
    spec = transformed.output.transformed_feature_spec()
    return Data(train=files, eval=files, spec=spec)


def _example(row):
    packed = tf.train.Example()
    for name, value in row.items():
        values = [value] if isinstance(value, bytes) else np.atleast_1d(value).tolist()
        feature = packed.features.feature[name]
        lists = {
            bytes: feature.bytes_list,
            int: feature.int64_list,
            float: feature.float_list,
        }
        lists[type(values[0])].value.extend(values)
    return packed.SerializeToString()


def explained(transformed, family, folder, **arguments):
    """Return a model, its SavedModel with `explain`, and the baseline."""
    settings = transformed.section
    keras.utils.set_random_seed(0)
    model = models.build(
        family, inputs.input_shape(settings), inputs.num_outputs(settings), **arguments
    )
    for variable in model.trainable_variables:  # so that every input matters
        variable.assign(keras.random.normal(variable.shape, stddev=0.5))
    data = stored(transformed, folder)
    baseline = explain.baseline(data, config(settings, explain=True))
    export.write(
        model, transformed.output, settings, str(folder / "model"), baseline=baseline
    )
    return model, tf.saved_model.load(str(folder / "model")), baseline


def ready(transformed, saved):
    """Return the rows as the model is called on them."""
    examples = tf.constant([example(**row) for row in transformed.rows])
    columns = saved.signatures["transform_features"](examples=examples)
    return inputs.model_inputs(columns, transformed.section)


def check_answer(saved, raw, got):
    want = ask(saved, "serve_raw", **raw)
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5)


@pytest.mark.parametrize("of", ["series", "graph", "language", "pairs"])
def test_what_cannot_be_explained_is_refused(of):
    kinds = dict.fromkeys(("image", "text", "audio", "series", "graph", "language"))
    asked = config({**kinds, "pairs": None, of: {"length": 3}}, explain=True)
    with pytest.raises(BadInputError, match=f"a recipe of kind {of}. Leave it out"):
        explain.check(asked)


def test_nothing_is_read_unless_explanations_are_asked_for():
    assert explain.baseline(None, config(section(numeric=["a"]))) is None


def test_the_baseline_is_the_usual_row_of_the_train_split(table, tmp_path):
    got = explain.baseline(stored(table, tmp_path), config(table.section, explain=True))
    for name in ("miles", "speed"):
        np.testing.assert_allclose(
            got[name], [table.columns[f"{name}_xf"].mean()], atol=1e-6
        )
    for name in ("age", "town", "day"):
        ids, counts = np.unique(table.columns[f"{name}_xf"], return_counts=True)
        assert got[name].shape == (1,)
        assert counts[ids == got[name]] == counts.max()


@pytest.mark.slow
def test_every_raw_column_of_a_table_gets_its_share(table, tmp_path):
    model, saved, baseline = explained(table, "wide_deep", tmp_path, units=[4])
    raw = raw_columns(table.rows)
    got = ask(saved, "explain", **raw)
    check_answer(saved, raw, got)
    shares = {n: v for n, v in got.items() if n.startswith("attributions_")}
    assert set(shares) == {f"attributions_{name}" for name in raw}
    rows = {n: v.numpy() for n, v in ready(table, saved).items()}
    usual = {n: np.broadcast_to(v, rows[n].shape) for n, v in baseline.items()}
    difference = class_scores(model(rows), got["classes"])
    difference -= class_scores(model(usual), got["classes"])
    np.testing.assert_allclose(sum(shares.values()), difference, atol=1e-4)
    assert abs(got["completeness_gap"]).max() < 1e-4
    assert abs(difference).numpy().max() > 1
    for name in ("age", "town", "day"):
        as_usual = (rows[name] == usual[name])[:, 0]
        assert abs(shares[f"attributions_{name}"][as_usual]).max() < 1e-5
        assert abs(shares[f"attributions_{name}"][~as_usual]).min() > 1e-3


@pytest.mark.slow
def test_times_and_crosses_are_counted_to_their_columns(tmp_path):
    transformed, raw = kind_of_rows("columns", tmp_path)
    _, saved, _ = explained(transformed, "wide_deep", tmp_path, units=[4])
    got = ask(saved, "explain", **raw)
    names = {n for n in got if n.startswith("attributions_")}
    assert names == {f"attributions_{n}" for n in ("share", "user", "when", "place")}
    assert got["completeness_gap"].max() < 1e-4
    assert abs(got["attributions_when"]).max() > 0.1
    assert abs(got["attributions_place"]).max() > 0.01  # by the cross alone


@pytest.mark.slow
def test_every_pixel_of_an_image_gets_its_share(images, tmp_path):
    _, saved, baseline = explained(images, "mlp", tmp_path, units=[4], scale=0.01)
    pixels = tf.constant(PIXELS.astype("float32"))
    got = ask(saved, "explain", scan=pixels)
    check_answer(saved, {"scan": pixels}, got)
    np.testing.assert_allclose(baseline, PIXELS.mean(axis=0), rtol=1e-6)
    classes = tf.constant(got["classes"])
    want = integrated_gradients(saved.call_model, pixels, baseline, classes)
    np.testing.assert_allclose(got["attributions"], want, rtol=1e-4, atol=1e-5)
    gap = completeness_gap(saved.call_model, pixels, baseline, classes, want)
    np.testing.assert_allclose(got["completeness_gap"], gap, atol=1e-4)
    assert "grad_cam" not in got


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [("audio", (3, 8, 20, 1)), ("samples", (3, 800))]
)
def test_of_a_recording_what_the_model_reads_is_explained(name, shape, tmp_path):
    transformed, raw = kind_of_rows(name, tmp_path)
    _, saved, _ = explained(transformed, "mlp", tmp_path, units=[4])
    got = ask(saved, "explain", **raw)
    check_answer(saved, raw, got)
    assert got["attributions"].shape == shape


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "bytes", "pieces"])
def test_every_token_of_a_text_gets_its_share(name, tmp_path):
    if name == "pieces":
        transformed = pieces(tmp_path)
        raw = {"text": tf.constant(TEXTS)}
    else:
        transformed, raw = kind_of_rows(name, tmp_path)
    _, saved, _ = explained(transformed, "rnn", tmp_path, units=[4])
    got = ask(saved, "explain", **raw)
    check_answer(saved, raw, got)
    ids = ready(transformed, saved)
    want = token_shares(saved.call_model, ids, tf.constant(got["classes"]))
    np.testing.assert_allclose(got["attributions"], want, rtol=1e-4, atol=1e-5)
    assert ((want.numpy() != 0) == (ids.numpy() != 0)).all()
    assert got["completeness_gap"].max() < 1e-5
    tokens = [[one.decode() for one in row] for row in got["tokens"]]
    length = ids.shape[1]
    assert tokens[1] == [""] * length
    if name == "words":
        assert tokens[0] == ["an", "apple", "a", "day", ""]
        assert tokens[2] == ["keeps", "the", "doctor", "away", "they"]
        return
    for row, text in zip(tokens, TEXTS, strict=True):
        assert text.lower().startswith("".join(row))
    assert "".join(tokens[0]) == "an apple a day"[: 9 if name == "bytes" else None]


def pieces(folder):
    settings = section(text={"length": 14, "tokens": "bpe", "vocabulary": 262})
    rows = [{"text": t, "y": float(i % 2)} for i, t in enumerate(TEXTS)]
    spec = {
        "text": tf.io.FixedLenFeature([1], tf.string),
        "y": tf.io.FixedLenFeature([1], tf.float32),
    }
    return transform(settings, rows, spec, folder)


@pytest.mark.slow
def test_of_a_bag_the_tokens_in_it_are_explained(tmp_path):
    transformed, raw = kind_of_rows("bag", tmp_path)
    _, saved, _ = explained(transformed, "mlp", tmp_path, units=[4])
    got = ask(saved, "explain", **raw)
    shares = [
        {t: a for t, a in zip(tokens, values, strict=True) if t}
        for tokens, values in zip(got["tokens"], got["attributions"], strict=True)
    ]
    assert set(shares[0]) == {b"an", b"apple", b"a", b"day"}
    assert shares[1] == {}
    assert set(shares[2]) == {b"keeps", b"the", b"doctor", b"away", b"they", b"say"}
    assert not got["attributions"][got["tokens"] == b""].any()


@pytest.mark.slow
def test_shuffled_columns_that_change_the_answers_are_important(table, tmp_path):
    _, saved, _ = explained(table, "wide_deep", tmp_path, units=[4])
    columns = {
        name: np.tile(column.numpy(), 8)
        for name, column in raw_columns(table.rows).items()
    }

    def answer(columns):
        raw = {name: tf.constant(column) for name, column in columns.items()}
        return ask(saved, "serve_raw", **raw)["probabilities"]

    said = (answer(columns)[:, 0] > 0.5).astype(int)
    found = permutation_importance(answer, columns, said, score=accuracy)
    assert max(one.mean for one in found.values()) > 0.1
    constant = columns | {"speed": np.zeros(56, np.float32)}
    said = (answer(constant)[:, 0] > 0.5).astype(int)
    found = permutation_importance(answer, constant, said, score=accuracy)
    assert found["speed"] == (0, 0)
