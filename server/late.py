"""Modules that are imported when something of them is first used, not when an import statement names it.

A package imports all of its parts, also those that only some of its users need: the SDK of MCP imports a web framework
for a server that speaks over stdin. With `import_late`, such an import statement finds an empty module, and takes
stand-ins from it. A stand-in imports its module when it is called, subscripted, subclassed or asked for an attribute.
"""

import sys
import typing
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.metadata import PackageNotFoundError, version
from threading import RLock
from types import ModuleType, UnionType
from typing import Any

import pydantic
from pydantic import ConfigDict, TypeAdapter

_ASKED_BY_TYPING = ("__parameters__", "__typing_subst__", "__typing_unpacked_tuple_args__")  # of the parts of a union


def import_late(*names: str) -> None:
    """From now on, import these modules and all in them at their first use. What is imported already stays as it is.

    An `except` clause does not import: call `resolve` before a module reaches one that names a stand-in.
    """
    sys.meta_path.insert(0, _Finder(names))


@contextmanager
def as_if_missing(*names: str) -> Generator[None]:
    """Let imports of these modules fail meanwhile, as where they are not installed; but not of what is imported."""
    hidden = [name for name in names if name not in sys.modules]
    known: dict[str, ModuleType | None] = sys.modules  # pyright: ignore[reportAssignmentType]
    known |= dict.fromkeys(hidden)  # None: Python's own mark of a module that is not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_unmade(name: str) -> None:
    """Import a module, whose validators of unions are made when they are first used. Raises ImportError."""
    pydantic.TypeAdapter = _LateAdapters()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        import_module(name)
    finally:
        pydantic.TypeAdapter = TypeAdapter


def versions_are(tried: Mapping[str, str]) -> bool:
    """Whether these versions of packages are installed, under a Python whose typing knows stand-ins."""
    try:
        return sys.version_info < (3, 14) and all(version(package) == known for package, known in tried.items())
    except PackageNotFoundError:
        return False


def resolve(module: ModuleType) -> None:
    """Put what they stand for in the place of a module's stand-ins."""
    for name, value in list(vars(module).items()):
        if type(value) is Late:
            setattr(module, name, value.meant())


class _LateAdapters:
    """In the place of the class TypeAdapter, of which nothing may be derived."""

    def __getitem__(self, _: Any) -> "_LateAdapters":
        return self

    def __call__(self, type: Any, **given: Any) -> Any:
        union = isinstance(type, UnionType) or typing.get_origin(type) is typing.Union
        config = ConfigDict(defer_build=True) if union else None  # a model has a config of its own
        made: Any = TypeAdapter
        return made(type, config=config, _parent_depth=3, **given)


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if not any(fullname == name or fullname.startswith(name + ".") for name in self._names):
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec and isinstance(spec.loader, SourceFileLoader):  # a compiled module cannot be made before it is run
            spec.loader = _LateLoader(spec.loader)
        return spec


class _LateLoader(Loader):
    """Makes an empty module, and runs its code later, once."""

    def __init__(self, loader: SourceFileLoader) -> None:
        self._loader, self._lock, self._begun = loader, RLock(), False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LateModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing yet."""

    def run(self, module: ModuleType) -> None:
        """Run the module's code, or wait until another thread has done so."""
        with self._lock:
            if not self._begun:  # else it is this thread that runs it
                self._begun = True
                self._loader.exec_module(module)
                module.__class__ = ModuleType


class _LateModule(ModuleType):
    """A module whose code has not run to its end."""

    def __getattr__(self, name: str) -> Any:
        if name in ("__all__", "__version__"):
            return getattr(_imported(self.__name__), name)
        if name.startswith("__"):  # asked by the import system, of any module
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return Late(self.__name__, name)


def _imported(name: str) -> ModuleType:
    module = import_module(name)
    if type(module) is _LateModule and isinstance(loader := module.__loader__, _LateLoader):
        loader.run(module)
    return module


class Late:
    """Stands for a name in a module that is imported at its first use."""

    def __init__(self, module: str, name: str) -> None:
        self._late = module, name

    def meant(self) -> Any:
        """What this stands for. Raises ImportError."""
        module, name = self._late
        found = vars(_imported(module))
        return found[name] if name in found else _imported(f"{module}.{name}")

    def __getattr__(self, name: str) -> Any:
        if name in _ASKED_BY_TYPING:
            raise AttributeError(name)
        return getattr(self.meant(), name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.meant()(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self.meant()[key]

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.meant(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.meant())

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.meant())

    def __or__(self, other: Any) -> Any:
        return typing.Union[self, other]  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        return typing.Union[other, self]  # noqa: UP007

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler.generate_schema(self.meant())
