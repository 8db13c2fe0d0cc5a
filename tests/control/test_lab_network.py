"""VPCs, subnets, security groups and instances of a lab file."""

from ipaddress import ip_address, ip_network

import pytest

from hyperplane import limits
from hyperplane.control.ids import Prefix, is_ec2_id
from hyperplane.control.resources import Account, Instance, RuleProtocol, SecurityGroup, SecurityGroupRule, Subnet, Vpc
from tests.control.labs import changed, complaint, lab

SUBNET = "{name: app-4, zone: us-east-2c, cidr: 10.0.4.0/24}"
RULE = "{protocol: tcp, ports: 443, source: 10.0.0.0/16}"
INSTANCE = "{name: other, subnet: app-2, address: 10.0.2.50}"


def test_what_is_read() -> None:
    store = lab()
    consumer, provider = store.all(Vpc)
    assert (consumer.name, consumer.account_id, consumer.networks) == (
        "consumer",
        "111111111111",
        (ip_network("10.0.0.0/16"),),
    )
    assert {account.resource_id for account in store.all(Account)} == {"111111111111", "999999999999"}
    first = store.all(Subnet)[0]
    assert (first.name, first.vpc_id, first.zone_name) == ("app-1", consumer.resource_id, "us-east-2a")
    assert first.router_address == ip_address("10.0.1.1")
    instance = store.all(Instance)[2]
    assert (instance.name, instance.address) == ("target-1", ip_address("10.9.0.20"))
    assert store.get(Subnet, instance.subnet_id).vpc_id == provider.resource_id


def test_rules_name_networks_and_groups() -> None:
    groups = {group.name: group for group in lab().all(SecurityGroup) if group.inbound or group.name == "app"}
    assert groups["endpoint"].inbound == (
        SecurityGroupRule(RuleProtocol.TCP, 443, 443, ip_network("10.0.0.0/16")),
        SecurityGroupRule(RuleProtocol.TCP, 8000, 8100, groups["app"].resource_id),
    )


def test_every_vpc_has_a_default_group() -> None:
    store = lab()
    defaults = [group for group in store.all(SecurityGroup) if group.name == "default"]
    assert len(defaults) == 2
    assert defaults[0].inbound == (SecurityGroupRule(RuleProtocol.ALL, 0, 65_535, defaults[0].resource_id),)
    other = next(instance for instance in store.all(Instance) if instance.name == "other")
    assert other.security_group_ids == (defaults[0].resource_id,)


def test_a_file_may_say_the_default_group_itself() -> None:
    store = lab(changed("- {name: app}\n", "- {name: app}\n      - {name: default, id: sg-0123456789abcdef0}\n"))
    other = next(instance for instance in store.all(Instance) if instance.name == "other")
    assert other.security_group_ids == ("sg-0123456789abcdef0",)
    assert store.get(SecurityGroup, "sg-0123456789abcdef0").inbound == ()


def test_ids_are_derived_and_stable() -> None:
    one, other = lab(), lab()
    assert one == other
    assert all(is_ec2_id(Prefix.VPC, vpc.resource_id) for vpc in one.all(Vpc))
    assert all(is_ec2_id(Prefix.SUBNET, subnet.resource_id) for subnet in one.all(Subnet))
    assert all(is_ec2_id(Prefix.INSTANCE, instance.resource_id) for instance in one.all(Instance))


def test_a_file_may_choose_ids() -> None:
    text = changed("- name: consumer", "- name: consumer\n    id: vpc-0123456789abcdef0")
    assert lab(text).all(Vpc)[0].resource_id == "vpc-0123456789abcdef0"


def test_overlapping_vpcs_are_the_point() -> None:
    text = changed("cidr: 10.9.0.0/16", "cidr: 10.0.0.0/16").replace("10.9.", "10.0.")
    store = lab(text)
    assert [vpc.networks for vpc in store.all(Vpc)] == [(ip_network("10.0.0.0/16"),)] * 2


@pytest.mark.parametrize(
    ("old", "new", "path", "part"),
    [
        ("- name: provider", "- name: consumer", "vpcs[1].name", "VPC 'consumer' already exists (line 8)"),
        ("- name: consumer", "- name: Consumer", "vpcs[0].name", "is no name"),
        ("account: 111111111111", "account: 1111", "vpcs[0].account", "12 digits"),
        ("cidr: 10.0.0.0/16", "cidr: 10.0.0.0/8", "vpcs[0].cidr", "between a /16 and a /28"),
        ("cidr: 10.0.0.0/16", "cidr: 10.0.0.0/16\n    colour: red", "vpcs[0].colour", "unknown key 'colour'"),
        ("- name: consumer", "- name: consumer\n    id: vpc-1", "vpcs[0].id", "17 hex digits"),
        (SUBNET, SUBNET.replace("2c", "2d"), "vpcs[0].subnets[3].zone", "did you mean 'us-east-2"),
        (SUBNET, SUBNET.replace("10.0.4", "10.1.4"), "vpcs[0].subnets[3].cidr", "is not inside VPC 'consumer'"),
        (SUBNET, SUBNET.replace("10.0.4", "10.0.3"), "vpcs[0].subnets[3].cidr", "overlaps subnet 'app-3'"),
        (SUBNET, SUBNET.replace("4.0/24", "3.128/25"), "vpcs[0].subnets[3].cidr", "overlaps subnet 'app-3'"),
        (
            SUBNET,
            SUBNET.replace("app-4", "app-1"),
            "vpcs[0].subnets[3].name",
            "subnet 'app-1' already exists (line 12)",
        ),
        (SUBNET, SUBNET.replace("app-4", "app_4"), "vpcs[0].subnets[3].name", "is no name"),
        (
            "- {name: app}",
            "- {name: app}\n      - {name: endpoint}",
            "vpcs[0].security_groups[2].name",
            "already exists",
        ),
        (RULE, RULE.replace("tcp", "sctp"), "vpcs[0].security_groups[0].inbound[0].protocol", "none of"),
        (RULE, RULE.replace("443", "70000"), "vpcs[0].security_groups[0].inbound[0].ports", "0 to 65535"),
        (RULE, "{protocol: tcp, source: 10.0.0.0/16}", "vpcs[0].security_groups[0].inbound[0]", "'ports' is missing"),
        (RULE, RULE.replace("10.0.0.0/16", "10.0.1.0/16"), "vpcs[0].security_groups[0].inbound[0].source", "did you"),
        (RULE, RULE.replace("10.0.0.0/16", "apps"), "vpcs[0].security_groups[0].inbound[0].source", "mean 'app'?"),
        (INSTANCE, INSTANCE.replace("app-2", "app-9"), "vpcs[0].instances[1].subnet", "subnet 'app-9' does not exist"),
        (INSTANCE, INSTANCE.replace("app-2", "nlb-1"), "vpcs[0].instances[1].subnet", "subnet 'nlb-1' does not exist"),
        (INSTANCE, INSTANCE.replace("other", "app"), "vpcs[0].instances[1].name", "instance 'app' already exists"),
        (INSTANCE, INSTANCE.replace("other", "vpc-x"), "vpcs[0].instances[1].name", "may not begin with vpc-"),
        (INSTANCE, INSTANCE.replace("other", "fabric-x"), "vpcs[0].instances[1].name", "may not begin with vpc-"),
        (INSTANCE, INSTANCE.replace("2.50", "3.50"), "vpcs[0].instances[1].address", "not in subnet 'app-2'"),
        (INSTANCE, INSTANCE.replace("2.50", "2.0"), "vpcs[0].instances[1].address", "reserved"),
        (INSTANCE, INSTANCE.replace("2.50", "2.3"), "vpcs[0].instances[1].address", "reserved"),
        (INSTANCE, INSTANCE.replace("2.50", "2.255"), "vpcs[0].instances[1].address", "reserved"),
        (
            INSTANCE,
            INSTANCE.replace("app-2", "app-1").replace("2.50", "1.50"),
            "vpcs[0].instances[1].address",
            "already taken in this VPC (line 23)",
        ),
        (
            INSTANCE,
            INSTANCE.replace("}", ", security_groups: [nobody]}"),
            "vpcs[0].instances[1].security_groups[0]",
            "security group 'nobody' does not exist",
        ),
        (
            INSTANCE,
            INSTANCE.replace("}", ", security_groups: []}"),
            "vpcs[0].instances[1].security_groups",
            "not 0",
        ),
        (
            INSTANCE,
            INSTANCE.replace("}", ", security_groups: [app, app]}"),
            "vpcs[0].instances[1].security_groups[1]",
            "twice",
        ),
    ],
)
def test_mistakes(old: str, new: str, path: str, part: str) -> None:
    error = complaint(old, new)
    assert error.path == path
    assert part in error.message


def test_an_id_is_taken_once() -> None:
    text = changed("name: app-3,", "name: app-3, id: subnet-0123456789abcdef0,")
    with pytest.raises(ValueError, match="id subnet-0123456789abcdef0 is already taken"):
        lab(text.replace("name: app-4,", "name: app-4, id: subnet-0123456789abcdef0,"))


def test_groups_of_an_interface_have_a_bound() -> None:
    names = [f"g{number}" for number in range(limits.SECURITY_GROUPS_PER_INTERFACE_MAX + 1)]
    groups = "".join(f"\n      - {{name: {name}}}" for name in names)
    text = changed("- {name: app}", "- {name: app}" + groups)
    with pytest.raises(ValueError, match="1 to 16 groups, not 17"):
        lab(text.replace(INSTANCE, INSTANCE.replace("}", f", security_groups: [{', '.join(names)}]}}")))
    store = lab(text.replace(INSTANCE, INSTANCE.replace("}", f", security_groups: [{', '.join(names[1:])}]}}")))
    assert max(len(instance.security_group_ids) for instance in store.all(Instance)) == 16


@pytest.mark.parametrize("address", ["10.0.2.4", "10.0.2.254"])
def test_the_first_and_last_address_that_may_be_used(address: str) -> None:
    store = lab(changed(INSTANCE, INSTANCE.replace("10.0.2.50", address)))
    assert ip_address(address) in {instance.address for instance in store.all(Instance)}
