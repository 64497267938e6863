"""The oracle as commands: what the database and the hosts disagree on."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence

from manager import truth
from manager.api.call import Call
from manager.api.command import Given, ListRequest, Page, command
from manager.api.errors import ApiError
from manager.api.fields import Date, Ref
from manager.api.response import Response, Shown, Str, When
from manager.models import Host, Zone
from manager.recount import Finding

UNAVAILABLE = 534


class Moment(Date):
    """As a date, or seconds since 1970."""

    def read(self, name: str, value: str) -> dt.datetime:
        if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", value):
            return dt.datetime.fromtimestamp(float(value), dt.UTC)
        return super().read(name, value)


class FindingResponse(Response):
    type = Str("the kind of disagreement, such as vm.missing")
    resourcetype = Str("the kind of thing")
    id = Str("its id; for a foreign domain its uuid on the host")
    hostid = Str("the id of the host or image store that shows it")
    hostname = Str("the host or image store that shows it")
    zoneid = Str("the id of the zone")
    expected = Str("what should be")
    found = Str("what is")
    detail = Str("a sentence that tells of it")
    surveyed = When("when the host was surveyed; absent where the database alone shows it")

    @classmethod
    def render(cls, _call: Call, rows: Sequence[Finding]) -> list[Shown]:
        return [_describe(row) for row in rows]


class DriftResponse(FindingResponse):
    object_key = "drift"


class OrphanResponse(FindingResponse):
    object_key = "orphan"


def _describe(row: Finding) -> Shown:
    return {
        "type": row.type,
        "resourcetype": row.resource_type,
        "id": row.resource_id,
        "hostid": row.host_id,
        "hostname": row.host_name,
        "zoneid": row.zone_id,
        "expected": row.expected,
        "found": row.found,
        "detail": row.detail,
        "surveyed": dt.datetime.fromtimestamp(row.surveyed, dt.UTC) if row.surveyed is not None else None,
    }


class ListFindings(ListRequest):
    zoneid = Ref(Zone, "only what is in this zone")
    hostid = Ref(Host, "only what concerns this host")
    surveyedafter = Moment(
        "refuse to answer from surveys that are not newer: a date, or seconds since 1970. What changed within the "
        "10 seconds before a survey is left to the next one, so add those to the time of the last change"
    )


@command("listDrift", ListFindings, DriftResponse)
def list_drift(call: Call, given: Given) -> Page:
    """List where the database says one thing and a host, or the database itself, another. Nothing is changed."""
    return _page(call, given, lambda findings: findings.drift)


@command("listOrphans", ListFindings, OrphanResponse)
def list_orphans(call: Call, given: Given) -> Page:
    """List what is on hosts and in no row, and rows whose owner is gone. Nothing is changed."""
    return _page(call, given, lambda findings: findings.orphans)


def _page(call: Call, given: Given, part: Callable[[truth.Findings], list[Finding]]) -> Page:
    findings = truth.compare(call.session)
    zone_id = given.zoneid.id if given.zoneid else None
    host_id = given.hostid.id if given.hostid else None
    if given.surveyedafter is not None:
        _demand_surveys(findings, given.surveyedafter, zone_id, host_id)
    rows = [
        row
        for row in part(findings)
        if zone_id in (None, row.zone_id)
        and host_id in (None, row.host_id)
        and (not given.keyword or given.keyword.lower() in f"{row.type} {row.detail}".lower())
    ]
    return call.window(sorted(rows, key=lambda row: (row.type, row.resource_id, row.host_id or "", row.found)))


def _demand_surveys(findings: truth.Findings, after: dt.datetime, zone_id: str | None, host_id: str | None) -> None:
    """:raises ApiError: 534, a host or image store was last surveyed before `after`"""
    for survey in findings.surveys:
        concerned = host_id in (None, survey.id) and (zone_id is None or survey.zone_id in (None, zone_id))
        if concerned and (survey.at is None or survey.at <= after.timestamp()):
            kind = "host" if survey.is_host else "image store"
            raise ApiError(UNAVAILABLE, f"The {kind} {survey.name} {truth.told_time(survey)}.")
