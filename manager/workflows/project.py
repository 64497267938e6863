"""Workflows of projects: suspend one, delete one."""

from __future__ import annotations

from sqlalchemy import delete

from manager.db import write
from manager.models import Account, Project, ProjectInvitation, ProjectMember
from manager.models.states import PROJECT_MOVES
from manager.placement import limits
from manager.workflows.clearing import FORGOTTEN, ROWS, STOPPING, WAYS, demand_cleared, forget
from manager.workflows.engine import Outcome, Run, Step, workflow


def project_of(run: Run) -> Project:
    project: Project = run.subject(Project)
    return project


def account_of(run: Run) -> str:
    return project_of(run).account_id


def begin_suspending(run: Run) -> Outcome:
    PROJECT_MOVES.move(project_of(run), "suspend")
    return None


suspend_project = workflow(
    "project.suspend",
    Project,
    [
        Step(begin_suspending),  # no undo: that a VM could not be stopped is no reason to let new ones in
        STOPPING.step(account_of),
    ],
)


def begin_deleting(run: Run) -> Outcome:
    PROJECT_MOVES.move(project_of(run), "delete")
    return None


def mark_deleted(run: Run) -> Outcome:
    """Remove the project, its account, and who takes part; the owner's count goes down with it."""
    project = project_of(run)
    if project.removed is not None:
        return None
    for model in (ProjectMember, ProjectInvitation):
        write(run.session, delete(model).where(model.project_id == project.id))
    demand_cleared(run.session, project.account_id, (*ROWS, Project))
    forget(run.session, project.account_id, ROWS, FORGOTTEN)
    project.remove()
    run.session.get_one(Account, project.account_id).remove()
    run.session.flush()
    limits.release(run.session, project.owner_id, projects=1)
    return None


delete_project = workflow(
    "project.delete",
    Project,
    [
        Step(begin_deleting),  # no undo: a project whose things were begun to be removed takes no new ones
        *(way.step(account_of) for way in WAYS),
        Step(mark_deleted),
    ],
)
