"""A client of the API that costs little: it signs by itself and keeps one connection."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import time
from typing import Any
from urllib.parse import quote

from devcloud.management import Keys

PAUSE = 0.05
IDLE_SECONDS = 1.0


class Refused(Exception):  # noqa: N818 - it names what happened
    """The API refused a call; the message is its error text, and `code` its status."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Client:
    """Users on one connection; not for several threads. `keys` are those of the user that signs now."""

    def __init__(self, port: int, keys: Keys) -> None:
        self.keys = keys
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._used = 0.0

    def __call__(self, command: str, /, **parameters: Any) -> Any:
        """What stands under the wrapper of the answer. :raises Refused: it is an error"""
        given = {"command": command, "response": "json", "apiKey": self.keys.apikey, **parameters}
        query = "&".join(f"{name}={quote(str(given[name]), safe='*')}" for name in sorted(given))
        digest = hmac.new(self.keys.secretkey.encode(), query.lower().encode(), hashlib.sha1).digest()
        signature = quote(base64.b64encode(digest).decode(), safe="")
        if time.monotonic() - self._used > IDLE_SECONDS:  # the server closes idle connections
            self._connection.close()
        self._connection.request("GET", f"/client/api?{query}&signature={signature}")
        self._used = time.monotonic()
        response = self._connection.getresponse()
        ((_, content),) = json.loads(response.read()).items()
        if response.status != http.client.OK:
            raise Refused(f"{command}: {content.get('errortext')}", response.status)
        return content

    def close(self) -> None:
        self._connection.close()

    def wait(self, command: str, /, **parameters: Any) -> Any:
        """The result of the job that `command` starts. :raises Refused: it failed"""
        return self.result(self(command, **parameters)["jobid"])

    def result(self, job: str) -> Any:
        """What the job came to. :raises Refused: it failed"""
        while True:
            answer = self("queryAsyncJobResult", jobid=job)
            if answer["jobstatus"] == 1:
                return answer["jobresult"]
            if answer["jobstatus"]:
                raise Refused(f"{answer['cmd']}: {answer['jobresult']}")
            time.sleep(PAUSE)
