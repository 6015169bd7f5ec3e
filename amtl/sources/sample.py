"""Synthetic events that look like the real thing, from a hidden model whose best reachable AUC is known.

Users and items follow a Zipf-Mandelbrot law with a long tail, and new ones appear every day. The log-odds of a click are

    intercept + main effects + strength * <user, item>
    user = segment's vector + device's + hour's + the user's own
    item = category's vector + its tags' + the item's own

with few hidden dimensions: most of the signal lies in how segments and categories meet, which an embedding model learns and
one-hot logistic regression cannot. What is a user's or an item's own shrinks with its rarity: what nobody could learn is
hardly there. A day is a function of (seed, rows a day, day number) alone, and each file says which day it is, so that
`add_day` continues the same world.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from amtl.data.events import partitions
from amtl.errors import DataError
from amtl.files import publish_folder

METADATA = "amtl.sample"
FILE = "events.parquet"
HELD_OUT = 0.1

SEGMENTS, DEVICES, HOURS, CATEGORIES, TAGS, TAGS_PER_CATEGORY, MOST_TAGS, RANK = 12, 5, 24, 20, 30, 6, 4, 2
USERS_PER_ROW, ITEMS_PER_ROW, NEW_USERS_PER_ROW, NEW_ITEMS_PER_ROW = 0.5, 0.4, 0.01, 0.008
FIRST_USER = 10_000
STRENGTH, OFFSET, TAG_WEIGHT, CONTEXT_WEIGHT, MAIN_EFFECT, OWN_EFFECT, PRICE_EFFECT = 0.92, 0.8, 0.4, 0.2, 0.2, 0.15, 0.2
HEAD, TAIL = 0.06, 2.5
WELL_KNOWN_ROWS, HISTORY_DAYS = 300, 16
LABEL_RATE, NO_DEVICE, NO_PRICE = 0.3, 0.01, 0.02
WORLD_STREAM, USER_STREAM, ITEM_STREAM, DAY_STREAM = range(4)

EVENTS: dict[str, Any] = {
    "name": "sample",
    "label": "click",
    "time": "timestamp",
    "split": {"kind": "time", "test": HELD_OUT, "validation": 0.1},
    "fields": [
        {"name": "user_id", "type": "integer"},
        {"name": "item_id"},
        {"name": "category"},
        {"name": "segment"},
        {"name": "device", "optional": True},
        {"name": "hour", "type": "integer"},
        {"name": "tags", "kind": "ids"},
        {"name": "price", "kind": "number", "optional": True, "range": [0, 10000]},
    ],
}


@dataclass(frozen=True)
class SampleReport:
    """What was written.

    Attributes:
        days: the days written, oldest first.
        rows: events written.
        bytes: size of the files written.
        label_rate: share of clicks among them.
        ceiling_auc: AUC of the true probabilities on the newest tenth of all events; no model can be expected to do better.
    """

    days: tuple[str, ...]
    rows: int
    bytes: int
    label_rate: float
    ceiling_auc: float


@dataclass(frozen=True)
class Settings:
    """What a sample is a function of; written into every file, beside the number of its day."""

    seed: int
    rows_per_day: int
    first_day: str
    shuffle_labels: bool

    def date(self, day: int) -> str:
        """ISO date of a day by its number."""
        return str(date.fromisoformat(self.first_day) + timedelta(days=day))


@dataclass(frozen=True)
class World:
    """Hidden vectors [values, RANK] and main effects [values] of the small fields, and the tags that go with a category."""

    vectors: dict[str, np.ndarray]
    effects: dict[str, np.ndarray]
    category_tags: np.ndarray


@dataclass(frozen=True)
class Population:
    """Users or items up to a day, in order of birth.

    Attributes:
        columns: what events say about them [n rows].
        share: of the day's events [n].
        effect: main effects, their group's and their own [n].
        vector: hidden vector, their group's and their own [n, RANK].
    """

    columns: pl.DataFrame
    share: np.ndarray
    effect: np.ndarray
    vector: np.ndarray


def write_sample(
    root: Path,
    days: int = 20,
    rows_per_day: int = 10_000,
    seed: int = 0,
    first_day: str = "2026-01-01",
    shuffle_labels: bool = False,
) -> SampleReport:
    """Write day partitions; the folder `root` is replaced in one step.

    Args:
        root: the events folder.
        days: partitions to write.
        rows_per_day: events a day; users and items are in proportion.
        seed: another seed is another world.
        first_day: ISO date of the first partition.
        shuffle_labels: permute the labels within each day, so that nothing can be learned (AUC .5).

    Raises:
        DataError: no day, too few rows a day, or `first_day` is no date.
    """
    if days < 1 or rows_per_day < 100:
        raise DataError(f"a sample of {days} days with {rows_per_day} rows each is too small; it needs 1 day and 100 rows at least")
    settings = Settings(seed, rows_per_day, first_day, shuffle_labels)
    try:
        settings.date(days)
    except (ValueError, OverflowError):
        raise DataError(f"{first_day} is no first day of a sample; give a date such as 2026-01-01") from None
    with publish_folder(root) as folder:
        for day in range(days):
            partition = folder / f"date={settings.date(day)}"
            partition.mkdir()
            _write_day(partition / FILE, settings, day)
    return _report(root, settings, range(days), days)


def add_day(root: Path) -> SampleReport:
    """Write the day after the newest one, in the same world; the report's days are the one written.

    Raises:
        DataError: the newest day was not written by `write_sample` or `add_day`.
    """
    present = partitions(root)
    settings, newest = _settings_of(present[-1].files[0])
    day = newest + 1
    with publish_folder(root / f"date={settings.date(day)}") as folder:
        _write_day(folder / FILE, settings, day)
    return _report(root, settings, range(day, day + 1), len(present) + 1)


def is_sample_file(file: Path) -> bool:
    """Whether a Parquet file says that it was written here."""
    try:
        return METADATA in pl.read_parquet_metadata(file)
    except (OSError, pl.exceptions.PolarsError):
        return False


def make_day(settings: Settings, day: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Events of a day in order of time, and the true probability of a click for each, float64 [rows]."""
    events, logits, random = _unlabelled(settings, day)
    first_logits = logits if day == 0 else _unlabelled(settings, 0)[1]
    probabilities = _sigmoid(logits + _intercept(first_logits))
    clicks = random.random(len(events)) < probabilities
    if settings.shuffle_labels:
        clicks = random.permutation(clicks)
        probabilities = np.full(len(events), clicks.mean())
    return events.with_columns(pl.Series("click", clicks).cast(pl.Int8)), probabilities


def _unlabelled(settings: Settings, day: int) -> tuple[pl.DataFrame, np.ndarray, np.random.Generator]:
    """Events of a day without labels, their log-odds but for the intercept, and the day's random numbers from there on."""
    rows, world = settings.rows_per_day, _world(settings.seed)
    users, items = _users(world, settings, day), _items(world, settings, day)
    random = np.random.default_rng([settings.seed, DAY_STREAM, day])
    user = random.choice(len(users.share), rows, p=users.share)
    item = random.choice(len(items.share), rows, p=items.share)
    device = random.choice(DEVICES + 1, rows, p=_device_shares())
    second = np.sort(random.choice(HOURS, rows, p=_hour_shares()) * 3600 + random.integers(0, 3600, rows))
    hour = second // 3600
    context = CONTEXT_WEIGHT * (world.vectors["device"][device] + world.vectors["hour"][hour])
    main = users.effect[user] + items.effect[item] + world.effects["device"][device] + world.effects["hour"][hour]
    logits = main + STRENGTH * ((users.vector[user] + context) * items.vector[item]).sum(1)
    times = np.datetime64(settings.date(day), "us") + second.astype("timedelta64[s]")
    events = pl.DataFrame(
        {
            "timestamp": pl.Series(times).dt.replace_time_zone("UTC"),
            "device": pl.Series([None, "phone", "desktop", "tablet", "television", "console"]).gather(device),
            "hour": hour,
        }
    )
    price_missing = pl.Series(random.random(rows) < NO_PRICE)
    described = events.hstack(users.columns[user]).hstack(items.columns[item])
    return described.with_columns(price=pl.when(~price_missing).then("price")), logits, random


def _world(seed: int) -> World:
    random = np.random.default_rng([seed, WORLD_STREAM])
    tags = np.array([random.permutation(TAGS)[:TAGS_PER_CATEGORY] for _ in range(CATEGORIES)])
    tag_shares = np.bincount(tags.ravel(), weights=np.repeat(_shares(CATEGORIES), TAGS_PER_CATEGORY), minlength=TAGS)
    angle = np.arange(HOURS) / HOURS * 2 * np.pi
    waves = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle)], axis=1)
    vectors = {
        "segment": _standardised(random.standard_normal((SEGMENTS, RANK)), _shares(SEGMENTS)),
        "category": _standardised(random.standard_normal((CATEGORIES, RANK)), _shares(CATEGORIES)),
        "tag": _standardised(random.standard_normal((TAGS, RANK)), tag_shares / tag_shares.sum()),
        "device": _standardised(random.standard_normal((DEVICES + 1, RANK)), _device_shares()),
        "hour": _standardised(waves @ random.standard_normal((3, RANK)), _hour_shares()),
    }
    effects = {name: MAIN_EFFECT * random.standard_normal(len(vectors[name])) for name in ("segment", "category", "device")}
    return World(vectors, {**effects, "hour": MAIN_EFFECT * np.sin(angle + 2 * np.pi * random.random())}, tags)


def _users(world: World, settings: Settings, day: int) -> Population:
    sizes = (USERS_PER_ROW, NEW_USERS_PER_ROW)
    share, segment, bias, own, _ = _births(settings, USER_STREAM, day, sizes, _shares(SEGMENTS))
    columns = pl.DataFrame({"user_id": FIRST_USER + np.arange(len(share)), "segment": _names("segment", SEGMENTS, 2).gather(segment)})
    return Population(columns, share, world.effects["segment"][segment] + bias, OFFSET + world.vectors["segment"][segment] + own)


def _items(world: World, settings: Settings, day: int) -> Population:
    sizes = (ITEMS_PER_ROW, NEW_ITEMS_PER_ROW)
    share, category, bias, own, traits = _births(settings, ITEM_STREAM, day, sizes, _shares(CATEGORIES))
    count = 1 + (traits[:, 0] * MOST_TAGS).astype(int)
    chosen = np.argsort(traits[:, 1 : 1 + TAGS_PER_CATEGORY], axis=1)[:, :MOST_TAGS]
    tags = world.category_tags[category[:, None], chosen]
    used = np.arange(MOST_TAGS) < count[:, None]
    tag_vector = (world.vectors["tag"][tags] * used[..., None]).sum(1) / np.sqrt(count)[:, None]
    log_price = 2 * (traits[:, -3:].sum(1) - 1.5)
    columns = pl.DataFrame(
        {
            "item_id": _names("item", len(share), 6),
            "category": _names("category", CATEGORIES, 2).gather(category),
            "tags": [[f"tag-{tag:02d}" for tag in row[:n]] for row, n in zip(tags, count, strict=True)],
            "price": np.round(20 * np.exp(0.9 * log_price), 2),
        }
    )
    effect = world.effects["category"][category] + bias + PRICE_EFFECT * log_price
    return Population(columns, share, effect, OFFSET + world.vectors["category"][category] + TAG_WEIGHT * tag_vector + own)


def _births(
    settings: Settings, stream: int, day: int, sizes: tuple[float, float], group_shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Everyone born up to `day`, the first generation and one cohort a day: share, group, own effect, own vector, traits."""
    first, later = (max(int(settings.rows_per_day * size), 1) for size in sizes)
    rows_seen = settings.rows_per_day * HISTORY_DAYS
    first_total = _popularity(first).sum()
    cohorts = []
    for born in range(day + 1):
        random = np.random.default_rng([settings.seed, stream, born])
        n = later if born else first
        weight = random.permutation(_popularity(n))
        known = np.sqrt(np.minimum(1, weight / first_total * rows_seen / WELL_KNOWN_ROWS))
        own = OWN_EFFECT * known[:, None] * random.standard_normal((n, 1 + RANK))
        group = random.choice(len(group_shares), n, p=group_shares)
        cohorts.append((weight, group, own[:, 0], own[:, 1:], random.random((n, 4 + TAGS_PER_CATEGORY))))
    weight, group, bias, vector, traits = (np.concatenate(column) for column in zip(*cohorts, strict=True))
    return weight / weight.sum(), group, bias, vector, traits


def _popularity(n: int) -> np.ndarray:
    """Weights of n users or items, the most popular first: a power law that is flat for the topmost few per cent."""
    return ((np.arange(n) + 0.5) / n + HEAD) ** -TAIL


def _shares(n: int) -> np.ndarray:
    weights = (np.arange(n) + 2.0) ** -0.6
    return weights / weights.sum()


def _device_shares() -> np.ndarray:
    """Of no device, then the devices."""
    return np.array([NO_DEVICE, *((1 - NO_DEVICE) * np.array([0.45, 0.3, 0.13, 0.08, 0.04]))])


def _hour_shares() -> np.ndarray:
    weights = 1.3 + np.sin((np.arange(HOURS) - 10) / HOURS * 2 * np.pi)
    return weights / weights.sum()


def _standardised(vectors: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 in every dimension over the events."""
    centred = vectors - shares @ vectors
    return centred / np.sqrt(shares @ centred**2)


def _names(kind: str, n: int, digits: int) -> pl.Series:
    return pl.Series([f"{kind}-{number:0{digits}d}" for number in range(n)], dtype=pl.String)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def _intercept(logits: np.ndarray) -> float:
    """What to add so that the mean probability is LABEL_RATE, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(logits + middle).mean() < LABEL_RATE else (low, middle)
    return round(low, 6)


def _write_day(path: Path, settings: Settings, day: int) -> None:
    events, _ = make_day(settings, day)
    events.write_parquet(path, compression="zstd", metadata={METADATA: json.dumps({**asdict(settings), "day": day}, sort_keys=True)})


def _settings_of(file: Path) -> tuple[Settings, int]:
    """The sample's settings and the day's number, from a file's own metadata."""
    try:
        found = json.loads(pl.read_parquet_metadata(file)[METADATA])
        day = int(found.pop("day"))
        return Settings(**found), day
    except (OSError, pl.exceptions.PolarsError, KeyError, ValueError, TypeError):
        raise DataError(
            f"{file} was not written by `amtl sample`, so that no day can follow it; bring new days with `amtl ingest`"
        ) from None


def _report(root: Path, settings: Settings, written: range, days_in_all: int) -> SampleReport:
    held_out = max(round(HELD_OUT * days_in_all * settings.rows_per_day), 1)
    newest = written[-1]
    needed = range(newest, max(newest - -(-held_out // settings.rows_per_day), -1), -1)
    made = [make_day(settings, day) for day in reversed(needed)]
    clicks = np.concatenate([events["click"].to_numpy() for events, _ in made])[-held_out:]
    probabilities = np.concatenate([probability for _, probability in made])[-held_out:]
    files = [root / f"date={settings.date(day)}" / FILE for day in written]
    rates = [pl.read_parquet(file, columns=["click"], glob=False)["click"].mean() for file in files]
    return SampleReport(
        days=tuple(settings.date(day) for day in written),
        rows=settings.rows_per_day * len(written),
        bytes=sum(file.stat().st_size for file in files),
        label_rate=float(np.mean(rates)),  # type: ignore[arg-type]
        ceiling_auc=_auc(clicks, probabilities),
    )


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties half; .5 without pairs."""
    ranks = pl.Series(scores).rank("average").to_numpy()
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    if pairs == 0:
        return 0.5
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / pairs)
