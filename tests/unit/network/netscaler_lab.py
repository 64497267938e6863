"""An emulated NetScaler as a process, with or without packets."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from network.elements.netscaler import Netscaler
from network.elements.nitro import NetscalerSettings, Nitro, conversation

PASSWORD = "s3cret-netscaler"


class EmulatedNetscaler:
    """`settings` and `element` reach it from the namespace that it runs in."""

    def __init__(self, home: Path, namespace: str = "", listen: str = "127.0.0.1") -> None:
        self._home, self._namespace, self._listen = home, namespace, listen
        (home / "password").write_text(PASSWORD)
        self.start()

    def start(self) -> None:
        line = [sys.executable, "-m", "devcloud.devices.nitro.server", "--state", str(self._home / "state")]
        line += ["--password-file", str(self._home / "password"), "--port", "0"]
        line += ["--listen", self._listen]
        inside = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        packets = [] if self._namespace else ["--without-packets"]
        self._log = (self._home / "log").open("a")
        self.process = Popen([*inside, *line, *packets], stdout=PIPE, stderr=self._log, text=True)
        said = self.process.stdout.readline().split()
        assert said[:1] == ["NITRO"], (self._home / "log").read_text()
        self.settings = NetscalerSettings(
            self._listen, "nsroot", PASSWORD, port=int(said[4]), fingerprint=said[5], timeout=15
        )
        self.element = Netscaler(self.settings)

    def conversation(self) -> AbstractContextManager[Nitro]:
        return conversation(self.settings)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._log.close()


@contextmanager
def emulated(namespace: str = "", listen: str = "127.0.0.1") -> Iterator[EmulatedNetscaler]:
    with tempfile.TemporaryDirectory(prefix=f"pileus-ns-{os.getpid()}-") as home:
        device = EmulatedNetscaler(Path(home), namespace, listen)
        try:
            yield device
        finally:
            device.stop()
            sys.stderr.write((Path(home) / "log").read_text())
