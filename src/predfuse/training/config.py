"""The training configuration: one YAML file, every hyperparameter in it, unknown keys rejected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from predfuse.errors import InputError
from predfuse.predictor.format import LargestWeight, PredictorFormat, Scales
from predfuse.readers.documents import parse_yaml, put, read_mapping, validated


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkConfig(_Strict):
    """Which network. Input shape and number of classes of a registered one are those of the data."""

    name: str = Field(
        description="A registered network (predfuse.models.names()), a network file (predfuse trace), or "
        "package.module:function that returns a torch.nn.Module (its code is run).",
        examples=["fusionet-s"],
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments of a registered network, e.g. width or stage_middle."
    )
    new_weights: bool = Field(
        True, description="Whether a file or function starts from new weights by the seed, or goes on from its own."
    )


class DataConfig(_Strict):
    """Where the images come from and how they are varied."""

    name: str = Field(
        description="fashion-mnist, cifar10, cifar100, or folder:PATH with a sub-folder of pictures per class.",
        examples=["fashion-mnist"],
    )
    root: Path | None = Field(None, description="Folder of the data set; default: the usual places.")
    limit: int | None = Field(None, gt=0, description="Use only the first images of each split.")
    size: int | None = Field(None, gt=0, description="Side in pixels the pictures of an image folder are resampled to.")
    crop_padding_pixels: int = Field(2, ge=0, description="Random shifts by up to this many pixels.")
    flip: bool = Field(True, description="Mirror half of the images.")
    cutout_pixels: int = Field(0, ge=0, description="Side of a square of every image that is blanked; 0: none.")
    held_out: int = Field(
        0,
        ge=0,
        description="So many training images, evenly spread, are not trained on: choices are made by accuracy on them, "
        "the test images wait for the end of a stage. 0: none, epochs are followed by accuracy on the test images.",
    )


EPOCHS = "Of this stage; parts of one are fine."
RATE = "Of SGD with Nesterov momentum 0.9, at its highest."
WARMUP = "Part of the stage in which the rate grows from 0; then it falls along half a cosine."


class VanillaConfig(_Strict):
    """Stage 1: ordinary training; learning rate with linear warm-up, then half a cosine to zero."""

    epochs: float = Field(10, gt=0, description=EPOCHS)
    learning_rate: float = Field(0.1, gt=0, description=RATE)
    warmup_fraction: float = Field(0.15, ge=0, lt=1, description=WARMUP)
    weight_decay: float = Field(5e-4, ge=0, description="Of weights; norms and biases have none.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of every label spread over all classes.")


class DistilledConfig(VanillaConfig):
    """A later stage, which may also learn from the scores of the vanilla network.

    Source: Hinton 2015, arXiv 1503.02531.
    """

    distillation_weight: float = Field(0.0, ge=0, le=1, description="Of the teacher's scores; the labels get the rest.")
    distillation_temperature: float = Field(2.0, gt=0, description="Softens the scores of both.")
    distillation_ensemble: bool = Field(
        False, description="The teacher's scores are the mean of those of the vanilla network and the network before."
    )
    feature_weight: float = Field(
        0.0, ge=0, description="Of the distance of the blocks' outputs from those of the network before."
    )
    seed: int | None = Field(
        None, ge=0, lt=1 << 62, description="Order and variation of the images; default: that of the stage before."
    )

    @property
    def needs_teacher(self) -> bool:
        """Whether the vanilla network runs beside the one trained."""
        return self.distillation_weight > 0

    @property
    def needs_guide(self) -> bool:
        """Whether the network before does."""
        return self.feature_weight > 0 or (self.needs_teacher and self.distillation_ensemble)


class PruneConfig(DistilledConfig):
    """Stage 2: magnitude pruning with a cubic schedule, then recovery at the final sparsity."""

    epochs: float = Field(6, gt=0, description=EPOCHS)
    learning_rate: float = Field(0.03, gt=0, description=RATE)
    warmup_fraction: float = Field(0.0, ge=0, lt=1, description=WARMUP)
    pointwise_sparsity: float = Field(0.8, ge=0, lt=1, description="Of the blocks' 1x1 convolutions.")
    depthwise_sparsity: float = Field(0.7, ge=0, lt=1, description="Of the blocks' depthwise convolutions.")
    shift_sparsity: float = Field(
        0.0, ge=0, le=1, description="Of the shifts after the blocks' expand and depthwise; 0: not pruned, 1: removed."
    )
    outside_sparsity: float = Field(
        0.0, ge=0, lt=1, description="Of the 1x1 convolutions outside the blocks (stem and tail); 0: not pruned."
    )
    window_sparsity: float = Field(
        0.0, ge=0, lt=1, description="Of the convolutions outside the blocks with larger windows (stem); 0: not pruned."
    )
    ramp_fraction: float = Field(0.5, gt=0, le=1, description="Part of the stage in which sparsity grows.")
    update_every_steps: int = Field(16, gt=0, description="While sparsity grows, weights are chosen anew this often.")


class PredictConfig(DistilledConfig):
    """Stage 3: the predictor; first layer-wise, then end to end with the main weights frozen or tuned jointly.

    Source: docs/explanation/zoo.md, Recipe.
    """

    epochs: float = Field(5, gt=0, description=EPOCHS)
    learning_rate: float = Field(0.02, gt=0, description="Of the main weights (frozen: of the project batch norms).")
    warmup_fraction: float = Field(0.05, ge=0, lt=1, description=WARMUP)
    tuning: tuple[Literal["joint", "frozen"], ...] = Field(
        ("joint",), description="joint tunes all weights, frozen predictors and project norms alone (as published)."
    )
    bits: int = Field(4, ge=2, le=8, description="Of the predictor's activations.")
    scales: Scales = Field("power-of-two", description="float: for comparison in training only.")
    largest_weight: LargestWeight = Field(
        1, description="Of the predictor. 1: ternary weights, as published; else 0 and powers of two up to it, signed."
    )
    calibration_images: int = Field(256, gt=0, description="First training images, to make initial predictors on.")
    layerwise_steps: int = Field(400, ge=0, description="In which predictors learn their own block's signs.")
    layerwise_learning_rate: float = Field(0.005, gt=0, description="Adam, on the predictors' latent weights.")
    predictor_learning_rate: float = Field(0.002, gt=0, description="The same, end to end.")
    offset_rate_factor: float = Field(10, gt=0, description="The offsets, in units of scores, learn faster by this.")
    gates: Literal["surrogate", "signs"] = Field(
        "surrogate",
        description="What predictors learn from end to end: surrogate gradients of the gates (as published), or their "
        "own block's signs, as layer by layer, while the weights move.",
    )
    sign_share: float = Field(1.0, gt=0, le=1, description="Part of every batch whose signs they learn then.")

    @field_validator("tuning")
    @classmethod
    def _each_once(cls, tuning: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tuning)) < len(tuning):
            raise ValueError("names a way twice")
        return tuning

    @property
    def format(self) -> PredictorFormat:
        """The format of the predictors' numbers."""
        return PredictorFormat(self.bits, self.scales, self.largest_weight)


_DEFAULTS = PredictConfig().model_dump()
_END_TO_END = (
    "epochs",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "distillation_weight",
    "distillation_temperature",
    "distillation_ensemble",
    "feature_weight",
    "gates",
    "sign_share",
    "predictor_learning_rate",
)
"""What does not matter to the layer-wise steps."""


_WHEN = {"evaluate_every_epochs": 1, "checkpoint_seconds": 60.0}
"""Settings, and their defaults, that decide when something is done beside training, and nothing of what it gives."""


class TrainConfig(_Strict):
    """A whole run: network, data and the stages. A stage that is null is left out, and all after it.

    Source: docs/how-to/training.md.
    """

    network: NetworkConfig
    data: DataConfig
    seed: int = Field(0, ge=0, lt=1 << 62, description="Of initial weights, order and variation of the images.")
    batch_size: int = Field(64, gt=0, description="Images per step over all processes.")
    threads: int | None = Field(None, gt=0, description="Torch threads per process; default: torch's.")
    evaluate_every_epochs: int = Field(
        1, gt=0, description="Accuracy on the held-out images, or the test images where none are; always at the end."
    )
    checkpoint_seconds: float = Field(60, ge=0, description="How often an interrupted run can be taken up again.")
    vanilla: VanillaConfig = VanillaConfig()
    prune: PruneConfig | None = PruneConfig()
    predict: PredictConfig | None = PredictConfig()

    @property
    def stages(self) -> tuple[str, ...]:
        """The names of its stages, which their checkpoints have too, in order."""
        if self.prune is None:
            return ("vanilla",)
        if self.predict is None:
            return ("vanilla", "pruned")
        return ("vanilla", "pruned", "layerwise", *(f"predicted-{tuning}" for tuning in self.predict.tuning))

    def up_to(self, stage: str) -> TrainConfig:
        """The part of the configuration that decides what ``stage`` gives; the rest left out, or as by default."""
        if any(getattr(self, name) != value for name, value in _WHEN.items()):
            return self.model_copy(update=_WHEN).up_to(stage)
        if stage == "vanilla" or self.prune is None:
            return self.model_copy(update={"prune": None, "predict": None})
        if stage == "pruned" or self.predict is None:
            return self.model_copy(update={"predict": None})
        if stage == "layerwise":
            changes = {name: _DEFAULTS[name] for name in _END_TO_END}
            return self._predicting(tuning=(), **changes)
        return self._predicting(tuning=(stage.removeprefix("predicted-"),))

    def gives_the_same(self, other: TrainConfig, stage: str) -> bool:
        """Whether ``stage`` of a run configured so gives what it gives in one configured like ``other``."""
        return self.up_to(stage) == other.up_to(stage)

    def _predicting(self, **changes: Any) -> TrainConfig:
        predict = self.predict
        assert predict is not None
        return self.model_copy(update={"predict": predict.model_copy(update=changes)})

    def seed_of(self, stage: str) -> int:
        """The seed of the images' order and variation in one stage: its own, or that of the last before it with one."""
        own = self.up_to(stage)
        stages = [stage for stage in (own.predict, own.prune) if stage is not None]
        return next((stage.seed for stage in stages if stage.seed is not None), self.seed)

    def recipe(self, stage: str) -> str:
        """Digest of what decides what ``stage`` gives but for seeds, place of the data and number of threads.

        Settings at their default do not enter, so that a new one leaves the digests of old runs as they are.
        """
        facts = self.up_to(stage).model_dump(mode="json", exclude_defaults=True)
        for place in (facts, *_sections(facts)):
            for name in ("seed", "threads", "root"):
                place.pop(name, None)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]


def _sections(facts: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The sections of a configuration other than the network's."""
    for name in ("data", "prune", "predict"):
        yield facts.get(name) or {}


def load_config(path: Path | None, overrides: list[str] | None = None) -> TrainConfig:
    """Read a YAML file and apply overrides such as ``vanilla.epochs=3`` (values are YAML too).

    Raises:
        InputError: Missing or malformed file, unknown key, value out of range.

    Source: docs/how-to/training.md.
    """
    raw = {} if path is None else read_mapping(path)
    for override in overrides or []:
        _override(raw, override)
    return parse_config(raw, str(path) if path else "command line")


def parse_config(raw: Any, where: str) -> TrainConfig:
    """Validate a configuration already read.

    Raises:
        InputError: Unknown key, or a value out of range.

    Source: docs/how-to/training.md.
    """
    return validated(TrainConfig, raw, where)


_RETIRED: dict[str, Any] = {
    "ternary": None,
    "final_rate_fraction": 0.0,
    "average_share": 0.0,
    "image_bits": 8,
    "mix_share": 0.0,
    "further_cycles": [],
    "ternary_decay": 0.0,
    "ternary_distance": 0.0,
    "momentum": 0.9,
    "ranges": "block",
}
"""Settings that earlier versions wrote into checkpoints, and the values without effect (docs/explanation/zoo.md)."""


def stored_config(raw: Any, where: str) -> TrainConfig:
    """The configuration a checkpoint or an interrupted run holds, of this version or an earlier one.

    Raises:
        InputError: As :func:`parse_config`; a setting that is gone was in use.

    Source: docs/reference/files.md, Checkpoints.
    """
    return parse_config(without_retired(raw, where), where)


def without_retired(raw: Any, where: str) -> Any:
    """A configuration without the settings that are gone and did nothing.

    Raises:
        InputError: One was in use.

    Source: docs/how-to/training.md.
    """
    if not isinstance(raw, dict):
        return raw
    kept = {}
    for key, value in raw.items():
        if key not in _RETIRED:
            kept[key] = without_retired(value, where) if key != "network" else value
        elif value != _RETIRED[key]:
            raise InputError(where, f"was trained with {key}, which is gone", "use predfuse as of commit 5527e2b")
    return kept


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"override {override!r}", "is not KEY=VALUE", "write e.g. vanilla.epochs=3")
    put(raw, key, parse_yaml(f"override {override!r}", text), f"override {override!r}")
