"""Beam with the memos answers what Beam answers without them."""

import gc
import weakref

import apache_beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import userstate
from apache_beam.transforms.core import CallableWrapperDoFn, DoFn
from apache_beam.transforms.userstate import (
    BagStateSpec,
    TimerSpec,
    on_timer,
)

from pipeline import beam_memos

PLAIN_SPECS, PLAIN_VIEW = userstate.get_dofn_specs, PipelineOptions.view_as
BAG = BagStateSpec("bag", VarIntCoder())
TIMER = TimerSpec("timer", apache_beam.TimeDomain.WATERMARK)
ITS_BAG, ITS_TIMER = DoFn.StateParam(BAG), DoFn.TimerParam(TIMER)


class Stateful(DoFn):
    def process(self, element, bag=ITS_BAG, timer=ITS_TIMER):
        yield element

    @on_timer(TIMER)
    def expire(self, bag=ITS_BAG):
        bag.clear()


class Stateless(DoFn):
    def process(self, element):
        yield element + 1


class Wrapped:
    """Methods that Beam wraps as they are; of plain functions it reads no specs."""

    def with_bag(self, element, bag=ITS_BAG):
        return [element]

    def without_bag(self, element):
        return [element]


def function(element):
    return [element]


@pytest.fixture
def memos(monkeypatch):
    """Beam with the memos, for one test."""
    monkeypatch.setattr(userstate, "get_dofn_specs", PLAIN_SPECS)
    monkeypatch.setattr(PipelineOptions, "view_as", PLAIN_VIEW)
    assert beam_memos.install()


def test_another_release_of_beam_is_left_alone(monkeypatch):
    monkeypatch.setattr(apache_beam, "__version__", "2.78.0")
    before = userstate.get_dofn_specs, PipelineOptions.view_as
    assert not beam_memos.install()
    assert (userstate.get_dofn_specs, PipelineOptions.view_as) == before


def test_the_installed_release_is_the_one_that_is_known():
    assert apache_beam.__version__ == beam_memos.BEAM_VERSION


def test_installing_twice_patches_once(memos):
    patched = userstate.get_dofn_specs, PipelineOptions.view_as
    assert patched != (PLAIN_SPECS, PLAIN_VIEW)
    assert beam_memos.install()
    assert (userstate.get_dofn_specs, PipelineOptions.view_as) == patched


@pytest.mark.usefixtures("memos")
def test_specs_are_those_of_beam():
    assert PLAIN_SPECS(Stateful()) == ({BAG}, {TIMER})
    for kind in (Stateful, Stateless, Stateful):
        assert userstate.get_dofn_specs(kind()) == PLAIN_SPECS(kind())
    assert userstate.is_stateful_dofn(Stateful())
    assert not userstate.is_stateful_dofn(Stateless())


@pytest.mark.usefixtures("memos")
def test_wrapped_callables_share_a_class_but_no_specs():
    wrapped = Wrapped()
    for call in (function, wrapped.without_bag, wrapped.with_bag, function, list):
        dofn = CallableWrapperDoFn(call)
        assert userstate.get_dofn_specs(dofn) == PLAIN_SPECS(dofn)
    assert PLAIN_SPECS(CallableWrapperDoFn(wrapped.with_bag)) == ({BAG}, set())


@pytest.mark.usefixtures("memos")
def test_views_share_their_values():
    options = PipelineOptions(["--runner=FnApiRunner", "--num_workers=3"])
    assert options.view_as(StandardOptions).runner == "FnApiRunner"
    options.view_as(WorkerOptions).num_workers = 5
    assert options.view_as(WorkerOptions).num_workers == 5
    view = options.view_as(StandardOptions).view_as(WorkerOptions)
    assert view.num_workers == 5
    plain = PLAIN_VIEW(options, WorkerOptions)
    assert plain.get_all_options() == view.get_all_options()


@pytest.mark.usefixtures("memos")
def test_options_do_not_share_values_with_other_options():
    one, two = PipelineOptions(["--num_workers=1"]), PipelineOptions([])
    one.view_as(WorkerOptions).num_workers = 7
    assert two.view_as(WorkerOptions).num_workers is None


@pytest.mark.slow  # collects all garbage, of TensorFlow's modules too
@pytest.mark.usefixtures("memos")
def test_options_are_not_kept_alive():
    options = PipelineOptions([])
    options.view_as(WorkerOptions)
    gone = weakref.ref(options)
    del options
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("memos")
def test_a_pipeline_computes_what_it_did():
    with apache_beam.Pipeline(runner=FnApiRunner()) as pipeline:
        numbers = pipeline | apache_beam.Create([1, 2, 3])
        total = (
            numbers | apache_beam.ParDo(Stateless()) | apache_beam.Map(lambda x: 2 * x)
        )
        assert_that(total, equal_to([4, 6, 8]))
