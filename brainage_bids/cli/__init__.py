"""Command lines: arguments become settings, settings become runs, runs become an exit code."""
