"""Error measures, tests and effect sizes that return tidy tables."""
