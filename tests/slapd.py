"""A real LDAP server for tests: OpenLDAP's slapd, as a private process on loopback ports."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.clients.conftest import debian_package, run
from tests.openid import certify

BASE = "dc=example,dc=org"
PEOPLE, GROUPS = f"ou=people,{BASE}", f"ou=groups,{BASE}"
ROOT, ROOT_PASSWORD = f"cn=admin,{BASE}", "directory-password"
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib/ldap")
CONFIGURATION = """
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
allow bind_anon_dn
pidfile {folder}/slapd.pid
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
sizelimit 4
sizelimit size.prtotal=unlimited
database ldif
directory {folder}/data
suffix "{base}"
rootdn "{root}"
rootpw {password}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


def tree() -> str:
    """LDIF of the units for people and groups."""
    top = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n"
    units = [f"dn: ou={name},{BASE}\nobjectClass: organizationalUnit\nou: {name}\n" for name in ("people", "groups")]
    return "\n".join([top, *units])


def person(name: str, unit: str = PEOPLE) -> str:
    """LDIF of somebody with the password NAME-password."""
    return (
        f"dn: uid={name},{unit}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name.title()}son\n"
        f"givenName: {name.title()}\nmail: {name}@example.org\nuserPassword: {name}-password\n"
    )


def group(name: str, *members: str) -> str:
    said = "\n".join(f"uniqueMember: uid={member},{PEOPLE}" for member in members)
    return f"dn: cn={name},{GROUPS}\nobjectClass: groupOfUniqueNames\ncn: {name}\n{said}\n"


def example() -> str:
    return "\n".join([tree(), person("alice"), person("bob"), group("operators", "alice", "bob")])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Slapd:
    """Runs while it is entered. What is in it is LDIF that the test adds."""

    folder: Path
    port: int = field(default_factory=_free_port)
    tls_port: int = field(default_factory=_free_port)

    def __post_init__(self) -> None:
        self.certificate, key = certify(self.folder)
        self.program = debian_package("slapd")
        libraries = [home / part for home in (self.program, debian_package("libltdl7")) for part in LIBRARIES]
        self.environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, libraries))}
        (self.folder / "data").mkdir()
        self.configuration = self.folder / "slapd.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                schema=self.program / "etc/ldap/schema", folder=self.folder, certificate=self.certificate, key=key,
                base=BASE, root=ROOT, password=ROOT_PASSWORD,
            )
        )  # fmt: skip

    def load(self, ldif: str) -> None:
        """Fill the directory, before the server runs."""
        slapd = str(self.program / "usr/sbin/slapd")
        argv = [slapd, "-Tadd", "-f", str(self.configuration)]
        run(argv, input=ldif, env=self.environment, seconds=60)

    def __enter__(self) -> Self:
        urls = f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"
        argv = [str(self.program / "usr/sbin/slapd"), "-d", "0", "-h", urls, "-f", str(self.configuration)]
        self.process = subprocess.Popen(argv, env=self.environment)
        self._wait()
        return self

    def _wait(self) -> None:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), 1).close()
            except OSError:
                assert self.process.poll() is None, "slapd ended"
                assert time.monotonic() < until, "slapd does not answer"
                time.sleep(0.05)
            else:
                return

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(10)
