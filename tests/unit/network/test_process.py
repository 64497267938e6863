from __future__ import annotations

import pytest

from network.errors import CommandFailedError, CommandTimeoutError
from network.process import run


def test_output_and_input():
    assert run(["cat"], stdin="text") == "text"
    assert run(["false"], ok=(0, 1)) == ""


def test_failures_name_the_command_and_say_whether_to_try_again():
    with pytest.raises(CommandFailedError, match=r"ls /missing.*No such file") as refused:
        run(["ls", "/missing"])
    with pytest.raises(CommandTimeoutError) as slow:
        run(["sleep", "5"], timeout=0.05)
    with pytest.raises(CommandFailedError, match="cannot be started"):
        run(["/missing/tool"])
    assert (refused.value.retryable, slow.value.retryable) == (False, True)
