"""One small lab file, and what becomes of it when a person changes a line."""

from hyperplane.control.store import Store
from hyperplane.control.topology import read_lab
from netns.document import DocumentError, parse_document

LAB = """\
region: us-east-2
zones:
  - {name: us-east-2a, id: use2-az1}
  - {name: us-east-2b, id: use2-az2}
  - {name: us-east-2c, id: use2-az3}
fabric: {nodes_per_zone: 4, shard_size: 2, seed: 1, steering: hash, mtu: 1500}
vpcs:
  - name: consumer
    account: 111111111111
    cidr: 10.0.0.0/16
    subnets:
      - {name: app-1, zone: us-east-2a, cidr: 10.0.1.0/24}
      - {name: app-2, zone: us-east-2b, cidr: 10.0.2.0/24}
      - {name: app-3, zone: us-east-2a, cidr: 10.0.3.0/24}
      - {name: app-4, zone: us-east-2c, cidr: 10.0.4.0/24}
    security_groups:
      - name: endpoint
        inbound:
          - {protocol: tcp, ports: 443, source: 10.0.0.0/16}
          - {protocol: tcp, ports: 8000-8100, source: app}
      - {name: app}
    instances:
      - {name: app, subnet: app-1, address: 10.0.1.50, security_groups: [app]}
      - {name: other, subnet: app-2, address: 10.0.2.50}
  - name: provider
    account: 999999999999
    cidr: 10.9.0.0/16
    subnets:
      - {name: nlb-1, zone: us-east-2a, cidr: 10.9.0.0/24}
      - {name: nlb-2, zone: us-east-2b, cidr: 10.9.1.0/24}
    instances:
      - {name: target-1, subnet: nlb-1, address: 10.9.0.20}
      - {name: target-2, subnet: nlb-2, address: 10.9.1.20}
target_groups:
  - {name: orders, vpc: provider, protocol: TCP, port: 8080, targets: [{instance: target-1}, {instance: target-2}]}
  - {name: echo, vpc: provider, protocol: UDP, port: 7, stickiness: source_ip, targets: [{address: 10.9.1.99}]}
load_balancers:
  - name: orders
    vpc: provider
    subnets:
      - {subnet: nlb-1, address: 10.9.0.7}
      - {subnet: nlb-2, address: 10.9.1.7}
    listeners:
      - {protocol: TCP, port: 443, target_group: orders, idle_timeout_s: 600}
      - {protocol: UDP, port: 53, target_group: echo}
endpoint_services:
  - name: orders
    load_balancers: [orders]
    acceptance_required: true
    allowed_principals: ["arn:aws:iam::111111111111:root"]
endpoints:
  - name: orders
    vpc: consumer
    service: orders
    subnets:
      - {subnet: app-1, address: 10.0.1.10}
      - {subnet: app-2, address: 10.0.2.10}
    security_groups: [endpoint]
    state: available
"""


def changed(old: str, new: str) -> str:
    """The small lab with one place changed."""
    assert LAB.count(old) == 1, f"{old!r} occurs {LAB.count(old)} times"
    return LAB.replace(old, new)


def lab(text: str = LAB) -> Store:
    return read_lab(parse_document(text, "lab.yml"))


def complaint(old: str, new: str) -> DocumentError:
    """The error that a change leads to, which must name a line of the change."""
    first = LAB[: LAB.index(old)].count("\n") + 1
    try:
        lab(changed(old, new))
    except DocumentError as error:
        assert error.file == "lab.yml"
        assert first <= error.line <= first + new.count("\n"), f"line {error.line} is not where the change is: {error}"
        return error
    raise AssertionError(f"nobody complained about {new!r}")
