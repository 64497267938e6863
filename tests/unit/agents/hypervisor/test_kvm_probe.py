"""The probe boots a real guest, ends in time, and leaves no process."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from agents.host.hypervisor import probe

EMULATOR = "/usr/bin/qemu-system-x86_64"


def probes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "qemu" in child.name()]


def test_the_firmware_reaches_its_end() -> None:
    assert probe.runs_guest(EMULATOR, "tcg", 20)


def test_a_firmware_that_hangs_proves_nothing_and_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "JUMP_TO_START", bytes.fromhex("ebfe"))
    began = time.monotonic()
    assert not probe.runs_guest(EMULATOR, "tcg", 1)
    assert time.monotonic() - began < 3
    assert probes() == []


def test_an_emulator_that_is_missing_proves_nothing() -> None:
    assert not probe.runs_guest("/nonexistent/qemu", "tcg")


def test_kvm_that_hangs_guests_is_not_taken(tmp_path: Path) -> None:
    began = time.monotonic()
    assert probe.proven_virt_type(EMULATOR, tmp_path) == "qemu"
    assert time.monotonic() - began < 5
    assert probes() == []


def test_the_proof_is_kept_for_this_boot_and_emulator(tmp_path: Path) -> None:
    cache = tmp_path / "virt_type.json"
    cache.write_text(f'{{"boot_id": "{probe.boot_id()}", "emulator": "other", "virt_type": "kvm"}}')
    assert probe.proven_virt_type("other", tmp_path) == "kvm"
    assert probe.proven_virt_type("/nonexistent/qemu", tmp_path) == "qemu"
    cache.write_text('{"boot_id": "an earlier boot", "emulator": "/nonexistent/qemu", "virt_type": "kvm"}')
    assert probe.proven_virt_type("/nonexistent/qemu", tmp_path) == "qemu"
    cache.write_text("half a fi")
    assert probe.proven_virt_type("/nonexistent/qemu", tmp_path) == "qemu"
