"""The only door in and out of a dataset: queries, phenotype tables, names, sidecars and atomic writing."""
