"""Objects with fit, transform and save on tables: fusion heads, age bias, intervals, harmonisation."""
