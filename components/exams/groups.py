"""Groups of examples, by what stands in their raw columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components.exams.case import Arrays, Case, read
from components.input_checks import kind

MISSING = "(missing)"
MOST_ROWS = 20_000  # of a table, whose examples cost little: groups may be small


@dataclass(frozen=True)
class Groups:
    """Which group each example is in.

    Attributes:
      names: of the groups, no two alike.
      ids: (examples,) int32, places in `names`; each group has an example.
    """

    names: tuple[str, ...]
    ids: np.ndarray


def asked(case: Case) -> tuple[list[bytes], Arrays, np.ndarray]:
    """Return test examples, the candidate's answers and labels: of a table up to all.

    `Case.test` is kept small for what is asked often; of a table more are read.
    """
    if kind(case.transform) != "table" or case.most >= MOST_ROWS:
        return case.test, case.answers, case.labels
    examples = read(case.examples / "Split-test", MOST_ROWS)
    return (
        examples,
        case.candidate.ask_examples(examples),
        case.candidate.labels(examples),
    )


def columns(examples: Sequence[bytes]) -> dict[str, pa.Array]:
    """Return the raw columns of serialized examples.

    Returns:
      Feature -> (examples,) bytes or numbers, null where there is none. Features of
      which an example holds several values are left out, and those that none has.
    """
    batch = ExamplesToRecordBatchDecoder().DecodeBatch(list(examples))
    found = {}
    for name, lists in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_null(lists.type):
            lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
            if lengths.max() == 1:
                found[name] = _single(lists.flatten(), lengths == 1)
    return found


def by_value(column: pa.Array) -> Groups:
    """Return a group for each value of a raw column, and one of the missing."""
    encoded = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    names = [_text(encoded.dictionary[int(place)].as_py()) for place in order]
    if column.null_count:
        names.append(MISSING)
    ranks = np.append(np.argsort(order), len(order))  # of the missing: the last
    ids = pc.fill_null(encoded.indices, len(order)).to_numpy()
    return Groups(unique(names), ranks[ids].astype(np.int32))


def is_number(column: pa.Array) -> bool:
    return pa.types.is_integer(column.type) or pa.types.is_floating(column.type)


def crossed(parts: Sequence[Groups]) -> Groups:
    """Return a group for each combination that occurs."""
    ids = np.stack([part.ids for part in parts], axis=1)
    found, places = np.unique(ids, axis=0, return_inverse=True)
    names = [
        ", ".join(part.names[place] for part, place in zip(parts, row, strict=True))
        for row in found
    ]
    return Groups(unique(names), places.reshape(-1).astype(np.int32))


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return names, " (2)" and so on added to those that came before."""
    found: dict[str, None] = {}
    for name in names:
        number, new = 1, name
        while new in found:
            number += 1
            new = f"{name} ({number})"
        found[new] = None
    return tuple(found)


def _single(values: pa.Array, present: np.ndarray) -> pa.Array:
    """Return the values at the places where they are present, else null.

    NaN and "" say that there is no value, as in a request.
    """
    places = np.cumsum(present) - 1
    column = values.take(pa.array(places, mask=~present))
    if is_number(column):
        return pc.if_else(pc.is_nan(column), None, column)
    return pc.if_else(pc.equal(pc.binary_length(column), 0), None, column)


def _text(value: bytes | float) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    # As stored: in 32 bits, of which more digits say nothing.
    return str(np.float32(value)) if isinstance(value, float) else str(value)
