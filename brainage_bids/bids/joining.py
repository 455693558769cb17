"""Identifiers of tables and folders: which names are certainly one, though they are written otherwise."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

EXAMPLES = 3  # how many cases a sentence names
_VISIT_WORDS = "(?:ses|session|visit|visite|v|wave|w|timepoint|tp|time|t|scan|s)"
_VISITS: Mapping[str, str] = {
    "bl": "baseline", "base": "baseline", "bsl": "baseline", "fu": "followup", "fup": "followup", "scr": "screening", "screen": "screening",
    "month": "m", "months": "m", "mo": "m", "mon": "m", "mth": "m", "year": "y", "years": "y", "yr": "y", "yrs": "y",
}  # fmt: skip


@dataclass
class Renamed:
    """What a table calls otherwise than the folders.

    Attributes
    ----------
    people, visits : dict
        Name in the table to name of the folder, where they are certainly one.
    unclear : dict
        Name in the table to the folders that it may be.
    visits_left : dict
        Person to (visits of the table, visits on disk) that found no partner.
    whole : list of str
        People without sessions on disk whose one row names a visit.
    """

    people: dict[str, str] = field(default_factory=dict)
    visits: dict[str, str] = field(default_factory=dict)
    unclear: dict[str, list[str]] = field(default_factory=dict)
    visits_left: dict[str, tuple[list[str], list[str]]] = field(default_factory=dict)
    whole: list[str] = field(default_factory=list)

    def add(self, other: Renamed) -> None:
        """Take over what another table calls otherwise."""
        self.people.update(other.people)
        self.visits.update(other.visits)
        self.unclear.update(other.unclear)
        self.visits_left.update(other.visits_left)
        self.whole += other.whole

    def sentences(self, label: str) -> list[str]:
        """What must be said of a table."""
        said = []
        if self.people:
            names = f"{len(self.people)} participant(s) otherwise than the folders ({_as(self.people)})"
            said.append(f"{label} names {names}; they are joined.")
        if self.unclear:
            some = "; ".join(f"{name}: {' or '.join(map(str, folders[:2]))}" for name, folders in list(self.unclear.items())[:EXAMPLES])
            said.append(f"{label} has {len(self.unclear)} name(s) that may be more than one participant's ({some}); they are left out.")
        if self.visits:
            said.append(f"{label} names visits otherwise than the folders ({_as(self.visits)}); they are joined.")
        if self.whole:
            said.append(
                f"{label} names a visit of {len(self.whole)} participant(s) without session folders ({few(self.whole)}); as it has one row "
                "of each, it is taken for theirs."
            )
        if self.visits_left:
            person, (rows, folders) = next(iter(self.visits_left.items()))
            there = f"has {few(folders)}" if folders else "has no session folders"
            said.append(
                f"{label} has visits of {len(self.visits_left)} participant(s) that fit no session on disk ({person} has {few(rows)} "
                f"in it, the dataset {there}); they are left out, so name them alike."
            )
        return said


def few(names: Collection[str]) -> str:
    """Some names.

    >>> few(["a", "b", "c", "d"])
    'a, b, c, …'
    """
    return ", ".join(list(names)[:EXAMPLES]) + (", …" if len(names) > EXAMPLES else "")


def plain_person(name: str) -> str:
    """A participant's label without what is written now so, now so: prefix, capitals, signs, zeros before numbers.

    >>> plain_person("sub-007"), plain_person("7.0"), plain_person("Sub_A-07")
    ('7', '7', 'a7')
    """
    text = re.sub(r"^(?:sub-)?(?:(?:sub|subj|subject|participant)[-_ ]|(?:sub|subject)(?=\d))?", "", name.strip().lower())
    return _plain(text)


def plain_visit(name: str) -> str:
    """A visit's label without prefix, words for visit, capitals, signs and zeros.

    >>> plain_visit("ses-01"), plain_visit("V1"), plain_visit("ses-bl"), plain_visit("Follow-up 2"), plain_visit("ses-m06")
    ('1', '1', 'baseline', 'followup2', 'm6')
    >>> plain_visit("Month 12"), plain_visit("12 months"), plain_visit("ses-12mo")
    ('m12', 'm12', 'm12')
    """
    text = _plain(re.sub(r"^ses-", "", name.strip().lower()))
    text = re.sub(r"^(\d+)(m|mo|mon|mth|months?|y|yrs?|years?)$", r"\2\1", text)
    text = re.sub(rf"^{_VISIT_WORDS}(?=\d+$)", "", text)
    text = re.sub(rf"(?<=[a-z]){_VISIT_WORDS}$", "", text) if re.match(r"(?:baseline|bl|followup|fu|screening)", text) else text
    return re.sub(r"^[a-z]+", lambda match: _VISITS.get(match[0], match[0]), text)


def _plain(text: str) -> str:
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    return re.sub(r"\d+", lambda match: match[0].lstrip("0") or "0", re.sub(r"[^\w+]|_", "", text))


def pair(named: Collection[str], known: Collection[str], plain: Callable[[str], str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Names of a table joined to names on disk, where one of each is written alike but for what `plain` takes off.

    Returns
    -------
    dict
        Name in the table to name on disk; those that are the same are not in it.
    dict
        Names for which there are several.

    Examples
    --------
    >>> pair(["sub-1", "sub-2"], ["sub-01", "sub-02", "sub-002"], plain_person)
    ({'sub-1': 'sub-01'}, {'sub-2': ['sub-02', 'sub-002']})
    """
    known_as, named_as = defaultdict(list), defaultdict(list)
    for names, by in ((known, known_as), (named, named_as)):
        for name in dict.fromkeys(names):
            by[plain(name)].append(name)
    exact = set(known)
    joined, unclear = {}, {}
    for name in dict.fromkeys(named):
        folders = known_as.get(plain(name), [])
        if name in exact or not folders:
            continue
        if len(folders) == len(named_as[plain(name)]) == 1:
            joined[name] = folders[0]
        elif len(folders) > 1 or folders[0] not in named_as[plain(name)]:
            unclear[name] = folders
        else:
            unclear[name] = [folders[0], "somebody else"]
    return joined, unclear


Pair = tuple[str, str | None]


def join_keys(keys: Sequence[Pair], visits: Mapping[str, Sequence[str]], everyone: Collection[str]) -> tuple[list[Pair], Renamed]:
    """Give the rows of a table the names of the folders.

    Parameters
    ----------
    keys : sequence of (person, visit)
        With prefixes; None as visit where the table tells none.
    visits : mapping
        People asked for, each with the sessions on disk.
    everyone : collection of str
        All people on disk, of whom a name must be the only one to be certain.

    Returns
    -------
    list of (person, visit)
        As the folders are called, where that is certain.
    Renamed
        What was called otherwise, for the people asked for.

    Examples
    --------
    >>> join_keys([("sub-1", "ses-1")], {"sub-01": ["ses-01"]}, ["sub-01"])[0]
    [('sub-01', 'ses-01')]
    """
    people, unclear = pair([person for person, _ in keys], everyone, plain_person)
    renamed = Renamed({name: folder for name, folder in people.items() if folder in visits})
    renamed.unclear = {name: folders for name, folders in unclear.items() if any(folder in visits for folder in folders)}
    keys = [(people.get(person, person), visit) for person, visit in keys]
    rows_of: dict[str, list[str | None]] = defaultdict(list)
    for person, visit in keys:
        rows_of[person].append(visit)
    single = all(len(set(rows)) == 1 for rows in rows_of.values())
    names: dict[Pair, str | None] = {}
    for person, rows in rows_of.items():
        if person not in visits:
            continue
        told = list(dict.fromkeys(visit for visit in rows if visit is not None))
        on_disk = visits[person]
        if told and not on_disk and single:
            names[person, told[0]] = None
            renamed.whole.append(person)
            continue
        joined, _ = pair(told, on_disk, plain_visit)
        joined = _certain(joined, told, on_disk)
        names.update({(person, visit): folder for visit, folder in joined.items()})
        renamed.visits.update(joined)
        left = [visit for visit in told if visit not in on_disk and visit not in joined]
        lonely = [visit for visit in on_disk if visit not in told and visit not in joined.values()]
        if left and (lonely or not on_disk):
            renamed.visits_left[person] = (left, lonely)
    return [(person, names.get((person, visit), visit)) for person, visit in keys], renamed


def _certain(joined: dict[str, str], told: Sequence[str], on_disk: Sequence[str]) -> dict[str, str]:
    """Visits that are joined, without mere numbers where another number fits no session and a session no number.

    The table may count from 0 and the folders from 1, so that the same number is another visit.

    >>> _certain({"ses-1": "ses-01"}, ["ses-0", "ses-1"], ["ses-01", "ses-02"])
    {}
    """
    left = [visit for visit in told if visit not in on_disk and visit not in joined]
    lonely = [folder for folder in on_disk if folder not in told and folder not in joined.values()]
    if not all(any(plain_visit(name).isdigit() for name in names) for names in (left, lonely)):
        return joined
    return {visit: folder for visit, folder in joined.items() if not plain_visit(visit).isdigit()}


def _as(names: Mapping[str, str]) -> str:
    return few([f"{name} for {folder}" for name, folder in names.items()])
