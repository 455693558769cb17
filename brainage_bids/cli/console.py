"""What the smaller console scripts share: exit codes, errors in one sentence, tables on the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

FAILED, DATASET, NOTHING, INTERNAL, CONFIGURATION, INTERRUPTED = 1, 65, 66, 70, 78, 130
"""Exit codes: a check failed, unusable dataset, nothing found, fault of ours, bad configuration or place, interrupted."""


def run_script(program: str, work: Callable[[], int]) -> int:
    """Call `work` and return its exit code; an error becomes a sentence on stderr and the code for its kind."""
    from brainage_bids.records import BadConfiguration, BadDataset, UnusableInput

    try:
        return work()
    except (BadDataset, UnusableInput) as error:
        return say(program, error, DATASET)
    except BadConfiguration as error:
        return say(program, error, CONFIGURATION)
    except OSError as error:
        return say(program, f"A file or folder cannot be used ({error}).", CONFIGURATION)
    except KeyboardInterrupt:
        return say(program, "Interrupted.", INTERRUPTED)
    except Exception:  # a fault of ours: everything is shown so that it can be reported
        import traceback

        traceback.print_exc()
        return say(program, "This is an error of the program itself; please report it with the lines above.", INTERNAL)


def say(program: str, message: object, code: int) -> int:
    """Print a sentence to stderr and return the code."""
    print(f"{program}: {message}", file=sys.stderr)
    return code


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of text in columns, the first row being the head.

    >>> print_table([("name", "n"), ("a", "36")])
    name  n
    a     36
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
