"""The graphs are built in milliseconds and are connected as they say."""

import pytest
from nipype.interfaces.base import isdefined

from brainage_bids.workflows.coregister import init_align_wf, init_arrays_wf, init_coregister_wf, init_rejected_wf
from brainage_bids.workflows.measure import init_quality_wf, init_volumes_wf
from brainage_bids.workflows.structure import init_precomputed_wf, init_structure_wf
from brainage_bids.workflows.template import init_template_wf

GRAPHS = {
    "structure": lambda: init_structure_wf(skull_strip="auto", threads=1, sloppy=False, seed=1),
    "precomputed": lambda: init_precomputed_wf(threads=1, sloppy=False, seed=1, with_tissues=False),
    "precomputed_tissues": lambda: init_precomputed_wf(threads=1, sloppy=False, seed=1, with_tissues=True),
    "template": init_template_wf,
    "align": lambda: init_align_wf(sloppy=False, seed=1),
    "coregister": lambda: init_coregister_wf(modality="FLAIR", sloppy=False),
    "rejected": lambda: init_rejected_wf(modality="swi"),
    "arrays": init_arrays_wf,
    "volumes": lambda: init_volumes_wf(stripped=True),
    "quality": lambda: init_quality_wf(stripped=True, own_bias=True),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_every_output_has_a_source(name):
    workflow = GRAPHS[name]()
    outputs = workflow.get_node("outputnode")
    fed = {target for _, node, data in workflow._graph.in_edges(outputs, data=True) for _, target in data["connect"]}
    assert fed == set(outputs.interface._fields)


@pytest.mark.parametrize("name", GRAPHS)
def test_every_mandatory_input_is_connected_or_set(name):
    workflow = GRAPHS[name]()
    for node in workflow._graph.nodes():
        traits = node.inputs.traits(mandatory=True)
        fed = {target for *_, data in workflow._graph.in_edges(node, data=True) for _, target in data["connect"]}
        missing = [key for key in traits if key not in fed and not isdefined(getattr(node.inputs, key))]
        assert not missing, f"{node.name}: {missing}"


def test_settings_reach_their_nodes():
    workflow = init_structure_wf(skull_strip="force", threads=3, sloppy=True, seed=1)
    assert workflow.get_node("brain_mask").inputs.mode == "force"
    assert workflow.get_node("registration").inputs.sloppy and workflow.get_node("tissues").inputs.threads == 3
