"""How Sphinx builds the site: ``make docs``. Notebooks are run, reference pages are made, warnings are errors."""

from __future__ import annotations

import functools
import logging
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Commands in notebooks are those of the environment that builds the site.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ.update(NO_COLOR="1", COLUMNS="100", PYDEVD_DISABLE_FILE_VALIDATION="1")
# Kernels warn at every start that they talk over the loopback device, into the one output where a warning is a failure.
KERNELS = HERE.parent / "build" / "ipython"
(KERNELS / "profile_default").mkdir(parents=True, exist_ok=True)
(KERNELS / "profile_default" / "ipython_kernel_config.py").write_text("get_config().IPKernelApp.log_level = 40\n")
os.environ["IPYTHONDIR"] = str(KERNELS)

from nbclient import NotebookClient  # noqa: E402

from predfuse import __version__  # noqa: E402

# A kernel has a minute to start; a machine with much else to do takes longer.
NotebookClient.__init__ = functools.partialmethod(NotebookClient.__init__, startup_timeout=600)
logging.getLogger("traitlets").setLevel(logging.WARNING)

project = "predfuse"
author = "The predfuse authors"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "made_pages",
]
exclude_patterns = ["_ext"]
nitpicky = True
nitpick_ignore_regex = [
    # Other projects are not linked: the site is built without a network.
    (
        r"py:.*",
        r"(numpy|np|torch|nn|pathlib|pydantic|collections|typing|annotated_types|types|threading|Tensor|Path)\b.*",
    ),
    (r"py:.*", r"(optional|Callable|Iterable|Iterator|Sequence|Mapping|Any|NDArray|ndarray|Array|Images|Stored)"),
    # Names of types that autodoc shows without their module, which Sphinx then cannot find.
    (r"py:class", r"(MachineName|AcceleratorSpec|Form|Precision|predfuse\.hardware\.vary\.Spec)"),
    # Parts of a specification: their fields stand in the page of specifications, made from the same models.
    (r"py:class", r"(BaseModel|Field|Count|WORD_BITS|MOST_BITS|(Archon|Eyeriss)(Pe|Design|Energy|Area))"),
]

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__, model_config"}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Source"]
python_use_unqualified_type_names = True

myst_enable_extensions = ["dollarmath", "colon_fence", "attrs_inline", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 1200  # a machine with much else to do takes many times as long
nb_merge_streams = True

html_theme = "furo"
html_title = f"predfuse {version}"
html_static_path = ["_static"]
html_css_files = ["predfuse.css"]
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp"
