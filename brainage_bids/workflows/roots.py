"""What the stages of a session need from outside of the output folder, and its digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import unquote

from brainage_bids.imaging.scanfile import check_presence
from brainage_bids.records import Session
from brainage_bids.workflows.plan import Plan

PICTURES = "run:pictures"
COLUMN = "column"
"""Kind of a need of a column of the phenotype tables, whose name follows as in an address."""


class Roots:
    """The outside of one session.

    ``scan:T1w``, ``scan:FLAIR``, ``scan:swi``
        The bytes of a scan; those of precomputed files in the place of a T1w, if the session starts from them.
    ``phenotype:age``, ``phenotype:sex``, ``phenotype:flags``
        A field of the session, whether its value is known or not.
    ``column:NAME``
        The value of a column of the phenotype tables, known or not.
    ``run:pictures``
        There unless the run is ``--sloppy``.
    """

    def __init__(self, session: Session, plan: Plan):
        self._session, self._plan = session, plan
        self._digests: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Whether a session has it.

        Raises
        ------
        ValueError
            For a name that is none of these.
        """
        kind, _, which = name.partition(":")
        if kind == "scan":
            return which in self._session.scans
        if kind == COLUMN or (kind == "phenotype" and which in ("age", "sex", "flags")):
            return True
        if name == PICTURES:
            return not self._plan.settings.sloppy
        raise ValueError(f"Nothing outside of the output folder is called {name!r}.")

    def digest(self, name: str) -> str:
        """Digest of what a session has; a scan is read once.

        Raises
        ------
        UnusableInput
            If a file is missing, not fetched or empty.
        OSError
            If it cannot be read.
        """
        if name not in self._digests:
            kind, _, which = name.partition(":")
            if kind == "scan":
                self._digests[name] = self._scan(which)
            else:
                self._digests[name] = hashlib.sha256(json.dumps(self._value(kind, which)).encode()).hexdigest()
        return self._digests[name]

    def _value(self, kind: str, which: str) -> object:
        if kind == COLUMN:
            return self._session.phenotype.get(unquote(which))
        return getattr(self._session, which) if kind == "phenotype" else True

    def _scan(self, modality: str) -> str:
        precomputed = self._plan.precomputed_files(self._session) if modality == "T1w" else {}
        keys = sorted(precomputed)
        digest = hashlib.sha256(json.dumps(keys).encode())
        for path in [precomputed[key] for key in keys] or [self._session.scans[modality].path]:
            digest.update(file_digest(path))
        return digest.hexdigest()


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file; errors as of `Roots.digest`."""
    check_presence(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
