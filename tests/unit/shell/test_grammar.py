"""The language of the shell."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.shell import grammar
from ui.shell.catalog import Parameter, initials, split
from ui.shell.errors import UsageError
from ui.shell.grammar import Argument, Term


@pytest.mark.parametrize(
    ("text", "words", "tail"),
    [
        ("list  zones", ["list", "zones"], ""),
        (r"""a b="x \"y\" z" c='q "r"' d=e\ f""", ["a", 'b=x "y" z', 'c=q "r"', "d=e f"], ""),
        ("list vms | grep x | wc -l", ["list", "vms"], "grep x | wc -l"),
        ("list vms --query 'a | b'|cat", ["list", "vms", "--query", "a | b"], "cat"),
        ("list vms > /tmp/a b", ["list", "vms"], "cat > /tmp/a b"),
        ("list vms where memory>512", ["list", "vms", "where", "memory>512"], ""),
        ("list zones # all of them", ["list", "zones"], ""),
        ("a=b#c ''", ["a=b#c", ""], ""),
    ],
)
def test_line_is_split_as_sh_would(text, words, tail):
    assert grammar.split(text) == (words, tail, "")


@given(st.lists(st.text(st.characters(blacklist_characters="\r\x00"), min_size=1), min_size=1))
def test_quoted_words_come_back(words):
    line = " ".join(grammar.quoted(word) for word in words)
    assert grammar.split(line) == (words, "", "")
    assert shlex.split(line) == words


def test_open_quote_is_told():
    with pytest.raises(UsageError, match="not closed"):
        grammar.read("list zones name='x")


def test_parts_of_a_command():
    line = grammar.read(
        "list vms listall=true userdata@=/f -o json where state!=Running name~'^w' -c a,b tags[0].key=k"
    )
    assert line.words == ["list", "vms"]
    assert line.arguments == [Argument("listall", "true"), Argument("userdata", "/f", from_file=True)]
    assert line.terms == [Term("state", "!=", "Running"), Term("name", "~", "^w"), Term("tags[0].key", "=", "k")]
    assert (line.options.output, line.options.columns) == ("json", "a,b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("list zones --outputt x", "no option --outputt"),
        ("list zones -o", "wants FORMAT"),
        ("list zones where nonsense", "no condition"),
    ],
)
def test_what_is_wrong_with_a_line(text, reason):
    with pytest.raises(UsageError, match=reason):
        grammar.read(text)


@pytest.mark.parametrize(
    ("name", "pair", "short"),
    [
        ("listVirtualMachines", ("list", "virtualmachines"), "vms"),
        ("deployVirtualMachine", ("deploy", "virtualmachine"), "vm"),
        ("listVMSnapshot", ("list", "vmsnapshot"), ""),
        ("listZones", ("list", "zones"), ""),
        ("login", ("login", ""), ""),
    ],
)
def test_verb_noun_and_initials(name, pair, short):
    assert (split(name), initials(name)) == (pair, short)


@pytest.mark.parametrize(
    ("description", "allowed"),
    [
        ("Enabled or Disabled (one of Enabled, Disabled)", ["Enabled", "Disabled"]),
        ("Possible values are: Running, Stopped, Present, Destroyed, Expunged.", 5),
        ('possible values are "featured", "self", and "community"', ["featured", "self", "community"]),
        ("valid options are vnc and serial", ["vnc", "serial"]),
        ("the name of the zone", []),
        ("values are good", []),
    ],
)
def test_values_that_a_description_tells(description, allowed):
    found = Parameter({"name": "x", "description": description}).allowed
    assert found == allowed if isinstance(allowed, list) else len(found) == allowed
