"""Make a recipe for data nobody described yet: look, decide, say why, write it down."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from components import frozen
from pipeline import new_csv, new_source, run
from pipeline.display import stderr_to
from pipeline.history import History
from pipeline.new_source import Source
from pipeline.new_text import recipe_text
from pipeline.run import Display
from pipeline.workspace import Workspace
from recipes import load
from recipes.errors import BadInputError


def main(
    name: str,
    sources: Sequence[str],
    label: str | None,
    workspace: Workspace,
    display: Display,
) -> Path:
    """Write `NAME.yaml`, its schema and a first test here; return the recipe.

    Args:
      name: of the recipe.
      sources: `FILE`, `DIR` or `tfds:NAME`, the last also with `download_dir=DIR`; or
        `train=FILE` and `test=FILE`.
      label: the feature to predict; None where the source itself has a `label`.
      workspace: where the data are brought in.
      display: shows what was decided.

    Raises:
      BadInputError: a file is there already, or nothing can be made of the data.
    """
    recipe, test, schema = _paths(name)
    display.line(f" looking at {' '.join(sources)}")
    source = source_of(sources, recipe.parent, workspace)
    _say_source(source, display)
    try:
        choices = _choose(name, source, label, recipe, workspace, display)
        text = recipe_text(name, sources, source, choices)
        _write(recipe, text)
        load.load(recipe)
    except BaseException:
        # Else the next try would be refused for what this one left.
        for path in (recipe, schema):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # other schemas are there
            schema.parent.rmdir()
        raise
    for choice in choices.reasons:
        display.line(f" {choice.feature:<22} {choice.does}: {choice.why}")
    _write(test, _TEST.format(name=name))
    display.line(f" written: {recipe.name}, schemas/{name}.pbtxt, {test.name}")
    display.line(f" now: ./strata run {name}.yaml · ./strata serve {name}")
    return recipe


def source_of(sources: Sequence[str], folder: Path, workspace: Workspace) -> Source:
    """Return the section `data` for what the user named, with its reasons.

    Args:
      sources: as `main` takes them.
      folder: where the recipe will lie.
      workspace: where TFDS keeps what it prepares.

    Raises:
      BadInputError: it is not there, or nothing says what it is.
    """
    source = new_source.recognise(sources, folder)
    if source.kind == "tfds":
        return _with_splits(source, folder, workspace)
    path = source.options["path"]
    by_part = {"": path} if isinstance(path, str) else path
    paths = {part: os.path.join(folder, text) for part, text in by_part.items()}
    first = next(iter(paths.values()))
    if source.kind == "text" and Path(first).is_file() and new_csv.is_table(first):
        why = {"path": "lines of equally many cells: a table of text"}
        source = Source("csv", source.options, source.beside, {**source.why, **why})
    return new_csv.look(source, paths) if source.kind == "csv" else source


def _paths(name: str) -> tuple[Path, Path, Path]:
    """Return where recipe, test and schema will lie.

    Raises:
      BadInputError: the name is no name, or one of them is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise BadInputError(
            "Expected a name of small letters, digits and `_`, a letter first. "
            f"Received: {name!r}"
        )
    recipe, test = Path(f"{name}.yaml").absolute(), Path(f"test_{name}.py").absolute()
    paths = recipe, test, frozen.path_of(recipe, name)
    for path in paths:
        if path.exists():
            raise BadInputError(f"{path} exists. Take another name, or remove it.")
    return paths


def _with_splits(source: Source, folder: Path, workspace: Workspace) -> Source:
    """Prepare a TFDS builder, and take the splits it has."""
    directory = source.options.get("download_dir")
    workspace.tfds.mkdir(parents=True, exist_ok=True)
    with stderr_to(workspace.tfds / "prepare.log"):  # bars of progress
        tfds = import_module("components.sources.tfds")
        builder = tfds.prepare(
            source.options["name"],
            str(workspace.tfds),
            download_dir=os.path.join(folder, directory) if directory else None,
        )
    chosen = new_source.splits_of(list(builder.info.splits))
    if chosen is None:
        return source
    return source.also({}, {"splits": chosen[1]}, splits=chosen[0])


def _say_source(source: Source, display: Display) -> None:
    for key, value in {**source.options, **source.beside}.items():
        why = source.why.get(key)
        display.line(f" {source.kind} {key}: {value}" + (f" ({why})" if why else ""))


def _choose(
    name: str,
    source: Source,
    label: str | None,
    recipe: Path,
    workspace: Workspace,
    display: Display,
) -> Any:
    """Bring the data in, as the recipe will, and look at them."""
    draft = recipe.with_name(f".{name}.draft.yaml")
    sections: dict[str, Any] = {"name": name, "data": source.section()}
    own_parts = "splits" in source.beside
    if own_parts:  # what stands in two of them is said in the recipe
        sections["validation"] = {"leakage": {"duplicates": 1, "near_duplicates": 1}}
    draft.write_text(yaml.safe_dump(sections), "utf-8")
    try:
        steps = run.check_data(str(draft), (), workspace, display)
    finally:
        draft.unlink()
    _freeze(frozen.path_of(recipe, name), name, steps["infer_schema"], workspace)
    looks = import_module("components.looks")
    records = steps["ingest"]["figures"]["records"]
    uri = steps["ingest"]["outputs"]["examples"]
    return looks.choose(uri, label, records["train"], own_parts=own_parts)


def _freeze(schema: Path, name: str, inferred: run.Event, workspace: Workspace) -> None:
    """Write the schema where the data were brought in before, so that nothing ran."""
    if schema.exists():
        return
    records = History(workspace.history).done_steps(name, "infer_schema")
    key = next(r.key for r in records if r.outputs == inferred["outputs"])
    text = (Path(inferred["outputs"]["schema"]) / "schema.pbtxt").read_text("utf-8")
    schema.parent.mkdir(exist_ok=True)
    _write(schema, frozen.freeze(text, key))


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)


_TEST = '''"""The first test of {name}: recipe and schema fit together."""

from pathlib import Path

from google.protobuf import text_format
from recipes import load
from tensorflow_metadata.proto.v0 import schema_pb2

HERE = Path(__file__).parent


def features():
    text = (HERE / "schemas" / "{name}.pbtxt").read_text("utf-8")
    schema = text_format.Parse(text, schema_pb2.Schema())
    return {{feature.name: feature for feature in schema.feature}}


def test_every_feature_of_the_recipe_is_in_the_data():
    recipe = load.load(HERE / "{name}.yaml")
    assert set(recipe.transform.used_features()) <= set(features())


def test_the_label_is_in_the_data_and_no_input():
    recipe = load.load(HERE / "{name}.yaml")
    label = recipe.transform.label.feature
    assert label in features()
    assert label not in recipe.transform.used_features()
'''
