"""From a segmented T1w to images in the template's space."""

from __future__ import annotations

from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node

TISSUES = ("GM", "WM", "CSF")


def init_template_wf(*, threads: int = 1, name: str = "template_wf") -> Workflow:
    """Build the graph that writes normalised T1w and modulated tissue maps.

    Parameters
    ----------
    threads : int
        Images that a node makes at once.

    Returns
    -------
    Workflow
        Inputs: preproc, probseg_GM, probseg_WM, probseg_CSF, xfm_forward, xfm_inverse. Outputs: t1w_mni_1, t1w_mni_2,
        t1w_mni_affine, modulated and modulated_smooth (dicts by tissue).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.template import Modulate, NormaliseT1w

    maps = [f"probseg_{tissue}" for tissue in TISSUES]
    inputs = Node(IdentityInterface(["preproc", *maps, "xfm_forward", "xfm_inverse"]), name="inputnode")
    outputs = Node(Collect(["t1w_mni_1", "t1w_mni_2", "t1w_mni_affine", "modulated", "modulated_smooth"]), name="outputnode")
    t1w = Node(NormaliseT1w(threads=threads), name="t1w")
    modulate = Node(Modulate(threads=threads), name="modulate")
    workflow = Workflow(name=name)
    transforms = [("xfm_forward", "forward"), ("xfm_inverse", "inverse")]
    workflow.connect(
        [
            (inputs, t1w, [("preproc", "in_file"), *transforms]),
            (inputs, modulate, [(m, m) for m in maps] + transforms),
            (t1w, outputs, [("res_1", "t1w_mni_1"), ("res_2", "t1w_mni_2"), ("affine_only", "t1w_mni_affine")]),
            (modulate, outputs, [("modulated", "modulated"), ("smoothed", "modulated_smooth")]),
        ]
    )
    return workflow
