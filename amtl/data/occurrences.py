"""Occurrences of each value of a column in memory, by sorting 64-bit integers: several times as fast as a hash table of many values.

Text of up to 8 bytes is such an integer; longer text is grouped.
"""

from __future__ import annotations

import polars as pl

WORD = 8
"""Bytes of an integer."""


def occurrences(values: pl.Series) -> pl.DataFrame:
    """Columns value and count (Int64), each value once, null too if there is any; in no order.

    Args:
        values: Int64, or String without NUL characters.
    """
    if values.dtype != pl.String:
        return _runs(values)
    packed = _packed(values)
    if packed is None:
        return values.to_frame("value").group_by("value").agg(pl.len().cast(pl.Int64).alias("count"))
    runs = _runs(packed)
    return runs.with_columns(_unpacked(runs["value"]).alias("value"))


def _runs(values: pl.Series) -> pl.DataFrame:
    return values.sort(multithreaded=False).rle().struct.unnest().select(pl.col("value"), pl.col("len").cast(pl.Int64).alias("count"))


def _packed(text: pl.Series) -> pl.Series | None:
    """Each text as the integer of its bytes, filled up with NUL; None if one is longer than an integer."""
    lengths = text.str.len_bytes()
    if (lengths > WORD).any():
        return None
    full = text if (lengths == WORD).all() else text.str.pad_end(WORD, "\0")
    packed = full.cast(pl.Binary).bin.reinterpret(dtype=pl.UInt64, endianness="little")
    return packed if packed.null_count() == text.null_count() else None


def _unpacked(packed: pl.Series) -> pl.Series:
    import pyarrow

    integers = packed.to_arrow()
    content = pyarrow.py_buffer(integers.fill_null(0).to_numpy().astype("<u8", copy=False))
    binary = pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(WORD), len(packed), [None, content])
    text = pl.Series(binary).cast(pl.String).str.strip_chars_end("\0")
    return text.set(packed.is_null(), None)
