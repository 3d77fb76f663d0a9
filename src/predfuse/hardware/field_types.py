"""What every part of a specification has in common: strict fields with a unit each, values that never change."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

WORD_BITS = 16
"""Width of the words that prices are stated for, and of every shipped machine unless it says otherwise (bits)."""

MASK_WORD_BITS = 16
"""Mask bits in a word of a PE's mask SRAM (bits)."""

Count: TypeAlias = Annotated[int, Field(gt=0, le=1 << 32)]
Amount: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Energy: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Area: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(BaseModel):
    """Any part of a specification: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
