"""From the finished images to the tables of volumes and of quality."""

from __future__ import annotations

from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node

TISSUES = ("GM", "WM", "CSF")


def init_volumes_wf(*, stripped: bool, name: str = "volumes_wf") -> Workflow:
    """Build the graph of volumes.

    Parameters
    ----------
    stripped : bool
        The scan came as an extracted brain.

    Returns
    -------
    Workflow
        Inputs: aseg, probseg_GM, probseg_WM, probseg_CSF, xfm_forward. Outputs: tissues (mm³ by name), regions (rows).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.measure import Volumes

    maps = [f"probseg_{tissue}" for tissue in TISSUES]
    inputs = Node(IdentityInterface(["aseg", *maps, "xfm_forward"]), name="inputnode")
    outputs = Node(Collect(["tissues", "regions"]), name="outputnode")
    volumes = Node(Volumes(stripped=stripped), name="volumes")
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, volumes, [(m, m) for m in [*maps, "aseg"]] + [("xfm_forward", "forward")]),
            (volumes, outputs, [("tissues", "tissues"), ("regions", "regions")]),
        ]
    )
    return workflow


def init_quality_wf(*, stripped: bool, own_bias: bool, name: str = "quality_wf") -> Workflow:
    """Build the graph of quality figures.

    Parameters
    ----------
    stripped : bool
        The scan came as an extracted brain.
    own_bias : bool
        The bias correction is ours (not another app's).

    Returns
    -------
    Workflow
        Inputs: t1w (raw), preproc, mask, dseg, aseg, probseg_GM, probseg_WM, xfm_forward, xfm_inverse, tissues (mm³ by name).
        Outputs: quality (rows).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.measure import Quality
    from brainage_bids.interfaces.structure import Conform

    fields = ["preproc", "mask", "dseg", "aseg", "probseg_GM", "probseg_WM", "xfm_forward", "xfm_inverse", "tissues"]
    inputs = Node(IdentityInterface(["t1w", *fields]), name="inputnode")
    outputs = Node(Collect(["quality"]), name="outputnode")
    conform = Node(Conform(), name="conform")
    quality = Node(Quality(stripped=stripped, own_bias=own_bias), name="quality")
    called = {"preproc": "in_file", "mask": "mask_file", "xfm_forward": "forward", "xfm_inverse": "inverse"}
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, conform, [("t1w", "in_file")]),
            (conform, quality, [("out_file", "raw_file")]),
            (inputs, quality, [(field, called.get(field, field)) for field in fields]),
            (quality, outputs, [("rows", "quality")]),
        ]
    )
    return workflow
