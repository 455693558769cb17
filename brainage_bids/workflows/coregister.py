"""From another raw image than the T1w to images in the spaces of the T1w and of the template."""

from __future__ import annotations

from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node


def init_align_wf(*, sloppy: bool, seed: int, name: str = "align_wf") -> Workflow:
    """Build the graph that registers an image to the T1w and measures how well.

    Parameters
    ----------
    sloppy : bool
        On larger voxels, in fewer steps.
    seed : int
        Of the registration's sample points.

    Returns
    -------
    Workflow
        Inputs: scan, preproc, mask. Outputs: conformed, matrix (text), agreement, seen, flags, notes.
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.other import Align
    from brainage_bids.interfaces.structure import Conform

    inputs = Node(IdentityInterface(["scan", "preproc", "mask"]), name="inputnode")
    outputs = Node(Collect(["conformed", "matrix", "agreement", "seen", "flags", "notes"]), name="outputnode")
    conform = Node(Conform(), name="conform")
    align = Node(Align(sloppy=sloppy, seed=seed), name="rigid_registration")
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, conform, [("scan", "in_file")]),
            (conform, align, [("out_file", "in_file")]),
            (inputs, align, [("preproc", "t1w"), ("mask", "mask_file")]),
            (conform, outputs, [("out_file", "conformed"), ("flags", "flags"), ("notes", "notes")]),
            (align, outputs, [("matrix", "matrix"), ("agreement", "agreement"), ("seen", "seen")]),
        ]
    )
    return workflow


def init_coregister_wf(*, modality: str, sloppy: bool, name: str = "coregister_wf") -> Workflow:
    """Build the graph of an image that is registered: bias field, spaces, arrays, quality.

    Parameters
    ----------
    modality : str
        A suffix of `modalities.COREGISTERED`.
    sloppy : bool
        Coarse bias field.

    Returns
    -------
    Workflow
        Inputs: conformed, matrix, agreement, seen, mask, aseg, probseg_GM, probseg_WM, xfm_forward, xfm_inverse. Outputs: head,
        other_preproc, other_mni, packed, packed_mni, factor, quality (rows).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.other import MasksOnScan, Move, Pack, QualityOther
    from brainage_bids.interfaces.structure import CorrectBias

    fields = ["conformed", "matrix", "agreement", "seen", "mask", "aseg", "probseg_GM", "probseg_WM", "xfm_forward", "xfm_inverse"]
    inputs = Node(IdentityInterface(fields), name="inputnode")
    outputs = Node(Collect(["head", "other_preproc", "other_mni", "packed", "packed_mni", "factor", "quality"]), name="outputnode")
    masks = Node(MasksOnScan(), name="masks")
    bias = Node(CorrectBias(effort="sloppy" if sloppy else "few"), name="bias_field")
    move = Node(Move(), name="spaces")
    packed = Node(Pack(modality=modality), name="arrays")
    quality = Node(QualityOther(modality=modality), name="quality")
    transforms = [("xfm_forward", "forward"), ("xfm_inverse", "inverse")]
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, masks, [("conformed", "in_file"), ("matrix", "matrix"), ("mask", "mask_file"), ("aseg", "aseg")]),
            (inputs, masks, [("probseg_GM", "probseg_GM"), ("probseg_WM", "probseg_WM")]),
            (inputs, bias, [("conformed", "in_file")]),
            (masks, bias, [("mask_file", "mask_file")]),
            (bias, move, [("out_file", "in_file")]),
            (inputs, move, [("matrix", "matrix"), ("mask", "mask_file"), *transforms]),
            (bias, packed, [("out_file", "in_file")]),
            (inputs, packed, [("matrix", "matrix"), ("mask", "mask_file"), ("probseg_WM", "probseg_WM"), *transforms]),
            (inputs, quality, [("conformed", "raw_file"), ("agreement", "agreement"), ("seen", "seen")]),
            (bias, quality, [("out_file", "in_file")]),
            (masks, quality, [("mask_file", "mask_file"), ("sure", "sure")]),
            (packed, quality, [("clipped_share", "clipped_share")]),
            (move, outputs, [("head", "head"), ("t1w_space", "other_preproc"), ("mni", "other_mni")]),
            (packed, outputs, [("packed", "packed"), ("packed_mni", "packed_mni"), ("factor", "factor")]),
            (quality, outputs, [("rows", "quality")]),
        ]
    )
    return workflow


def init_rejected_wf(*, modality: str, name: str = "rejected_wf") -> Workflow:
    """Build the graph of an image that is not used: the quality figures that need no registration.

    Parameters
    ----------
    modality : str
        A suffix of `modalities.COREGISTERED`.

    Returns
    -------
    Workflow
        Inputs: conformed, agreement, seen. Outputs: quality (rows).
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.other import QualityOther

    inputs = Node(IdentityInterface(["conformed", "agreement", "seen"]), name="inputnode")
    outputs = Node(Collect(["quality"]), name="outputnode")
    quality = Node(QualityOther(modality=modality), name="quality")
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, quality, [("conformed", "raw_file"), ("agreement", "agreement"), ("seen", "seen")]),
            (quality, outputs, [("rows", "quality")]),
        ]
    )
    return workflow


def init_arrays_wf(name: str = "arrays_wf") -> Workflow:
    """Build the graph that packs the T1w into whole-brain arrays.

    Returns
    -------
    Workflow
        Inputs: preproc, mask, probseg_WM, xfm_forward, xfm_inverse. Outputs: packed, packed_mni, factor, clipped_share.
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.other import Pack

    inputs = Node(IdentityInterface(["preproc", "mask", "probseg_WM", "xfm_forward", "xfm_inverse"]), name="inputnode")
    outputs = Node(Collect(["packed", "packed_mni", "factor", "clipped_share"]), name="outputnode")
    pack = Node(Pack(modality="T1w"), name="arrays")
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, pack, [("preproc", "in_file"), ("mask", "mask_file"), ("probseg_WM", "probseg_WM")]),
            (inputs, pack, [("xfm_forward", "forward"), ("xfm_inverse", "inverse")]),
            (pack, outputs, [(key, key) for key in ("packed", "packed_mni", "factor", "clipped_share")]),
        ]
    )
    return workflow
