"""Records of failures under ``OUT/logs/failures``: written when something fails, gone when it succeeds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from brainage_bids.files import read_json
from brainage_bids.modalities import COREGISTERED
from brainage_bids.records import Failure


def failure_path(out_dir: Path, participant_id: str, session_id: str | None, modality: str | None = None) -> Path:
    """Where the record of a session, of an image beside its T1w alone, or of a person as a whole, lies."""
    return out_dir / "logs" / "failures" / ("_".join(filter(None, (participant_id, session_id, modality))) + ".json")


def write_failures(out_dir: Path, failures: Iterable[Failure]) -> None:
    """Write one file for each person, session or modality with failures: a record, or a list of them if there are several."""
    from brainage_bids.bids.sink import sink_text

    records: dict[Path, list[dict]] = {}
    for failure in failures:
        path = failure_path(out_dir, failure.participant_id, failure.session_id, failure.modality)
        records.setdefault(path, []).append(asdict(failure))
    for path, found in records.items():
        sink_text(json.dumps(found[0] if len(found) == 1 else found, indent=2, ensure_ascii=False) + "\n", path)


def forget_failures(out_dir: Path, participant_id: str, session_ids: Iterable[str | None]) -> None:
    """Remove the records of a person and of the given sessions: they are being processed again."""
    for session_id in {None, *session_ids}:
        for modality in (None, *COREGISTERED):
            failure_path(out_dir, participant_id, session_id, modality).unlink(missing_ok=True)


def read_messages(out_dir: Path, participant_id: str, session_ids: Iterable[str | None]) -> list[str]:
    """What the records of a person and of the given sessions say, one sentence each."""
    paths = (
        failure_path(out_dir, participant_id, session_id, modality)
        for session_id in (None, *filter(None, session_ids))
        for modality in (None, *COREGISTERED)
    )
    contents = [read_json(path) for path in paths if path.exists()]
    return [record["message"] for content in contents for record in (content if isinstance(content, list) else [content])]
