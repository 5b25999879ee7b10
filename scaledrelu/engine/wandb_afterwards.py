"""What is sent to W&B when its run has finished: a run, or a table with its files; once each.

Whether W&B has it already is asked of the server, offline of the copies on disk, so that sending
again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from scaledrelu.engine.mirror_files import MARK, RECORD, SENT, read_mark, record_of
from scaledrelu.engine.wandb_run import (
    WandbRun,
    copies_of,
    from_environment,
    is_synced,
    open_run,
    place_of,
)


def send_afterwards(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Send a finished run or a table, unless W&B has it.

    Args:
        spec: the arguments of ``WandbMirror``; a table also has ``key``, ``columns``, ``rows``,
            ``files`` (below ``folder``) and ``pictures``.

    Returns:
        ``known``: nothing had to be sent; ``sent``: how many rows were; ``address``.
    """
    folder = Path(spec["folder"])
    is_table = "columns" in spec
    record = table_record(spec) if is_table else record_of(spec, folder)
    if is_known(spec, folder, record):
        return {"known": True}
    if is_table:
        return _send_table(spec, folder, record)
    copy = WandbRun(spec, folder, live=False)
    count = copy.finish(exit_code=0, preempted=False)
    return {"sent": count, "address": copy.address}


def is_known(spec: Mapping[str, Any], folder: Path, record: str) -> bool:
    """Whether W&B has all that would be sent; offline, whether a copy waits or was sent.

    Args:
        spec: project and id of the run.
        folder: its directory.
        record: digest of what would be sent.
    """
    if spec["mode"] == "online":
        return _summary_there(spec).get(RECORD) == record
    copies = copies_of(place_of(folder) / "wandb", spec["run_id"])
    marks = [read_mark(copy / MARK) for copy in copies if is_synced(copy) or _is_offline(copy)]
    marks.append(read_mark(folder / "wandb" / SENT))
    return any(mark.get(RECORD) == record for mark in marks)


def table_record(spec: Mapping[str, Any]) -> str:
    """Return a digest of a table and its files."""
    parts = [json.dumps([spec["name"], spec["columns"], spec["rows"]]).encode()]
    parts += [Path(path).read_bytes() for path in spec["files"]]
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


def _send_table(spec: Mapping[str, Any], folder: Path, record: str) -> dict[str, Any]:
    import wandb

    run = open_run(spec, folder, trainer=None)
    address = run.url if spec["mode"] == "online" else str(Path(run.dir).parent)
    copy = Path(run.dir).parent
    pictures = {key: wandb.Image(path) for key, path in spec["pictures"].items()}
    run.log({spec["key"]: wandb.Table(columns=spec["columns"], data=spec["rows"]), **pictures})
    files = wandb.Artifact(spec["run_id"], type="table")
    for path in spec["files"]:
        files.add_file(path, name=Path(path).relative_to(folder).as_posix())
    run.log_artifact(files)
    run.summary[RECORD] = record
    (copy / MARK).write_text(json.dumps({RECORD: record, "last_step": 0}))
    run.finish(exit_code=0)
    return {"sent": len(spec["rows"]), "address": address}


def _summary_there(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary that the server has of a run; empty where it has no such run."""
    from wandb.errors import CommError

    told = from_environment(spec)
    entity = told["entity"] or _api().default_entity
    try:
        return dict(_api().run(f"{entity}/{told['project']}/{spec['run_id']}").summary)
    except (ValueError, CommError) as error:
        if isinstance(getattr(error, "exc", error), ValueError):  # no such run or project yet
            return {}
        raise


@cache
def _api() -> Any:
    import wandb

    return wandb.Api()


def _is_offline(copy: Path) -> bool:
    return copy.name.startswith("offline-")
