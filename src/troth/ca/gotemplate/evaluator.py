"""Running a parsed template on data: Go's rules for fields, variables, pipelines, branches and loops."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from troth.ca.gotemplate import ExecutionError
from troth.ca.gotemplate import nodes as n
from troth.ca.gotemplate.methods import METHODS
from troth.ca.gotemplate.signatures import CallError, Functions, apply
from troth.ca.gotemplate.values import MISSING, Int64, Struct, is_nil, printed, sprint, truth, type_name

MAX_STEPS = 200_000
MAX_OUTPUT = 1024 * 1024
MAX_INCLUDES = 50
_ABSENT = object()


class _Break(Exception):  # noqa: N818 - control flow of a loop
    pass


class _Continue(Exception):  # noqa: N818 - control flow of a loop
    pass


def execute(template: n.Parsed, data: Any, functions: Functions) -> str:
    """The text a template makes of its data.

    Raises:
        ExecutionError: it did not come to an end; the message names template and line.
        RefusedByTemplateError: it called ``fail``.
    """
    run = _Run(template, data, functions)
    try:
        run.walk(template.root, data)
    except CallError as error:
        raise run.error(str(error)) from error
    except RecursionError as error:
        raise run.error("data is nested too deeply") from error
    return "".join(run.output)


class _Run:
    def __init__(self, template: n.Parsed, data: Any, functions: Functions) -> None:
        self._template = template
        self._functions = functions
        self._variables: list[tuple[str, Any]] = [("$", data)]
        self._line = 1
        self._steps = 0
        self._size = 0
        self._includes = 0
        self.output: list[str] = []

    def error(self, message: str) -> ExecutionError:
        name = self._template.name
        return ExecutionError(f'template: {name}:{self._line}: executing "{name}": {message}')

    def _step(self, line: int) -> None:
        self._line = line
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self.error(f"more than {MAX_STEPS} steps")

    def _put(self, text: str) -> None:
        self._size += len(text)
        if self._size > MAX_OUTPUT:
            raise self.error(f"more than {MAX_OUTPUT} characters of output")
        self.output.append(text)

    # Statements

    def walk(self, nodes: Sequence[n.Node], dot: Any) -> None:
        for node in nodes:
            self._walk_one(node, dot)

    def _walk_one(self, node: n.Node, dot: Any) -> None:
        match node:
            case n.Text():
                self._put(node.text)
            case n.Action():
                value = self._pipeline(node.pipeline, dot)
                if not node.pipeline.declared:
                    self._put(printed(value))
            case n.Branch():
                with self._scope():
                    self._range(node, dot) if node.keyword == "range" else self._condition(node, dot)
            case n.Include():
                self._include(node, dot)
            case n.Jump():
                raise _Break if node.keyword == "break" else _Continue

    @contextmanager
    def _scope(self) -> Iterator[None]:
        mark = len(self._variables)
        try:
            yield
        finally:
            del self._variables[mark:]

    def _condition(self, node: n.Branch, dot: Any) -> None:
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self.walk(node.body, value if node.keyword == "with" else dot)
        elif node.otherwise is not None:
            self.walk(node.otherwise, dot)

    def _range(self, node: n.Branch, dot: Any) -> None:
        value = self._evaluate(node.pipeline, dot)
        items = self._items(value, len(node.pipeline.declared))
        for index, item in items:
            self._step(node.line)
            with self._scope():
                self._bind(node.pipeline, index, item)
                try:
                    self.walk(node.body, item)
                except _Continue:
                    continue
                except _Break:
                    break
        if not items and node.otherwise is not None:
            self.walk(node.otherwise, dot)

    def _items(self, value: Any, declared: int) -> list[tuple[Any, Any]]:
        if is_nil(value):
            return []
        if isinstance(value, Mapping):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, list | bytes):
            return list(enumerate(value))
        if isinstance(value, int) and not isinstance(value, bool):
            if declared > 1:
                raise self.error(f"can't use {value} to iterate over more than one variable")
            if value > MAX_STEPS:
                raise self.error(f"more than {MAX_STEPS} steps")
            return [(MISSING, Int64(i) if isinstance(value, Int64) else i) for i in range(value)]
        raise self.error(f"range can't iterate over {sprint(value)}")

    def _bind(self, pipeline: n.Pipeline, index: Any, item: Any) -> None:
        """The variables of a loop: one is the element; of two, the first is the index."""
        values = (item,) if len(pipeline.declared) == 1 else (index, item)
        for name, value in zip(pipeline.declared, values, strict=False):
            self._set(name, value) if pipeline.assigns else self._variables.append((name, value))

    def _include(self, node: n.Include, dot: Any) -> None:
        self._step(node.line)
        nodes = self._template.defined.get(node.name, self._template.root)
        value = MISSING if node.pipeline is None else self._pipeline(node.pipeline, dot)
        self._includes += 1
        if self._includes > MAX_INCLUDES:
            raise self.error(f"exceeded maximum template depth ({MAX_INCLUDES})")
        outer, self._variables = self._variables, [("$", value)]
        self.walk(nodes, value)
        self._variables = outer
        self._includes -= 1

    # Expressions

    def _pipeline(self, pipeline: n.Pipeline, dot: Any) -> Any:
        value = self._evaluate(pipeline, dot)
        if pipeline.declared:
            name = pipeline.declared[0]
            self._set(name, value) if pipeline.assigns else self._variables.append((name, value))
        return value

    def _evaluate(self, pipeline: n.Pipeline, dot: Any) -> Any:
        self._step(pipeline.line)
        value: Any = _ABSENT
        for command in pipeline.commands:
            value = self._command(command, dot, value)
        return MISSING if value is None else value

    def _set(self, name: str, value: Any) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        raise self.error(f"undefined variable: {name}")

    def _variable(self, name: str) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise self.error(f"undefined variable: {name}")

    def _command(self, command: n.Command, dot: Any, final: Any) -> Any:
        """One stage of a pipeline; `final` is what the stage before it yields."""
        first, arguments = command.operands[0], command.operands[1:]
        self._step(command.line)
        match first:
            case n.Function():
                return self._call(first, arguments, dot, final)
            case n.Field():
                return self._fields(dot, first.names, arguments, dot, final)
            case n.Chain() | n.Variable() if not isinstance(first, n.Variable) or first.names:
                base = self._variable(first.name) if isinstance(first, n.Variable) else self._operand(first.base, dot)
                return self._fields(base, first.names, arguments, dot, final)
        if arguments or final is not _ABSENT:
            raise self.error(f"can't give argument to non-function {_written(first)}")
        if isinstance(first, n.Literal) and first.value is None:
            raise self.error("nil is not a command")
        return self._operand(first, dot)

    def _operand(self, operand: n.Operand, dot: Any) -> Any:
        """The value of an operand that has no arguments."""
        match operand:
            case n.Literal():
                return operand.value
            case n.Dot():
                return dot
            case n.Field():
                return self._fields(dot, operand.names, (), dot, _ABSENT)
            case n.Variable():
                return self._fields(self._variable(operand.name), operand.names, (), dot, _ABSENT)
            case n.Function():
                return self._call(operand, (), dot, _ABSENT)
            case n.Chain():
                return self._fields(self._operand(operand.base, dot), operand.names, (), dot, _ABSENT)
            case n.Pipeline():
                with self._scope():
                    return self._pipeline(operand, dot)

    def _call(self, function: n.Function, operands: Sequence[n.Operand], dot: Any, final: Any) -> Any:
        self._step(function.line)
        if function.name in ("and", "or"):
            return self._logic(function.name, operands, dot, final)
        arguments = [self._operand(operand, dot) for operand in operands]
        if final is not _ABSENT:
            arguments.append(final)
        self._line = function.line
        return apply(function.name, self._functions[function.name], arguments)

    def _logic(self, name: str, operands: Sequence[n.Operand], dot: Any, final: Any) -> Any:
        """``and`` and ``or`` evaluate no more than they need, and yield the argument that decides."""
        if not operands and final is _ABSENT:
            raise self.error(f"wrong number of args for {name}: want at least 1 got 0")
        value: Any = MISSING
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) == (name == "or"):
                return value
        return value if final is _ABSENT else final

    def _fields(self, base: Any, names: Sequence[str], operands: Sequence[n.Operand], dot: Any, final: Any) -> Any:
        """``base.A.B``; arguments are for the last name, which is then a method."""
        value = base
        for index, name in enumerate(names):
            last = index == len(names) - 1
            arguments = [self._operand(operand, dot) for operand in operands] if last else []
            if last and final is not _ABSENT:
                arguments.append(final)
            value = self._field(value, name, arguments)
        return value

    def _field(self, value: Any, name: str, arguments: list[Any]) -> Any:
        method = METHODS.get((type_name(value), name))
        if method is not None:
            return apply(name, method, [value, *arguments])
        if value is MISSING:
            return MISSING
        if value is None:
            raise self.error(f"nil pointer evaluating interface {{}}.{name}")
        found: Any = _ABSENT
        if isinstance(value, Mapping):
            found = value.get(name, MISSING)
        elif isinstance(value, Struct):
            found = value.fields.get(name, _ABSENT)
        if found is _ABSENT:
            raise self.error(f"can't evaluate field {name} in type {type_name(value)}")
        if arguments:
            raise self.error(f"{name} is not a method but has arguments")
        return found


def _written(operand: n.Operand) -> str:
    match operand:
        case n.Literal():
            return operand.text
        case n.Dot():
            return "."
        case n.Variable():
            return operand.name
        case _:
            return "pipeline"
