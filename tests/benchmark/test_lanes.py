"""Header on and off stand side by side in the same fabric and the same HAProxy."""

from pathlib import Path

from benchmark.configuration import make_snapshot
from benchmark.contenders import Haproxy, Nftables, Routing
from benchmark.figures import HEADER_FIRST_ACK, HEADER_HAPROXY, HEADER_OFF, HEADER_ON
from benchmark.lanes import lanes_of
from benchmark.layout import HEADER_SERVICES, HTTP, SERVICES, STREAM, Service
from benchmark.servers import Servers
from benchmark.subject import Hyperplane
from hyperplane.snapshot import HeaderPlacement
from hyperplane.snapshot_codec import decode_snapshot, encode_snapshot


def port_of(lane_name: str, service: Service) -> int:
    contenders = (Hyperplane(Path("nowhere"), 2), Routing(), Nftables(), Haproxy(Path("nowhere")))
    lane = next(lane for lane in lanes_of(contenders) if lane.name == lane_name)
    assert lane.carries(service)
    return lane.socket_address(service)[1]


def test_one_snapshot_holds_listeners_with_and_without_the_header() -> None:
    snapshot = make_snapshot(("10.77.1.1",), "10.78.1.1", "10.77.1.0/24", "10.79.0.0/24", 2)
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    groups = {group.target_group_id: group for group in snapshot.target_groups}
    (load_balancer,) = snapshot.load_balancers
    placed = {one.port: groups[one.target_group_id].proxy_protocol_v2 for one in load_balancer.listeners}
    for service in (HTTP, STREAM):
        assert placed[port_of(HEADER_OFF, service)] is None
        assert placed[port_of(HEADER_ON, service)] is HeaderPlacement.ON_FIRST_ACK_WITH_PAYLOAD
        assert placed[port_of(HEADER_FIRST_ACK, service)] is HeaderPlacement.ON_FIRST_ACK


def test_haproxy_sends_the_same_header_to_the_same_targets() -> None:
    haproxy = Haproxy(Path("nowhere"))
    sections = {part.split()[0]: part for part in haproxy.configuration().split("listen ")[1:]}
    assert set(sections) == {"http", "echo", "bulk", "stream", "http_header", "stream_header"}
    for name, section in sections.items():
        targets = [line for line in section.splitlines() if line.strip().startswith("server ")]
        with_header = [line for line in targets if line.endswith(" send-proxy-v2 proxy-v2-options crc32c")]
        assert len(with_header) == (len(targets) if name.endswith("_header") else 0)
    assert f":{port_of(HEADER_HAPROXY, HTTP)}\n" in sections["http_header"]


def test_targets_with_and_without_the_header_share_no_port() -> None:
    services = (*SERVICES, *HEADER_SERVICES)
    wanted = {port for service in services if service.header for port in service.target_ports}
    unwanted = {port for service in services if not service.header for port in service.target_ports}
    assert not wanted & unwanted
    assert len({service.port for service in services}) == len(services)


def test_kernel_contenders_have_no_lane() -> None:
    assert lanes_of((Routing(), Nftables())) == []
    assert not any(Nftables().carries(service) or Routing().carries(service) for service in HEADER_SERVICES)


def test_nginx_demands_the_header_where_it_belongs(tmp_path: Path) -> None:
    listens = [line.split() for line in Servers(tmp_path).nginx_configuration().splitlines() if "listen" in line]
    demanding = {int(words[1].rpartition(":")[2]) for words in listens if "proxy_protocol" in words}
    assert demanding == set(range(8101, 8133))
    assert len(listens) == 64
