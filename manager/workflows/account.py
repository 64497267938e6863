"""Workflows of accounts: their VMs are stopped when they are disabled, and all they hold goes when they are deleted."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from manager.db import write
from manager.models import (
    Account,
    ApiKey,
    LoginSession,
    Project,
    ProjectInvitation,
    ProjectMember,
    ResourceLimit,
    ResourceUse,
    SecondFactor,
    User,
    WorkflowRow,
)
from manager.workflows.clearing import FORGOTTEN, ROWS, STOPPING, WAYS, demand_cleared, end_all, forget
from manager.workflows.engine import Outcome, Run, Step, workflow
from manager.workflows.project import delete_project

PEOPLE_AND_ROWS: tuple[type[Any], ...] = (User, *ROWS)
OWN_ROWS: tuple[type[Any], ...] = (ResourceLimit, ProjectMember, ProjectInvitation)


def end_sessions(session: Session, accounts: ColumnElement[bool]) -> None:
    """End the login sessions of all users of the accounts that meet the condition."""
    users = select(User.id).join(Account, Account.id == User.account_id).where(accounts)
    write(session, delete(LoginSession).where(LoginSession.user_id.in_(users)))


def account_of(run: Run) -> Account:
    account: Account = run.subject(Account)
    return account


def shut_out(run: Run) -> Outcome:
    """Nobody enters any more. No undo: the account stays disabled, and says so, until an administrator enables it."""
    account = account_of(run)
    account.state = "disabled"
    end_sessions(run.session, Account.id == account.id)
    return None


disable_account = workflow("account.disable", Account, [Step(shut_out), STOPPING.step()])


def begin_deleting(run: Run) -> Outcome:
    """No undo: where the deletion fails, the account stays disabled and shows that it is to be cleaned up."""
    shut_out(run)
    account_of(run).cleanup_needed = True
    return None


def remove_projects(run: Run) -> Outcome:
    """A project ends with the account that owns it; who is to go on with it makes another account its owner first."""
    mine = select(Project).where(Project.owner_id == run.row.subject_id, Project.removed.is_(None))
    projects = list(run.session.scalars(mine.order_by(Project.created, Project.id)))
    return end_all(run, remove_projects.__name__, _delete_project, projects)


def _delete_project(session: Session, project: Project) -> WorkflowRow:
    return delete_project.start(session, project, awaited=True)


def remove_account(run: Run) -> Outcome:
    """Remove the account with its users, keys and tags, once nothing else is left.

    Whoever still claims something for the account has done so before its counter is deleted here, or cannot any more.
    """
    session, account = run.session, account_of(run)
    if account.removed is not None:
        return None
    write(session, delete(ResourceUse).where(ResourceUse.account_id == account.id))
    demand_cleared(session, account.id, PEOPLE_AND_ROWS)
    users = select(User.id).where(User.account_id == account.id)
    for model in (ApiKey, SecondFactor):
        write(session, delete(model).where(model.user_id.in_(users)))
    end_sessions(session, Account.id == account.id)
    forget(session, account.id, PEOPLE_AND_ROWS, (*FORGOTTEN, *OWN_ROWS))
    account.state, account.cleanup_needed = "removed", False
    account.remove()
    return None


delete_account = workflow(
    "account.delete",
    Account,
    [Step(begin_deleting), Step(remove_projects), *(way.step() for way in WAYS), Step(remove_account)],
)
