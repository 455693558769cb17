"""What is the same for all sessions of a participant's run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brainage_bids.bids.reuse import Reused
from brainage_bids.records import Session
from brainage_bids.settings import Settings


@dataclass(frozen=True)
class Plan:
    """The settings of the run, and what belongs to this participant.

    Attributes
    ----------
    settings : Settings
        With the number of threads decided.
    work_dir : Path
        The scratch folder of this participant.
    precomputed : mapping
        Stem of a session to the preprocessing of another app that it starts from.
    one_process : bool
        No second process is started, whatever there is to do: a program that calls this one may not stand being imported again.
    """

    settings: Settings
    work_dir: Path
    precomputed: Mapping[str, Reused] = field(default_factory=dict)
    one_process: bool = False

    @property
    def bids_dir(self) -> Path:
        """The raw dataset."""
        return Path(self.settings.bids_dir)

    @property
    def out_dir(self) -> Path:
        """The derivatives."""
        return Path(self.settings.out_dir)

    @property
    def threads(self) -> int:
        """Threads that a step may use."""
        return max(1, self.settings.omp_nthreads)

    @property
    def helped(self) -> bool:
        """Whether a second process may be started, which needs a core and memory."""
        return self.threads > 1 and not self.settings.mem_mb and not self.one_process

    def precomputed_files(self, session: Session) -> dict[str, Path]:
        """Files of another app for a session, by name; empty if there are none."""
        return dict(self.precomputed[session.stem].files) if session.stem in self.precomputed else {}
