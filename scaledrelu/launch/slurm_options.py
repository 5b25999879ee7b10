"""What a person may say about SLURM jobs (``slurm.<option>=``), checked before any is submitted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from scaledrelu.errors import ConfigError, nearest
from scaledrelu.launch.executor import Job
from scaledrelu.tables.typed import is_whole

DEFAULTS = {"timeout_min": 60, "signal_delay_s": 120}
SHARED = ("timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node")
OPTIONS = (
    *SHARED, "partition", "qos", "account", "constraint", "gres", "exclude", "nodelist",
    "exclusive", "mem", "mem_per_cpu", "mem_per_gpu", "gpus_per_task", "cpus_per_gpu", "mail_type",
    "mail_user", "signal_delay_s", "setup", "srun_args", "additional_parameters", "wckey",
)  # fmt: skip
COUNTS = {  # options that are whole numbers, and the smallest
    "timeout_min": 1, "nodes": 1, "cpus_per_task": 1, "gpus_per_node": 0, "tasks_per_node": 1,
    "signal_delay_s": 0,
}  # fmt: skip
OWN = {
    "name": "cannot be set: jobs are named <table>-<row>-<run id>, to find them in the queue",
    "comment": "cannot be set: it holds the results folder that a job works for",
    "dependency": "cannot be set: jobs wait for the runs that they need",
    "array_parallelism": "cannot be set; write n_jobs=<jobs at a time>",
}
ARTIFACTS = "artifacts"  # below it: options of jobs that make label maps and data


def options_of(job: Job, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one job; an artifact is made by one task.

    Args:
        job: the job to submit.
        options: options of all jobs; those below ``artifacts`` are for artifacts only.

    Raises:
        ConfigError: groups of an update that do not divide over the tasks.
    """
    found = {**DEFAULTS, **{key: value for key, value in options.items() if key != ARTIFACTS}}
    if not job.groups:
        return found | {"nodes": 1, "tasks_per_node": 1, **options.get(ARTIFACTS, {})}
    tasks = int(found.get("nodes", 1)) * int(found.get("tasks_per_node", 1))
    if tasks > 1 and job.groups % tasks:
        allowed = ", ".join(str(n) for n in range(1, job.groups + 1) if job.groups % n == 0)
        raise ConfigError(
            f"{job.name}: one update has {job.groups} group(s) of images, which cannot be divided "
            f"among {tasks} tasks (slurm.nodes x slurm.tasks_per_node); allowed: {allowed}; or use "
            "another batch.group (other runs); nothing was submitted"
        )
    return found


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse a misspelt option, counts that are none, and jobs that end before they can train.

    Raises:
        ConfigError: one line with the nearest valid name or what is allowed.
    """
    own = options.get(ARTIFACTS, {})
    if not isinstance(own, Mapping):
        raise ConfigError(
            f"slurm.{ARTIFACTS}={own}: is a group; write slurm.{ARTIFACTS}.<option>=<value>"
        )
    shared = {key: value for key, value in options.items() if key != ARTIFACTS}
    _check(shared, where="slurm.")
    _check(own, where=f"slurm.{ARTIFACTS}.")
    _check_time(DEFAULTS | shared, where="slurm.")
    if DEFAULTS.keys() & own.keys():
        _check_time(DEFAULTS | shared | own, where=f"slurm.{ARTIFACTS}.")


def check_slurm(options: Mapping[str, Any]) -> None:
    """Refuse wrong options, and a machine that cannot submit.

    Raises:
        ConfigError: see :func:`check_options`; or what to install.
    """
    check_options(options)
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "launcher=slurm: no sbatch on this machine; run it on a SLURM login node, or set "
            "launcher=local"
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"launcher=slurm: {error}; run: pip install -e '.[slurm]'") from error


def _check(options: Mapping[str, Any], *, where: str) -> None:
    for key, value in options.items():
        if key in OWN:
            raise ConfigError(f"{where}{key}: {OWN[key]}")
        if key not in OPTIONS:
            raise ConfigError(
                f"{where}{key}: no such option of a SLURM job{nearest(key, OPTIONS)}; "
                f"allowed: {', '.join(OPTIONS)}"
            )
        least = COUNTS.get(key)
        if least is not None and not is_whole(value, least):
            raise ConfigError(f"{where}{key}={value}: write a whole number from {least} on")


def _check_time(options: Mapping[str, Any], *, where: str) -> None:
    """Refuse a time limit that is announced as a job starts, which would queue it again forever."""
    minutes, delay_s = options["timeout_min"], options["signal_delay_s"]
    if delay_s >= 60 * minutes:
        raise ConfigError(
            f"{where}timeout_min={minutes}: a job would be told at once that its time is up, "
            f"{where}signal_delay_s={delay_s} seconds before; set {where}timeout_min="
            f"{delay_s // 60 + 1} or more, or {where}signal_delay_s={30 * minutes} or less"
        )
