"""The methods text of a run, with versions and references, as page, Markdown and BibTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from brainage_bids.modalities import COREGISTERED, MODALITIES, words_of
from brainage_bids.models.card import ModelCard
from brainage_bids.records import SPACE

DEFAULT_STEPS = (
    "conform",
    "mask_atlas",
    "bias_n4",
    "registration_greedy",
    "tissues_em",
    "modulation",
    "quality",
    "arrays",
)
"""The steps of an ordinary run; what one scan really went through stands in ``StepsDone`` of its sidecar. See `model_steps`."""

_CITED = re.compile(r"\[@([^\]]+)\]")
_PACKAGES = ("brainage_bids", "nipype", "simpleitk", "picsl_greedy", "antspyx")


@dataclass(frozen=True)
class MethodsText:
    """A methods text in its three forms.

    Attributes
    ----------
    paragraphs : tuple of str
        HTML paragraphs without their tags: text escaped, citations linked to ``#ref-KEY``.
    references : tuple of tuple of str
        Key, HTML of the entry, in the order of the text's first mention.
    markdown, bibtex : str
        The same as Markdown, and the references as BibTeX.
    """

    paragraphs: tuple[str, ...]
    references: tuple[tuple[str, str], ...]
    markdown: str
    bibtex: str


def write_methods(
    steps: Iterable[str] = DEFAULT_STEPS,
    *,
    versions: Mapping[str, str] | None = None,
    space: str = SPACE,
    notes: Iterable[str] = (),
    others: Collection[str] = COREGISTERED,
) -> MethodsText:
    """Write what was done, in the order in which it is done.

    Parameters
    ----------
    steps : iterable of str
        Codes of ``data/report/methods.yml``; the introduction and the meaning of the gap are always there, the latter only
        with a model. A code that is not known is named as it is, never dropped.
    versions : mapping, optional
        Version of each package; asked from the installation if None.
    space : str
        Name of the template.
    notes : iterable of str
        Further sentences as plain text, such as the citation of a model's card.
    others : collection of str
        Which modalities the steps ``other_…`` were taken for.

    Returns
    -------
    MethodsText

    Examples
    --------
    >>> text = write_methods(["mask_given"], versions={"brainage_bids": "0.1", "nipype": "1"})
    >>> text.paragraphs[1]
    'The skull had been removed before, so the non-zero voxels were taken as the brain.'
    >>> [key for key, _ in text.references]
    ['gorgolewski2016', 'gorgolewski2011']
    """
    known = _read("methods.yml")
    asked = list(dict.fromkeys(steps))
    wanted = {"intro", *asked} | ({"gap"} if any(step.startswith("model_") for step in asked) else set())
    filled = dict.fromkeys(_PACKAGES, "(version not known)") | dict(versions if versions is not None else installed_versions())
    beside = tuple(modality for modality in COREGISTERED if modality in others)
    about = {"others": words_of(beside) if beside else "", "scales": _scales(beside)}
    sentences = [known[step]["text"].format(space=space, version=filled, **about) for step in known if step in wanted]
    sentences += [f"Further step: {step}." for step in asked if step not in known]
    return compose([*sentences, *notes])


def _scales(modalities: tuple[str, ...]) -> str:
    """What white matter of these becomes in whole-brain arrays.

    >>> _scales(("FLAIR", "swi"))
    'the median of white matter was set to 110'
    """
    named: dict[str, tuple[str, ...]] = {}
    for modality in modalities:
        row = MODALITIES[modality]
        said = f"the {row.scale} of white matter was set to {row.white:g}"
        named[said] = (*named.get(said, ()), modality)
    return "; ".join(said if len(named) == 1 else f"{said} ({words_of(those)})" for said, those in named.items())


def compose(sentences: Iterable[str]) -> MethodsText:
    """Sentences with ``[@key]`` for citations, as page, Markdown and BibTeX.

    >>> compose(["Bias fields were corrected [@tustison2010]."]).paragraphs
    ('Bias fields were corrected (<a href="#ref-tustison2010">Tustison et al. 2010</a>).',)
    """
    sentences = list(sentences)
    keys = list(dict.fromkeys(key for sentence in sentences for key in _keys(sentence)))
    return MethodsText(
        tuple(_to_html(sentence) for sentence in sentences),
        tuple((key, _reference_html(key)) for key in keys),
        _to_markdown(sentences, keys),
        "\n".join(_bibtex(key) for key in keys),
    )


def model_steps(cards: Iterable[ModelCard]) -> list[str]:
    """Codes of the steps that estimate an age, from the kinds of the models.

    Parameters
    ----------
    cards : iterable of ModelCard

    Returns
    -------
    list of str
        ``model_KIND``, each once.
    """
    return list(dict.fromkeys(f"model_{card.kind}" for card in cards))


def model_notes(cards: Iterable[ModelCard]) -> list[str]:
    """A sentence a model: on whom it was trained, under which licence, and what its card asks to be cited.

    Parameters
    ----------
    cards : iterable of ModelCard

    Returns
    -------
    list of str
        Plain text.
    """
    return [_model_note(card) for card in cards]


def _model_note(card: ModelCard) -> str:
    source = f" of {', '.join(card.training.datasets)}" if card.training.datasets else ""
    licence = f", licence {card.licence}" if card.licence else ""
    cited = f": {card.citation.rstrip('.')}" if card.citation else ""
    return f"Model {card.name}, version {card.version} ({card.training.n} people{source}{licence}){cited}."


def write_citation(out_dir: Path, methods: MethodsText) -> tuple[Path, Path]:
    """Write ``logs/CITATION.md`` and ``logs/CITATION.bib`` under the output folder, each in one move.

    Parameters
    ----------
    out_dir : pathlib.Path
        The output folder; ``logs`` is made where it is missing.
    methods : MethodsText
        What is written.

    Returns
    -------
    tuple of pathlib.Path
        The two files.
    """
    from brainage_bids.bids.sink import sink_text

    logs = Path(out_dir) / "logs"
    return sink_text(methods.markdown, logs / "CITATION.md"), sink_text(methods.bibtex, logs / "CITATION.bib")


def installed_versions() -> dict[str, str]:
    """Versions of the packages the methods text names; one that is not installed is left out."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _read(name: str) -> dict:
    import yaml

    return yaml.safe_load((resources.files("brainage_bids") / "data" / "report" / name).read_text(encoding="utf-8"))


def _keys(sentence: str) -> list[str]:
    known = _read("references.yml")
    named = [key.strip().lstrip("@") for match in _CITED.finditer(sentence) for key in match[1].split(";")]
    return [key for key in named if key in known]


def _cited(match: re.Match, form: str, escape: Callable[[str], str] = str) -> str:
    """What stands for one bracket of citations; a bracket that names an unknown key stays as it is."""
    known = _read("references.yml")
    keys = [key.strip().lstrip("@") for key in match[1].split(";")]
    if any(key not in known for key in keys):
        return match[0]
    return "(" + "; ".join(form.format(key=key, short=escape(known[key]["short"])) for key in keys) + ")"


def _to_html(sentence: str) -> str:
    return _CITED.sub(lambda match: _cited(match, '<a href="#ref-{key}">{short}</a>', html.escape), html.escape(sentence, quote=False))


def _to_markdown(sentences: list[str], keys: list[str]) -> str:
    body = "\n\n".join(_CITED.sub(lambda match: _cited(match, "{short}"), sentence) for sentence in sentences)
    entries = "\n".join(f"- {_reference_text(key)}" for key in sorted(keys))
    return f"# Methods\n\n{body}\n\n# References\n\n{entries}\n"


def _reference_text(key: str) -> str:
    entry = _read("references.yml")[key]
    parts = [f"{_names(entry['authors'])} ({entry['year']}). {entry['title']}."]
    if "journal" in entry:
        issue = f"({entry['number']})" if "number" in entry else ""
        parts.append(f"{entry['journal']} {entry['volume']}{issue}:{entry['pages']}.")
    else:
        parts.append(f"{entry['publisher']}.")
    if "doi" in entry:
        parts.append(f"https://doi.org/{entry['doi']}")
    return " ".join(parts)


def _reference_html(key: str) -> str:
    text = html.escape(_reference_text(key))
    doi = _read("references.yml")[key].get("doi")
    if doi is None:
        return text
    address = html.escape(f"https://doi.org/{doi}")
    return text.removesuffix(address) + f'<a href="{address}">doi:{html.escape(doi)}</a>'


def _names(authors: str) -> str:
    """``Family, Given and …`` → ``Family G, …``; more than six names end in et al.

    >>> _names("Van Leemput, Koen and Good, Catriona D.")
    'Van Leemput K, Good CD'
    """
    people = authors.split(" and ")
    short = []
    for person in people[:6]:
        if person == "others":
            short.append("et al.")
            continue
        family, _, given = person.partition(", ")
        short.append(f"{family} {''.join(part[0] for part in re.split(r'[ -]', given) if part)}".strip())
    return ", ".join(short) + (", et al." if len(people) > 6 else "")


def _bibtex(key: str) -> str:
    entry = _read("references.yml")[key]
    names = {"authors": "author"}
    rows = []
    for field, value in entry.items():
        if field in ("type", "short"):
            continue
        text = str(value).replace("–", "--").replace("&", r"\&")
        rows.append(f"  {names.get(field, field)} = {{{'{' + text + '}' if field == 'title' else text}}},")
    return "\n".join([f"@{entry['type']}{{{key},", *rows, "}", ""])
