"""Modalities by name, so that another package can add one without touching this one.

In code: `@register("depth")` on a class that is a `Modality`. In a package: an entry point of the group
"omni_tokenizers.modalities" that names such a class, which is imported when somebody asks for it.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from omni_tokenizers.sequence.modality import METHODS, Modality
from omni_tokenizers.sequence.sequence import BUILT_IN

GROUP = "omni_tokenizers.modalities"

Factory = TypeVar("Factory", bound=Callable[..., Any])
_registered: dict[str, Callable[..., Any]] = {}


class PluginError(ValueError):
    """A plug-in cannot be used: its name is taken, it does not load, or it is no modality."""


def register(name: str) -> Callable[[Factory], Factory]:
    """Make a class (or a function that returns a modality) known as the modality `name`."""
    if not name.isidentifier():
        raise PluginError(f"the modality name {name!r} is not a plain word: it becomes a keyword, Omni({name}=…)")
    if name in BUILT_IN:
        raise PluginError(f"the modality name {name!r} is built in ({', '.join(BUILT_IN)}): choose another")

    def keep(factory: Factory) -> Factory:
        missing = [method for method in METHODS if isinstance(factory, type) and not hasattr(factory, method)]
        if missing:
            raise PluginError(f"{_where(factory)} is no modality: it has no {', '.join(missing)}")
        taken = _registered.get(name)
        # The same class again is a module that was reloaded, or imported by its entry point: no clash.
        if taken is not None and _where(taken) != _where(factory):
            raise PluginError(
                f"two plug-ins want the modality name {name!r}: {_where(taken)} has it, {_where(factory)} asks for it; "
                "rename one of them"
            )
        _registered[name] = factory
        return factory

    return keep


def unregister(name: str) -> None:
    """Forget a modality that `register` made known."""
    _registered.pop(name, None)


def names() -> list[str]:
    """Every plug-in's name, without importing one."""
    return sorted({*_registered, *(point.name for point in entry_points(group=GROUP))})


def create(name: str, **options: Any) -> Modality:
    """Build the plug-in `name` with its options."""
    modality = _factory(name)(**options)
    return checked(name, modality)


def checked(name: str, modality: Any) -> Modality:
    """The modality itself, or a clear error if it lacks a method."""
    missing = [method for method in METHODS if not callable(getattr(modality, method, None))]
    if missing:
        raise PluginError(
            f"{name}={type(modality).__name__} is no modality: it has no {', '.join(missing)}; "
            f"a modality has {', '.join(METHODS)}"
        )
    return modality


def _factory(name: str) -> Callable[..., Any]:
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if len({point.value for point in points}) > 1:
        who = " and ".join(sorted(f"{point.value} of {_package(point)}" for point in points))
        raise PluginError(f"two installed packages offer the modality {name!r}: {who}; uninstall one of them")
    if points:
        loaded = _loaded(points[0])
        register(name)(loaded)
    if name not in _registered:
        raise PluginError(f"no plug-in is named {name!r}; known: {', '.join(names()) or 'none'}")
    return _registered[name]


def _loaded(point: EntryPoint) -> Callable[..., Any]:
    try:
        loaded = point.load()
    except Exception as broken:  # whatever a stranger's module raises while it is imported
        raise PluginError(
            f"the plug-in {point.name!r} of {_package(point)} ({point.value}) does not load: "
            f"{type(broken).__name__}: {broken}"
        ) from broken
    if not callable(loaded):
        raise PluginError(f"the plug-in {point.name!r} of {_package(point)} ({point.value}) is not a class")
    return loaded


def _package(point: EntryPoint) -> str:
    return f"the package {point.dist.name}" if point.dist is not None else "an unnamed package"


def _where(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', type(thing).__name__)}"
