"""Files of ids: what is certain is read, everything else is refused in a line."""

import os

import numpy as np
import pytest

from unlearn.errors import InputError
from unlearn.forget_sets import read_ids
from unlearn.id_files import as_known


def ids_in(folder, content, name="ids.txt", column=""):
    path = folder / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_ids(path, column)


@pytest.mark.parametrize(
    "content, name",
    [
        ("5\n9\n", "ids.txt"),
        ("5\n\n  9  \n\n", "ids.txt"),
        ("5\r\n9\r\n", "ids.txt"),
        ("5\r9", "ids.txt"),
        (b"\xef\xbb\xbf5\n9\n", "ids.txt"),
        ("5\r\n9\r\n".encode("utf-16"), "ids.txt"),
        ("# request 17\n5\n # 9 of them\n9", "ids.txt"),
        ("5,9", "ids.txt"),
        ("5, 9,", "ids.txt"),
        ("5 9", "ids.txt"),
        ("5\t9\n", "ids.txt"),
        ("[5, 9]", "ids.txt"),
        ("5\n9\n", "ids.csv"),
        ("index\n5\n9\n", "ids.csv"),
        ("Image ID\n5\n9\n", "ids.csv"),
        ("5,\n9,\n", "ids.csv"),
        ('"5"\n"9"\n', "ids.csv"),
        (",id\n0,5\n1,9\n", "ids.csv"),
        ("Unnamed: 0,id\n0,5\n1,9\n", "ids.csv"),
        ("row,label\n5,3\n9,3\n", "ids.csv"),
        ("label,row\n3,5\n3,9\n", "ids.csv"),
        ("id;label\n5;3\n9;3\n", "ids.csv"),
        ("id\tlabel\n5\t3\n9\t3\n", "ids.tsv"),
        ("[5, 9.0]", "ids.json"),
        ('{"ids": [5, 9]}', "ids.json"),
        (np.array([5, 9]), "ids.npy"),
        (np.array([5.0, 9.0]), "ids.npy"),
        (np.array([[5], [9]], np.uint64), "ids.npy"),
    ],
)
def test_whole_numbers(tmp_path, content, name):
    found = ids_in(tmp_path, content, name)
    assert found.dtype == np.int64 and found.tolist() == [5, 9]


@pytest.mark.parametrize(
    "content, name, expected",
    [
        ("cat/1.png\ndog/2.png\n", "a.txt", ["cat/1.png", "dog/2.png"]),
        ("cat/a b.png\ncat/c, d.png\n", "a.txt", ["cat/a b.png", "cat/c, d.png"]),
        (
            '"cat/a, b.png"\n"say ""hi"".png"\n',
            "a.csv",
            ["cat/a, b.png", 'say "hi".png'],
        ),
        ('file,why\n"a, b.png",moved\n', "a.csv", ["a, b.png"]),
        ("007\n012\n", "a.txt", ["007", "012"]),
        ("5.0\n9.0\n", "a.txt", ["5.0", "9.0"]),
        ("1.0\n", "a.txt", ["1.0"]),
        ("5\n1_2\n", "a.txt", ["5", "1_2"]),
        ("١٢\n", "a.txt", ["١٢"]),
        ("+5", "a.txt", ["+5"]),
        ("1-5", "a.txt", ["1-5"]),
        ("1.5", "a.txt", ["1.5"]),
        ("1e2", "a.txt", ["1e2"]),
        ("#12\n#13", "a.csv", ["#12", "#13"]),
        ("# those that go\n#A7\nB 1\n#\n", "a.txt", ["#A7", "B 1"]),
        ("99999999999999999999\n", "a.txt", ["99999999999999999999"]),
        ('["a", "007"]', "a.json", ["a", "007"]),
        (np.array(["a", "b"]), "a.npy", ["a", "b"]),
        (np.array(["é".encode()]), "a.npy", ["é"]),
    ],
)
def test_all_else_is_text_to_the_letter(tmp_path, content, name, expected):
    found = ids_in(tmp_path, content, name)
    assert found.dtype.kind == "U" and found.tolist() == expected


@pytest.mark.parametrize(
    "content, name",
    [
        ("True\nFalse\nTRUE\n", "a.txt"),
        ("mask\nTrue\nFalse\nTrue\n", "a.csv"),
        ("[true, false, true]", "a.json"),
        (np.array([True, False, True]), "a.npy"),
    ],
)
def test_masks(tmp_path, content, name):
    found = ids_in(tmp_path, content, name)
    assert found.dtype == bool and found.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "content, name, message",
    [
        ("", "a.txt", "no ids"),
        ("# none\n", "a.txt", "no ids"),
        ("id\n", "a.csv", "no ids"),
        ("[]", "a.json", "no ids"),
        (np.zeros(0, int), "a.npy", "no ids"),
        (np.zeros(9, bool), "a.npy", "no ids"),
        ("1 5\n2 9\n", "a.txt", "2 columns without names"),
        ("1,5\n2,9\n", "a.csv", "2 columns without names"),
        ("5,3\n", "a.csv", "2 columns without names"),
        (",0\n0,5\n1,9\n", "a.csv", "2 columns without names"),
        ("row,id\n1,5\n", "a.csv", "forget.column=row or forget.column=id"),
        ("lesion,label\n1,5\n", "a.csv", "forget.column=NAME"),
        (",label\n5,3\n", "a.csv", "forget.column=NAME"),
        ("id,keep\n5,True\n9,False\n", "a.csv", "all of them are meant by"),
        ("patient_id\n5\n9\n", "a.csv", "called 'patient_id'"),
        ("label\n3\n", "a.csv", "called 'label'"),
        ("id,x\n5,a 1\n,b 2\n", "a.csv", "line 3 has no id"),
        ("1,2\n3\n", "a.txt", "line 1 has 2 columns and line 2 has 1"),
        ("a;b,c.png\n", "a.txt", "';' and ','"),
        ("0\n1\n1\n0\n", "a.txt", "mask"),
        (np.arange(9) // 8, "a.npy", "mask"),
        (np.ones(3, int), "a.npy", "has only 1, many times"),
        ("0\n0\n0\n", "a.txt", "has only 0, many times"),
        (np.array([0, 255, 0, 255], np.uint8), "a.npy", "only 0 and 255, many"),
        ("file,selected\na.png,0\nb.png,1\n", "a.csv", "selected may mark some"),
        ("file,keep\na.png,yes\nb.png,no\n", "a.csv", "by forget.column=file"),
        ("file;x\na.png;x\nb.png;\n", "a.csv", "x may mark some"),
        ("file,action\na.png,keep\nb.png,Delete\n", "a.csv", "action may mark"),
        ("id;consent\n20;given\n21;withdrawn\n", "a.csv", "consent may mark some"),
        ("id;Status\n20;aktiv\n21;weg\n", "a.csv", "Status may mark some"),
        ("id,answer\n20,Ja\n21,Nein\n", "a.csv", "answer may mark some"),
        ("id,optOut\n20,2024-01-01\n21,\n", "a.csv", "optOut may mark some"),
        ("file,note\na.png,keep it\nb.png,forget\n", "a.csv", "note may mark some"),
        ("file,x\na.png,rejected - not ours\nb.png,granted\n", "a.csv", "x may mark"),
        ("id,notes\n1,Withdraw consent\n2,please keep\n", "a.csv", "notes may mark"),
        ("id,notes\n1,x y\n2,do not erase\n", "a.csv", "notes may mark"),
        ("id,requested\nu 1,2024-01-02\nu 2,\n", "a.csv", "requested may mark some"),
        (
            "id,x\n20,2024-01-02\n21,\n",
            "a.csv",
            "x may mark some of the rows: keep only",
        ),
        ("id,x\n20,2024-01-02\n21,NaT\n", "a.csv", "x may mark some"),
        ("id,x\n20,-\n21,2024-01-02\n", "a.csv", "by forget.column=id"),
        ("id,,y\n20,a 1,1\n21,,2\n", "a.csv", "one without a name may mark"),
        ("id,deletion requested on\n2,1 May\n3,2 May\n", "a.csv", "may mark some"),
        ("id,x\n20,✓\n21,\n", "a.csv", "x may mark some"),
        ("id,x\n20,✓\n21,✗\n", "a.csv", "x may mark some"),
        ("id,x\n20,-\n21,\n", "a.csv", "x may mark some"),
        ("id,label\n20,yes\n21,no\n", "a.csv", "label may mark some"),
        ("id,row,x\n20,1,a b\n21,2,\n", "a.csv", "all of them .x may mark some."),
        ("id,granted\n2,1 May\n3,2 May\n", "a.csv", "granted may mark some"),
        ("id,Anträge\n2,1 Mai\n3,2 Mai\n", "a.csv", "Anträge may mark some"),
        ("id,Anfrage\n2,löschen\n3,behalten\n", "a.csv", "Anfrage may mark some"),
        ("id,y\n2,bitte löschen\n3,so lassen\n4,a\n", "a.csv", "y may mark some"),
        ("id,y\n2,radera\n3,spara\n4,radera\n", "a.csv", "y may mark some"),
        (np.array([0.5]), "a.npy", "not whole"),
        (np.array([np.nan]), "a.npy", "not whole"),
        (np.array([2**63], np.uint64), "a.npy", "64 bits"),
        (np.array([[1, 2]]), "a.npy", "flat list"),
        (np.array(5), "a.npy", "flat list"),
        ("1\n2\n".encode("utf-16-le"), "a.txt", "not text"),
        (b"PK\x03\x04\0\0", "a.csv", "not text"),
        ("café.png".encode("latin-1"), "a.txt", "not UTF-8"),
        ("not an array", "a.npy", "plain numbers"),
        ("not an archive", "a.npz", "plain numbers"),
        ("[1,", "a.json", "not JSON"),
        ('[1, "2"]', "a.json", "one list"),
        ("[[1]]", "a.json", "one list"),
        ("[true, 1]", "a.json", "one list"),
        ('{"a": [1], "b": [2]}', "a.json", "say which"),
    ],
)
def test_what_is_not_certain_is_refused_in_a_line(tmp_path, content, name, message):
    with pytest.raises(InputError, match=message) as caught:
        ids_in(tmp_path, content, name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("first", ["+1", "3 # moved", "1-5", "07"])
def test_an_odd_number_is_no_name_of_a_column(tmp_path, first):
    assert ids_in(tmp_path, f"{first}\n2\n", "a.txt").tolist() == [first, "2"]


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_an_index_of_two_rows_marks_nothing(tmp_path, name):
    found = ids_in(tmp_path, f"{name},file\n0,a.png\n1,b.png\n", "a.csv")
    assert found.tolist() == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "rest", ["label\n{},cat\n{},dog\n", "taken on\n{},2 May 2024\n{},3 May 2024\n"]
)
def test_columns_that_tell_of_every_row_mark_nothing(tmp_path, rest):
    text = "id," + rest.format(5, 9)
    assert ids_in(tmp_path, text, "a.csv").tolist() == [5, 9]


def test_ids_beside_a_column_that_is_blank_on_some_rows(tmp_path):
    text = "id,requested\n5,2024-01-02\n9,\n"
    assert ids_in(tmp_path, text, "a.csv", "id").tolist() == [5, 9]
    assert ids_in(tmp_path, "id\n5\n", "a.csv").tolist() == [5]


def test_an_id_may_be_given_twice(tmp_path):
    assert ids_in(tmp_path, "7\n7\n", "a.txt").tolist() == [7, 7]
    assert ids_in(tmp_path, "0\n1\n", "a.txt").tolist() == [0, 1]


def test_a_column_by_name(tmp_path):
    text = "row,patient,id\n5,1,a\n9,2,b\n"
    assert ids_in(tmp_path, text, "a.csv", "id").tolist() == ["a", "b"]
    assert ids_in(tmp_path, text, "a.csv", "patient").tolist() == [1, 2]
    assert ids_in(tmp_path, "label\n3\n", "a.csv", "label").tolist() == [3]
    with pytest.raises(InputError, match="did you mean 'patient'"):
        ids_in(tmp_path, text, "a.csv", "patients")
    with pytest.raises(InputError, match="no column 'id'"):
        ids_in(tmp_path, "5\n9\n", "a.csv", "id")
    with pytest.raises(InputError, match="one array"):
        ids_in(tmp_path, np.arange(3), "a.npy", "id")


def test_the_sets_of_an_earlier_run(tmp_path):
    path = tmp_path / "split.npz"
    np.savez(path, forget=[1], forget_ids=["a"])
    assert read_ids(path, "forget_ids").tolist() == ["a"]
    with pytest.raises(InputError, match="forget, forget_ids"):
        read_ids(path)


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, "a"], object), allow_pickle=True)
    with pytest.raises(InputError, match="plain numbers or text"):
        read_ids(tmp_path / "a.npy")


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    for path in (tmp_path, tmp_path / "pipe.txt", tmp_path / "none.txt"):
        with pytest.raises(InputError, match="cannot read ids from"):
            read_ids(path)


def test_a_file_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ids.txt").write_text("5\n")
    assert read_ids("~/ids.txt").tolist() == [5]


FLOATS = ["5.0", "9.000000000000000000e+00", "5"]


def test_floats_are_the_whole_numbers_that_programs_write_so():
    assert as_known(FLOATS, ["5", "9", "a"]) == ["5", "9", "5"]
    assert as_known(FLOATS, []) == ["5", "9", "5"]
    assert as_known(["1.5", "007", "x.0", "+1.0"], []) == ["1.5", "007", "x.0", "+1.0"]


def test_floats_are_themselves_where_ids_are_written_so():
    assert as_known(FLOATS, ["1.0", "5"]) == FLOATS
    assert as_known(["1.0"], ["1", "1.1"]) == ["1.0"]


@pytest.mark.parametrize("text", ["0.0\n1.0\n0.0\n", "1.0\n1.0\n"])
def test_a_mask_of_floats_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="write True and False"):
        ids_in(tmp_path, text, "a.txt")
