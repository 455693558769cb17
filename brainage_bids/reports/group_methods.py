"""The methods text of a group run: what was done to the tables, in sentences with their sources."""

from __future__ import annotations

from importlib import resources

from brainage_bids.reports.boilerplate import MethodsText, compose
from brainage_bids.reports.group_content import GroupView


def methods_of(view: GroupView, version: str) -> MethodsText:
    """Sentences of ``data/report/group_methods.yml`` on the steps whose tables are there."""
    import yaml

    told = yaml.safe_load((resources.files("brainage_bids") / "data" / "report" / "group_methods.yml").read_text(encoding="utf-8"))
    query = view.settings.get("reference")
    reference = f"the people for whom {query} holds" if query else "everyone"
    correction = told["corrections"].get(view.settings.get("bias_correction", "none"))
    sentences = [told["first"].format(version=version)]
    if correction and "age_bias" in view.results:
        sentences.append(correction.format(reference=reference))
    tables = told["tables"]
    if view.settings.get("permutation") == "unpaired":
        tables = {**tables, "model_comparison": told["unpaired"]}
    alternative = view.settings.get("alternative", "two-sided")
    if alternative != "two-sided":
        one_sided = told["one_sided"].format(alternative=alternative)
        tables = {name: sentence + f" {one_sided}" if name == "groups_means" else sentence for name, sentence in tables.items()}
    sentences += [sentence for name, sentence in tables.items() if name in view.results]
    sentences += list(dict.fromkeys(result.methods for result in view.results.values() if result.methods))
    return compose([*sentences, told["last"]])
