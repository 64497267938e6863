"""How a cloud is reached: through which proxy, and whose certificates are trusted."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from ui.shell.errors import ReachError, UsageError

if TYPE_CHECKING:
    import http.client

    from ui.shell.profiles import Profile

PORTS = {"http": 80, "https": 443}
PROXY_PORT = 3128


class Way(NamedTuple):
    """To the server, or to `proxy` on the way to it; `headers` tell the proxy who asks."""

    server: SplitResult
    proxy: SplitResult | None
    headers: dict[str, str]

    @property
    def takes_whole_addresses(self) -> bool:
        """A proxy is told the whole address, but for https, which goes through it unread."""
        return self.proxy is not None and self.server.scheme == "http"


def way_of(profile: Profile) -> Way:
    """:raises UsageError: the proxy is no address of one"""
    server = urlsplit(profile.url)
    text = profile.proxy or _of_environment(server.scheme, server.hostname or "")
    if not text or text.lower() == "none":
        return Way(server, None, {})
    proxy = urlsplit(text if "://" in text else f"http://{text}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise UsageError(f"{_shown(proxy)} is no proxy that can be used.", "It looks like http://HOST:3128.")
    if not proxy.username:
        return Way(server, proxy, {})
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return Way(server, proxy, {"Proxy-Authorization": "Basic " + base64.b64encode(pair.encode()).decode()})


def opened(profile: Profile, way: Way, timeout: float) -> http.client.HTTPConnection:
    """A connection to the server.

    :raises ReachError: there is none to be had, or its certificate is not trusted
    """
    import http.client

    server, near = way.server, way.proxy or way.server
    port = near.port or (PROXY_PORT if way.proxy else None)
    if server.scheme == "https":
        context = _context(profile)
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            near.hostname or "", port, timeout=timeout, context=context
        )
        if way.proxy:
            connection.set_tunnel(server.hostname or "", server.port or PORTS["https"], way.headers)
    else:
        connection = http.client.HTTPConnection(near.hostname or "", port, timeout=timeout)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        raise _refused(profile, way, error) from error
    return connection


def _context(profile: Profile) -> Any:
    import ssl

    try:
        context = ssl.create_default_context(cafile=os.path.expanduser(profile.ca) or None)  # noqa: PTH111 - "" is none
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if type(error) is not ssl.SSLError and error.strerror else "it holds no certificate"
        raise UsageError(f"The certificates of {profile.ca} cannot be read: {reason}.") from error
    if not profile.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(profile: Profile, way: Way, error: OSError) -> ReachError:
    reason = getattr(error, "verify_message", "")
    if reason:
        return ReachError(
            f"The certificate of {profile.url} is not trusted: {reason.rstrip('.')}.",
            "Name the file of the CA that signed it: --verifycert ca.pem, or to keep it: set verifycert ca.pem\n"
            "Only where nobody can listen: --verifycert false",
        )
    through = f"The way goes through the proxy {_shown(way.proxy)}.\n" if way.proxy else ""
    return ReachError(
        f"{profile.url} cannot be reached: {error.strerror or error}.",
        f"{through}The address comes from the profile {profile.name} ({profile.source}).",
    )


def _shown(proxy: SplitResult) -> str:
    """Without the password."""
    return f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"


def _of_environment(scheme: str, host: str) -> str:
    """The proxy for `host` that the environment names, or nothing. HTTP_PROXY may come from a request, in CGI."""
    passed = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",")
    if any(_is_of(host, one.strip()) for one in passed):
        return ""
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    usable = names if "REQUEST_METHOD" not in os.environ else names[:1]
    return next((os.environ[name] for name in usable if os.environ.get(name)), "")


def _is_of(host: str, domain: str) -> bool:
    """Whether `domain` (example.org, .example.org, *.example.org or *) names the host or what it is in."""
    if domain == "*":
        return True
    bare = domain.partition(":")[0].lstrip("*").lstrip(".").lower()
    return bool(bare) and (host.lower() == bare or host.lower().endswith(f".{bare}"))
