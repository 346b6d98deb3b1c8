import pytest

from damamba.datasets.categories import DatasetError, match_categories

TOTE, OBJECT = {'id': 1, 'name': 'Tote'}, {'id': 2, 'name': 'Object'}


def test_a_class_is_the_category_of_its_name_and_absent_ones_get_ids_that_no_category_has():
    mapping = match_categories([TOTE, OBJECT], ('object', 'Lid', ' TOTE '))
    assert (mapping.ids, mapping.absent, mapping.unused) == ((2, None, 1), ('Lid',), ())
    assert match_categories([OBJECT, TOTE], ('Object',)).unused == ('Tote',)
    filled = match_categories([{'id': -1, 'name': 'b'}, {'id': 7, 'name': 'd'}], ('a', 'b', 'c', 'd')).filled()
    assert filled[1::2] == [-1, 7] and len(set(filled)) == 4 and max(filled[0], filled[2]) < -1


REFUSED = [
    ([TOTE, OBJECT], ('Objekt', 'Tot'), r'none of the classes \(Objekt, Tot\) is among the categories \(Tote'),
    ([TOTE, OBJECT], 'Object', r"classes must be a tuple; one class needs its comma: \('Object',\)"),
    ([TOTE, OBJECT], ('Object', 'object'), r'classes \(Object, object\) repeat object'),
    ([TOTE, OBJECT, {'id': 3, 'name': 'TOTE'}], ('Object',), r'categories \(Tote, Object, TOTE\) repeat tote'),
]


@pytest.mark.parametrize(('categories', 'classes', 'message'), REFUSED)
def test_what_can_not_be_matched_is_refused(categories, classes, message):
    with pytest.raises(DatasetError, match=message):
        match_categories(categories, classes)
