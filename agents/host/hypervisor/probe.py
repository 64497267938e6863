"""Whether KVM really runs guests: proved by booting one, since /dev/kvm can open on hosts where guests hang."""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

SECONDS = 3.0
BIOS_SIZE = 64 * 1024
RESET_VECTOR = BIOS_SIZE - 16
DEBUG_PORT = 0xF4
# isa-debug-exit ends QEMU with twice the written value plus one.
EXIT_CODE = 0x10 * 2 + 1
# A firmware that counts in real mode, loads flat segments, maps the first 4 GiB with 4 MiB pages, turns paging on,
# executes CPUID, counts in memory, and writes 0x10 to the debug port. Real mode alone proves nothing: hosts
# that hang guests as soon as they turn paging on do execute it.
FIRMWARE = bytes.fromhex(
    "fa8cc866b9400d0300664975fc"  # cli; mov ax,cs; mov ecx,200000; dec ecx; jnz
    "2e660f01169800"  # lgdt cs:[0x98]
    "0f20c00c010f22c0"  # mov eax,cr0; or al,1; mov cr0,eax
    "66ea2400ffff0800"  # jmp 8:0xffff0024
    "66b810008ed88ec08ed0"  # mov ax,16; mov ds,es,ss,ax
    "bf00100000b883000000b900040000890783c7040500004000e2f4"  # 1024 page directory entries at 0x1000
    "b8100000000f22e0"  # mov cr4,0x10 (page size extension)
    "b8001000000f22d8"  # mov cr3,0x1000
    "0f20c00d000000800f22c0eb00"  # cr0 |= paging; jmp
    "31c00fa2"  # xor eax,eax; cpuid
    "b9400d0300ff0500001000e2f8"  # mov ecx,200000; inc dword [0x100000]; loop
    "b010e6f4f4ebfd"  # mov al,0x10; out 0xf4,al; hlt; jmp
    "6690"  # padding
    "0000000000000000ffff0000009acf00ffff00000092cf00"  # descriptors: none, code, data
    "17008000ffff"  # limit and address of the descriptors
)
JUMP_TO_START = bytes.fromhex("e90d00")


class Proof(msgspec.Struct):
    """What was proved in one boot of the host."""

    boot_id: str
    emulator: str
    virt_type: Literal["kvm", "qemu"]


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def proven_virt_type(emulator: str, state_dir: Path) -> Literal["kvm", "qemu"]:
    """'kvm' when a guest ran under KVM, else 'qemu'; proved once in each boot of the host."""
    cache = state_dir / "virt_type.json"
    present = boot_id()
    with suppress(OSError, msgspec.MsgspecError):
        proof = msgspec.json.decode(cache.read_bytes(), type=Proof)
        if (proof.boot_id, proof.emulator) == (present, emulator):
            return proof.virt_type
    virt_type: Literal["kvm", "qemu"] = "kvm" if runs_guest(emulator, "kvm") else "qemu"
    state_dir.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_suffix(".partial")
    temporary.write_bytes(msgspec.json.encode(Proof(present, emulator, virt_type)))
    temporary.replace(cache)
    return virt_type


def runs_guest(emulator: str, accelerator: Literal["kvm", "tcg"], seconds: float = SECONDS) -> bool:
    """Whether the firmware gets to its end under `accelerator` within `seconds`."""
    if accelerator == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    with tempfile.NamedTemporaryFile(prefix="pileus-probe-") as file:
        file.write(_firmware_image())
        file.flush()
        try:
            # On a timeout `run` kills the process and waits for its end.
            done = subprocess.run(
                _arguments(emulator, accelerator, file.name),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == EXIT_CODE


def _arguments(emulator: str, accelerator: str, firmware: str) -> list[str]:
    machine = ["-accel", accelerator, "-machine", "pc", "-m", "16", "-bios", firmware]
    bare = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    return [emulator, *machine, *bare, "-device", f"isa-debug-exit,iobase={DEBUG_PORT:#x},iosize=4"]


def _firmware_image() -> bytes:
    """The firmware at the start of 64 KiB below 4 GiB, with the jump to it where the CPU starts."""
    return FIRMWARE.ljust(RESET_VECTOR, b"\0") + JUMP_TO_START.ljust(BIOS_SIZE - RESET_VECTOR, b"\0")
