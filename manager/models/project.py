"""Projects: things that several accounts own together, who takes part in them, and what each may do there."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from manager.models.base import ID, STATE, Base, Entity, new_id, utcnow

ADMIN, REGULAR = "Admin", "Regular"
EVERY_USER = ""


class Project(Entity, Base):
    """A project. `account_id` is the account that owns its things; `owner_id` the account whose limit it counts in."""

    __tablename__ = "projects"

    name: Mapped[str]
    display_text: Mapped[str] = mapped_column(default="")
    domain_id: Mapped[str] = mapped_column(ForeignKey("domains.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), unique=True)
    owner_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    state: Mapped[str] = mapped_column(STATE, default="Active")


class ProjectRole(Entity, Base):
    """A named list of rules, for members of one project."""

    __tablename__ = "project_roles"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(default="")


class ProjectRolePermission(Base):
    """A rule of a project role: `permission` (allow or deny) of commands like `rule` (letters and *).

    The first by `position` that matches decides; what none matches is denied.
    """

    __tablename__ = "project_role_permissions"
    __table_args__ = (UniqueConstraint("role_id", "rule"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    role_id: Mapped[str] = mapped_column(ForeignKey("project_roles.id"))
    rule: Mapped[str]
    permission: Mapped[str] = mapped_column(STATE)
    description: Mapped[str] = mapped_column(default="")
    position: Mapped[int] = mapped_column(default=0)


class Part:
    """An account's part in a project, or with `user_id` (else '') one user's, which then counts for that user alone.

    `role` is Admin or Regular. A regular member with a project role may only do what that allows.
    """

    @declared_attr.directive
    def __table_args__(cls) -> tuple[UniqueConstraint]:  # noqa: N805 - a class method to SQLAlchemy
        return (UniqueConstraint("project_id", "account_id", "user_id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id"), index=True)
    user_id: Mapped[str] = mapped_column(ID, default=EVERY_USER)
    role: Mapped[str] = mapped_column(STATE, default=REGULAR)
    project_role_id: Mapped[str | None] = mapped_column(ForeignKey("project_roles.id"), index=True)
    created: Mapped[dt.datetime] = mapped_column(default=utcnow)


class ProjectMember(Part, Base):
    __tablename__ = "project_members"


class ProjectInvitation(Part, Base):
    """Somebody is asked to take part. `state`: Pending (until `expires`), Completed or Declined.

    One invitation a project and invited is kept; asking again renews it.
    """

    __tablename__ = "project_invitations"

    state: Mapped[str] = mapped_column(STATE, default="Pending")
    expires: Mapped[dt.datetime]
