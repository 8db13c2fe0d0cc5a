"""A drawing as SVG 1.1, by hand: rectangles, text and curves, no script, no font, nothing from elsewhere."""

from collections.abc import Iterator
from html import escape

from hyperplane.cli.graph.drawing import Arrow, Box, Column, Drawing, Group, Kind
from hyperplane.cli.graph.layout import LINE, PAD, Layout, Rectangle, lay_out, text_width

_COLOURS = {
    Kind.INSTANCE: ("#e8f1fb", "#3b6ea5"),
    Kind.ENDPOINT: ("#fff3d6", "#b7791f"),
    Kind.LOAD_BALANCER: ("#fde8e4", "#b5472f"),
    Kind.TARGET: ("#e7f6ea", "#2f855a"),
}
_OUTLINES = {Column.CONSUMER: "#3b6ea5", Column.FABRIC: "#718096", Column.PROVIDER: "#2f855a"}

_HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" \
viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="12">
<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">\
<path d="M0,0 L8,4 L0,8 z" fill="#4a5568"/></marker></defs>
<rect width="100%" height="100%" fill="#ffffff"/>
"""


def to_svg(drawing: Drawing) -> str:
    """A whole SVG document."""
    layout = lay_out(drawing)
    parts = [_HEAD.format(width=layout.width, height=layout.height)]
    parts.append(_text(PAD, 24, drawing.title, size=15, bold=True))
    for group in drawing.groups:
        parts += _group(group, layout)
    parts += (_curve(arrow, layout) for arrow in drawing.arrows)
    for group in drawing.groups:
        for box in group.boxes:
            parts += _box(box, layout.boxes[box.key])
    for arrow in drawing.arrows:
        if arrow.label:
            parts += _label(arrow, layout)
    return "".join([*parts, "</svg>\n"])


def _text(x: float, y: float, text: str, size: int = 12, bold: bool = False, colour: str = "#1a202c") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} fill="{colour}">{escape(text)}</text>\n'


def _rectangle(place: Rectangle, fill: str, stroke: str, extra: str = "") -> str:
    return (
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="6" '
        f'fill="{fill}" stroke="{stroke}"{extra}/>\n'
    )


def _group(group: Group, layout: Layout) -> Iterator[str]:
    place = layout.groups[group.key]
    colour = _OUTLINES[group.column]
    yield _rectangle(place, "#fafafa", colour, ' stroke-dasharray="5,3"')
    for turn, line in enumerate(group.lines):
        yield _text(place.x + PAD, place.y + LINE * (turn + 1), line, bold=turn == 0, colour=colour)


def _box(box: Box, place: Rectangle) -> Iterator[str]:
    fill, stroke = _COLOURS[box.kind]
    yield _rectangle(place, fill, stroke)
    for turn, line in enumerate(box.lines):
        yield _text(place.x + PAD, place.y + LINE * (turn + 1) + 2, line, bold=turn == 0)


def _ends(arrow: Arrow, layout: Layout) -> tuple[float, float, float, float]:
    tail, head = layout.boxes[arrow.tail], layout.boxes[arrow.head]
    if head.x >= tail.right:
        return tail.right, tail.middle, head.x, head.middle
    return tail.x, tail.middle, head.right, head.middle  # a VPC that is consumer and provider: the arrow goes back


def _curve(arrow: Arrow, layout: Layout) -> str:
    x1, y1, x2, y2 = _ends(arrow, layout)
    bend = (x2 - x1) / 2
    path = f"M{x1:.1f},{y1:.1f} C{x1 + bend:.1f},{y1:.1f} {x2 - bend:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    return f'<path d="{path}" fill="none" stroke="#4a5568" stroke-width="1.3" marker-end="url(#tip)"/>\n'


def _label(arrow: Arrow, layout: Layout) -> Iterator[str]:
    """In the middle of the arrow, on a white ground."""
    x1, y1, x2, y2 = _ends(arrow, layout)
    lines = tuple(arrow.label.split(", "))
    width, height = text_width(lines), len(lines) * LINE
    x, y = (x1 + x2) / 2 - width / 2, (y1 + y2) / 2 - height / 2
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height + 4:.1f}" '
        'fill="#ffffff" fill-opacity="0.9"/>\n'
    )
    for turn, line in enumerate(lines):
        yield _text(x + 3, y + LINE * (turn + 1) - 3, line, size=11, colour="#4a5568")
