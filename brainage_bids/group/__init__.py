"""The group run: plain functions on the tables that the participant level wrote."""
