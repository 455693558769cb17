"""From the finished images to the tables of volumes and quality."""

from __future__ import annotations

from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node

TISSUES = ("GM", "WM", "CSF")


def init_measure_wf(*, stripped: bool, own_bias: bool, name: str = "measure_wf") -> Workflow:
    """Build the graph of volumes and quality.

    Parameters
    ----------
    stripped : bool
        The scan came as an extracted brain.
    own_bias : bool
        The bias correction is ours (not another app's).

    Returns
    -------
    Workflow
        Inputs: t1w (raw), preproc, mask, dseg, aseg, probseg_*, xfm_forward, xfm_inverse. Outputs: tissues (mm³ by
        name), regions and quality (rows).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.measure import Quality, Volumes
    from brainage_bids.interfaces.structure import Conform

    maps = [f"probseg_{tissue}" for tissue in TISSUES]
    inputs = Node(IdentityInterface(["t1w", "preproc", "mask", "dseg", "aseg", *maps, "xfm_forward", "xfm_inverse"]), name="inputnode")
    outputs = Node(Collect(["tissues", "regions", "quality"]), name="outputnode")
    conform = Node(Conform(), name="conform")
    volumes = Node(Volumes(stripped=stripped), name="volumes")
    quality = Node(Quality(stripped=stripped, own_bias=own_bias), name="quality")
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, conform, [("t1w", "in_file")]),
            (inputs, volumes, [(m, m) for m in [*maps, "aseg"]] + [("xfm_forward", "forward")]),
            (conform, quality, [("out_file", "raw_file")]),
            (volumes, quality, [("tissues", "tissues")]),
            (inputs, quality, [("preproc", "in_file"), ("mask", "mask_file"), ("dseg", "dseg"), ("aseg", "aseg")]),
            (inputs, quality, [(m, m) for m in maps[:2]] + [("xfm_forward", "forward"), ("xfm_inverse", "inverse")]),
            (volumes, outputs, [("tissues", "tissues"), ("regions", "regions")]),
            (quality, outputs, [("rows", "quality")]),
        ]
    )
    return workflow
