"""Command lines: arguments become settings, settings become runs, runs become an exit code."""

from brainage_bids.cli.home import settle

settle()  # here, as every command and every process that one starts comes by, before the libraries that ask
