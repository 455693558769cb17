"""The machines of a cohort: they differ in ways that are written down, and a rule makes as many as are wanted.

The first is the reference: 3 tesla, voxels of equal edges. The next differ in field, noise, bias field, gain, sequence times and
thickness of slices; from the fifth on the four kinds come again with other noise and gain. Each also has the offset and the
factor by which `simulated` lets its readings err. Sequence times (`modalities.MODALITIES`) are of the order in use at these field
strengths (T1w: Jack et al. 2008, doi:10.1002/jmri.21049; SWI: Haacke et al. 2009, doi:10.3174/ajnr.A1400; T2w: Mugler 2014,
doi:10.1002/jmri.24542); a FLAIR inverts at the zero of fluid, `null_time`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brainage_bids.modalities import by_words
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Scanner, Sequence

T1_FLUID_S = 4.3
"""T1 of cerebrospinal fluid, s, at 1.5 and 3 T alike (Rooney et al. 2007, doi:10.1002/mrm.21122)."""


@dataclass(frozen=True)
class Kind:
    """What sets a machine apart; `thick` is the least thickness of slices in mm (of FLAIR, for one), 0 for equal edges."""

    field_t: float
    noise: float
    bias: float
    gain: float
    thick: float
    years: float  # error of readings in `simulated`, years
    factor: float  # on volumes in `simulated`


KINDS = (
    Kind(3.0, 0.030, 0.10, 1.0, 0.0, 0.0, 1.00),
    Kind(1.5, 0.045, 0.05, 0.6, 3.0, 2.0, 0.98),
    Kind(3.0, 0.020, 0.15, 2.5, 0.0, -1.5, 1.01),
    Kind(1.5, 0.060, 0.08, 1.4, 5.0, 1.0, 0.97),
)


def make_scanners(design: Design) -> tuple[Scanner, ...]:
    """The scanners of a cohort, those of the first site first.

    >>> [scanner.name for scanner in make_scanners(Design(sites=2, scanners_per_site=2))]
    ['site1scanner1', 'site1scanner2', 'site2scanner1', 'site2scanner2']
    """
    total = design.sites * design.scanners_per_site
    return tuple(_scanner(number, design) for number in range(total))


def reading_error(number: int) -> tuple[float, float]:
    """Years added to a brain age and factor on a volume by the scanner of that number, for `simulated`.

    >>> reading_error(0)
    (0.0, 1.0)
    """
    kind = KINDS[number % len(KINDS)]
    return kind.years, kind.factor


def null_time(tr: float, t1: float = T1_FLUID_S) -> float:
    """Inversion time, s, at which a tissue gives no signal: t1 (ln 2 − ln(1 + exp(−tr / t1))).

    >>> round(null_time(9.0), 2)
    2.48
    """
    return t1 * (math.log(2) - math.log1p(math.exp(-tr / t1)))


def describe(scanners: tuple[Scanner, ...]) -> list[dict[str, Any]]:
    """Everything known about each scanner, for ``effects.json``."""
    rows = []
    for number, scanner in enumerate(scanners):
        years, factor = reading_error(number)
        rows.append(
            {
                "name": scanner.name,
                "site": scanner.site,
                "field_tesla": scanner.field_t,
                "noise_share_of_white_matter": scanner.noise,
                "bias_log_sd": scanner.bias,
                "gain": scanner.gain,
                "sequences": {modality: sidecar(scanner, modality) for modality in scanner.sequences},
                "simulated_readings": {"brain_age_offset_years": years, "volume_factor": factor},
            }
        )
    return rows


def sidecar(scanner: Scanner, modality: str) -> dict[str, Any]:
    """Fields of BIDS about the scanner and a sequence of it (seconds, degrees, tesla, mm)."""
    sequence = scanner.sequences[modality]
    content: dict[str, Any] = {
        "Modality": "MR",
        "MagneticFieldStrength": scanner.field_t,
        "Manufacturer": "brainage_bids phantom",
        "ManufacturersModelName": scanner.name,
        "InstitutionName": scanner.site,
        "StationName": scanner.name,
        "MRAcquisitionType": "3D" if len(set(sequence.voxel_mm)) == 1 else "2D",
        "RepetitionTime": sequence.tr,
        "EchoTime": sequence.te,
        "FlipAngle": sequence.flip,
        "AcquisitionVoxelSize": list(sequence.voxel_mm),
        "SliceThickness": sequence.voxel_mm[2],
    }
    if sequence.ti:
        content["InversionTime"] = sequence.ti
    return content


def _scanner(number: int, design: Design) -> Scanner:
    kind, again = KINDS[number % len(KINDS)], number // len(KINDS)
    site = f"site{number // design.scanners_per_site + 1}"
    return Scanner(
        name=f"{site}scanner{number % design.scanners_per_site + 1}",
        site=site,
        field_t=kind.field_t,
        noise=round(kind.noise * (1 + 0.1 * (again % 4)), 4),
        bias=kind.bias,
        gain=round(kind.gain * (1 + 0.15 * (again % 6)), 4),
        sequences=_sequences(kind, design.resolution, design.modalities),
    )


def _sequences(kind: Kind, edge: float, modalities: tuple[str, ...]) -> Mapping[str, Sequence]:
    cube = (edge, edge, edge)
    slices = (edge, edge, max(kind.thick, edge)) if kind.thick else cube
    out = {}
    for modality in modalities:
        simulated = by_words()[modality].simulated
        times = simulated.strong if kind.field_t > 2 else simulated.weak
        ti = round(null_time(times.tr), 3) if times.ti is None else times.ti
        out[modality] = Sequence(times.tr, times.te, ti, times.flip, slices if simulated.sliced else cube)
    return out
