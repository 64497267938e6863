"""Images are taken in whole from files and from a real HTTP server, or leave nothing."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from storage.errors import (
    ChecksumMismatch,
    DownloadFailed,
    ImageRefused,
    NotFound,
    PoolUnavailable,
    SourceLacking,
    SourceRefused,
    StorageError,
)
from storage.images import DRIVERS, open_store
from storage.images.base import ImageRequest
from storage.images.directory import DirectorySettings, DirectoryStore
from storage.types import ImageStoreSpec

MIB = 1 << 20
CONTENT = b"\xeb\x3c" + bytes(range(256)) * 8192
DIGEST = hashlib.sha256(CONTENT).hexdigest()
LOOPBACK = ("127.0.0.1/32",)
REGISTER = """
import sys
import msgspec
from storage.images.base import ImageRequest
from storage.images.directory import DirectorySettings, DirectoryStore
from storage.types import ImageStoreSpec

settings = DirectorySettings(allow_networks=("127.0.0.1/32",))
DirectoryStore(ImageStoreSpec("store", "directory", sys.argv[1]), settings).register(
    msgspec.json.decode(sys.argv[2], type=ImageRequest))
"""


class Handler(BaseHTTPRequestHandler):
    """Serves one image in several ways, told apart by the path."""

    seen: list[str]

    def do_GET(self) -> None:
        self.server.seen.append(self.path)
        name, _, rest = self.path[1:].partition("/")
        getattr(self, f"serve_{name}")(rest)

    def begin(self, code: int, **headers: object) -> None:
        self.send_response(code)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), str(value))
        self.end_headers()

    def serve_image(self, _rest: str) -> None:
        self.begin(200, Content_Length=len(CONTENT))
        self.wfile.write(CONTENT)

    def serve_unsized(self, _rest: str) -> None:
        self.begin(200)
        self.wfile.write(CONTENT)

    def serve_missing(self, _rest: str) -> None:
        self.begin(404)

    def serve_cut(self, _rest: str) -> None:
        self.begin(200, Content_Length=len(CONTENT))
        self.wfile.write(CONTENT[:-1])

    def serve_endless(self, _rest: str) -> None:
        self.begin(200)
        while True:
            self.wfile.write(CONTENT)

    def serve_huge(self, _rest: str) -> None:
        self.begin(200, Content_Length=1 << 50)

    def serve_slowly(self, _rest: str) -> None:
        self.begin(200, Content_Length=len(CONTENT))
        for start in range(0, len(CONTENT), 1000):
            self.wfile.write(CONTENT[start : start + 1000])
            time.sleep(0.05)

    def serve_drip(self, _rest: str) -> None:
        for letter in "HTTP/1.1 200 " + "x" * 10000:
            self.wfile.write(letter.encode())
            time.sleep(0.05)

    def serve_to(self, target: str) -> None:
        self.begin(302, Location=target)

    def serve_hops(self, rest: str) -> None:
        left = int(rest)
        self.begin(301, Location=f"/hops/{left - 1}" if left > 1 else "/image")

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client had enough
            super().handle()


@dataclass
class Lab:
    """A directory store that may fetch from the server at `url`."""

    store: DirectoryStore
    root: Path
    url: str
    seen: list[str]

    def image(self, path: str, **changes: object) -> ImageRequest:
        url = path if "://" in path and not path.startswith("to/") else f"{self.url}/{path}"
        return replace(ImageRequest(str(uuid.uuid4()), url, "raw", "", 1 << 30), **changes)

    def with_settings(self, **settings: object) -> DirectoryStore:
        defaults = DirectorySettings(allow_networks=LOOPBACK)
        return DirectoryStore(ImageStoreSpec("store", "directory", str(self.root)), replace(defaults, **settings))

    def leftovers(self) -> list[str]:
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.name != ".staging"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    root = tmp_path / "store"
    root.mkdir()
    store = DirectoryStore(ImageStoreSpec("store", "directory", str(root)), DirectorySettings(LOOPBACK))
    yield Lab(store, root, f"http://127.0.0.1:{server.server_port}", server.seen)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("path", ["image", "unsized", "hops/3"])
def test_an_image_is_fetched_and_recorded(lab: Lab, path: str) -> None:
    image = lab.image(path, checksum=f"{{SHA-256}}{DIGEST}")
    watched: list[tuple[int, int]] = []
    facts = lab.store.register(image, lambda *state: watched.append(state))
    assert (facts.format, facts.size, facts.physical_size) == ("raw", len(CONTENT), len(CONTENT))
    assert facts.checksum == "{sha256}" + DIGEST
    assert lab.store.path(image.id).read_bytes() == CONTENT
    assert lab.store.images() == [image.id]
    assert watched[-1][0] == len(CONTENT)


def test_registering_again_gives_the_recorded_facts_without_fetching(lab: Lab) -> None:
    image = lab.image("image")
    facts = lab.store.register(image)
    assert lab.store.register(replace(image, url=f"{lab.url}/missing", format="qcow2")) == facts
    assert lab.seen == ["/image"]


def test_an_image_whose_bytes_are_gone_is_fetched_again(lab: Lab) -> None:
    image = lab.image("image")
    facts = lab.store.register(image)
    os.truncate(lab.store.path(image.id), 100)
    assert lab.store.images() == [image.id]
    assert lab.store.register(image) == facts
    assert lab.store.path(image.id).read_bytes() == CONTENT


@pytest.mark.parametrize("driver", DRIVERS)
def test_removing_what_is_gone_is_no_error(lab: Lab, driver: str) -> None:
    settings = DirectorySettings(LOOPBACK) if driver == "directory" else None
    store = open_store(ImageStoreSpec("store", driver, str(lab.root)), settings)
    image = lab.image("image")
    store.register(image)
    assert store.images() == [image.id]
    assert store.path(image.id).is_file()
    for _ in range(2):
        store.remove(image.id)
    store.remove("../store")
    assert store.images() == []
    with pytest.raises(NotFound):
        store.path(image.id)
    assert lab.leftovers() == []


@pytest.mark.parametrize(
    ("path", "changes", "error"),
    [
        ("missing", {}, SourceLacking),
        ("cut", {}, DownloadFailed),
        ("hops/4", {}, SourceLacking),
        ("huge", {}, ImageRefused),
        ("endless", {"max_size": 1}, ImageRefused),
        ("image", {"checksum": "0" * 64}, ChecksumMismatch),
        ("image", {"checksum": "nonsense"}, ImageRefused),
        ("image", {"format": "qcow2"}, ImageRefused),
        ("image", {"max_size": MIB}, ImageRefused),
        ("image", {"id": "../escape"}, NotFound),
        ("to/http://127.0.0.2/image", {}, SourceRefused),
        ("to/http://169.254.169.254/latest/meta-data", {}, SourceRefused),
        ("to/http://[::ffff:127.0.0.1]/image", {}, SourceRefused),
        ("to/file:///etc/passwd", {}, SourceRefused),
        ("to/gopher://127.0.0.1/", {}, SourceRefused),
        ("to/", {}, SourceLacking),
        ("http://127.0.0.1:9/image", {}, SourceLacking),
        ("https://127.0.0.1:9/image", {}, SourceLacking),
        ("file:///etc/passwd", {}, SourceRefused),
        ("file://elsewhere/etc/passwd", {}, SourceRefused),
        ("ftp://127.0.0.1/image", {}, SourceRefused),
    ],
)
def test_what_fails_leaves_nothing(lab: Lab, path: str, changes: dict, error: type[StorageError]) -> None:
    with pytest.raises(error) as caught:
        lab.store.register(lab.image(path, **changes))
    assert type(caught.value) is error
    assert lab.store.images() == []
    assert lab.leftovers() == []


def test_without_an_opened_range_the_server_is_never_asked(lab: Lab) -> None:
    with pytest.raises(SourceRefused):
        lab.with_settings(allow_networks=()).register(lab.image("image"))
    assert lab.seen == []


@pytest.mark.parametrize("path", ["slowly", "drip"])
def test_a_source_that_drips_is_cut_off(lab: Lab, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(DownloadFailed):
        lab.with_settings(seconds=0.5).register(lab.image(path))
    assert time.monotonic() - began < 2
    assert lab.leftovers() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "open"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "image 1").write_bytes(CONTENT)
    (tmp_path / "secret").write_bytes(CONTENT)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "deep" / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    return folder


def test_a_file_below_an_allowed_directory_is_taken(lab: Lab, folder: Path) -> None:
    store = lab.with_settings(allowed_directories=(str(folder),))
    image = lab.image(f"file://{folder}/deep/image%201")
    assert store.register(image).physical_size == len(CONTENT)
    assert store.path(image.id).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "name", ["link", "deep/up/secret", "../secret", "%2e%2e/secret", "pipe", "deep", "absent", "x%00"]
)
def test_other_files_are_refused(lab: Lab, folder: Path, name: str) -> None:
    store = lab.with_settings(allowed_directories=(str(folder),))
    with pytest.raises(SourceRefused, match="regular file"):
        store.register(lab.image(f"file://{folder}/{name}"))
    assert lab.leftovers() == []


def test_a_kill_half_way_leaves_nothing_that_counts(lab: Lab) -> None:
    image = lab.image("slowly")
    command = [sys.executable, "-c", REGISTER, str(lab.root), msgspec.json.encode(image).decode()]
    staged = lab.root / ".staging" / image.id / "image"
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}) as taker:
        due = time.monotonic() + 20
        while not staged.exists() or staged.stat().st_size == 0:
            assert time.monotonic() < due
            time.sleep(0.01)
        taker.send_signal(signal.SIGKILL)
    assert staged.exists()
    assert lab.store.images() == []
    other = lab.image("image")
    lab.store.register(other)
    assert lab.store.images() == [other.id]
    assert list((lab.root / ".staging").iterdir()) == []
    lab.store.register(replace(image, url=f"{lab.url}/image"))
    assert lab.store.path(image.id).read_bytes() == CONTENT


def test_a_store_that_is_not_mounted_is_not_written_to(tmp_path: Path, lab: Lab) -> None:
    store = DirectoryStore(ImageStoreSpec("store", "directory", str(tmp_path / "absent")))
    with pytest.raises(PoolUnavailable):
        store.register(lab.image("image"))
    assert not (tmp_path / "absent").exists()
