"""Occurrences of each value of a column in memory, by sorting 64-bit integers: several times as fast as a hash table of many values.

Text of up to 8 bytes is such an integer.
"""

from __future__ import annotations

import polars as pl

WORD = 8
"""Bytes of an integer."""


def occurrences(values: pl.Series) -> pl.DataFrame | None:
    """Columns value and count (Int64), each value once, null too if there is any; in no order. None if a text is too long.

    Args:
        values: Int64, or String without NUL characters.
    """
    if values.dtype != pl.String:
        return _runs(values)
    packed = _packed(values)
    if packed is None:
        return None
    runs = _runs(packed)
    return runs.with_columns(_unpacked(runs["value"]).alias("value"))


def _runs(values: pl.Series) -> pl.DataFrame:
    return values.sort(multithreaded=False).rle().struct.unnest().select(pl.col("value"), pl.col("len").cast(pl.Int64).alias("count"))


def _packed(text: pl.Series) -> pl.Series | None:
    """Each text as the integer of its bytes, filled up with NUL; None if one is longer than an integer.

    What is filled up has at least as many characters, so as many bytes, as an integer; its first bytes are all of the text.
    """
    packed = _reinterpreted(text.cast(pl.Binary))
    if packed.null_count() == text.null_count():  # each text has 8 bytes
        return packed
    if (text.str.len_bytes() > WORD).any():
        return None
    return _reinterpreted(text.str.pad_end(WORD, "\0").cast(pl.Binary).bin.head(WORD))


def _reinterpreted(words: pl.Series) -> pl.Series:
    """Bytes as integers; null where there are not 8 of them."""
    return words.bin.reinterpret(dtype=pl.UInt64, endianness="little")


def _unpacked(packed: pl.Series) -> pl.Series:
    import pyarrow

    integers = packed.to_arrow()
    content = pyarrow.py_buffer(integers.fill_null(0).to_numpy().astype("<u8", copy=False))
    binary = pyarrow.FixedSizeBinaryArray.from_buffers(pyarrow.binary(WORD), len(packed), [None, content])
    text = pl.Series(binary).cast(pl.String).str.strip_chars_end("\0")
    return text.set(packed.is_null(), None)
