"""The examples of the API's pages are what really is asked and answered, and every command has one."""

from __future__ import annotations

import pytest

from manager.api.command import COMMANDS
from tests.examples import runner, shapes
from tests.examples.world import make

WITHOUT_EXAMPLE: dict[str, str] = {}
"""Commands that no scenario can show, and why."""


@pytest.mark.parametrize("file", runner.scenarios(), ids=lambda file: file.stem)
def test_examples_are_what_is_answered(file, engine, tmp_path):
    """After a change of an answer: ./dev docs."""
    found = runner.run(file, make(engine, tmp_path))
    for new, old in zip(found, runner.stored(file), strict=True):
        assert new == old, f"{new['command']} answers otherwise than its page shows"
    assert [fault for example in found for fault in shapes.wrong(example)] == []


FAILING = """
- {command: updateHost, setup: true, with: {id: $host, allocationstate: Disable}}
- command: deployVirtualMachine
  by: tenant
  with: {zoneid: $zone, serviceofferingid: $offering, templateid: $template, networkids: $network}
"""


def test_a_job_that_fails_is_an_example_only_where_the_scenario_says_so(engine, tmp_path):
    scenario, world = tmp_path / "failing.yaml", make(engine, tmp_path)
    scenario.write_text(FAILING)
    with pytest.raises(ValueError, match=r"The job of deployVirtualMachine is 2, not 1: .*No host of zone"):
        runner.run(scenario, world)
    scenario.write_text(f"{FAILING}  fails: true\n")
    (example,) = runner.run(scenario, world)
    assert example["result"]["errorcode"] == 533


def test_the_result_of_a_job_is_what_its_caller_is_shown():
    """A tenant's does not tell the host."""
    (example, *_) = [
        example for file in runner.scenarios() for example in runner.stored(file)
        if (example["command"], example["by"]) == ("deployVirtualMachine", "tenant")
    ]  # fmt: skip
    assert "hostname" not in example["result"]["virtualmachine"]


def test_every_command_has_an_example():
    """A new command gets a step in a scenario of api_docs/examples."""
    assert runner.without_example() - set(WITHOUT_EXAMPLE) == set()
    assert set(WITHOUT_EXAMPLE) & runner.shown() == set(), "it has an example by now"
    assert runner.shown() - set(COMMANDS) == set(), "examples of commands that are gone"


def test_there_are_no_answers_without_a_scenario():
    names = {runner.answers_of(file).name for file in runner.scenarios()}
    assert {file.name for file in runner.FOLDER.glob("*.json")} == names
