"""Ways through one running contender, with the Proxy Protocol header and without.

A lane is a contender whose services are found at other ports. Both ports are up at the same time in the same
fabric, so header on and header off take turns without a restart, and differ in nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.contenders import Contender
from benchmark.figures import (
    HEADER_BULK,
    HEADER_BULK_BACK,
    HEADER_FIRST_ACK,
    HEADER_HAPROXY,
    HEADER_KEEP_ALIVE,
    HEADER_OFF,
    HEADER_ON,
)
from benchmark.layout import (
    HTTP,
    HTTP_FIRST_ACK,
    HTTP_HEADER,
    STREAM,
    STREAM_FIRST_ACK,
    STREAM_HEADER,
    Middle,
    Service,
)

Places = Mapping[str, Service]
"""Name of the service that a measurement asks for -> the one that it gets."""
WITHOUT: Places = {HTTP.name: HTTP, STREAM.name: STREAM}
WITH: Places = {HTTP.name: HTTP_HEADER, STREAM.name: STREAM_HEADER}
FIRST_ACK: Places = {HTTP.name: HTTP_FIRST_ACK, STREAM.name: STREAM_FIRST_ACK}

LANES: tuple[tuple[str, str, Places], ...] = (
    (HEADER_ON, "hyperplane", WITH),
    (HEADER_OFF, "hyperplane", WITHOUT),
    (HEADER_HAPROXY, "haproxy", WITH),
    (HEADER_FIRST_ACK, "hyperplane", FIRST_ACK),
)
"""(lane, contender, services)."""
CONTENDERS_WITH_LANES = frozenset(contender for _, contender, _ in LANES)

LEFT_OUT = frozenset((figure.name, HEADER_FIRST_ACK) for figure in (HEADER_BULK, HEADER_BULK_BACK, HEADER_KEEP_ALIVE))
"""(measurement, lane): after its first data a flow of either placement is the same."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A contender that others started and will stop."""

    name: str
    contender: Contender
    places: Places

    @property
    def middle(self) -> Middle:
        return self.contender.middle

    def start(self) -> None:
        """The contender runs already."""

    def stop(self) -> None:
        """It goes on running."""

    def carries(self, service: Service) -> bool:
        return service.name in self.places

    def socket_address(self, service: Service) -> tuple[str, int]:
        return self.contender.socket_address(self.places[service.name])


def lanes_of(contenders: Sequence[Contender]) -> list[Lane]:
    """The lanes through those of the contenders that have any."""
    by_name = {contender.name: contender for contender in contenders}
    return [Lane(name, by_name[contender], places) for name, contender, places in LANES if contender in by_name]
