"""A drawing in Mermaid's flowchart language, which GitHub and GitLab draw in Markdown.

Source: mermaid.js.org, "Flowcharts - Basic Syntax". Texts are quoted; a double quote inside is `#quot;`.
"""

from hyperplane.cli.graph.drawing import Column, Drawing, Kind

_STYLES = {
    Kind.INSTANCE: "fill:#e8f1fb,stroke:#3b6ea5",
    Kind.ENDPOINT: "fill:#fff3d6,stroke:#b7791f",
    Kind.LOAD_BALANCER: "fill:#fde8e4,stroke:#b5472f",
    Kind.TARGET: "fill:#e7f6ea,stroke:#2f855a",
}


def to_mermaid(drawing: Drawing) -> str:
    """A whole flowchart."""
    lines = ["---", f"title: {_quoted(drawing.title)}", "---", "flowchart LR"]
    for column in Column:
        for group in drawing.column(column):
            lines.append(f"  subgraph {group.key}[{_quoted('<br>'.join(group.lines))}]")
            for box in group.boxes:
                lines.append(f"    {box.key}[{_quoted('<br>'.join(box.lines))}]:::{_class(box.kind)}")
            lines.append("  end")
    for arrow in drawing.arrows:
        label = f"|{_quoted(arrow.label)}|" if arrow.label else ""
        lines.append(f"  {arrow.tail} -->{label} {arrow.head}")
    lines += (f"  classDef {_class(kind)} {style}" for kind, style in _STYLES.items())
    return "\n".join(lines) + "\n"


def _class(kind: Kind) -> str:
    return kind.name.lower().replace("_", "")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', "#quot;") + '"'
