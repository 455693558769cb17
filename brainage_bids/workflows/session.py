"""One session from its raw T1w to its brain age: stage after stage, each from files to files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.bids.dataset import APP, generators
from brainage_bids.bids.reuse import Reused
from brainage_bids.bids.sidecars import bids_uri, image_sidecar, table_columns
from brainage_bids.bids.sink import sink_file, sink_image, sink_table, write_atomic
from brainage_bids.imaging.packing import CLIPPED_LIMIT
from brainage_bids.records import Session
from brainage_bids.workflows.engine import run_graph
from brainage_bids.workflows.other_session import discard_others
from brainage_bids.workflows.stages import (
    FIGURES,
    STAGES,
    TISSUES,
    Output,
    discard,
    fingerprint,
    is_finished,
    read_sidecar,
    stored_fingerprint,
)

LOGGER = logging.getLogger("brainage")


@dataclass(frozen=True)
class Plan:
    """What is the same for all sessions of a run.

    Attributes
    ----------
    bids_dir, out_dir, work_dir : Path
        The raw dataset, the derivatives, and the scratch folder of this participant.
    skull_strip : {"auto", "skip", "force"}
    threads : int
        Threads a step may use.
    sloppy : bool
        Coarse registration and no pictures, for demonstrations.
    seed : int
        Of the registration's sample points.
    models : tuple of str
        Names or folders of models; empty takes the embedded default.
    model_dirs : tuple of Path
        Further folders that hold models.
    device, precision : str
        Where networks run, and in what arithmetic; see ``models.inference.load_model``.
    reused : mapping
        Stem of a session to the preprocessing of another app that is taken over.
    beside : bool
        FLAIR and SWI are processed by a process of their own while the T1w goes on; needs a core and memory for it.
    """

    bids_dir: Path
    out_dir: Path
    work_dir: Path
    skull_strip: str = "auto"
    threads: int = 1
    sloppy: bool = False
    seed: int = 1
    models: tuple[str, ...] = ()
    model_dirs: tuple[Path, ...] = ()
    device: str = "cpu"
    precision: str = "float32"
    reused: Mapping[str, Reused] = field(default_factory=dict)
    beside: bool = False

    def reused_files(self, session: Session) -> dict[str, Path]:
        """Files of another app for a session, by name; empty if there are none."""
        return dict(self.reused[session.stem].files) if session.stem in self.reused else {}


def process_session(session: Session, plan: Plan, structured: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Do what is missing of the T1w of a session, but the estimate, and return the seconds of each stage that ran.

    Parameters
    ----------
    session : Session
    plan : Plan
    structured : callable
        Called once the files of the structure stage are there.

    Raises
    ------
    engine.GraphFailed, UnusableInput, BadConfiguration, OSError
        If a stage cannot be finished; what earlier stages left stays.
    """
    reused = plan.reused_files(session)
    digest = fingerprint(session, skull_strip=plan.skull_strip, sloppy=plan.sloppy, seed=plan.seed, reused=reused)
    stored = stored_fingerprint(plan.out_dir, session)
    if stored is not None and stored != digest:
        LOGGER.info("%s: the scan or the settings differ from those of the files that are there; all is made anew", session.stem)
        discard(plan.out_dir, session)
        discard_others(plan.out_dir, session)
    seconds: dict[str, float] = {}
    redo = False
    for name, run in STEPS.items():
        if name == "figures" and plan.sloppy:
            continue
        if not redo and is_finished(name, plan.out_dir, session):
            LOGGER.info("%s: %s is there already", session.stem, name)
        else:
            if not redo:
                discard(plan.out_dir, session, tuple(STAGES)[tuple(STAGES).index(name) :] if name == "structure" else (name,))
            redo = redo or name == "structure"
            LOGGER.info("%s: %s", session.stem, name)
            start = time.monotonic()
            run(session, plan, digest)
            seconds[name] = time.monotonic() - start
            LOGGER.info("%s: %s done in %.1f s", session.stem, name, seconds[name])
        if name == "structure":
            structured()
    return seconds


def files_of(session: Session, plan: Plan) -> dict[str, str]:
    """Paths of the finished images of a session by the names that graphs use."""
    paths = {}
    for output in (o for stage in ("structure", "template") for o in STAGES[stage]):
        key = "_".join([output.key, *(value for _, value in output.entities)])
        paths[key] = str(output.path(plan.out_dir, session))
    return paths


def make_structure(session: Session, plan: Plan, digest: str) -> None:
    """Masks, tissues, structures, transforms and the preprocessed T1w."""
    from brainage_bids.workflows.structure import init_reuse_wf, init_structure_wf

    reused = plan.reused_files(session)
    scan = session.scans["T1w"]
    if reused:
        with_tissues = "probseg_GM" in reused
        workflow = init_reuse_wf(threads=plan.threads, sloppy=plan.sloppy, seed=plan.seed, with_tissues=with_tissues)
        inputs = {"t1w" if key == "preproc" else key: path for key, path in reused.items()}
        steps = ["reused", "conform", "mask_reused", "registration_greedy", *([] if with_tissues else ["tissues_em"])]
    else:
        workflow = init_structure_wf(skull_strip=plan.skull_strip, threads=plan.threads, sloppy=plan.sloppy, seed=plan.seed)
        inputs = {"t1w": scan.path}
        steps = ["conform", "", "bias_n4", "registration_greedy", "tissues_em"]
    made = run_graph(workflow, {key: str(value) for key, value in inputs.items()}, plan.work_dir / session.stem)
    if not reused:
        steps[1] = "mask_given" if made["stripped"] else "mask_atlas"
    facts = {
        "SourceChoice": scan.reason,
        "InputSkullStripped": bool(made["stripped"]),
        "StepsDone": [*steps, "modulation", "quality", "arrays"],
        "Flags": [*made.get("flags", []), *(["input_mismatch"] if _is_foreign(session, plan) else [])],
        "Notes": list(made.get("notes", [])),
        "Fingerprint": digest,
        "ProgramVersion": __version__,
    }
    sources = _raw_sources(session, plan)
    for output in STAGES["structure"]:
        path = output.path(plan.out_dir, session)
        if output.key.endswith("_lookup"):
            sink_table(LOOKUPS[output.key](), path, table_columns("lookup"), sidecar=False)
            continue
        sidecar = _sidecar(output, session, sources, bool(made["stripped"]), facts if output.key == "preproc" else None)
        key = "_".join([output.key, *(value for _, value in output.entities)])
        (sink_file if output.key.startswith("xfm") else sink_image)(made[key], path, sidecar)


def _raw_sources(session: Session, plan: Plan) -> list[str]:
    """BIDS URIs of the scan and of what was taken over from another app."""
    uris = [bids_uri(session.scans["T1w"].path, {"raw": plan.bids_dir})]
    if session.stem in plan.reused:
        other = plan.reused[session.stem]
        uris += [bids_uri(path, {other.dataset: other.root}) for _, path in sorted(other.files.items())]
    return uris


def _is_foreign(session: Session, plan: Plan) -> bool:
    """Whether the tissue maps come from another app: models were trained on ours."""
    return "probseg_GM" in plan.reused_files(session) and APP not in generators(plan.reused[session.stem].root)


def _sidecar(output: Output, session: Session, sources: list[str], stripped: bool, extra: Mapping | None = None) -> dict:
    return image_sidecar(
        output.key,
        session.participant_id,
        session.session_id,
        sources=sources,
        skull_stripped=stripped,
        extra=extra,
        **dict(output.entities),
    )


def _tissue_rows() -> list[dict]:
    names = {"GM": "grey matter", "WM": "white matter", "CSF": "cerebrospinal fluid"}
    return [{"index": index, "name": names[tissue], "abbreviation": tissue} for index, tissue in enumerate(TISSUES, start=1)]


def _region_rows() -> list[dict]:
    from brainage_bids.imaging.volumes import read_regions

    return [{"index": region.index, "name": region.name, "hemisphere": region.hemisphere} for region in read_regions()]


LOOKUPS: dict[str, Callable[[], list[dict]]] = {"dseg_lookup": _tissue_rows, "aseg_lookup": _region_rows}
"""What the labels of each segmentation mean."""


def make_template(session: Session, plan: Plan, digest: str) -> None:
    """T1w and modulated tissue maps in the template's space."""
    from brainage_bids.workflows.template import init_template_wf

    files = files_of(session, plan)
    wanted = ("preproc", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward", "xfm_inverse")
    # FLAIR and SWI are under way on the other half
    threads = max(1, plan.threads // 2) if plan.beside and len(session.scans) > 1 else plan.threads
    made = run_graph(init_template_wf(threads=threads), {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    stripped = bool(read_sidecar(plan.out_dir, session).get("InputSkullStripped"))
    keys = ("preproc", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward")
    sources = [bids_uri(files[key], {"": plan.out_dir}) for key in keys]
    for output in STAGES["template"]:
        entities = dict(output.entities)
        if output.key.startswith("modulated"):
            source = made[output.key][entities["label"]]
        else:
            source = made["_".join([output.key, *entities.values()]) if entities else output.key]
        sink_image(source, output.path(plan.out_dir, session), _sidecar(output, session, sources, stripped))


def make_tables(session: Session, plan: Plan, digest: str) -> None:
    """Volumes and quality."""
    from brainage_bids.workflows.measure import init_measure_wf

    files = files_of(session, plan)
    facts = read_sidecar(plan.out_dir, session)
    workflow = init_measure_wf(stripped=bool(facts["InputSkullStripped"]), own_bias="bias_n4" in facts["StepsDone"])
    reused = plan.reused_files(session)
    raw = str(reused["preproc"] if reused else session.scans["T1w"].path)
    wanted = ("preproc", "mask", "dseg", "aseg", "probseg_GM", "probseg_WM", "probseg_CSF", "xfm_forward", "xfm_inverse")
    made = run_graph(workflow, {"t1w": raw} | {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    names = {"participant_id": session.participant_id, "session_id": session.session_id}
    tables = {"volumes": [names | made["tissues"]], "volumes_atlas": [names | row for row in made["regions"]], "qc": made["quality"]}
    for output in STAGES["measure"]:
        sink_table(tables[output.key], output.path(plan.out_dir, session), table_columns(output.key))


def make_arrays(session: Session, plan: Plan, digest: str) -> None:
    """The T1w as whole-brain arrays on one scale."""
    from brainage_bids.workflows.other import init_arrays_wf

    files = files_of(session, plan)
    wanted = ("preproc", "mask", "probseg_WM", "xfm_forward", "xfm_inverse")
    made = run_graph(init_arrays_wf(), {key: files[key] for key in wanted}, plan.work_dir / session.stem)
    if made["clipped_share"] > CLIPPED_LIMIT:
        LOGGER.warning("%s: %.3g %% of the brain was clipped in the packed T1w", session.stem, 100 * made["clipped_share"])
    extra = {"ScaleFactor": made["factor"], "ClippedShare": made["clipped_share"]}
    sources = [bids_uri(files[key], {"": plan.out_dir}) for key in wanted[:4]]
    for output in STAGES["arrays"]:
        sink_image(made[output.key], output.path(plan.out_dir, session), _sidecar(output, session, sources, True, extra))


def make_figures(session: Session, plan: Plan, digest: str) -> None:
    """Pictures of the mask, the tissues and the registration."""
    from brainage_bids.imaging.registration import template_image
    from brainage_bids.reports.figures import draw_mask, draw_registration, draw_tissues

    files = files_of(session, plan)
    drawers: dict[str, Callable[[Path], Path]] = {
        "mask": lambda path: draw_mask(files["preproc"], files["mask"], path),
        "tissues": lambda path: draw_tissues(files["preproc"], files["dseg"], path),
        "registration": lambda path: draw_registration(files["t1w_mni_1"], template_image(), path),
    }
    for desc in FIGURES:
        with write_atomic(Output("figures", (("desc", desc),)).path(plan.out_dir, session)) as partial:
            drawers[desc](partial)


STEPS: dict[str, Callable[[Session, Plan, str], None]] = {
    "structure": make_structure,
    "template": make_template,
    "measure": make_tables,
    "arrays": make_arrays,
    "figures": make_figures,
}
"""What makes the files of each stage of `stages.STAGES`; the estimate comes after them."""
