"""Single methods of the async surface, turned into blocking ones."""

from __future__ import annotations

import ast
import re
from typing import Final, TypeAlias

from attrs import frozen

from tools.facade.layout import bracketed
from tools.facade.source import Source, Surface
from tools.facade.text import Turner

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

RENAMED: Final = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "aclose": "close",
}
KEPT: Final = {"__init__", "__len__", "__getitem__", "__contains__", "__iter__", "__bool__", *RENAMED}
"""Methods with underscores that are generated nevertheless."""
LEFT_OUT: Final = {("AsyncArker", "__init__"): {"session"}, ("AsyncArker", "local"): {"session"}}
"""Arguments that a blocking caller has no use for: a session is bound to the event loop that it was made in.

Those of ``__init__`` are told of by the class.
"""
ASYNC_ONLY: Final = {("AsyncTerminal", "stream")}
"""Methods that a blocking caller has no use for, or has something else for: see ``BASES``."""
UNDONE: Final = {"fork": "delete"}
"""Methods whose result must not be lost: the call that undoes it if the caller is interrupted just then."""
FED: Final = {"arker.transfer.UploadSource"}
"""Types that may be an iterable of a caller's, among other things."""
LATE: Final = {
    "relay": "_bridge.callbacks",
    "relay_hooks": "_bridge.callbacks",
    "relay_output": "_bridge.callbacks",
    "feed": "_bridge.callbacks",
    "in_threads": "_bridge.workers",
    "seated": "_bridge.callbacks",
}
"""What bodies need of modules that bring the event loop along: those are loaded when a body asks for them."""
ITERATION: Final = {
    "__anext__": "return self._next()",
    "aclose": "self._close()",
    "__aenter__": "return self",
    "__aexit__": "self._close()",
}
"""The bodies of an iterator, whose work is written by hand."""
HOLDERS: Final = {"FleetOutcome": "vm"}
"""Values that hold a handle, and the attribute with it."""


@frozen
class Context:
    """The facts about a method's class."""

    surface: Surface
    source: Source
    turner: Turner
    owner: ast.ClassDef

    @property
    def pattern(self) -> re.Pattern[str]:
        """The pattern that finds the names of async classes."""
        return re.compile(r"\b(" + "|".join(self.surface.names) + r")\b")

    def blocking(self, name: str) -> str:
        """Name the blocking class for a body: by its package, which loads it, unless the file imports it at its top."""
        blocking = self.surface.names[name]
        return f"arker_sync.{blocking}" if blocking in self.surface.late(self.source) else blocking


def _late(name: str) -> str:
    """Name a function of a module that is loaded late."""
    return f"{LATE[name]}.{name}"


def is_wanted(function: Function, owner: ast.ClassDef) -> bool:
    """Return whether a method of a class is part of the surface."""
    if (owner.name, function.name) in ASYNC_ONLY:
        return False
    return not function.name.startswith("_") or function.name in KEPT


def render(function: Function, context: Context, overloaded: bool) -> list[str]:
    """Return the lines of the blocking method.

    Args:
        function: The async method (or one of its overloads).
        context: The class that it is in.
        overloaded: Whether it has overloads.
    """
    decorators = [context.source.segment(each) for each in function.decorator_list]
    decorators = [each for each in decorators if each not in ("abstractmethod", "pending")]
    is_overload = "overload" in decorators
    lines = [f"    @{each}" for each in decorators]
    lines += _signature(function, context, " ..." if is_overload else "")
    if is_overload:
        return lines
    docstring = ast.get_docstring(function, clean=False)
    if docstring is not None:
        lines += [
            f"        {context.turner.docstring(without_arguments(docstring, context.owner.name, function.name))}"
        ]
    return lines + _body(function, context, "property" in decorators, overloaded)


def without_arguments(docstring: str, owner: str, function: str) -> str:
    """Return a docstring without the arguments that a blocking caller has no use for."""
    for name in LEFT_OUT.get((owner, function), ()):
        docstring = re.sub(rf"^( +){name}: .*\n(\1 +.*\n)*", "", docstring, flags=re.MULTILINE)
    return docstring


def _signature(function: Function, context: Context, after: str) -> list[str]:
    source, turner = context.source, context.turner
    returns = turner.annotation(source.segment(function.returns)) if function.returns is not None else "None"
    items = [_text(item, context) for item in _parameters(function, context)]
    # A comma after the last one asks for a line for each.
    first = function.body[0]
    head = "\n".join(source.lines[function.lineno - 1 : first.lineno])
    exploded = re.search(r",\s*\)\s*->", head) is not None
    name = RENAMED.get(function.name, function.name)
    return bracketed(f"def {name}(", items, f") -> {returns}:{after}", indent=4, exploded=exploded)


@frozen
class Parameter:
    """A parameter; a lone ``*`` has no annotation."""

    name: str
    annotation: ast.expr | None = None
    default: ast.expr | None = None
    keyword: bool = False


def _parameters(function: Function, context: Context) -> list[Parameter]:
    arguments = function.args
    left_out = LEFT_OUT.get((context.owner.name, function.name), set())
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    found = [Parameter(each.arg, each.annotation, default) for each, default in zip(positional, defaults, strict=True)]
    if arguments.vararg is not None:
        raise SystemExit(f"{context.owner.name}.{function.name}: *{arguments.vararg.arg} cannot be generated")
    if arguments.kwonlyargs:
        found.append(Parameter("*"))
    for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if each.arg not in left_out:
            found.append(Parameter(each.arg, each.annotation, default, keyword=True))
    if arguments.kwarg is not None:
        found.append(Parameter(f"**{arguments.kwarg.arg}", arguments.kwarg.annotation))
    return found


def _text(parameter: Parameter, context: Context) -> str:
    text = parameter.name
    if parameter.annotation is not None:
        text += f": {context.turner.annotation(context.source.segment(parameter.annotation))}"
    if parameter.default is not None:
        equals = " = " if parameter.annotation is not None else "="
        text += equals + context.turner.annotation(context.source.segment(parameter.default))
    return text


# --- bodies -----------------------------------------------------------------------------------------------------------


def _arguments(function: Function, context: Context) -> list[str]:
    """Return the arguments of the call of the async method."""
    found: list[str] = []
    for each in _parameters(function, context):
        if each.name in {"self", "cls", "*"}:
            continue
        if each.name.startswith("**"):
            found.append(each.name)
            continue
        value = _argument(each, context)
        found.append(f"{each.name}={value}" if each.keyword else value)
    return found


def _argument(parameter: Parameter, context: Context) -> str:
    """Convert a value of the blocking surface to the async one."""
    annotation = "" if parameter.annotation is None else " ".join(context.source.segment(parameter.annotation).split())
    name = parameter.name
    if re.search(r"Callable\[.*\bAwaitable\[", annotation):
        handle = context.pattern.search(annotation)
        if handle is None:
            raise SystemExit(f"{name}: {annotation}: a function of no handle")
        return f"{_late('in_threads')}({name}, {context.blocking(handle[1])}, self._lease)"
    if "arker.transfer.OutputTarget" in annotation:
        return f'{_late("relay_output")}("{name}", {name})'
    if "Callable[" in annotation:
        return f'{_late("relay")}("{name}", {name})'
    if re.search(r"\bHooks\b", annotation):
        return f"{_late('relay_hooks')}({name})"
    if "AsyncIterable[" in annotation or "AsyncIterator[" in annotation or annotation in FED:
        return f"{_late('feed')}({name})"
    return f"twin({name})" if context.pattern.search(annotation) else name


def _body(function: Function, context: Context, is_property: bool, overloaded: bool) -> list[str]:
    name = function.name
    returns = context.source.segment(function.returns) if function.returns is not None else "None"
    arguments = _arguments(function, context)
    space = " " * 8
    if context.owner.name == "AsyncArker":
        special = _life(function, context, arguments)
        if special is not None:
            return special
    if context.owner.name == "AsyncItems" and name in ITERATION:
        return [space + ITERATION[name]]
    if name == "__aiter__":
        return [f"{space}return self"]
    if is_property:
        return [f"{space}return {_wrapped(f'self._async.{name}', returns, context)}"]
    if name.startswith("__") and name not in RENAMED:
        builtin = {"__len__": "len(self._async)", "__bool__": "bool(self._async)", "__iter__": "iter(self._async)"}
        if name == "__iter__":
            handle = context.pattern.search(returns)
            if handle is None:
                return [f"{space}return {builtin[name]}"]
            return [f"{space}return ({context.blocking(handle[1])}(each, self._lease) for each in self._async)"]
        if name in builtin:
            return [f"{space}return {builtin[name]}"]
        operator = "in" if name == "__contains__" else None
        if operator is not None:
            return [f"{space}return twin({arguments[0]}) in self._async"]
        return [f"{space}return {_wrapped(f'self._async[{arguments[0]}]', returns, context)}"]
    asynchronous = "self._async"
    lines: list[str] = []
    if overloaded:
        lines.append(f"{space}asynchronous: Any = self._async")
        asynchronous = "asynchronous"
    call = f"{asynchronous}.{name}("
    if not isinstance(function, ast.AsyncFunctionDef):
        item = re.fullmatch(r"arker\.AsyncItems\[(.*)\]", " ".join(returns.split()))
        if item is not None:
            wrap = _wrap_function(item[1], context)
            iterate = f"{space}return {context.blocking('AsyncItems')}(iterator, self._lease"
            if any("(" in argument for argument in arguments):  # the caller's functions are called amid the steps
                lines += [f"{space}with {_late('seated')}() as seat:"]
                lines += bracketed(f"iterator = {call}", arguments, ")", indent=12)
                return [*lines, f"{iterate}, {wrap or 'None'}, seat)"]
            lines += bracketed(f"iterator = {call}", arguments, ")", indent=8)
            return [*lines, f"{iterate}{wrap and f', {wrap}'})"]
        if _wrapped("value", returns, context) == "value":
            return [*lines, *bracketed(call if returns == "None" else f"return {call}", arguments, ")", indent=8)]
        lines += bracketed(f"value = {call}", arguments, ")", indent=8)
        return [*lines, f"{space}return {_wrapped('value', returns, context)}"]
    lines += bracketed(f"work = {call}", arguments, ")", indent=8)
    undo = ""
    if name in UNDONE:
        undo = f", undo=lambda made: made.{UNDONE[name]}()"
    elif name in ("__aenter__", "__aexit__"):
        undo = ", leave=lambda: self._async.__aexit__(None, None, None)"
        undo += f", raised={arguments[0]}" if name == "__aexit__" else ""
    done = f"self._lease.call(work{undo})"
    if name == "__anext__":
        return [*lines, f"{space}return {_wrapped('self._lease.step(work)', returns, context)}"]
    if returns == "Self":
        return [*lines, f"{space}{done}", f"{space}return self"]
    if returns == "None":
        return [*lines, f"{space}{done}"]
    wrapped = _wrapped(done, returns, context)
    if name in UNDONE:
        wrapped = wrapped.replace(f"({done}, self._lease)", "").join(("self._lease.make(work, ", f"{undo})"))
    if overloaded:
        wrapped = f'cast("{context.turner.annotation(returns)}", {wrapped})'
    return [*lines, f"{space}return {wrapped}"]


def _life(function: Function, context: Context, arguments: list[str]) -> list[str] | None:
    """Return a hand-written body for the beginning and the end of a client."""
    space = " " * 8
    if function.name == "__init__":
        return [
            *bracketed("client = AsyncArker(", arguments, ")", indent=8),
            f"{space}super().__init__(client)",
        ]
    if function.name == "local":
        return [
            f"{space}cls._check_options(options)",
            f"{space}client = cls.__new__(cls)",
            *bracketed("asynchronous = AsyncArker.local(", arguments, ")", indent=8),
            f"{space}Life.__init__(client, asynchronous)",
            f"{space}return client",
        ]
    by_hand = {"__aenter__": "return self._enter()", "__aexit__": f"self._exit({', '.join(arguments)})"}
    by_hand["aclose"] = "self._close()"
    return [space + by_hand[function.name]] if function.name in by_hand else None


def _wrapped(value: str, returns: str, context: Context) -> str:
    """Convert a value of the async surface for a blocking caller.

    Args:
        value: An expression for it.
        returns: Its annotation.
        context: The class that the method is in.
    """
    if not context.pattern.search(returns):
        return value
    wrapped = _wrapped_as(value, ast.parse(returns.strip(), mode="eval").body, context)
    if wrapped is None:
        raise SystemExit(f"{context.source.path}: no way to hand out {returns}")
    return wrapped


def _wrapped_as(value: str, annotation: ast.expr, context: Context) -> str | None:
    names = context.surface.names
    name = _last(annotation)
    if name in names:
        return f"{context.blocking(name)}({value}, self._lease)"
    if not isinstance(annotation, ast.Subscript):
        return None
    several, inner = _last(annotation.value), annotation.slice
    if several in names:  # a class that is generic
        return f"{context.blocking(several)}({value}, self._lease)"
    first = inner.elts[0] if isinstance(inner, ast.Tuple) else inner
    if several in HOLDERS and _last(first) in names:
        return f'held({value}, "{HOLDERS[several]}", {context.blocking(_last(first))}, self._lease)'
    each = _wrapped_as("each", first, context)
    if several in {"list", "Sequence"} and each is not None:
        return f"[{each} for each in {value}]"
    return f"tuple({each} for each in {value})" if several == "tuple" and each is not None else None


def _last(annotation: ast.expr) -> str:
    """Return the name of a class, with or without its module."""
    if isinstance(annotation, ast.Attribute):
        return annotation.attr
    return annotation.id if isinstance(annotation, ast.Name) else ""


def _wrap_function(item: str, context: Context) -> str:
    """Return the function that converts an iterator's item for a blocking caller; empty if the item stays as it is."""
    if not context.pattern.search(item):
        return ""
    return f"lambda item: {_wrapped('item', item, context)}"


__all__ = ["Context", "Function", "is_wanted", "render"]
