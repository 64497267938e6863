"""The parts of the guest's disk: Debian's kernel, the initrd and the tree of the root file system."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BOOT_DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net")
HOT_PLUG_DRIVERS = ("virtio_scsi", "sd_mod", "sr_mod", "isofs", "ata_piix", "ahci")
DRIVERS = (*BOOT_DRIVERS, *HOT_PLUG_DRIVERS, "virtio-rng", "virtio_balloon", "button", "evdev")
PROGRAMS = ("dropbear", "dropbearkey", "resize2fs")
FOLDERS = ("bin", "dev/pts", "proc", "sys", "run", "tmp", "root", "www", "mnt", "usr", "lib", "var/lib/pileus", "etc")


class BuildError(Exception):
    """A tool of the build ended with an error, or something that it needs is not installed."""


def run(*command: str | Path, cwd: Path | None = None, stdin: bytes | None = None) -> str:
    """What the command wrote to standard output.

    :raises BuildError: it is not installed, or ended with an error
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=cwd, input=stdin, capture_output=True, check=True)
    except FileNotFoundError as error:
        raise BuildError(f"{words[0]} is not installed.") from error
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{' '.join(words)} failed: {error.stderr.decode(errors='replace').strip()}") from error
    return done.stdout.decode(errors="replace")


def tool(name: str) -> Path:
    """Where the program is; administrators' folders are looked through even when PATH lacks them."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if found is None:
        raise BuildError(f"{name} is not installed.")
    return Path(found)


def kernel_package(work: Path) -> Path:
    """Debian's cloud kernel as a package file in `work`, downloaded when none is there."""
    kept = sorted(work.glob("linux-image-*.deb"))
    if kept:
        return kept[-1]
    depends = run("apt-cache", "depends", "--no-recommends", "linux-image-cloud-amd64")
    names = re.findall(r"Depends: (linux-image-\S+)", depends)
    if not names:
        raise BuildError("apt knows no linux-image-cloud-amd64; run apt-get update.")
    fresh = work / "download"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", names[0], cwd=fresh)
    package = next(fresh.glob("*.deb"))
    return package.rename(work / package.name)


def unpack_kernel(package: Path, target: Path) -> tuple[Path, Path]:
    """The kernel's image and its folder of modules, below `target`."""
    run("dpkg-deb", "-x", package, target)
    return next(target.glob("boot/vmlinuz-*")), next(target.glob("lib/modules/*"))


def copy_modules(modules: Path, names: tuple[str, ...], tree: Path) -> None:
    """Copies the modules and what they depend on, with the index that modprobe reads.

    A module that is built into the kernel is passed over.
    """
    if not (modules / "modules.dep").exists():
        run("busybox", "depmod", "-b", modules.parents[2], modules.name)
    depends = dict(line.split(":", 1) for line in (modules / "modules.dep").read_text().splitlines() if ":" in line)
    by_name = {Path(path).stem.replace("-", "_"): path for path in depends}
    wanted: set[str] = set()
    for name in names:
        path = by_name.get(name.replace("-", "_"))
        if path:
            wanted |= {path, *depends[path].split()}
    target = tree / "lib/modules" / modules.name
    for path in wanted:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / path, target / path)
    for index in ("modules.order", "modules.builtin"):
        shutil.copyfile(modules / index, target / index)
    run("busybox", "depmod", "-b", tree, modules.name)


def copy_program(program: Path, tree: Path) -> None:
    """Copies a program into /bin and the libraries that it is linked with to where the loader finds them."""
    shutil.copy(program.resolve(), tree / "bin" / program.name)
    for library in re.findall(r"(/\S+) \(0x", run("ldd", program)):
        place = tree / library.removeprefix("/usr").lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(library).resolve(), place)


def copy_busybox(tree: Path) -> None:
    """Puts busybox into /bin, with a link for each of its programs."""
    (tree / "bin").mkdir(parents=True, exist_ok=True)
    shutil.copy(tool("busybox").resolve(), tree / "bin/busybox")
    for applet in run("busybox", "--list").split():
        if applet != "busybox":
            (tree / "bin" / applet).symlink_to("busybox")


def copy_overlay(source: Path, tree: Path) -> None:
    """Copies our own files; those that start with #! can be run, whatever mode they were installed with."""
    for path in sorted(source.rglob("*")):
        place = tree / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        content = path.read_bytes()
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o755 if content.startswith(b"#!") else 0o644)


def make_initrd(modules: Path, tree: Path) -> bytes:
    """The initrd as an archive, not compressed: reading it takes less than unpacking would."""
    for folder in ("bin", "dev", "proc", "sys", "root"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(tool("busybox").resolve(), tree / "bin/busybox")
    for applet in ("sh", "mount", "modprobe", "usleep", "printf", "dd", "blockdev", "switch_root"):
        (tree / "bin" / applet).symlink_to("busybox")
    (tree / "sbin").symlink_to("bin")
    copy_modules(modules, BOOT_DRIVERS, tree)
    copy_overlay(HERE / "initrd", tree)
    names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))) + "\n"
    archive = tree.with_suffix(".cpio")
    run("cpio", "-o", "-H", "newc", "--owner=0:0", "--quiet", "-F", archive, cwd=tree, stdin=names.encode())
    return archive.read_bytes()


def make_root(modules: Path, tree: Path) -> None:
    """The tree of the root file system; root's password is locked until the cloud sets one."""
    for folder in FOLDERS:
        (tree / folder).mkdir(parents=True)
    for link, target in {"sbin": "bin", "usr/bin": "../bin", "usr/sbin": "../bin", "lib64": "lib"}.items():
        (tree / link).symlink_to(target)
    copy_busybox(tree)
    for program in PROGRAMS:
        (tree / "bin" / program).unlink(missing_ok=True)
        copy_program(tool(program), tree)
    copy_modules(modules, DRIVERS, tree)
    copy_overlay(HERE / "root", tree)
    (tree / "etc/shadow").chmod(0o600)
    (tree / "tmp").chmod(0o1777)
    (tree / "root").chmod(0o700)
