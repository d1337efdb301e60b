"""From tokens to a tree; undefined functions, variables and templates, and loose ends, are found here."""

from collections.abc import Container

from troth.ca.gotemplate import TemplateSyntaxError
from troth.ca.gotemplate.constants import parse_character, parse_number, unquote
from troth.ca.gotemplate.lexer import Kind, Token, tokens
from troth.ca.gotemplate.nodes import (
    Action,
    Branch,
    Chain,
    Command,
    Dot,
    Field,
    Function,
    Include,
    Jump,
    Literal,
    Node,
    Operand,
    Parsed,
    Pipeline,
    Text,
    Variable,
)

MAX_DEPTH = 100
_OPERANDS = frozenset(
    (
        Kind.BOOL,
        Kind.CHARACTER,
        Kind.DOT,
        Kind.FIELD,
        Kind.IDENTIFIER,
        Kind.NUMBER,
        Kind.NIL,
        Kind.RAW_STRING,
        Kind.STRING,
        Kind.VARIABLE,
        Kind.OPEN,
    )
)


def parse(name: str, text: str, functions: Container[str]) -> Parsed:
    """Parse a template; `functions` are the names it may call.

    Raises:
        TemplateSyntaxError: the text is no template; the message names template and line.
    """
    return _Parser(name, tokens(name, text), functions).parse()


class _Parser:
    def __init__(self, name: str, found: list[Token], functions: Container[str]) -> None:
        self._name = name
        self._tokens = found
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._loops = 0
        self._depth = 0
        self._defined: dict[str, tuple[Node, ...]] = {}
        self._included: list[tuple[str, int]] = []

    def parse(self) -> Parsed:
        nodes: list[Node] = []
        while self._peek().kind is not Kind.EOF:
            if self._starts_definition():
                self._definition()
                continue
            node = self._node()
            if isinstance(node, str):
                raise self._error(f"unexpected {{{{{node}}}}}")
            nodes.append(node)
        missing = next(((name, line) for name, line in self._included if name not in self._defined), None)
        if missing is not None and missing[0] != self._name:
            raise self._error(f'template "{missing[0]}" not defined', missing[1])
        return Parsed(self._name, tuple(nodes), self._defined)

    # Tokens

    def _next(self) -> Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _skip_space(self) -> Token:
        while self._peek().kind is Kind.SPACE:
            self._next()
        return self._peek()

    def _next_word(self) -> Token:
        self._skip_space()
        return self._next()

    def _expect(self, kind: Kind, where: str) -> Token:
        token = self._next_word()
        if token.kind is not kind:
            raise self._unexpected(token, where)
        return token

    def _error(self, message: str, line: int = 0) -> TemplateSyntaxError:
        return TemplateSyntaxError(f"template: {self._name}:{line or self._peek().line}: {message}")

    def _unexpected(self, token: Token, where: str) -> TemplateSyntaxError:
        if token.kind is Kind.EOF:
            return self._error("unexpected EOF", token.line)
        word = f"<{token.text}>" if token.kind is Kind.KEYWORD else f'"{token.text[:40]}"'
        return self._error(f"unexpected {word} in {where}", token.line)

    # Statements

    def _starts_definition(self) -> bool:
        if self._peek().kind is not Kind.LEFT:
            return False
        after = self._at + 1
        while self._tokens[after].kind is Kind.SPACE:
            after += 1
        return self._tokens[after][:2] == (Kind.KEYWORD, "define")

    def _definition(self) -> None:
        self._next()
        self._next_word()
        name = self._template_name("define clause")
        self._expect(Kind.RIGHT, "define clause")
        self._define(name, "define clause")

    def _define(self, name: str, where: str) -> None:
        outer, self._variables = self._variables, ["$"]
        loops, self._loops = self._loops, 0
        body, end = self._body()
        if end != "end":
            raise self._error(f"unexpected {{{{{end}}}}} in {where}")
        self._variables, self._loops = outer, loops
        if name == self._name or name in self._defined:
            raise self._error(f'template: multiple definition of template "{name}"')
        self._defined[name] = body

    def _body(self) -> tuple[tuple[Node, ...], str]:
        """Up to the ``end`` or ``else`` that closes it, which is the second result."""
        nodes: list[Node] = []
        while self._peek().kind is not Kind.EOF:
            node = self._node()
            if isinstance(node, str):
                return tuple(nodes), node
            nodes.append(node)
        raise self._error("unexpected EOF")

    def _node(self) -> Node | str:
        token = self._next()
        if token.kind is Kind.TEXT:
            return Text(token.text)
        word = self._skip_space()
        if word.kind is not Kind.KEYWORD:
            return Action(self._pipeline("command", Kind.RIGHT))
        self._next()
        return self._statement(word)

    def _statement(self, word: Token) -> Node | str:
        match word.text:
            case "if" | "with" | "range":
                self._depth += 1
                if self._depth > MAX_DEPTH:
                    raise self._error("max expression depth exceeded")
                branch = self._branch(word)
                self._depth -= 1
                return branch
            case "end":
                self._expect(Kind.RIGHT, "end")
                return "end"
            case "else":
                if self._skip_space()[:2] not in ((Kind.KEYWORD, "if"), (Kind.KEYWORD, "with")):
                    self._expect(Kind.RIGHT, "else")
                return "else"
            case "template":
                return self._include(word)
            case "block":
                return self._block(word)
            case "break" | "continue":
                self._expect(Kind.RIGHT, f"{{{{{word.text}}}}}")
                if not self._loops:
                    raise self._error(f"{{{{{word.text}}}}} outside {{{{range}}}}", word.line)
                return Jump(word.text)
            case _:
                raise self._unexpected(word, "command")

    def _branch(self, word: Token) -> Branch:
        outer = len(self._variables)
        pipeline = self._pipeline(word.text, Kind.RIGHT)
        self._loops += word.text == "range"
        body, end = self._body()
        self._loops -= word.text == "range"
        otherwise: tuple[Node, ...] | None = None
        if end == "else":
            following = self._peek()
            if following.kind is Kind.KEYWORD and following.text == word.text and word.text != "range":
                self._next()
                nested = self._statement(following)
                assert isinstance(nested, Branch)
                otherwise = (nested,)
            elif following.kind is Kind.KEYWORD:
                raise self._unexpected(following, "else")
            else:
                otherwise, end = self._body()
                if end != "end":
                    raise self._error("expected end; found {{else}}")
        del self._variables[outer:]
        return Branch(word.text, pipeline, body, otherwise, word.line)

    def _template_name(self, where: str) -> str:
        token = self._next_word()
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            raise self._unexpected(token, where)
        return self._text_of(token)

    def _include(self, word: Token) -> Include:
        name = self._template_name("template clause")
        self._included.append((name, word.line))
        if self._skip_space().kind is Kind.RIGHT:
            self._next()
            return Include(name, None, word.line)
        return Include(name, self._pipeline("template clause", Kind.RIGHT), word.line)

    def _block(self, word: Token) -> Include:
        name = self._template_name("block clause")
        pipeline = self._pipeline("block clause", Kind.RIGHT)
        self._define(name, "block clause")
        return Include(name, pipeline, word.line)

    # Expressions

    def _pipeline(self, where: str, end: Kind) -> Pipeline:
        line = self._skip_space().line
        declared, assigns = self._declarations(where)
        commands: list[Command] = []
        while True:
            token = self._skip_space()
            if token.kind is end:
                self._next()
                break
            if token.kind not in _OPERANDS:
                raise self._unexpected(self._next(), where)
            commands.append(self._command())
        if not commands:
            raise self._error(f"missing value for {where}", line)
        for number, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], Literal | Dot):
                raise self._error(f"non executable command in pipeline stage {number}", line)
        return Pipeline(tuple(commands), declared, assigns, line)

    def _declarations(self, where: str) -> tuple[tuple[str, ...], bool]:
        declared: list[str] = []
        while self._skip_space().kind is Kind.VARIABLE:
            start = self._at
            name = self._next().text
            after = self._skip_space()
            if after.kind in (Kind.ASSIGN, Kind.DECLARE):
                self._next()
                declared.append(name)
                self._variables.append(name)
                return tuple(declared), after.kind is Kind.ASSIGN
            if after[:2] != (Kind.PUNCTUATION, ","):
                self._at = start
                break
            self._next()
            declared.append(name)
            self._variables.append(name)
            if where != "range" or len(declared) > 1:
                raise self._error(f"too many declarations in {where}", after.line)
            if self._skip_space().kind is not Kind.VARIABLE:
                raise self._error("range can only initialize variables", after.line)
        if declared:
            raise self._error("range can only initialize variables")
        return (), False

    def _command(self) -> Command:
        line = self._peek().line
        operands: list[Operand] = []
        while True:
            self._skip_space()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            token = self._peek()
            if token.kind is Kind.SPACE:
                continue
            if token.kind is Kind.PIPE:
                self._next()
            elif token.kind not in (Kind.RIGHT, Kind.CLOSE):
                raise self._unexpected(token, "operand")
            break
        if not operands:
            raise self._error("empty command", line)
        return Command(tuple(operands), line)

    def _operand(self) -> Operand | None:
        term = self._term()
        names: list[str] = []
        while term is not None and self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if term is None or not names:
            return term
        match term:
            case Field():
                return Field((*term.names, *names), term.line)
            case Variable():
                return Variable(term.name, (*term.names, *names), term.line)
            case Pipeline() | Function():
                return Chain(term, tuple(names), term.line)
            case _:
                raise self._error("unexpected . after term", term.line)

    def _term(self) -> Operand | None:
        token = self._peek()
        line = token.line
        if token.kind not in _OPERANDS:
            return None
        self._next()
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self._functions:
                    raise self._error(f'function "{token.text}" not defined', line)
                return Function(token.text, line)
            case Kind.DOT:
                return Dot(line)
            case Kind.NIL:
                return Literal(None, "nil", line)
            case Kind.BOOL:
                return Literal(token.text == "true", token.text, line)
            case Kind.FIELD:
                return Field((token.text[1:],), line)
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    raise self._error(f'undefined variable "{token.text}"', line)
                return Variable(token.text, (), line)
            case Kind.OPEN:
                return self._parenthesized()
            case _:
                return Literal(self._constant(token), token.text, line)

    def _parenthesized(self) -> Pipeline:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error("max expression depth exceeded")
        inner = self._pipeline("parenthesized pipeline", Kind.CLOSE)
        self._depth -= 1
        return inner

    def _constant(self, token: Token) -> object:
        try:
            if token.kind is Kind.NUMBER:
                return parse_number(token.text)
            if token.kind is Kind.CHARACTER:
                return parse_character(token.text)
        except ValueError as error:
            raise self._error(str(error), token.line) from error
        return self._text_of(token)

    def _text_of(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            raise self._error("invalid syntax", token.line) from error
