"""The recipe that `./strata new` writes, as YAML with a reason beside each choice."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pipeline.new_source import Source


def recipe_text(name: str, sources: Sequence[str], source: Source, choices: Any) -> str:
    """Return the text of a recipe.

    Args:
      name: of the recipe.
      sources: what the user named.
      source: the section `data`.
      choices: the other sections, a `components.looks.Choices`.
    """
    reasons = {choice.feature: choice.why for choice in choices.reasons}
    label = choices.label["feature"]
    lines = [
        f"# ./strata run {name}.yaml",
        f"# Made by `./strata new {name}` from {_one_line(' '.join(sources))}.",
        "# Yours to edit: the reasons are those of the day it was made.",
        f"name: {name}",
        *_data(source),
        *_section("validation", choices.validation, choices.why),
        "transform:",
        _entry("label", choices.label, reasons.get(label), 2),
    ]
    for key, value in choices.transform.items():
        lines += _transform(key, value, reasons)
    left_out = [choice for choice in choices.reasons if choice.does == "left out"]
    lines += [f"  # {_one_line(c.feature)} is left out: {c.why}" for c in left_out]
    lines += _section("model", choices.model, choices.why)
    lines += _section("train", choices.train, choices.why)
    lines += _section("evaluate", choices.evaluate, choices.why)
    return "\n".join(lines) + "\n"


def _data(source: Source) -> list[str]:
    lines = ["data:", f"  {source.kind}:"]
    lines += [_entry(k, v, source.why.get(k), 4) for k, v in source.options.items()]
    lines += [_entry(k, v, source.why.get(k), 2) for k, v in source.beside.items()]
    return lines


def _transform(key: str, value: Any, reasons: Mapping[str, str]) -> list[str]:
    if key in ("image", "audio", "text"):
        return [_entry(key, value, reasons.get(value["feature"]), 2)]
    lines = [f"  {key}:"]
    if isinstance(value, Mapping):
        return lines + [_entry(f, v, reasons[f], 4) for f, v in value.items()]
    return lines + [_noted(f"    - {_flow(f)}", reasons[f]) for f in value]


def _section(name: str, values: Mapping[str, Any], why: Mapping[str, str]) -> list[str]:
    lines = [_entry(key, value, why.get(key), 2) for key, value in values.items()]
    return [f"{name}:", *lines] if lines else []


def _entry(key: str, value: Any, why: str | None, indent: int) -> str:
    return _noted(f"{' ' * indent}{_flow(key)}: {_flow(value)}", why)


def _flow(value: Any) -> str:
    """Return a value on one line; `no` and `1e5` are quoted where they are texts."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        width=float("inf"),
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("...\n").strip()


class _Dumper(yaml.SafeDumper):
    """Quotes what recipes take for a number, and YAML 1.1 does not: `1e5`."""


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if value[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def _noted(line: str, why: str | None) -> str:
    return f"{line}  # {_one_line(why)}" if why else line


def _one_line(text: str) -> str:
    return " ".join(text.split())
