"""Brain age from raw BIDS: estimate, spread, quality flags and a report for every participant."""

__version__ = "0.2.0"
