"""Patterns of paths: `*` and `?` within a name, `[...]`, and `**` for any folders."""

import re
from dataclasses import dataclass

from recipes.errors import BadInputError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that a pattern matches, or that lies below a folder that it matches.

    Attributes:
      path: absolute.
      relative: below the folder, or below the fixed part of the pattern, with `/`.
      size_bytes: as it lies there; of a member of an archive, once unpacked.
      modified_ns: since 1970.
      named: the pattern matches the file itself, not a folder above it.
    """

    path: str
    relative: str
    size_bytes: int
    modified_ns: int
    named: bool


def is_magic(text: str) -> bool:
    """Whether a text holds a character that patterns give a meaning to."""
    return bool(_MAGIC.search(text))


def literal_head(text: str) -> str:
    """Return what stands before the first character with a meaning."""
    found = _MAGIC.search(text)
    return text[: found.start()] if found else text


def fixed_folder(text: str) -> str:
    """Return the folder that everything a pattern matches lies in; "" or ends in /."""
    head = literal_head(text)
    return head[: head.rfind("/") + 1]


def to_regex(pattern: str) -> str:
    """Return the regular expression of a pattern, to be matched in full.

    Raises:
      BadInputError: a range of characters runs backwards.
    """
    found = []
    for token in re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", pattern, re.DOTALL):
        if token == "**/":
            found.append("(?:[^/]+/)*")
        elif token == "**":
            found.append(".*")
        elif token == "*":
            found.append("[^/]*")
        elif token == "?":
            found.append("[^/]")
        elif len(token) > 1:
            found.append(_one_of(token[1:-1]))
        else:
            found.append(re.escape(token))
    return "".join(found)


def is_hidden(relative: str) -> bool:
    """Whether a path lies in, or is, something that file managers do not show."""
    return any(
        name.startswith(".") or name == "__MACOSX" for name in relative.split("/")
    )


def _one_of(characters: str) -> str:
    negated = characters.startswith("!")
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", characters[negated:])
    expression = f"[{'^/' if negated else ''}{inside}]"
    try:
        re.compile(expression)
    except re.error as error:
        raise BadInputError(
            f"[data] path: expected characters such as [a-z]. Received: "
            f"[{characters}]: {error}"
        ) from error
    return expression
