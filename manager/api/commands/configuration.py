"""Global settings."""

from __future__ import annotations

from collections.abc import Sequence

from manager import configuration
from manager.api.call import Call
from manager.api.command import ROOT, ListRequest, Page, Request, command
from manager.api.errors import Invalid
from manager.api.fields import Text
from manager.api.response import Bool, Response, Shown, Str
from manager.configuration import SETTINGS, Setting


class ConfigurationResponse(Response):
    object_key = "configuration"
    name = Str("the setting's name")
    value = Str("its value")
    defaultvalue = Str("its value where nobody changed it")
    type = Str("Number, Decimal, Boolean or String")
    description = Str("what it is for")
    category = Str("what it belongs to")
    scope = Str("what it can be set for")
    isdynamic = Bool("whether a change takes effect without a restart")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Setting]) -> list[Shown]:
        stored = configuration.stored_now(call.session)
        return [_describe(row, stored.get(row.name)) for row in rows]


def _describe(setting: Setting, value: str | None) -> Shown:
    default = setting.write(setting.default)
    return {
        "name": setting.name,
        "value": default if value is None else value,
        "defaultvalue": default,
        "type": setting.shown_type,
        "description": setting.description,
        "category": setting.category,
        "scope": setting.scope,
        "isdynamic": True,
    }


class ListConfigurations(ListRequest):
    name = Text("only the setting of this name")
    category = Text("only settings of this category")


class UpdateConfiguration(Request):
    name = Text("the setting's name", required=True)
    value = Text("its new value; the default when absent", max_length=4096)


@command("listConfigurations", ListConfigurations, ConfigurationResponse, roles=ROOT)
def list_configurations(call: Call, keyword: str | None, name: str | None, category: str | None) -> Page:
    """List the global settings and their values."""
    rows = [setting for _, setting in sorted(SETTINGS.items())]
    if name is not None:
        rows = [row for row in rows if row.name == name]
    if category is not None:
        rows = [row for row in rows if row.category.lower() == category.lower()]
    if keyword:
        rows = [row for row in rows if keyword.lower() in row.name]
    return call.window(rows)


@command(
    "updateConfiguration", UpdateConfiguration, ConfigurationResponse, roles=ROOT, event="CONFIGURATION.VALUE.EDIT"
)
def update_configuration(call: Call, name: str, value: str | None) -> Setting:
    """Change a global setting."""
    setting = SETTINGS.get(name)
    if setting is None:
        raise Invalid(f"There is no setting {name}.")
    try:
        return configuration.change(call.session, name, setting.write(setting.default) if value is None else value)
    except ValueError as error:
        raise Invalid(str(error)) from error
