"""Who may see an endpoint service, and what becomes of a connection to it.

Two locks, independent of each other (AWS PrivateLink guide, "Share your services"): the allow list
says who can see the service and ask; acceptance says whether each request needs the provider's yes.
To everybody else the service does not exist: no answer may differ from the one for a name that was
never given, so nothing here tells "forbidden" from "unknown".
"""

import re

from hyperplane.control.ids import root_arn
from hyperplane.control.resources import EndpointService, EndpointState

EVERYBODY = "*"

_PRINCIPAL = re.compile(r"arn:aws:iam::[0-9]{12}:(root|(role|user)/[A-Za-z0-9+=,.@_-]{1,64})", re.ASCII)


def is_principal(text: str) -> bool:
    """Account root, role or user ARN without a path, or `*` (AWS PrivateLink guide, "Manage permissions")."""
    return text == EVERYBODY or _PRINCIPAL.fullmatch(text) is not None


def is_visible(service: EndpointService, account_id: str, caller_arn: str | None = None) -> bool:
    """Whether a caller of an account may see and use a service. Without `caller_arn` the account's root asks.

    The owner needs no entry (our choice: AWS does not say).
    """
    if account_id == service.account_id or EVERYBODY in service.allowed_principals:
        return True
    return bool({root_arn(account_id), caller_arn} & set(service.allowed_principals))


def first_state(service: EndpointService) -> EndpointState:
    """The state in which a new endpoint settles before anybody answers."""
    return EndpointState.PENDING_ACCEPTANCE if service.acceptance_required else EndpointState.AVAILABLE
