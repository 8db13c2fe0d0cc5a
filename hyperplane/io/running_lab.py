"""The lab that is up, as its files tell: resources with their names, the snapshot with its numbers.

The lab file names things (instances, endpoints, groups); the snapshot in force says what the packet plane
was told of them. The two meet in the ids, which are derived from the names and so are always the same.
"""

from dataclasses import dataclass
from pathlib import Path

from hyperplane.control.compiler import compile_snapshot
from hyperplane.control.resources import Instance, LoadBalancer, Subnet, TargetGroup, Vpc, VpcEndpoint
from hyperplane.control.store import Store
from hyperplane.io.lab_file import DEFAULT_LAB, load_lab
from hyperplane.io.lab_record import lab_record
from hyperplane.io.runtime import snapshot_file
from hyperplane.io.snapshot_file import read_snapshot
from hyperplane.snapshot import Eni, Snapshot, Zone
from netns.names import PREFIX


@dataclass(frozen=True)
class Lab:
    """Resources and their snapshot, with what is asked of them again and again."""

    store: Store
    snapshot: Snapshot

    def instance(self, name: str) -> Instance | None:
        """The instance of that name; the name of its namespace will do, too."""
        found = {instance.name: instance for instance in self.store.all(Instance)}
        return found.get(name) or found.get(name.removeprefix(PREFIX))

    def instance_names(self) -> list[str]:
        return [instance.name for instance in self.store.all(Instance)]

    def subnet_of(self, instance: Instance) -> Subnet:
        return self.store.get(Subnet, instance.subnet_id)

    def vpc_of(self, instance: Instance) -> Vpc:
        return self.store.get(Vpc, self.subnet_of(instance).vpc_id)

    def endpoints_in(self, vpc: Vpc) -> list[VpcEndpoint]:
        return [endpoint for endpoint in self.store.all(VpcEndpoint) if endpoint.vpc_id == vpc.resource_id]

    def eni(self, eni_id: str) -> tuple[Zone, Eni] | None:
        """An ENI of the snapshot with its zone; None if the packet plane was not told of it."""
        found = ((zone, eni) for zone in self.snapshot.zones for eni in zone.enis if eni.eni_id == eni_id)
        return next(found, None)

    def way_out(self, zone: Zone, endpoint_eni: Eni) -> Eni | None:
        """The load balancer's ENI that an endpoint's flows leave by."""
        return next((eni for eni in zone.enis if eni.number == endpoint_eni.load_balancer_eni), None)

    def instance_at(self, vpc_id: str, address: str) -> Instance | None:
        """Who has an address in a VPC."""
        return next(
            (
                instance
                for instance in self.store.all(Instance)
                if str(instance.address) == address and self.subnet_of(instance).vpc_id == vpc_id
            ),
            None,
        )

    def targets_of(self, balancer: LoadBalancer) -> list[Instance]:
        """Instances behind any listener of a load balancer, each once, in the order of their registration."""
        found: dict[str, Instance] = {}
        for group_id in dict.fromkeys(listener.target_group_id for listener in balancer.listeners):
            group = self.store.get(TargetGroup, group_id)
            for target in group.targets:
                instance = self.instance_at(group.vpc_id, str(target.address))
                if instance is not None:
                    found.setdefault(instance.resource_id, instance)
        return list(found.values())


def running_lab(runtime: Path) -> Lab:
    """The lab that is up. Raises FileNotFoundError with what to type, ConfigurationError, OSError."""
    try:
        lab_path = Path(lab_record(runtime).read_text().strip())
        snapshot = read_snapshot(snapshot_file(runtime))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"no lab is up: {error.filename} does not exist; build one with: hyperplane lab up"
        ) from None
    return Lab(load_lab(lab_path), snapshot)


def lab_of_file(path: Path) -> Lab:
    """A lab that need not be up, with the snapshot it would have on a clean machine."""
    store = load_lab(path)
    return Lab(store, compile_snapshot(store))


def lab_to_show(runtime: Path, lab_file: Path | None) -> Lab:
    """The file that was asked for, else the lab that is up, else the packaged one."""
    if lab_file is not None:
        return lab_of_file(lab_file)
    return running_lab(runtime) if lab_record(runtime).exists() else lab_of_file(DEFAULT_LAB)
