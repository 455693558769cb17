import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from brainage_bids.reports.content import ParticipantView, SessionView
from brainage_bids.reports.page import assemble, write_participant_report
from brainage_bids.reports.pieces import Piece

VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Tags, ids, links and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open, self.bad = [], [], [], []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.bad.append(tag)

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.words.append(data)

    def attributes(self, *names):
        return [attrs[name] for _, attrs in self.tags for name in names if name in attrs]


@pytest.fixture
def write(tools):
    """Write a person's page; its path and content."""

    def page(out, participant_id="sub-01", **options):
        path = write_participant_report(out, participant_id, **{"version": "1.2.3", "models": {"toy": tools.model()}} | options)
        return path, Page(path.read_text(encoding="utf-8"))

    return page


@pytest.fixture
def full(tmp_path, drawn, tools):
    """Two sessions, one with flags, and one that failed."""
    raised = {
        "metric": "voxel_max_mm",
        "value": 5.0,
        "unit": "mm",
        "low": None,
        "high": 2.0,
        "flag": "poor_resolution",
        "description": "D.",
    }
    tools.session(tmp_path, drawn, "sub-01", "ses-1", sidecar={"StepsDone": ["conform", "mask_given"], "Seconds": {"conform": 1.2}})
    tools.session(tmp_path, drawn, "sub-01", "ses-2", quality=[raised], flags="poor_resolution;age_not_per_session")
    tools.failure(
        tmp_path, "sub-01", "ses-3", stage="brain mask", message="No brain was found in x.nii.gz; look at it.", detail="Traceback: x"
    )
    return tmp_path


def test_nothing_is_asked_of_a_network(write, full):
    _, page = write(full)
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed", "base")]
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            if tag != "a" and name in attrs:
                assert attrs[name].startswith("data:")
    style = "".join(re.findall(r"<style>(.*?)</style>", (full / "sub-01.html").read_text(encoding="utf-8"), re.S))
    assert "url(" not in style and "@import" not in style
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'") and "http" not in policy


def test_the_page_is_well_formed_and_its_links_lead_somewhere(write, full):
    _, page = write(full)
    assert page.bad == [] and page.open == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    local = {link[1:] for link in page.attributes("href") if link.startswith("#")}
    assert local and local <= set(ids)
    assert set(page.attributes("for")) <= set(ids)
    files = [link for link in page.attributes("href") if link.startswith("./")]
    assert len(files) == 6 and all((full / link).is_file() for link in files)


def test_pictures_have_names_for_those_who_do_not_see(write, full):
    _, page = write(full)
    assert sum(attrs.get("role") == "img" for tag, attrs in page.tags if tag == "svg") == 8
    assert sum(tag == "title" for tag, _ in page.tags) == 1 + 8
    assert next(attrs for tag, attrs in page.tags if tag == "html")["lang"] == "en"


def test_a_reader_finds_the_brain_age_and_its_uncertainty(write, full):
    _, page = write(full, run_settings='seed = 1\nname = "é <b>"\n')
    for words in (
        "41.3 years", "95 % interval 27.8 to 54.8", "standard deviation 6.9", "Gap (brain age − age) +2.5 years", "inside the interval",
        "not shown to be better", "p = 0.21", "bids:raw:sub-01/anat/sub-01_T1w.nii.gz", "only T1w", "Signal-to-noise ratio", "1433 mL",
        "800 to 2100", "5 mm", "The voxels are larger than 1.7 mm in one direction", "no age is recorded for this session",
        "The step “brain mask” failed.", "No brain was found in x.nii.gz; look at it.", "give the same command again", "Traceback: x",
        "brainage_bids 1.2.3", 'name = "é <b>"', "The skull had been removed before", "Session 3", "Grey matter 700 58 %",
    ):  # fmt: skip
        assert words in page.text, words


def test_methods_tell_what_the_sidecars_say(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, sidecar={"StepsDone": ["conform", "mask_given"]})
    _, page = write(tmp_path)
    assert "knows the head" not in page.text.split("Methods", 2)[2].split("This run")[0]
    tools.session(tmp_path, drawn, sidecar={})
    _, page = write(tmp_path, steps=("registration_ants",))
    assert "ANTs (antspyx" in page.text


@pytest.mark.parametrize("place", ["model", "flags", "sidecar", "failure", "settings", "card", "quality", "seconds", "steps", "structures"])
def test_hostile_text_stays_text(write, tmp_path, drawn, tools, place):
    bad, options, changed, sidecar, quality = tools.hostile, {}, {}, {}, []
    if place == "model":
        changed = {"model": bad, "modality": bad, "bias_method": bad, "pad_corrected": 1.0}
    elif place == "flags":
        changed = {"flags": f"poor_snr;{bad}"}
    elif place == "sidecar":
        sidecar = {"Sources": [bad], "SourceChoice": bad}
    elif place == "seconds":
        sidecar = {"Seconds": {bad: 1.0}}
    elif place == "steps":
        sidecar = {"StepsDone": [bad]}
    elif place == "failure":
        tools.failure(tmp_path, "sub-01", "ses-2", stage=bad, message=bad, detail=bad)
    elif place == "settings":
        options = {"run_settings": bad, "version": bad}
    elif place == "card":
        training = {"datasets": (bad,), "groups": {bad: 1}}
        options = {"models": {"toy": tools.model(training=training, errors={"by": bad}, limits=(bad,), citation=bad, version=bad)}}
    elif place == "structures":
        options = {"models": {"toy": tools.volumes_model(tmp_path / "model")}}
    else:
        quality = [dict.fromkeys(("metric", "unit", "flag", "description"), bad) | {"value": 1.0, "low": None, "high": None}]
    tools.session(tmp_path, drawn, "sub-01", "ses-1", quality=quality, sidecar=sidecar, **changed)
    if place == "structures":
        tools.structures(tmp_path, "sub-01", "ses-1", rows=[(bad, bad, 1.0, (0.5, 1.0, 1.5), 1.0)])
    _, page = write(tmp_path, **options)
    assert bad in page.text
    assert page.bad == [] and not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_hostile_names_stay_text(tmp_path, tools):
    view = ParticipantView(tools.hostile, (SessionView(f"ses-{tools.hostile}"),))
    assemble(view, [Piece("summary", None, "<p>s</p>"), Piece("scan", 0, "<p>é</p>")], tmp_path / "a.html")
    page = Page((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert page.text.count(tools.hostile) == 4  # title and heading of the page; link to and heading of the session
    assert "é" in page.text and not {"script", "img"} & {tag for tag, _ in page.tags}


def test_an_unknown_age_gives_no_gap(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, age=None, pad=None, flags="age_missing")
    _, page = write(tmp_path)
    assert "Gap (brain age − age) n/a" in page.text and "age at the scan is not known" in page.text


def test_a_participant_of_whom_only_a_failure_is_left(write, tmp_path, tools):
    tools.failure(tmp_path, "sub-01", stage="read", message="The file a.nii.gz ends too early; copy it again.")
    _, page = write(tmp_path)
    assert "The step “read” failed" in page.text and "a.nii.gz ends too early; copy it again." in page.text
    assert "No scan of this participant was finished." in page.text and "Results" not in page.text


def test_a_participant_of_whom_nothing_is_there(write, tmp_path):
    _, page = write(tmp_path)
    assert "nothing of this participant" in page.text and "No step failed." in page.text


def test_missing_pieces_leave_the_rest(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, pictures=False)
    (tmp_path / "sub-01" / "anat" / "sub-01_brainage.tsv").unlink()
    (tmp_path / "sub-01" / "anat" / "sub-01_desc-volumes_morph.tsv").write_text("GM\tWM\nn/a\t500000\n")
    _, page = write(tmp_path)
    assert "no estimate yet" in page.text and "Quality" in page.text and "Brain mask" not in page.text
    assert "White matter 500" in page.text and "Grey matter 7" not in page.text


def test_a_model_whose_card_is_not_there(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, model="other", brain_age_low=None, brain_age_high=None)
    _, page = write(tmp_path)
    assert "card of this model was not found" in page.text and "no interval" in page.text


def test_a_model_that_does_not_fit_the_session(write, tmp_path, drawn, tools):
    nothing = dict.fromkeys(("brain_age", "brain_age_sd", "brain_age_low", "brain_age_high", "pad", "interval_method"))
    tools.session(tmp_path, drawn, flags="modality_missing", **nothing)
    _, page = write(tmp_path)
    assert "none from" in page.text and "No brain age was estimated." in page.text
    assert "FLAIR, SWI, T2w or value of a table that the model looks at is not there" in page.text
    assert "How good the model is" not in page.text


def methods_of(page):
    return page.text.split("References")[0].rsplit("Methods", 1)[1]


def test_a_card_with_other_weights_does_not_describe_the_estimate(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, model_sha256="cd" * 32)
    _, page = write(tmp_path)
    assert "other weights than the one that made this estimate" in page.text
    assert "not shown to be better" not in page.text and "36 training people" not in page.text
    assert "a model whose card was not at hand" in methods_of(page) and "Gaussian-process" not in methods_of(page)


@pytest.mark.parametrize(("kind", "words"), [("gpr", "principal components"), ("volumes", "cerebrum without its ventricles")])
def test_methods_name_the_step_of_the_model_that_was_used(write, tmp_path, drawn, tools, kind, words):
    tools.session(tmp_path, drawn, sidecar={"StepsDone": ["conform"]})
    models = {"toy": tools.model(kind=kind, citation="Someone 2020."), "other": tools.model(name="other", kind="net")}
    _, page = write(tmp_path, models=models)
    text = methods_of(page)
    assert words in text and "Model toy, version 1 (36 people of set, licence CC0-1.0): Someone 2020." in text
    assert "brain-age gap" in text and "model_net" not in text and "knows the head" not in text


def test_what_moves_an_estimate_is_drawn_and_told(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn)
    tools.structures(tmp_path)
    _, page = write(tmp_path, models={"toy": tools.volumes_model(tmp_path / "model")})
    assert page.bad == [] and page.open == []
    for words in (
        "What moves this estimate", "Lateral ventricles", "+4.2 years", "2.30 % of the brain: above the usual 0.56 % to 2.10 % at this age",
        "−1.8 years", "middle 90 % of the 36 training people", "not a cause", "All 7 structures", "Brain size n/a n/a −0.6", "(36.9 years)",
        "Brain size moves it by −0.6 years.",
    ):  # fmt: skip
        assert words in page.text, words
    polygons = [attrs for tag, attrs in page.tags if tag == "polygon"]
    assert len(polygons) == 5 and page.text.count("Third ventricle") == 1


def test_structures_of_a_person_whose_age_is_not_known(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, age=None, pad=None)
    tools.structures(tmp_path, age_known=False)
    _, page = write(tmp_path, models={"toy": tools.volumes_model(tmp_path / "model")})
    assert "the blue-green line is this person, whose age is not known" in page.text
    assert "2.30 % of the brain" in page.text and "the usual" not in page.text


def test_norm_curves_that_cannot_be_read_leave_the_rest(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn)
    tools.structures(tmp_path)
    model = tools.volumes_model(tmp_path / "model")
    (tmp_path / "model" / "norms.json").write_text("{}")
    _, page = write(tmp_path, models={"toy": model})
    assert "The norm curves of the training people are not drawn:" in page.text and "+4.2 years" in page.text
    assert not [tag for tag, _ in page.tags if tag == "polygon"]


def test_structures_of_another_model_are_not_shown(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, model_sha256="cd" * 32)
    tools.structures(tmp_path)
    _, page = write(tmp_path, models={"toy": tools.volumes_model(tmp_path / "model")})
    assert "What moves this estimate" not in page.text and "other weights" in page.text


def test_without_an_estimate_the_methods_name_the_models_of_the_run(write, tmp_path, tools):
    tools.failure(tmp_path, "sub-01", stage="read")
    _, page = write(tmp_path)
    assert "Gaussian-process" in methods_of(page)


def test_two_models_are_both_shown(write, tmp_path, drawn, tools):
    from brainage_bids.bids.names import derivative_path
    from brainage_bids.bids.sink import sink_table

    tools.session(tmp_path, drawn)
    rows = [tools.row(), tools.row(model="second", brain_age=50.0)]
    sink_table(rows, derivative_path(tmp_path, "brainage", "sub-01"), {name: {} for name in rows[0]})
    _, page = write(tmp_path)
    assert "41.3 years" in page.text and "50.0 years" in page.text
    assert sum(attrs.get("class") == "big" for _, attrs in page.tags) == 2


def test_the_same_files_give_the_same_bytes_anywhere(write, full, tmp_path_factory):
    import shutil

    path, _ = write(full)
    other = tmp_path_factory.mktemp("ö ses-9 sub-7") / "out"
    shutil.copytree(full, other)
    (other / "sub-01.html").unlink()
    assert write(other)[0].read_bytes() == path.read_bytes()


def test_only_the_page_is_written(write, full):
    before = {path: path.read_bytes() for path in full.rglob("*") if path.is_file()}
    path, _ = write(full)
    after = {path: path.read_bytes() for path in full.rglob("*") if path.is_file()}
    assert {name: content for name, content in after.items() if name != path} == before


def test_a_page_that_cannot_be_finished_leaves_the_old_one(write, full, monkeypatch):
    from nireports.assembler.report import Report

    path, _ = write(full)
    old = path.read_bytes()

    def stops(report):
        report.out_filename.write_text("half")
        raise RuntimeError("stopped")

    monkeypatch.setattr(Report, "generate_report", stops)
    with pytest.raises(RuntimeError, match="stopped"):
        write(full)
    assert path.read_bytes() == old and sorted(p.name for p in full.iterdir() if p.is_file()) == ["sub-01.html"]


def test_a_temporary_folder_named_like_a_session_does_no_harm(write, full, tmp_path_factory, monkeypatch):
    import tempfile

    path, _ = write(full)
    usual = path.read_bytes()
    folder = tmp_path_factory.mktemp("sub-9_ses-7_desc-x") / "anat"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert write(full)[0].read_bytes() == usual


def test_names_with_a_plus_are_shown(write, tmp_path, drawn, tools):
    tools.session(tmp_path, drawn, "sub-a+b", "ses-x+1")
    tools.session(tmp_path, drawn, "sub-a+b", "ses-x+2")
    _, page = write(tmp_path, "sub-a+b")
    assert "Session x+1" in page.text and "Session x+2" in page.text
    links = [link for link in page.attributes("href") if link.startswith("./")]
    assert len(links) == 6 and all("a%2Bb" in link for link in links)


def test_writing_a_page_asks_no_network(full):
    script = (
        "import socket, sys\n"
        "def refuse(*args): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "from brainage_bids.reports.page import write_participant_report\n"
        "write_participant_report(sys.argv[1], 'sub-01', version='1')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "NIPYPE_NO_ET"}
    done = subprocess.run([sys.executable, "-c", script, str(full)], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
