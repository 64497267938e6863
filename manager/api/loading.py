"""From the text of a request to a handler's arguments: types, identifiers as entities, the part of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import marshmallow
from sqlalchemy import select

from manager import access, configuration
from manager.api.call import Call
from manager.api.command import (
    AccountListRequest,
    ApiCommand,
    CountedListRequest,
    DomainListRequest,
    Given,
    IconListRequest,
    ListRequest,
    OwnedRequest,
    OwnerListRequest,
)
from manager.api.errors import CS_OTHER, PARAMETER, ApiError, Denied, Invalid, bad_value, missing
from manager.api.fields import BadParameter, ListOf, Parameter, Ref, Reference
from manager.models import Account, Region

FEWEST_TOGETHER = 2


def load(call: Call, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The handler's arguments. What the core applies itself (page, scope, owner) goes into `call` instead.

    :raises ApiError: a parameter is missing, of the wrong type, or names what the caller cannot reach
    """
    api = call.api
    _demand(api, call, parameters)
    try:
        loaded: dict[str, Any] = _schema(api).load(parameters)
    except BadParameter as bad:
        raise bad_value(api.name, bad.name, bad.reason) from bad
    except marshmallow.ValidationError as error:
        raise Invalid(_sentence(error)) from error
    known = _together(call, loaded)
    for name, value in loaded.items():
        loaded[name] = known[name] if name in known else _resolved(call, name, value)
    schema = api.request
    if issubclass(schema, ListRequest):
        _take_page(call, loaded)
    if issubclass(schema, DomainListRequest):
        _take_scope(call, loaded, parameters)
    elif issubclass(schema, OwnedRequest):
        call.named_owner = _owner(call, loaded)
        _demand_enabled(call)
    return loaded


def _owner(call: Call, loaded: dict[str, Any]) -> Account:
    """The account that the caller acts for: a project's, the one named, or its own."""
    name, domain, project = loaded.pop("account"), loaded.pop("domainid"), loaded.pop("projectid")
    call.named_domain = domain
    if project is None:
        return access.owner(call, name, domain)
    if name is not None:
        raise Invalid("Account and projectId can't be specified together.")
    access.demand_active(call, project)
    return call.session.get_one(Account, project.account_id)


def _demand_enabled(call: Call) -> None:
    if call.api.creates and call.owner.state == "disabled":
        raise Denied(f"The account {call.owner.name} is disabled; nothing is made for it.")


_schemas: dict[type[marshmallow.Schema], marshmallow.Schema] = {}


def _schema(api: ApiCommand) -> marshmallow.Schema:
    if api.request not in _schemas:
        _schemas[api.request] = api.request()
    return _schemas[api.request]


def _demand(api: ApiCommand, call: Call, parameters: Mapping[str, Any]) -> None:
    for name, parameter in api.parameters.items():
        if name in parameters:
            if parameters[name] == "" and parameter.required:
                raise ApiError(PARAMETER, f"Invalid value provided for API arg: {name}", CS_OTHER)
            if parameter.roles and call.role.type not in parameter.roles:
                raise Denied(f"The parameter {name} of {api.name} is not for the role {call.role.name}.")
        elif parameter.required:
            raise missing(api.name, name)


def _sentence(error: marshmallow.ValidationError) -> str:
    messages: Any = error.messages
    while isinstance(messages, dict):
        messages = next(iter(messages.values()))
    return str(messages[0] if isinstance(messages, list) else messages)


def _right(call: Call, name: str, given: str) -> str:
    if given:
        return given
    if call.api.reads:
        return access.READ
    return access.MANAGE if name in ("id", "ids") else access.USE


def _resolved(call: Call, name: str, value: Any) -> Any:
    """The entity, or entities, that `value` refers to; other values as they are."""
    parameter: Parameter | None = call.api.parameters.get(name)
    if isinstance(value, Reference) and isinstance(parameter, Ref):
        return access.entity(call, parameter.model, name, value.value, _right(call, name, parameter.right))
    if isinstance(value, list) and isinstance(parameter, ListOf) and isinstance(parameter.inner, Ref):
        inner = parameter.inner
        values = [reference.value for reference in value]
        return access.entities(call, inner.model, name, values, _right(call, name, inner.right))
    return value


def _together(call: Call, loaded: dict[str, Any]) -> dict[str, Any]:
    """The living entities that `loaded` refers to, one of a table, in one statement; a list of one counts as well.

    Nothing where there are less than two, or where one is missing: asked for one by one, they tell which.
    """
    wanted: dict[type[Any], tuple[str, str, str]] = {}
    for name, value in loaded.items():
        parameter = call.api.parameters.get(name)
        inner = parameter.inner if isinstance(parameter, ListOf) else parameter
        one = value[0] if isinstance(value, list) and len(value) == 1 else value
        if not isinstance(one, Reference) or not isinstance(inner, Ref):
            continue
        if inner.model.__tablename__ not in {model.__tablename__ for model in wanted}:
            wanted[inner.model] = (name, one.value, _right(call, name, inner.right))
    if len(wanted) < FEWEST_TOGETHER or Region in wanted:
        return {}
    first, *others = wanted
    query = select(*wanted).select_from(first)
    for model in others:
        query = query.join(model, model.id != first.id)  # true of any two: ids are UUIDs
    for model, (_, value, right) in wanted.items():
        query = query.where(model.id == value, access.reach(call, model, right))
    row = call.session.execute(query).first()
    if row is None or any(getattr(thing, "removed", None) is not None for thing in row):
        return {}
    found = {name: thing for (name, _, _), thing in zip(wanted.values(), row, strict=True)}
    return {name: [thing] if isinstance(loaded[name], list) else thing for name, thing in found.items()}


def _take_page(call: Call, loaded: dict[str, Any]) -> None:
    call.page, call.page_size = loaded.pop("page"), loaded.pop("pagesize")
    if issubclass(call.api.request, CountedListRequest):
        call.only_count = loaded.pop("retrieveonlyresourcecount")
    if issubclass(call.api.request, IconListRequest):
        call.shows_icons = loaded.pop("showicon")
    if call.page is not None and call.page_size is None:
        raise Invalid('"pagesize" parameter is required when "page" is specified')
    if call.page is None and call.page_size not in (None, -1):
        raise Invalid('"page" parameter is required when "pagesize" is specified')
    if call.page is not None and call.page_size == -1:
        raise Invalid('"page" parameter is not possible when "pagesize" is -1')
    if call.page_size == 0:
        raise Invalid("The page size is at least 1.")
    if call.page_size is not None and call.page_size > (most := configuration.value(call.session, "default.page.size")):
        raise Invalid(f"Page size can't exceed max allowed page size value: {most}")


def _take_scope(call: Call, loaded: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    account = None
    name = loaded.pop("account") if issubclass(call.api.request, OwnerListRequest) else None
    domain = loaded.pop("domainid")
    project = loaded.pop("projectid") if issubclass(call.api.request, AccountListRequest) else None
    if name is not None and project is not None:
        raise Invalid("Account and projectId can't be specified together.")
    if name is not None:
        account = access.owner(call, name, domain)
    call.scope = access.Scope(
        listall=loaded.pop("listall"),
        domain=domain,
        recursive=loaded.pop("isrecursive"),
        account=account,
        by_id="id" in parameters or "ids" in parameters,
        project=project,
    )


def given(arguments: dict[str, Any]) -> Given:
    return Given(arguments)
