"""params.yaml as frozen, checked settings: one section a stage, every knob with its range.

`load` is the only reader. Unknown keys, missing keys, wrong types and impossible combinations stop with a
`ParamsError` that names the key in full (`train.epochs`).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from amtl.budgets import AUTO, parse_budget, short
from amtl.errors import ParamsError

MOST_CROSS_LAYERS = 16

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=2**40)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
IntTuple = Annotated[tuple[PositiveInt, ...], Field(strict=False)]
Interval = Annotated[tuple[float, float], Field(strict=False)]
Limits = Annotated[tuple[float, float], Field(strict=False)] | None


class Section(BaseModel):
    """A section of params.yaml: no unknown keys, no silent conversions, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FieldParams(Section):
    """One feature column. `id` and `ids` (a list of values) get embedding rows; `number` is fed as it is, standardised."""

    name: Annotated[str, Field(min_length=1)]
    kind: Literal["id", "ids", "number"] = "id"
    type: Literal["integer", "string"] = "string"
    optional: bool = False
    range: Interval | None = None

    @model_validator(mode="after")
    def _range_is_for_numbers(self) -> FieldParams:
        if self.range is not None and self.kind != "number":
            raise ValueError("range goes with kind: number")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError("range is [lowest, highest] with lowest < highest")
        return self


class SplitParams(Section):
    """Which rows train, choose (validation) and judge (test).

    `time`: test = the newest `test` share of rows; validation = a `validation` share of all rows, out of the older ones: by
    a hash of the row's content (`validation_by: random`: training sees events up to the start of test), or the newest of
    them (`validation_by: time`: epochs are chosen on rows as far ahead as test rows are, but the newest do not train).
    `random`: a hash of the row's content and `seed`, stable as data grow. `column`: the column holds the words
    train, validation and test.
    """

    kind: Literal["time", "random", "column"] = "time"
    test: Fraction = 0.1
    validation: Fraction = 0.1
    validation_by: Literal["random", "time"] = "random"
    seed: Seed = 0
    column: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SplitParams:
        if self.test + self.validation >= 1:
            raise ValueError("test + validation must leave rows to train on (< 1)")
        if (self.kind == "column") != (self.column is not None):
            raise ValueError("column is given exactly when kind is column")
        return self


class EventsParams(Section):
    """What a raw event looks like, and how events are split.

    A row whose time is more than `hours_off_day` hours before or after its partition's day (UTC) does not count; null: any time does.
    `compare_days`: whether a day's volume, label rate and new values are judged by the days before it; false for a finished collection
    whose days are few events each.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    label: Annotated[str, Field(min_length=1)]
    time: str | None = None
    hours_off_day: NonNegativeFloat | None = 24
    compare_days: bool = True
    split: SplitParams = SplitParams()
    fields: Annotated[tuple[FieldParams, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> EventsParams:
        names = [field.name for field in self.fields]
        reserved = [self.label, *([self.time] if self.time else []), *([self.split.column] if self.split.column else [])]
        twice = sorted({name for name in names + reserved if (names + reserved).count(name) > 1})
        if twice:
            raise ValueError(f"columns are named twice: {', '.join(twice)}")
        own = sorted(name for name in names + reserved if name.startswith("("))
        if own:
            raise ValueError(f"names that begin with a parenthesis are kept for reports: {', '.join(own)}; rename the column")
        if not self.embedded:
            raise ValueError("at least one field of kind id or ids is needed")
        if self.split.kind == "time" and self.time is None:
            raise ValueError("split.kind: time needs events.time; without a time column use split.kind: random")
        return self

    @property
    def single(self) -> tuple[FieldParams, ...]:
        """Fields with one value a row, in declared order."""
        return tuple(field for field in self.fields if field.kind == "id")

    @property
    def multi(self) -> tuple[FieldParams, ...]:
        """Fields with a list of values a row, in declared order."""
        return tuple(field for field in self.fields if field.kind == "ids")

    @property
    def embedded(self) -> tuple[FieldParams, ...]:
        """Fields that have embedding rows, in table order: the single-valued ones, then the multi-valued ones."""
        return self.single + self.multi

    @property
    def numbers(self) -> tuple[FieldParams, ...]:
        """Numeric fields, in declared order."""
        return tuple(field for field in self.fields if field.kind == "number")


class ValidateParams(Section):
    """What a new day must satisfy.

    Limits of two numbers are [beyond it a warning, beyond it the day is refused]; null: not judged. The jumps compare a day with the
    median of the `history` accepted days before it, as soon as there are three.
    """

    min_rows: PositiveInt = 1
    max_null_share: Share = 0.2
    label_rate: Interval = (0.001, 0.999)
    one_label: Limits = (100, 1000)
    max_quarantined: Share = 0.01
    max_duplicates: Limits = (0.1, 0.4)
    history: PositiveInt = 7
    volume_jump: Limits = (3.0, 8.0)
    label_rate_jump: Limits = (1.5, 2.5)
    new_values_jump: Limits = (0.25, 0.75)
    sample_rows: PositiveInt = 10_000

    @field_validator("label_rate")
    @classmethod
    def _an_interval(cls, label_rate: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= label_rate[0] < label_rate[1] <= 1:
            raise ValueError("must be [lowest, highest] with 0 <= lowest < highest <= 1")
        return label_rate

    @field_validator("one_label", "max_duplicates", "volume_jump", "label_rate_jump", "new_values_jump")
    @classmethod
    def _in_order(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not 0 <= limits[0] <= limits[1]:
            raise ValueError("must be [warning, refused] with 0 <= warning <= refused, or null")
        return limits


class CountParams(Section):
    """How values become rows.

    Values of at least `min_count` training occurrences get a row; of a field's values at most `max_rows` (one number for all fields, or
    a number by field) have one, the most frequent. With a `half_life`, in days, an occurrence counts half of one that is so
    many days younger: frequencies, which the layer reads and caps go by, then follow the newest days; counts stay exact.
    """

    min_count: PositiveInt = 1
    max_rows: PositiveInt | dict[str, PositiveInt] | None = None
    half_life: PositiveFloat | None = None

    @field_validator("max_rows", mode="before")
    @classmethod
    def _rows(cls, max_rows: Any) -> Any:
        entries = max_rows if isinstance(max_rows, dict) else {"": max_rows}
        if max_rows is not None and not all(isinstance(name, str) and type(rows) is int and rows >= 1 for name, rows in entries.items()):
            raise ValueError("must be null, a whole number from 1, or {field: whole number from 1}")
        return max_rows

    def caps(self, events: EventsParams) -> dict[str, int]:
        """Field to the most values that have a row, for the fields that have a cap."""
        if isinstance(self.max_rows, int):
            return {field.name: self.max_rows for field in events.embedded}
        return dict(self.max_rows or {})


class TrainParams(Section):
    """The full-width model."""

    backbone: Literal["mlp", "dlrm", "deepfm", "dcnv2"] = "mlp"
    dim: Annotated[int, Field(ge=2, le=1024)] = 16
    hidden: IntTuple = (128, 64)
    cross_layers: Annotated[int, Field(ge=1, le=MOST_CROSS_LAYERS)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_norm: bool = False
    init_std: PositiveFloat = 0.01
    l2: NonNegativeFloat = 0.0
    unknown_rate: Annotated[float, Field(ge=0, lt=1)] = 0.01
    epochs: PositiveInt = 10
    patience: PositiveInt = 1
    batch_size: PositiveInt = 1024
    learning_rate: PositiveFloat = 1e-3
    seed: Seed = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    bf16: bool = False
    checkpoint_steps: PositiveInt = 2000


class SearchParams(Section):
    """Where the sizes come from.

    `curvature`: what cutting costs, in closed form; `twins`: the layer with the ordered head under a budget; `twins-cold`: the same,
    learned from frequency alone together with a fresh model, for tables that are trained anew (`born_again`); `rule`: the log count;
    `auto`: the best of these on validation at the budget, cold ones where tables are trained anew; `paper`: the layer as published, its
    saving is what comes out.
    """

    sizes: Literal["auto", "curvature", "twins", "twins-cold", "rule", "paper"] = "auto"
    hidden: IntTuple = (64, 32)
    temperature: PositiveFloat = 1.0
    buckets: PositiveInt = 64
    frequency_groups: PositiveInt = 8
    energy_groups: PositiveInt = 16
    learning_rate: PositiveFloat = 1e-2
    rows: PositiveInt = 400_000
    steps: PositiveInt = 150
    ladder: Annotated[tuple[Fraction, ...], Field(strict=False, min_length=1)] = (0.4, 0.2, 0.1, 0.05, 0.02, 0.01)
    epochs: PositiveInt = 1

    @field_validator("ladder")
    @classmethod
    def _falls(cls, ladder: tuple[float, ...]) -> tuple[float, ...]:
        if list(ladder) != sorted(set(ladder), reverse=True):
            raise ValueError("the ladder must fall strictly, e.g. [0.6, 0.4, 0.2]")
        return ladder


class FinetuneParams(Section):
    """Training after the cut, under the mask; the fixed-width control gets the same.

    `distillation` is the weight of a teacher's predictions in the loss, beside the labels: the control learns from itself. A cut model
    learns from the control what it says of events of which a share `recombined` of the fields is another event's; 0: what it says of
    the events as they are, beside the labels. The learning rate falls to 0 over all epochs. Where few of the numbers are kept, the cut
    is made in steps; `rounds` is how many trainings that takes: 1 trains at the end alone, each more once on the way down. With
    `born_again` it is how often the control is fine-tuned that is trained anew, and the best of the cut models that are: all compete
    after the first, and the winner gets the rest. `born_again` lets models compete that are trained anew with the control as their
    teacher: one of full width to be the control, and one at the sizes of each selector to be what is served, which it is where the cut
    loses something or it is surely better. That is a training from untrained weights each, whatever the parent.
    """

    epochs: Annotated[int, Field(ge=0)] = 3
    patience: PositiveInt = 1
    learning_rate: PositiveFloat = 5e-4
    distillation: Share = 0.5
    recombined: Share = 0.3
    rounds: PositiveInt = 1
    born_again: bool = False

    @model_validator(mode="after")
    def _born_again_has_a_teacher(self) -> FinetuneParams:
        if self.born_again and not self.distillation:
            raise ValueError("born_again needs a teacher: set distillation above 0, or born_again to false")
        return self


class ToleranceParams(Section):
    """What counts as losing nothing: validation AUC lower, and log loss higher (nats an event), than the control's by at most this."""

    auc: NonNegativeFloat = 0.0005
    logloss: NonNegativeFloat = 0.001


class CompressParams(Section):
    """The table file: its budget, how its numbers are written, and the training after the cut.

    The budget is a share of the dense fp32 table ("40%", 0.4), bytes ("40MB", 40000000), or `auto`: the smallest table that loses
    nothing within `tolerance`. In precision `mixed` every field, size and dimension has its own number of bits, from 2 to 8.
    """

    budget: float | int | str = 0.4
    precision: Literal["fp32", "fp16", "int8", "mixed"] = "fp32"
    tolerance: ToleranceParams = ToleranceParams()
    finetune: FinetuneParams = FinetuneParams()

    @field_validator("budget")
    @classmethod
    def _readable(cls, budget: float | int | str) -> float | int | str:
        try:
            if budget != AUTO:
                parse_budget(budget, 1)
        except ValueError as error:
            raise ValueError(f"{error}, or {AUTO}") from None
        return budget


class EvaluateParams(Section):
    """How the result is looked at."""

    bands: Annotated[int, Field(ge=1, le=20)] = 5
    batch_size: PositiveInt = 8192


class GateParams(Section):
    """When a challenger becomes champion. AUC differences are absolute; positive `min_gain` asks for more than equal."""

    min_auc: Share = 0.5
    max_logloss: PositiveFloat = 1.0
    max_drop_fixed: NonNegativeFloat = 0.002
    max_drop_champion: NonNegativeFloat = 0.002
    min_gain: NonNegativeFloat = 0.0


class RegisterParams(Section):
    """Where the result goes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Params(Section):
    """The whole of params.yaml."""

    events: EventsParams
    validate_: ValidateParams = Field(default=ValidateParams(), alias="validate")
    count: CountParams = CountParams()
    train: TrainParams = TrainParams()
    search: SearchParams = SearchParams()
    compress: CompressParams = CompressParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = GateParams()
    register_: RegisterParams = Field(alias="register")

    @model_validator(mode="after")
    def _paper_has_one_precision(self) -> Params:
        if self.search.sizes == "paper" and self.compress.precision == "mixed":
            raise ValueError("compress.precision: mixed needs a search that prices sizes; with search.sizes: paper use int8")
        return self

    @model_validator(mode="after")
    def _counting_fits_the_events(self) -> Params:
        capped = self.count.max_rows if isinstance(self.count.max_rows, dict) else {}
        known = [field.name for field in self.events.embedded]
        unknown = [name for name in capped if name not in known]
        if unknown:
            raise ValueError(f"count.max_rows.{unknown[0]} names no field of kind id or ids; there are {', '.join(known)}")
        if self.count.half_life is not None and self.events.time is None:
            raise ValueError("count.half_life needs events.time: a day of import is no time; set it to null")
        return self


def load(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: the file is missing or not YAML; a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist; run this inside an amtl workspace") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: 2026-13-45, an integer of 5000 digits
        raise ParamsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    return parse(raw, str(path))


def parse(raw: Any, source: str = "params.yaml") -> Params:
    """Check the parsed content of params.yaml; see `load`."""
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = [_sentence(problem, raw) for problem in error.errors()]
        raise ParamsError(f"{source}: " + "; ".join(dict.fromkeys(problems))) from None


def _sentence(problem: Any, raw: Any) -> str:
    unknown = problem["type"] == "extra_forbidden"
    location = [part for part in problem["loc"] if unknown or part not in {"float", "int", "str"}]
    key = ".".join(str(part) for part in location) or "the file"
    if unknown:
        near = difflib.get_close_matches(str(location[-1]), _known_keys(location[:-1]), n=1)
        return f"{key} is not a known key" + (f"; did you mean {near[0]}?" if near else "")
    if problem["type"] == "missing":
        return f"{key} is missing"
    message = problem["msg"].removeprefix("Value error, ")
    if not location and problem["type"] == "value_error":  # sections that do not fit together: the message names the keys
        return message
    return f"{key}: {message[0].lower()}{message[1:]} (got {short(problem.get('input'))})"


def _known_keys(location: list[Any]) -> list[str]:
    """The keys that the section at `location` knows."""
    model: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        by_key = {info.alias or name: info for name, info in model.model_fields.items()}
        annotation = by_key[part].annotation
        model = FieldParams if part == "fields" else annotation
    return [info.alias or name for name, info in model.model_fields.items()]
