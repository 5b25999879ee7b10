"""Loader processes use their memory again, and never while somebody still looks at it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaledrelu.data.buffers import FREE, HELD, NUM_BUFFERS, SENT, Borrowed, Buffers, new_states
from scaledrelu.data.datasets import open_digits
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.workers import Answer

WORKERS = 2


class Noise:
    """An image of noise that the position says, in bytes, pixel by pixel in memory or not."""

    def __init__(self, *, pixel_by_pixel: bool = False):
        self._pixel_by_pixel = pixel_by_pixel

    def __call__(self, image) -> torch.Tensor:
        seed = int(np.asarray(image).astype(int).sum())
        noise = np.random.RandomState(seed).randint(0, 256, (16, 16, 3), dtype=np.uint8)
        pixels = torch.from_numpy(noise).permute(2, 0, 1)
        return pixels if self._pixel_by_pixel else pixels.contiguous()


def digits(count: int):
    return open_digits(image_size=8).train.select(np.arange(count))


def loader(source, *, workers: int = WORKERS, **changes) -> TrainLoader:
    fields = {"groups": [0], "num_groups": 1, "group_size": 4, "repeats": 1, "seed": 0}
    fields |= {"transform": Noise(), **changes}
    return TrainLoader(source, workers=workers, **fields)


def memory_of(images: torch.Tensor) -> int:
    return images.untyped_storage().data_ptr()


@pytest.mark.parametrize("pixel_by_pixel", [False, True])
def test_an_epoch_comes_through_a_few_pieces_of_memory(pixel_by_pixel: bool) -> None:
    source, transform = digits(160), Noise(pixel_by_pixel=pixel_by_pixel)
    ours, alone = (loader(source, workers=n, transform=transform) for n in (WORKERS, 0))
    places = set()
    for (batch,), (expected,) in zip(ours.epoch(0), alone.epoch(0), strict=True):
        assert torch.equal(batch.images, expected.images)
        assert batch.images.stride() == expected.images.stride()
        places.add(memory_of(batch.images))
    assert ours.steps_per_epoch == 40
    assert len(places) <= WORKERS * 4
    ours.close()


def test_what_is_kept_of_a_batch_stays_as_it_was() -> None:
    source = digits(400)
    ours, alone = (loader(source, workers=n) for n in (WORKERS, 0))
    expected = [batch.images for (batch,) in alone.epoch(0)]
    assert len(expected) == 100 > WORKERS * NUM_BUFFERS
    kept = [batch.images[1:3, :, 2:] for (batch,) in ours.epoch(0)]
    for part, whole in zip(kept, expected, strict=True):
        assert torch.equal(part, whole[1:3, :, 2:])
    ours.close()


def test_groups_of_one_update_are_all_there_at_once() -> None:
    source, fields = digits(240), {"groups": range(6), "num_groups": 6}
    ours, alone = (loader(source, workers=n, **fields) for n in (WORKERS, 0))
    for step, expected in zip(ours.epoch(0), alone.epoch(0), strict=True):
        for batch, wanted in zip(step, expected, strict=True):
            assert torch.equal(batch.images, wanted.images)
    ours.close()


def test_epochs_that_are_left_early_use_up_no_memory() -> None:
    ours = loader(digits(160))
    for epoch in range(3 * NUM_BUFFERS):
        next(ours.epoch(epoch))
    for _ in ours.epoch(0):
        pass
    states = ours._fetch._borrowed._states
    assert int((states == SENT).sum()) == 0
    ours.close()


def test_a_last_batch_that_is_smaller_lies_in_the_same_memory() -> None:
    source = digits(30)
    fields = {"rank": 0, "world_size": 1, "batch": 8, "transform": Noise()}
    ours, alone = (EvalLoader(source, workers=n, **fields) for n in (1, 0))
    places = set()
    for _ in range(3):
        for batch, expected in zip(ours, alone, strict=True):
            assert torch.equal(batch.images, expected.images)
            places.add(memory_of(batch.images))
    assert len(places) <= 4
    ours.close()


def one_process() -> tuple[Buffers, torch.Tensor]:
    states = new_states(1)
    return Buffers(states[0]), states[0]


def parts(count: int, side: int = 4) -> list[torch.Tensor]:
    return [torch.full((3, side, side), i, dtype=torch.uint8) for i in range(count)]


def test_a_buffer_that_the_trainer_holds_is_not_written_to() -> None:
    buffers, states = one_process()
    first = buffers.stack(parts(2))
    states[buffers.place_of(first)] = HELD
    second = buffers.stack(parts(2))
    assert memory_of(first) != memory_of(second)
    buffers.begin(1)
    third = buffers.stack(parts(2))
    assert memory_of(third) == memory_of(second), "sent in an earlier round, and lost"


def test_without_a_free_buffer_memory_is_used_once() -> None:
    buffers, states = one_process()
    states.fill_(HELD)
    found = buffers.stack(parts(2))
    assert buffers.place_of(found) is None
    assert found[:, 0, 0, 0].tolist() == [0, 1]


def test_small_and_large_tensors_of_a_batch_keep_to_buffers_of_their_size() -> None:
    buffers, states = one_process()
    places = []
    for sides in ((16, 4), (4, 16), (16, 4)):
        places.append({side: buffers.place_of(buffers.stack(parts(4, side))) for side in sides})
        states.fill_(FREE)
    assert places == [places[0]] * 3


def test_a_copied_tensor_frees_its_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    buffers, states = one_process()
    images = buffers.stack(parts(2))
    answer = Answer({"images": images}, None, (), {"images": (0, buffers.place_of(images))})
    pinned = answer.pin_memory()
    assert memory_of(pinned.tensors["images"]) != memory_of(images)
    assert pinned.shared["images"] is images
    assert states[pinned.places["images"][1]] == SENT
    borrowed = Borrowed(states[None])
    borrowed.copied(pinned.shared["images"], pinned.places["images"])
    assert set(states.tolist()) == {FREE}


def test_a_lent_tensor_frees_its_buffer_with_the_last_that_shares_its_memory() -> None:
    buffers, states = one_process()
    place = (0, buffers.place_of(buffers.stack(parts(2))))
    lent = Borrowed(states[None]).lend(buffers._buffers[place[1]], place)
    part = lent[3:5]
    del lent
    assert states[place[1]] == HELD
    del part
    assert states[place[1]] == FREE
