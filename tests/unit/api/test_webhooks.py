"""Webhooks: who gets which events, how they are signed, tried again and given up, and where they are never sent."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import update

from manager import db
from manager.models import EventRow, Webhook, WebhookDelivery
from manager.workflows import webhooks
from tests.client import Caller, Refused


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, dict(self.headers), body))
        code, headers = self.server.answers.get(self.path, (200, {}))
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.got, server.answers = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def opened(api):
    api("updateConfiguration", name="webhook.allowed.networks", value="127.0.0.0/8")


def hook(api, caller=None, **more):
    given = {"name": "h", "payloadurl": "http://example.org/hook", **more}
    return api("createWebhook", caller, **given)["webhook"]


def happen(factory, account, kind="VM.START"):
    return factory(EventRow, type=kind, description=kind, account_id=account.id)


def told(engine, webhook):
    with db.transaction(engine) as session:
        found = session.query(WebhookDelivery).filter_by(webhook_id=webhook["id"]).order_by(WebhookDelivery.number)
        return [delivery.event_id for delivery in found]


def quiet(engine):
    """What the test itself did by the API is announced."""
    while webhooks.announce():
        pass
    with db.transaction(engine) as session:
        session.query(WebhookDelivery).delete()


def make_due(engine):
    with db.transaction(engine) as session:
        session.execute(update(WebhookDelivery).values(due_at=0))


def deliveries(api, caller=None, **more):
    return api("listWebhookDeliveries", caller, **more).get("webhookdelivery", [])


def test_an_event_goes_to_those_whose_scope_has_it_and_once(api, tenant, factory, engine):
    inner = factory.domain("inner")
    boss = Caller.of(engine, factory.user("boss", factory.account("boss", inner, type=2)).username)
    child = factory.account("child", inner)
    local, domain, everywhere = hook(api, tenant), hook(api, boss, scope="Domain"), hook(api, scope="Global")
    disabled = hook(api, tenant, name="off", state="Disabled")
    quiet(engine)
    mine, childs = happen(factory, tenant.account), happen(factory, child)
    assert webhooks.announce() == 2
    assert webhooks.announce() == 0
    assert told(engine, local) == [mine.id]
    assert told(engine, domain) == [childs.id]
    assert told(engine, everywhere) == [mine.id, childs.id]
    assert told(engine, disabled) == []


def test_a_scope_is_worth_what_its_owner_may_have_at_that_time(api, factory, engine):
    inner = factory.domain("inner")
    account = factory.account("boss", inner, type=2)
    boss = Caller.of(engine, factory.user("boss", account).username)
    domain = hook(api, boss, scope="Domain")
    quiet(engine)
    factory.change(account, type=0)
    happen(factory, factory.account("child", inner))
    webhooks.announce()
    assert told(engine, domain) == []


def test_a_delivery_is_signed_and_kept(api, tenant, factory, engine, receiver, opened):
    webhook = hook(api, tenant, payloadurl=f"{receiver.url}/in?a=1", secretkey="s3cret")
    quiet(engine)
    event = happen(factory, tenant.account)
    webhooks.announce()
    assert webhooks.deliver_due() == 1
    assert webhooks.deliver_due() == 0
    ((path, headers, body),) = receiver.got
    assert path == "/in?a=1"
    assert headers["X-CS-Signature"] == hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert (headers["X-CS-Event"], headers["X-CS-Event-ID"]) == ("VM.START", event.id)
    assert json.loads(body)["event"] == "VM.START"
    (shown,) = deliveries(api, tenant, webhookid=webhook["id"], eventtype="VM.START", keyword="VM")
    assert (shown["success"], shown["eventid"], shown["webhookname"]) == (True, event.id, "h")
    assert shown["response"] == "200 OK\nhello"
    assert "s3cret" not in json.dumps(shown)
    assert deliveries(api, tenant, id=shown["id"]) == [shown]
    assert deliveries(api, tenant, startdate="2999-01-01") == []


def test_a_failure_is_tried_again_later_and_then_given_up(api, tenant, factory, engine, receiver, opened):
    hook(api, tenant, payloadurl=f"{receiver.url}/bad")
    quiet(engine)
    receiver.answers["/bad"] = (500, {})
    happen(factory, tenant.account)
    webhooks.announce()
    for _ in range(5):
        webhooks.deliver_due()
        assert webhooks.deliver_due() == 0
        make_due(engine)
    assert len(receiver.got) == 3
    (shown,) = deliveries(api, tenant)
    assert shown["success"] is False
    assert shown["response"].startswith("500")


def test_a_process_that_dies_while_it_sends_leaves_the_delivery_to_others(api, tenant, factory, engine, opened):
    hook(api, tenant)
    quiet(engine)
    happen(factory, tenant.account)
    webhooks.announce()
    with db.transaction(engine) as session:
        (taken,) = webhooks._claim(session)
    assert webhooks.deliver_due() == 0
    make_due(engine)
    with db.transaction(engine) as session:
        (again,) = webhooks._claim(session)
    assert (taken.number, again.attempts) == (again.number, 2)


def test_redirects_are_not_followed(api, tenant, factory, engine, receiver, opened):
    hook(api, tenant, payloadurl=f"{receiver.url}/away")
    receiver.answers["/away"] = (307, {"Location": f"{receiver.url}/secret"})
    quiet(engine)
    happen(factory, tenant.account)
    webhooks.announce()
    webhooks.deliver_due()
    assert [path for path, _, _ in receiver.got] == ["/away"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "192.168.1.1", "[::1]", "[::ffff:127.0.0.1]", "0",
     "2130706433", "0x7f.1", "[fd00::1]", "[64:ff9b::7f00:1]", "100.64.0.1", "0.0.0.1"],
)  # fmt: skip
def test_nothing_is_sent_to_addresses_that_are_not_public(api, tenant, engine, receiver, host):
    url = f"http://{host}:{receiver.server_port}/"
    api("executeWebhookDelivery", tenant, payloadurl=url, payload="x")
    webhooks.deliver_due()
    assert receiver.got == []
    (shown,) = deliveries(api, tenant)
    assert "success" not in shown
    assert "must not be reached" in shown["response"] or "could not be resolved" in shown["response"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://x/", "http://u:p@example.org/", "http:///x", "x"])
def test_urls_that_are_none(api, tenant, url):
    with pytest.raises(Refused, match=r"431 The payload URL"):
        hook(api, tenant, payloadurl=url)
    with pytest.raises(Refused, match=r"431 The payload URL"):
        api("executeWebhookDelivery", tenant, payloadurl=url)


def test_trials_and_repetitions(api, tenant, factory, engine, receiver, opened):
    webhook = hook(api, tenant, payloadurl=f"{receiver.url}/in")
    quiet(engine)
    first = api("executeWebhookDelivery", tenant, webhookid=webhook["id"], payload="one")["webhookdelivery"]
    assert "success" not in first
    webhooks.deliver_due()
    again = api("executeWebhookDelivery", tenant, id=first["id"])["webhookdelivery"]
    assert again["id"] != first["id"]
    webhooks.deliver_due()
    assert [body for _, _, body in receiver.got] == [b"one", b"one"]
    with pytest.raises(Refused, match=r"431 One of the parameters id, webhookid and payloadurl"):
        api("executeWebhookDelivery", tenant)
    other = Caller.of(engine, factory.user("other").username)
    for command, given in (
        ("executeWebhookDelivery", {"id": first["id"]}),
        ("executeWebhookDelivery", {"webhookid": webhook["id"]}),
        ("deleteWebhookDelivery", {"id": first["id"]}),
        ("updateWebhook", {"id": webhook["id"]}),
        ("deleteWebhook", {"id": webhook["id"]}),
    ):
        with pytest.raises(Refused, match=r"431 .*entity does not exist"):
            api(command, other, **given)
    assert deliveries(api, other) == []
    with pytest.raises(Refused, match=r"431 One of the parameters"):
        api("deleteWebhookDelivery", tenant)
    api("deleteWebhookDelivery", tenant, id=first["id"])
    api("deleteWebhookDelivery", tenant, webhookid=webhook["id"], enddate="2999-01-01")
    assert [shown["eventtype"] for shown in deliveries(api, tenant)] == []


def test_from_creation_to_removal(api, tenant, factory, engine):
    webhook = hook(api, tenant, name="h1", description="d", secretkey="k")
    assert (webhook["scope"], webhook["state"], webhook["sslverification"]) == ("Local", "Enabled", True)
    assert api("listWebhooks", tenant, id=webhook["id"], name="h1", state="Enabled", keyword="h")["webhook"] == [
        webhook
    ]
    with pytest.raises(Refused, match=r"431 .* has a webhook H1 already"):
        hook(api, tenant, name="H1")
    with pytest.raises(Refused, match="531"):
        hook(api, tenant, name="h2", scope="Global")
    with pytest.raises(Refused, match=r"531 The account tenant cannot have a webhook of scope Global"):
        hook(api, name="h2", scope="Global", account="tenant", domainid=factory.root.id)
    quiet(engine)
    happen(factory, tenant.account)
    webhooks.announce()
    changed = api("updateWebhook", tenant, id=webhook["id"], name="h3", state="Disabled", sslverification=False,
                  payloadurl="https://example.org/", description="e", secretkey="")["webhook"]  # fmt: skip
    assert (changed["name"], changed["state"], changed["sslverification"]) == ("h3", "Disabled", False)
    assert "secretkey" not in changed
    assert [shown["success"] for shown in deliveries(api, tenant)] == [False]
    assert api("deleteWebhook", tenant, id=webhook["id"]) == {"success": True}
    assert api("listWebhooks", tenant) == {}
    assert deliveries(api, tenant) == []


def test_ended_deliveries_beyond_the_limit_are_forgotten(api, tenant, factory, engine):
    api("updateConfiguration", name="webhook.deliveries.limit", value=2)
    webhook = factory(Webhook, name="h", account_id=tenant.account.id, payload_url="http://example.org")
    made = [
        factory(WebhookDelivery, webhook_id=webhook.id, account_id=tenant.account.id, payload="", payload_url="",
                status=status).number
        for status in ("open", "done", "failed", "done")
    ]  # fmt: skip
    webhooks.forget_deliveries()
    with db.transaction(engine) as session:
        left = [row.number for row in session.query(WebhookDelivery).order_by(WebhookDelivery.number)]
    assert left == [made[0], made[2], made[3]]
