import re
from html.parser import HTMLParser

import pytest
import yaml

import brainage_bids.reports.boilerplate as boilerplate
from brainage_bids.reports.boilerplate import DEFAULT_STEPS, model_notes, model_steps, write_citation, write_methods

METHODS, GROUP, REFERENCES = (boilerplate._read(f"{name}.yml") for name in ("methods", "group_methods", "references"))


def cited(text):
    return {key.strip().lstrip("@") for bracket in re.findall(r"\[@([^\]]+)\]", text) for key in bracket.split(";")}


def texts_of(tree):
    """All strings of nested mappings."""
    return [tree] if isinstance(tree, str) else [text for branch in tree.values() for text in texts_of(branch)]


def test_every_citation_has_its_reference_and_every_reference_is_cited():
    texts = [step["text"] for step in METHODS.values()] + texts_of(GROUP)
    assert set().union(*map(cited, texts)) == set(REFERENCES)


def test_references_are_complete():
    for key, entry in REFERENCES.items():
        assert str(entry["year"]) == key[-4:] and str(entry["year"]) in entry["short"]
        wanted = {"journal", "volume", "pages", "doi"} if entry["type"] == "article" else {"publisher"}
        assert wanted <= set(entry)
        assert re.fullmatch(r"10\.\d{4,9}/\S+", entry.get("doi", "10.1234/x"))
        family = entry["authors"].split(",")[0].replace(" ", "").lower()
        assert key[:-4] == family


def test_default_steps_are_known_and_told_in_the_order_of_work():
    assert set(DEFAULT_STEPS) <= set(METHODS)
    text = write_methods(["model_gpr", *reversed(DEFAULT_STEPS)]).markdown
    places = [
        text.index(word) for word in ("anterior", "knows the head", "N4", "greedy", "expectation-max", "Jacobian", "Gaussian-process")
    ]
    assert places == sorted(places)
    assert "[@" not in text and "{" not in text


def test_only_what_was_done_is_told():
    text = write_methods(["conform", "mask_given"]).markdown
    assert "knows the head" not in text and "greedy" not in text and "brain-age gap" not in text
    assert "Fisch" not in text


def test_a_model_of_each_kind_is_told_with_its_references(tools):
    cards = [tools.card(), tools.card(name="two"), tools.card(name="three", kind="volumes")]
    assert model_steps(cards) == ["model_gpr", "model_volumes"] and set(model_steps(cards)) <= set(METHODS)
    text = write_methods(model_steps(cards), notes=model_notes(cards)).markdown
    assert "Hoerl & Kennard 1970" in text and "Rasmussen" in text and "brain-age gap" in text
    assert "Model three, version 1 (36 people of set, licence CC0-1.0)." in text


def test_a_step_without_a_text_is_named():
    assert "Further step: <b>magic</b>." in write_methods(["<b>magic</b>"]).markdown
    assert "Further step: &lt;b&gt;magic&lt;/b&gt;." in write_methods(["<b>magic</b>"]).paragraphs


def test_notes_are_text(tools):
    methods = write_methods([], notes=[tools.hostile + " [@unknown2000]"])
    assert tools.hostile in methods.markdown
    assert "<script" not in methods.paragraphs[-1] and "[@unknown2000]" in methods.paragraphs[-1]


def test_versions_are_those_installed():
    assert f"SimpleITK {boilerplate.metadata.version('simpleitk')} " in write_methods(["bias_n4"]).markdown
    assert "greedy (picsl-greedy (version not known))" in write_methods(["registration_greedy"], versions={}).markdown


def test_links_in_the_text_lead_to_the_references():
    methods = write_methods()
    linked = set(re.findall(r'href="#ref-(\w+)"', " ".join(methods.paragraphs)))
    assert linked == {key for key, _ in methods.references}
    for _, entry in methods.references:
        parser = HTMLParser()
        parser.feed(entry)
        assert parser.rawdata == ""


def test_bibtex_has_an_entry_a_reference_and_balanced_braces():
    methods = write_methods([*DEFAULT_STEPS, "model_gpr"])
    assert re.findall(r"@\w+{(\w+),", methods.bibtex) == [key for key, _ in methods.references]
    assert methods.bibtex.count("{") == methods.bibtex.count("}")
    assert r"Alzheimer's \& Dementia" in methods.bibtex and "pages = {883--892}" in methods.bibtex


def test_citation_files_are_written(tmp_path):
    methods = write_methods()
    paths = write_citation(tmp_path, methods)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["logs/CITATION.md", "logs/CITATION.bib"]
    assert paths[0].read_text(encoding="utf-8") == methods.markdown and paths[1].read_text(encoding="utf-8") == methods.bibtex
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["CITATION.bib", "CITATION.md"]


@pytest.mark.parametrize("name", ["methods.yml", "references.yml", "spec.yml"])
def test_spec_files_are_yaml(name):
    text = (boilerplate.resources.files("brainage_bids") / "data" / "report" / name).read_text(encoding="utf-8")
    assert yaml.safe_load(text)
    assert name != "spec.yml" or text.isascii()
