"""What was found in a dataset: who is processed, what is left out and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brainage_bids.bids.reuse import Reused
from brainage_bids.records import Failure, Participant

ROW_COLUMNS = ("participant_id", "session_id", "modality", "file", "action", "reason")


@dataclass(frozen=True)
class Skipped:
    """A participant, visit or file that is left out.

    ``named`` tells that the user asked for this participant by label, and nothing of it can be processed: that is a failure
    (exit code 1, or 66 if nothing else was asked), while others are skipped quietly.
    """

    participant_id: str
    session_id: str | None
    modality: str
    file: Path | None
    reason: str
    named: bool = False


@dataclass(frozen=True)
class Inventory:
    """The answer of `brainage_bids.bids.query.collect`.

    Attributes
    ----------
    bids_dir : Path
        The raw dataset, absolute.
    participants : tuple of Participant
        Who is to be processed, sorted by identifier; never without a session.
    skipped : tuple of Skipped
        What is left out, sorted.
    problems : tuple of str
        What is odd about the dataset, one sentence each; none of it stops the run.
    reused : mapping
        Stem of a session to the preprocessing of another app that can be taken over.
    """

    bids_dir: Path
    participants: tuple[Participant, ...]
    skipped: tuple[Skipped, ...] = ()
    problems: tuple[str, ...] = ()
    reused: Mapping[str, Reused] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Participants named by the user of whom nothing can be processed."""
        return tuple(Failure(item.participant_id, item.session_id, "find", item.reason) for item in self.skipped if item.named)

    def rows(self) -> list[dict[str, str]]:
        """Return the table of ``--dry-run``.

        ``action`` is ``process``, ``reuse`` (a file of other preprocessing), ``leave`` (an image that was not chosen), ``skip``
        (a participant or visit without image) or ``fail`` (the same for a participant named by label). Files of the dataset
        are given relative to it.

        Returns
        -------
        list of dict
            With the keys `ROW_COLUMNS`, sorted by participant and visit; ``n/a`` where there is no value.
        """
        keyed = []
        for participant in self.participants:
            for session in participant.sessions:
                who = (session.participant_id, session.session_id or "")
                for modality, scan in session.scans.items():
                    keyed.append((who, 0, modality, self._shown(scan.path), "process", scan.reason))
                reused = self.reused.get(session.stem)
                for key, path in reused.files.items() if reused else ():
                    keyed.append((who, 1, "T1w", str(path), "reuse", f"{key} of {reused.dataset}"))
        for item in self.skipped:
            action = "fail" if item.named else "skip" if item.file is None else "leave"
            keyed.append(((item.participant_id, item.session_id or ""), 2, item.modality, self._shown(item.file), action, item.reason))
        return [
            dict(zip(ROW_COLUMNS, (who[0], who[1] or "n/a", modality, file, action, reason), strict=True))
            for who, _, modality, file, action, reason in sorted(keyed)
        ]

    def _shown(self, path: Path | None) -> str:
        if path is None:
            return "n/a"
        return path.relative_to(self.bids_dir).as_posix() if path.is_relative_to(self.bids_dir) else str(path)
