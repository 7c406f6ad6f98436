"""What the recipe adds to the inferred schema."""

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.schema import MIN_DOMAIN_MASS, curate, figures

# As SchemaGen infers it: texts get a domain of their own.
INFERRED = """
feature { name: "tip" type: FLOAT }
feature { name: "fare" type: FLOAT }
feature { name: "miles" type: FLOAT }
feature { name: "age" type: INT }
feature { name: "town" type: BYTES domain: "town" }
feature { name: "comment" type: BYTES domain: "comment" }
string_domain { name: "town" value: "A" value: "B" }
string_domain { name: "comment" value: "good" }
"""
TRANSFORM = {
    "label": {"feature": "tip", "classes": None, "above": 0.2, "divide_by": "fare"},
    "image": None,
    "numeric": ("miles",),
    "buckets": {"age": 4},
    "vocabulary": {"town": 10},
}


def curated(schema=INFERRED, **changes):
    """Return feature name -> feature of the curated schema."""
    parsed = text_format.Parse(schema, schema_pb2.Schema())
    got = curate(parsed, {**TRANSFORM, **changes})
    return {feature.name: feature for feature in got.feature}


def labelled(feature, classes):
    label = {"feature": feature, "classes": classes, "above": None, "divide_by": None}
    return curated(label=label)[feature]


def test_used_features_must_be_present_and_the_label_in_every_row():
    features = curated()
    for name in ("fare", "miles", "age", "town", "tip"):
        assert features[name].presence.min_count == 1
        assert not features[name].lifecycle_stage
    assert features["tip"].presence.min_fraction == 1.0
    assert features["miles"].presence.min_fraction == 0.0


def test_unused_features_are_ignored():
    comment = curated()["comment"]
    assert comment.lifecycle_stage == schema_pb2.DEBUG_ONLY
    assert comment.presence.min_count == 0


def test_a_missing_column_is_required_all_the_same():
    features = curated(numeric=("miles", "speed"))
    assert features["speed"].presence.min_count == 1
    assert not features["speed"].lifecycle_stage


def test_texts_in_a_number_column_are_declared_numbers():
    schema = INFERRED.replace(
        'name: "miles" type: FLOAT', 'name: "miles" type: BYTES domain: "town"'
    )
    miles = curated(schema)["miles"]
    assert miles.type == schema_pb2.FLOAT
    assert not miles.HasField("domain")


def test_whole_numbers_stay_whole_numbers():
    assert curated()["age"].type == schema_pb2.INT


def test_a_vocabulary_may_meet_a_few_new_values():
    mass = curated()["town"].distribution_constraints.min_domain_mass
    assert mass == MIN_DOMAIN_MASS == 0.9


def test_whole_number_classes_bound_the_label():
    label = labelled("age", [0, 3, 7])
    assert label.type == schema_pb2.INT
    assert (label.int_domain.min, label.int_domain.max) == (0, 7)


def test_text_classes_are_the_whole_domain_of_the_label():
    label = labelled("town", ["A", "B", "C"])
    assert label.type == schema_pb2.BYTES
    assert list(label.string_domain.value) == ["A", "B", "C"]
    assert not label.HasField("distribution_constraints")  # not one may be new


def test_the_inferred_schema_is_left_alone():
    parsed = text_format.Parse(INFERRED, schema_pb2.Schema())
    before = parsed.SerializeToString(deterministic=True)
    curate(parsed, TRANSFORM)
    assert parsed.SerializeToString(deterministic=True) == before


def test_an_image_column_is_declared_one():
    schema = 'feature { name: "image" type: BYTES } feature { name: "n" type: INT }'
    label = {"feature": "n", "classes": [0, 1], "above": None, "divide_by": None}
    features = curated(
        schema,
        label=label,
        image={"feature": "image", "shape": [8, 8, 1]},
        numeric=(),
        buckets={},
        vocabulary={},
    )
    assert features["image"].HasField("image_domain")
    assert features["image"].presence.min_count == 1


def test_figures_count_what_is_used(tmp_path):
    parsed = text_format.Parse(INFERRED, schema_pb2.Schema())
    text = text_format.MessageToString(curate(parsed, TRANSFORM))
    (tmp_path / "schema.pbtxt").write_text(text)
    got = figures({"schema": str(tmp_path)})
    assert got["summary"] == "5 features used, 6 present"
    assert set(got["features"]) == {"tip", "fare", "miles", "age", "town"}


def test_numbers_declared_anew_keep_no_constraint_of_texts():
    schema = INFERRED.replace(
        'name: "miles" type: FLOAT', 'name: "miles" type: BYTES domain: "town"'
    )
    assert not curated(schema)["miles"].HasField("distribution_constraints")
