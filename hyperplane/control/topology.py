"""A lab file as resources: the whole of a lab in AWS's words, until the API makes them one by one.

    region: us-east-2
    zones: [{name: us-east-2a, id: use2-az1}]
    fabric: {nodes_per_zone: 4, shard_size: 2, seed: 1, steering: hash, mtu: 1500, timers: {...}}
    vpcs:
      - name: consumer-a
        account: 111111111111
        cidr: 10.0.0.0/16
        subnets: [{name: az1, zone: us-east-2a, cidr: 10.0.1.0/24}]
        instances: [{name: consumer-a, subnet: az1, address: 10.0.1.50}]
        security_groups: [{name: endpoint, inbound: [{protocol: tcp, ports: 443, source: 10.0.0.0/16}]}]
    target_groups: [{name: orders, vpc: provider, protocol: TCP, port: 8080, targets: [{instance: target-1}],
                     attributes: {proxy_protocol_v2.enabled: true}}]
    load_balancers: [{name: orders, vpc: provider, subnets: [{subnet: nlb-az1, address: 10.9.0.7}],
                      listeners: [{protocol: TCP, port: 443, target_group: orders}]}]
    endpoint_services: [{name: orders, load_balancers: [orders], acceptance_required: false,
                         allowed_principals: ["arn:aws:iam::111111111111:root"]}]
    endpoints: [{name: orders-a, vpc: consumer-a, service: orders, security_groups: [endpoint],
                 subnets: [{subnet: az1, address: 10.0.1.10}]}]

Things refer to each other by name and must be said before they are used, kind after kind. Ids are
derived from the names; `id:` says another one. The first mistake stops the reading, with file, line and
path. The file is read whole or not at all.
"""

from hyperplane.control import lab_document as doc
from hyperplane.control.lab_document import Node
from hyperplane.control.lab_endpoint import read_endpoint, read_endpoint_service
from hyperplane.control.lab_fabric import read_fabric, read_zones
from hyperplane.control.lab_index import LabIndex
from hyperplane.control.lab_load_balancer import read_load_balancer, read_target_group
from hyperplane.control.lab_network import read_vpc
from hyperplane.control.store import Store


def read_lab(node: Node) -> Store:
    """The store of a lab file, version 1. Raises the document's own error, which names file, line and path."""
    node.only(
        "region",
        "zones",
        "fabric",
        "vpcs",
        "target_groups",
        "load_balancers",
        "endpoint_services",
        "endpoints",
    )
    region = doc.region(node.require("region"))
    zones = read_zones(node.require("zones"), region)
    fabric = read_fabric(node.optional("fabric"))
    index = LabIndex(region)
    for item in node.require("vpcs").items():
        read_vpc(index, zones, item)
    for item in doc.items(node, "target_groups"):
        read_target_group(index, item)
    for item in doc.items(node, "load_balancers"):
        read_load_balancer(index, fabric, item)
    for item in doc.items(node, "endpoint_services"):
        read_endpoint_service(index, item)
    for item in doc.items(node, "endpoints"):
        read_endpoint(index, item)
    return Store(region, zones, fabric, version=0).put(tuple(index.resources.values()), now=0.0)
