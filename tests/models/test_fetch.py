import http.server
import threading

import numpy as np
import pytest

from brainage_bids.models.fetch import PUBLISHED, download, find_published
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.nets import NETS
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration

CONTENT = np.random.default_rng(0).bytes(300_000)
SUM = sha256_of_bytes(CONTENT)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT with ranges; ``/broken`` stops in the middle, ``/plain`` knows no ranges, ``/lost`` goes on anywhere."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path == "/none":
            return self.send_error(404, "Not Found")
        start = int(asked[6:-1]) if asked and self.path != "/plain" else 0
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {0 if self.path == '/lost' else start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:120_000] if self.path == "/broken" else CONTENT[start:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    made.asked = []
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    made.address = f"http://127.0.0.1:{made.server_port}"
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_file_with_progress_and_check_sum(server, tmp_path):
    told = []
    assert download(f"{server.address}/file", tmp_path / "a" / "w.p", sha256=SUM, progress=lambda *now: told.append(now)) == SUM
    assert (tmp_path / "a" / "w.p").read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert len(told) > 2
    download(f"{server.address}/file", tmp_path / "a" / "w.p", sha256=SUM)
    assert len(server.asked) == 1  # what is there is not fetched again
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["w.p"]


@pytest.mark.parametrize("second", ["file", "plain"])
def test_a_broken_transfer_is_taken_up_again(server, tmp_path, second):
    with pytest.raises(BadConfiguration, match="broke off after 120000 of 300000 bytes; run the same command again"):
        download(f"{server.address}/broken", tmp_path / "w.p", sha256=SUM)
    assert not (tmp_path / "w.p").exists()
    assert download(f"{server.address}/{second}", tmp_path / "w.p", sha256=SUM) == SUM
    assert server.asked == [None, "bytes=120000-"]
    assert (tmp_path / "w.p").read_bytes() == CONTENT


def test_a_transfer_that_was_whole_but_not_renamed(server, tmp_path):
    (tmp_path / "w.p.part").write_bytes(CONTENT)
    assert download(f"{server.address}/file", tmp_path / "w.p", sha256=SUM) == SUM


@pytest.mark.parametrize("known", [SUM, ""])
def test_what_is_left_is_longer_than_the_file(server, tmp_path, known):
    (tmp_path / "w.p.part").write_bytes(CONTENT + b"more")
    assert download(f"{server.address}/file", tmp_path / "w.p", sha256=known) == SUM
    assert (tmp_path / "w.p").read_bytes() == CONTENT


def test_a_server_that_goes_on_elsewhere(server, tmp_path):
    (tmp_path / "w.p.part").write_bytes(CONTENT[:9])
    with pytest.raises(BadConfiguration, match="did not go on where it broke off"):
        download(f"{server.address}/lost", tmp_path / "w.p")
    assert download(f"{server.address}/lost", tmp_path / "w.p") == SUM


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "w.p.part").mkdir()
    with pytest.raises(BadConfiguration, match="w.p.part cannot be written .*choose another folder"):
        download(f"{server.address}/file", tmp_path / "w.p")


def test_another_file_is_removed(server, tmp_path):
    with pytest.raises(BadConfiguration, match="not the file that is known"):
        download(f"{server.address}/file", tmp_path / "w.p", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_no_file(server, tmp_path):
    with pytest.raises(BadConfiguration, match="the server says 404 Not Found"):
        download(f"{server.address}/none", tmp_path / "w.p")
    server.shutdown()
    server.server_close()
    with pytest.raises(BadConfiguration, match="cannot be fetched .*check the network"):
        download(f"{server.address}/file", tmp_path / "w.p")
    with pytest.raises(BadConfiguration, match="cannot be fetched"):
        download("weights.p", tmp_path / "w.p")


def test_what_is_known():
    for known in PUBLISHED.values():
        assert known.address.startswith("https://")
        assert known.kind in NETS
        assert known.input in INPUTS
        assert known.licence in ("MIT", "Apache-2.0", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0")
    with pytest.raises(BadConfiguration, match="No weights called 'x' may be fetched; known are: sfcnukb"):
        find_published("x")
