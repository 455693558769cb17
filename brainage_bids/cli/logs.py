"""Where messages of a run go."""

from __future__ import annotations

import logging
import time
from pathlib import Path

LOGGER = logging.getLogger("brainage")


def log_to_stderr(verbose: int) -> None:
    """Show warnings, with 1 what is done, with 2 everything; handlers of an earlier run are let go."""
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.formatter.converter = time.localtime
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.INFO if verbose < 2 else logging.DEBUG)
    LOGGER.propagate = False


def log_to_file(path: Path) -> None:
    """Write everything to a file too."""
    log = logging.FileHandler(path, encoding="utf-8")
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOGGER.addHandler(log)
