"""Specifications, templates, atlases, model cards and small weights that ship with the package."""
