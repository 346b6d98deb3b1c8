"""What is typed is what is meant."""

import argparse

import pytest

from damamba.cli.options import add_pairs, parse_value


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1), ('-5', -5), ('1e-3', 1e-3), ('3.', 3.0), ('True', True), ('false', False), ('None', None), ('', ''),
        ('a,b', ['a', 'b']), ('[1,2]', [1, 2]), ('(1, 2)', (1, 2)), ('[(1,2),(3,4)]', [(1, 2), (3, 4)]), ('[]', []),
        ('[Big Object,Tote]', ['Big Object', 'Tote']), ('[ Big Object , Tote ]', ['Big Object', 'Tote']),
        ('("Big Object",)', ('Big Object',)), ('["a, b", c]', ['a, b', 'c']), ("['it\\'s', b]", ["'it\\'s'", 'b']),
        ('/my data/some coco', '/my data/some coco'), ("O'Brien", "O'Brien"), ('/p/a(1)/b', '/p/a(1)/b'),
        ('x[1', 'x[1'),
        ('"1"', '1'), ("'a,b'", 'a,b'), ('1_0', '1_0'), ('{"a": [1, 2]}', {'a': [1, 2]}), ('a=b', 'a=b'),
        ('[a, [b c, d]]', ['a', ['b c', 'd']]), ('inf', float('inf')), ('infinite', 'infinite'), (' x', ' x'),
    ],
)  # fmt: skip
def test_values_are_what_was_typed(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


def test_pairs_add_up_and_the_later_one_counts(capsys):
    parser = argparse.ArgumentParser()
    add_pairs(parser, '--cfg-options', 'x')
    args = parser.parse_args(['--cfg-options', 'a=1', 'b.c=x=y', '--cfg-options', 'a=2', '+d=3'])
    assert args.cfg_options == {'a': 2, 'b.c': 'x=y', '+d': 3}
    for wrong in ('a', '=1'):
        with pytest.raises(SystemExit):
            parser.parse_args(['--cfg-options', wrong])
        assert f'takes KEY=VALUE, got {wrong}' in capsys.readouterr().err
