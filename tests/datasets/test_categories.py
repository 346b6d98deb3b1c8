import pytest

from damamba.datasets.categories import DatasetError, match_categories

ARMBENCH = [{'id': 1, 'name': 'Tote'}, {'id': 2, 'name': 'Object'}]


@pytest.mark.parametrize(
    ('categories', 'classes', 'ids'),
    [
        (ARMBENCH, ('Tote', 'Object'), (1, 2)),
        (ARMBENCH, ('Object', 'Tote'), (2, 1)),
        (ARMBENCH[::-1], ('Object', 'Tote'), (2, 1)),
        (ARMBENCH, ('object', ' TOTE '), (2, 1)),
        ([{'id': 40, 'name': 'OBJECT'}, {'id': 0, 'name': 'tote'}], ('Object', 'Tote'), (40, 0)),
        ([{'id': 1, 'name': 'Object'}], ('Object', 'Tote'), (1, None)),
        (ARMBENCH, ('Object',), (2,)),
    ],
)
def test_a_class_is_the_category_of_its_name(categories, classes, ids):
    assert match_categories(categories, classes).ids == ids


def test_what_is_absent_and_what_is_unused_is_said():
    assert str(match_categories(ARMBENCH, ('Object',))) == 'Object is category 2, Tote is no class and left out'
    mapping = match_categories(ARMBENCH[1:], ('Object', 'Tote'))
    assert str(mapping) == 'Object is category 2, Tote is not there'
    assert mapping.absent == ('Tote',)
    assert mapping.present == [2]


def test_absent_classes_get_ids_that_no_category_has():
    mapping = match_categories([{'id': -1, 'name': 'b'}, {'id': 7, 'name': 'd'}], ('a', 'b', 'c', 'd'))
    filled = mapping.filled()
    assert filled[1::2] == [-1, 7]
    assert len(set(filled)) == 4
    assert max(filled[0], filled[2]) < -1


@pytest.mark.parametrize(
    ('categories', 'classes', 'message'),
    [
        (ARMBENCH, ('Objekt', 'Tot'), r'none of the classes \(Objekt, Tot\) is among the categories \(Tote, Object\)'),
        (ARMBENCH, 'Object', r"classes must be a tuple; one class needs its comma: \('Object',\)"),
        (ARMBENCH, ('Object', 'object'), r'classes \(Object, object\) repeat object'),
        ([*ARMBENCH, {'id': 3, 'name': 'TOTE'}], ('Object',), r'categories \(Tote, Object, TOTE\) repeat tote'),
    ],
)
def test_what_can_not_be_matched_is_refused(categories, classes, message):
    with pytest.raises(DatasetError, match=message):
        match_categories(categories, classes)
