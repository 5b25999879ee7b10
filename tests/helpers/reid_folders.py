"""Folders of a few images with the layouts of Market-1501 and MSMT17."""

import numpy as np
from PIL import Image

MARKET = {
    "bounding_box_train": (
        "0007_c1s1_000151_01.jpg",
        "0002_c3s1_000451_03.jpg",
        "0002_c1s2_000451_03.jpg",
        "0030_c2s1_000001_11.jpg",
    ),
    "query": ("0009_c1s1_000001_00.jpg", "0001_c2s1_000051_00.jpg"),
    "bounding_box_test": (
        "-1_c1s1_000401_03.jpg",
        "0000_c6s3_000101_02.jpg",
        "0001_c1s1_001051_03.jpg",
        "0001_c2s1_000076_01.jpg",
        "0009_c12s1_000026_01.jpg",
    ),
}
TRAIN_LIST = [
    "0001/0001_000_05_0303morning_0008_0.jpg 1",
    "0000/0000_001_14_0302noon_0049_1_ex.jpg 0",
]
VAL_LIST = ["0001/0001_001_07_0303morning_0020_0.jpg 1"]
QUERY_LIST = ["0000/0000_000_05_0303morning_0008_0.jpg 0"]
GALLERY_LIST = [
    "0002/0002_000_01_0113afternoon_1000_2.jpg 2",
    "0000/0000_003_15_0303morning_0028_0.jpg 0",
]


def write_image(path, pixels=(12, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.RandomState(len(path.name)).randint(0, 256, (*pixels, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    return path


def write_market(root):
    for folder, names in MARKET.items():
        for name in names:
            write_image(root / folder / name)
    return root


def write_msmt(root, version):
    folders = {"v1": ("train", "test"), "v2": ("mask_train_v2", "mask_test_v2")}[version]
    lists = {"train": TRAIN_LIST, "val": VAL_LIST, "query": QUERY_LIST, "gallery": GALLERY_LIST}
    for name, lines in lists.items():
        for line in lines:
            write_image(root / folders[name in ("query", "gallery")] / line.split()[0])
        (root / f"list_{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root
