"""A session on a skeleton: raw files of a few bytes, and the app's stages with runs that write empty files."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.records import Failure, Participant, Scan, Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.participant import process_participant
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.predict import TABLE
from brainage_bids.workflows.stage import Output, Stage, read_entries, write_entries
from brainage_bids.workflows.table import stages_of

PHENOTYPE = {"age": 50.0, "sex": "F"}


@dataclass
class Skeleton:
    """A person of one or more sessions, and what was made of it.

    Attributes
    ----------
    made : list of str
        Names of the stages whose run was called, emptied by `run`.
    failing : mapping
        Name of a stage to what its run raises.
    changes : mapping
        Name of a stage to fields that replace those of the app's.
    more : list of Stage
        Added to the app's.
    """

    plan: Plan
    sessions: tuple[Session, ...]
    made: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    failing: dict[str, Exception] = field(default_factory=dict)
    changes: dict[str, dict] = field(default_factory=dict)
    more: list[Stage] = field(default_factory=list)

    @property
    def session(self) -> Session:
        return self.sessions[0]

    def write(self, stage: Stage, session: Session, plan: Plan) -> None:
        """Stand in for the run of a stage."""
        self.made.append(stage.name)
        if stage.name in self.failing:
            raise self.failing[stage.name]
        for output in stage.outputs:
            if output.entry:
                known = read_entries(output, plan.out_dir, session)
                write_entries(output, plan.out_dir, session, known | {output.entry: {"made_from": str(stage.revision)}})
            elif output.key in ("qc", "volumes", "other_qc"):
                sink_table([], output.path(plan.out_dir, session), table_columns("qc"))
            else:
                output.path(plan.out_dir, session).parent.mkdir(parents=True, exist_ok=True)
                output.path(plan.out_dir, session).touch()

    def stages(self) -> list[Stage]:
        changed = [replace(stage, **self.changes.get(stage.name, {})) for stage in (*stages_of(self.plan), *self.more)]
        return [replace(stage, run=lambda session, plan, stage=stage: self.write(stage, session, plan)) for stage in changed]

    def run(self, **settings) -> list[str]:
        """Process the person and return the names of the stages that were run."""
        self.made.clear()
        self.plan = replace(self.plan, settings=replace(self.plan.settings, **settings))
        self.failures = process_participant(Participant("sub-1", self.sessions), self.plan, self.stages())
        return list(self.made)

    def change(self, **fields) -> None:
        """Change the first session."""
        self.sessions = (replace(self.session, **fields), *self.sessions[1:])

    def path(self, key: str, **entities: str) -> Path:
        return Output(key, tuple(entities.items())).path(self.plan.out_dir, self.session)

    def files(self) -> dict[str, int]:
        """Times of all files of the person."""
        return {str(path): path.stat().st_mtime_ns for path in (self.plan.out_dir).rglob("*") if path.is_file()}

    def entries(self) -> dict[str, dict]:
        return read_entries(TABLE, self.plan.out_dir, self.session)

    def scan(self, modality: str, content: str) -> Scan:
        """A raw file."""
        path = self.plan.bids_dir / f"{content}.nii"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return Scan(path, modality, {}, f"only {modality}")


@pytest.fixture
def skeleton(tmp_path) -> Skeleton:
    """One session with T1w, FLAIR and SWI, one thread, the default model."""
    settings = Settings(str(tmp_path / "raw"), str(tmp_path / "out"), str(tmp_path / "work"), omp_nthreads=1)
    made = Skeleton(Plan(settings, tmp_path / "work" / "sub-1"), ())
    scans = {modality: made.scan(modality, modality) for modality in ("T1w", "FLAIR", "swi")}
    made.sessions = (Session("sub-1", None, scans, **PHENOTYPE),)
    return made


class Graphs:
    """Stands in for `engine.run_graph`: remembers graphs and their inputs, and answers with a small image for every output.

    Attributes
    ----------
    asked : list of (str, dict)
        Name and inputs of each graph that was run.
    answers : dict
        What outputs hold instead of an image.
    """

    def __init__(self, folder: Path):
        import nibabel as nib

        self.asked: list[tuple[str, dict]] = []
        self.answers: dict[str, object] = {}
        self.image = folder / "made.nii"
        nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4)), self.image)

    def __call__(self, workflow, inputs: dict, work_dir: Path) -> dict:
        fields = set(workflow.get_node("inputnode").interface._fields)
        assert set(inputs) <= fields and (workflow.name == "precomputed_wf" or set(inputs) == fields)
        self.asked.append((workflow.name, inputs))
        return {name: self.answers.get(name, str(self.image)) for name in workflow.get_node("outputnode").interface._fields}


@pytest.fixture
def graphs(tmp_path, monkeypatch) -> Graphs:
    """No graph is run."""
    from brainage_bids.workflows import secondary, t1w

    stand_in = Graphs(tmp_path)
    maps = dict.fromkeys(t1w.TISSUES, str(stand_in.image))
    stand_in.answers = {"stripped": False, "flags": ["header_repaired"], "notes": ["a note"], "clipped_share": 0.0, "factor": 2.5}
    stand_in.answers |= {"modulated": maps, "modulated_smooth": maps, "agreement": 0.9, "seen": 1.0}
    for module in (t1w, secondary):
        monkeypatch.setattr(module, "run_graph", stand_in)
    return stand_in
