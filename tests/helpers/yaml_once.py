"""Hydra reads the files of ``conf/`` anew for every composition; here each text is parsed once."""

from __future__ import annotations

import copy
import io
from functools import cache
from typing import IO, Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

_load = OmegaConf.load


def parse_once() -> None:
    """Let ``OmegaConf.load`` of an open file hand out copies of what it made of the same text."""
    OmegaConf.load = staticmethod(_copy_of)


def _copy_of(file_: str | IO[Any]) -> DictConfig | ListConfig:
    if not hasattr(file_, "read"):
        return _load(file_)
    try:
        return copy.deepcopy(_parsed(file_.read()))
    except yaml.YAMLError:
        file_.seek(0)
        return _load(file_)  # whose error names the file


@cache
def _parsed(text: str) -> DictConfig | ListConfig:
    return _load(io.StringIO(text))
