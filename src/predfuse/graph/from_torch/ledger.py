"""The ledger of a traced network: what every operation of the module became, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from predfuse.errors import InputError

Status = Literal["fused", "plain", "unsupported"]


@dataclass(frozen=True)
class Part:
    """One operation of the module that a node of the network stands for.

    Attributes:
        role: What it does there: ``expand``, ``depthwise``, ``project`` (each also with ``_norm``, ``_activation`` and
            ``_pad``), ``shuffle`` and ``residual`` in a block; the kind of operation elsewhere.
        operation: The ATen operation, e.g. ``aten.conv2d``.
        graph_node: Name of its node in the exported graph.
        module: Qualified name of the innermost module that runs it (``""`` is the model itself).
        module_type: Class of that module, with its package.
        parameters: Qualified names of the parameters and buffers it uses, weight first.
        call: Which call of that module this is, 0 for the first: shared modules are called more than once.
        source: ``file:line`` of the user's code that runs it, as far as known.
    """

    role: str
    operation: str
    graph_node: str
    module: str
    module_type: str
    parameters: tuple[str, ...]
    call: int
    source: str

    @property
    def layer(self) -> str:
        """Qualified name of the module that holds its parameters, or of a parameter by itself; empty without any."""
        return self.parameters[0].removesuffix(".weight").removesuffix(".bias") if self.parameters else ""


@dataclass(frozen=True)
class LedgerEntry:
    """What became of one node of the network.

    Attributes:
        name: Name of the node in the :class:`predfuse.graph.nodes.Network`.
        kind: ``bottleneck``, ``conv``, ``depthwise conv``, ``pool``, ``linear``, ``add``, ``activation``, ...; for
            unsupported ones the operation.
        status: ``fused``: can run as one fused convolution; ``plain``: runs as it is; ``unsupported``: cannot run.
        reason: Why it is not fused or not supported.
        source: ``file:line`` of its first operation.
        parts: The operations it stands for, in order.
    """

    name: str
    kind: str
    status: Status
    reason: str
    source: str
    parts: tuple[Part, ...]

    def by_role(self, role: str) -> Part | None:
        """The first part of that role."""
        return next((part for part in self.parts if part.role == role), None)


@dataclass(frozen=True)
class Ledger:
    """Every node of a traced network, in order."""

    entries: tuple[LedgerEntry, ...]

    def __iter__(self) -> Iterator[LedgerEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, name: str) -> LedgerEntry:
        return {entry.name: entry for entry in self.entries}[name]

    def of_status(self, status: Status) -> tuple[LedgerEntry, ...]:
        """The entries of one status."""
        return tuple(entry for entry in self.entries if entry.status == status)

    @property
    def fused(self) -> tuple[LedgerEntry, ...]:
        return self.of_status("fused")

    @property
    def plain(self) -> tuple[LedgerEntry, ...]:
        return self.of_status("plain")

    @property
    def unsupported(self) -> tuple[LedgerEntry, ...]:
        return self.of_status("unsupported")


_SHOWN_PLACES = 6


class UnsupportedError(InputError):
    """The module has operations the network cannot hold; ``entries`` lists all of them."""

    def __init__(self, model: str, entries: Sequence[LedgerEntry]) -> None:
        self.entries = tuple(entries)
        by_reason: dict[str, list[str]] = {}
        for entry in entries:
            place = f"{entry.name} ({short_source(entry.source)})" if entry.source else entry.name
            by_reason.setdefault(entry.reason, []).append(place)
        listed = "; ".join(f"{reason}: {', '.join(places)}" for reason, places in by_reason.items())
        self._reasons = [
            f"  {reason}: {', '.join(places[:_SHOWN_PLACES])}"
            + (f" and {len(places) - _SHOWN_PLACES} more" if len(places) > _SHOWN_PLACES else "")
            for reason, places in by_reason.items()
        ]
        count = f"{len(entries)} unsupported operation" + ("s" if len(entries) > 1 else "")
        mend = "replace them; what becomes of the rest says predfuse trace --allow-unsupported"
        self._headline = f"model {model}: {count}; {mend}"
        super().__init__(f"model {model}", f"{count}: {listed}", mend)

    def lines(self) -> list[str]:
        """A line for every reason, with the first few places."""
        return [self._headline, *self._reasons]


def short_source(source: str) -> str:
    """``folder/file.py:12`` of a long path, for tables and messages."""
    return "/".join(source.rsplit("/", 2)[-2:])
