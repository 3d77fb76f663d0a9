"""A library of standard cells: one read from a Liberty file, or the small one of 45 nm that this module holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from predfuse.errors import InputError
from predfuse.readers.boundary import read_bytes

NAND2_UM2 = 0.798
"""A two-input NAND in 45 nm (um2): cells of another technology are scaled by what theirs is."""
_TAU_NS, _INPUT_PF = 0.0040, 0.0016
"""Delay of a unit of logical effort (ns) and the capacitance of an inverter's input (pF)."""
# Name: area (um2), function, logical effort, parasitic delay (in units of tau).
_GATES = {
    "INV": (0.532, "!A", 1.0, 1.0),
    "BUF": (0.798, "A", 1.0, 3.0),
    "NAND2": (0.798, "!(A&B)", 4 / 3, 2.0),
    "NAND3": (1.064, "!(A&B&C)", 5 / 3, 3.0),
    "NOR2": (0.798, "!(A|B)", 5 / 3, 2.0),
    "NOR3": (1.064, "!(A|B|C)", 7 / 3, 3.0),
    "AND2": (1.064, "A&B", 4 / 3, 4.0),
    "OR2": (1.064, "A|B", 5 / 3, 4.0),
    "AOI21": (1.064, "!((A&B)|C)", 2.0, 3.0),
    "OAI21": (1.064, "!((A|B)&C)", 2.0, 3.0),
    "AOI22": (1.330, "!((A&B)|(C&D))", 2.0, 4.0),
    "OAI22": (1.330, "!((A|B)&(C|D))", 2.0, 4.0),
    "MUX2": (1.862, "(A&!C)|(B&C)", 2.0, 6.0),
    "XOR2": (1.596, "A^B", 3.0, 6.0),
    "XNOR2": (1.596, "!(A^B)", 3.0, 6.0),
}
_FLIP_FLOP_UM2, _LATCH_UM2 = 4.522, 2.66
CLOCK_TO_OUTPUT_NS, SETUP_NS = 0.10, 0.05
"""What a flip-flop adds to a path: those of DFF_X1 in 45 nm, typical (ns)."""


@dataclass(frozen=True)
class Cells:
    """A library.

    Attributes:
        name: What it is called.
        text: Its Liberty.
        timed: The same with what its flip-flops take, for a timing analyser.
        area: Area of every cell (units of the library).
        registers: Cells that are flip-flops or latches.
        um2: What a unit of its areas is in 45 nm (um2), by the size of its NAND.
    """

    name: str
    text: str
    timed: str
    area: dict[str, float]
    registers: frozenset[str]
    um2: float


def load_cells(file: Path | None) -> Cells:
    """The library of a Liberty file, or of this module.

    Raises:
        InputError: The file cannot be read, or has no two-input NAND to scale it by.
    """
    if file is None:
        return _of("built-in 45 nm cells", _liberty(), _liberty(timed=True))
    text = read_bytes(file, mend="name a Liberty file").decode(errors="replace")
    return _of(file.name, text, text)


def _of(name: str, text: str, timed: str) -> Cells:
    area: dict[str, float] = {}
    registers = set()
    for body in re.split(r"\bcell\s*\(", text)[1:]:
        cell = body[: body.index(")")].strip(' "')
        found = re.search(r"\barea\s*:\s*([\d.eE+-]+)", body)
        if found is None:
            continue
        area[cell] = float(found[1])
        if re.search(r"\b(ff|latch)\s*\(", body):
            registers.add(cell)
    nands = [area[cell] for cell in area if re.search(r"nand2(?![0-9]*b)", cell, re.I) and area[cell] > 0]
    if not nands:
        raise InputError(name, "has no cell called NAND2 to scale areas by", "name a Liberty file of standard cells")
    return Cells(name, text, timed, area, frozenset(registers), NAND2_UM2 / min(nands))


def _liberty(timed: bool = False) -> str:
    """Areas as published for the smallest cells of the NanGate 45 nm Open Cell Library; delays by logical effort."""
    setup, launch = _register_arcs() if timed else ("", "")
    cells = [_gate(name, *row) for name, row in _GATES.items()]
    register = """
  cell ({name}) {{ area : {area};
    {kind} (IQ, IQN) {{ {inside} }}
    pin ({enable}) {{ direction : input; capacitance : {load}; }}
    pin (D) {{ direction : input; capacitance : {load}; {setup}}}
    pin (Q) {{ direction : output; function : "IQ"; {launch}}}
  }}
"""
    flip_flop = register.format(
        name="DFF", area=_FLIP_FLOP_UM2, kind="ff", inside='clocked_on : "CK"; next_state : "D";', enable="CK",
        load=_INPUT_PF, setup=setup, launch=launch,
    )  # fmt: skip
    latch = register.format(
        name="LATCH", area=_LATCH_UM2, kind="latch", inside='enable : "G"; data_in : "D";', enable="G", load=_INPUT_PF,
        setup="", launch="",
    )  # fmt: skip
    head = """library (predfuse45) {
  delay_model : table_lookup;
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1mA"; capacitive_load_unit (1, pf);
  lu_table_template (t) {
    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0.001, 0.5"); index_2 ("0.0, 1.0");
  }
"""
    return head + "".join(cells) + flip_flop + latch + "}\n"


def _register_arcs() -> tuple[str, str]:
    """Set-up of D and delay to Q, whatever the slope and the load."""

    def arc(kind: str, tables: tuple[str, ...], ns: float) -> str:
        inside = "".join(f' {name} (scalar) {{ values ("{ns}"); }}' for name in tables)
        return f'timing () {{ related_pin : "CK"; timing_type : {kind};{inside} }} '

    delays = "cell_rise", "cell_fall", "rise_transition", "fall_transition"
    setup = arc("setup_rising", ("rise_constraint", "fall_constraint"), SETUP_NS)
    return setup, arc("rising_edge", delays, CLOCK_TO_OUTPUT_NS)


def _gate(name: str, area: float, function: str, effort: float, parasitic: float) -> str:
    inputs = sorted(set(re.findall("[A-D]", function)))
    low, high = _TAU_NS * parasitic, _TAU_NS * (parasitic + 1 / _INPUT_PF)
    table = f'(t) {{ index_1 ("0.001, 0.5"); index_2 ("0.0, 1.0"); values ("{low}, {high}", "{low}, {high}"); }}'
    kinds = "".join(f" {kind} {table}" for kind in ("cell_rise", "cell_fall", "rise_transition", "fall_transition"))
    pins = "".join(f"    pin ({pin}) {{ direction : input; capacitance : {effort * _INPUT_PF}; }}\n" for pin in inputs)
    arcs = "".join(f'      timing () {{ related_pin : "{pin}"; timing_sense : non_unate;{kinds} }}\n' for pin in inputs)
    output = f'    pin (Y) {{ direction : output; function : "{function}"; max_capacitance : 1.0;\n{arcs}    }}\n'
    return f"  cell ({name}) {{ area : {area};\n{pins}{output}  }}\n"
