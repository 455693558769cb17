"""Principal components of a network's features and blood parameters, as numbers for a biplot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainage_bids.records import UnusableInput
from brainage_bids.stats.associations import correlation
from brainage_bids.stats.rows import Columns, Row, is_constant, numbers, same_length, tidy

_ASSUMPTIONS = "one row a person; features of one network; linear structure; z-scored columns weigh the same"


@dataclass(frozen=True)
class Components:
    """Principal components of z-scored columns.

    Attributes
    ----------
    scores : ndarray, shape (n, k)
        People on the components.
    loadings : ndarray, shape (columns, k)
        Unit vectors times the components' standard deviation: the correlation of each column with each component.
    explained : ndarray, shape (k,)
        Share of the variance.
    """

    scores: np.ndarray
    loadings: np.ndarray
    explained: np.ndarray


def principal_components(columns: np.ndarray, components: int = 2) -> Components:
    """Principal components of z-scored columns; each loading with the largest size is positive.

    Parameters
    ----------
    columns : ndarray, shape (n, m)
        Nothing missing, nothing constant, three people at least.

    Raises
    ------
    UnusableInput
        If there are too few people or columns.

    Examples
    --------
    >>> found = principal_components(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), 1)
    >>> found.explained.round(6).tolist(), found.loadings.round(6).ravel().tolist()
    ([1.0], [1.0, 1.0])
    """
    n, m = columns.shape
    if n < 3 or m < components or n <= components:
        raise UnusableInput(f"{components} components need as many columns and more people, three at least; there are {m} and {n}.")
    scored = (columns - columns.mean(axis=0)) / columns.std(axis=0, ddof=1)
    u, s, vt = np.linalg.svd(scored, full_matrices=False)
    largest = vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)]
    signs = np.where(largest < 0, -1.0, 1.0)
    scores, loadings = (u * s * signs)[:, :components], (vt * signs[:, None] * s[:, None] / np.sqrt(n - 1)).T[:, :components]
    return Components(scores, loadings, (s**2 / np.sum(s**2))[:components])


def biplot_rows(features: Columns, parameters: Columns, participants: list[str], *, components: int = 2) -> list[Row]:
    """Biplot of features and parameters together, and how the parameters correlate with the features' own components.

    Parameters
    ----------
    features, parameters : mappings of columns
        A network's features (of **one** network, so that columns mean the same for all) and blood parameters; one row a person. Constant
        columns are left out, people who lack anything too.
    participants : list of str
        Names of the rows.

    Returns
    -------
    list of Row
        By ``part``: "component" (``component, explained``, and ``explained_features`` of the features alone); "arrow"
        (``variable, pc1, pc2, length``, and ``r_image_pc1, p_image_pc1`` …: the parameter against the features' components); "point"
        (``participant_id, pc1, pc2``).
    """
    same_length(**{f"f {name}": features[name] for name in features}, **{f"p {name}": parameters[name] for name in parameters})
    method = f"principal components of {len(features)} features and {len(parameters)} parameters, z-scored"
    table = {("f", name): numbers(features[name], name) for name in features}
    table |= {("p", name): numbers(parameters[name], name) for name in parameters}
    if not table:
        return [tidy(method, 0, _ASSUMPTIONS, note="There are no columns.", part="component", component=None, explained=None)]
    whole = np.column_stack(list(table.values()))
    complete = np.isfinite(whole).all(axis=1)
    kept = [key for key, part in zip(table, whole[complete].T) if not is_constant(part)]
    lost = [name for kind, name in table if (kind, name) not in kept]
    note = f"{(~complete).sum()} people lack a value and are left out." if not complete.all() else ""
    note = " ".join(filter(None, (note, f"Constant: {', '.join(lost)}." if lost and complete.any() else "")))
    n = int(complete.sum())
    try:
        both = principal_components(np.column_stack([table[key][complete] for key in kept] or [np.empty(n)]), components)
        image = principal_components(np.column_stack([table[key][complete] for key in kept if key[0] == "f"] or [np.empty(n)]), components)
    except UnusableInput as error:
        return [tidy(method, n, _ASSUMPTIONS, note=f"{error} {note}".strip(), part="component", component=None, explained=None)]
    rows = []
    for number in range(components):
        shares = {"explained": both.explained[number], "explained_features": image.explained[number]}
        rows.append(tidy(method, n, _ASSUMPTIONS, note=note, part="component", component=number + 1, **shares))
    for (kind, name), loading in zip(kept, both.loadings):
        if kind == "p":
            values = {f"pc{number + 1}": value for number, value in enumerate(loading)} | {"length": float(np.linalg.norm(loading))}
            for number in range(components):
                found = correlation(table[kind, name][complete], image.scores[:, number])
                values |= {f"r_image_pc{number + 1}": found["r"], f"p_image_pc{number + 1}": found["p"]}
            rows.append(tidy(method, n, _ASSUMPTIONS, part="arrow", variable=name, **values))
    names = [name for name, there in zip(participants, complete) if there]
    for name, score in zip(names, both.scores):
        at = {f"pc{number + 1}": value for number, value in enumerate(score)}
        rows.append(tidy(method, n, _ASSUMPTIONS, part="point", participant_id=name, **at))
    return rows
