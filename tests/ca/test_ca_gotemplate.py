"""Templates come out as Go's text/template, with step's functions, brings them out.

The vectors are Go's own: `tests/ca/vectors/gotemplate` holds the program that made them and how to run it.
"""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from troth.ca.gotemplate import ExecutionError, RefusedByTemplateError, TemplateError, TemplateSyntaxError
from troth.ca.gotemplate.json_form import from_json
from troth.ca.gotemplate.template import parse_template

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
MADE_BY_GO = from_json((Path(__file__).parent / "vectors" / "gotemplate.json").read_text())


def run(text: str, data: Any = None) -> str:
    return parse_template("template", text).execute(data if data is not None else {}, NOW)


def fresh() -> Any:
    return from_json(json.dumps(MADE_BY_GO["data"]))


def line_of(message: str) -> str:
    found = re.match(r"template: \w+:(\d+)", message)
    return found[1] if found else ""


def message_of(error: str) -> str:
    """Go's words without what says where."""
    return re.sub(r"^template: [^ ]+ (executing \"\w+\" at <.*?>: )?", "", error)


@pytest.mark.parametrize("vector", MADE_BY_GO["vectors"], ids=lambda vector: vector["template"][:40])
def test_what_go_prints_is_what_we_print_and_what_go_refuses_we_refuse_at_the_same_stage(
    vector: dict[str, Any],
) -> None:
    stage = vector.get("stage")
    if not stage:
        assert run(vector["template"], fresh()) == vector["output"]
        return
    expected = {"parse": TemplateSyntaxError, "execute": TemplateError}[stage]
    with pytest.raises(expected) as refused:
        run(vector["template"], fresh())
    if "fail" not in vector["template"]:
        assert line_of(refused.value.message) == line_of(vector["error"])


def test_a_function_outside_the_subset_is_named_with_its_line() -> None:
    with pytest.raises(TemplateSyntaxError, match=r'template: leaf\.tpl:3: function "genPrivateKey" not defined'):
        parse_template("leaf.tpl", '{\n"a": 1,\n"k": {{ genPrivateKey "rsa" }}\n}')


def test_fail_yields_the_reason_alone() -> None:
    with pytest.raises(RefusedByTemplateError) as refused:
        run('{{ fail "not on a Sunday" }}')
    assert refused.value.message == "not on a Sunday"


@pytest.mark.parametrize(
    "text",
    [
        "{{ range until 1000 }}{{ range until 1000 }}{{ end }}{{ end }}",
        "{{ range 1000000000 }}{{ end }}",
        '{{ define "r" }}{{ template "r" }}{{ end }}{{ template "r" }}',
        '{{ $s := "x" }}{{ range until 40 }}{{ $s = print $s $s }}{{ end }}',
        "{{ $l := list 1 }}{{ range until 40 }}{{ $l = concat $l $l }}{{ end }}",
        '{{ repeat 1000000000 "x" }}',
        "{{ until 1000000000 }}",
        '{{ printf "%999999999d" 1 }}',
    ],
)
def test_a_template_that_would_not_end_or_fill_the_memory_is_stopped(text: str) -> None:
    with pytest.raises(ExecutionError):
        run(text)


def test_data_nested_beyond_measure_is_an_error_of_ours_and_not_a_crash() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ExecutionError, match="nested too deeply"):
        run("{{ toJson .deep }}", {"deep": deep})


def test_now_is_the_moment_given() -> None:
    assert (
        run('{{ now | formatTime }} {{ (now.AddDate 0 0 1).Format "2006-01-02" }}') == "2026-11-24T12:00:00Z 2026-11-25"
    )


def test_a_pattern_that_lets_others_hang_is_matched_at_once_and_a_text_too_long_for_one_is_refused() -> None:
    assert run('{{ regexMatch "^(a|a)*$" (repeat 2000 "a" | printf "%sb") }}') == "false"
    with pytest.raises(ExecutionError, match="text is too long"):
        run('{{ mustRegexMatch "^(a{500})+$" (repeat 20000 "a") }}')
