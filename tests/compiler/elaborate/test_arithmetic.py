"""Numbers, sizes and lists at compile time, by assertions of the language against Python's own arithmetic."""

from __future__ import annotations

import pytest

from tests.compiler.texts import mistakes, sound

HOLDS = [
    "7 // 2 == 3 and -7 // 2 == -4 and 7 % -2 == -1 and 7.5 // 2 == 3.0 and -7.5 % 2 == 0.5",
    "2 ** 10 == 1024 and 2 ** -1 == 0.5 and 2.0 ** 3 == 8.0 and 2 ** 62 + 2 ** 61 > 2 ** 62",
    "7 / 2 == 3.5 and 0.1 + 0.2 > 0.3 and 1 <= 1.0 and not 1 < 1.0",
    "product([]) == 1 and product([2, 3]) == 6 and product([2.5, 2]) == 5.0 and product([2, 0.5, 3]) == 3.0",
    "product([n, n]) == n ** 2 and product([n, 2]) // 2 == n and product([2, n]) % 2 == 0",
    "n + 1 > n and n >= 1 and 2 * n > n and n - n == 0 and n < n + n and not n < 1 and n <= 2 * n",
    "(n + 2) // 1 == n + 2 and 4 * n // 2 == 2 * n and (2 * n + 1) % 2 == 1 and n ** 2 // n == n",
    "sqrt(9) == 3.0 and maximum(2, 3) == 3 and log(1) == 0.0 and int(2.9) == 2 and float(2) == 2.0",
    "[1, 2] + [3] == [1, 2, 3] and 'a' + 'b' == 'ab'".replace("'", '"'),
    "[1, 2, 3][-1] == 3 and [1, 2, 3][0:2] == [1, 2] and len(range(3)) == 3 and pair(2) == [2, 2]",
]


@pytest.mark.parametrize("condition", HOLDS)
def test_arithmetic_is_python_s(condition: str) -> None:
    sound(f"input x: [n, 2]\nassert {condition}\noutput x")


REFUSED = {
    "1 // 0": "E505 division by zero",
    "1 % 0": "E505 division by zero",
    "1 / 0": "E505 division by zero",
    "1.5 // 0": "E505 division by zero",
    "0 ** -1": "E505 division by zero",
    "n // 0": "E505 division by zero",
    "n % (n - n)": "E505 division by zero",
    "(-1) ** 0.5": "E505 fractional power of a negative number",
    "2 ** 64": "E506 integer overflow: beyond 2**63 - 1",
    "2 ** 62 + 2 ** 62": "E506 integer overflow: beyond 2**63 - 1",
    "10.0 ** 400": "E506 float overflow: beyond 1.8e308",
    "1e308 * 10": "E506 float overflow: beyond 1.8e308",
    "1e308 // 1e-308": "E506 float overflow: beyond 1.8e308",
    "n ** 100": "E415 `**` is not defined for the size n and the number 100",
    "n ** 16 * n ** 16 * n ** 16 * n ** 16 * n ** 16": "E307 a size of a degree beyond 64",
    "9007199254740992 * n * 9007199254740992": f"E307 a size beyond {2**63 - 1}",
    "1 if n > 3 else 2": "E313 cannot decide n > 3 at compile time: it depends on `n`",
    "1 if n == 3 else 2": "E313 cannot decide n == 3 at compile time: it depends on `n`",
    "1.5 @ 2": "E415 `@` is not defined for the number 1.5 and the number 2",
    "true + 1": "E415 `+` is not defined for true and the number 1",
    "product([n, 0.5])": "E404 product multiplies sizes or numbers, not the size n by the number 0.5",
    "product([0.5, n])": "E404 product multiplies sizes or numbers, not the number 0.5 by the size n",
    "product([true])": "E404 product takes a list of numbers, got a list with true",
    "product([1e308, 10])": "E506 float overflow: beyond 1.8e308",
    "log(-1)": "E505 log(-1) is not a number",
}


@pytest.mark.parametrize(("expression", "message"), REFUSED.items())
def test_what_no_number_is(expression: str, message: str) -> None:
    assert mistakes(f"input x: [n, 2]\nk = {expression}\noutput x") == [message]
