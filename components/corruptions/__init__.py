"""Inputs as the world would spoil them: a file for each kind, all with one interface.

- `NAMES`: what can happen to the inputs;
- `corrupt(name, values, strength, *, rng)`: a spoiled copy of a batch, of the dtype,
  the shape and the range that `serve_raw` takes. `strength` goes from 1 to `STRENGTHS`.
  What is drawn depends on the state of `rng` and on the whole batch, nothing else.

`tables` also has to know how much each column of numbers varies. `elsewhere` makes
inputs that belong to no data set at all.
"""

from collections.abc import Sequence

STRENGTHS = 5


def check(name: str, names: Sequence[str], strength: int) -> None:
    """Refuse what no file of this folder can do.

    Raises:
      ValueError: `name` is none of `names`, or there is no such strength.
    """
    if name not in names:
        raise ValueError(
            f"`name` must be one of {', '.join(names)}. Received: name={name!r}"
        )
    if strength not in range(1, STRENGTHS + 1):
        raise ValueError(
            f"`strength` must be a whole number from 1 to {STRENGTHS}. "
            f"Received: strength={strength!r}"
        )
