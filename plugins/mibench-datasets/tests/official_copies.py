"""Small copies of datasets in exactly the official formats."""

import numpy as np
from picture_files import encoded, photo, write
from scipy.io import savemat

ACTORS = ("Aaron_Eckhart", "Robert_Downey_Jr.", "Woody_Allen")
ACTRESSES = ("Adrianne_Le\u00f3n", "Joanna_Garc\u00eda", "Zooey_Deschanel")
CLASSES = (0, 238, 264, 265, 378, 529)
"""Numbers of these people in the released code of the papers."""


def facescrub(root, layout="ppa", count=8, size=(40, 40)):
    """Write a copy of FaceScrub: ``ppa`` (actors/faces), ``kaggle`` (actor_faces) or ``resized``."""
    folders = {
        "ppa": ("actors/faces", "actresses/faces"),
        "kaggle": ("actor_faces", "actress_faces"),
        "resized": ("FaceScrub_Actors_Face_Normal_resize_64", "FaceScrub_Actresses_Face_Normal_resize_64"),
    }[layout]
    for folder, people in zip(folders, (ACTORS, ACTRESSES), strict=True):
        for person in people:
            for number in range(count):
                seed = 1000 * CLASSES[(ACTORS + ACTRESSES).index(person)] + number
                write(root / folder / person / f"{person}_{number}_{number}.jpeg", encoded(photo(seed, size), "JPEG"))
    return root


def celeba(root, people=6, pictures=8, size=(64, 64), kind="JPEG", folder="img_align_celeba"):
    """Write an excerpt of CelebA in torchvision's layout; person 1 has the fewest pictures."""
    owners = [person for number in range(pictures) for person in range(1, people + 1) if number or person > 1]
    lines = [f"{place:06d}.jpg {person}" for place, person in enumerate(owners, 1)]
    write(root / "identity_CelebA.txt", ("\n".join(lines) + "\n").encode())
    ending = {"JPEG": "jpg", "PNG": "png"}[kind]
    for place in range(1, len(owners) + 1):
        write(root / folder / f"{place:06d}.{ending}", encoded(photo(place, size), kind))
    return root


BREEDS = ("n02085620-Chihuahua", "n02085782-Japanese_spaniel", "n02085936-Maltese_dog", "n02086079-Pekinese")
ANNOTATION = """<annotation>
\t<folder>02085620</folder>
\t<size>\n\t\t<width>40</width>\n\t\t<height>32</height>\n\t\t<depth>3</depth>\n\t</size>
{objects}
</annotation>"""
OBJECT = """\t<object>
\t\t<name>Chihuahua</name>
\t\t<bndbox>
\t\t\t<xmin>{}</xmin>\n\t\t\t<ymin>{}</ymin>\n\t\t\t<xmax>{}</xmax>\n\t\t\t<ymax>{}</ymax>
\t\t</bndbox>
\t</object>"""


def dogs(root, count=8, train=5):
    """Write a copy of Stanford Dogs; each picture has two dogs, of which the first counts."""
    rows = {"train": [], "test": []}
    for label, breed in enumerate(BREEDS, 1):
        for number in range(count):
            name = f"{breed}/{breed.partition('-')[0]}_{100 + number}"
            write(root / "Images" / f"{name}.jpg", encoded(photo(100 * label + number), "JPEG"))
            boxes = [(2, 3, 30, 31), (0, 0, 9, 9)]
            text = ANNOTATION.format(objects="\n".join(OBJECT.format(*box) for box in boxes))
            write(root / "Annotation" / name, text.encode())
            rows["train" if number < train else "test"].append((name, label))
    for part, own in rows.items():
        cells = np.empty((len(own), 1), object)
        cells[:, 0] = [name for name, _ in own]
        files = np.empty((len(own), 1), object)
        files[:, 0] = [f"{name}.jpg" for name, _ in own]
        labels = np.array([[label] for _, label in own], np.uint8)
        savemat(root / f"{part}_list.mat", {"file_list": files, "annotation_list": cells, "labels": labels})
    return root
