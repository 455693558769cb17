"""What is learned from a cohort's reference rows and applied to others: bias correction, intervals, fusion, sites, harmonisation.

Every object is fitted on reference rows alone, applied to any rows, and kept as JSON (`saving`).
"""
