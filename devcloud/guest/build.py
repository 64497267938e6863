"""Builds the disk of the tiny guest: `python -m devcloud.guest.build OUTPUT`. No mounts, no loop devices."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

from devcloud.guest.parts import (
    HERE,
    PROGRAMS,
    BuildError,
    kernel_package,
    make_initrd,
    make_root,
    run,
    tool,
    unpack_kernel,
)

MIB = 1 << 20
SECTOR = 512
BOOT_START, BOOT_SIZE = MIB, 24 * MIB
ROOT_START, ROOT_SIZE = BOOT_START + BOOT_SIZE, 71 * MIB
MBR_CODE = Path("/usr/lib/SYSLINUX/mbr.bin")


def build(output: Path, work: Path) -> Path:
    """The guest's disk as a compressed qcow2 at `output`, built when it is not there or its inputs have changed.

    `work` keeps the kernel's package between builds; builds that share it wait for each other.

    :raises BuildError: a tool is missing or failed; `output` is as it was
    """
    work.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        package = kernel_package(work)
        inputs = digest(package)
        stamp = output.with_name(output.name + ".inputs")
        if output.exists() and stamp.exists() and stamp.read_text() == inputs:
            print(f"guest: {output} is up to date", flush=True)
            return output
        with tempfile.TemporaryDirectory(dir=work) as scratch:
            disk = make_disk(package, Path(scratch))
            print("guest: compressing", flush=True)
            fresh = output.with_name(output.name + ".new")
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", disk, fresh)
        fresh.replace(output)
        stamp.write_text(inputs)
    print(f"guest: {output}, {output.stat().st_size // MIB} MiB", flush=True)
    return output


def digest(package: Path) -> str:
    """Changes with everything that goes into the disk: our files, the kernel, the programs."""
    inputs = hashlib.sha256(package.name.encode())
    programs = [tool(name).resolve() for name in ("busybox", "syslinux", *PROGRAMS)]
    folders = [path for folder in ("root", "initrd") for path in sorted((HERE / folder).rglob("*")) if path.is_file()]
    ours = [*folders, *(HERE / name for name in ("syslinux.cfg", "parts.py", "build.py"))]
    for path in (*programs, *ours):
        content = path.read_bytes()
        inputs.update(f"{path.name} {len(content)}\n".encode() + content)
    return inputs.hexdigest()


def make_disk(package: Path, scratch: Path) -> Path:
    """The raw disk: an MBR, a FAT partition that boots, the root file system as last partition, so it can grow."""
    print(f"guest: unpacking {package.name}", flush=True)
    kernel, modules = unpack_kernel(package, scratch / "kernel")
    print("guest: making the initrd and the root", flush=True)
    initrd = scratch / "initrd.img"
    initrd.write_bytes(make_initrd(modules, scratch / "initrd"))
    make_root(modules, scratch / "root")
    (scratch / "root/var/lib/pileus/root-sectors").write_text(f"{ROOT_SIZE // SECTOR}\n")
    boot, root = scratch / "boot.fat", scratch / "root.ext4"
    make_boot(boot, kernel, initrd)
    make_file(root, ROOT_SIZE)
    run(
        tool("mke2fs"),
        "-q",
        "-t",
        "ext4",
        "-b",
        "4096",
        "-J",
        "size=4",
        "-m",
        "1",
        "-N",
        "4096",
        "-L",
        "root",
        "-d",
        scratch / "root",
        root,
    )
    return assemble(scratch / "disk.raw", boot, root)


def make_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def make_boot(boot: Path, kernel: Path, initrd: Path) -> None:
    make_file(boot, BOOT_SIZE)
    run(tool("mkfs.vfat"), "-n", "BOOT", "-h", str(BOOT_START // SECTOR), boot)
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd"), (HERE / "syslinux.cfg", "syslinux.cfg")):
        run("mcopy", "-i", boot, source, f"::{name}")
    run("syslinux", "--install", boot)


def assemble(disk: Path, boot: Path, root: Path) -> Path:
    make_file(disk, ROOT_START + ROOT_SIZE)
    table = (
        "label: dos\nlabel-id: 0x50494c45\n"
        f"start={BOOT_START // SECTOR}, size={BOOT_SIZE // SECTOR}, type=c, bootable\n"
        f"start={ROOT_START // SECTOR}, size={ROOT_SIZE // SECTOR}, type=83\n"
    )
    run(tool("sfdisk"), "-q", disk, stdin=table.encode())
    with disk.open("r+b") as file:
        file.write(MBR_CODE.read_bytes()[:440])
        for start, part in ((BOOT_START, boot), (ROOT_START, root)):
            file.seek(start)
            with part.open("rb") as content:
                shutil.copyfileobj(content, file, MIB)
    return disk


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the disk of DevCloud's tiny guest.")
    parser.add_argument("output", type=Path, help="where the qcow2 goes")
    parser.add_argument("--work", type=Path, default=Path.home() / ".cache/pileus/guest", help="keeps the kernel")
    options = parser.parse_args()
    try:
        build(options.output, options.work)
    except BuildError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
