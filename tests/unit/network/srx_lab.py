"""An emulated SRX as a process, with or without packets."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from lxml import etree

from network.elements.srx import Srx
from network.elements.srx_config import SrxSettings
from network.elements.srx_session import conversation

PASSWORD = "s3cret-srx"
BASE = """
<configuration>
  <system><host-name>srx-1</host-name></system>
  <interfaces>
    <interface><name>ge-0/0/0</name><unit><name>0</name><family><inet>
      <address><name>198.51.100.2/24</name></address></inet></family></unit></interface>
    <interface><name>ge-0/0/1</name><vlan-tagging/></interface>
  </interfaces>
  <routing-options><static><route><name>0.0.0.0/0</name><next-hop>198.51.100.1</next-hop></route></static></routing-options>
  <security>
    <zones><security-zone><name>untrust</name><interfaces><name>ge-0/0/0.0</name>
      <host-inbound-traffic><system-services><name>ike</name></system-services></host-inbound-traffic>
    </interfaces></security-zone></zones>
    <nat><destination><rule-set><name>pileus</name><from><zone>untrust</zone></from></rule-set></destination>
      <proxy-arp><interface><name>ge-0/0/0.0</name><address><name>198.51.100.3/32</name></address></interface></proxy-arp></nat>
  </security>
</configuration>
"""


class EmulatedSrx:
    """`settings` and `element` reach it from the namespace that it runs in."""

    def __init__(self, home: Path, namespace: str = "", minute: float = 60.0, listen: str = "127.0.0.1") -> None:
        self._home, self._namespace, self._minute, self._listen = home, namespace, minute, listen
        self.home_password = home / "password"
        self.home_password.write_text(PASSWORD)
        self.process: Popen[str] | None = None
        self.start()

    def start(self) -> None:
        line = [sys.executable, "-m", "devcloud.devices.junos.server", "--state", str(self._home / "state")]
        line += ["--password-file", str(self.home_password), "--port", "0", "--minute", str(self._minute)]
        line += ["--listen", self._listen]
        inside = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        packets = [] if self._namespace else ["--without-packets"]
        self._log = (self._home / "log").open("a")
        self.process = Popen([*inside, *line, *packets], stdout=PIPE, stderr=self._log, text=True)
        said = self.process.stdout.readline()
        assert said.startswith("NETCONF"), self.log()
        port = int(said.rsplit(maxsplit=1)[1])
        self.settings = SrxSettings(self._listen, "pileus", PASSWORD, port=port, timeout=10)
        self.element = Srx(self.settings)

    @property
    def key_file(self) -> Path:
        return self._home / "state" / "host_key"

    def log(self) -> str:
        """What it complained about; pytest shows it with a failure."""
        return (self._home / "log").read_text()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self._log.close()

    def configured(self) -> etree._Element:
        with conversation(self.settings) as session:
            session.open()
            return session.configuration()

    def load_base(self) -> None:
        """An operator's own configuration: a public leg, its zone, a default route."""
        self.load(BASE)

    def load(self, text: str) -> None:
        """As an operator does: load and commit."""
        with conversation(self.settings) as session:
            session.open()
            session.load(etree.fromstring(text))
            session.confirm()


@contextmanager
def emulated(namespace: str = "", minute: float = 60.0, listen: str = "127.0.0.1") -> Iterator[EmulatedSrx]:
    """A device without a configuration."""
    with tempfile.TemporaryDirectory(prefix=f"pileus-srx-{os.getpid()}-") as home:
        device = EmulatedSrx(Path(home), namespace, minute, listen)
        try:
            yield device
        finally:
            device.stop()
            sys.stderr.write(device.log())
