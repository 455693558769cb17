"""A home and a user for libraries that ask for one where the system knows none (``docker run -u``, ``--cleanenv``, ``env -i``)."""

from __future__ import annotations

import getpass
import logging
import os
from pathlib import Path

NOWHERE = os.path.join(os.devnull, "home")
"""A folder that is not there and that nobody can make, so that every library keeps its settings to itself."""


def settle() -> None:
    """Set HOME and USER if they are not known, or HOME is somebody else's; commands that are started inherit them.

    pybids and nipype read settings from the home folder when they are imported and stop without one; nothing of ours lies there.
    """
    try:
        os.stat(Path.home() / "settings")
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (RuntimeError, OSError):  # not known, or root's, whom containers may name whoever runs them
        os.environ["HOME"] = NOWHERE
    if not os.access(Path.home(), os.W_OK):
        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells at length that it makes do with a temporary folder
    try:
        getpass.getuser()
    except (KeyError, OSError):  # no line in the table of users; the kind of error changed with Python 3.13
        os.environ["USER"] = str(os.getuid())
