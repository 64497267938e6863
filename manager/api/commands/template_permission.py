"""Who may use a template: everyone, or single accounts of its owner's domain."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select

from manager.api.call import Call
from manager.api.command import EVERYONE, Given, Request, command
from manager.api.commands.template import check_flags
from manager.api.errors import Invalid
from manager.api.fields import Choice, Flag, ListOf, Ref, Text
from manager.api.response import Bool, Many, Response, Shown, Str, SuccessResponse
from manager.db import write
from manager.models import Account, Project, Template, TemplateShare

OPERATIONS = ("add", "remove", "reset")


class UpdateTemplatePermissions(Request):
    id = Ref(Template, "the template", required=True)
    ispublic = Flag("whether everyone may use it")
    isfeatured = Flag("whether it is shown first; for root administrators")
    isextractable = Flag("whether it may be downloaded")
    op = Choice("add or remove accounts, or reset: none and not public", OPERATIONS)
    accounts = ListOf(Text(""), "the names of accounts of the owner's domain, for add and remove")
    projectids = ListOf(Ref(Project, "", right="use"), "projects, for add and remove")


@command(
    "updateTemplatePermissions",
    UpdateTemplatePermissions,
    SuccessResponse,
    roles=EVERYONE,
    event="TEMPLATE.UPDATE",
)
def update_template_permissions(call: Call, given: Given) -> bool:
    """Change who may use a template. Virtual machines that were deployed of it stay."""
    template: Template = given.id
    check_flags(call, given.isfeatured)
    if bool(given.accounts or given.projectids) != (given.op in ("add", "remove")):
        raise Invalid("The parameters accounts and projectids go with op=add or op=remove, and these with them.")
    if given.op == "reset":
        template.is_public = template.is_featured = False
        write(call.session, delete(TemplateShare).where(TemplateShare.template_id == template.id))
    for name, value in (
        ("is_public", given.ispublic),
        ("is_featured", given.isfeatured),
        ("is_extractable", given.isextractable),
    ):
        if value is not None:
            setattr(template, name, value)
    if given.accounts or given.projectids:
        ids = _accounts(call, template, given.accounts or [])
        ids |= {project.account_id for project in given.projectids or ()}
        _share(call, template, ids - {template.account_id}, wanted=given.op == "add")
    call.flush(taken=f"Another call shares the template {template.name} at this moment; try again.")
    return True


def _accounts(call: Call, template: Template, names: list[str]) -> set[str]:
    """The ids of these accounts.

    :raises Invalid: the owner's domain has no account of such a name
    """
    domain = select(Account.domain_id).where(Account.id == template.account_id).scalar_subquery()
    query = select(Account).where(Account.domain_id == domain, Account.name.in_(names), Account.removed.is_(None))
    found = {account.name: account.id for account in call.session.scalars(query)}
    for name in names:
        if name not in found:
            raise Invalid(f"The domain of the template {template.name} has no account {name}.")
    return set(found.values())


def _share(call: Call, template: Template, ids: set[str], *, wanted: bool) -> None:
    here = TemplateShare.template_id == template.id
    if not wanted:
        write(call.session, delete(TemplateShare).where(here, TemplateShare.account_id.in_(ids)))
        return
    known = set(call.session.scalars(select(TemplateShare.account_id).where(here)))
    call.session.add_all(TemplateShare(template_id=template.id, account_id=one) for one in sorted(ids - known))


class TemplatePermissionResponse(Response):
    object_key = "templatepermission"
    id = Str("the template's id")
    ispublic = Bool("whether everyone may use it")
    domainid = Str("the id of the owner's domain")
    account = Many("the names of the accounts that may use it besides the owner")
    projectids = Many("the ids of the projects that may use it")

    @classmethod
    def render(cls, call: Call, rows: Sequence[Template]) -> list[Shown]:
        ids = [row.id for row in rows]
        domains = select(Account.id, Account.domain_id).where(Account.id.in_({row.account_id for row in rows}))
        domain_of = {row.id: row.domain_id for row in call.session.execute(domains)}
        query = (
            select(TemplateShare.template_id, Account.name, Project.id)
            .join(Account, Account.id == TemplateShare.account_id)
            .outerjoin(Project, Project.account_id == Account.id)
            .where(TemplateShare.template_id.in_(ids), Account.removed.is_(None))
            .order_by(Account.name)
        )
        names: dict[str, list[str]] = {one: [] for one in ids}
        projects: dict[str, list[str]] = {one: [] for one in ids}
        for template_id, name, project_id in call.session.execute(query):
            if project_id is None:
                names[template_id].append(name)
            else:
                projects[template_id].append(project_id)
        return [
            {
                "id": row.id,
                "ispublic": row.is_public,
                "domainid": domain_of[row.account_id],
                "account": names[row.id],
                "projectids": projects[row.id],
            }
            for row in rows
        ]


class ListTemplatePermissions(Request):
    id = Ref(Template, "the template", required=True, right="manage")


@command(
    "listTemplatePermissions",
    ListTemplatePermissions,
    TemplatePermissionResponse,
    roles=EVERYONE,
    shape="object",
)
def list_template_permissions(call: Call, id: Template) -> Template:  # noqa: ARG001 - handlers get the call
    """Tell who may use a template, to those who manage it."""
    return id
