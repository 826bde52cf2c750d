"""Write what facenet-pytorch's Inception-ResNet-v1 makes of weights and faces that anybody can make again.

The tests of the embedder ``facenet`` compare with these numbers. facenet-pytorch wants an old torch, so it is installed
apart and without it; its code is run as it is and is no part of this project:

    uv venv /tmp/facenet && uv pip install --python /tmp/facenet --no-deps facenet-pytorch==2.6.0 requests tqdm
    uv run python scripts/facenet_facts.py --packages /tmp/facenet/lib/python3.11/site-packages
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from torch.nn.functional import normalize

TESTS = Path(__file__).parents[1] / "plugins" / "mibench-models" / "tests"
EVERY = 8
"""Of the 512 numbers of an embedding, those with an index that this divides are written."""


def main() -> None:
    """Make the facts anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, help="folder that holds facenet_pytorch")
    sys.path += [parser.parse_args().packages, str(TESTS)]
    from facenet_pytorch import InceptionResnetV1  # type: ignore[import-not-found]
    from facenet_weights import face, random_state  # type: ignore[import-not-found]

    network = InceptionResnetV1().eval()
    network.load_state_dict(random_state(network.state_dict()))
    with torch.no_grad():
        made = normalize(network((face(2) * 255 - 127.5) / 128), dim=1)
    made_by = (
        f"scripts/facenet_facts.py with facenet-pytorch {version('facenet-pytorch')} and torch {torch.__version__}"
    )
    facts = {"made_by": made_by, "every": EVERY, "embeddings": made[:, ::EVERY].double().round(decimals=7).tolist()}
    (TESTS / "facts_facenet.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
