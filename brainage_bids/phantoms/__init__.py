"""Simulated people and cohorts, written as BIDS datasets."""
