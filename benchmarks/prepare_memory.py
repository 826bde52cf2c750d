"""Peak memory of preparing a large copy of a dataset: looking at every file, and writing its pixels for the stages.

Writes ``--count`` JPEG files of ``--side`` pixels in the layout of ``facescrub`` (each file has bytes of its own),
looks through them as ``mibench data prepare`` does, decodes them into the file that the stage ``data`` keeps, and reads
batches from it in a random order, as a training does. Each step is a process of its own. Prints a Markdown table: the
largest resident memory (it counts pages of mapped files, which the system takes back when it needs them), and the
memory of the process alone.

    uv run python benchmarks/prepare_memory.py --count 50000
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

PEOPLE = ("actors/faces/Aaron_Eckhart", "actors/faces/Woody_Allen", "actresses/faces/Zooey_Deschanel")
PATTERNS = 100
STEPS = ("look at every file", "write the pixels", "read 200 batches of 128")


def write_copy(root: Path, count: int, side: int) -> None:
    """Write the files: a few pictures of noise and shapes, with a number behind the end of each."""
    import numpy as np
    from PIL import Image

    rng, bases = np.random.default_rng(0), []
    for _ in range(PATTERNS):
        small = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
        out = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        bases.append(out.getvalue())
    for person in PEOPLE:
        (root / person).mkdir(parents=True)
    for number in range(count):
        path = root / PEOPLE[number % len(PEOPLE)] / f"x_{number}_{number}.jpeg"
        path.write_bytes(bases[number % PATTERNS] + number.to_bytes(8, "big"))


def step(name: str, folder: Path, side: int) -> None:
    """Do one step in this process."""
    import torch
    from mibench_datasets.facescrub import FaceScrub

    from mibench.api import IndexedImages
    from mibench.stages.pixel_file import map_pixels, write_pixels

    if name == STEPS[0]:
        FaceScrub().prepare(folder / "copy", folder / "work").write(folder / "made")
        return
    dataset = FaceScrub(copy=str(folder / "made" / "copy.json"), people="present")
    images = dataset.load(range(len(PEOPLE)), size=side, channels=3)
    if name == STEPS[1]:
        (folder / "stage").mkdir()
        write_pixels(images, (3, side, side), folder / "stage", folder / "pixels.safetensors", lambda *_: None)
        return
    pixels = map_pixels(folder / "pixels.safetensors")
    kept = IndexedImages(pixels, torch.arange(len(pixels)), images.labels_N, images.num_classes)
    for indices in torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).split(128)[:200]:
        kept.images(indices).mean()


def watched(name: str, folder: Path, side: int) -> None:
    """Do one step, and print its seconds and its largest memory in MiB."""
    largest = {"VmHWM": 0, "RssAnon": 0}
    stop = threading.Event()

    def look() -> None:
        for line in Path("/proc/self/status").read_text().splitlines():
            key = line.partition(":")[0]
            if key in largest:
                largest[key] = max(largest[key], int(line.split()[1]) // 1024)

    def watch() -> None:
        while not stop.wait(0.05):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    step(name, folder, side)
    seconds = time.perf_counter() - began
    stop.set()
    watcher.join()
    look()
    print(json.dumps({"seconds": seconds, **largest}))


def main() -> None:
    """Run all steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        watched(options.step, options.folder, options.side)
        return
    with TemporaryDirectory(dir=options.folder) as made:
        folder = Path(made)
        write_copy(folder / "copy", options.count, options.side)
        print(f"{options.count} files of {options.side} x {options.side} pixels\n")
        print("| step | s | largest resident memory, MiB | of the process alone, MiB |\n|---|---|---|---|")
        for name in STEPS:
            command = [sys.executable, __file__, "--folder", str(folder), "--side", str(options.side), "--step", name]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"| {name} | {found['seconds']:.0f} | {found['VmHWM']} | {found['RssAnon']} |", flush=True)


if __name__ == "__main__":
    main()
