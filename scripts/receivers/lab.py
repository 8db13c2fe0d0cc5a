"""Prints the packaged lab file with a place for a receiver: `python scripts/receivers/lab.py >FILE`.

Added are a target group for TCP and one for UDP, both with the Proxy Protocol v2 header, whose only target is an
address that no instance has; a listener to each; and a rule that lets the consumers call them.
"""

import sys
from typing import Any

import yaml

from hyperplane.io.lab_file import DEFAULT_LAB

ADDRESS, PORT = "10.9.3.30", 9100
"""Where the receivers beside this file listen."""


def lab_with_receiver() -> dict[str, Any]:
    lab: dict[str, Any] = yaml.safe_load(DEFAULT_LAB.read_text())
    for vpc in lab["vpcs"]:
        rules = [{"protocol": protocol, "ports": PORT, "source": vpc["cidr"]} for protocol in ("tcp", "udp")]
        for group in vpc.get("security_groups", []):
            group["inbound"] = [*group["inbound"], *rules]
    for protocol in ("TCP", "UDP"):
        group = {"name": f"receiver-{protocol.lower()}", "vpc": "provider", "protocol": protocol, "port": PORT}
        attributes = {"proxy_protocol_v2.enabled": True}
        lab["target_groups"].append({**group, "targets": [{"address": ADDRESS}], "attributes": attributes})
        listener = {"protocol": protocol, "port": PORT, "target_group": group["name"]}
        lab["load_balancers"][0]["listeners"].append(listener)
    return lab


if __name__ == "__main__":
    yaml.safe_dump(lab_with_receiver(), sys.stdout, sort_keys=False)
