"""What holds of signatures, parameters and answers whatever they are made of."""

from __future__ import annotations

import datetime as dt
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from manager.api import fields, wire
from manager.api.errors import ApiError
from manager.api.response import _clean
from manager.api.signature import canonical, expiry, is_fresh, matches, sign
from manager.models import Zone

CHECKED = settings(deadline=None, max_examples=150)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAME = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
PARAMETERS = st.dictionaries(NAME.filter(lambda name: name.lower() != "signature"), TEXT, max_size=8)
SECRET = "a-secret-key"


def outcome(refusal, work):
    """What `work` gives, and its error of the kind `refusal`; one of them is None."""
    try:
        return work(), None
    except refusal as error:
        return None, error


@CHECKED
@given(PARAMETERS, st.booleans(), st.sampled_from(["", "~", "[]", "~[]"]))
@example({"zoneid": "~", "Zoneb": "[x]"}, True, "~[]")
def test_every_form_of_signing_is_taken(parameters, fold, raw):
    signature = sign(SECRET, canonical(parameters, fold=fold, raw=raw))
    assert matches(SECRET, {**parameters, "signature": signature}, signature)


@CHECKED
@given(PARAMETERS, NAME, TEXT)
def test_what_was_altered_is_not_taken(parameters, name, value):
    assume(name.lower() != "signature")
    signature = sign(SECRET, canonical(parameters))
    altered = {**parameters, name: value}
    forms = [canonical(altered, fold=fold, raw=raw) for fold in (False, True) for raw in ("", "~", "[]", "~[]")]
    assume(canonical(parameters) not in forms)  # the case of letters is not signed
    assert not matches(SECRET, altered, signature)


@CHECKED
@given(PARAMETERS, st.text(max_size=40))
def test_a_signature_from_nowhere_is_not_taken(parameters, signature):
    assert not matches(SECRET, parameters, signature)


@CHECKED
@given(st.text(max_size=40))
def test_any_expiry_is_judged(text):
    time = expiry(text)
    assert is_fresh({"signatureversion": "3", "expires": text}) in (True, False)
    assert time is None or time.tzinfo is not None


@CHECKED
@given(st.datetimes(timezones=st.just(dt.UTC)), st.datetimes(timezones=st.just(dt.UTC)))
def test_a_request_is_fresh_until_it_expires(expires, now):
    given_ = {"signatureversion": "3", "expires": expires.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")}
    assume(expires.year > 999)  # strftime writes earlier years without zeros
    assert is_fresh(given_, now) is (expires >= now)


@CHECKED
@given(PARAMETERS, PARAMETERS)
def test_parameters_come_as_they_were_sent_and_the_query_wins(query, form):
    found = wire.parse(urlencode(query).encode(), urlencode(form, quote_via=quote).encode())
    assert found == form | query


@CHECKED
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(query, form):
    _, refusal = outcome(ApiError, lambda: wire.unpack_maps(wire.lower_names(wire.parse(query, form))))
    assert refusal is None or refusal.code == 430


FIELD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)


@CHECKED
@given(st.dictionaries(st.integers(0, 999_999_999), st.dictionaries(FIELD, TEXT, min_size=1, max_size=4), max_size=4))
def test_maps_come_as_they_were_sent(entries):
    sent = {f"tags[{index}].{name}": value for index, entry in entries.items() for name, value in entry.items()}
    found = wire.unpack_maps(wire.lower_names(sent))
    assert found == ({"tags": entries} if entries else {})


KINDS = [
    fields.Text("t", max_length=20), fields.Text("t", lines=True), fields.Choice("c", ["One", "Two"]), fields.Flag("f"),
    fields.Integer("i", least=-5, most=5), fields.Long("l"), fields.Size("s"), fields.Number("n"), fields.Uuid("u"),
    fields.Date("d"), fields.Date("d", end_of_day=True), fields.Ref(Zone, "z"),
    fields.ListOf(fields.Integer("i"), "is", most=3),
]  # fmt: skip
LIKELY = st.one_of(
    st.text(max_size=40), st.integers().map(str), st.floats().map(str), st.uuids().map(str), st.datetimes().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%S%z")),
    st.lists(st.integers()).map(lambda numbers: ",".join(map(str, numbers))), st.sampled_from(["ONE", "two", "TRUE"]),
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
@CHECKED
@given(value=LIKELY)
@example(value="9999-12-31T23:59:59-2359")
@example(value="0001-01-01T00:00:00+2359")
def test_any_value_is_read_or_refused(kind, value):
    loaded, bad = outcome(fields.BadParameter, lambda: kind.deserialize(value, "x", {"x": value}))
    if bad is not None:
        assert (bad.name, bool(bad.reason)) == ("x", True)
        return
    if isinstance(kind, fields.Date) and loaded is not None:
        assert loaded.tzinfo is dt.UTC
    if isinstance(kind, fields.Integer) and loaded is not None:
        assert kind.least <= int(value) <= kind.most
    if isinstance(kind, fields.Choice) and value:
        assert loaded in kind.allowed


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT | st.datetimes(timezones=st.just(dt.UTC))
ROWS = st.recursive(
    st.dictionaries(NAME, LEAVES, max_size=4),
    lambda inner: st.dictionaries(NAME, LEAVES | inner | st.lists(inner, max_size=3), max_size=4),
    max_leaves=12,
)


def _values(shown):
    for value in shown.values() if isinstance(shown, dict) else shown:
        yield value
        if isinstance(value, (dict, list)):
            yield from _values(value)


@CHECKED
@given(ROWS, st.sets(NAME))
def test_what_is_shown_has_no_nulls_no_times_and_nothing_hidden(row, hidden):
    shown = _clean(row, frozenset(hidden), {})
    assert not set(shown) & hidden
    assert all(value is not None and not isinstance(value, dt.datetime) for value in _values(shown))
    assert set(shown) == {name for name, value in row.items() if value is not None} - hidden


@CHECKED
@given(ROWS)
def test_an_answer_is_whole_json_and_whole_xml(row):
    body = {"listthingsresponse": _clean(row, frozenset(), {})}
    assert json.loads(wire.to_json(body)) == body
    root = etree.fromstring(wire.to_xml(body, "4.22.0.0"))
    assert root.tag == "listthingsresponse"
    lists = [value for value in body["listthingsresponse"].values() if isinstance(value, list)]
    scalars = len(body["listthingsresponse"]) - len(lists)
    assert len(root) == scalars + sum(map(len, lists))
