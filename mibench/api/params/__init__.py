"""Parameters of components: one dataclass is what the command line, YAML, ``mibench show`` and cache keys read.

A field may be a *group*, a frozen dataclass of further parameters: ``search: GradientSearch = GradientSearch(lr=0.1)``.
Its parameters have dotted names, ``search.lr``; in YAML and presets a group may be a mapping. What is not given keeps
the default that the component has for it, which may differ from that of the group's own class.

Groups that came later than published records carry a :class:`FlatNames`: their parameters keep the names that they had
before, which keys, records and commands go on using.
"""

import typing

from mibench.api.deprecated import module_getattr
from mibench.api.params.building import STRICT, build, canonical, replaced, values_of
from mibench.api.params.describing import Parameter, describe, docs_of_groups
from mibench.api.params.layout import copy_parameters, file_parameters, inference_only_names, names_of, presets_of
from mibench.api.params.marks import FlatNames, InferenceOnly, InputFile, OmitIfDefault
from mibench.api.params.names import Names

__all__ = [
    "STRICT",
    "FlatNames",
    "InferenceOnly",
    "InputFile",
    "Names",
    "OmitIfDefault",
    "Parameter",
    "build",
    "canonical",
    "copy_parameters",
    "describe",
    "docs_of_groups",
    "file_parameters",
    "inference_only_names",
    "names_of",
    "presets_of",
    "replaced",
    "values_of",
]

if not typing.TYPE_CHECKING:
    __getattr__ = module_getattr(__name__, globals())
