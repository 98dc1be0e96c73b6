"""The names that language models have brought into answers and files, from when they were all that was measured. Pure.

A score of a language model is stored in the form that every version reads: `{"val_bpb", "val_tokens", "val_bytes"}`.
So rows of earlier versions and of this one are equal to the last byte. Other scores have no such form. Everything else
in the server takes a score's name from its metric.
"""

from typing import Any, Literal, cast

from pydantic import Field

Name = Literal["val_bpb"]
NAME: Name = "val_bpb"
UNIT = "bits per byte"
WORDS = "validation bits per byte"
COLUMN = "val_bpb"  # of results.tsv
# Fields of answers, null for what is no language model's: that has `value` and `baseline` in their place.
SCORE = Field(validation_alias="val_bpb", serialization_alias="val_bpb")
BASELINE = Field(validation_alias="baseline_val_bpb", serialization_alias="baseline_val_bpb")

_DETAILS = ("val_tokens", "val_bytes")  # in the order of stored rows
_STORED = (NAME, *_DETAILS)
_TRUST = "sealed"
_SCHEMA: dict[str, Any] = {
    "additionalProperties": False,
    "description": "What the referee measured on the validation text.",
    "properties": {
        "val_bpb": {"minimum": 0, "title": "Val Bpb", "type": "number"},
        "val_tokens": {"exclusiveMinimum": 0, "title": "Val Tokens", "type": "integer"},
        "val_bytes": {"exclusiveMinimum": 0, "title": "Val Bytes", "type": "integer"},
    },
    "required": list(_STORED),
    "title": "Score",
    "type": "object",
}


def score_schema(fields: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a score in answers: a language model's form, or any score's `fields`."""
    return {"anyOf": [_SCHEMA, {**fields, "title": "ScoreOfATask"}], "title": "Score"}


def read_score(data: Any) -> Any:
    """The fields of a `Score`, from the stored form, from an export's both forms, or as they are.

    Raises:
        ValueError: a stored form lacks something, or has a value that cannot be.
    """
    if not isinstance(data, dict) or NAME not in data:
        return cast("Any", data)
    told = cast("dict[str, Any]", data)
    bits, *sizes = [told.get(name) for name in _STORED]
    if not isinstance(bits, int | float) or not bits >= 0:
        raise ValueError(f"{NAME} is no number from 0 on")
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{' and '.join(_DETAILS)} are no whole numbers from 1 on")
    rest = {name: value for name, value in told.items() if name not in _STORED}
    made = {"name": NAME, "value": bits, "unit": UNIT, "trust": _TRUST}
    return {**made, "details": dict(zip(_DETAILS, sizes, strict=True)), **rest}


def stored_score(fields: dict[str, Any]) -> dict[str, Any]:
    """The form in which the fields of a `Score` are stored and answered."""
    known = {"name": NAME, "unit": UNIT, "trust": _TRUST}
    if any(fields.get(name) != value for name, value in known.items()) or {*fields["details"]} != {*_DETAILS}:
        return fields
    return {NAME: fields["value"], **{name: fields["details"][name] for name in _DETAILS}}


_VALUES = {NAME: "value", "baseline_val_bpb": "baseline"}  # the fields of answers, and the names that all tasks have
# What an answer leaves out where it says nothing, as for most language models.
_MAY_BE_SILENT = (
    *(*_VALUES.values(), "unit", "each_run", "reported", "bill", "headline", "keeps", "standing", "error"),
    *("lane", "lanes", "place", "agents", "first_score"),
)


def with_values(data: Any) -> Any:
    """The fields of an answer, with a language model's scores also under the names that all tasks have."""
    if not isinstance(data, dict):
        return data
    told = cast("dict[str, Any]", data)
    return {**{other: told[name] for name, other in _VALUES.items() if name in told and other not in told}, **told}


def without_values(told: dict[str, Any]) -> dict[str, Any]:
    """An answer without the fields of other tasks that say nothing here, or say it again."""
    again = {other for name, other in _VALUES.items() if told.get(name) is not None}
    if again:  # a language model's
        again |= {"unit", "each_run"}
    silent = {name for name in _MAY_BE_SILENT if told.get(name) in (None, "")}
    answer = {name: value for name, value in told.items() if name not in again | silent}
    of_task = not again and told.get("value") is not None
    if of_task and isinstance(told.get("figures"), dict):
        answer["figures"] = known_figures(told["figures"])
    return answer


def known_figures(figures: dict[str, Any]) -> dict[str, Any]:
    """Those that a run has: of a task, what only a language model's run can have is left out of answers."""
    return {name: value for name, value in figures.items() if value is not None}
