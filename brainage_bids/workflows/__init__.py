"""nipype graphs, one job each, without arithmetic of their own."""
