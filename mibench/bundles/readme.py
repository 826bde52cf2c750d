"""What a bundle tells people who find it."""

from __future__ import annotations

from mibench.bundles.manifest import Manifest

README = "README.txt"

_PRIVATE = """PRIVATE: the terms of the data do not let reconstructions be published.
Give this bundle to nobody who may not see the data itself.
"""

_MARKED = "PRIVATE: whoever packed this bundle marked it so.\n"


def readme(manifest: Manifest) -> str:
    """Return the text of the file ``README.txt``."""
    lines = [
        f"Evidence of {len(manifest.records)} records of {manifest.protocol}, packed by mibench.",
        "",
        *(
            [_PRIVATE if any(one.reconstructions == "private" for one in manifest.terms) else _MARKED]
            if manifest.private
            else []
        ),
        "    mibench leaderboard regrade THIS",
        "",
        "measures them again with the metrics that are installed, without attacking, and prints what moved.",
        "",
        "artifacts/reconstruct-*/evidence: the reconstructions with 8 bits, as judges saw them (safetensors: pixels",
        "(N, C, H, W), labels and scores (N,)). artifacts/target-*/weights: the attacked networks. There are no",
        "photographs here; measuring again takes them from the data set that is installed.",
        "",
        *(f"{one.dataset} ({one.licence}): {one.terms}" for one in manifest.terms),
    ]
    return "\n".join(lines) + "\n"
