"""What the smaller console scripts share: exit codes, errors in one sentence, tables on the screen."""

from __future__ import annotations

import sys
import time
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


class Progress:
    """Says on stderr how far a loop is: a bar that moves on a terminal, else a line at every tenth of the way."""

    WIDTH = 30

    def __init__(self, words: str) -> None:
        self._words = words
        self._start, self._told, self._open = time.monotonic(), 0, False

    def amount(self, done: int, total: int) -> str:
        """How far, in words."""
        return f"{done} of {total}"

    def __call__(self, done: int, total: int) -> None:
        """Say that so much of so much is done."""
        terminal, tenth = sys.stderr.isatty(), 10 * done // max(total, 1)
        if not terminal and done < total and tenth == self._told:
            return
        self._told = tenth
        text = f"{self._words}: {self.amount(done, total)}, {time.monotonic() - self._start:.0f} s"
        if terminal:
            filled = self.WIDTH * done // max(total, 1)
            text = f"\r[{'#' * filled}{'.' * (self.WIDTH - filled)}] {text}"
        self._open = terminal and done != total
        print(text, file=sys.stderr, end="" if self._open else "\n", flush=True)

    def end(self) -> None:
        """Leave the line of a bar that came to no end, so that what follows stands on its own."""
        if self._open:
            print(file=sys.stderr, flush=True)
        self._open = False
