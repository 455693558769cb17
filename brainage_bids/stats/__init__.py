"""Error measures, tests and effect sizes that return tidy tables.

Functions of a table give a list of rows (`rows.Row`): plain dictionaries, one result each, that say how they were computed
(``method``), on how many people (``n``), under which ``assumptions``, with which ``correction``, and, where something could not be
computed, why (``note``). Functions of arrays give numbers.
"""
