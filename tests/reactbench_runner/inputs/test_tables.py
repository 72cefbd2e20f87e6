"""Tables as pandas, spreadsheets and people write them: read, or refused with line and column."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.io import write

from reactbench_runner.inputs.reactions import Unreadable, read_reactions
from reactbench_runner.inputs.tables import read_table
from tests.places import SHARED
from workflows.errors import InputError
from workflows.records import Reaction

CASES = SHARED / "cases" / "csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "w.xyz", [molecule("H2O"), molecule("H2O")])
    return tmp_path


def table(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows(folder: Path, content: str | bytes) -> list[dict[str, str]]:
    return [row for _, row in read_table(table(folder, content))]


ROW = {"id": "a", "reaction": "w.xyz", "charge": "-1", "multiplicity": "2"}
PLAIN = "id,reaction,charge,multiplicity\na,w.xyz,-1,2\n"
FRAME = pd.DataFrame([{"id": "a", "reaction": "w.xyz", "charge": -1.0, "multiplicity": 2.0}])

WRITTEN = {
    "plainly": PLAIN,
    "by pandas": FRAME.to_csv(index=False),
    "by pandas with its index": FRAME.to_csv(),
    "by pandas, read and written again": pd.read_csv(io.StringIO(FRAME.to_csv())).to_csv(
        index=False
    ),
    "by pandas, filtered": FRAME.set_index(pd.Index([17])).to_csv(),
    "by pandas, with tabs": FRAME.to_csv(sep="\t", index=False),
    "with semicolons": PLAIN.replace(",", ";"),
    "with semicolons and decimal commas": "id;reaction;charge;multiplicity\na;w.xyz;-1,0;2,00\n",
    "with Excel's first line": "sep=;\n" + PLAIN.replace(",", ";"),
    "as Excel's Unicode text": ("\ufeff" + PLAIN.replace(",", "\t")).encode("utf-16-le"),
    "as Excel's CSV in UTF-8": PLAIN.replace("\n", "\r\n").encode("utf-8-sig"),
    "with quotes": '"id","reaction","charge","multiplicity"\n"a","w.xyz","-1","2"\n',
    "with quotes and semicolons": '"id";"reaction";"charge";"multiplicity"\n"a";"w.xyz";"-1";"2"\n',
    "with blanks": " id , reaction , charge , multiplicity \n a , w.xyz , -1 , 2 \n",
    "with capitals": PLAIN.replace("id,reaction,charge,mult", "ID,Reaction,CHARGE,Mult"),
    "with empty columns at the right": PLAIN.replace("\n", ",,\n"),
    "with cells at the right": PLAIN.removesuffix("\n") + ",,,\n",
    "with blank lines": "\n" + PLAIN.replace("\n", "\n\n,,,\n"),
    "by a Macintosh": PLAIN.replace("\n", "\r"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_table_that_is_written(folder: Path, how: str) -> None:
    [found] = read_table(table(folder, WRITTEN[how]))
    assert found[1] == ROW
    [reaction] = read_reactions(folder / "table.csv")
    assert isinstance(reaction, Reaction)
    assert (reaction.charge, reaction.multiplicity) == (-1, 2)


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("-1", -1),
        ("-1.0", -1),
        ("-1.", -1),
        ("−1", -1),
        ("–1", -1),
        ("-1", -1),
        ("⁻¹", -1),
        ("¹⁻", -1),
        ("1-", -1),
        ("1−", -1),
        ("'-1", -1),
        ("-1.000000000000000000e+00", -1),
        ("-1E0", -1),
        ("+1", 1),
        ("1+", 1),
        ("²⁺", 2),
        ("+2.0", 2),
        ("0.0", 0),
        ("-0.0", 0),
        ("", 0),
        ("nan", 0),
        ("NaN", 0),
        ("None", 0),
        ("NA", 0),
        ("<NA>", 0),
        ("N/A", 0),
        ("null", 0),
    ],
)
def test_a_charge_however_it_is_written(folder: Path, cell: str, number: int) -> None:
    multiplicity = 1 if number % 2 == 0 else 2
    text = f"id,reaction,charge,multiplicity\na,w.xyz,{cell},{multiplicity}\n"
    [reaction] = read_reactions(table(folder, text))
    assert isinstance(reaction, Reaction), reaction.reason
    assert reaction.charge == number


NO_NUMBERS = "- + --1 -1- − 1.5 (1) 1_0 minus e inf ? ½ 0x1 -1e-1 1e99 9999999999 anion -1,5 1.0.0"


@pytest.mark.parametrize("cell", NO_NUMBERS.split())
@pytest.mark.parametrize("column", ["charge", "multiplicity"])
def test_what_is_no_whole_number_is_named(folder: Path, cell: str, column: str) -> None:
    [found] = read_reactions(table(folder, f'id,reaction,{column}\na,w.xyz,"{cell}"\n'))
    assert isinstance(found, Unreadable)
    assert f"table.csv, line 2: '{column}' is {cell!r}; it must be a whole number" in found.reason


def test_a_missing_charge_is_that_of_the_file(folder: Path) -> None:
    anion = molecule("OH")
    anion.info["charge"] = -1
    write(folder / "oh.xyz", [anion, anion], format="extxyz")
    frame = pd.DataFrame({"id": ["a", "b"], "reaction": ["oh.xyz", "w.xyz"], "charge": [np.nan, 0]})
    first, second = read_reactions(table(folder, frame.to_csv(na_rep="nan")))
    assert isinstance(first, Reaction) and isinstance(second, Reaction)
    assert (first.charge, second.charge) == (-1, 0)


@pytest.mark.parametrize("cell", ["nan", "None", "", "NA"])
def test_a_missing_file_is_said_to_be_missing(folder: Path, cell: str) -> None:
    [found] = read_reactions(table(folder, f"id,reaction,charge\na,{cell},0\n"))
    assert isinstance(found, Unreadable)
    assert "line 2: no file is named" in found.reason


def test_a_file_of_that_name_is_not_missing(folder: Path) -> None:
    (folder / "NA").write_bytes((folder / "w.xyz").read_bytes())
    [found] = read_reactions(table(folder, "id,reaction\nNaN,NA\n"))
    assert isinstance(found, Reaction)
    assert found.id == "NaN"


@pytest.mark.parametrize(
    "name", ["#yield", "# my own", "#", "comment", "Note", "notes", "COMMENTS"]
)
def test_columns_for_oneself(folder: Path, name: str) -> None:
    [row] = rows(folder, f"id,{name},reaction\na,7,w.xyz\n")
    assert {"id": "a", "reaction": "w.xyz"}.items() <= row.items()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,reaction,#charge\na,w.xyz,-1\n", "line 1: a column '#charge' would not be read; call"),
        ("id,reaction,# Multiplicity\na,w.xyz,3\n", "'# Multiplicity'.*call it 'multiplicity'"),
        ("#id,reaction\na,w.xyz\n", "'#id'.*call it 'id'"),
        ("id,reaction,yield\na,w.xyz,7\n", "unknown column 'yield'; known are .*'#yield'"),
        ("id,reaction,Charges\na,w.xyz,-1\n", "unknown column 'Charges'; did you mean 'charge'"),
        ("id,reaction,mult\na,w.xyz,3\n", "unknown column 'mult'"),
        ("id,reaction,spin\na,w.xyz,3\n", "unknown column 'spin'"),
        ("id,reaction,charge.1\na,w.xyz,3\n", "unknown column 'charge.1'; did you mean 'charge'"),
        ("id,reaction,charge,Charge\na,w.xyz,-1,0\n", "two columns have the same name"),
        ("id,reaction,\na,w.xyz,-1\n", "line 2: '-1' is in column 3, which has no name"),
        (",id,reaction\n-1,a,w.xyz\n", "line 2: '-1' is in column 1, which has no name"),
        (",id,reaction\n0,a,w.xyz\n0,b,w.xyz\n", "line 2: '0' is in column 1"),
        ("Unnamed: 0,id,reaction\n0,a,w.xyz\nx,b,w.xyz\n", "line 2: '0' is in column 1"),
        ("id,reaction,Unnamed: 2\na,w.xyz,\nb,w.xyz,1\n", "line 3: '1' is in column 3"),
        ("id,reaction\na,w.xyz,,-1\n", "line 2: 4 values for 2 columns"),
        ("id,reaction,charge\na,w.xyz\n", "line 2: 2 values for 3 columns"),
        ("id,reaction;charge\na,w.xyz;-1\n", "line 1: unknown column 'reaction;charge'"),
        ("sep=;\nid;reaction\na;w.xyz\na;w.xyz\n", "line 4: the id 'a' is taken by line 3"),
        ('id,reaction\na,"w.xyz\n', "line 2: not a CSV in UTF-8"),
        ("id,reaction\n#a,w.xyz\n", "line 2: the id '#a' cannot be a folder name"),
        ("id,reaction\na,w.xyz\nü,w.xyz\n".encode("latin-1"), "not a CSV in UTF-8.*in line 3"),
        ("id,reaction\na,w.xyz\n".encode("utf-16-le"), "line 1"),
        (b"PK\x03\x04" + bytes(99), "workbook.*save it as a CSV"),
        ("id," + "x" * 200_000 + "\n", "line 1.*field larger than field limit"),
    ],
)
def test_tables_that_are_refused(folder: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=rf"table\.csv.*{message}"):
        read_table(table(folder, content))


def test_a_workbook(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "table.xlsx", "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(InputError, match=r"table\.xlsx is a workbook.*save it as a CSV"):
        read_reactions(tmp_path / "table.xlsx")


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize(("name", "rows"), [("pandas_float", 2), ("pandas_index", 1)])
def test_the_files_of_the_shared_cases(name: str, rows: int) -> None:
    found = read_reactions(CASES / f"{name}.csv")
    assert len(found) == rows
    for item in found:
        assert isinstance(item, Reaction)
        assert (item.charge, item.multiplicity) == (0, 1)
    [contradicted] = read_reactions(CASES / "unicode_minus.csv")  # by the comments: charge 0
    assert isinstance(contradicted, Unreadable)
    assert "-1 in the table" in contradicted.reason and "charge 0" in contradicted.reason
    with pytest.raises(InputError, match=r"line 1: unknown column 'yield'.*'#yield'"):
        read_reactions(CASES / "extra_col.csv")


def test_a_file_too_large_for_a_table(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(1_000_000_001)
    with pytest.raises(InputError, match="more than 1000000000 bytes"):
        read_table(path)


def test_a_pipe_is_no_table(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"id,reaction\na,w.xyz\n")
    os.close(writing)
    with pytest.raises(InputError, match="is a pipe"):
        read_table(Path(f"/dev/fd/{reading}"))
    os.close(reading)
