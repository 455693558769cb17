"""Run the app from Python on one participant, then read every brain age that the output folder holds.

Usage: python examples/read_ages.py BIDS_DIR OUTPUT_DIR LABEL
"""

import sys
from pathlib import Path

import pandas as pd

from brainage_bids.cli.brainage import main as brainage


def read_ages(out_dir: Path) -> pd.DataFrame:
    """Stack the age tables of all participants; ``n/a`` becomes NaN."""
    tables = sorted(out_dir.glob("sub-*/**/anat/*_brainage.tsv"))
    return pd.concat([pd.read_csv(table, sep="\t", na_values="n/a", keep_default_na=False) for table in tables], ignore_index=True)


if __name__ == "__main__":
    bids_dir, out_dir, label = sys.argv[1:]
    status = brainage([bids_dir, out_dir, "participant", "--participant-label", label])
    print(read_ages(Path(out_dir))[["participant_id", "session_id", "brain_age", "brain_age_sd", "pad", "flags"]].to_string(index=False))
    sys.exit(status)
