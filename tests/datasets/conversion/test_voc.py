"""Pascal VOC as its own files, CVAT, LabelImg and others have it."""

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from damamba.datasets.conversion import ConversionError, Options, convert
from damamba.datasets.conversion.voc_files import read_xml, standard_colour
from tests.datasets.conversion.sources import (
    CLASSES,
    COUNTS,
    MASKS,
    labels_of_a,
    voc,
    voc_colours,
    voc_xml,
    write_labels,
    write_pictures,
    write_text,
)
from tests.datasets.conversion.test_there_and_back import assert_scene, counts_of, masks_of

LABELMAP = '# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:{},{},{}::\ndog:{},{},{}::tail,ears\n'
WHITE, GREY = (255, 255, 255), (128, 128, 128)


def test_the_palette_is_the_published_one():
    """From VOC's development kit: 1 to 8, 20, and the void."""
    known = {1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0), 20: (0, 64, 128)}
    known[255] = (224, 224, 192)
    assert {number: standard_colour(number) for number in known} == known
    assert np.reshape([standard_colour(number) for number in range(256)], -1).tolist() == voc_colours()


@pytest.mark.parametrize(
    ('cat', 'dog', 'mode'), [((10, 20, 30), (0, 0, 128), 'void'), (WHITE, GREY, 'RGB'), (GREY, WHITE, 'P')]
)
def test_masks_in_colours_with_a_label_map_as_cvat_writes_them(tmp_path, cat, dog, mode):
    """Of grey and white too, which are no numbers there; only VOC's own pale yellow is the void."""
    voc(tmp_path / 'source')
    own = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)], np.uint8)
    for name, colours in (('Object', own), ('Class', np.array([(0, 0, 0), cat, dog, cat], np.uint8))):
        labels = colours[labels_of_a(1, 2, 3)]
        if mode == 'void':
            labels[-1, :] = (224, 224, 192)
        Image.fromarray(labels).save(tmp_path / 'source' / f'Segmentation{name}' / 'a.png')
    if mode == 'P':
        greys = np.repeat(np.arange(256), 3).tolist()
        values = np.array([0, cat[0], dog[0], cat[0]])[labels_of_a(1, 2, 3)]
        write_labels(tmp_path / 'source' / 'SegmentationClass' / 'a.png', values, greys)
    write_text(tmp_path / 'source' / 'labelmap.txt', LABELMAP.format(*cat, *dog))
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert not done.left_out.counts and not done.notes and counts_of(done.written) == (COUNTS, CLASSES)
    assert_scene(tmp_path / 'coco', 'train')


def test_numbers_that_nothing_names_are_named_by_classes(tmp_path):
    voc(tmp_path / 'source')
    (tmp_path / 'source' / 'Annotations' / 'b.xml').unlink()
    with pytest.raises(ConversionError, match='nothing says what class 8 of SegmentationClass is: name the classes'):
        convert(tmp_path / 'source', tmp_path / 'coco')
    names = [f'c{number}' for number in range(1, 13)]
    done = convert(tmp_path / 'source', tmp_path / 'coco', options=Options(classes=names))
    assert done.written.classes == dict(c8=2, c12=1) and done.categories == names


def test_classes_alone_tell_no_objects_apart_unless_their_pieces_are(tmp_path):
    voc(tmp_path / 'source')
    (tmp_path / 'source' / 'SegmentationObject' / 'a.png').unlink()
    (tmp_path / 'source' / 'SegmentationObject').rmdir()
    done = convert(tmp_path / 'source', tmp_path / 'boxes')
    assert done.written.objects == done.written.boxes == 1
    assert done.notes[0].endswith('it is not read; --values classes makes each connected piece an object')
    done = convert(tmp_path / 'source', tmp_path / 'pieces', options=Options(values='classes'))
    assert done.written.classes == dict(cat=2, dog=3) and (done.written.parts, done.written.holes) == (4, 1)
    found = masks_of(COCO(tmp_path / 'pieces' / 'annotations' / 'instances_train.json'))
    np.testing.assert_array_equal(found['a.png'][1][1], MASKS['a.png'][2][1])


def test_boxes_beside_pictures_count_from_0_unless_they_are_vocs(tmp_path):
    """Inclusive pixels from 1 on are VOC's own; the edges of others are taken as they are."""
    write_pictures(tmp_path / 'source' / 'train')
    write_text(tmp_path / 'source' / 'train' / 'a.xml', voc_xml('a.png', ('cat', 0, 0, 10, 20.5), ('dog', 1, 2, 3, 4)))
    own = voc_xml('b.jpg', ('dog', 1, 1, 10, 20), database='The VOC2007 Database')
    write_text(
        tmp_path / 'source' / 'train' / 'other.xml', own.replace('</bndbox>', '</bndbox><difficult>1</difficult>')
    )
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert done.source == 'voc' and not done.left_out.counts and done.written.empty == 1
    found = COCO(tmp_path / 'coco' / 'annotations' / 'instances_train.json').dataset['annotations']
    assert [it['bbox'] for it in found] == [[0, 0, 10, 20.5], [1, 2, 2, 2], [0, 0, 10, 20]]
    assert [it.get('attributes') for it in found] == [None, None, dict(difficult=1)]


def test_outlines_in_xml_are_masks(tmp_path):
    write_pictures(tmp_path / 'source')
    corners = ''.join(f'<x{i}>{x}</x{i}><y{i}>{y}</y{i}>' for i, (x, y) in enumerate([(2, 3), (12, 3), (12, 13)], 1))
    text = voc_xml('a.png', ('cat', 2, 3, 12, 13)).replace('</object>', f'<polygon>{corners}</polygon></object>')
    write_text(tmp_path / 'source' / 'a.xml', text)
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    (found,) = COCO(tmp_path / 'coco' / 'annotations' / 'instances_all.json').dataset['annotations']
    assert found['segmentation'] == [[2, 3, 12, 3, 12, 13]] and done.written.parts == 1


def test_two_years_lists_and_what_is_in_none(tmp_path):
    for year in ('VOC2007', 'VOC2012'):
        base = tmp_path / 'source' / 'VOCdevkit' / year
        voc(base)
        for name in ('train', 'trainval'):
            write_text(base / 'ImageSets' / 'Segmentation' / f'{name}.txt', 'a\n')
        write_text(base / 'ImageSets' / 'Segmentation' / 'val.txt', 'empty\nlost\n')
        write_text(base / 'ImageSets' / 'Main' / 'cat_train.txt', 'b  1\n')
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert done.written.splits == dict(train=2, val=2) and done.written.objects == 6
    assert {(what, why): count for (what, why), count in done.left_out.counts.items()} == {
        ('pictures', 'it is in no list of ImageSets/Segmentation'): 2,
        ('objects', 'the picture is left out (it is in no list of ImageSets/Segmentation)'): 2,
        ('pictures', 'it is listed, and not there'): 2,
    }
    files = {it['file_name'] for it in COCO(tmp_path / 'coco' / 'annotations' / 'instances_train.json').imgs.values()}
    assert files == {'VOC2007/a.png', 'VOC2012/a.png'}


def test_wrong_files_are_counted(tmp_path):
    voc(tmp_path / 'source')
    annotations = tmp_path / 'source' / 'Annotations'
    write_text(annotations / 'a.xml', '<annotation>')
    write_text(
        annotations / 'empty.xml', voc_xml('empty.png', ('', 1, 1, 5, 5), ('cat', 'x', 1, 5, 5), ('cat', 9, 9, 9, 9))
    )
    write_text(annotations / 'lost.xml', voc_xml('lost.png', ('cat', 1, 1, 5, 5)))
    write_labels(tmp_path / 'source' / 'SegmentationClass' / 'a.png', labels_of_a(8, 255, 8), voc_colours())
    done = convert(tmp_path / 'source', tmp_path / 'coco')
    assert {(what, why): count for (what, why), count in done.left_out.counts.items()} == {
        ('label files', 'no XML of Pascal VOC'): 1,
        ('label files', 'the picture is not there'): 1,
        ('objects', 'the picture is not there'): 1,
        ('objects', 'the object has no name'): 1,
        ('objects', 'neither an outline nor a box'): 1,
        ('objects', 'the box encloses nothing'): 1,
        ('objects', 'SegmentationClass has no class there'): 1,
    }
    assert done.written.objects == 3


def test_xml_expands_no_entity_and_reads_no_other_file(tmp_path):
    (tmp_path / 'secret').write_text('secret')
    text = voc_xml('a.png', ('&it;', 1, 1, 5, 5))
    for inner in (f'<!ENTITY it SYSTEM "file://{tmp_path}/secret">', '<!ENTITY it "cat">'):
        write_text(tmp_path / 'a.xml', f'<!DOCTYPE annotation [{inner}]>{text}')
        assert read_xml(tmp_path / 'a.xml') is None


def test_a_label_map_that_is_none_is_one_sentence(tmp_path):
    voc(tmp_path / 'source')
    write_text(tmp_path / 'source' / 'labelmap.txt', 'cat 1 2 3\n')
    with pytest.raises(ConversionError, match=r'labelmap.txt, line 1: a name and its colour are wanted'):
        convert(tmp_path / 'source', tmp_path / 'coco')
