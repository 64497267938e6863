"""Workflows of projects: suspend one, delete one."""

from __future__ import annotations

from sqlalchemy import delete

from manager.db import write
from manager.models import Account, Project, ProjectInvitation, ProjectMember
from manager.models.states import PROJECT_MOVES
from manager.placement import limits
from manager.workflows.belongings import remove_all, stop_all
from manager.workflows.engine import Outcome, Run, Step, workflow


def project_of(run: Run) -> Project:
    project: Project = run.subject(Project)
    return project


def begin_suspending(run: Run) -> Outcome:
    PROJECT_MOVES.move(project_of(run), "suspend")
    return None


def stop_vms(run: Run) -> Outcome:
    return stop_all(run, project_of(run).account_id)


suspend_project = workflow(
    "project.suspend",
    Project,
    [
        Step(begin_suspending),  # no undo: that a VM could not be stopped is no reason to let new ones in
        Step(stop_vms),
    ],
)


def begin_deleting(run: Run) -> Outcome:
    PROJECT_MOVES.move(project_of(run), "delete")
    return None


def remove_belongings(run: Run) -> Outcome:
    return remove_all(run, project_of(run).account_id)


def mark_deleted(run: Run) -> Outcome:
    """Remove the project, its account, and who takes part; the owner's count goes down with it."""
    project = project_of(run)
    if project.removed is not None:
        return None
    for model in (ProjectMember, ProjectInvitation):
        write(run.session, delete(model).where(model.project_id == project.id))
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
        Step(remove_belongings),
        Step(mark_deleted),
    ],
)
