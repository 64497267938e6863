"""The device as a program: NITRO over HTTPS, with a certificate of its own, in the namespace it is started in."""

from __future__ import annotations

import argparse
import hmac
import secrets
import signal
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask, Response, jsonify, request
from werkzeug.serving import WSGIRequestHandler, make_server

from devcloud.devices.nitro import schema
from devcloud.devices.nitro.kernel import Kernel
from devcloud.devices.nitro.schema import RESOURCES, NitroError
from devcloud.devices.nitro.store import Configuration, Store

COOKIE = "NITRO_AUTH_TOKEN"
VERSION = "NetScaler NS13.1: Build 53.17.nc, Date: Aug 06 2024, 10:17:15   (64-bit)"
SECONDS = 1800
CREATED = 201
HIDDEN = ("filecontent", "passplain")


class Handler(WSGIRequestHandler):
    """Connections stay open from call to call, and answers do not wait for one another."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


class Idle:
    """A plane without packets: the configuration alone."""

    def apply(self, configuration: Configuration) -> None:
        """Nothing forwards."""

    def statistics(self, name: str) -> dict[str, Any]:
        return {"name": name, "state": "DOWN"}

    def stop(self) -> None:
        """Nothing runs."""

    def interfaces(self) -> dict[str, str]:
        return {f"1/{number}": f"00:e0:ed:00:00:0{number}" for number in (1, 2)}


class Nitro:
    """Answers calls; a session is a cookie, or each call brings user and password."""

    def __init__(self, store: Store, login: tuple[str, str]) -> None:
        self._store, self._login = store, login
        self._sessions: dict[str, float] = {}

    def log_in(self, given: Mapping[str, Any]) -> str:
        if not self._is_right(str(given.get("username", "")), str(given.get("password", ""))):
            raise NitroError(schema.BAD_LOGIN, "Invalid username or password")
        token = secrets.token_hex(32)
        self._sessions[token] = time.monotonic() + float(given.get("timeout", SECONDS))
        return token

    def log_out(self) -> None:
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)

    def check(self) -> None:
        user, password = request.headers.get("X-NITRO-USER"), request.headers.get("X-NITRO-PASS")
        if user is not None and password is not None and self._is_right(user, password):
            return
        if self._sessions.get(request.cookies.get(COOKIE, ""), 0) < time.monotonic():
            raise NitroError(schema.BAD_LOGIN, "Not logged in or connection timed out")

    def _is_right(self, *given: str) -> bool:
        return hmac.compare_digest("\0".join(given).encode(), "\0".join(self._login).encode())

    def get(self, kind: str, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "nsversion": {"version": VERSION, "mode": 0},
            "nshardware": {"hwdescription": "NetScaler Virtual Appliance", "host": "netscaler", "serialno": "EMULATED"},
            "nsfeature": {"feature": sorted(self._store.features)},
            "Interface": [
                {"id": one, "devicename": one, "mac": mac}
                for one, mac in sorted(self._store.plane.interfaces().items())
            ],
        }
        special = shown.get(kind)
        if special is None:
            resource = _resource(kind)
            if name and not resource.is_binding:
                self._store.one(kind, name)
            if resource.is_binding and not name and request.args.get("bulkbindings") != "yes":
                raise NitroError(schema.MISSING_ARGUMENT, f"Required argument missing [{resource.needs[0]}]")
            found = [_shown(entry) for entry in self._store.every(kind, name)]
            special = found or None
        return {} if special is None else {kind: special}

    def post(self, kind: str, action: str, given: Any) -> int:
        match kind, action:
            case "nsconfig", "save":
                self._store.save()
            case "nsfeature", ("enable" | "disable"):
                self._store.enable(list(given.get("feature", [])), on=action == "enable")
            case _, ("enable" | "disable"):
                self._store.switch(kind, str(given.get(_resource(kind).needs[0], "")), on=action == "enable")
            case _, "":
                for one in given if isinstance(given, list) else [given]:
                    self._store.add(_resource(kind).name, one)
                return CREATED
            case _:
                raise NitroError(schema.NOT_PERMITTED, "Operation not permitted")
        return 200

    def put(self, kind: str, given: Mapping[str, Any]) -> int:
        """A binding is added by PUT, in place of one of the same ends."""
        resource = _resource(kind)
        if resource.is_binding:
            self._store.add(kind, given)
            return CREATED
        self._store.update(kind, given)
        return 200

    def delete(self, kind: str, name: str) -> int:
        arguments = dict(part.split(":", 1) for part in request.args.get("args", "").split(",") if ":" in part)
        self._store.delete(_resource(kind).name, name, arguments)
        return 200

    def statistics(self, kind: str, name: str) -> dict[str, Any]:
        if kind != "lbvserver":
            raise NitroError(schema.NOT_PERMITTED, "Operation not permitted")
        names = [name] if name else [entry["name"] for entry in self._store.every("lbvserver")]
        found = []
        for one in names:
            entry = self._store.one("lbvserver", one)
            shown: dict[str, Any] = {field: entry[field] for field in ("name", "ipv46", "port") if field in entry}
            counted = self._store.plane.statistics(one).items()
            found.append(shown | {field: _text(value) for field, value in counted})
        return {"lbvserver": found}


def _resource(kind: str) -> schema.Resource:
    found = RESOURCES.get(kind)
    if found is None:
        raise NitroError(schema.UNKNOWN_ARGUMENT, f"Invalid object name [{kind}]")
    return found


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in HIDDEN}


def _text(value: Any) -> Any:
    """Counters are texts, as those of the device pass 2**53."""
    return str(value) if isinstance(value, int) else value


def application(nitro: Nitro) -> Flask:
    app = Flask(__name__)

    def answer(content: Mapping[str, Any] | None = None, status: int = 200) -> Response:
        done = jsonify({"errorcode": 0, "message": "Done", "severity": "NONE", **(content or {})})
        done.status_code = status
        return done

    def given(kind: str) -> Any:
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, dict) or kind not in body:
            raise NitroError(schema.MISSING_ARGUMENT, f"Required argument missing [{kind}]")
        return body[kind]

    @app.errorhandler(NitroError)
    def refused(error: NitroError) -> Response:
        said = jsonify({"errorcode": error.code, "message": error.message, "severity": "ERROR"})
        said.status_code = schema.STATUS.get(error.code, schema.OTHER_STATUS)
        return said

    @app.post("/nitro/v1/config/login")
    def login() -> Response:
        done = answer(status=CREATED)
        done.set_cookie(COOKIE, nitro.log_in(given("login")), secure=True, httponly=True, path="/nitro/v1")
        return done

    @app.post("/nitro/v1/config/logout")
    def logout() -> Response:
        nitro.log_out()
        return answer(status=CREATED)

    @app.route("/nitro/v1/config/<kind>", methods=["GET", "POST", "PUT"])
    @app.route("/nitro/v1/config/<kind>/<path:name>", methods=["GET", "PUT", "DELETE"])
    def resource(kind: str, name: str = "") -> Response:
        nitro.check()
        calls: dict[str, Callable[[], Response]] = {
            "GET": lambda: answer(nitro.get(kind, name)),
            "POST": lambda: answer(status=nitro.post(kind, request.args.get("action", ""), given(kind))),
            "PUT": lambda: answer(status=nitro.put(kind, given(kind))),
            "DELETE": lambda: answer(status=nitro.delete(kind, name)),
        }
        return calls[request.method]()

    @app.get("/nitro/v1/stat/<kind>")
    @app.get("/nitro/v1/stat/<kind>/<path:name>")
    def stat(kind: str, name: str = "") -> Response:
        nitro.check()
        return answer(nitro.statistics(kind, name))

    return app


def certificate(home: Path) -> tuple[Path, str]:
    """A file with the device's own certificate and key, made at the first start; and its SHA-256 fingerprint."""
    path = home / "https.pem"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "netscaler")]), datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=3650))
        private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.touch(mode=0o600)
        path.write_bytes(
            made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, *private)
        )
    held = x509.load_pem_x509_certificate(path.read_bytes())
    return path, held.fingerprint(hashes.SHA256()).hex()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--user", default="nsroot")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--without-packets", action="store_true", help="the configuration alone")
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    plane = Idle() if arguments.without_packets else Kernel(arguments.state)
    store = Store(arguments.state, plane)
    path, fingerprint = certificate(arguments.state)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    login = arguments.user, arguments.password_file.read_text().strip()
    app = application(Nitro(store, login))
    server = make_server(
        arguments.listen, arguments.port, app, threaded=True, ssl_context=context, request_handler=Handler
    )
    print(f"NITRO on {arguments.listen} port {server.port} {fingerprint}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        server.serve_forever()
    finally:
        plane.stop()


if __name__ == "__main__":
    main()
