"""Getting published weights from where their authors put them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.records import BadConfiguration

_CHUNK = 1 << 16
TIMEOUT_S = 30.0
PARTIAL = ".part"
_ELSEWHERE = "get the file elsewhere and use brainage-models import"


@dataclass(frozen=True)
class Published:
    """Weights that may be used and passed on.

    Attributes
    ----------
    kind : str
        Of ``nets.NETS``.
    address : str
        Of the file.
    licence, citation : str
    input : str
        Of ``inputs.INPUTS``.
    datasets : str
        On whom they were trained.
    n : int
        How many people.
    ages : tuple of float
        Lowest and highest age of the people.
    mae, mae_n : float, int
        Mean absolute error that its authors found, years, and on how many people held out.
    sha256 : str
        Of the file, if its authors say it; else empty, and the sum that was found is printed.
    """

    kind: str
    address: str
    licence: str
    citation: str
    input: str
    datasets: str
    n: int
    ages: tuple[float, float]
    mae: float
    mae_n: int
    sha256: str = ""


PUBLISHED: Mapping[str, Published] = {
    "sfcnukb": Published(
        kind="sfcn",
        address=(
            "https://raw.githubusercontent.com/ha-ha-ha-han/UKBiobank_deep_pretrain/master/brain_age/run_20190719_00_epoch_best_mae.p"
        ),
        licence="MIT",
        citation="Peng H, Gong W, Beckmann CF, Vedaldi A, Smith SM. Medical Image Analysis 2021;68:101871, doi:10.1016/j.media.2020.101871",
        input="sfcnukb",
        datasets="UK Biobank, release of 14,503 people",
        n=12949,
        ages=(44.0, 81.0),
        mae=2.14,
        mae_n=1036,
    ),
}
"""By the name under which `brainage-models fetch` knows them. Numbers: table of the repository's README (12,949 people in training, error
on the test part), split 12,949 / 518 / 1,036 of the paper, whose bins run from 42 to 82; ages as Hofmann 2022
quotes them (doi:10.1016/j.neuroimage.2022.119504); the repository carries the MIT licence."""


def find_published(name: str) -> Published:
    """Weights by their name.

    Raises
    ------
    BadConfiguration
        If there are none whose licence allows it.
    """
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise BadConfiguration(f"No weights called {name!r} may be fetched; known are: {known}. Files of your own: brainage-models import.")
    return PUBLISHED[name]


def download(address: str, to: Path, *, sha256: str = "", progress: Callable[[int, int], None] | None = None) -> str:
    """Get a file; what an earlier, broken attempt left is taken up again.

    Parameters
    ----------
    address : str
        ``https://…`` or ``http://…``.
    to : Path
        The file to be; until it is whole it is called ``….part``.
    sha256 : str
        What its SHA-256 must be; empty if it is not known.
    progress : callable, optional
        Called with the bytes that are there and all (0 if the server does not say).

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    BadConfiguration
        If the server cannot be reached, breaks off, or sends another file, or the file cannot be written.
    """
    if to.is_file() and (digest := _digest(to)) == sha256:
        return digest
    partial = to.with_name(to.name + PARTIAL)
    partial.parent.mkdir(parents=True, exist_ok=True)
    _transfer(address, partial, progress)
    digest = _digest(partial)
    if sha256 and digest != sha256:
        partial.unlink()
        sums = f"SHA-256 {digest[:12]}… instead of {sha256[:12]}…"
        raise BadConfiguration(f"{address} is not the file that is known ({sums}); it was removed.")
    partial.replace(to)
    return digest


def _transfer(address: str, partial: Path, progress: Callable[[int, int], None] | None) -> None:
    start = partial.stat().st_size if partial.is_file() else 0
    answer = _answer(address, start)
    if answer is None:
        return
    with answer:
        resumed = answer.status == 206
        if resumed and not _said(answer).startswith(f"bytes {start}-"):
            partial.unlink()
            raise BadConfiguration(f"{address} did not go on where it broke off; run the same command again to start anew.")
        done = start if resumed else 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        try:
            with open(partial, "ab" if resumed else "wb") as file:
                for chunk in _chunks(address, answer):
                    file.write(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done, max(total, done))
        except OSError as error:
            raise BadConfiguration(f"{partial} cannot be written ({error.strerror}); make room, or choose another folder.") from error
    if total > done:
        raise BadConfiguration(f"{address} broke off after {done} of {total} bytes; run the same command again to go on.")


def _answer(address: str, start: int):
    """The server's answer to a wish for all that follows `start`; None if that is nothing."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        return urlopen(Request(address, headers={"Range": f"bytes={start}-"} if start else {}), timeout=TIMEOUT_S)
    except HTTPError as error:
        if error.code == 416 and _said(error) == f"bytes */{start}":
            return None
        if error.code == 416 and start:  # what is there is longer than the file
            return _answer(address, 0)
        reason = f"{error.code} {error.reason}".splitlines()[0]
        raise BadConfiguration(f"{address} cannot be fetched (the server says {reason}); try again later, or {_ELSEWHERE}.") from error
    except (OSError, ValueError) as error:
        raise _offline(address, error) from error


def _chunks(address: str, answer) -> Iterator[bytes]:
    import http.client

    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _offline(address, error) from error


def _said(answer) -> str:
    return str(answer.headers.get("Content-Range", ""))


def _offline(address: str, error: Exception) -> BadConfiguration:
    reason = getattr(error, "reason", None) or error
    return BadConfiguration(f"{address} cannot be fetched ({reason}); check the network, or {_ELSEWHERE}.")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
