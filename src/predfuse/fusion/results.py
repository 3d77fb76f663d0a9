"""What running a network gives: outputs, survivors, prediction errors and operations per image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from predfuse.arrays import FloatArray, Int8Array, Int64Array

Mode = Literal["true", "predicted", "fused", "fused_true"]
"""How blocks run. ``true``: with their activation functions. ``predicted``: stage by stage, gated by the predictor.
``fused``: as one convolution, gated by the predictor. ``fused_true``: as one convolution, gated by the true signs."""

Execution = Literal["plain", "predicted", "fused"]

MODES: tuple[Mode, ...] = ("true", "predicted", "fused", "fused_true")


@dataclass(frozen=True)
class StageStatistics:
    """Gates of one stage of one block over all images; "true" is the sign of the stage's input in the ordinary block
    on the same block input.

    Attributes:
        gates: Activations of the stage.
        on: Not switched off by the masks in use (survivors).
        true_on: Not switched off by the true signs.
        false_on: On, but truly off.
        false_off: Off, but truly on.

    Source: docs/explanation/arithmetic.md, Survivors and errors.
    """

    gates: int = 0
    on: int = 0
    true_on: int = 0
    false_on: int = 0
    false_off: int = 0

    def __add__(self, other: StageStatistics) -> StageStatistics:
        return StageStatistics(
            self.gates + other.gates,
            self.on + other.on,
            self.true_on + other.true_on,
            self.false_on + other.false_on,
            self.false_off + other.false_off,
        )

    @property
    def survivors(self) -> float:
        """Share of all gates that are on, 0..1."""
        return self.on / self.gates

    @property
    def false_on_share(self) -> float:
        """Falsely on, as a share of all gates, 0..1."""
        return self.false_on / self.gates

    @property
    def false_off_share(self) -> float:
        """Falsely off, as a share of all gates, 0..1."""
        return self.false_off / self.gates

    @property
    def false_on_rate(self) -> float:
        """Falsely on, as a share of the truly off, 0..1 (0 when nothing is off)."""
        return self.false_on / max(self.gates - self.true_on, 1)

    @property
    def false_off_rate(self) -> float:
        """Falsely off, as a share of the truly on, 0..1 (0 when nothing is on)."""
        return self.false_off / max(self.true_on, 1)


@dataclass(frozen=True, eq=False)
class BlockStatistics:
    """One block over all images.

    Attributes:
        name: The block.
        execution: How it ran.
        expand: Gates of the first stage.
        depthwise: Gates of the second stage.
        fused_additions: ``[N]`` int64 per image: fused weights that the masks let through (whether fused or not).
        bias_additions: ``[N]`` int64 per image: the same of the bias and saturation lists.
        nonzero_multiplications: ``[N, 3]`` int64 per image, of expand, depthwise, project: those a machine that skips
            zero weights and zero activations still does, unfused.
    """

    name: str
    execution: Execution
    expand: StageStatistics
    depthwise: StageStatistics
    fused_additions: Int64Array
    bias_additions: Int64Array
    nonzero_multiplications: Int64Array


@dataclass(frozen=True, eq=False)
class ExecutionResult:
    """What a network gave for ``N`` images.

    Attributes:
        network: Name of the network.
        mode: How it ran.
        logits: ``[N, classes]`` output of the last node, flattened.
        executions: How every node ran, by name.
        blocks: Statistics of every bottleneck in order; empty without statistics.
        nonzero_multiplications: ``[N]`` per plain convolution and linear layer, by name; empty without statistics.
        outputs: ``[N, C, H, W]`` of the nodes asked for.
        masks: ``([N, M, H, W], [N, M, P, Q])`` of the bottlenecks asked for.

    Source: docs/explanation/arithmetic.md, Survivors and errors.
    """

    network: str
    mode: Mode
    logits: FloatArray
    executions: dict[str, Execution]
    blocks: tuple[BlockStatistics, ...] = ()
    nonzero_multiplications: dict[str, Int64Array] = field(default_factory=dict)
    outputs: dict[str, FloatArray] = field(default_factory=dict)
    masks: dict[str, tuple[Int8Array, Int8Array]] = field(default_factory=dict)

    def accuracy(self, labels: Int64Array) -> float:
        """Share of images whose largest output is their label (``labels [N]``), 0..1."""
        return float((self.logits.argmax(axis=1) == labels).mean())

    def block(self, name: str) -> BlockStatistics:
        """Statistics of one block.

        Raises:
            KeyError: No such block, or no statistics were asked for.
        """
        return {block.name: block for block in self.blocks}[name]
