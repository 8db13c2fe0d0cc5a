"""A small lab with names that no other lab has, run by the command as a user runs it.

rv-c  10.41.0.0/16   endpoint 10.41.1.10 ── service "rv" ── 10.49.0.7 ── target rv-t  10.49.3.20
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hyperplane.io.ground import fabric_namespace
from hyperplane.io.processes import ProcessFiles
from hyperplane.io.runtime import ZoneFiles, zone_files
from netns.namespace import list_names

ROOT = Path(__file__).parents[2]
ZONE, ZONE_ID = "us-east-2a", "rv-az1"
FABRIC_NAMESPACE = fabric_namespace(ZONE_ID)
FABRIC = f"fabric-{ZONE_ID}"


def lab_text(
    consumer: str = "rv-c", target: str = "rv-t", port: int = 8080, nodes: int = 2, address: str = "10.49.3.20"
) -> str:
    """The lab file."""
    return f"""
region: us-east-2
zones: [{{name: {ZONE}, id: {ZONE_ID}}}]
fabric: {{nodes_per_zone: {nodes}, shard_size: {nodes}, seed: 7, limits: {{flows_per_node: 4096}}}}
vpcs:
  - name: {consumer}
    account: 111111111111
    cidr: 10.41.0.0/16
    subnets: [{{name: az1, zone: {ZONE}, cidr: 10.41.1.0/24}}]
    instances: [{{name: {consumer}, subnet: az1, address: 10.41.1.50}}]
    security_groups: [{{name: all, inbound: [{{protocol: all, source: 0.0.0.0/0}}]}}]
  - name: rv-p
    account: 999999999999
    cidr: 10.49.0.0/16
    subnets:
      - {{name: nlb, zone: {ZONE}, cidr: 10.49.0.0/24}}
      - {{name: targets, zone: {ZONE}, cidr: 10.49.3.0/24}}
    instances: [{{name: {target}, subnet: targets, address: {address}}}]
target_groups:
  - {{name: rv, vpc: rv-p, protocol: TCP, port: {port}, targets: [{{instance: {target}}}]}}
load_balancers:
  - name: rv
    vpc: rv-p
    subnets: [{{subnet: nlb, address: 10.49.0.7}}]
    listeners: [{{protocol: TCP, port: 80, target_group: rv}}]
endpoint_services:
  - {{name: rv, load_balancers: [rv], acceptance_required: false, allowed_principals: ["*"]}}
endpoints:
  - name: {consumer}
    vpc: {consumer}
    service: rv
    security_groups: [all]
    subnets: [{{subnet: az1, address: 10.41.1.10}}]
"""


@dataclass(frozen=True, slots=True)
class LivingLab:
    """A directory for its files, and a port for its control process."""

    directory: Path
    port: int

    @property
    def runtime(self) -> Path:
        return self.directory / "run"

    @property
    def process_files(self) -> ProcessFiles:
        return ProcessFiles(self.runtime)

    @property
    def zone_files(self) -> ZoneFiles:
        return zone_files(self.runtime, ZONE_ID)

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`hyperplane lab ...` on this lab's runtime directory."""
        return subprocess.run(
            [sys.executable, "-m", "hyperplane", "lab", *arguments, "--runtime", str(self.runtime)],
            env={**os.environ, "HYPERPLANE_API": f"127.0.0.1:{self.port}", "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def up(self, file: Path) -> str:
        done = self.run("up", "-t", str(file))
        assert done.returncode == 0, done.stderr
        return done.stderr

    def down(self) -> str:
        done = self.run("down")
        assert done.returncode == 0, done.stderr
        return done.stderr

    @staticmethod
    def namespaces() -> list[str]:
        """Those of this lab that exist, by the only names it can have."""
        return [name for name in list_names() if name.startswith(("hp-rv-", "hp-vpc-rv-", FABRIC_NAMESPACE))]
