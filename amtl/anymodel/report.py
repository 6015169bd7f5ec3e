"""What packing a model did, table by table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TableReport:
    """One table.

    Attributes:
        name: dotted name of the module (the first, where several read one weight).
        rows: V. dim: D.
        dense_bytes: what the table took. bytes: what it takes packed, all that says how to read it included.
        sizes: dimensions to how many rows keep so many.
        cost: estimated cross-entropy, nats an event, that cutting and coding its rows costs (of the rows as they were measured).
        packed: whether it was packed; small tables stay as they are.
    """

    name: str
    rows: int
    dim: int
    dense_bytes: int
    bytes: int
    sizes: dict[int, int]
    cost: float
    packed: bool

    @property
    def mean_size(self) -> float:
        """Dimensions that a row keeps on average."""
        return sum(size * rows for size, rows in self.sizes.items()) / self.rows


@dataclass(frozen=True)
class Report:
    """All tables of a model.

    Attributes:
        budget_bytes: what was allowed for all tables together.
        precision: fp32, fp16, int8 or mixed.
        events: how many events the sizes were derived from. output: what the model's output was taken for: logit or probability.
    """

    tables: tuple[TableReport, ...]
    budget_bytes: int
    precision: str
    events: int
    output: str

    @property
    def dense_bytes(self) -> int:
        """What all tables took."""
        return sum(table.dense_bytes for table in self.tables)

    @property
    def bytes(self) -> int:
        """What all tables take now."""
        return sum(table.bytes for table in self.tables)

    @property
    def saved(self) -> float:
        """Share of the tables' bytes that is saved."""
        return 1 - self.bytes / self.dense_bytes

    @property
    def cost(self) -> float:
        """Estimated cross-entropy, nats an event, that cutting and coding rows costs."""
        return sum(table.cost for table in self.tables)

    def __str__(self) -> str:
        width = max(len(table.name) for table in self.tables)
        lines = [
            f"{'table':{width}} {'rows':>12} {'dims':>5} {'kept':>6} {'bytes before':>15} {'after':>13} {'saved':>6}  nats an event",
            *(_line(table, width) for table in self.tables),
            f"{self.bytes:,} of {self.dense_bytes:,} bytes ({self.saved:.1%} saved; budget {self.budget_bytes:,}), {self.precision}; "
            f"it costs about {self.cost:.2g} nats an event (from {self.events:,} events, output read as {self.output})",
        ]
        return "\n".join(lines)


def _line(table: TableReport, width: int) -> str:
    saved = 1 - table.bytes / table.dense_bytes
    rest = f"{saved:>6.1%}  {table.cost:.2g}" if table.packed else "left as it is: small"
    return (
        f"{table.name:{width}} {table.rows:>12,} {table.dim:>5} {table.mean_size:>6.2f} {table.dense_bytes:>15,} {table.bytes:>13,} {rest}"
    )
