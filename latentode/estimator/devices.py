"""An estimator that computes where it is told to, whatever device its caller's tensors are made on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

__all__ = ["whatever_the_default_device"]

Estimator = TypeVar("Estimator", bound=type)


def whatever_the_default_device(cls: Estimator) -> Estimator:
    """A class whose public methods don't notice `torch.set_default_device` and `with torch.device(...)`.

    Both reach into every function that is called under them and makes a tensor without naming its device.
    """
    for name in dir(cls):
        found = inspect.getattr_static(cls, name)
        if name.startswith("_"):
            continue
        if inspect.isfunction(found) and _is_ours(found):
            setattr(cls, name, _on_the_cpu(found))
        elif isinstance(found, classmethod) and _is_ours(found.__func__):
            setattr(cls, name, classmethod(_on_the_cpu(found.__func__)))
        elif isinstance(found, property) and found.fget is not None and _is_ours(found.fget):
            setattr(cls, name, property(_on_the_cpu(found.fget), doc=found.__doc__))
    return cls


def _is_ours(method: Callable[..., Any]) -> bool:
    """Scikit-learn's own methods make no tensors."""
    return method.__module__.startswith(__package__)


def _on_the_cpu(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def called(*arguments: Any, **settings: Any) -> Any:
        if torch.empty(0).device.type == "cpu":  # a device's context costs something at every call of torch
            return method(*arguments, **settings)
        with torch.device("cpu"):
            return method(*arguments, **settings)

    return called
