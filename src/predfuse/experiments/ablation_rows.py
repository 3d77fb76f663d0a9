"""What an ablation says of every variant: a row of figures, and the rows of a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from predfuse.readers.boundary import read_text, reading


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        variant: Its name; ``base`` is the configuration unchanged.
        changes: Fields changed, as ``field=value``.
        vanilla: Test accuracy, 0..1.
        pruned: Test accuracy; None if it was not pruned.
        predicted: Test accuracy of the better tuning; None if it has no predictor.
        lost: Test accuracy, 0..1, its last stage has less than that of the base; None until the base is finished.
        fused_multiplications: Per image, fused; None where there are no integers (float scales).
        total_cycles: Of one test image on ``archon`` at cycle fidelity; likewise.
        energy_uj: Energy of the same image (uJ); likewise.
    """

    variant: str
    changes: str
    vanilla: float
    pruned: float | None
    predicted: float | None
    lost: float | None
    fused_multiplications: float | None
    total_cycles: int | None
    energy_uj: float | None

    @property
    def last(self) -> float:
        """Accuracy of the last stage it has."""
        return next(value for value in (self.predicted, self.pruned, self.vanilla) if value is not None)


def read_rows(path: Path) -> list[Row]:
    """The rows of an ``ablation.csv``.

    Raises:
        InputError: Missing file, or none of this version's form.
    """
    lines = read_text(path).splitlines()
    with reading(str(path), "holds no ablation", "name an ablation.csv of predfuse ablate"):
        return [_row(line) for line in csv.DictReader(lines)]


def _row(line: Mapping[str, str]) -> Row:
    known = {field.name for field in fields(Row)}
    if set(line) != known:
        raise ValueError("other columns than expected")
    numbers: dict[str, Any] = {
        name: (int(value) if value.isdigit() else float(value)) if value else None
        for name, value in line.items()
        if name not in ("variant", "changes")
    }
    return Row(variant=line["variant"], changes=line["changes"], **numbers)
