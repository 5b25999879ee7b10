"""The run's own record: ``metrics.jsonl`` (cut on resume), ``timing.jsonl`` and the console."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scaledrelu.config.evaluation import is_epoch
from scaledrelu.config.places import METRICS, TIMING
from scaledrelu.tasks.base import Progress
from scaledrelu.text import duration

log = logging.getLogger(__name__)


class Logbook:
    """Writes metrics on the main rank and prints progress for people.

    Args:
        folder: run directory, or None on the other ranks.
        name: the run's name on the console.
        images_per_step: images of all ranks together, for images/s.
        progress: draw a progress bar if the output is a terminal.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        name: str,
        images_per_step: int,
        progress: bool = False,
    ) -> None:
        self.folder, self.name, self.images_per_step = folder, name, images_per_step
        self._stream = None if folder is None else (folder / METRICS).open("ab")
        self._bar_wanted = progress and folder is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._first: tuple[int, float] | None = None  # finished steps at a record, and seconds
        self._mark: tuple[int, float] | None = None
        self._recorded: tuple[int, str] | None = None  # step of the last record, and its words

    def train(
        self,
        t: Progress,
        *,
        loss: float,
        lr: float,
        grad_norm: float,
        seconds: float,
        scale: float | None,
        scalars: Mapping[str, float],
    ) -> None:
        """Record the mean training loss since the last record, and what the last step showed.

        Args:
            t: the step.
            loss: mean training loss since the last record.
            lr: learning rate of the step.
            grad_norm: L2 norm of the step's gradient before clipping.
            seconds: seconds since the start of the run.
            scale: loss scale; None without loss scaling.
            scalars: the task's logged values.
        """
        row = {"train/loss": loss, "train/lr": lr, "train/grad_norm": grad_norm}
        row |= {f"train/{name}": value for name, value in scalars.items()}
        if scale is not None:
            row["train/loss_scale"] = scale
        self._write(t, row)
        self._write_timing(t, seconds)
        words = f"loss {loss:.3f} lr {lr:.3g}"
        self._recorded = (t.step + 1, words)
        self._draw(t, words)

    def evaluation(
        self,
        t: Progress,
        metrics: dict[str, float],
        *,
        observed: Mapping[str, float],
        seconds: float,
    ) -> None:
        """Record an evaluation and print one line with an ETA.

        Args:
            t: the update after which it was made.
            metrics: values by name.
            observed: further values, which are recorded and not printed.
            seconds: seconds of training so far.
        """
        self._write(t, {**metrics, **observed})
        if self.folder is None or self._bar_wanted:
            return
        done = t.step + 1
        log.info(
            "%s epoch %d step %d/%d %s%s eta %s",
            self.name,
            t.epoch + 1,
            done,
            t.total_steps,
            self._last_record(done),
            in_words(metrics),
            duration(self._seconds_per_step(done, seconds) * (t.total_steps - done)),
        )

    def rewind(self, offset: int, *, step: int = 0) -> None:
        """Trim the metrics to the length that the checkpoint recorded.

        A file that was deleted or cut since then is continued after its last complete row.

        Args:
            offset: length in bytes that the checkpoint recorded.
            step: the checkpoint's step.
        """
        if self._stream is None:
            return
        found = self._stream.seek(0, os.SEEK_END)
        if found < offset:
            path = self.folder / METRICS
            log.warning(
                "%s: only %d of %d bytes are left, so some rows before step %d are lost; later "
                "rows and the result are not affected",
                path,
                found,
                offset,
                step,
            )
            offset = path.read_bytes().rfind(b"\n") + 1
        self._stream.truncate(offset)
        self._stream.seek(0, os.SEEK_END)

    def commit(self) -> int:
        """Make the metrics durable and return their length in bytes."""
        if self._stream is None:
            return 0
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self) -> None:
        """Flush and close the files."""
        if self._stream is not None:
            self._stream.close()
        if self._bar is not None:
            self._bar.close()

    def _seconds_per_step(self, done: int, seconds: float) -> float:
        """Return the seconds of a step as a forecast: in the first ones networks are compiled.

        Args:
            done: finished steps.
            seconds: seconds of training so far.
        """
        step, before = self._first or (0, 0.0)
        if done < 2 * step:  # too few since then
            step, before = 0, 0.0
        return (seconds - before) / (done - step)

    def _last_record(self, done: int) -> str:
        """Return loss and rate as last recorded, and of which step where it is an earlier one.

        Reading the loss of this step would make the host wait for a GPU.
        """
        if self._recorded is None:  # before the first record of this process
            return ""
        step, words = self._recorded
        return f"{words} " if step == done else f"{words} (step {step}) "

    def _write(self, t: Progress, values: dict[str, Any]) -> None:
        if self._stream is None:
            return
        row = {"step": t.step + 1, "epoch": t.epoch, **values}
        plain = {name: _json_number(value) for name, value in row.items()}
        self._stream.write((json.dumps(plain, sort_keys=True) + "\n").encode())
        self._stream.flush()

    def _write_timing(self, t: Progress, seconds: float) -> None:
        if self.folder is None:
            return
        step, before = self._mark or (t.step + 1, seconds)
        rate = (
            (t.step + 1 - step) * self.images_per_step / (seconds - before)
            if seconds > before
            else None
        )
        self._mark = (t.step + 1, seconds)
        self._first = self._first or self._mark
        row = {
            "step": t.step + 1,
            "seconds": round(seconds, 3),
            "images_per_s": rate and round(rate, 1),
        }
        with (self.folder / TIMING).open("a") as stream:
            stream.write(json.dumps(row) + "\n")

    def _draw(self, t: Progress, words: str) -> None:
        if not self._bar_wanted:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=t.total_steps, desc=self.name, unit="step", dynamic_ncols=True)
        self._bar.n = t.step + 1
        self._bar.set_postfix_str(words)


def _json_number(value: Any) -> Any:
    """Return nan and inf as strings: JSON has no such numbers."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def in_words(metrics: Mapping[str, float]) -> str:
    """Return metrics as part of a log line; an epoch counts from 1, as everywhere in the log."""
    return " ".join(f"{name} {_number(name, value)}" for name, value in sorted(metrics.items()))


def _number(name: str, value: float) -> str:
    return f"{value + 1:.0f}" if is_epoch(name) else f"{value:.2f}"
