"""Drawings of the packaged lab: the right boxes and arrows, and nothing that overlaps in the picture."""

import itertools
import re
import shutil
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from hyperplane.cli.graph.dot import to_dot
from hyperplane.cli.graph.drawing import Box, Column, Drawing, Group, Kind, draw
from hyperplane.cli.graph.layout import Rectangle, lay_out
from hyperplane.cli.graph.mermaid import to_mermaid
from hyperplane.cli.graph.svg import to_svg
from hyperplane.cli.graph.text import to_text
from hyperplane.control.compiler import compile_snapshot
from hyperplane.io.lab_file import DEFAULT_LAB
from hyperplane.io.running_lab import Lab, lab_of_file

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return draw(lab_of_file(DEFAULT_LAB))


def names(drawing: Drawing) -> dict[str, str]:
    """Name and address of each box by its key."""
    return {box.key: " ".join(box.lines[:2]) for group in drawing.groups for box in group.boxes}


def test_vpcs_stand_where_they_belong(drawing: Drawing) -> None:
    heads = {column: [group.lines[0].split("  ")[0] for group in drawing.column(column)] for column in Column}
    assert heads == {
        Column.CONSUMER: ["VPC consumer-a", "VPC consumer-b", "VPC consumer-c", "VPC outsider"],
        Column.FABRIC: ["fabric us-east-2a", "fabric us-east-2b"],
        Column.PROVIDER: ["VPC provider"],
    }


def test_arrows_are_the_ways_that_flows_take(drawing: Drawing) -> None:
    known = names(drawing)
    assert {(known[arrow.tail], known[arrow.head]) for arrow in drawing.arrows} == {
        ("consumer-a 10.0.1.50", "endpoint orders-a 10.0.1.10"),
        ("consumer-a2 10.0.2.50", "endpoint orders-a 10.0.2.10"),
        ("consumer-b 10.0.1.50", "endpoint orders-b 10.0.1.10"),
        ("consumer-c 10.9.3.20", "endpoint orders-c 10.9.3.10"),
        ("endpoint orders-a 10.0.1.10", "NLB orders 10.9.0.7"),
        ("endpoint orders-a 10.0.2.10", "NLB orders 10.9.1.7"),
        ("endpoint orders-b 10.0.1.10", "NLB orders 10.9.0.7"),
        ("endpoint orders-c 10.9.3.10", "NLB orders 10.9.0.7"),
        ("NLB orders 10.9.0.7", "target-1 10.9.3.20"),
        ("NLB orders 10.9.1.7", "target-2 10.9.4.20"),
    }


def test_an_arrow_to_a_target_names_its_ports(drawing: Drawing) -> None:
    labels = {arrow.label for arrow in drawing.arrows if arrow.label}
    assert labels == {"TCP 443 > 8080, TCP 80 > 8080, TCP 8081 > 8081, UDP 53 > 8053"}


def test_a_closed_endpoint_is_marked() -> None:
    lab = lab_of_file(DEFAULT_LAB)
    snapshot = compile_snapshot(lab.store)
    zone = snapshot.zones[0]
    closed = replace(zone, enis=tuple(replace(eni, available=False) for eni in zone.enis))
    drawn = draw(Lab(lab.store, replace(snapshot, zones=(closed, *snapshot.zones[1:]))))
    assert "endpoint orders-b (closed) 10.0.1.10" in names(drawn).values()


def test_text_tells_each_box_and_where_it_leads(drawing: Drawing) -> None:
    text = to_text(drawing)
    assert re.search(
        r"consumer-c +10\.9\.3\.20 +us-east-2a +hp-consumer-c\n +-> endpoint orders-c 10\.9\.3\.10\n", text
    )
    assert re.search(r"outsider +10\.0\.1\.50 +us-east-2a +hp-outsider\n\nFABRIC", text)


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        outer.x <= inner.x
        and inner.right <= outer.right
        and outer.y <= inner.y
        and inner.y + inner.height <= outer.y + outer.height
    )


def apart(a: Rectangle, b: Rectangle) -> bool:
    return a.right <= b.x or b.right <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


def test_nothing_overlaps_and_all_is_in_the_picture(drawing: Drawing) -> None:
    layout = lay_out(drawing)
    picture = Rectangle(0, 0, layout.width, layout.height)
    for group in drawing.groups:
        assert inside(layout.groups[group.key], picture)
        for box in group.boxes:
            assert inside(layout.boxes[box.key], layout.groups[group.key])
    for places in (layout.boxes.values(), layout.groups.values()):
        assert all(apart(a, b) for a, b in itertools.combinations(places, 2))


def test_svg_is_well_formed_and_shows_every_line(drawing: Drawing) -> None:
    root = ElementTree.fromstring(to_svg(drawing))
    texts = {element.text for element in root.iter(f"{SVG}text")}
    assert {line for group in drawing.groups for line in group.lines} <= texts
    assert {line for group in drawing.groups for box in group.boxes for line in box.lines} <= texts
    assert len(list(root.iter(f"{SVG}path"))) == len(drawing.arrows) + 1  # and the arrow's tip


NASTY = Drawing(
    'a "quoted" <title> & more',
    (Group("g0", Column.FABRIC, ('"<&\\',), (Box("b0", Kind.TARGET, ('"<&\\', "", "", "")),)),),
    (),
)


def test_svg_escapes() -> None:
    texts = [element.text for element in ElementTree.fromstring(to_svg(NASTY)).iter(f"{SVG}text")]
    assert texts[0] == 'a "quoted" <title> & more'
    assert texts[1] == '"<&\\'


def test_dot_escapes() -> None:
    assert '    label="\\"<&\\\\";' in to_dot(NASTY).splitlines()


def test_mermaid_escapes() -> None:
    assert 'title: "a #quot;quoted#quot; <title> & more"' in to_mermaid(NASTY).splitlines()


def test_mermaid_names_every_arrow(drawing: Drawing) -> None:
    found = re.findall(r"^  (\w+) -->(?:\|.*\|)? (\w+)$", to_mermaid(drawing), re.MULTILINE)
    assert found == [(arrow.tail, arrow.head) for arrow in drawing.arrows]


def test_graphviz_takes_the_dot_file(drawing: Drawing) -> None:
    if shutil.which("dot") is None:
        pytest.skip("graphviz is not installed")
    done = subprocess.run(["dot", "-Tplain"], input=to_dot(drawing), capture_output=True, text=True, check=True)
    assert done.stdout.count("\nnode ") == len(names(drawing))


def test_an_empty_lab_is_an_empty_picture() -> None:
    empty = Drawing("nothing", (), ())
    assert ElementTree.fromstring(to_svg(empty)).tag == f"{SVG}svg"
    assert to_text(empty).startswith("nothing\n")
