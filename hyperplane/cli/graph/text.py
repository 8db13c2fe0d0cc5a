"""A drawing as plain text: groups, their boxes, and where each box leads."""

from hyperplane.cli.graph.drawing import Box, Column, Drawing

_HEADS = {Column.CONSUMER: "CONSUMERS", Column.FABRIC: "FABRIC", Column.PROVIDER: "PROVIDERS"}


def to_text(drawing: Drawing) -> str:
    """Lines, each box with the arrows that start there."""
    boxes = {box.key: box for group in drawing.groups for box in group.boxes}
    widths = [max(len(box.lines[place]) for box in boxes.values()) for place in range(4)] if boxes else [0] * 4
    lines = [drawing.title]
    for column, head in _HEADS.items():
        lines += ["", head]
        for group in drawing.column(column):
            lines.append("  " + "  ".join(group.lines))
            for box in group.boxes:
                cells = (text.ljust(width) for text, width in zip(box.lines, widths, strict=True))
                lines.append("    " + "  ".join(cells).rstrip())
                lines += (f"      -> {text}" for text in _ways(box, drawing, boxes))
    return "\n".join(lines) + "\n"


def _ways(box: Box, drawing: Drawing, boxes: dict[str, Box]) -> list[str]:
    return [
        " ".join(boxes[arrow.head].lines[:2]) + (f"  ({arrow.label})" if arrow.label else "")
        for arrow in drawing.arrows
        if arrow.tail == box.key
    ]
