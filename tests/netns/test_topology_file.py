import pytest

from netns.document import DocumentError
from netns.topology import Action, Bridge, IpProtocol, Link, LinkEnd, Namespace, Route, Rule, Scope, Topology
from netns.topology_file import parse_topology

TEXT = """\
namespaces:
  - name: hp-left
    sysctls: {net.ipv4.ip_forward: 1}
    bridges:
      - {name: hp-br0, addresses: [10.0.1.1/24], mtu: 9001}
    rules:
      - {priority: 100, mark: 1, mask: 0xffff, table: 10001}
      - {priority: 200, ip_protocol: tcp, action: blackhole}
    routes:
      - {destination: default, via: 10.0.1.254, link: hp-br0, table: 10001, source: 10.0.1.1}
  - name: hp-right
links:
  - a: {namespace: hp-left, name: hp-p1, bridge: hp-br0}
    b:
      namespace: hp-right
      name: hp-eth0
      mac: 12:34:56:10:20:30
      mtu: 1400
      addresses: [10.0.1.2/24]
      sysctls: {ipv4.arp_ignore: 1}
      cuts_datagrams: true
      routes:
        - {destination: 10.0.0.0/16, scope: link}
"""

VALUE = Topology(
    namespaces=(
        Namespace(
            "hp-left",
            sysctls=(("net.ipv4.ip_forward", "1"),),
            bridges=(Bridge("hp-br0", ("10.0.1.1/24",), 9001),),
            rules=(
                Rule(100, mark=1, mask=0xFFFF, table=10001),
                Rule(200, ip_protocol=IpProtocol.TCP, action=Action.BLACKHOLE),
            ),
            routes=(Route("default", "10.0.1.254", "hp-br0", 10001, "10.0.1.1"),),
        ),
        Namespace("hp-right"),
    ),
    links=(
        Link(
            LinkEnd("hp-left", "hp-p1", bridge="hp-br0"),
            LinkEnd(
                "hp-right",
                "hp-eth0",
                mac="12:34:56:10:20:30",
                mtu=1400,
                addresses=("10.0.1.2/24",),
                routes=(Route("10.0.0.0/16", scope=Scope.LINK),),
                sysctls=(("ipv4.arp_ignore", "1"),),
                cuts_datagrams=True,
            ),
        ),
    ),
)


def test_every_key_becomes_its_field() -> None:
    assert parse_topology(TEXT) == VALUE


def test_links_may_be_left_out() -> None:
    assert parse_topology("namespaces: []\n") == Topology()


LEFT = "lab.yml:{}: namespaces[0].{}"
B = "lab.yml:{}: links[0].b.{}"
FAULTS = [
    ("name: hp-left", "name: x", LEFT.format(2, "name: a namespace's name must start with 'hp-', not 'x'")),
    (
        "name: hp-left",
        "nmae: hp-left",
        LEFT.format(2, "nmae: unknown key 'nmae'; known here: bridges, name, routes, rules, sysctls"),
    ),
    ("priority: 100, ", "", LEFT.format(7, "rules[0]: the key 'priority' is missing")),
    ("ip_protocol: tcp", "ip_protocol: gre", LEFT.format(8, "rules[1].ip_protocol: 'gre' is none of icmp, tcp, udp")),
    ("action: blackhole", "action: drop", LEFT.format(8, "rules[1].action: 'drop' is none of blackhole, lookup")),
    ("mtu: 9001", "mtu: 1", LEFT.format(5, "bridges[0].mtu: 1 is not between 68 and 65535")),
    (
        "10.0.1.2/24",
        "10.0.1.256/24",
        B.format(19, "addresses[0]: '10.0.1.256/24' is not an address such as 10.0.1.10/24"),
    ),
    ("namespace: hp-right", "namespace: hp-rihgt", B.format(15, "namespace: there is no namespace 'hp-rihgt'")),
    ("mtu: 1400", "mtu: big", B.format(18, "mtu: expected a whole number, found 'big'")),
    ("scope: link", "scope: world", B.format(23, "routes[0].scope: 'world' is none of global, host, link")),
    ("ipv4.arp_ignore: 1", "arp_ignore: 1", B.format(20, 'sysctls["arp_ignore"]: is not ipv4.NAME or ipv6.NAME')),
    ("bridge: hp-br0", "bridge: hp-br1", "lab.yml:13: links[0].a.bridge: there is no bridge 'hp-br1' in hp-left"),
    ("links:", "wires:", "lab.yml:12: wires: unknown key 'wires'; known here: links, namespaces"),
]


@pytest.mark.parametrize(("good", "bad", "message"), FAULTS, ids=[fault[1] for fault in FAULTS])
def test_a_fault_names_file_line_and_path(good: str, bad: str, message: str) -> None:
    assert TEXT.count(good) >= 1
    with pytest.raises(DocumentError) as caught:
        parse_topology(TEXT.replace(good, bad, 1), "lab.yml")
    assert str(caught.value) == message
