"""The console script ``brainage``."""

from __future__ import annotations

import os
import sys

from brainage_bids.cli.parser import build_parser

USAGE, BAD_DATASET, NOTHING, INTERNAL, BAD_CONFIGURATION, INTERRUPTED = 64, 65, 66, 70, 78, 130


def main(argv: list[str] | None = None) -> int:
    """Run the app and return its exit code (0, 1, 64, 65, 66, 70 or 78; 130 when interrupted)."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.analysis_level == "group":
        from brainage_bids.cli.group import run
    else:
        from brainage_bids.cli.run import run
    from brainage_bids.records import BadConfiguration, BadDataset

    try:
        return run(options)
    except BadDataset as error:
        return _say(error, BAD_DATASET)
    except BadConfiguration as error:
        return _say(error, BAD_CONFIGURATION)
    except BrokenPipeError:  # who reads the table of --dry-run has seen enough, as in "| head"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say(f"A file or folder cannot be used ({error}); check --help for what is written where.", BAD_CONFIGURATION)
    except KeyboardInterrupt:
        return _say("Interrupted; finished files stay, and the same command goes on where it stopped.", INTERRUPTED)
    except Exception:  # a fault of ours: everything is shown so that it can be reported
        import traceback

        traceback.print_exc()
        return _say("This is an error of brainage itself; please report it with the lines above.", INTERNAL)


def _say(message: object, code: int) -> int:
    print(f"brainage: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
