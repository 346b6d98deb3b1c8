"""What a config's ``type`` names: a class itself, as in MMEngine's new style, or a class in a registry."""

from typing import Any

from mmengine.registry import Registry


def class_of(config: dict | None, registry: Registry) -> type | None:
    """The class that a config is to be built of; None where it names none that is known."""
    kind = (config or {}).get('type')
    return registry.get(kind) if isinstance(kind, str) else kind


def is_of(config: Any, registry: Registry, *kinds: type) -> bool:
    """Whether a config is to be built of one of these classes, or of one that is derived from them."""
    found = class_of(config, registry) if isinstance(config, dict) else None
    return isinstance(found, type) and issubclass(found, kinds)


def name_of(config: dict) -> str:
    """The name of what a config is to be built of, without its scope."""
    kind = config.get('type', '')
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__


def listed(node: Any) -> list[dict]:
    """One config or several, as evaluators, schedulers and visualizers come, as a list."""
    return list(node) if isinstance(node, list | tuple) else [node] if node else []
