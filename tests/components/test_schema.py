"""What the recipe adds to the inferred or frozen schema."""

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.schema import MIN_DOMAIN_MASS, curate, figures, parse
from recipes.errors import BadInputError
from tests.components.sections import section

# As SchemaGen infers it: texts get a domain of their own.
INFERRED = """
feature { name: "tip" type: FLOAT }
feature { name: "fare" type: FLOAT }
feature { name: "miles" type: FLOAT presence { min_fraction: 1 min_count: 1 } }
feature { name: "age" type: INT }
feature { name: "town" type: BYTES domain: "town" }
feature { name: "comment" type: BYTES domain: "comment" }
string_domain { name: "town" value: "A" value: "B" }
string_domain { name: "comment" value: "good" }
"""
COLUMNS = {
    "label": {"feature": "tip", "above": 0.2, "divide_by": "fare"},
    "numeric": ["miles"],
    "buckets": {"age": 4},
    "vocabulary": {"town": 10},
}
BOUNDS = {"drift": 0.1, "drift_of": {}, "skew": 0.2, "skew_of": {}}


def whole(schema=INFERRED, bounds=BOUNDS, **changes):
    return curate(parse(schema), section(**{**COLUMNS, **changes}), bounds)


def curated(*arguments, **changes):
    """Return feature name -> feature of the curated schema."""
    return {f.name: f for f in whole(*arguments, **changes).feature}


def labelled(feature, classes):
    label = {"feature": feature, "classes": classes}
    others = {"buckets": {}, "vocabulary": {}}
    return curated(label=label, **others)[feature]


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
    features = curated(numeric=["miles", "speed"])
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
    label = labelled("age", [4, 3, 5])
    assert label.type == schema_pb2.INT
    assert (label.int_domain.min, label.int_domain.max) == (3, 5)


def test_text_classes_are_the_whole_domain_of_the_label():
    label = labelled("town", ["A", "B", "C"])
    assert label.type == schema_pb2.BYTES
    assert list(label.string_domain.value) == ["A", "B", "C"]
    assert not label.HasField("distribution_constraints")  # not one may be new


def test_the_inferred_schema_is_left_alone():
    parsed = parse(INFERRED)
    before = parsed.SerializeToString(deterministic=True)
    curate(parsed, section(**COLUMNS), BOUNDS)
    assert parsed.SerializeToString(deterministic=True) == before


def of_whole(kind, schema, **options):
    """Return the feature `x` of examples that are one image, text or sound each."""
    text = f'feature {{ name: "x" {schema} }} feature {{ name: "n" type: INT }}'
    text += ' string_domain { name: "x" value: "seen" }'
    label = {"feature": "n", "classes": [0, 1]}
    transform = section(label=label, **{kind: {"feature": "x", **options}})
    found = curate(parse(text), transform, BOUNDS)
    return found.feature[0]


def test_an_image_column_is_declared_one():
    image = of_whole("image", "type: BYTES", shape=[8, 8, 1])
    assert image.HasField("image_domain")
    assert image.presence.min_fraction == 1.0
    assert not image.HasField("drift_comparator")


def test_sounds_must_be_bytes_in_every_record():
    audio = of_whole("audio", "type: INT", sample_rate=8000, seconds=1.0)
    assert audio.type == schema_pb2.BYTES
    assert audio.presence.min_fraction == 1.0
    assert audio.WhichOneof("domain_info") is None


def test_any_text_may_come_to_a_text_model():
    text = of_whole("text", 'type: BYTES domain: "x"')
    assert text.WhichOneof("domain_info") is None
    assert text.presence.min_fraction == 0.0


@pytest.mark.parametrize(
    "used",
    [
        {"hash": {"town": 8}},
        {"calendar": {"town": ["hour"]}},
        {"crosses": {"both": {"features": ["town", "age"], "ids": 8}}},
    ],
)
def test_hashed_and_calendar_columns_may_have_texts_never_seen(used):
    town = curated(vocabulary={}, **used)["town"]
    assert town.presence.min_count == 1
    assert town.WhichOneof("domain_info") is None
    assert not town.HasField("drift_comparator")


def test_a_crossed_column_with_a_vocabulary_keeps_its_values():
    cross = {"both": {"features": ["town", "age"], "ids": 8}}
    assert curated(crosses=cross)["town"].domain == "town"


def test_used_decimal_numbers_must_be_finite():
    features = curated(scale=["fare"], label={"feature": "tip", "above": 1.0})
    for name in ("tip", "fare", "miles"):
        assert features[name].float_domain.disallow_nan
        assert features[name].float_domain.disallow_inf
    assert features["age"].WhichOneof("domain_info") is None


def test_what_the_label_is_made_of_is_not_there_when_served():
    schema = whole()
    features = {feature.name: feature for feature in schema.feature}
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    assert list(features["tip"].not_in_environment) == ["SERVING"]
    assert list(features["fare"].not_in_environment) == ["SERVING"]
    assert list(features["miles"].not_in_environment) == []


def test_a_divisor_that_the_model_reads_is_there_when_served():
    fare = curated(numeric=["miles", "fare"])["fare"]
    assert list(fare.not_in_environment) == []
    assert fare.presence.min_fraction == 1.0


def test_windows_of_one_length_get_a_shape_and_others_do_not():
    length = "value_count { min: 96 max: 96 }"
    in_all = "presence { min_fraction: 1 min_count: 1 }"
    miles = 'name: "miles" type: FLOAT presence { min_fraction: 1 min_count: 1 }'
    found = curated(INFERRED.replace(miles, f'name: "miles" {length} {in_all}'))
    assert [dim.size for dim in found["miles"].shape.dim] == [96]
    assert found["miles"].presence.min_fraction == 1.0
    with_gaps = curated(INFERRED.replace(miles, f'name: "miles" {length}'))["miles"]
    assert not with_gaps.HasField("shape")
    single = "value_count { min: 1 max: 1 }"
    one = curated(INFERRED.replace(miles, f'name: "miles" {single} {in_all}'))["miles"]
    assert not one.HasField("shape")


def bounds_of(features, kind):
    return {
        name: getattr(feature, f"{kind}_comparator").jensen_shannon_divergence.threshold
        for name, feature in features.items()
        if feature.HasField(f"{kind}_comparator")
    }


def test_drift_is_bounded_of_what_is_used_and_skew_of_what_is_served():
    found = curated()
    compared = ("miles", "age", "town")
    assert bounds_of(found, "skew") == dict.fromkeys(compared, 0.2)
    assert bounds_of(found, "drift") == dict.fromkeys((*compared, "tip", "fare"), 0.1)


def test_bounds_of_a_feature_win_and_null_is_no_bound():
    bounds = {"drift": None, "drift_of": {"age": 0.3}, "skew": 0.2, "skew_of": {}}
    bounds["skew_of"] = {"town": 0.5}
    found = curated(bounds=bounds)
    assert bounds_of(found, "drift") == pytest.approx({"age": 0.3})
    assert bounds_of(found, "skew")["town"] == 0.5


def test_a_bound_for_a_feature_that_is_not_used_is_refused():
    with pytest.raises(BadInputError, match=r"\[validation.drift_of\] 'comment'"):
        curated(bounds={**BOUNDS, "drift_of": {"comment": 0.3}})


def test_without_a_recipe_for_a_model_all_columns_stay_as_they_are():
    found = curate(parse(INFERRED), None, {**BOUNDS, "drift_of": {"age": 0.3}})
    assert not any(feature.lifecycle_stage for feature in found.feature)
    assert not any(feature.not_in_environment for feature in found.feature)
    features = {feature.name: feature for feature in found.feature}
    assert bounds_of(features, "drift") == pytest.approx({"age": 0.3})
    # `train` had a value in every row, by chance
    assert features["miles"].presence.min_fraction == 0.0
    assert features["miles"].presence.min_count == 1


EDITED = INFERRED.replace(
    'name: "age" type: INT',
    """name: "age" type: INT
    presence { min_fraction: 0.75 min_count: 1 } int_domain { min: 0 max: 120 }
    drift_comparator { infinity_norm { threshold: 0.5 } }""",
).replace(
    'domain: "town"', 'domain: "town" distribution_constraints { min_domain_mass: 0.5 }'
)


def test_what_people_wrote_into_a_frozen_schema_holds():
    found = curated(EDITED)
    assert found["age"].presence.min_fraction == 0.75
    assert found["age"].int_domain.max == 120
    assert not found["age"].drift_comparator.HasField("jensen_shannon_divergence")
    assert found["town"].distribution_constraints.min_domain_mass == 0.5


def test_curating_twice_changes_nothing():
    once = whole(label={"feature": "town", "classes": ["A", "B"]}, vocabulary={})
    transform = section(
        **{**COLUMNS, "label": {"feature": "town", "classes": ["A", "B"]}}
        | {"vocabulary": {}}
    )
    twice = curate(once, transform, BOUNDS)
    assert once == twice


def test_a_schema_file_that_is_none_is_refused_with_its_line():
    with pytest.raises(BadInputError, match="line 2:"):
        parse('feature { name: "x" }\nfeatures { }')


def test_figures_count_what_is_used(tmp_path):
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(whole()))
    got = figures({"schema": str(tmp_path)})
    assert got["summary"] == "5 features used, 6 present"
    assert set(got["features"]) == {"tip", "fare", "miles", "age", "town"}


def test_numbers_declared_anew_keep_no_constraint_of_texts():
    schema = INFERRED.replace(
        'name: "miles" type: FLOAT', 'name: "miles" type: BYTES domain: "town"'
    )
    assert not curated(schema)["miles"].HasField("distribution_constraints")
