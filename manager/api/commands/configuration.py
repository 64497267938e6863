"""Settings: global ones, and those of a zone, cluster, storage pool, domain or account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from manager import configuration
from manager.api.call import Call
from manager.api.command import ROOT, Given, ListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Ref, Text
from manager.api.response import Bool, Int, Many, Response, Shown, Str
from manager.configuration import GROUPS, SETTINGS, Setting
from manager.models import Account, Cluster, Domain, StoragePool, Zone
from manager.models.changes import HIDDEN

PLACES = ("zoneid", "clusterid", "storageid", "domainid", "accountid")


@dataclass(frozen=True)
class Placed:
    """A setting, and what it is asked for: a zone, an account ...; None for the global value."""

    setting: Setting
    place: Any = None


class ConfigurationResponse(Response):
    object_key = "configuration"
    name = Str("the setting's name")
    value = Str("its value, for what was asked")
    defaultvalue = Str("its value where nobody changed it")
    type = Str("Number, Decimal, Boolean or String")
    options = Str("its possible values, where they are few")
    description = Str("what it is for")
    category = Str("what it belongs to")
    group = Str("its group")
    subgroup = Str("its part of the group")
    scope = Str("what it can be set for besides globally, or Global")
    isdynamic = Bool("whether a change takes effect without a restart")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Placed]) -> list[Shown]:
        call.session.flush()
        stored = configuration.stored_now(call.session)
        return [_describe(row, configuration.value(call.session, row.setting.name, row.place, stored)) for row in rows]


def _describe(row: Placed, value: configuration.Value) -> Shown:
    setting = row.setting
    return {
        "name": setting.name,
        "value": HIDDEN if setting.is_secret and value else setting.write(value),
        "defaultvalue": setting.write(setting.default),
        "type": setting.shown_type,
        "options": ",".join(setting.options) or None,
        "description": setting.description,
        "category": setting.category,
        "group": setting.group[0],
        "subgroup": setting.group[1],
        "scope": setting.shown_scope,
        "isdynamic": True,
    }


class ListConfigurations(ListRequest):
    name = Text("only the setting of this name")
    category = Text("only settings of this category")
    group = Text("only settings of this group")
    subgroup = Text("only settings of this part of a group")
    zoneid = Ref(Zone, "settings that a zone can have, with their values for this one")
    clusterid = Ref(Cluster, "settings that a cluster can have, with their values for this one")
    storageid = Ref(StoragePool, "settings that a storage pool can have, with their values for this one")
    domainid = Ref(Domain, "settings that a domain can have, with their values for this one")
    accountid = Ref(Account, "settings that an account can have, with their values for this one")


@command("listConfigurations", ListConfigurations, ConfigurationResponse, roles=ROOT)
def list_configurations(call: Call, given: Given) -> Page:
    """List settings and their values."""
    place = _place(given)
    rows = [setting for _, setting in sorted(SETTINGS.items())]
    if place is not None:
        rows = [row for row in rows if type(place) in row.scopes]
    if given.category is not None:
        rows = [row for row in rows if row.category.lower() == given.category.lower()]
    for number, wanted in enumerate((given.group, given.subgroup)):
        if wanted is not None:
            rows = [row for row in rows if row.group[number].lower() == wanted.lower()]
    if given.name is not None:
        rows = [row for row in rows if row.name == given.name]
    if given.keyword:
        rows = [row for row in rows if given.keyword.lower() in row.name]
    return call.window([Placed(row, place) for row in rows])


def _place(given: Given) -> Any:
    """What the settings are asked for.

    :raises Invalid: more than one thing is named
    """
    named = [name for name in PLACES if getattr(given, name) is not None]
    if len(named) > 1:
        raise Invalid(f"A setting is asked for one thing; {' and '.join(named)} name {len(named)}.")
    return getattr(given, named[0]) if named else None


class OneConfiguration(Request):
    name = Text("the setting's name", required=True)
    zoneid = Ref(Zone, "set it for this zone")
    clusterid = Ref(Cluster, "set it for this cluster")
    storageid = Ref(StoragePool, "set it for this storage pool")
    domainid = Ref(Domain, "set it for this domain")
    accountid = Ref(Account, "set it for this account")


class UpdateConfiguration(OneConfiguration):
    value = Text("its new value; none of its own when absent", max_length=4096)


@command(
    "updateConfiguration", UpdateConfiguration, ConfigurationResponse, roles=ROOT, event="CONFIGURATION.VALUE.EDIT"
)
def update_configuration(call: Call, given: Given) -> Placed:
    """Change a setting, globally or for one thing."""
    return _change(call, given, given.value)


@command("resetConfiguration", OneConfiguration, ConfigurationResponse, roles=ROOT, event="CONFIGURATION.VALUE.EDIT")
def reset_configuration(call: Call, given: Given) -> Placed:
    """Take back a setting's value: the default counts again, or for one thing what stands above it."""
    return _change(call, given, None)


def _change(call: Call, given: Given, value: str | None) -> Placed:
    place = _place(given)
    try:
        setting = configuration.change(call.session, given.name, value, place)
    except ValueError as error:
        raise Invalid(str(error)) from error
    call.flush(taken=f"The setting {given.name} is being changed by another call; try again.")
    return Placed(setting, place)


class ListConfigurationGroups(ListRequest):
    group = Text("only the group of this name")


class SubgroupResponse(Response):
    name = Str("the name of the part")
    precedence = Int("where it stands in its group")


class ConfigurationGroupResponse(Response):
    object_key = "configurationgroup"
    name = Str("the group's name")
    description = Str("what it holds")
    precedence = Int("where it stands")
    subgroup = Many("its parts", SubgroupResponse)

    @classmethod
    def render(cls, _call: Call, rows: Sequence[str]) -> list[Shown]:
        shown = []
        for name in rows:
            precedence, description, parts = GROUPS[name]
            subgroups = [{"name": part, "precedence": number} for number, part in enumerate(parts, 1)]
            shown.append({"name": name, "description": description, "precedence": precedence, "subgroup": subgroups})
        return shown


@command("listConfigurationGroups", ListConfigurationGroups, ConfigurationGroupResponse, roles=ROOT)
def list_configuration_groups(call: Call, keyword: str | None, group: str | None) -> Page:
    """List the groups that settings stand in."""
    names = [name for name in GROUPS if group is None or name.lower() == group.lower()]
    return call.window([name for name in names if not keyword or keyword.lower() in name.lower()])
