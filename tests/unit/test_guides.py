"""What the guides tell to run does run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

from werkzeug.serving import make_server

GUIDES = Path(__file__).parents[2] / "api_docs" / "guides"


def test_signing_by_hand(api, admin):
    part = (GUIDES / "clients.md").read_text().partition("## Signing by hand")[2]
    script = re.search(r"```python\n(.*?)```", part, re.DOTALL)[1]
    server = make_server("127.0.0.1", 0, api.app)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        variables = {
            "CLOUDSTACK_ENDPOINT": f"http://127.0.0.1:{server.port}/client/api",
            "CLOUDSTACK_KEY": admin.key, "CLOUDSTACK_SECRET": admin.secret,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script], env=os.environ | variables, capture_output=True, text=True, check=False
        )
    finally:
        server.shutdown()
        server.server_close()
    assert (done.returncode, json.loads(done.stdout)) == (0, {"listzonesresponse": {}}), done.stderr
