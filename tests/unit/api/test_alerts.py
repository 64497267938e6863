"""Alerts: one a cause, while it lasts; what operators see of them and do with them."""

import base64
import datetime as dt
import json
import threading
import time

import pytest
from sqlalchemy import update

from agents.envelope import sign
from manager import alerts, db, orchestrator, reports, watch
from manager.alerts import Trouble
from manager.messages import signing_key
from manager.models import Agent, Alert, Host, StoragePool, WorkflowRow, utcnow
from manager.workflows import usage
from tests.client import Refused


def shown(api, **more):
    return api("listAlerts", **more).get("alert", [])


def test_a_host_that_is_lost_raises_one_alert_until_it_is_back(api, factory, engine):
    host = factory(Host, name="h1", state="Disconnected")
    watch.watch()
    factory.change(host, state="Down")
    watch.watch()
    (alert,) = shown(api)
    assert (alert["type"], alert["name"]) == (7, "ALERT.COMPUTE.HOST")
    assert "h1 is Down" in alert["description"]
    assert "resolved" not in alert
    factory.change(host, state="Up")
    watch.watch()
    assert "resolved" in shown(api)[0]
    factory.change(host, state="Down")
    watch.watch()
    assert len(shown(api)) == 2


def test_full_places_and_stuck_jobs_raise_alerts(api, factory):
    host = factory(Host, cpus=4, cpu_mhz=1000, memory=2**30, cpu_used=3000, memory_used=2**29,
                   details={"disk_total": 100, "disk_used": 80})  # fmt: skip
    pool = {"zone_id": host.zone_id, "cluster_id": host.cluster_id, "host_id": host.id}
    factory(StoragePool, name="full", capacity=100, allocated=160, **pool)
    factory(WorkflowRow, status="stuck", error="no way back")
    watch.watch()
    found = {(alert["type"], alert["description"].split(":")[0].split(" (")[0].split(" ")[0]) for alert in shown(api)}
    assert found == {(1, "Cluster"), (3, "Cluster"), (2, "The"), (14, "The")}
    api("updateConfiguration", name="cluster.cpu.allocated.capacity.notificationthreshold", value="0.8")
    watch.watch()
    assert "resolved" in shown(api, type=1)[0]


def test_drift_is_told_when_it_lasts(api, factory, engine):
    with db.transaction(engine) as session:
        alerts.settle(session, "drift", [Trouble("drift:x", alerts.SYNC, "it differs")], patience=600)
    assert shown(api) == []
    with db.transaction(engine) as session:
        session.execute(update(Alert).values(created=utcnow() - dt.timedelta(hours=1)))
        alerts.settle(session, "drift", [Trouble("drift:x", alerts.SYNC, "it differs")], patience=600)
    assert [alert["name"] for alert in shown(api)] == ["ALERT.TYPE.SYNC"]
    with db.transaction(engine) as session:
        alerts.settle(session, "drift", [Trouble("drift:y", alerts.SYNC, "another")], patience=600)
        alerts.settle(session, "drift", [], patience=600)
    (alert,) = shown(api)
    assert "resolved" in alert


def test_real_drift_is_found(api, factory):
    api("updateConfiguration", name="alert.drift.minutes", value=0)
    factory(Host, state="Up", cpu_used=7)
    watch.watch_drift()
    assert any("cpu_used" in alert["description"] or "7" in alert["description"] for alert in shown(api, type=27))


def test_a_forged_message_raises_one_alert_and_an_expired_one_none(api, factory, monkeypatch):
    monkeypatch.setattr(reports, "_told", {})
    reports._cached_key.cache_clear()
    public = base64.b64encode(signing_key().public_key().public_bytes_raw()).decode()
    agent = factory(Agent, public_key=public)
    genuine = {"agent": agent.id, "kind": "alive", "body": {"incarnation": "i", "sequence": 1}}
    reports.take(sign(signing_key(), genuine, -1000))
    assert shown(api) == []
    forged = {**sign(signing_key(), genuine, 60), "signature": base64.b64encode(b"x" * 64).decode()}
    reports.take(forged)
    monkeypatch.setattr(reports, "_told", {})
    reports.take(forged)
    reports.take({"payload": json.dumps({"agent": "nobody"}), "signature": ""})
    texts = sorted(alert["description"] for alert in shown(api))
    assert len(texts) == 2
    assert agent.id in texts[0] + texts[1]
    api("archiveAlerts", type=14)
    monkeypatch.setattr(reports, "_told", {})
    reports.take(forged)
    assert len(shown(api)) == 1


def test_alerts_are_put_away_and_removed(api, factory, tenant):
    factory(Host, name="h1", state="Down")
    watch.watch()
    (alert,) = shown(api)
    api("deleteAlerts", ids=alert["id"])
    watch.watch()
    assert shown(api) == []
    job = api("generateAlert", type=1000, name="OWN", description="mine")["jobid"]
    assert api("queryAsyncJobResult", jobid=job)["jobresult"] == {"success": True}
    (own,) = shown(api, name="OWN", keyword="min")
    assert own == shown(api, id=own["id"])[0] == shown(api, type=1000)[0]
    api("archiveAlerts", startdate="2020-01-01", enddate="2999-01-01")
    assert shown(api) == []
    with pytest.raises(Refused, match=r"431 The alert type 7 is ALERT.COMPUTE.HOST"):
        api("generateAlert", type=7, name="OWN", description="mine")
    with pytest.raises(Refused, match=r"431 One of the parameters"):
        api("deleteAlerts")
    with pytest.raises(Refused, match=r"431 The type x is not"):
        api("listAlerts", type="x")
    with pytest.raises(Refused, match="432"):
        api("listAlerts", tenant)
    assert {"alerttypeid": 7, "name": "ALERT.COMPUTE.HOST"} in api("listAlertTypes")["alerttype"]


def test_the_watcher_and_the_sender_keep_their_duties(api, factory, monkeypatch):
    monkeypatch.setattr(usage, "DUTY_SECONDS", 0.3)
    monkeypatch.setattr(orchestrator, "DELIVER_SECONDS", 0.1)
    factory(Host, state="Down")
    api("executeWebhookDelivery", payloadurl="http://127.0.0.1:1/")
    stop = threading.Event()
    duties = (orchestrator.keep_watching, orchestrator.keep_delivering)
    threads = [threading.Thread(target=duty, args=(stop,)) for duty in duties]
    for thread in threads:
        thread.start()
    due = time.monotonic() + 60
    while time.monotonic() < due:
        (delivery,) = api("listWebhookDeliveries")["webhookdelivery"]
        if shown(api, type=7) and "response" in delivery:
            break
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert "must not be reached" in delivery["response"]
    assert len(shown(api, type=7)) == 1
