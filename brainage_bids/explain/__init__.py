"""Explanations of a network's estimate: relevance maps and their summaries per region."""
