"""What a configuration can name: an object that remembers the arguments that it was made with."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args


def parameters(cls: type) -> dict[str, inspect.Parameter]:
    """Return the arguments that a class is made with, by name."""
    init: Any = cls.__init__  # type: ignore[misc]
    if init is object.__init__:
        return {}
    return dict(list(inspect.signature(init).parameters.items())[1:])  # without self


def check_arguments(cls: type, given: Mapping[str, Any]) -> None:
    """Refuse arguments that their types, such as those of :mod:`isdiff.checks`, do not take."""
    for name, parameter in parameters(cls).items():
        kinds = [parameter.annotation, *get_args(parameter.annotation)]
        if name in given and not (given[name] is None and type(None) in kinds):
            for check in (check for kind in kinds for check in getattr(kind, "__metadata__", ())):
                check(name.rstrip("_"), given[name])


class Component:
    """Base of everything that a ``_target_`` names.

    Attributes:
        not_hashed: arguments that change no result: where something lies, what people are told, or what a subclass puts
            into its fingerprint in another form.
        labels: keys that may stand beside the arguments where a configuration names such an object.
        arguments: those that the object was made with, defaults included.
    """

    not_hashed: ClassVar[tuple[str, ...]] = ()
    labels: ClassVar[tuple[str, ...]] = ()
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **given: Any) -> Any:
        made = super().__new__(cls)
        defaults = {n: p.default for n, p in parameters(cls).items() if p.default is not p.empty}
        # Too many or unknown ones are for __init__ to refuse; copies are made without any.
        made.arguments = defaults | dict(zip(parameters(cls), args, strict=False)) | given
        if args or given:
            check_arguments(cls, made.arguments)
        return made

    def fingerprint(self) -> dict[str, Any]:
        """What results depend on, ready for JSON: the class, by its name and package, and its arguments."""
        package, name = type(self).__module__.partition(".")[0], type(self).__qualname__
        named = {"class": name if package == "isdiff" else f"{package}:{name}"}
        return named | {key: plain(value) for key, value in self.arguments.items() if key not in self.not_hashed}


def plain(value: Any) -> Any:
    """Convert a value for JSON, in which equal values look equal: ``1.0`` is ``1``, a tuple a list."""
    if isinstance(value, Component):
        return value.fingerprint()
    if value is None or isinstance(value, (int, float, str)):
        return int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [plain(inner) for inner in value]
    raise TypeError(f"{type(value).__name__} is no part of a fingerprint")
