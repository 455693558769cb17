"""What a segmentation network is taught to name: structures, tissues or lesions, left and right as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    import numpy as np

LABELS = ("structures", "tissues", "lesions")
LESION = 77
"""Code of aseg for a lesion of the white matter."""


@dataclass(frozen=True)
class LabelSet:
    """Names of labels and the aseg codes that belong to each; the background is label 0 and stands in neither.

    Attributes
    ----------
    names : tuple of str
    codes : tuple of tuple of int
        Of each name; codes in none are background.
    """

    names: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]

    @property
    def count(self) -> int:
        """How many labels there are, the background among them."""
        return len(self.names) + 1

    def table(self) -> np.ndarray:
        """Label of every code, (256,) uint8."""
        import numpy as np

        out = np.zeros(256, dtype=np.uint8)
        for label, codes in enumerate(self.codes, start=1):
            out[list(codes)] = label
        return out


def label_set(name: str) -> LabelSet:
    """The labels of a name in `LABELS`; BadConfiguration for another.

    >>> label_set("tissues").names, label_set("structures").count
    (('CSF', 'GM', 'WM'), 19)
    """
    from brainage_bids.imaging.volumes import read_regions

    if name not in LABELS:
        raise BadConfiguration(f"There are no labels {name!r}; known are {', '.join(LABELS)}.")
    if name == "lesions":
        return LabelSet(("lesion",), ((LESION,),))
    groups: dict[str, list[int]] = {}
    for region in read_regions():
        plain = region.name.removeprefix("Left-").removeprefix("Right-")
        groups.setdefault(plain if name == "structures" else region.tissue, []).append(region.index)
    return LabelSet(tuple(sorted(groups)), tuple(tuple(groups[group]) for group in sorted(groups)))
