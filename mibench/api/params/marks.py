"""Marks on parameters, as metadata of ``Annotated``."""

from __future__ import annotations

from collections.abc import Mapping


class OmitIfDefault:
    """Marks a parameter that is younger than published records: ``Annotated[int, Ge(1), OmitIfDefault()]``.

    While it has its default it is left out of keys and records, so that older ones stay as they are. Its default must
    therefore mean what the component did before. In a group the default is the component's, not that of the group's
    class. On a group it marks all parameters of it.
    """


class InferenceOnly(OmitIfDefault):
    """Marks a parameter of a prior that acts when the trained prior attacks and not while it is trained.

    It belongs to the keys of attacks, not to that of the prior, which is not trained again when it changes. On a group
    it marks all parameters of it; a component's group that is called ``inference`` needs no mark.
    """


class InputFile:
    """Marks a text parameter that names a file or folder: ``weights: Annotated[str, InputFile()] = ""``.

    Numbers follow its bytes and not its name, so keys and records hold the sha256 of what it names when the run is
    planned, and the component is built with the path.

    Args:
        none: values that name no file; the empty text never does.
        copy_of: name of a dataset. Where the parameter names no file, it is the description of the copy that
            ``mibench data prepare`` made of this dataset, if there is one; a digest stands for that copy alone.
    """

    def __init__(self, *none: str, copy_of: str = "") -> None:
        self.none, self.copy_of = ("", *none), copy_of


class FlatNames:
    """Marks a component's group that is younger than published records: its parameters keep their flat names.

    ``search: Annotated[Search, FlatNames(momentum="beta")]`` makes ``lr`` another name of ``search.lr``, and ``beta``
    of ``search.momentum``. Both are accepted; keys, records and commands hold the flat one.

    Args:
        names: flat name by name in the group, for those whose flat name differs from it; parameters of groups in the
            group are named with dots (``**{"view.scale": "crop_scale"}``).
    """

    def __init__(self, **names: str) -> None:
        self.names: Mapping[str, str] = names
