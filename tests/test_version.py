"""One version, in every place that tells it."""

import re
from pathlib import Path

import brainage_bids

ROOT = Path(brainage_bids.__file__).parents[1]


def test_the_change_log_and_the_citation_tell_the_version():
    heading = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert heading == cited == brainage_bids.__version__
