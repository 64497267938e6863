"""The user data of a virtual machine: what is asked for, checked, and put together with its template's."""

from __future__ import annotations

import base64
import re
from email import message_from_bytes
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given
from manager.api.errors import Invalid
from manager.api.fields import MapOf, Ref, Text
from manager.models import Template, UserData, Vm

MOST_BY_GET = 4096
ALLOW, APPEND, DENY = "ALLOWOVERRIDE", "APPEND", "DENYOVERRIDE"
POLICIES = (ALLOW, APPEND, DENY)
KINDS = {
    "#cloud-config": "cloud-config", "#!": "x-shellscript", "#include": "x-include-url",
    "#cloud-boothook": "cloud-boothook", "#part-handler": "part-handler", "## template: jinja": "jinja2",
}  # fmt: skip
BOUNDARY = "==pileus-user-data=="
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")


def text_field(description: str) -> Text:
    """The parameter userdata; its limit is the setting's, once it is decoded."""
    return Text(description, max_length=2**21, lines=True)


def id_field() -> Ref:
    return Ref(UserData, "registered user data, in place of userdata")


def details_field() -> MapOf:
    return MapOf("values of the user data's parameters, which the guest finds among its metadata")


def checked_user_data(call: Call, text: str | None) -> str:
    """User data as it is stored: base64 without line breaks.

    :raises Invalid: it is not base64, or too long
    """
    if not text:
        return ""
    packed = "".join(text.split())
    try:
        length = len(base64.b64decode(packed, validate=True))
    except ValueError:
        raise Invalid("The user data is not base64.") from None
    if call.by_get and length > MOST_BY_GET:
        raise Invalid(f"The user data has {length} bytes; at most {MOST_BY_GET} are possible by GET. Send it by POST.")
    _demand_length(call, length)
    return packed


def _demand_length(call: Call, length: int) -> None:
    most = configuration.value(call.session, "vm.userdata.max.length")
    if length > most:
        raise Invalid(f"The user data has {length} bytes; at most {most} are possible.")


def take_user_data(call: Call, vm: Vm, template: Template, given: Given) -> None:
    """Give the VM the user data of the parameters userdata, userdataid and userdatadetails, and of its template.

    :raises Invalid: they do not go together, or the template's policy stands against them
    """
    own = _own(call, given)
    linked = call.session.get(UserData, template.user_data_id) if template.user_data_id else None
    if linked is None:
        vm.user_data = own
    else:
        vm.user_data = _with_linked(call, template, linked, own)
    from_template = linked is not None and (not own or template.user_data_policy == APPEND)
    vm.user_data_id = given.userdataid.id if given.userdataid else template.user_data_id if from_template else None
    vm.user_data_details = checked_details(given.userdatadetails)


def change_user_data(call: Call, vm: Vm, given: Given) -> None:
    """As `take_user_data`, for a VM that is there: what is not given stays. It is told at the next start."""
    if given.userdata is not None or given.userdataid is not None:
        details = vm.user_data_details
        take_user_data(call, vm, call.session.get_one(Template, vm.template_id), given)
        if given.userdatadetails is None:
            vm.user_data_details = details
    elif given.userdatadetails is not None:
        vm.user_data_details = checked_details(given.userdatadetails)


def _own(call: Call, given: Given) -> str:
    registered: UserData | None = given.userdataid
    if registered is None:
        return checked_user_data(call, given.userdata)
    if given.userdata:
        raise Invalid("The parameters userdata and userdataid exclude each other.")
    return registered.content


def _with_linked(call: Call, template: Template, linked: UserData, own: str) -> str:
    if not own:
        return linked.content
    if template.user_data_policy == DENY:
        raise Invalid(f"The template {template.name} has user data and admits no other.")
    if template.user_data_policy != APPEND:
        return own
    joined = combined(linked.content, own)
    _demand_length(call, len(base64.b64decode(joined)))
    return joined


def checked_details(details: dict[str, str] | None) -> dict[str, str] | None:
    """:raises Invalid: a name among them is none that metadata can have"""
    for name in details or {}:
        if not _NAME.fullmatch(name):
            raise Invalid(f"The user data detail {name} is not a name of letters, digits, dots, hyphens, underscores.")
    return details or None


def combined(first: str, second: str) -> str:
    """Two user data, each base64, as one MIME message of their parts, in base64; the same at every call.

    :raises Invalid: cloud-init would not know what one of them is
    Source: cloud-init, User-Data Formats, MIME multi-part archive.
    """
    whole = MIMEMultipart(boundary=BOUNDARY)
    for packed in (first, second):
        for part in _parts(base64.b64decode(packed)):
            whole.attach(part)
    return base64.b64encode(whole.as_bytes()).decode()


def _parts(content: bytes) -> list[Message]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Invalid("User data is appended to the template's only where both are text.") from None
    head = text.lstrip().lower()
    if head.startswith(("content-type: multipart/", "mime-version:")):
        found = message_from_bytes(content)
        return [part for part in found.walk() if not part.is_multipart()]
    kind = next((kind for mark, kind in KINDS.items() if head.startswith(mark)), None)
    if kind is None:
        raise Invalid(
            "User data is appended to the template's only where the first line of both tells what they are, "
            f"by one of {', '.join(KINDS)}."
        )
    return [MIMEText(text, kind, "utf-8")]
