"""The schema file beside a recipe: inferred once, then what later data must obey.

Its head says which schema it was made from, so that freezing changes nothing, and
editing it does.
"""

import hashlib
from pathlib import Path

_FINGERPRINT = "# fingerprint: "
_DIGEST = "# digest: "
_HEAD = (
    "# What the data of this recipe look like: inferred once, and yours to edit.\n"
    "# `./strata schema diff` compares it with the newest data, `accept` replaces it.\n"
)


def path_of(recipe: Path, name: str) -> Path:
    """Return where the schema of a recipe lies.

    Args:
      recipe: the YAML file.
      name: of the pipeline.
    """
    return recipe.parent / "schemas" / f"{name}.pbtxt"


def freeze(inferred: str, fingerprint: str) -> str:
    """Return the content of a schema file.

    Args:
      inferred: text of a Schema proto.
      fingerprint: of the step that inferred it.
    """
    digest = _digest(inferred)
    return f"{_HEAD}{_FINGERPRINT}{fingerprint}\n{_DIGEST}{digest}\n{inferred}"


def part(text: str, inferred_key: str) -> str:
    """Return what a schema file adds to the fingerprint of the step that reads it.

    Args:
      text: content of the file; "": there is none.
      inferred_key: fingerprint of the step that infers a schema now.
    """
    if not text:
        return f"inferred by {inferred_key}"
    lines = text.splitlines(keepends=True)
    head = [line for line in lines[:8] if line.startswith("#")]
    found = {
        name: next(
            (line[len(name) :].strip() for line in head if line.startswith(name)), ""
        )
        for name in (_FINGERPRINT, _DIGEST)
    }
    if found[_DIGEST] == _digest("".join(lines[len(head) :])):
        return f"inferred by {found[_FINGERPRINT]}"
    return _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
