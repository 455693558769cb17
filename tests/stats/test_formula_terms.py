"""The closed language of formulas: what it means, by patsy itself, and that nothing of a text is ever done."""

import sys
from contextlib import contextmanager

import numpy as np
import pandas as pd
import patsy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from brainage_bids.records import BadConfiguration, UnusableInput
from brainage_bids.stats.formula_reader import quoted
from brainage_bids.stats.formula_terms import read_formula
from brainage_bids.stats.formulas import default_formula, fit_formula, fit_mixed, formula_columns

N = 60


def people(**more):
    generator = np.random.default_rng(4)
    return {
        "pad": generator.normal(size=N), "age": generator.uniform(20, 80, N), "x": generator.normal(size=N),
        "sex": generator.choice(["F", "M"], N).astype(object), "site": generator.choice(["a", "b", "c"], N).astype(object),
        "grade": generator.choice([1.0, 2.0, 3.0], N), "b m": generator.normal(size=N), **more,
    }  # fmt: skip


def design(formula, table):
    return read_formula(formula, table).design(table)


@pytest.mark.parametrize(
    "formula",
    (
        "pad ~ age + I(age**2) + C(sex)", "pad ~ 1", "pad ~ 0 + age", "pad ~ age - 1 + sex", "pad ~ sex*age + site:age", "pad~-1+x",
        "pad ~ (age+x+sex)**2", "pad ~ (age + x)**10", "pad ~ site/age", "pad ~ C(site, Treatment('c'))", "pad ~ age + age - x + x",
        "pad ~ C(site, Treatment(reference='b')) * age", "pad ~ C(grade, Sum) + age", "pad ~ C(site, contrast=Sum(omit='a'))",
        "pad ~ C(grade, Treatment(2))",
        "pad ~ C(grade)", "pad ~ bs(age, df=4)", "pad ~ bs(age, 5, degree=2)+sex", "pad ~ cr(age, df=4) - 1",
        "pad ~ np.log(age)*Q('b m')", "pad ~ center(age)+I(center(age)**2) + scale(x)", "np.log10(age) ~ standardize(x)", "I(pad-x) ~ age",
        "pad ~ C(site):C(sex)", "pad ~ 0+C(site):C(sex) + age", "pad ~ np . sqrt ( age )+ I( x+1e-3 )",
        "pad ~ I(-x/2.5 + +np.abs(x)) + (age)",
        "pad ~ C(sex):x + C(site)", "pad ~ I(age**-0.5)", "pad ~ age\n + x", "pad ~ I(np.exp(x) * 3)",
    ),
)  # fmt: skip
def test_the_design_and_its_names_are_patsys(formula):
    table = people()
    outcome, matrix = patsy.dmatrices(formula, pd.DataFrame(table))
    made = design(formula, table)
    assert list(made.names) == matrix.design_info.column_names
    np.testing.assert_allclose(made.matrix, np.asarray(matrix), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(made.outcome, np.asarray(outcome)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", ("nan", "NaN", "-nan", "None", "inf"))
def test_kinds_called_like_what_is_missing_are_kinds(name):
    kinds = np.array([name, "zz"] * (N // 2), dtype=object)
    assert design("pad ~ C(kinds)", people(kinds=kinds)).matrix.shape == (N, 2)


def test_functions_go_without_np_too():
    table = people()
    np.testing.assert_array_equal(design("pad ~ log2(age)", table).matrix, design("pad ~ np.log2(age)", table).matrix)


def test_kinds_are_named_as_they_are_written_in_the_table():
    assert design("pad ~ C(grade, Treatment('2'))", people()).names[1:] == (
        "C(grade, Treatment('2'))[T.1.0]",
        "C(grade, Treatment('2'))[T.3.0]",
    )
    with pytest.raises(BadConfiguration, match="compares with 'z', which is no value of the column; there are a, b, c"):
        design("pad ~ C(site, Treatment('z'))", people())


@pytest.mark.parametrize(
    "name", ("C", "I", "Q", "np", "log", "center", "scale", "bs", "Treatment", "class", "a b", 'a"b', "a\\b", "µ", "~")
)
def test_a_column_may_have_the_name_of_a_function(name):
    table = people(**{name: np.arange(1.0, N + 1)})
    for formula in (f"pad ~ {quoted(name)} + C(sex) + I(age**2) + log(age)", f"pad ~ Q({name!r}) + C(sex) + I(age**2) + np.log(age)"):
        made = design(formula, table)
        np.testing.assert_array_equal(made.matrix[:, 2], table[name])
        np.testing.assert_array_equal(made.matrix[:, 4], np.log(table["age"]))
    assert formula_columns(f"pad ~ I({quoted(name)} * 2)", table) == ["pad", name]
    kinds = {**table, name: ["u", "v"] * (N // 2)}
    assert f"C({quoted(name)})" in default_formula(kinds, group=name)
    assert fit_formula(kinds, default_formula(kinds, group=name))[-1]["note"] == ""


def test_look_alikes_are_other_names():
    table = people() | {"ａge": np.arange(float(N))}
    np.testing.assert_array_equal(design("pad ~ ａge", table).matrix[:, 1], np.arange(float(N)))
    with pytest.raises(BadConfiguration, match=r"names 'ａge', which is no column \(did you mean age\?\)"):
        read_formula("pad ~ I(ａge * 2)", people())


def test_rows_whose_terms_are_no_numbers_are_left_out_and_counted():
    table = people(dose=np.r_[0.0, -1.0, np.full(N - 2, 2.0) + np.arange(N - 2)])
    rows = fit_formula(table, "pad ~ log(dose)")
    assert (rows[0]["n"], rows[0]["note"]) == (N - 2, "2 row(s) with a term that is no finite number are left out.")
    visits = fit_mixed(table, "pad ~ log(dose)", [f"p{place // 2}" for place in range(N)])
    assert visits[0]["n"] == N - 2
    with pytest.raises(UnusableInput, match="no finite number"):
        design("pad ~ I(1/0)", table)


REFUSED = {
    "may not hold": (
        "np.load('f', allow_pickle=True)", "np.save('f', age)", "I(np.savetxt('f', age))", "np.fromfile('f')", "np.genfromtxt('http://x.y/')",
        "ｎｐ.load('f')", "Q('a'+'ge')", "Q(f'age')", "Q(b'age')", "Q(x)", "Q()", "Q('age', 1)", "Q(*['age'])", "Q(**{'name': 'age'})",
        "age.__class__", "np.log.__class__", "np.log", "np.pi", "age[0]", "[x for x in age]", "{age}", "I({1: 2})",
        "I(lambda: 1)", "I((y:=3))",
        "I(age if age else 1)", "I(9**9**9)", "I(age**1000)", "I(2**age)", "I(age**x)", "I(1j)", "I(None)", "I(True)", "I(...)", "I('a')",
        "I(age > 3)", "I(age // 3)", "I(age % 3)", "I(age @ x)", "I(~age)", "I(*age)", "I(x=age)", "log(age, out=x)", "log(age, x)",
        "bs(age, df=10**9)", "bs(age, df=1000000000)", "bs(age, df=-1)", "bs(age, df=True)", "bs(age, df=4.0)",
        "bs(age)", "bs(age, 4, df=5)",
        "bs(age, df=4, degree=99)", "bs(age, df=4, knots=[1])", "cr(age, df=1000)", "te(cr(age, df=3))", "poly(age, 2)", "hashed(age)",
        "lag(age)", "contr.sum()", "C(site, contr.sum)", "C(site, Poly)", "C(site, levels=['a'])", "C(site, Treatment(__import__('os')))",
        "C(site, Treatment('a', 'b'))", "C(site, Sum(reference='a'))", "C(site, Sum, contrast=Sum)", "C(I(age))", "C(age + x)", "C()",
        "__import__('os')", "eval('1')", "open('f')", "exec('1')", "print(age)", "getattr(age, 'T')", "'age'", "await age", "age == x",
        "age ^ x", "age | x", "I(0x" + "f" * 400 + ")", "I(" + "9" * 1900 + ")", "age + os.system('x') - os.system('x')",
        "bs(I(age.T), df=4)", "log(np.load('f'))",
    ),
    "cannot be read": (
        "(lambda: 1)()", "`age`", "age +", "(age", "age)", "'age", "age x", "age; x", "age # x", "3", "age + 5", "9**9**9", "(age+x)**x",
        "(age + x)**0", "age\x00", "Q('age\x00')", "age ? x", "age²", "age %in% x", ".", "1.real",
        "(x ~ age)", "class",
        "-age", "\ud800", "log(" * 300 + "x" + ")" * 300,
    ),
    "which is no column": ("nope", "Q('__built' 'ins__')", "__builtins__", "np", "I(nope)", "C(nope)", "x ~ z"),
    "too deeply": (
        "I(" + "-" * 1500 + "age)",
        "I(" + "+".join(["x"] * 800) + ")", "+".join(["x"] * 900), "+" * 1500 + "x",
    ),
    "2000 are allowed": ("a" * 5000, "(" * 9999),
    "more than 500 terms": ("*".join(f"I(x+{place})" for place in range(12)), f"({'+'.join(f'I(x+{place})' for place in range(30))})**9"),
    "no term after": ("0", "-1", "0 + 0"),
    r"the power itself is written I\(age\*\*2\)": ("age**2", "x + (age)**2"),
    "powers may be up to 10": ("(age + x)**11", "(age + x)**999999999999"),
    "explains its outcome by itself": ("pad", "age * pad", "age + sex:pad"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "terms"), [(words, terms) for words, found in REFUSED.items() for terms in found])
def test_everything_else_is_one_sentence_before_anything_is_computed(words, terms):
    with pytest.raises(BadConfiguration, match=words) as caught:
        read_formula(f"pad ~ {terms}", people())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "words"),
    (
        ("pad ~ log(sex)", "computes with sex, which holds text"),
        ("sex ~ age", "the outcome is not one column of numbers"),
        ("C(grade) ~ age", "the outcome is not one column of numbers"),
        ("pad ~ bs(age, df=1)", "too small for degree=3"),
        ("pad ~ cr(I(3), df=4)", "Unable to compute"),
        ("pad ~ who:C(x)", "its terms have 3601 columns; 1000 are allowed"),
        ("pad ~ I(1e200*age):I(2e200*age)", "too large a number"),
    ),
)
def test_what_cannot_be_computed_is_one_sentence(formula, words):
    with pytest.raises(BadConfiguration, match=words):
        design(formula, people(who=np.array([f"p{place}" for place in range(N)], dtype=object)))


@pytest.mark.parametrize("formula", ("~ x", "1 ~ x", "pad + age ~ x", "pad:age ~ x", "", " "))
def test_there_is_one_outcome(formula):
    with pytest.raises(BadConfiguration, match="outcome"):
        read_formula(formula, people())


WATCH = {"on": False, "seen": []}
TOUCHING = ("open", "exec", "import", "os.", "subprocess.", "socket.", "shutil.", "urllib.", "pickle.", "marshal.", "ctypes.", "tempfile.")


def _note(event, arguments):
    if WATCH["on"] and event.startswith(TOUCHING):
        WATCH["seen"].append((event, str(arguments)[:80]))


@pytest.fixture(scope="module")
def watched():
    """Records what reaches for files, processes, the network or the interpreter; modules that are imported late are there already."""
    table = people()
    for formula in ("pad ~ bs(age, df=4) + cr(x, df=3)", "pad ~ C(site, Sum) + C(sex) + log(age)"):
        fit_formula(table, formula)
    sys.addaudithook(_note)  # cannot be taken away again, so it looks away but in the context

    @contextmanager
    def watching():
        WATCH.update(on=True, seen=[])
        try:
            yield WATCH["seen"]
        finally:
            WATCH["on"] = False

    return watching


def test_the_watch_sees_what_it_must_see(watched, tmp_path):
    with watched() as seen:
        np.save(tmp_path / "x.npy", np.ones(2))
        eval("1 + 1")
    assert {"open", "exec"} <= {event for event, _ in seen}


NAMES = st.sampled_from(
    ["age", "x",
     "sex", "site", "grade", "Q('b m')", "np", "os", "sys", "__builtins__", "__import__", "C", "I", "numpy", "patsy", "pd", "ｎｐ"]
)  # fmt: skip
CALLED = st.sampled_from(
    ["C", "I", "Q",
     "log", "np.log", "exp", "bs", "cr", "center", "np.load", "np.save", "np.fromfile", "np.genfromtxt", "open", "eval",
     "exec", "__import__", "os.system", "getattr", "compile", "Treatment", "hashed", "lag", "poly", "print", "vars",
     "np.lib.npyio.DataSource"]
)  # fmt: skip
PLAIN = st.one_of(
    NAMES, st.integers(-3, 10**12).map(str), st.sampled_from(["'os'", "'/etc/passwd'", "'http://127.0.0.1:9/'", "'touch x'", "df=4", "1e9"])
)
SHAPES = ["{}.__class__", "{0}[{1}]", "[{0} for {1} in {1}]", "lambda: {}", "({0} := {1})", "f'{{{0}}}'", "{0} if {1} else {0}", "`{}`",
          "{{{}}}", "*{}", "**{}", "-{}", "({})"]  # fmt: skip
EXPRESSIONS = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.tuples(CALLED, st.lists(inner, max_size=3)).map(lambda parts: f"{parts[0]}({', '.join(parts[1])})"),
        st.tuples(inner, st.sampled_from(["+", "-", "*", ":", "/", "**", " ", ",", "|", "@", "=="]), inner).map("".join),
        st.tuples(st.sampled_from(SHAPES), inner, inner).map(lambda parts: parts[0].format(*parts[1:])),
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(EXPRESSIONS, st.text(max_size=40)))
@example("np.save('x', age)")
@example("__import__('os').system('touch x')")
@example("np.genfromtxt('http://127.0.0.1:9/')")
def test_no_formula_touches_a_file_a_process_or_the_network(watched, terms):
    table = people()
    with watched() as seen:
        try:
            fit_formula(table, f"pad ~ {terms}")
        except BadConfiguration:
            pass
    assert seen == []


def test_the_table_is_read_by_name_only():
    frame = pd.DataFrame(people())
    assert read_formula("pad ~ shape", {**people(), "shape": np.ones(N)}).columns == ("pad", "shape")
    with pytest.raises(BadConfiguration, match="names 'shape', which is no column"):
        read_formula("pad ~ shape", frame)
