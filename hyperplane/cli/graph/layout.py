"""Where everything of a drawing stands, in pixels: three columns, groups stacked, arrows between edges.

Widths are estimated from the number of letters (a bold sans-serif letter of 12 px is 7.4 px wide or less), because
a program without fonts cannot measure text. In the fabric the endpoints stand on the consumers' side and the
load balancers on the providers'.
"""

from collections.abc import Callable
from dataclasses import dataclass

from hyperplane.cli.graph.drawing import Arrow, Box, Column, Drawing, Group, Kind

LINE = 16
PAD = 14
_LETTER = 7.4
_GAP_BETWEEN_BOXES = 12
_GAP_BETWEEN_GROUPS = 22
_GAP_BETWEEN_COLUMNS = 130
_GAP_INSIDE_FABRIC = 70
_TITLE = 40


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Upper left corner and size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(frozen=True, slots=True)
class Layout:
    """Places by key, and the size of the whole."""

    width: float
    height: float
    groups: dict[str, Rectangle]
    boxes: dict[str, Rectangle]


def text_width(lines: tuple[str, ...]) -> float:
    """Room that the longest line needs."""
    return max(map(len, lines), default=0) * _LETTER


def lay_out(drawing: Drawing) -> Layout:
    """Places for all groups and boxes."""
    columns = [_Column(drawing.column(column)) for column in Column]
    height = max((column.height for column in columns), default=0)
    groups: dict[str, Rectangle] = {}
    boxes: dict[str, Rectangle] = {}
    x: float = PAD
    for column, following in zip(columns, [*columns[1:], None], strict=True):
        column.place(x, _TITLE + (height - column.height) / 2, groups, boxes)
        x += column.width
        if following is not None:
            x += max(_GAP_BETWEEN_COLUMNS, _label_width(drawing.arrows, column, following) + 3 * PAD)
    title_width = text_width((drawing.title,)) + 2 * PAD
    return Layout(max(x + PAD, title_width), height + _TITLE + PAD, groups, boxes)


def _label_width(arrows: tuple[Arrow, ...], left: "_Column", right: "_Column") -> float:
    between = (arrow for arrow in arrows if arrow.tail in left.keys and arrow.head in right.keys)
    return max((text_width(tuple(arrow.label.split(", "))) for arrow in between), default=0)


class _Column:
    """Groups above each other, all of one width."""

    def __init__(self, groups: list[Group]) -> None:
        self._shapes = [_Shape(group) for group in groups]
        self.width = max((shape.width for shape in self._shapes), default=0)
        gaps = _GAP_BETWEEN_GROUPS * max(0, len(groups) - 1)
        self.height = sum(shape.height for shape in self._shapes) + gaps
        self.keys = {box.key for group in groups for box in group.boxes}

    def place(self, x: float, y: float, groups: dict[str, Rectangle], boxes: dict[str, Rectangle]) -> None:
        for shape in self._shapes:
            outline = Rectangle(x, y, self.width, shape.height)
            groups[shape.key] = outline
            shape.place(outline, boxes)
            y += shape.height + _GAP_BETWEEN_GROUPS


class _Shape:
    """A group: its lines, below them one or two stacks of boxes."""

    def __init__(self, group: Group) -> None:
        self.key = group.key
        is_left: Callable[[Box], bool] = lambda box: box.kind is not Kind.LOAD_BALANCER  # noqa: E731
        split = [[box for box in group.boxes if is_left(box)], [box for box in group.boxes if not is_left(box)]]
        self._stacks = [stack for stack in split if stack]
        self._widths = [max(text_width(box.lines) for box in stack) + 2 * PAD for stack in self._stacks]
        self._head = len(group.lines) * LINE + PAD
        self._body = max((_stack_height(stack) for stack in self._stacks), default=0)
        gaps = _GAP_INSIDE_FABRIC * max(0, len(self._stacks) - 1)
        self.width = max(text_width(group.lines), sum(self._widths) + gaps) + 2 * PAD
        self.height = self._head + self._body + (PAD if self._body else 0)

    def place(self, outline: Rectangle, boxes: dict[str, Rectangle]) -> None:
        for turn, (stack, width) in enumerate(zip(self._stacks, self._widths, strict=True)):
            x = outline.x + PAD if turn == 0 else outline.right - PAD - width
            if len(self._stacks) == 1:
                width = outline.width - 2 * PAD
            y = outline.y + self._head + (self._body - _stack_height(stack)) / 2
            for box in stack:
                boxes[box.key] = Rectangle(x, y, width, box_height(box))
                y += box_height(box) + _GAP_BETWEEN_BOXES


def box_height(box: Box) -> float:
    """Its lines and a little air."""
    return len(box.lines) * LINE + PAD


def _stack_height(boxes: list[Box]) -> float:
    return sum(box_height(box) for box in boxes) + _GAP_BETWEEN_BOXES * (len(boxes) - 1)
