"""A drawing in Graphviz's language: `hyperplane lab graph --format dot | dot -Tpng`.

Source: graphviz.org, "DOT Language": quoted strings escape quotes and backslashes; a subgraph is drawn
as a frame if its name begins with `cluster`.
"""

from hyperplane.cli.graph.drawing import Column, Drawing, Kind

_FILLS = {Kind.INSTANCE: "#e8f1fb", Kind.ENDPOINT: "#fff3d6", Kind.LOAD_BALANCER: "#fde8e4", Kind.TARGET: "#e7f6ea"}


def to_dot(drawing: Drawing) -> str:
    """A whole digraph."""
    lines = [
        "digraph lab {",
        "  rankdir=LR;",
        f"  label={_quoted(drawing.title)};",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for column in Column:
        for group in drawing.column(column):
            lines += [f"  subgraph cluster_{group.key} {{", f"    label={_quoted(*group.lines)};"]
            for box in group.boxes:
                lines.append(f'    {box.key} [label={_quoted(*box.lines)}, fillcolor="{_FILLS[box.kind]}"];')
            lines.append("  }")
    for arrow in drawing.arrows:
        label = f" [label={_quoted(arrow.label)}]" if arrow.label else ""
        lines.append(f"  {arrow.tail} -> {arrow.head}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
