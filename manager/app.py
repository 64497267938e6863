"""The Flask application of the management server: the CloudStack wire at /client/api, its documentation at /docs."""

from __future__ import annotations

import structlog
from flask import Flask, Response, request
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from agents import log as logs
from manager import capture_site, db, docs_site, oauth_site
from manager.api import cookies, dispatch, wire
from manager.api.commands import load_all
from manager.api.errors import ApiError
from manager.config import settings
from manager.memory import keep_what_is_loaded
from manager.servers import VERSION, another_is_up, is_leaving, own_id, start_beating

MAX_BODY_BYTES = 2 * 2**20

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1;mode=block",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

log = structlog.get_logger()


def create_app(engine: Engine | None = None) -> Flask:
    """The application over `engine`, or over the database of the settings."""
    logs.set_up(settings().log_level)
    load_all()
    if engine is None:
        start_beating()
    app = Flask("pileus", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES

    def client_api(rest: str = "") -> Response:  # noqa: ARG001 - CloudStack answers any path below /client/api
        return _serve(engine)

    def healthz() -> tuple[dict[str, str], int]:
        try:
            with (engine or db.engine()).connect() as connection:
                another = connection.scalar(another_is_up(own_id()))
        except SQLAlchemyError as error:
            log.warning("database unreachable", error=str(error))
            return {"status": "database unreachable"}, 503
        if is_leaving() and another:
            return {"status": "this management server is prepared for maintenance or shutdown"}, 503
        return {"status": "ok"}, 200

    for rule in ("/client/api", "/client/api/", "/client/api/<path:rest>"):
        app.add_url_rule(rule, rule, client_api, methods=["GET", "POST"])
    app.add_url_rule("/healthz", "healthz", healthz)
    app.register_blueprint(docs_site.blueprint())
    app.register_blueprint(oauth_site.blueprint(engine))
    app.register_blueprint(capture_site.blueprint(engine))
    return app


def serve() -> Flask:
    """The application in a process that does nothing else."""
    app = create_app()
    keep_what_is_loaded()
    return app


def _serve(engine: Engine | None) -> Response:
    incoming: wire.Incoming | None = None
    try:
        incoming = _incoming()
        reply = dispatch.answer(incoming, engine)
    except ApiError as error:
        reply = dispatch.failed(error, "")
    as_json = incoming.wants_json if incoming else "response=json" in request.query_string.decode("latin-1").lower()
    return _response(reply, as_json=as_json)


def _incoming() -> wire.Incoming:
    form = b""
    if request.method == "POST" and request.mimetype in ("application/x-www-form-urlencoded", ""):
        form = request.get_data(cache=False)
    raw = wire.parse(request.query_string, form)
    return wire.Incoming(request.method, raw, wire.lower_names(raw), request.cookies, *wire.sender(request))


def _response(reply: wire.Reply, *, as_json: bool) -> Response:
    if as_json:
        response = Response(wire.to_json(reply.body), reply.status, content_type=wire.JSON_TYPE)
    else:
        response = Response(wire.to_xml(reply.body, VERSION), reply.status, content_type=wire.XML_TYPE)
    response.headers.update({**_HEADERS, **reply.headers})
    if reply.error_text:
        text = reply.error_text.encode("ascii", "replace").decode()
        response.headers["X-Description"] = " ".join(text.split())
    cookies.put(response, reply.cookies, secure=request.is_secure)
    return response
