"""A contact sheet shows the images of a folder, each in its place."""

import numpy as np
import pytest
from PIL import Image

from scaledrelu.data.people.cameras import HEIGHT, WIDTH
from scaledrelu.data.people.folder import write_mini_reid
from scaledrelu.data.people.sheet import save_sheet
from scaledrelu.errors import DataError
from tests.helpers.people import TINY, people_of


def test_the_contact_sheet_shows_each_file_in_the_column_of_its_camera(tmp_path):
    write_mini_reid(TINY, tmp_path / "data", seed=0)
    save_sheet(tmp_path / "data", tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    train = people_of(tmp_path / "data", "bounding_box_train")
    identities = sorted({i for _, i, _ in train})
    cells = {}
    for name, identity, camera in train:
        cells.setdefault((identity, camera), name)
    for row, identity in enumerate(identities):
        for camera in range(1, TINY.cameras + 1):
            y, x = 22 + row * (2 * HEIGHT + 4), 44 + (camera - 1) * (2 * WIDTH + 4)
            cell = sheet[y : y + 2 * HEIGHT : 2, x : x + 2 * WIDTH : 2]
            name = cells.get((identity, camera))
            path = tmp_path / "data" / "bounding_box_train" / (name or "")
            assert (cell == (np.asarray(Image.open(path)) if name else 225)).all()


def test_a_contact_sheet_of_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images named PPPP_cCsS"):
        save_sheet(tmp_path, tmp_path / "sheet.png")
