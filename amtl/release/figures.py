"""The report's pictures as SVG text that can stand inside an HTML page: no script, no font file, no time stamp.

Each takes the list of `evaluation.json` that it draws and returns None where there is nothing to draw.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

WIDTH = 4.3  # inches; at this width 9 pt text stays readable on a phone
LINES, PANELS, BARS = 6, 3, 12  # fields drawn; more cannot be told apart
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # told apart by colour-blind readers too
MARKERS = ("o", "s", "^", "D", "v", "P")
BLUE, PALE, GREY = "#0072B2", "#B8BEC6", "#6B7280"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "font.size": 9,
    "grid.color": "#E5E7EB",
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",
}


def size_against_frequency(points: Rows, fields: Rows, dim: int | None) -> str | None:
    """Mean size over a value's training count, one line a field, the largest fields only.

    Args:
        points: field, count, mean_size, one a bucket of counts.
        fields: field and values; tells which fields are the largest.
        dim: full width, drawn as a dashed line.
    """
    names = [name for name in _largest(fields) if any(point["field"] == name for point in points)][:LINES]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            line = sorted((point["count"], point["mean_size"]) for point in points if point["field"] == name)
            axes.plot(*zip(*line, strict=True), color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
        if dim:
            axes.axhline(dim, color=GREY, linestyle="--", linewidth=1, label=f"full width, {dim} dims")
        axes.set_xscale("symlog", linthresh=1)
        right = 1.5 * max(point["count"] for point in points) + 1
        axes.set(xlabel="training occurrences of the value", ylabel="mean size (dims)", xlim=(0, right), ylim=(0, None))
        _legend(figure, axes, 3)

    return _svg("size-against-frequency", 3.4, draw) if names else None


def auc_by_band(bands: Rows, fields: Rows) -> str | None:
    """AUC of each frequency band, packed beside fixed width, for the three largest fields.

    Args:
        bands: field, band, count_from, count_to, and auc, auc_fixed where they exist.
        fields: field and values; tells which fields are the largest.
    """
    by_field = {name: [band for band in bands if band["field"] == name and "auc" in band] for name in _largest(fields)}
    drawn = {name: sorted(found, key=lambda band: band["band"]) for name, found in by_field.items() if len(found) > 1}
    names = list(drawn)[:PANELS]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(names), 1, squeeze=False)[:, 0]
        for axes, name in zip(panels, names, strict=True):
            _draw_bands(axes, drawn[name])
            axes.set(title=name, ylabel="AUC")
        panels[-1].set_xlabel("training occurrences of the value")
        _legend(figure, panels[0], 2)

    return _svg("auc-by-band", 0.5 + 1.75 * len(names), draw) if names else None


def bytes_by_field(fields: Rows) -> str | None:
    """Bytes of each field's rows, dense beside packed; beyond twelve, the smallest fields are one bar."""
    ordered = sorted(fields, key=lambda entry: -entry["dense_bytes"])
    shown, rest = (ordered, []) if len(ordered) <= BARS else (ordered[: BARS - 1], ordered[BARS - 1 :])
    bars = [(entry["field"], entry["dense_bytes"], entry["table_bytes"]) for entry in shown]
    if rest:
        bars.append((f"{len(rest)} more fields", sum(e["dense_bytes"] for e in rest), sum(e["table_bytes"] for e in rest)))

    def draw(figure: Figure) -> None:
        widest = max(dense for _, dense, _ in bars)
        unit, scale = _unit(widest)
        axes = figure.subplots()
        places = range(len(bars))
        axes.barh([place - 0.19 for place in places], [dense / scale for _, dense, _ in bars], 0.36, color=PALE, label="dense, fp32")
        axes.barh([place + 0.19 for place in places], [packed / scale for _, _, packed in bars], 0.36, color=BLUE, label="packed")
        for place, (_, dense, packed) in zip(places, bars, strict=True):
            axes.text(
                (dense + 0.01 * widest) / scale, place, f" {written_bytes(packed)} of {written_bytes(dense)}", va="center", fontsize=7
            )
        axes.set_yticks(list(places), [name for name, _, _ in bars])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=f"size of the field's rows ({unit})", xlim=(0, 1.5 * widest / scale))
        _legend(figure, axes, 2)

    return _svg("bytes-by-field", 1.1 + 0.36 * len(bars), draw) if bars else None


def histogram_of_sizes(sizes: Rows, dim: int | None) -> str | None:
    """Values of each size.

    Args:
        sizes: size in dims, values.
        dim: full width; the axis reaches there.
    """

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        axes.bar([entry["size"] for entry in sizes], [entry["values"] for entry in sizes], 0.8, color=BLUE)
        axes.grid(visible=False, axis="x")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set(xlabel="size (dims)", ylabel="values", xlim=(-0.6, (dim or max(entry["size"] for entry in sizes)) + 0.6))

    return _svg("histogram-of-sizes", 2.8, draw) if sizes else None


def against_bytes(lines: Rows, control: float, metric: str, limits: tuple[float, float]) -> str | None:
    """A metric over the bytes of the table, one line a method with its spread over seeds; the full-width control is dashed.

    Args:
        lines: method; points, a list of (bytes, mean, standard deviation); strong: drawn thicker, and first in the legend.
        control: the control's metric.
        metric: name of the axis.
        limits: of the axis; what lies outside is not drawn.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        ordered = sorted(lines, key=lambda line: not line["strong"])
        for line, (marker, colour) in zip(ordered, product(MARKERS, COLOURS), strict=False):
            sizes, means, spreads = zip(*sorted(line["points"]), strict=True)
            style = {"linewidth": 2.0, "zorder": 3} if line["strong"] else {"linewidth": 0.8, "linestyle": (0, (4, 2))}
            axes.errorbar(sizes, means, spreads, color=colour, marker=marker, markersize=4, elinewidth=0.8, label=line["method"], **style)
        axes.axhline(control, color=GREY, linestyle="--", linewidth=1, label="control, full width")
        axes.set(xlabel="bytes of the table, all of them (log scale)", ylabel=metric, ylim=limits)
        _bytes_axis(axes)
        _legend(figure, axes, 3)

    return _svg(f"{metric.lower().replace(' ', '-')}-against-bytes", 5.2, draw) if lines else None


def _bytes_axis(axes: Axes) -> None:
    """A log axis of bytes with ticks at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: written_bytes(value))


def _draw_bands(axes: Axes, bands: Rows) -> None:
    places = range(len(bands))
    fixed = [(place, band["auc_fixed"]) for place, band in zip(places, bands, strict=True) if "auc_fixed" in band]
    if fixed:
        axes.plot(*zip(*fixed, strict=True), color=GREY, marker="o", markerfacecolor="white", linewidth=1, label="fixed width")
    axes.plot(places, [band["auc"] for band in bands], color=BLUE, marker="o", markersize=4, linewidth=1.4, label="packed")
    axes.set_xticks(list(places), [_range(band) for band in bands])
    axes.margins(y=0.2)


def _range(band: Mapping[str, Any]) -> str:
    """A band's counts in few characters: `unseen`, `7`, `1-12`, `10k-2M`."""
    low, high = band["count_from"], band["count_to"]
    if high == 0:
        return "unseen"
    return _short(low) if low == high else f"{_short(low)}–{_short(high)}"


def _short(count: int) -> str:
    for scale, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= scale:
            return f"{count / scale:.1f}{letter}" if count < 10 * scale else f"{count / scale:.0f}{letter}"
    return str(count)


def _largest(fields: Rows) -> list[str]:
    return [entry["field"] for entry in sorted(fields, key=lambda entry: -entry["values"])]


def written_bytes(count: float) -> str:
    """Bytes in the unit that suits them, to four digits."""
    unit, scale = _unit(count)
    return f"{count / scale:.4g} {unit}"


def _unit(count: float) -> tuple[str, int]:
    for name, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return name, scale
    return "bytes", 1


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def _svg(name: str, height: float, draw: Callable[[Figure], None]) -> str:
    """A figure of this height (inches) as an <svg> element whose ids start with `name`, so that several can share a page."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    text = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return svg.replace("<svg", '<svg role="img"', 1)
