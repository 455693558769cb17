"""The group run: what the participants wrote, read, checked, and taken through one step after another, on tables alone."""
