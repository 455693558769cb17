"""Figures and pages: what a person looks at (the only room with matplotlib and nireports)."""
