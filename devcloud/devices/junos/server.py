"""The device as a program: NETCONF over SSH (RFC 6242, framing of base:1.0) in the namespace it is started in."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import itertools
import traceback
from pathlib import Path

import asyncssh
from lxml import etree

from devcloud.devices.junos.device import Device, Idle, Plane
from devcloud.devices.junos.errors import RpcError
from devcloud.devices.junos.kernel import Kernel
from devcloud.devices.junos.rpcs import Session, error_element
from devcloud.devices.junos.schema import tag

NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
END = b"]]>]]>"
MOST_BYTES = 16 * 1024 * 1024
CAPABILITIES = (
    "urn:ietf:params:netconf:base:1.0",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.0",
    "urn:ietf:params:netconf:capability:validate:1.0",
    "http://xml.juniper.net/netconf/junos/1.0",
    "http://xml.juniper.net/dmi/system/1.0",
)
PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


class Login(asyncssh.SSHServer):
    """One administrator with a password."""

    def __init__(self, user: str, password: str) -> None:
        self._expected = user, password

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002 - the name is judged with the password
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return hmac.compare_digest(f"{username}\0{password}".encode(), "\0".join(self._expected).encode())


class Netconf:
    """Serves sessions of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._numbers = itertools.count(1)

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.subsystem != "netconf":
            process.exit(1)
            return
        session = Session(self._device)
        process.stdout.write(_hello(next(self._numbers)) + END)
        try:
            await self._talk(process, session)
        except (asyncssh.Error, OSError, etree.XMLSyntaxError):
            pass
        except Exception:
            # The SSH library would end the session without a word.
            traceback.print_exc()
            raise
        finally:
            session.end()
            process.exit(0)

    async def _talk(self, process: asyncssh.SSHServerProcess[bytes], session: Session) -> None:
        received = b""
        while not session.is_closed:
            part = await process.stdin.read(65536)
            if not part or len(received) > MOST_BYTES:
                return
            received += part
            *messages, received = received.split(END)
            for message in filter(bytes.strip, messages):
                rpc = etree.fromstring(message.strip(), PARSER)
                if tag(rpc) == "rpc":
                    process.stdout.write(_reply(session, rpc) + END)


def _hello(number: int) -> bytes:
    hello = etree.Element(f"{{{NETCONF}}}hello")
    capabilities = etree.SubElement(hello, f"{{{NETCONF}}}capabilities")
    for one in CAPABILITIES:
        etree.SubElement(capabilities, f"{{{NETCONF}}}capability").text = one
    etree.SubElement(hello, f"{{{NETCONF}}}session-id").text = str(number)
    return etree.tostring(hello)


def _reply(session: Session, rpc: etree._Element) -> bytes:
    reply = etree.Element("rpc-reply", {str(name): str(value) for name, value in rpc.attrib.items()})
    reply.set("xmlns", NETCONF)
    try:
        if len(rpc) != 1:
            raise RpcError("an rpc holds one request", "unknown-element")
        reply.extend(session.answer(rpc[0]))
    except RpcError as error:
        reply.append(error_element(error))
    return etree.tostring(reply)


def host_key(path: Path) -> asyncssh.SSHKey:
    """The server's private key; made at the first start."""
    if not path.exists():
        path.touch(mode=0o600)
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(path))
    return asyncssh.read_private_key(str(path))


async def serve(device: Device, arguments: argparse.Namespace, password: str) -> None:
    """Answer until the program is ended."""
    server = await asyncssh.listen(
        arguments.listen,
        arguments.port,
        server_factory=lambda: Login(arguments.user, password),
        process_factory=Netconf(device).serve,
        server_host_keys=[host_key(arguments.state / "host_key")],
        encoding=None,
    )
    print(f"NETCONF on {arguments.listen} port {server.get_port()}", flush=True)
    await server.wait_closed()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--user", default="pileus")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=830)
    parser.add_argument("--minute", type=float, default=60.0, help="seconds in a minute of commit confirmed")
    parser.add_argument("--without-packets", action="store_true", help="the configuration alone")
    arguments = parser.parse_args()
    plane: Plane = Idle() if arguments.without_packets else Kernel(arguments.state)
    device = Device(arguments.state, plane, arguments.minute)
    asyncio.run(serve(device, arguments, arguments.password_file.read_text().strip()))


if __name__ == "__main__":
    main()
