"""Pure functions on arrays and images; no files, no nipype."""
