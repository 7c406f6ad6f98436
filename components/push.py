"""Publish the candidate if it was blessed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfx.dsl.component.experimental.annotations import (
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components import publish
from recipes.errors import RefusedError


@component
def Push(
    model: InputArtifact[standard_artifacts.Model],
    examples: InputArtifact[standard_artifacts.Examples],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    base_path: Parameter[str],
):
    """Push the model if the examination blessed it.

    TFX's Pusher names versions by the second and copies in place, where a server can
    pick up half a model; this one renames a finished copy. The version carries a few of
    the raw examples as requests, which servers run before they publish it.
    """
    if blessing.get_int_custom_property("blessed") != 1:
        raise RefusedError(f"Model {model.uri} is not blessed; nothing was pushed.")
    version = publish.publish(
        model.uri, examples.uri, Path(base_path), scratch=Path(pushed_model.uri)
    )
    pushed_model.set_string_custom_property("pushed_version", str(version))
    destination = str(Path(base_path) / str(version))
    pushed_model.set_string_custom_property("pushed_destination", destination)
    record = {"version": version, "path": destination}
    (Path(pushed_model.uri) / "pushed.json").write_text(json.dumps(record))


def figures(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the version that was pushed and where it lies."""
    record = json.loads((Path(outputs["pushed_model"]) / "pushed.json").read_text())
    return {"summary": f"version {record['version']} is live", **record}
