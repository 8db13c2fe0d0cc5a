"""The allow list, and the state in which a connection begins."""

import pytest

from hyperplane.control.permissions import first_state, is_principal, is_visible
from hyperplane.control.resources import EndpointService, EndpointState

OWNER, FRIEND, STRANGER = "999999999999", "111111111111", "444444444444"
ROLE = f"arn:aws:iam::{FRIEND}:role/deployer"


def service(*principals: str, acceptance_required: bool = False) -> EndpointService:
    return EndpointService("vpce-svc-1", "orders", OWNER, ("net/orders/1",), acceptance_required, principals)


@pytest.mark.parametrize(
    ("principals", "account_id", "caller_arn", "visible"),
    [
        ((), OWNER, None, True),
        ((), FRIEND, None, False),
        ((f"arn:aws:iam::{FRIEND}:root",), FRIEND, None, True),
        ((f"arn:aws:iam::{FRIEND}:root",), FRIEND, ROLE, True),
        ((f"arn:aws:iam::{FRIEND}:root",), STRANGER, None, False),
        ((ROLE,), FRIEND, None, False),
        ((ROLE,), FRIEND, ROLE, True),
        ((ROLE,), FRIEND, f"arn:aws:iam::{FRIEND}:role/other", False),
        (("*",), STRANGER, None, True),
    ],
)
def test_who_sees_a_service(
    principals: tuple[str, ...], account_id: str, caller_arn: str | None, visible: bool
) -> None:
    assert is_visible(service(*principals), account_id, caller_arn) is visible


@pytest.mark.parametrize("text", ["*", ROLE, f"arn:aws:iam::{FRIEND}:user/ann", f"arn:aws:iam::{FRIEND}:root"])
def test_principals(text: str) -> None:
    assert is_principal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        FRIEND,
        f"arn:aws:iam::{FRIEND}:role/path/deployer",
        f"arn:aws:iam::{FRIEND}:group/all",
        "arn:aws:iam::*:root",
        f"arn:aws:iam::{FRIEND}:root\n",
        f"arn:aws:sts::{FRIEND}:root",
    ],
)
def test_other_texts_are_no_principals(text: str) -> None:
    """AWS: ARNs with a path are not supported."""
    assert not is_principal(text)


def test_acceptance_gates_the_connection() -> None:
    assert first_state(service(acceptance_required=True)) is EndpointState.PENDING_ACCEPTANCE
    assert first_state(service(acceptance_required=False)) is EndpointState.AVAILABLE
