"""Logs: standard error only, and no secrets."""

import logging
import subprocess
import sys

from mcp_agent.config import Settings
from mcp_agent.observability.logging import Redact, RunFormatter, secrets_of


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, __file__, 1, text, args, None)


def test_configured_secrets_are_masked_wherever_they_stand():
    settings = Settings(
        openai={"api_key": "planted-key"},
        mcp={"servers": {"a": {"url": "http://x", "headers": {"Authorization": "Bearer planted-token"}}}},
    )
    redact = Redact(secrets_of(settings))
    line = record("calling with %s and %s", "planted-key", {"h": "Bearer planted-token"})
    assert redact.filter(line)
    assert "planted" not in line.getMessage()


def test_what_looks_like_a_key_is_masked_and_plain_words_are_not():
    redact = Redact([])
    assert redact.masked("key sk-abcdefgh12345678 and Bearer abcdefgh.ijkl") == "key sk-*** and Bearer ***"
    assert redact.masked("queue research_desk-7a18fd4d99") == "queue research_desk-7a18fd4d99"


def test_a_secret_in_a_traceback_is_masked():
    redact = Redact(["planted-key"])
    try:
        raise ValueError("planted-key")
    except ValueError:
        line = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    redact.filter(line)
    assert "planted-key" not in logging.Formatter().format(line)


def test_a_line_names_the_run_that_has_written_it_once():
    line, ending = record("counting"), record("run %s failed", "Count.a")
    line.run_id = ending.run_id = "Count.a"
    lines = [RunFormatter().format(one) for one in (line, ending, record("ready"))]
    assert [told.partition("x: ")[2] for told in lines] == ["[Count.a] counting", "run Count.a failed", "ready"]


def test_nothing_but_the_protocol_reaches_standard_output():
    program = (
        "import os, subprocess, sys\n"
        "from mcp_agent.observability.stdio import claim_stdio\n"
        "wire = claim_stdio()\n"
        "print('stray'); os.write(1, b'raw stray\\n'); subprocess.run(['echo', 'child stray'])\n"
        "wire.stdout.write(b'protocol\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "protocol\n"
    assert {"stray", "raw stray", "child stray"} <= set(done.stderr.splitlines())
