"""Tables for the terminal: aligned columns, and a line of totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def print_table(title: str, rows: Mapping[str, Mapping[str, Any]], total: Mapping[str, Any]) -> None:
    """Prints nothing where there are no rows.

    Args:
        rows: by name; all with the same columns.
        total: of those columns that have one.
    """
    if not rows:
        return
    columns = list(next(iter(rows.values())))
    cells = [[title, *(column.replace("_", " ") for column in columns)]]
    cells += [[name, *(_cell(row[column]) for column in columns)] for name, row in rows.items()]
    cells.append(["total", *(_cell(total.get(column, "")) for column in columns)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "-" * (sum(widths) + 2 * len(columns))
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
    print("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], ""]))


def _cell(value: Any) -> str:
    match value:
        case Mapping():
            return ", ".join(f"{name} {count:,}" for name, count in value.items()) or "-"
        case float():
            return f"{value:,.3f}"
        case int():
            return f"{value:,}"
    return str(value)
