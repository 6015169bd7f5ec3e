"""A bounded sample of a field's values, with their occurrences, that samples of other days can be compared with.

The sample holds the `SIZE` values of the smallest hashes (bottom-k; with one hash function for all days it is *coordinated*: a value
that is in one day's sample is in another day's too, if that day has it and its hash lies below that day's threshold). An entry's
occurrences are exact: a value that is among the smallest in the end was among them from its first occurrence on.

With threshold t, the share of the hash range below it, a value is in the sample with probability t, given all other values. So the
sum over sampled values of occurrences / t is an unbiased estimate of the occurrences of all values, and of the values of any kind
that can be told from the sample, such as those that earlier days do not have (Horvitz and Thompson 1952; for bottom-k by rank
conditioning: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007). A sample that is not full holds every value:
t is 1 and the estimate is exact. The number of different values is (k - 1) / t (KMV: Bar-Yossef et al., RANDOM 2002).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

SIZE = 4096
SCHEMA = pl.Schema({"hash": pl.UInt64(), "occurrences": pl.Int64()})
HASHES = 2.0**64


def empty() -> pl.DataFrame:
    """The sample of no values."""
    return pl.DataFrame(schema=SCHEMA)


def grown(sample: pl.DataFrame, hashes: pl.Series) -> pl.DataFrame:
    """The sample after more occurrences.

    Args:
        sample: columns hash, occurrences; the smallest hashes, sorted.
        hashes: UInt64, one an occurrence; nulls do not count.
    """
    hashes = hashes.drop_nulls().rename("hash")
    if len(sample) == SIZE:
        hashes = hashes.filter(hashes <= sample["hash"].last())
    counted = hashes.value_counts(name="occurrences").cast(SCHEMA)
    return pl.concat([sample, counted]).group_by("hash").agg(pl.col("occurrences").sum()).sort("hash").head(SIZE)


def threshold(sample: pl.DataFrame) -> int | None:
    """The hash below which the sample holds every value; None if it holds all."""
    return int(sample["hash"].max()) if len(sample) == SIZE else None  # type: ignore[arg-type]


def distinct(sample: pl.DataFrame) -> int:
    """How many different values there are, about; exact up to `SIZE` - 1."""
    limit = threshold(sample)
    return len(sample) if limit is None else round((SIZE - 1) * HASHES / limit)


@dataclass(frozen=True)
class NewShare:
    """The share of a field's occurrences that are of values which earlier days do not have, and its standard error."""

    share: float
    error: float


def new_share(sample: pl.DataFrame, occurrences: int, earlier: Sequence[pl.DataFrame]) -> NewShare:
    """Estimate how much of a field is new.

    Args:
        sample: of the day.
        occurrences: of all values of the day, exact.
        earlier: samples of earlier days.
    """
    limits = [limit for one in [sample, *earlier] if (limit := threshold(one)) is not None]
    limit = min(limits) if limits else None
    chance = 1.0 if limit is None else limit / HASHES
    known = pl.concat([one.select("hash") for one in earlier]).unique()
    comparable = sample if limit is None else sample.filter(pl.col("hash") < limit)
    new = comparable.join(known, on="hash", how="anti")["occurrences"].to_numpy().astype(float)
    estimate, variance = float(new.sum()) / chance, float((new**2).sum()) * (1 - chance) / chance**2
    return NewShare(min(estimate / occurrences, 1.0), variance**0.5 / occurrences)


def shared(sample: pl.DataFrame, other: pl.DataFrame) -> float:
    """The share of the sample's different values that the other sample has, of those that it can be asked for."""
    limits = [limit for one in (sample, other) if (limit := threshold(one)) is not None]
    asked = sample.filter(pl.col("hash") < min(limits)) if limits else sample
    return len(asked.join(other, on="hash", how="semi")) / len(asked) if len(asked) else 0.0
