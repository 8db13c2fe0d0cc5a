"""From a snapshot's zone to the capture rules of its fabric: which ENI's packets go to which queues."""

import socket

from hyperplane.limits import GENERATIONS_MAX, NODES_PER_ZONE_MAX
from hyperplane.snapshot import Snapshot, Zone
from netns.steer import InterfaceSteering, Mode, Steering


def queue_number(generation: int, node: int) -> int:
    """The NFQUEUE number of a node. Generations have different numbers, so two can be bound at once."""
    return generation % GENERATIONS_MAX * NODES_PER_ZONE_MAX + node


def steering_of(snapshot: Snapshot, zone: Zone, generation: int) -> Steering:
    """The rules for the ENIs whose links exist in the present namespace; the others have nothing to steer."""
    links = {name for _, name in socket.if_nameindex()}
    return Steering(
        tuple(
            InterfaceSteering(eni.interface, tuple(queue_number(generation, node) for node in eni.shard))
            for eni in zone.enis
            if eni.interface in links and eni.shard
        ),
        Mode(snapshot.steering),
    )
