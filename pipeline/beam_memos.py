"""Two memos that spare a small Beam pipeline most of its bookkeeping.

Beam 2.77 inspects the signature of every method of a DoFn each time a bundle starts,
and builds an argparse parser of all options each time a view of them is taken. Both
answers never change within a process.
"""

import weakref
from types import FunctionType
from typing import Any

import apache_beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import userstate
from apache_beam.transforms.core import CallableWrapperDoFn

# The patched functions are private to this release.
BEAM_VERSION = "2.77.0"


def install() -> bool:
    """Patch Beam in this process; do nothing and return False on another version."""
    if apache_beam.__version__ != BEAM_VERSION:
        return False
    _memoise_dofn_specs()
    _memoise_views()
    return True


def _memoise_dofn_specs() -> None:
    original = userstate.get_dofn_specs
    if hasattr(original, "memo"):
        return
    memo: dict[type, Any] = {}

    def get_dofn_specs(dofn: Any) -> Any:
        kind = type(dofn)
        # A wrapped callable has parameters of its own, whatever the class; one without
        # defaults has no place for a state or a timer.
        if isinstance(dofn, CallableWrapperDoFn):
            return (set(), set()) if _has_no_defaults(dofn._fn) else original(dofn)
        if kind not in memo:
            memo[kind] = original(dofn)
        return memo[kind]

    get_dofn_specs.memo = memo  # type: ignore[attr-defined]
    userstate.get_dofn_specs = get_dofn_specs


def _has_no_defaults(function: Any) -> bool:
    return (
        isinstance(function, FunctionType)
        and not function.__defaults__
        and not function.__kwdefaults__
    )


def _memoise_views() -> None:
    original = PipelineOptions.view_as
    if hasattr(original, "memo"):
        return
    memo: weakref.WeakKeyDictionary[Any, dict[type, Any]] = weakref.WeakKeyDictionary()

    def view_as(self: Any, cls: type) -> Any:
        views = memo.setdefault(self, {})
        if cls not in views:
            views[cls] = original(self, cls)
        return views[cls]

    view_as.memo = memo  # type: ignore[attr-defined]
    PipelineOptions.view_as = view_as
