"""Console logs are bounded while a guest writes, and read across the cut."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agents.host.hypervisor.console_log import ConsoleLogs


def test_the_tail_is_read_across_boots_and_cuts(tmp_path: Path) -> None:
    logs = ConsoleLogs(tmp_path / "console", 10)
    logs.prepare("vm")
    # QEMU keeps its descriptor open for appending while the file is cut under it.
    with (tmp_path / "console" / "vm.log").open("ab", buffering=0) as guest:
        guest.write(b"0123456789abcdef")
        logs.trim()
        assert logs.read("vm", 100) == "6789abcdef"
        guest.write(b"XYZ")
        assert logs.read("vm", 100) == "6789abcdefXYZ"
        assert logs.read("vm", 5) == "efXYZ"
        assert logs.read("vm", 0) == ""
    logs.prepare("vm")
    assert logs.read("vm", 100) == "XYZ"
    logs.remove("vm")
    logs.remove("vm")
    assert list((tmp_path / "console").iterdir()) == []


def test_names_are_no_paths(tmp_path: Path) -> None:
    (tmp_path / "secret.log").write_text("secret")
    assert ConsoleLogs(tmp_path / "console", 10).read("../secret", 100) == ""


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "vm.log").write_bytes(b"\xff\xfeok\x00")
    assert ConsoleLogs(tmp_path, 10).read("vm", 100) == "\ufffd\ufffdok\x00"


@given(st.lists(st.binary(max_size=40), max_size=12))
def test_size_is_bounded_and_the_end_is_kept(tmp_path_factory, writes: list[bytes]) -> None:
    directory = tmp_path_factory.mktemp("console")
    logs = ConsoleLogs(directory, 16)
    logs.prepare("vm")
    written = b""
    for chunk in writes:
        with (directory / "vm.log").open("ab") as guest:
            guest.write(chunk)
        written += chunk
        logs.trim()
        assert sum(path.stat().st_size for path in directory.iterdir()) <= 32
        kept = min(16, len(written))
        assert logs.read("vm", kept) == written[len(written) - kept :].decode(errors="replace")
