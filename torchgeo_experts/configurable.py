# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Modules that can be written down in a checkpoint and made again."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn


class Configurable(nn.Module):
    """A module whose arguments stay readable.

    Every argument of ``__init__`` is kept as an attribute of the same name
    (scikit-learn's convention). So a task can store the module's recipe, plain text and
    numbers, in its hyper-parameters, and ``load_from_checkpoint`` needs no argument.
    """

    def to_config(self) -> dict[str, Any]:
        """Write down how to make this module.

        Returns:
            ``class_path`` and ``init_args``, as in a YAML file.
        """
        cls = type(self)
        values = {
            name: getattr(self, name)
            for name, parameter in inspect.signature(cls).parameters.items()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        return {
            'class_path': f'{cls.__module__}.{cls.__qualname__}',
            'init_args': {
                name: value.to_config() if isinstance(value, Configurable) else value
                for name, value in values.items()
            },
        }


def from_config[T: Configurable](config: T | Mapping[str, Any], kind: type[T]) -> T:
    """Make a module from its recipe.

    The class is imported before it can be checked, so that, as with any YAML file, a
    recipe from strangers is to be read first.

    Args:
        config: A module, returned as it is, or what :meth:`Configurable.to_config` gave.
        kind: Class that the module must belong to: nothing else is ever made.

    Returns:
        The module.

    Raises:
        TypeError: If the recipe is for something else.
    """
    if isinstance(config, kind):
        return config
    if not isinstance(config, Mapping) or 'class_path' not in config:
        raise TypeError(
            f'expected a {kind.__name__} or a mapping with class_path, found {config!r}'
        )
    module, _, name = config['class_path'].rpartition('.')
    cls = getattr(importlib.import_module(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, kind)):
        raise TypeError(f'{config["class_path"]} is no {kind.__name__}')
    arguments = {
        key: from_config(value, Configurable)
        if isinstance(value, Mapping) and 'class_path' in value
        else value
        for key, value in (config.get('init_args') or {}).items()
    }
    return cls(**arguments)
