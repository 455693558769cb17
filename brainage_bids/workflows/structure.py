"""From a raw T1w to a bias-corrected image, masks, tissues, structures and the way to the template."""

from __future__ import annotations

from nipype import Workflow
from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Node


def init_structure_wf(*, skull_strip: str, threads: int, sloppy: bool, seed: int, name: str = "structure_wf") -> Workflow:
    """Build the graph of one T1w.

    Parameters
    ----------
    skull_strip : {"auto", "skip", "force"}
        Whether the brain is looked for.
    threads : int
        Threads a node may use.
    sloppy : bool
        Coarse registration, for demonstrations.
    seed : int
        Of the registration's sample points.

    Returns
    -------
    Workflow
        Inputs (``inputnode``): t1w. Outputs (``outputnode``): preproc, mask, dseg, aseg, probseg_GM, probseg_WM,
        probseg_CSF, xfm_forward, xfm_inverse, stripped, flags, notes.
    """
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.structure import Conform, CorrectBias, FindBrain, Register, Segment

    inputs = Node(IdentityInterface(["t1w"]), name="inputnode")
    outputs = Node(
        Collect(
            ["preproc", "mask", "dseg", "aseg", "probseg_GM", "probseg_WM", "probseg_CSF"]
            + ["xfm_forward", "xfm_inverse", "stripped", "flags", "notes"]
        ),
        name="outputnode",
    )
    conform = Node(Conform(), name="conform")
    brain = Node(FindBrain(mode=skull_strip, threads=threads, sloppy=sloppy), name="brain_mask")
    bias = Node(CorrectBias(effort="sloppy" if sloppy else "full"), name="bias_field")
    register = Node(Register(sloppy=sloppy, seed=seed), name="registration")
    segment = Node(Segment(threads=threads), name="tissues")

    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, conform, [("t1w", "in_file")]),
            (conform, brain, [("out_file", "in_file")]),
            (conform, bias, [("out_file", "in_file")]),
            (brain, bias, [("mask_file", "mask_file")]),
            (bias, register, [("out_file", "in_file")]),
            (brain, register, [("mask_file", "mask_file"), ("stripped", "stripped")]),
            (bias, segment, [("out_file", "in_file")]),
            (brain, segment, [("mask_file", "mask_file"), ("stripped", "stripped")]),
            (register, segment, [("forward", "forward"), ("inverse", "inverse")]),
            (conform, outputs, [("flags", "flags"), ("notes", "notes")]),
            (brain, outputs, [("stripped", "stripped")]),
            (bias, outputs, [("out_file", "preproc")]),
            (register, outputs, [("forward", "xfm_forward"), ("inverse", "xfm_inverse")]),
            (segment, outputs, [("mask_file", "mask"), ("dseg", "dseg"), ("aseg", "aseg")]),
            (segment, outputs, [(f"probseg_{tissue}",) * 2 for tissue in ("GM", "WM", "CSF")]),
        ]
    )
    return workflow


def init_precomputed_wf(*, threads: int, sloppy: bool, seed: int, with_tissues: bool, name: str = "precomputed_wf") -> Workflow:
    """Build the graph that starts from another app's bias-corrected T1w and brain mask.

    Registration and structures are ours, the latter inside the other app's mask; so are tissues where it has not all three maps.

    Parameters
    ----------
    threads, sloppy, seed
        As for `init_structure_wf`.
    with_tissues : bool
        The three tissue maps are given.

    Returns
    -------
    Workflow
        Inputs: t1w (bias-corrected), mask, and with tissues probseg_GM, probseg_WM, probseg_CSF and, where there is one, dseg.
        Outputs as for `init_structure_wf`.
    """
    from brainage_bids.interfaces.adopt import Adopt, Within
    from brainage_bids.interfaces.collect import Collect
    from brainage_bids.interfaces.structure import Register, Segment

    tissue_names = ["dseg", "probseg_GM", "probseg_WM", "probseg_CSF"]
    inputs = Node(IdentityInterface(["t1w", "mask", *tissue_names]), name="inputnode")
    outputs = Node(
        Collect(["preproc", "mask", "aseg", *tissue_names, "xfm_forward", "xfm_inverse", "stripped", "flags", "notes"]),
        name="outputnode",
    )
    precomputed = Node(Adopt(), name="precomputed")
    register = Node(Register(sloppy=sloppy, seed=seed), name="registration")
    segment = Node(Segment(threads=threads), name="tissues")
    within = Node(Within(), name="within_mask")
    ours = ["aseg"] if with_tissues else ["aseg", *tissue_names]
    workflow = Workflow(name=name)
    workflow.connect(
        [
            (inputs, precomputed, [("t1w", "t1w"), ("mask", "mask")] + ([(t, t) for t in tissue_names] if with_tissues else [])),
            (precomputed, register, [("preproc", "in_file"), ("brain", "mask_file"), ("stripped", "stripped")]),
            (precomputed, segment, [("preproc", "in_file"), ("brain", "mask_file"), ("stripped", "stripped")]),
            (register, segment, [("forward", "forward"), ("inverse", "inverse")]),
            (
                precomputed,
                outputs,
                [("preproc", "preproc"), ("brain", "mask"), ("stripped", "stripped"), ("flags", "flags"), ("notes", "notes")],
            ),
            (register, outputs, [("forward", "xfm_forward"), ("inverse", "xfm_inverse")]),
            (precomputed, within, [("brain", "mask_file")]),
            (segment, within, [(key, key) for key in ours]),
            (within, outputs, [(key, key) for key in ours]),
        ]
    )
    if with_tissues:
        workflow.connect([(precomputed, outputs, [(f"out_{key}", key) for key in tissue_names])])
    return workflow
