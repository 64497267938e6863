"""Looks at routers: hosts are asked now and then what is wrong with those that they run."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from agents.inquiry import CheckRouters
from manager.configuration import value
from manager.db import transaction, write
from manager.models import Host, Router, RouterHealthCheck, WorkflowRow, utcnow
from manager.workflows.engine import Ask, Outcome, Run, Step, StepFailed, Workflow, workflow
from manager.workflows.router import restart_of_router
from network.health import RouterHealth


def ask_host(run: Run) -> list[Ask]:
    host = run.subject(Host)
    return [Ask(host.agent_id, CheckRouters(host.id))]


def ask_about_router(run: Run) -> list[Ask]:
    router = run.subject(Router)
    host = run.session.get(Host, router.host_id) if router.host_id else None
    if host is None or host.state != "Up":
        raise StepFailed(f"The router {router.name} is on no host that is Up, so nobody can look at it.", 534)
    return [Ask(host.agent_id, CheckRouters(host.id, (router.id,)))]


def keep_results(run: Run, answers: list[tuple[RouterHealth, ...]]) -> None:
    """Of the routers that are on the asked host; notes those to make anew.

    A router that fails what it failed at the look before is not made anew again: that did not help.
    """
    told = {health.router_id: health for answer in answers for health in answer}
    host_id = run.row.subject_id if run.row.subject_type == Host.__tablename__ else None
    query = select(Router.id).where(Router.id.in_(told), Router.removed.is_(None))
    if host_id is not None:
        query = query.where(Router.host_id == host_id)
    excluded = _names(run.session, "router.health.checks.to.exclude")
    decisive = _names(run.session, "router.health.checks.failures.to.recreate.vr")
    anew = []
    for router_id in sorted(run.session.scalars(query)):
        failed_before = _replace(run.session, told[router_id], excluded)
        failed = {check.name for check in told[router_id].checks if not check.success} - excluded
        if failed & decisive - failed_before:
            anew.append(router_id)
    run.note(anew=anew)


def _replace(session: Session, health: RouterHealth, excluded: set[str]) -> set[str]:
    """Keep the results in the place of those before; gives the names of those that had failed."""
    mine = RouterHealthCheck.router_id == health.router_id
    failed = set(session.scalars(select(RouterHealthCheck.name).where(mine, RouterHealthCheck.success.is_(False))))
    write(session, delete(RouterHealthCheck).where(mine))
    session.add_all(
        RouterHealthCheck(
            router_id=health.router_id, name=check.name, success=check.success, detail=check.detail, checked=utcnow()
        )
        for check in health.checks
        if check.name not in excluded
    )
    return failed


def _names(session: Session, setting: str) -> set[str]:
    return {name.strip() for name in str(value(session, setting)).split(",")} - {""}


def recreate_failed(run: Run) -> Outcome:
    """Begin to make routers anew, unless another job is at work on what they serve."""
    for router_id in run.recall("anew") or ():
        restart, served = restart_of_router(run.session, run.session.get_one(Router, router_id))
        if run.session.scalar(select(WorkflowRow.id).filter_by(holds=restart.holds(served.id))) is None:
            restart.start(run.session, served, cleanup=True)
    return None


def _checking(name: str, subject: type[Host | Router], ask: Step) -> Workflow:
    return workflow(name, subject, [ask, Step(recreate_failed)], lane="router-health", awaited=True)


check_host = _checking("router.check-host", Host, Step(ask_host, then=keep_results))
check_router = _checking("router.check", Router, Step(ask_about_router, then=keep_results))


def open_check(session: Session, router: Router) -> WorkflowRow | None:
    """The job that looks at this router at the moment."""
    return session.scalar(select(WorkflowRow).filter_by(holds=check_router.holds(router.id)))


def check_all() -> float:
    """Begin to look at the routers of all hosts that have any, unless a look is still under way.

    Gives the seconds until the next look is due.
    """
    with transaction() as session:
        gone = select(Router.id).where(Router.removed.is_not(None))
        write(session, delete(RouterHealthCheck).where(RouterHealthCheck.router_id.in_(gone)))
        pause = 60.0 * float(value(session, "router.health.checks.results.fetch.interval"))
        if not value(session, "router.health.checks.enabled"):
            return pause
        running = select(Router.host_id).where(Router.removed.is_(None), Router.state == "Running")
        hosts = session.scalars(select(Host).where(Host.id.in_(running), Host.state == "Up")).all()
        for host in _idle(session, hosts):
            check_host.start(session, host)
    return pause


def _idle(session: Session, hosts: Iterable[Host]) -> list[Host]:
    by_hold = {check_host.holds(host.id): host for host in hosts}
    busy = set(session.scalars(select(WorkflowRow.holds).where(WorkflowRow.holds.in_(by_hold))))
    return [host for hold, host in sorted(by_hold.items()) if hold not in busy]
