"""The table of API commands, and how one is declared: request, response, access and handler in one place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import marshmallow

from manager.api.fields import Flag, Integer, Parameter, Ref, Text
from manager.api.response import Response, SuccessResponse
from manager.api.wrappers import WRAPPERS
from manager.models import Domain, Project

ROOT = ("Admin",)
ADMINS = ("Admin", "DomainAdmin")
STAFF = ("Admin", "ResourceAdmin", "DomainAdmin")
EVERYONE = ("Admin", "ResourceAdmin", "DomainAdmin", "User")

READS = ("list", "get", "query", "find")


class Request(marshmallow.Schema):
    """Base of the parameters of a command; attributes are named as CloudStack names the parameters."""

    class Meta:
        unknown = marshmallow.EXCLUDE


class ListRequest(Request):
    """Parameters of every list. The core reads `page` and `pagesize`; the handler gets `keyword`."""

    keyword = Text("a part of the name")
    page = Integer("which page, from 1", least=1)
    pagesize = Integer("how many on a page; -1 for all", least=-1)


class CountedListRequest(ListRequest):
    """A list that can be asked how many there are alone; the core applies it."""

    retrieveonlyresourcecount = Flag("only how many there are, without them", default=False)


class IconListRequest(ListRequest):
    """A list of things that can have icons; the core adds them."""

    showicon = Flag("show the icons of those that have one", default=False)


class DomainListRequest(ListRequest):
    """A list of things that belong to accounts: `manager.access.visible` applies these."""

    listall = Flag("list all that the caller may see, not only the caller's own", default=False)
    domainid = Ref(Domain, "list what belongs to this domain", right="use")
    isrecursive = Flag("with domainid: also what belongs to the domains below it", default=False)


class OwnerListRequest(DomainListRequest):
    """A list of what belongs to accounts, and not to projects."""

    account = Text("list what belongs to this account; needs domainid")


class AccountListRequest(OwnerListRequest):
    """A list of what belongs to accounts and projects."""

    projectid = Ref(
        Project,
        "list what belongs to this project; -1 for all projects that the caller takes part in",
        right="read",
        instead="-1",
    )


class OwnedRequest(Request):
    """A command that makes something for an account or a project: `call.owner` is that account."""

    account = Text("the account that shall own it; needs domainid")
    domainid = Ref(Domain, "the domain of the account that shall own it", right="use")
    projectid = Ref(Project, "the project that shall own it", right="use")


@dataclass
class Given:
    """The loaded parameters by name, for handlers of many parameters; one that was not given is its default."""

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class ApiCommand:
    """One command of the API. `shape` is list, object, success or flat; `event` is CloudStack's event type.

    One that `is_open` needs no login; one that `is_early` is possible before the second factor of a login is verified.
    `ahead` of an open command asks others than the database, by the request and the engine, before the transaction.
    """

    name: str
    request: type[Request]
    response: type[Response]
    handler: Callable[..., Any]
    description: str
    is_async: bool = False
    creates: bool = False
    roles: tuple[str, ...] = ROOT
    event: str = ""
    shape: str = "object"
    object_key: str = ""
    is_open: bool = False
    is_early: bool = False
    ahead: Callable[..., Any] | None = None
    rehearses: bool = False
    takes_given: bool = False
    parameters: dict[str, Parameter] = field(default_factory=dict)

    @property
    def wrapper(self) -> str:
        return WRAPPERS.get(self.name, self.name.lower() + "response")

    @property
    def reads(self) -> bool:
        return self.name.startswith(READS)


COMMANDS: dict[str, ApiCommand] = {}
OPEN_COMMANDS: dict[str, ApiCommand] = {}

_TOKEN = Text("with the same token and parameters the call is answered as it was the first time", max_length=128)

DRY_RUN = "dryrun"
_REHEARSAL = Flag("do nothing, and answer with what would change in routers and on hosts, as dryrun", default=False)


def command(  # noqa: PLR0913 - the facts of a command, all by keyword
    name: str,
    request: type[Request],
    response: type[Response],
    *,
    is_async: bool = False,
    creates: bool = False,
    roles: Sequence[str] = ROOT,
    event: str = "",
    shape: str = "",
    object_key: str = "",
    is_open: bool = False,
    is_early: bool = False,
    ahead: Callable[..., Any] | None = None,
    rehearses: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated handler. Its docstring's first paragraph is the command's description.

    `creates` admits a client token, and gives an asynchronous command's answer the new thing's `id`. What `rehearses`
    changes what hosts hold of networks, and can be asked what that would be (manager.api.dry_run).
    """

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        if not handler.__doc__:
            raise TypeError(f"The handler of {name} has no docstring, which describes the command.")
        schema = request()
        parameters: dict[str, Parameter] = {n: f for n, f in schema.fields.items() if isinstance(f, Parameter)}
        if creates:
            parameters["clienttoken"] = _TOKEN
        if rehearses:
            parameters[DRY_RUN] = _REHEARSAL
        declared = ApiCommand(
            name=name,
            request=request,
            response=response,
            handler=handler,
            description=" ".join(inspect.cleandoc(handler.__doc__).split("\n\n")[0].split()),
            is_async=is_async,
            creates=creates,
            roles=tuple(roles),
            event=event,
            shape=shape or _shape(name, response),
            object_key=object_key or response.object_key,
            is_open=is_open,
            is_early=is_early,
            ahead=ahead,
            rehearses=rehearses,
            takes_given="given" in inspect.signature(handler).parameters,
            parameters=parameters,
        )
        COMMANDS[name] = declared
        if is_open:
            OPEN_COMMANDS[name.lower()] = declared
        return handler

    return register


def _shape(name: str, response: type[Response]) -> str:
    if response is SuccessResponse:
        return "success"
    return "list" if name.startswith("list") else "object"


@dataclass(frozen=True)
class Page:
    """Rows of a list, and how many there are over all pages."""

    rows: Sequence[Any]
    count: int


__all__ = [
    "ADMINS", "COMMANDS", "EVERYONE", "ROOT", "STAFF", "AccountListRequest", "ApiCommand", "CountedListRequest",
    "DomainListRequest", "Given", "IconListRequest", "ListRequest", "OwnedRequest", "OwnerListRequest", "Page",
    "Request", "Response", "SuccessResponse", "command",
]  # fmt: skip
