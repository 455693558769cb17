"""Graphs in this process: outputs come back, failures become sentences."""

import pytest
from nipype import Function, Node, Workflow
from nipype.interfaces.utility import IdentityInterface

from brainage_bids.interfaces.collect import Collect
from brainage_bids.workflows.engine import GraphFailed, run_graph


def graph(function):
    inputs = Node(IdentityInterface(["value"]), name="inputnode")
    work = Node(Function(["value"], ["made"], function=function), name="double_it")
    outputs = Node(Collect(["made", "never"]), name="outputnode")
    workflow = Workflow("test_wf")
    workflow.connect([(inputs, work, [("value", "value")]), (work, outputs, [("made", "made")])])
    return workflow


def double(value):
    return 2 * value


def refuse(value):
    from brainage_bids.records import UnusableInput

    raise UnusableInput(f"The scan {value} shows no brain: look at it.")


def fall(value):
    return 1 / (value - value)


def run_out(value):
    raise MemoryError


def test_outputs_come_back_and_missing_ones_are_left_out(tmp_path):
    assert run_graph(graph(double), {"value": 21}, tmp_path) == {"made": 42}


def test_leftovers_of_a_killed_run_are_not_used(tmp_path):
    assert run_graph(graph(double), {"value": 21}, tmp_path)["made"] == 42
    for result in (tmp_path / "test_wf").rglob("result_*"):
        result.write_bytes(b"half a fil")
    assert run_graph(graph(double), {"value": 21}, tmp_path)["made"] == 42


def test_a_refusal_keeps_its_own_sentence(tmp_path):
    with pytest.raises(GraphFailed) as caught:
        run_graph(graph(refuse), {"value": "x.nii"}, tmp_path)
    assert caught.value.message == "The scan x.nii shows no brain: look at it."
    assert caught.value.step == "double it" and "Traceback" in caught.value.detail


def test_an_unforeseen_error_names_the_step(tmp_path):
    with pytest.raises(GraphFailed, match="The step 'double it' stopped with an error that was not foreseen .*ZeroDivisionError"):
        run_graph(graph(fall), {"value": 1}, tmp_path)


def test_lack_of_memory_is_said(tmp_path):
    with pytest.raises(GraphFailed, match="not enough memory"):
        run_graph(graph(run_out), {"value": 1}, tmp_path)
