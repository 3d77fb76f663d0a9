"""Area of a machine by component, from its specification."""

from __future__ import annotations

from dataclasses import dataclass

from predfuse.hardware.prices import access_registers_um2, structure_areas_um2
from predfuse.hardware.spec import AcceleratorSpec, EyerissSpec
from predfuse.hardware.synthesised import output_um2, residual_um2, rival_control_um2, synthesised_areas_um2


@dataclass(frozen=True)
class AreaItem:
    """One component.

    Attributes:
        component: Its name.
        count: How many the machine has.
        each_um2: Area of one (um2).
        in_published_total: Whether the totals of ICS 2021 include it.

    Source: docs/explanation/accelerators.md, Energy and area.
    """

    component: str
    count: int
    each_um2: float
    in_published_total: bool = True

    @property
    def area_um2(self) -> float:
        """Area of all of them (um2)."""
        return self.count * self.each_um2


def area_items(spec: AcceleratorSpec) -> tuple[AreaItem, ...]:
    """Every component of ``spec``, buffers last. Source: docs/explanation/accelerators.md, Energy and area."""
    pes, area = spec.array.pes, spec.area_um2
    items = [
        AreaItem("multipliers", pes, area.multiply_accumulate),
        AreaItem("input register files", pes, area.ifmap_regfile),
        AreaItem("partial-sum register files", pes, area.psum_regfile),
    ]
    words = spec.array_words_per_access
    if words > 1:
        held = access_registers_um2(spec.global_buffer, words, spec.bits, spec.price_rules)
        items.append(AreaItem("access registers", 1, held))
    if isinstance(spec, EyerissSpec):
        items.append(AreaItem("weight SRAMs", pes, spec.area_um2.weight_sram))
        if spec.outputs_per_cycle is not None:  # residuals are added as they come, an access a cycle
            items.append(AreaItem("finishing", spec.outputs_per_cycle, output_um2(spec)))
            items.append(AreaItem("residual additions", words, residual_um2(spec)))
            items += [AreaItem(name, count, each) for name, (count, each) in rival_control_um2(spec).items()]
        return (*items, AreaItem("global buffer", 1, area.global_buffer))
    part = spec.area_um2
    structures = structure_areas_um2 if spec.prices == "published" else synthesised_areas_um2
    return (
        *items,
        AreaItem("adders", pes * spec.pe.adders, part.adder),
        AreaItem("FIFOs", pes * spec.pe.adders, part.fifo),
        AreaItem("mask SRAMs", pes, part.mask_sram),
        AreaItem("mask gates", pes, part.mask_gates),
        AreaItem("zero multiplexers", pes, part.zero_muxes),
        AreaItem("reconfiguration multiplexers", pes, part.reconfiguration_muxes),
        AreaItem("index decoders", 1, part.decoders),
        *(AreaItem(name, 1, each) for name, each in structures(spec).items()),
        AreaItem("difference of the published sum", 1, part.published_difference),
        AreaItem("global buffer", 1, part.global_buffer),
        AreaItem("mask buffer", 1, part.mask_buffer, in_published_total=False),
    )


def total_area_um2(spec: AcceleratorSpec) -> float:
    """Area of the whole machine, its mask buffer included (um2): what machines are compared by.

    Source: docs/explanation/accelerators.md, Energy and area.
    """
    return sum(item.area_um2 for item in area_items(spec))


def total_area_mm2(spec: AcceleratorSpec) -> float:
    """The same in mm2. Source: docs/explanation/accelerators.md, Energy and area."""
    return total_area_um2(spec) * 1e-6


def area_without_mask_buffer_um2(spec: AcceleratorSpec) -> float:
    """Area as ICS 2021 totals it (um2).

    Source: docs/explanation/accelerators.md, Energy and area.
    """
    return sum(item.area_um2 for item in area_items(spec) if item.in_published_total)
