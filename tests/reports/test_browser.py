"""The pages in a browser without a network: nothing on the console, nothing wider than the screen."""

import html
import re
import shutil
import subprocess

import pytest

from brainage_bids.reports.page import write_participant_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage --enable-logging=stderr --host-resolver-rules=MAP\x00*\x00~NOTFOUND"
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def browse(page, folder, *options):
    """DOM after loading, and what stood on the console."""
    flags = [flag.replace("\x00", " ") for flag in FLAGS.split(" ")]
    command = [CHROMIUM, *flags, f"--user-data-dir={folder}", *options, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory, drawn, tools):
    out = tmp_path_factory.mktemp("out")
    tools.session(out, drawn, "sub-01", "ses-1", model="a" * 40, flags="poor_snr;age_missing")
    tools.session(out, drawn, "sub-01", "ses-3")
    tools.structures(out, "sub-01", "ses-3")
    models = {"toy": tools.volumes_model(tmp_path_factory.mktemp("model"))}
    tools.failure(out, "sub-01", "ses-2", stage="read", message="x" * 200, detail="y" * 400)
    settings = 'path = "/a/' + "long" * 60 + '"\n'
    return write_participant_report(out, "sub-01", version="1.2.3", run_settings=settings, models=models)


def test_nothing_stands_on_the_console(page, tmp_path):
    dom, console = browse(page, tmp_path)
    assert "brain age report" in dom
    assert console == []


def test_the_console_would_be_seen(tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text("<p>brain</p><script>missing()</script>")
    assert browse(broken, tmp_path / "profile")[1]


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_not_wider_than_the_screen(page, tmp_path, width):
    text = html.escape(page.read_text(encoding="utf-8"), quote=True)
    frame = tmp_path / "frame.html"
    measure = "const d=document.querySelector('iframe').contentDocument.documentElement;document.title=d.scrollWidth+' '+d.clientWidth"
    script = "onload=()=>{" + measure + "}"
    style = f"width:{width}px;height:800px;border:0"
    frame.write_text(f'<meta charset="utf-8"><iframe style="{style}" srcdoc="{text}"></iframe><script>{script}</script>', encoding="utf-8")
    dom, _ = browse(frame, tmp_path / "profile", "--window-size=1400,900")
    scroll, client = map(int, re.search(r"<title>(\d+) (\d+)</title>", dom).groups())
    assert width - 20 <= client <= width
    assert scroll == client
