"""Ids and names have AWS's forms and never change for the same thing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperplane.control import ids
from hyperplane.control.ids import Prefix

REGION, ACCOUNT = "us-east-2", "999999999999"


@given(st.sampled_from(Prefix), st.lists(st.text(), min_size=1, max_size=3))
def test_derived_ids_have_the_form(prefix: Prefix, names: list[str]) -> None:
    made = ids.ec2_id(prefix, *names)
    assert ids.is_ec2_id(prefix, made)
    assert len(made) == len(prefix.value) + 1 + 17
    assert made == ids.ec2_id(prefix, *names)
    assert made != ids.ec2_id(prefix, *names, "more")


def test_pinned() -> None:
    """A change would give every lab new ids, and its running flows to nobody."""
    assert ids.ec2_id(Prefix.ENDPOINT, "vpc-1", "orders-a") == "vpce-a3f1abc7b06689ae3"
    assert ids.load_balancer_id(REGION, ACCOUNT, "orders") == "net/orders/e51f9296a45bd7f9"
    assert ids.target_group_id(REGION, ACCOUNT, "orders") == "targetgroup/orders/e88c9af1f793225a"


def test_prefixes_do_not_share_digits() -> None:
    assert len({ids.ec2_id(prefix, "x").rpartition("-")[2] for prefix in Prefix}) == len(Prefix)


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (Prefix.ENDPOINT, "vpce-0123456789abcdef"),
        (Prefix.ENDPOINT, "vpce-0123456789abcdef01"),
        (Prefix.ENDPOINT, "vpce-svc-0123456789abcdef0"),
        (Prefix.ENDPOINT, "vpce-0123456789abcdefg"),
        (Prefix.ENDPOINT_SERVICE, "vpce-0123456789abcdef0"),
        (Prefix.INSTANCE, "i-0123456789abcdef0\n"),
    ],
)
def test_other_forms_are_refused(prefix: Prefix, text: str) -> None:
    assert not ids.is_ec2_id(prefix, text)


def test_arns_and_names() -> None:
    balancer = ids.load_balancer_id(REGION, ACCOUNT, "orders")
    elb = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:"
    assert ids.load_balancer_arn(REGION, ACCOUNT, balancer) == f"{elb}loadbalancer/{balancer}"
    assert ids.target_group_arn(REGION, ACCOUNT, "targetgroup/orders/1") == f"{elb}targetgroup/orders/1"
    listener = ids.listener_arn(REGION, ACCOUNT, balancer, "TCP", 443)
    assert listener.startswith(f"{elb}listener/{balancer}/")
    assert listener != ids.listener_arn(REGION, ACCOUNT, balancer, "UDP", 443)
    ec2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}:"
    assert ids.endpoint_arn(REGION, ACCOUNT, "vpce-1") == f"{ec2}vpc-endpoint/vpce-1"
    assert ids.endpoint_service_arn(REGION, ACCOUNT, "vpce-svc-1") == f"{ec2}vpc-endpoint-service/vpce-svc-1"
    assert ids.service_name(REGION, "vpce-svc-1") == "com.amazonaws.vpce.us-east-2.vpce-svc-1"
    assert ids.root_arn(ACCOUNT) == "arn:aws:iam::999999999999:root"
